//! An end of a ring, as C holds it: a producer or a consumer. Once C has asked for a descriptor to poll,
//! the handle is the one member of a set.

/// Runs the same code with either handle.
macro_rules! either {
    ($end:expr, $handle:ident => $answer:expr) => {
        match $end.handle()? {
            Handle::Producer($handle) => $answer,
            Handle::Consumer($handle) => $answer,
        }
    };
}

mod bytes;
mod loan;
mod peer;
mod polled;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use ring::{Consumer, Producer, Role};

use self::polled::Polled;
use crate::failure::{Code, Failure};

pub(crate) use self::peer::{RawPeer, RawStats};

/// How long `shmpipe_free` waits for a child that has not taken its end yet.
pub(crate) const FREE_LIMIT: Duration = Duration::from_secs(5);

/// `shmpipe_end`.
#[derive(Debug)]
pub(crate) struct End {
    state: State,
    /// Bytes that the last reserve or peek lent, and that may be committed or consumed.
    lent: usize,
    /// The position of the handle when they were lent. A plain write or read moves the handle, which
    /// ends the loan. So a call that moves bytes need not reset `lent`.
    lent_at: u64,
}

#[derive(Debug)]
enum State {
    Producer(Producer),
    Consumer(Consumer),
    Polled(Box<Polled>),
    /// A panic interrupted a move of the handle.
    Lost,
}

/// Either handle, borrowed.
enum Handle<'a> {
    Producer(&'a mut Producer),
    Consumer(&'a mut Consumer),
}

const WRONG_ROLE: &str = "this end has the other role: a producer writes, and a consumer reads";

/// `SHMPIPE_PRODUCER` or `SHMPIPE_CONSUMER`.
pub(crate) fn role(number: u32) -> Result<Role, Failure> {
    match number {
        1 => Ok(Role::Producer),
        2 => Ok(Role::Consumer),
        _ => Err(Failure::invalid(
            "the role is neither SHMPIPE_PRODUCER nor SHMPIPE_CONSUMER",
        )),
    }
}

impl From<Producer> for End {
    fn from(mut producer: Producer) -> End {
        producer.set_timeout(None); // each call has its own
        End::new(State::Producer(producer))
    }
}

impl From<Consumer> for End {
    fn from(mut consumer: Consumer) -> End {
        consumer.set_timeout(None); // each call has its own
        End::new(State::Consumer(consumer))
    }
}

impl End {
    fn new(state: State) -> End {
        End {
            state,
            lent: 0,
            lent_at: 0,
        }
    }

    #[cfg(test)]
    pub(crate) fn lose(&mut self) {
        self.state = State::Lost;
    }

    #[inline(always)]
    fn handle(&mut self) -> Result<Handle<'_>, Failure> {
        match &mut self.state {
            State::Producer(producer) => Ok(Handle::Producer(producer)),
            State::Consumer(consumer) => Ok(Handle::Consumer(consumer)),
            State::Polled(polled) => polled.handle(),
            State::Lost => Err(Failure::panicked("an earlier call panicked".to_owned())),
        }
    }

    #[inline(always)]
    fn producer(&mut self) -> Result<&mut Producer, Failure> {
        match self.handle()? {
            Handle::Producer(producer) => Ok(producer),
            Handle::Consumer(_) => Err(Failure::invalid(WRONG_ROLE)),
        }
    }

    #[inline(always)]
    fn consumer(&mut self) -> Result<&mut Consumer, Failure> {
        match self.handle()? {
            Handle::Consumer(consumer) => Ok(consumer),
            Handle::Producer(_) => Err(Failure::invalid(WRONG_ROLE)),
        }
    }

    /// The producer, for a plain write, unless its descriptor is polled.
    #[inline(always)]
    pub(crate) fn as_producer(&mut self) -> Option<&mut Producer> {
        match &mut self.state {
            State::Producer(producer) => Some(producer),
            _ => None,
        }
    }

    /// The consumer, for a plain read, unless its descriptor is polled.
    #[inline(always)]
    pub(crate) fn as_consumer(&mut self) -> Option<&mut Consumer> {
        match &mut self.state {
            State::Consumer(consumer) => Some(consumer),
            _ => None,
        }
    }

    /// Makes a call that never waits. If the descriptor is polled, a call that found nothing arms it.
    #[inline]
    fn attempt<T>(
        &mut self,
        least: usize,
        mut call: impl FnMut(&mut End) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let done = call(self);
        match (&done, &mut self.state) {
            (Err(failure), State::Polled(polled)) if failure.code == Code::WouldBlock => {
                if polled.arm(least)? {
                    return done;
                }
            }
            _ => return done,
        }
        // Something has come meanwhile: bytes, room, an end, or the death of the peer. If a peer has
        // taken that back, against the protocol, then the descriptor stays readable.
        call(self)
    }
}

/// The instant that lies `limit` ahead.
fn after(limit: Duration) -> Instant {
    let now = Instant::now();
    // A limit from C is at most 292 years, which always fits.
    now.checked_add(limit).unwrap_or(now)
}

impl Drop for End {
    fn drop(&mut self) {
        // A producer that nobody closed waits for its child, which may never come.
        if let Ok(Handle::Producer(producer)) = self.handle() {
            producer.set_timeout(Some(FREE_LIMIT));
        }
    }
}
