//! What is published: bytes after those in flight, ends, and the death of a producer.

use std::future::IntoFuture;
use std::time::Instant;

use async_nats::HeaderMap;
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use shmpipe::PeekError;

use super::answers::Flight;
use super::payloads::Payload;
use super::source::ending;
use super::{Sender, State};
use crate::error::Failure;
use crate::record::{Ending, Kind, Place, Record};
use crate::window::RECORDS;

/// With fewer records in flight, short records are published at once. With more, bytes gather.
const SHORT_RECORDS: usize = 16;

enum Look {
    Bytes(Payload),
    Nothing,
    End(Ending),
}

impl<N: FnMut(&str)> Sender<'_, N> {
    /// Whether another record may be in flight. While the stream is full, one record at a time.
    pub(super) fn may_publish(&self) -> bool {
        if self.full.is_some() {
            return self.flights.is_empty();
        }
        self.flights.len() < RECORDS
            && (self.ahead == 0 || self.ahead + self.chunk <= self.window.bytes())
            && self.ahead < self.capacity
            && self
                .flights
                .back()
                .is_none_or(|last| last.kind == Kind::Data)
    }

    /// How many bytes are worth a record now.
    pub(super) fn worth(&self) -> usize {
        if self.flights.len() < SHORT_RECORDS || self.state != State::Flows {
            return 1;
        }
        // A quarter of the ring is enough, so that its producer continues meanwhile.
        self.chunk
            .min((self.capacity / 4).max(1))
            .min(self.capacity - self.ahead)
    }

    pub(super) async fn publish_some(&mut self) -> Result<(), Failure> {
        while self.may_publish() {
            match self.look()? {
                Look::Bytes(payload) => {
                    self.ahead += payload.len();
                    if self.state == State::Dead {
                        self.state = State::Flows;
                    }
                    self.publish(Kind::Data, Bytes::from_owner(payload)).await?;
                }
                Look::End(ending) if self.flights.is_empty() => {
                    self.publish(Kind::End(ending), Bytes::new()).await?;
                }
                Look::End(_) => return Ok(()),
                Look::Nothing if self.state == State::Stops && self.flights.is_empty() => {
                    // The producer is dead: no end came.
                    self.state = State::Dead;
                    self.publish(Kind::Lost, Bytes::new()).await?;
                }
                Look::Nothing => return Ok(()),
            }
        }
        Ok(())
    }

    /// Looks at the ring after the bytes in flight.
    fn look(&mut self) -> Result<Look, Failure> {
        let (worth, ahead) = (self.worth(), self.ahead);
        let most = (ahead + self.chunk).min(self.capacity);
        let ring = self.ring.get_mut();
        match ring.try_peek_up_to(most) {
            Ok(grant) if grant.len() >= ahead + worth => {
                let mut payload = self.payloads.take(grant.len() - ahead);
                grant.read_at(&mut payload, ahead);
                Ok(Look::Bytes(payload))
            }
            Ok(_) | Err(PeekError::Empty { .. }) => Ok(Look::Nothing),
            Err(error) => Ok(Look::End(ending(error)?)),
        }
    }

    async fn publish(&mut self, kind: Kind, bytes: Bytes) -> Result<(), Failure> {
        let ring = self.ring.get_ref();
        let record = Record {
            kind,
            nonce: self.nonce,
            session: self.session,
            at: Place {
                stream: ring.stream_number(),
                position: ring.position() + (self.ahead - bytes.len()) as u64,
            },
            len: bytes.len() as u64,
        };
        let len = bytes.len();
        let publish = self.message(&record, bytes, self.last);
        let answer = self.context.send_publish(self.subject.clone(), publish);
        let answer = answer.await.map_err(|error| self.refusal(&error))?;
        self.last += 1;
        self.flights.push_back(Flight {
            answer: answer.into_future(),
            kind,
            len,
            sequence: self.last,
            sent: Instant::now(),
        });
        Ok(())
    }

    pub(super) fn message(&self, record: &Record, payload: Bytes, last: u64) -> PublishMessage {
        let mut headers = HeaderMap::new();
        for (name, value) in record.headers() {
            headers.insert(name, value);
        }
        PublishMessage::build()
            .headers(headers)
            .payload(payload)
            .expected_stream(self.options.name.to_string())
            .expected_last_sequence(last)
    }
}
