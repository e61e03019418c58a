//! The sender: from a ring to the stream.
//!
//! One file of more than 450 lines: all functions share one state, the records under way.

use std::collections::VecDeque;
use std::error::Error as _;
use std::future::IntoFuture;
use std::pin::Pin;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::{self, Context};
use bytes::Bytes;
use shmpipe::asynchronous::AsyncConsumer;
use shmpipe::{Broken, Consumer, Occupant, PeekError, Snapshot};

use crate::broker::{self, Create, Name};
use crate::error::{Error, Failure};
use crate::link::{Link, Pauses};
use crate::log::{Plan, Ring, plan};
use crate::record::{Ending, Kind, Place, Record};
use crate::window::{RECORDS, Window};

/// Records under way up to which short ones are published at once. Beyond, bytes gather.
const SHORT_RECORDS: usize = 16;
/// How often a ring whose producer is dead is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// The waits before a full stream is tried again.
const FULL: Duration = Duration::from_millis(20);
const MOST_FULL: Duration = Duration::from_millis(500);

/// What a sender is asked for.
#[derive(Clone, Debug)]
pub struct SendOptions {
    /// The stream.
    pub name: Name,
    /// How the stream is created if it is not there. `None`: it must be there.
    pub create: Option<Create>,
    /// The most bytes in a record.
    pub chunk: usize,
    /// Begin the log at what the ring still has, even if the ring has released bytes
    /// before that are not in the log. The receiver checks whether it has them.
    pub begins: bool,
    /// Stop after this many ends of streams.
    pub ends: Option<u64>,
    /// How long a broker without JetStream is waited for at the start.
    pub patience: Duration,
}

impl SendOptions {
    /// The defaults: records of 128 KiB at most, a stream of 1 GiB, no end.
    #[must_use]
    pub fn new(name: Name) -> SendOptions {
        SendOptions {
            name,
            create: Some(Create::default()),
            chunk: 128 << 10,
            begins: false,
            ends: None,
            patience: Duration::from_secs(10),
        }
    }
}

/// Sends what `ring` holds and gets, until an error, or the last of
/// [`SendOptions::ends`]. Bytes and ends leave the ring once the broker has acknowledged
/// them. So the future can be dropped at any time, and the next sender continues.
///
/// `notice` is called when something passes, such as a broker that does not answer.
///
/// # Errors
///
/// [`Error`]; the ring keeps what was not acknowledged.
pub async fn send(
    link: &Link,
    mut ring: Consumer,
    options: &SendOptions,
    notice: impl FnMut(&str),
) -> Result<(), Error> {
    ring.set_abort_on_drop(true); // leaving acknowledges nothing
    let sender = Sender {
        context: link.context(),
        link,
        options,
        notice,
        subject: options.name.subject(),
        nonce: ring.nonce(),
        capacity: ring.capacity(),
        ring: AsyncConsumer::new(ring),
        window: Window::default(),
        flights: VecDeque::new(),
        session: 0,
        last: 0,
        ahead: 0,
        chunk: options.chunk,
        state: State::Flows,
        had_session: false,
        full: None,
        ended: 0,
    };
    tokio::select! {
        biased;
        error = link.forbidden() => Err(error),
        sent = sender.run() => sent,
    }
}

/// What the ring gives, behind the bytes under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Bytes, now or later.
    Flows,
    /// Nothing until the bytes under way are released: a stream ends there, or its
    /// producer is dead.
    Stops,
    /// The producer is dead, and the log says so.
    Dead,
}

type Answer = Pin<Box<dyn Future<Output = Result<PublishAck, PublishError>> + Send>>;

/// A record under way.
struct Flight {
    answer: Answer,
    kind: Kind,
    len: usize,
    sequence: u64,
    sent: Instant,
}

struct Sender<'a, N> {
    link: &'a Link,
    options: &'a SendOptions,
    notice: N,
    context: Context,
    subject: String,
    ring: AsyncConsumer,
    nonce: u64,
    capacity: usize,
    window: Window,
    flights: VecDeque<Flight>,
    /// The sequence of this sender's claim.
    session: u64,
    /// The last sequence in the log, once all records under way are there.
    last: u64,
    /// Bytes under way: published, and not released.
    ahead: usize,
    chunk: usize,
    state: State,
    had_session: bool,
    /// The next wait, while the stream is full.
    full: Option<Duration>,
    ended: u64,
}

enum Event {
    Answer(Result<PublishAck, PublishError>),
    Readable(std::io::Result<()>),
    Look,
}

enum Look {
    Bytes(Vec<u8>),
    Nothing,
    End(Ending),
}

impl<N: FnMut(&str)> Sender<'_, N> {
    async fn run(mut self) -> Result<(), Error> {
        let (start, mut pauses) = (Instant::now(), Pauses::new());
        let mut restored = self.link.restored();
        loop {
            let before = self.ring.get_ref().position();
            let session = tokio::select! {
                session = self.session() => session,
                why = restored.next() => Err(why),
            };
            let why = match session {
                Ok(()) => return Ok(()),
                Err(Failure::Fatal(error)) => return Err(error),
                Err(Failure::Again(why)) => why,
            };
            if !self.had_session
                && why.contains("no JetStream")
                && start.elapsed() >= self.options.patience
            {
                return Err(Error::NoJetStream(why));
            }
            (self.notice)(&why);
            if self.ring.get_ref().position() != before {
                pauses.reset();
            }
            pauses.pause().await;
        }
    }

    /// Claims the stream and sends, until something goes wrong.
    async fn session(&mut self) -> Result<(), Failure> {
        self.flights.clear();
        self.ahead = 0;
        self.state = State::Flows;
        self.full = None;
        self.window.reset();
        let name = &self.options.name;
        let info = broker::find(&self.context, name, self.options.create).await?;
        let payload = self.link.client().max_payload();
        self.chunk = broker::most_payload(&info.config, payload).min(self.options.chunk);
        let handle = broker::handle(&self.context, name).await?;
        let end = broker::find_end(&handle, name, &info).await?;
        if let Some(end) = end.filter(|end| self.had_session && end.nonce != self.nonce) {
            return Err(Error::Superseded { nonce: end.nonce }.into());
        }
        let begins = self.options.begins && !self.had_session;
        let bounds = self.bounds()?;
        let plan = match plan(end, &bounds, begins) {
            Ok(plan) => plan,
            Err(error) => {
                // Records of an earlier session may still land, and be trimmed, meanwhile.
                let again = broker::find(&self.context, name, None).await?;
                if again.state.last_sequence != info.state.last_sequence {
                    return Err(Failure::again(
                        "the log changes while its end is looked for",
                    ));
                }
                let (state, head) = (&info.state, bounds.head);
                let (first, last) = (state.first_sequence, state.last_sequence);
                (self.notice)(&format!(
                    "the log has {} messages, {first} to {last}, and ends at {end:?}; the ring \
                     has released {head:?}",
                    state.messages
                ));
                return Err(error.into());
            }
        };
        let (kind, at) = match plan {
            Plan::Continue(to) => {
                self.release(to)?;
                (Kind::Claim, to)
            }
            Plan::Begin(at) => (Kind::Begin, at),
        };
        self.last = info.state.last_sequence;
        self.claim(kind, at).await?;
        if self.is_done() {
            return Ok(());
        }
        self.pump().await
    }

    /// What of the ring this sender may still read.
    fn bounds(&mut self) -> Result<Ring, Failure> {
        let ring = self.ring.get_mut();
        let head = Place {
            stream: ring.stream_number(),
            position: ring.position(),
        };
        let mut tail = head;
        if let Some(id) = ring.id_for_log() {
            let snapshot = Snapshot::of(id)?;
            tail.position = snapshot.written;
            tail.stream += snapshot.unread_ends;
        }
        Ok(Ring {
            nonce: self.nonce,
            head,
            tail,
        })
    }

    /// Releases what the log has.
    fn release(&mut self, to: Place) -> Result<(), Failure> {
        let ring = self.ring.get_mut();
        let contradiction = crate::log::LogError::Contradiction {
            stream: to.stream,
            position: to.position,
        };
        while (ring.stream_number(), ring.position()) != (to.stream, to.position) {
            let left = to.position.saturating_sub(ring.position());
            let most = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(self.capacity);
            match ring.try_peek_up_to(most.max(1)) {
                Ok(grant) if most > 0 => grant.consume_all(),
                Ok(_) | Err(PeekError::Empty { .. }) => return Err(contradiction.into()),
                Err(error) => {
                    ending(error)?;
                    if ring.stream_number() >= to.stream {
                        return Err(contradiction.into());
                    }
                    self.ended += 1;
                    next_stream(ring)?;
                }
            }
        }
        Ok(())
    }

    async fn claim(&mut self, kind: Kind, at: Place) -> Result<(), Failure> {
        let record = Record {
            kind,
            nonce: self.nonce,
            session: 0,
            at,
            len: 0,
        };
        let claims = self.options.name.claims();
        let publish = self.message(&record, Bytes::new(), self.last);
        let answer = self.context.send_publish(claims, publish).await;
        let answer = answer.map_err(Failure::again)?.await;
        match answer {
            Ok(ack) => self.session = ack.sequence,
            Err(error) => return Err(self.refusal(&error)),
        }
        self.last = self.session;
        self.had_session = true;
        Ok(())
    }

    /// Publishes and releases, until something goes wrong.
    async fn pump(&mut self) -> Result<(), Failure> {
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

    fn is_done(&self) -> bool {
        self.options.ends.is_some_and(|ends| self.ended >= ends)
    }

    /// Whether another record may be under way. A full stream is tried with one.
    fn may_publish(&self) -> bool {
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
    fn worth(&self) -> usize {
        if self.flights.len() < SHORT_RECORDS || self.state != State::Flows {
            return 1;
        }
        // A quarter of the ring is enough, so that its producer continues meanwhile.
        self.chunk
            .min((self.capacity / 4).max(1))
            .min(self.capacity - self.ahead)
    }

    async fn publish_some(&mut self) -> Result<(), Failure> {
        while self.may_publish() {
            match self.look()? {
                Look::Bytes(bytes) => {
                    self.ahead += bytes.len();
                    if self.state == State::Dead {
                        self.state = State::Flows;
                    }
                    self.publish(Kind::Data, bytes).await?;
                }
                Look::End(ending) if self.flights.is_empty() => {
                    self.publish(Kind::End(ending), Vec::new()).await?;
                }
                Look::End(_) => return Ok(()),
                Look::Nothing if self.state == State::Stops && self.flights.is_empty() => {
                    // The producer is dead: no end came.
                    self.state = State::Dead;
                    self.publish(Kind::Lost, Vec::new()).await?;
                }
                Look::Nothing => return Ok(()),
            }
        }
        Ok(())
    }

    /// Looks behind the bytes under way.
    fn look(&mut self) -> Result<Look, Failure> {
        let (worth, ahead) = (self.worth(), self.ahead);
        let most = (ahead + self.chunk).min(self.capacity);
        let ring = self.ring.get_mut();
        match ring.try_peek_up_to(most) {
            Ok(grant) if grant.len() >= ahead + worth => {
                let mut bytes = vec![0; grant.len() - ahead];
                grant.read_at(&mut bytes, ahead);
                Ok(Look::Bytes(bytes))
            }
            Ok(_) | Err(PeekError::Empty { .. }) => Ok(Look::Nothing),
            Err(error) => Ok(Look::End(ending(error)?)),
        }
    }

    async fn publish(&mut self, kind: Kind, bytes: Vec<u8>) -> Result<(), Failure> {
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
        let publish = self.message(&record, bytes.into(), self.last);
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

    fn message(&self, record: &Record, payload: Bytes, last: u64) -> PublishMessage {
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

    /// Notes why the ring has nothing more behind the bytes under way.
    fn stopped(&mut self, error: std::io::Error) -> Result<(), Failure> {
        let ring = self.ring.get_ref();
        match Broken::find(&error) {
            Some(Broken::Died { .. } | Broken::ProducerAborted) => {}
            Some(broken) => return Err(broken.clone().into()),
            // The end of a whole stream.
            None if ring.is_at_end() => {}
            None => return Err(Failure::again(error)),
        }
        self.state = State::Stops;
        Ok(())
    }

    /// Acts on the broker's answer for the first record under way.
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

    /// Waits for the ring again, once a producer has come after a dead one.
    fn look_for_a_producer(&mut self) {
        let peer = self.ring.get_ref().peer();
        if self.state == State::Dead && matches!(peer, Occupant::Process(_)) {
            self.state = State::Flows;
        }
    }

    /// The stream has no room for the first record under way, and so refuses the others,
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
    fn refusal(&self, error: &PublishError) -> Failure {
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

/// The end that a look at the ring has returned.
fn ending(error: PeekError) -> Result<Ending, Failure> {
    match error {
        PeekError::Ended { .. } => Ok(Ending::Finished),
        PeekError::Broken(Broken::ProducerAborted) => Ok(Ending::Aborted),
        PeekError::Broken(Broken::Died { .. }) => Ok(Ending::Died),
        error => Err(broken(error)),
    }
}

fn broken(error: PeekError) -> Failure {
    match error {
        PeekError::Broken(broken) => broken.into(),
        error => Failure::again(error),
    }
}

/// Acknowledges an end that a look has returned.
fn next_stream(ring: &mut Consumer) -> Result<(), Failure> {
    ring.next_stream().map(drop).map_err(|error| match error {
        shmpipe::NextStreamError::Broken(broken) => broken.into(),
        error => Failure::again(error),
    })
}
