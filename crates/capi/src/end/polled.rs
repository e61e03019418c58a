//! An end whose descriptor C polls.

use std::os::fd::{AsRawFd, OwnedFd};

use ring::WaitSet;
use ring::set::End as Member;

use super::{End, Handle, State};
use crate::failure::Failure;

/// A handle whose descriptor C polls.
#[derive(Debug)]
pub(super) struct Polled {
    set: WaitSet<Member>,
    descriptor: OwnedFd,
    /// How many bytes, or how much room, make the descriptor readable.
    least: usize,
}

impl End {
    /// The descriptor to poll. It stays the same, and belongs to this end.
    pub(crate) fn poll_fd(&mut self) -> Result<i32, Failure> {
        if let State::Polled(polled) = &self.state {
            return Ok(polled.descriptor.as_raw_fd());
        }
        let member = match std::mem::replace(&mut self.state, State::Lost) {
            State::Producer(producer) => Member::from(producer),
            State::Consumer(consumer) => Member::from(consumer),
            State::Polled(_) | State::Lost => return self.handle().map(|_| -1), // lost before
        };
        let mut set = WaitSet::from(member);
        match set.poll_fd() {
            Ok(descriptor) => {
                let raw = descriptor.as_raw_fd();
                let least = 1;
                self.state = State::Polled(Box::new(Polled {
                    set,
                    descriptor,
                    least,
                }));
                Ok(raw)
            }
            Err(error) => {
                self.state = match set.remove(0) {
                    Some(Member::Producer(producer)) => State::Producer(producer),
                    Some(Member::Consumer(consumer)) => State::Consumer(consumer),
                    None => State::Lost,
                };
                Err(error.into())
            }
        }
    }
}

impl Polled {
    pub(super) fn handle(&mut self) -> Result<Handle<'_>, Failure> {
        match self.set.get_mut(0) {
            Some(Member::Producer(producer)) => Ok(Handle::Producer(producer)),
            Some(Member::Consumer(consumer)) => Ok(Handle::Consumer(consumer)),
            None => Err(Failure::panicked("an end is not in its set".to_owned())),
        }
    }

    /// Arms the descriptor for `least` bytes, or for that much room. Returns `false` if they are there.
    #[cold]
    pub(super) fn arm(&mut self, least: usize) -> Result<bool, Failure> {
        if self.least != least {
            self.set.set_low_water_mark(0, least);
            self.least = least;
        }
        Ok(self.set.try_wait()?.is_none())
    }
}
