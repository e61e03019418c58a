//! The answers of the broker. Bytes and ends leave the ring here, once acknowledged.

use std::error::Error as _;
use std::pin::Pin;
use std::time::{Duration, Instant};

use async_nats::jetstream;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::publish::PublishAck;

use super::source::{broken, next_stream};
use super::{Sender, State};
use crate::broker;
use crate::error::{Error, Failure};
use crate::record::Kind;

/// The pause between looks at a ring whose producer is dead.
const LOOK: Duration = Duration::from_millis(20);
/// The waits before a full stream is tried again.
const FULL: Duration = Duration::from_millis(20);
const MOST_FULL: Duration = Duration::from_millis(500);

pub(super) type Answer = Pin<Box<dyn Future<Output = Result<PublishAck, PublishError>> + Send>>;

/// A record in flight.
pub(super) struct Flight {
    pub(super) answer: Answer,
    pub(super) kind: Kind,
    pub(super) len: usize,
    pub(super) sequence: u64,
    pub(super) sent: Instant,
}

enum Event {
    Answer(Result<PublishAck, PublishError>),
    Readable(std::io::Result<()>),
    Look,
}

impl<N: FnMut(&str)> Sender<'_, N> {
    /// Publishes and releases, until an error or the last of `ends`.
    pub(super) async fn pump(&mut self) -> Result<(), Failure> {
        loop {
            self.publish_some().await?;
            match self.wait().await {
                Event::Answer(answer) => {
                    let Some(flight) = self.flights.pop_front() else {
                        continue;
                    };
                    self.answered(flight, answer).await?;
                    if self.is_done() && self.flights.is_empty() {
                        return Ok(());
                    }
                }
                Event::Readable(Ok(())) => {}
                Event::Look => self.look_for_a_producer(),
                Event::Readable(Err(error)) => self.stopped(error)?,
            }
        }
    }

    /// Waits for an answer of the broker, or for the ring.
    async fn wait(&mut self) -> Event {
        let wanted = match self.state {
            State::Flows if self.may_publish() => Some(self.ahead + self.worth()),
            _ => None,
        };
        let front = self.flights.front_mut();
        let (has_front, looks) = (front.is_some(), self.state == State::Dead);
        tokio::select! {
            biased;
            answer = async {
                match front {
                    Some(flight) => (&mut flight.answer).await,
                    None => std::future::pending().await,
                }
            }, if has_front => Event::Answer(answer),
            readable = self.ring.readable(wanted.unwrap_or(1)), if wanted.is_some() => {
                Event::Readable(readable)
            }
            () = tokio::time::sleep(LOOK), if looks || !has_front && wanted.is_none() => Event::Look,
        }
    }

    /// Acts on the broker's answer for the first record in flight.
    async fn answered(
        &mut self,
        flight: Flight,
        answer: Result<PublishAck, PublishError>,
    ) -> Result<(), Failure> {
        let ack = match answer {
            Ok(ack) => ack,
            Err(error) => {
                return match self.refusal(&error) {
                    Failure::Again(why) if why == FULL_STREAM => self.wait_for_room(flight).await,
                    failure => Err(failure),
                };
            }
        };
        if ack.sequence != flight.sequence {
            return Err(Failure::again(
                "a record got another sequence than expected",
            ));
        }
        self.full = None;
        self.window
            .acknowledged(flight.len, flight.sent, Instant::now());
        let ring = self.ring.get_mut();
        match flight.kind {
            Kind::Data => {
                let grant = ring.try_peek(flight.len).map_err(broken)?;
                grant.consume_all();
                self.ahead -= flight.len;
            }
            Kind::End(_) => {
                next_stream(ring)?;
                self.ended += 1;
                self.state = State::Flows;
            }
            Kind::Lost => {}
            Kind::Begin | Kind::Claim => {}
        }
        Ok(())
    }

    /// The stream has no room for the first record in flight, and so refuses the others,
    /// too. The session stays: the same records are published again later.
    async fn wait_for_room(&mut self, first: Flight) -> Result<(), Failure> {
        while let Some(flight) = self.flights.pop_front() {
            match flight.answer.await {
                Err(error) if refused(&error) => {}
                // This record may be in the log, although the one before it is not.
                _ => {
                    return Err(Failure::again(
                        "the stream was full, and its answers unclear",
                    ));
                }
            }
        }
        if self.full.is_none() {
            (self.notice)(FULL_STREAM);
        }
        self.ahead = 0;
        self.last = first.sequence - 1;
        if first.kind == Kind::Lost {
            self.state = State::Stops;
        }
        let pause = self.full.unwrap_or(FULL);
        tokio::time::sleep(pause).await;
        self.full = Some((pause * 2).min(MOST_FULL));
        Ok(())
    }

    /// What the broker's refusal of a record means.
    pub(super) fn refusal(&self, error: &PublishError) -> Failure {
        match (error.kind(), own(error)) {
            (_, Some(own)) if broker::is_full(own) => Failure::Again(FULL_STREAM.to_owned()),
            (PublishErrorKind::Other, Some(own)) => broker::judge(own.clone()),
            (PublishErrorKind::MaxPayloadExceeded, _) => Error::Refused(error.to_string()).into(),
            _ => Failure::again(error),
        }
    }
}

const FULL_STREAM: &str = "the stream is full: its receiver is behind, or away";

/// The broker's own error.
fn own(error: &PublishError) -> Option<&jetstream::Error> {
    error.source()?.downcast_ref()
}

/// Whether the broker has refused the record, so that it is not in the log.
fn refused(error: &PublishError) -> bool {
    error.kind() == PublishErrorKind::WrongLastSequence || own(error).is_some_and(broker::is_full)
}
