//! An end of a ring, as C holds it: a producer or a consumer, alone or in a set of one once C has asked
//! for a descriptor to poll.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::time::Instant;

use ring::set::End as Member;
use ring::{Consumer, Handover, Occupant, PeekError, Producer, ReserveError, Role, WaitSet};

use crate::failure::{Code, Failure};
use crate::options::Timeout;

/// `shmpipe_end`.
#[derive(Debug)]
pub(crate) struct End {
    state: State,
    /// Bytes that the last reserve or peek lent, and that may be committed or consumed.
    lent: usize,
}

#[derive(Debug)]
enum State {
    Producer(Producer),
    Consumer(Consumer),
    Polled(Box<Polled>),
    /// A panic came while the handle was moved.
    Lost,
}

/// A handle whose descriptor C polls.
#[derive(Debug)]
struct Polled {
    set: WaitSet<Member>,
    descriptor: OwnedFd,
    /// From how many bytes on the descriptor tells of bytes or room.
    least: usize,
}

/// Either handle, borrowed.
enum Handle<'a> {
    Producer(&'a mut Producer),
    Consumer(&'a mut Consumer),
}

/// What both handles answer alike.
macro_rules! either {
    ($end:expr, $handle:ident => $answer:expr) => {
        match $end.handle()? {
            Handle::Producer($handle) => $answer,
            Handle::Consumer($handle) => $answer,
        }
    };
}

/// `shmpipe_peer`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct RawPeer {
    pub(crate) state: u32,
    pub(crate) pid: u32,
}

/// `shmpipe_stats`. A field may be added at the end only.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct RawStats {
    pub(crate) size: usize,
    pub(crate) capacity: u64,
    pub(crate) position: u64,
    pub(crate) stream_position: u64,
    pub(crate) stream_number: u64,
    /// Bytes that can be read, or room. 0 if the handle cannot be used.
    pub(crate) available: u64,
    pub(crate) waits: u64,
    pub(crate) sleeps: u64,
    pub(crate) wakes: u64,
    pub(crate) nonce: u64,
    /// -1 if the ring has no segment.
    pub(crate) id: i32,
    pub(crate) role: u32,
    pub(crate) is_closed: u32,
    pub(crate) is_at_end: u32,
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
        End { state, lent: 0 }
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

    /// The producer, for a plain write: one whose descriptor is not polled. Ends a loan.
    #[inline(always)]
    pub(crate) fn as_producer(&mut self) -> Option<&mut Producer> {
        match &mut self.state {
            State::Producer(producer) => {
                self.lent = 0;
                Some(producer)
            }
            _ => None,
        }
    }

    /// The consumer, for a plain read: one whose descriptor is not polled. Ends a loan.
    #[inline(always)]
    pub(crate) fn as_consumer(&mut self) -> Option<&mut Consumer> {
        match &mut self.state {
            State::Consumer(consumer) => {
                self.lent = 0;
                Some(consumer)
            }
            _ => None,
        }
    }

    /// Writes all bytes within the timeout, and returns how many were written.
    pub(crate) fn write(&mut self, bytes: &[u8], timeout: Timeout) -> Result<usize, Failure> {
        self.lent = 0;
        match timeout {
            Timeout::Forever => match self.producer()?.write(bytes) {
                Ok(written) => Ok(written),
                Err(error) => Err(blocked(error)),
            },
            Timeout::Try => self.attempt(1, |end| Ok(end.producer()?.try_write(bytes)?)),
            Timeout::For(limit) => {
                let written = self.producer()?.write_all_deadline(bytes, after(limit));
                match written {
                    Ok(()) => Ok(bytes.len()),
                    Err(partial) if partial.moved > 0 => Ok(partial.moved),
                    Err(partial) => Err(partial.into()),
                }
            }
        }
    }

    /// Reads available bytes. 0 is the end of the stream, unless the buffer is empty.
    pub(crate) fn read(&mut self, bytes: &mut [u8], timeout: Timeout) -> Result<usize, Failure> {
        self.lent = 0;
        match timeout {
            Timeout::Forever => match self.consumer()?.read(bytes) {
                Ok(read) => Ok(read),
                Err(error) => Err(blocked(error)),
            },
            Timeout::Try => self.attempt(1, |end| Ok(end.consumer()?.try_read(bytes)?)),
            Timeout::For(limit) => Ok(self.consumer()?.read_deadline(bytes, after(limit))?),
        }
    }

    /// Reads until the buffer is full, the stream ends, or the timeout passes.
    pub(crate) fn read_full(
        &mut self,
        bytes: &mut [u8],
        timeout: Timeout,
    ) -> Result<usize, Failure> {
        let deadline = match timeout {
            Timeout::For(limit) => Some(after(limit)),
            Timeout::Forever | Timeout::Try => None,
        };
        let mut read = 0;
        while read < bytes.len() {
            let rest = &mut bytes[read..];
            let more = match deadline {
                Some(deadline) => self
                    .consumer()?
                    .read_deadline(rest, deadline)
                    .map_err(Failure::from),
                None => self.read(rest, timeout),
            };
            match more {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(_) if read > 0 => break, // the next call returns the error
                Err(failure) => return Err(failure),
            }
        }
        self.lent = 0;
        Ok(read)
    }

    /// Lends room for at least `least` bytes, and for at most `most`.
    #[inline]
    pub(crate) fn reserve(
        &mut self,
        least: usize,
        most: usize,
        timeout: Timeout,
    ) -> Result<NonNull<[u8]>, Failure> {
        self.lent = 0;
        let room = match self.producer()?.try_reserve_raw(most) {
            Ok(room) if room.len() >= least => room,
            Ok(_) | Err(ReserveError::Full { .. }) => self.reserve_slow(least, most, timeout)?,
            Err(error) => return Err(error.into()),
        };
        self.lent = room.len();
        Ok(room)
    }

    #[inline(never)]
    fn reserve_slow(
        &mut self,
        least: usize,
        most: usize,
        timeout: Timeout,
    ) -> Result<NonNull<[u8]>, Failure> {
        match timeout {
            Timeout::Forever => self.producer()?.wait_writable(least)?,
            Timeout::For(limit) => self
                .producer()?
                .wait_writable_deadline(least, after(limit))?,
            Timeout::Try => self.attempt(least, |end| {
                Ok(end.producer()?.try_reserve(least).map(drop)?)
            })?,
        }
        let producer = self.producer()?;
        let room = producer.try_reserve_raw(most)?;
        if room.len() >= least {
            return Ok(room);
        }
        Ok(producer.try_reserve_raw(least)?)
    }

    /// Publishes the first `len` bytes of the room that was lent.
    #[inline]
    pub(crate) fn commit(&mut self, len: usize) -> Result<usize, Failure> {
        self.take_back(len, "more bytes are committed than were reserved")?;
        self.producer()?.commit_raw(len)?;
        Ok(len)
    }

    /// Lends at least `least` bytes, and at most `most`. Fewer only at the end of the stream, where
    /// `None` stands for no bytes.
    #[inline]
    pub(crate) fn peek(
        &mut self,
        least: usize,
        most: usize,
        timeout: Timeout,
    ) -> Result<Option<NonNull<[u8]>>, Failure> {
        self.lent = 0;
        let consumer = self.consumer()?;
        let found = if timeout == Timeout::Forever && least <= 1 {
            // Lets bytes gather as the pace says, as blocking reads do.
            match consumer.peek_up_to(most).map(|grant| grant.len()) {
                Ok(len) => consumer.try_peek_raw(len),
                Err(error) => Err(error),
            }
        } else {
            consumer.try_peek_raw(most)
        };
        let lent = match found {
            Ok(lent) if lent.len() >= least => Some(lent),
            Ok(_) | Err(PeekError::Empty { .. }) => self.peek_slow(least, most, timeout)?,
            Err(error) => self.last_bytes(error, most)?,
        };
        self.lent = lent.map_or(0, |lent| lent.len());
        Ok(lent)
    }

    #[inline(never)]
    fn peek_slow(
        &mut self,
        least: usize,
        most: usize,
        timeout: Timeout,
    ) -> Result<Option<NonNull<[u8]>>, Failure> {
        let waited = match timeout {
            Timeout::Forever => self.consumer()?.wait_readable(least),
            Timeout::For(limit) => self.consumer()?.wait_readable_deadline(least, after(limit)),
            Timeout::Try => self.attempt(least, |end| {
                match end.consumer()?.try_peek(least).map(drop) {
                    Err(error @ PeekError::Empty { .. }) => Err(error.into()),
                    looked => Ok(looked),
                }
            })?,
        };
        if let Err(error) = waited {
            return self.last_bytes(error, most);
        }
        let consumer = self.consumer()?;
        match consumer.try_peek_raw(most)? {
            lent if lent.len() >= least => Ok(Some(lent)),
            _ => Ok(Some(consumer.try_peek_raw(least)?)),
        }
    }

    /// The bytes before the end of the stream, for a peek that failed with `error`.
    #[cold]
    fn last_bytes(
        &mut self,
        error: PeekError,
        most: usize,
    ) -> Result<Option<NonNull<[u8]>>, Failure> {
        match error {
            PeekError::Ended { available: 0, .. } => Ok(None),
            PeekError::Ended { available, .. } => {
                let most = available.min(most);
                Ok(Some(self.consumer()?.try_peek_raw(most)?))
            }
            error => Err(error.into()),
        }
    }

    /// Takes the first `len` bytes of those that were lent out of the stream.
    #[inline]
    pub(crate) fn consume(&mut self, len: usize) -> Result<usize, Failure> {
        self.take_back(len, "more bytes are consumed than were peeked at")?;
        self.consumer()?.consume_raw(len)?;
        Ok(len)
    }

    #[inline]
    fn take_back(&mut self, len: usize, excess: &'static str) -> Result<(), Failure> {
        if len > self.lent {
            return Err(Failure::invalid(excess));
        }
        self.lent = 0;
        Ok(())
    }

    /// Publishes what a batch holds back.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.producer()?.flush()?)
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
        // taken it back, against the protocol, then the descriptor stays readable.
        call(self)
    }

    pub(crate) fn close(&mut self, timeout: Timeout) -> Result<(), Failure> {
        self.lent = 0;
        match (self.handle()?, timeout) {
            (Handle::Consumer(consumer), _) => Ok(consumer.close()?),
            (Handle::Producer(producer), Timeout::Forever) => Ok(producer.close()?),
            (Handle::Producer(producer), Timeout::Try) => {
                Ok(producer.close_deadline(Instant::now())?)
            }
            (Handle::Producer(producer), Timeout::For(limit)) => {
                Ok(producer.close_deadline(after(limit))?)
            }
        }
    }

    pub(crate) fn abort(&mut self) -> Result<(), Failure> {
        self.lent = 0;
        either!(self, handle => handle.abort());
        Ok(())
    }

    pub(crate) fn wait_for_peer(&mut self, timeout: Timeout) -> Result<(), Failure> {
        either!(self, handle => match timeout {
            Timeout::Forever => handle.wait_for_peer()?,
            Timeout::Try => handle.wait_for_peer_deadline(Instant::now())?,
            Timeout::For(limit) => handle.wait_for_peer_deadline(after(limit))?,
        });
        Ok(())
    }

    pub(crate) fn next_stream(&mut self) -> Result<bool, Failure> {
        self.lent = 0;
        Ok(self.consumer()?.next_stream()?)
    }

    /// Asks the kernel whether the peer lives, and says who holds the other end.
    pub(crate) fn peer(&mut self) -> Result<RawPeer, Failure> {
        let (state, pid) = match either!(self, handle => handle.peer()) {
            Occupant::Nobody => (0, 0),
            Occupant::Process(pid) => (1, pid),
            Occupant::Dead(pid) => (2, pid),
            Occupant::Left => (3, 0),
            _ => (4, 0),
        };
        Ok(RawPeer { state, pid })
    }

    pub(crate) fn check_peer(&mut self) -> Result<(), Failure> {
        Ok(either!(self, handle => handle.check_peer())?)
    }

    pub(crate) fn id(&mut self) -> Result<i32, Failure> {
        let id = either!(self, handle => handle.id());
        let none = || Failure::invalid("the ring has no segment, and so no id");
        Ok(id.ok_or_else(none)?.raw())
    }

    pub(crate) fn stats(&mut self) -> Result<RawStats, Failure> {
        let available = match self.handle()? {
            Handle::Producer(producer) => producer.room().unwrap_or(0),
            Handle::Consumer(consumer) => consumer.available().unwrap_or(0),
        };
        let (role, is_at_end) = match self.handle()? {
            Handle::Producer(_) => (1, 0),
            Handle::Consumer(consumer) => (2, u32::from(consumer.is_at_end())),
        };
        Ok(either!(self, handle => {
            let stats = handle.stats();
            RawStats {
                size: size_of::<RawStats>(),
                capacity: handle.capacity() as u64,
                position: handle.position(),
                stream_position: handle.stream_position(),
                stream_number: handle.stream_number(),
                available: available as u64,
                waits: stats.waits,
                sleeps: stats.sleeps,
                wakes: stats.wakes,
                nonce: handle.nonce(),
                id: handle.id_for_log().map_or(-1, |id| id.raw()),
                role,
                is_closed: u32::from(handle.is_closed()),
                is_at_end,
            }
        }))
    }

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

    /// Adds the other end of this ring to those that a child gets.
    pub(crate) fn give<'a>(
        &'a mut self,
        name: &str,
        handover: Handover<'a>,
    ) -> Result<Handover<'a>, Failure> {
        Ok(match self.handle()? {
            Handle::Producer(producer) => handover.give_consumer(name, producer),
            Handle::Consumer(consumer) => handover.give_producer(name, consumer),
        })
    }
}

impl Polled {
    fn handle(&mut self) -> Result<Handle<'_>, Failure> {
        match self.set.get_mut(0) {
            Some(Member::Producer(producer)) => Ok(Handle::Producer(producer)),
            Some(Member::Consumer(consumer)) => Ok(Handle::Consumer(consumer)),
            None => Err(Failure::panicked("an end is not in its set".to_owned())),
        }
    }

    /// Arms the descriptor for `least` bytes, or for that much room. Returns `false` if they have come.
    #[cold]
    fn arm(&mut self, least: usize) -> Result<bool, Failure> {
        if self.least != least {
            self.set.set_low_water_mark(0, least);
            self.least = least;
        }
        Ok(self.set.try_wait()?.is_none())
    }
}

/// The failure of a blocking call. Out of the way of the calls that succeed.
#[cold]
#[inline(never)]
fn blocked(error: std::io::Error) -> Failure {
    error.into()
}

/// The instant that lies `limit` ahead, or one that never comes.
fn after(limit: std::time::Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(limit).unwrap_or(now)
}
