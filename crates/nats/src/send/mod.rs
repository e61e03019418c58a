//! The sender: from a ring to the stream.
//!
//! | module | does |
//! |---|---|
//! | `claim` | finds the log's end, releases what the log has, claims the log |
//! | `publish` | takes bytes and ends from the ring, and publishes them as a window of records |
//! | `payloads` | keeps the memory of records for later ones |
//! | `answers` | waits for the broker and the ring, and releases what was acknowledged |
//! | `source` | the ring's side: the ends that it shows, and how they are acknowledged |

mod answers;
mod claim;
mod payloads;
mod publish;
mod source;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use async_nats::jetstream::Context;
use shmpipe::Consumer;
use shmpipe::asynchronous::AsyncConsumer;

use self::answers::Flight;
use self::payloads::Payloads;
use crate::error::{Error, Failure};
use crate::link::{Link, Pauses};
use crate::settings::{Create, Name};
use crate::window::Window;

/// What a sender is asked for.
#[derive(Clone, Debug)]
pub struct SendOptions {
    /// The stream.
    pub name: Name,
    /// How the stream is created if it is not there. `None`: it must be there.
    pub create: Option<Create>,
    /// The most bytes in a record: 1 MiB at most, and what the broker takes.
    pub chunk: usize,
    /// Begin the log at what the ring still has, even if the ring has released bytes
    /// before that are not in the log. The receiver checks whether it has them.
    pub begins: bool,
    /// Stop after this many ends of streams.
    pub ends: Option<u64>,
    /// How long the sender waits at the start for a broker without JetStream.
    pub patience: Duration,
}

impl SendOptions {
    /// The defaults: a record has 128 KiB at most, a new stream keeps 1 GiB, and the sender
    /// runs until an error.
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

/// Sends what `ring` holds, and what comes later, until an error, or the last of
/// [`SendOptions::ends`]. Bytes and ends leave the ring once the broker has acknowledged
/// them. So the future can be dropped at any time, and the next sender continues.
///
/// `notice` is called for each temporary failure, such as a broker that does not answer. It is
/// also called with the state of a log that cannot be continued.
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
        payloads: Payloads::of(options.chunk),
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

/// What the ring gives, after the bytes in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Bytes, now or later.
    Flows,
    /// Nothing until the bytes in flight are released: a stream ends there, or its
    /// producer is dead.
    Stops,
    /// The producer is dead, and the log says so.
    Dead,
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
    payloads: Payloads,
    /// The sequence of this sender's claim.
    session: u64,
    /// The last sequence in the log, once all records in flight are there.
    last: u64,
    /// Bytes in flight: published, and not released.
    ahead: usize,
    chunk: usize,
    state: State,
    had_session: bool,
    /// The next wait, while the stream is full.
    full: Option<Duration>,
    ended: u64,
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

    fn is_done(&self) -> bool {
        self.options.ends.is_some_and(|ends| self.ended >= ends)
    }
}
