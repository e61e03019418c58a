//! Writing and reading in place.

use std::ptr::NonNull;

use ring::{PeekError, ReserveError};

use super::{End, Handle, after};
use crate::failure::Failure;
use crate::options::Timeout;

impl End {
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
        self.lend(room.len())?;
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

    /// Lends at least `least` bytes, and at most `most`. Lends fewer only at the end of the stream,
    /// and returns `None` if no bytes are left there.
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
        self.lend(lent.map_or(0, |lent| lent.len()))?;
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

    /// Takes the first `len` of the bytes that were lent, out of the stream.
    #[inline]
    pub(crate) fn consume(&mut self, len: usize) -> Result<usize, Failure> {
        self.take_back(len, "more bytes are consumed than were peeked at")?;
        self.consumer()?.consume_raw(len)?;
        Ok(len)
    }

    #[inline]
    fn lend(&mut self, len: usize) -> Result<(), Failure> {
        self.lent_at = self.position()?;
        self.lent = len;
        Ok(())
    }

    #[inline]
    fn take_back(&mut self, len: usize, excess: &'static str) -> Result<(), Failure> {
        if len > self.lent || self.position()? != self.lent_at {
            return Err(Failure::invalid(excess));
        }
        self.lent = 0;
        Ok(())
    }

    #[inline]
    fn position(&mut self) -> Result<u64, Failure> {
        Ok(either!(self, handle => handle.position()))
    }
}
