//! The writing end as a standard writer.

use std::io::{self, IoSlice};

use super::Producer;
use crate::error::WaitError;
use crate::handle::endpoint::Blocked;

impl io::Write for Producer {
    /// Writes all of `bytes`, blocking while the ring is full. Fewer are
    /// written only when the stream breaks or the time is over in between; the
    /// next call then gives the reason.
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let short = self.write_short(bytes);
        self.end_with(short, Ok(bytes.len()), |this| this.write_at_length(bytes))
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let short = self.write_short(bytes);
        self.end_with(short, Ok(()), |this| this.write_all_at_length(bytes))
    }

    /// Writes the parts one after the other, as many as there is room for, and
    /// publishes them together. Blocks while there is no room at all.
    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.end.usable()?;
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        if len == 0 {
            return Ok(0);
        }
        self.check_consumer()?;
        if self.known_room(len)? == 0 {
            let deadline = self.end.deadline();
            let waited = self.wait_for_some_room(deadline);
            waited.map_err(|blocked| self.end.io_error(blocked))?;
        }
        let mut written = 0;
        for part in parts {
            let put = self.writer.put(part);
            let put = put.map_err(|corruption| self.end.latch(corruption.into()))?;
            written += put;
            if put < part.len() {
                break;
            }
        }
        if written < len || self.writer.pending() >= self.batch {
            self.publish();
        }
        Ok(written)
    }

    /// Publishes what is held back in a batch; fails if there is nobody left to
    /// read it. Without a batch there is nothing to do: every write is
    /// published before it returns. Does not wait until the consumer has read
    /// it.
    fn flush(&mut self) -> io::Result<()> {
        self.end.usable()?;
        if self.writer.pending() > 0 {
            self.check_consumer()?;
            self.publish();
        }
        Ok(())
    }
}

impl Producer {
    #[inline(never)]
    fn write_at_length(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let short = self.write_known(bytes);
        self.end_with(short, Ok(bytes.len()), |this| this.write_or_wait(bytes))
    }

    #[inline(never)]
    fn write_all_at_length(&mut self, bytes: &[u8]) -> io::Result<()> {
        let short = self.write_known(bytes);
        self.end_with(short, Ok(()), |this| this.write_all_or_wait(bytes))
    }

    #[inline(never)]
    fn write_or_wait(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.end.usable()?;
        let deadline = self.end.deadline();
        match self.write_until(bytes, deadline) {
            (written, _) if written > 0 => Ok(written),
            (_, Ok(())) => Ok(0),
            (_, Err(blocked)) => Err(self.end.io_error(blocked)),
        }
    }

    #[inline(never)]
    fn write_all_or_wait(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = self.write_or_wait(bytes)?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    /// The error of a blocking call that has a deadline of its own.
    #[cold]
    pub(crate) fn io_error(&self, blocked: Blocked) -> io::Error {
        match blocked {
            Blocked::TimedOut => self.end.timed_out(None),
            Blocked::Cancelled => WaitError::Cancelled.into(),
            Blocked::Broken(broken) => broken.into(),
        }
    }
}
