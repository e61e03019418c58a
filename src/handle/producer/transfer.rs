//! How bytes get into the ring, in up to three steps. The first is a short copy in the
//! caller (`fast_short`), the second a copy of up to one publication (`_long`), the
//! third the rest (`_slow`). Each step handles what the step before left.
//!
//! There are three steps because a function that contains a call is slower on every path, also
//! on those without the call. With the first two steps in one function, sending and receiving
//! a message of 8 bytes took 109 instructions instead of 88. With the last two in one, a message
//! of 1 KiB took 24 more.

use std::io;
use std::time::Instant;

use super::Producer;
use crate::error::{Broken, ReserveError, TryWriteError, WaitError};
use crate::handle::endpoint::{Blocked, FastPath};
use crate::segment::copy::SHORT;
use crate::tuning::{PUBLICATION, publication};
use crate::wait::deadline::is_past;

impl Producer {
    /// The fast path of a short write. Taken if there is a consumer that has not
    /// asked for inline messages, and the known room is enough.
    #[inline(always)]
    pub(super) fn fast_short(&mut self, bytes: &[u8]) -> FastPath {
        if !(1..=SHORT).contains(&bytes.len())
            || !self.end.is_usable()
            || self.writer.wants_inline()
            || !self.writer.put_known(bytes)
        {
            return FastPath::Miss;
        }
        self.publish_if_due()
    }

    /// The fast path of a write that fits one publication. Taken if there is a
    /// consumer, and the known room is enough.
    #[inline(always)]
    fn fast_long(&mut self, bytes: &[u8]) -> FastPath {
        if !(1..=PUBLICATION).contains(&bytes.len()) || !self.end.is_usable() {
            return FastPath::Miss;
        }
        if self.writer.has_hint() {
            return self.fast_hinted(bytes);
        }
        if !self.writer.put_known(bytes) {
            return FastPath::Miss;
        }
        self.publish_if_due()
    }

    /// The fast path for a consumer that has set a delivery hint: see `Writer::put_hinted`.
    #[inline(never)]
    fn fast_hinted(&mut self, bytes: &[u8]) -> FastPath {
        if !self.writer.put_hinted(bytes) {
            return FastPath::Miss;
        }
        let path = self.publish_if_due();
        self.writer.prefetch_write(bytes.len());
        path
    }

    /// Whether `len` bytes can be granted without a look at the consumer's position.
    #[inline(always)]
    pub(crate) fn has_known_room(&self, len: usize) -> bool {
        len > 0 && self.end.is_usable() && self.writer.has_known(len)
    }

    /// Counts `len` bytes that the caller has written in place, in known room.
    /// Publishes them, unless the batch is not full yet.
    #[inline(always)]
    pub(crate) fn commit(&mut self, len: usize) {
        if len == 0 || !self.writer.advance_known(len) {
            return self.commit_slow(len);
        }
        let path = self.publish_if_due();
        self.finish_fast(path, (), |_| ());
    }

    /// The slow case of [`commit`](Self::commit): the bytes reach beyond the window, or the
    /// consumer has set a delivery hint.
    #[inline(never)]
    fn commit_slow(&mut self, len: usize) {
        if len == 0 {
            return;
        }
        self.writer.advance_hinted(len);
        let path = self.publish_if_due();
        if self.writer.has_hint() {
            self.writer.prefetch_write(len);
        }
        self.finish_fast(path, (), |_| ());
    }

    /// Writes all of `bytes` in known room, and publishes them as [`commit`](Self::commit)
    /// does, even if the consumer has left meanwhile. The next consumer reads them.
    pub(crate) fn commit_copied(&mut self, bytes: &[u8]) {
        if !self.end.is_usable() {
            return;
        }
        match self.writer.put(bytes) {
            Ok(_) => {
                let path = self.publish_if_due();
                self.finish_fast(path, (), |_| ());
            }
            Err(corruption) => {
                self.end.latch(corruption.into());
            }
        }
    }

    /// Counts a call that found room without a wait.
    pub(crate) fn found_without_wait(&mut self) {
        self.end.stayed_awake(0);
    }

    /// Publishes what was written, unless the batch is not full yet.
    #[inline(always)]
    fn publish_if_due(&mut self) -> FastPath {
        if self.batch > 0 && self.writer.pending() < self.batch {
            return FastPath::Done;
        }
        self.writer.publish();
        self.end.fast_path_done(self.writer.peer_signals())
    }

    /// Ends a call after its fast path: see [`FastPath::finish`].
    #[inline(always)]
    pub(super) fn finish_fast<T>(
        &mut self,
        path: FastPath,
        done: T,
        otherwise: impl FnOnce(&mut Self) -> T,
    ) -> T {
        path.finish(self, done, Self::wake_after, otherwise)
    }

    /// Wakes the consumer if necessary, and returns `result`.
    #[cold]
    #[inline(never)]
    fn wake_after<T>(&mut self, result: T) -> T {
        let (peer, tail) = (self.writer.peer_signals(), self.writer.tail());
        self.end.wake_slow(peer, tail);
        result
    }

    #[inline(never)]
    pub(super) fn try_write_long(&mut self, bytes: &[u8]) -> Result<usize, TryWriteError> {
        let path = self.fast_long(bytes);
        self.finish_fast(path, Ok(bytes.len()), |this| {
            this.try_write_pieces(bytes, None)
        })
    }

    #[inline(never)]
    pub(super) fn try_write_all_slow(&mut self, bytes: &[u8]) -> Result<(), ReserveError> {
        self.end.usable()?;
        if bytes.is_empty() {
            return Ok(());
        }
        self.check_consumer()?;
        let (wanted, capacity) = (bytes.len(), self.capacity());
        if wanted > capacity {
            return Err(ReserveError::TooLong { wanted, capacity });
        }
        let room = self.known_room(wanted)?;
        if room < wanted {
            // The consumer has to make room first, so it must see all bytes held
            // back.
            self.publish();
            return Err(self.full(wanted, room));
        }
        let put = self.writer.put(bytes);
        put.map_err(|corruption| self.end.latch(corruption.into()))?;
        if self.writer.pending() >= self.batch {
            self.publish();
        }
        self.end.stayed_awake(0);
        Ok(())
    }

    #[inline(never)]
    pub(super) fn write_long(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let path = self.fast_long(bytes);
        self.finish_fast(path, Ok(bytes.len()), |this| this.write_slow(bytes))
    }

    #[inline(never)]
    pub(super) fn write_all_long(&mut self, bytes: &[u8]) -> io::Result<()> {
        let path = self.fast_long(bytes);
        self.finish_fast(path, Ok(()), |this| this.write_all_slow(bytes))
    }

    #[inline(never)]
    fn write_slow(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.end.usable()?;
        let deadline = self.end.deadline();
        match self.write_until(bytes, deadline) {
            (written, _) if written > 0 => Ok(written),
            (_, Ok(())) => Ok(0),
            (_, Err(blocked)) => Err(self.end.io_error(blocked)),
        }
    }

    #[inline(never)]
    fn write_all_slow(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = self.write_slow(bytes)?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// Writes `bytes` in pieces, one publication each. After `deadline` there is
    /// only the first look, even if it finds little room. So a peer that frees a few
    /// bytes at a time cannot prolong the call.
    #[inline(never)]
    pub(super) fn try_write_pieces(
        &mut self,
        bytes: &[u8],
        deadline: Option<Instant>,
    ) -> Result<usize, TryWriteError> {
        self.end.usable()?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let mut written = 0;
        loop {
            // The next piece needs a look, unless the last look left room.
            if written > 0 && deadline.is_some() && self.known_room(0)? == 0 && is_past(deadline) {
                return Ok(written);
            }
            let longest = self.writer.region().longest_publication();
            let most = publication(written, longest);
            match self.write_some(&bytes[written..], most) {
                Ok(0) if written == 0 => {
                    return Err(match self.end.take_verdict() {
                        Some(broken) => broken.into(),
                        None => TryWriteError::Full,
                    });
                }
                Err(broken) if written == 0 => return Err(broken.into()),
                // The published bytes count. The next call returns the error.
                Ok(0) | Err(_) => return Ok(written),
                Ok(len) => written += len,
            }
            if written == bytes.len() {
                self.end.stayed_awake(0);
                return Ok(written);
            }
        }
    }

    /// Writes at most `most` bytes in one publication, or as many as there is room
    /// for.
    #[inline]
    fn write_some(&mut self, bytes: &[u8], most: usize) -> Result<usize, Broken> {
        self.check_consumer()?;
        let bytes = &bytes[..bytes.len().min(most)];
        match self.writer.put(bytes) {
            Ok(len) => {
                // The consumer has to make room first, so it must see all bytes
                // held back.
                if len < bytes.len() || self.writer.pending() >= self.batch {
                    self.publish();
                }
                Ok(len)
            }
            Err(corruption) => Err(self.end.latch(corruption.into())),
        }
    }

    /// Writes all of `bytes` before `deadline`. Returns how many bytes were
    /// written, and why no more.
    pub(super) fn write_until(
        &mut self,
        bytes: &[u8],
        deadline: Option<Instant>,
    ) -> (usize, Result<(), Blocked>) {
        let mut written = 0;
        while written < bytes.len() {
            match self.try_write_pieces(&bytes[written..], deadline) {
                Ok(len) => {
                    written += len;
                    // Room freed since the last look is left unused. So a peer that
                    // frees a few bytes at a time cannot prolong the call.
                    if written < bytes.len() && is_past(deadline) {
                        let departure = self.check_consumer().map_err(Blocked::from);
                        return (written, departure.and(Err(Blocked::TimedOut)));
                    }
                }
                Err(TryWriteError::Full) => {
                    if let Err(blocked) = self.wait_for_some_room(deadline) {
                        return (written, Err(blocked));
                    }
                }
                Err(TryWriteError::Broken(broken)) => return (written, Err(broken.into())),
            }
        }
        (written, Ok(()))
    }

    /// The error of a blocking call with a deadline.
    #[cold]
    pub(crate) fn io_error(&self, blocked: Blocked) -> io::Error {
        match blocked {
            Blocked::TimedOut => self.end.timed_out(None),
            Blocked::Cancelled => WaitError::Cancelled.into(),
            Blocked::Broken(broken) => broken.into(),
        }
    }
}
