//! Grants of bytes.
//!
//! This file has more than 450 lines because more than half of them are documentation with
//! examples.

use std::ptr::NonNull;
use std::time::Instant;

use super::ReadGrant;
use crate::error::PeekError;
use crate::handle::consumer::{Consumer, why_broken};
use crate::handle::endpoint::Blocked;
use crate::ring::Readiness;
use crate::ring::marks::Ending;
use crate::segment::region::Region;
use crate::wait::deadline::is_past;

impl Consumer {
    /// Returns a grant of the next `len` bytes, in one piece. The bytes stay in the
    /// stream. Never waits; [`peek`](Self::peek) does.
    ///
    /// # Errors
    ///
    /// [`PeekError::Empty`] and [`PeekError::Ended`] return how many bytes there
    /// are. [`PeekError::TooLong`] if `len` is more than the capacity.
    /// [`PeekError::Wraps`] if the bytes wrap, which happens only in [the caller's
    /// memory](crate::Options::create_in).
    /// [`PeekError::Broken`] if the stream cannot continue.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    /// use shmpipe::PeekError;
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.write_all(b"abc")?;
    /// let (wanted, available) = (4, 3);
    /// assert_eq!(consumer.try_peek(4).unwrap_err(), PeekError::Empty { wanted, available });
    /// producer.close()?;
    /// assert_eq!(consumer.try_peek(4).unwrap_err(), PeekError::Ended { wanted, available });
    /// consumer.try_peek(3)?.consume_all();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "read_chunk")]
    #[inline]
    pub fn try_peek(&mut self, len: usize) -> Result<ReadGrant<'_>, PeekError> {
        if !self.has_known(len) {
            self.look_for_bytes(len)?;
        }
        Ok(ReadGrant::new(self, len))
    }

    /// Returns a grant of the bytes available in one piece: at least one, and at
    /// most `most`. With a `most` of 0, the grant is empty. Never waits;
    /// [`peek_up_to`](Self::peek_up_to) does.
    ///
    /// # Errors
    ///
    /// [`PeekError::Empty`] if there are no bytes yet, [`PeekError::Ended`] after
    /// the end of the stream. [`PeekError::Broken`] if the stream cannot continue.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.write_all(b"abc")?;
    /// let grant = consumer.try_peek_up_to(usize::MAX)?;
    /// assert_eq!(grant.len(), 3);
    /// grant.consume(2);
    /// assert_eq!(consumer.available()?, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn try_peek_up_to(&mut self, most: usize) -> Result<ReadGrant<'_>, PeekError> {
        let mut len = most;
        if !self.has_known(len) {
            len = self.look_for_some_bytes(most)?;
        }
        Ok(ReadGrant::new(self, len))
    }

    /// Returns a grant of the next `len` bytes, in one piece. The bytes stay in the
    /// stream. Waits for the bytes, within the handle's
    /// [timeout](Self::set_timeout).
    ///
    /// # Errors
    ///
    /// [`PeekError::TimedOut`] and [`PeekError::Ended`] return how many bytes there
    /// are. [`PeekError::Broken`] if the stream was broken off, or its producer
    /// died, before `len` bytes came. Otherwise the errors of
    /// [`try_peek`](Self::try_peek).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// let writer = std::thread::spawn(move || producer.write_all(b"abcdef"));
    /// let grant = consumer.peek(6)?; // waits for the writer
    /// assert_eq!(grant.len(), 6);
    /// grant.consume_all();
    /// # writer.join().unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "read_chunk")]
    #[inline]
    pub fn peek(&mut self, len: usize) -> Result<ReadGrant<'_>, PeekError> {
        if !self.has_known(len) {
            self.peek_slow(len)?;
        }
        Ok(ReadGrant::new(self, len))
    }

    /// Returns a grant of the bytes available in one piece, at most `most`. Waits
    /// for at least one byte, within the handle's [timeout](Self::set_timeout).
    ///
    /// # Errors
    ///
    /// The errors of [`peek`](Self::peek), except [`PeekError::TooLong`] and
    /// [`PeekError::Wraps`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    /// use shmpipe::PeekError;
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// let writer = std::thread::spawn(move || producer.write_all(b"abcdef"));
    /// let mut sum = 0;
    /// loop {
    ///     match consumer.peek_up_to(4) {
    ///         Ok(grant) => {
    ///             sum += grant.len();
    ///             grant.consume_all();
    ///         }
    ///         Err(PeekError::Ended { .. }) => break,
    ///         Err(error) => return Err(error.into()),
    ///     }
    /// }
    /// assert_eq!(sum, 6);
    /// # writer.join().unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn peek_up_to(&mut self, most: usize) -> Result<ReadGrant<'_>, PeekError> {
        let mut len = most;
        if !self.has_known(len) {
            len = self.peek_some_slow(most)?;
        }
        Ok(ReadGrant::new(self, len))
    }

    /// Returns a grant of the bytes available in one piece, at most `most`. Waits
    /// for at least one byte until `deadline`. After the deadline, available bytes
    /// are still granted.
    ///
    /// # Errors
    ///
    /// The errors of [`peek_up_to`](Self::peek_up_to). The handle's timeout does
    /// not apply.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    /// use shmpipe::PeekError;
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.try_write(b"abc").unwrap();
    /// consumer.peek_up_to_deadline(usize::MAX, Instant::now())?.consume_all();
    /// let error = consumer.peek_up_to_deadline(100, Instant::now()).unwrap_err();
    /// assert_eq!(error, PeekError::TimedOut { wanted: 1, available: 0 });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn peek_up_to_deadline(
        &mut self,
        most: usize,
        deadline: Instant,
    ) -> Result<ReadGrant<'_>, PeekError> {
        let len = self.wait_for_some_bytes(most, Some(deadline))?;
        Ok(ReadGrant::new(self, len))
    }

    /// Returns the bytes that [`try_peek_up_to`](Self::try_peek_up_to) would grant,
    /// as an address and a length, for bindings that cannot express a borrow.
    /// [`consume_raw`](Self::consume_raw) takes these bytes out of the stream.
    /// Never waits; [`wait_readable`](Self::wait_readable) does.
    ///
    /// The bytes stay until the next call on this handle that takes bytes. They are
    /// mapped while the handle lives. A peer that breaks the protocol can write
    /// there: see [`ReadGrant::as_ptr`].
    ///
    /// # Errors
    ///
    /// The errors of [`try_peek_up_to`](Self::try_peek_up_to).
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.try_write(b"abc").unwrap();
    /// let bytes = consumer.try_peek_raw(usize::MAX)?;
    /// // SAFETY: inside the bytes, and volatile, whoever the peer is.
    /// let last = unsafe { bytes.cast::<u8>().add(bytes.len() - 1).read_volatile() };
    /// assert_eq!(last, b'c');
    /// consumer.consume_raw(bytes.len())?;
    /// assert_eq!(consumer.available()?, 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn try_peek_raw(&mut self, most: usize) -> Result<NonNull<[u8]>, PeekError> {
        let len = self.try_peek_up_to(most)?.len();
        let reader = self.reader();
        let first = reader.region().at(reader.head(), len);
        Ok(NonNull::slice_from_raw_parts(first, len))
    }

    /// Takes the next `len` bytes out of the stream.
    ///
    /// # Errors
    ///
    /// The errors of [`try_peek`](Self::try_peek) for `len` bytes. Nothing was
    /// taken.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::PeekError;
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.try_write(b"abc").unwrap();
    /// consumer.consume_raw(2)?;
    /// let (wanted, available) = (2, 1);
    /// assert_eq!(consumer.consume_raw(2), Err(PeekError::Empty { wanted, available }));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn consume_raw(&mut self, len: usize) -> Result<(), PeekError> {
        self.try_peek(len)?.consume_all();
        Ok(())
    }

    /// Waits until `len` bytes are available, within the handle's
    /// [timeout](Self::set_timeout). A read of `len` bytes then does not wait.
    ///
    /// The bytes need not be in one piece: in [the caller's
    /// memory](crate::Options::create_in), a grant ends at the ring's end. With a
    /// `len` of 0, this call only checks whether the handle is usable.
    ///
    /// # Errors
    ///
    /// [`PeekError::TimedOut`] and [`PeekError::Ended`] return how many bytes there
    /// are. [`PeekError::TooLong`] if `len` is more than the capacity.
    /// [`PeekError::Broken`] if the stream was broken off, or its producer died,
    /// before `len` bytes came, or if the handle is unusable.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// let writer = std::thread::spawn(move || producer.write_all(b"abcdef"));
    /// consumer.wait_readable(6)?;
    /// assert_eq!(consumer.available()?, 6);
    /// # writer.join().unwrap()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_readable(&mut self, len: usize) -> Result<(), PeekError> {
        self.wait_to_peek(len, len, self.deadline())
    }

    /// Waits until `len` bytes are available, or until `deadline`. Succeeds after
    /// the deadline if the bytes are available.
    ///
    /// # Errors
    ///
    /// The errors of [`wait_readable`](Self::wait_readable). The handle's timeout
    /// does not apply.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use shmpipe::PeekError;
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.try_write(b"abc").unwrap();
    /// let soon = Instant::now() + Duration::from_millis(20);
    /// assert_eq!(consumer.wait_readable_deadline(3, soon), Ok(()));
    /// let timed_out = Err(PeekError::TimedOut { wanted: 4, available: 3 });
    /// assert_eq!(consumer.wait_readable_deadline(4, soon), timed_out);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_readable_deadline(
        &mut self,
        len: usize,
        deadline: Instant,
    ) -> Result<(), PeekError> {
        self.wait_to_peek(len, len, Some(deadline))
    }

    /// Returns a grant of the next `len` bytes, in one piece, and waits for the
    /// bytes until `deadline`. After the deadline, available bytes are still
    /// granted.
    ///
    /// # Errors
    ///
    /// The errors of [`peek`](Self::peek). The handle's timeout does not apply.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    /// use std::time::{Duration, Instant};
    /// use shmpipe::PeekError;
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.write_all(b"abc")?;
    /// let soon = Instant::now() + Duration::from_millis(20);
    /// let error = consumer.peek_deadline(4, soon).unwrap_err();
    /// assert_eq!(error, PeekError::TimedOut { wanted: 4, available: 3 });
    /// consumer.peek_deadline(3, soon)?.consume_all();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn peek_deadline(
        &mut self,
        len: usize,
        deadline: Instant,
    ) -> Result<ReadGrant<'_>, PeekError> {
        self.wait_for_piece(len, Some(deadline))?;
        Ok(ReadGrant::new(self, len))
    }

    #[inline(never)]
    fn peek_slow(&mut self, len: usize) -> Result<(), PeekError> {
        self.wait_for_piece(len, self.deadline())
    }

    #[inline(never)]
    fn peek_some_slow(&mut self, most: usize) -> Result<usize, PeekError> {
        self.wait_for_some_bytes(most, self.deadline())
    }

    /// Looks once for `len` bytes in one piece.
    #[inline(never)]
    fn look_for_bytes(&mut self, len: usize) -> Result<(), PeekError> {
        self.bytes_for(len)?;
        self.found_without_wait();
        self.check_piece(len)
    }

    /// Looks once for at most `most` bytes in one piece, and returns their number.
    #[inline(never)]
    fn look_for_some_bytes(&mut self, most: usize) -> Result<usize, PeekError> {
        self.bytes_for(most.min(1))?;
        let available = self.known(most.min(self.capacity()))?;
        self.found_without_wait();
        Ok(available.min(most).min(self.contiguous_bytes()))
    }

    /// Waits for `len` bytes in one piece.
    fn wait_for_piece(&mut self, len: usize, deadline: Option<Instant>) -> Result<(), PeekError> {
        self.wait_to_peek(len, len, deadline)?;
        self.check_piece(len)
    }

    /// Waits for at most `most` bytes in one piece, and returns their number.
    fn wait_for_some_bytes(
        &mut self,
        most: usize,
        deadline: Option<Instant>,
    ) -> Result<usize, PeekError> {
        self.wait_to_peek(most.min(1), most, deadline)?;
        let available = self.known(0)?;
        Ok(available.min(most).min(self.contiguous_bytes()))
    }

    /// Waits for `len` bytes. If fewer than `most` are known, looks for more, and lets
    /// bytes gather as the pace says.
    pub(crate) fn wait_to_peek(
        &mut self,
        len: usize,
        most: usize,
        deadline: Option<Instant>,
    ) -> Result<(), PeekError> {
        if len > 0 && len <= self.capacity() && self.is_usable() {
            match self.coalesce(most, false, deadline) {
                // The loop looks once more.
                Ok(()) | Err(Blocked::TimedOut) => {}
                Err(Blocked::Cancelled) => return Err(PeekError::Cancelled),
                Err(Blocked::Broken(broken)) => return Err(broken.into()),
            }
        }
        loop {
            match self.bytes_for(len) {
                Err(PeekError::Empty { .. }) => {}
                result => return result,
            }
            match self.wait_for_bytes(len, deadline) {
                // A peer that breaks the protocol may take back bytes again and
                // again. The deadline still holds.
                Ok(()) if !is_past(deadline) => continue,
                Ok(()) => {
                    return match self.bytes_for(len) {
                        Err(PeekError::Empty { wanted, available }) => {
                            Err(PeekError::TimedOut { wanted, available })
                        }
                        result => result,
                    };
                }
                Err(Blocked::TimedOut) => match self.known(len)? {
                    // The bytes came at the last moment.
                    available if available >= len => return Ok(()),
                    available => {
                        return Err(PeekError::TimedOut {
                            wanted: len,
                            available,
                        });
                    }
                },
                Err(Blocked::Cancelled) => return Err(PeekError::Cancelled),
                Err(Blocked::Broken(broken)) => return Err(broken.into()),
            }
        }
    }

    /// Fails if `len` available bytes are not in one piece.
    fn check_piece(&self, len: usize) -> Result<(), PeekError> {
        let contiguous = self.contiguous_bytes();
        if contiguous < len {
            return Err(PeekError::Wraps {
                wanted: len,
                contiguous,
            });
        }
        Ok(())
    }

    /// Bytes from the head to the end of the run of addresses, whether readable or
    /// not.
    fn contiguous_bytes(&self) -> usize {
        let reader = self.reader();
        reader.region().contiguous(reader.head())
    }

    /// Fails with the reason if fewer than `len` bytes are available.
    pub(crate) fn bytes_for(&mut self, len: usize) -> Result<(), PeekError> {
        let capacity = self.capacity();
        if len > capacity {
            self.readiness(0)?; // an unusable handle returns its own error first
            return Err(PeekError::TooLong {
                wanted: len,
                capacity,
            });
        }
        match self.readiness(len)? {
            Readiness::Ready => Ok(()),
            Readiness::Empty => {
                let (wanted, available) = (len, self.known(0)?);
                match self.verdict(available > 0) {
                    Some(broken) => Err(broken.into()),
                    None => Err(PeekError::Empty { wanted, available }),
                }
            }
            Readiness::Ended(ending) => {
                self.end_shown();
                self.ended(ending, len)
            }
        }
    }

    fn ended(&mut self, ending: Ending, wanted: usize) -> Result<(), PeekError> {
        match why_broken(ending) {
            None => Err(PeekError::Ended {
                wanted,
                available: self.known(0)?,
            }),
            Some(broken) => Err(broken.into()),
        }
    }
}
