//! The calls that read.

use std::io::{self, IoSliceMut};
use std::time::Instant;

use super::Consumer;
use crate::error::{PartialError, PeekError, TryReadError, WaitError};
use crate::segment::copy::INLINE;
use crate::segment::region::Region;
use crate::wait::deadline::is_past;

impl Consumer {
    /// Reads what is there, as much as `bytes` holds, and says how much that
    /// was; 0 is the end of the stream, or that `bytes` is empty. Never
    /// blocks; makes a system call only to wake a producer that sleeps.
    ///
    /// # Errors
    ///
    /// [`TryReadError::Empty`] when there is nothing yet.
    /// [`TryReadError::Broken`] when nothing more will come and the stream is
    /// not whole. A producer that died is not noticed here: see
    /// [`check_peer`](Self::check_peer).
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::TryReadError;
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.try_write(b"abcde").unwrap();
    /// let mut bytes = [0; 3];
    /// assert_eq!(consumer.try_read(&mut bytes), Ok(3));
    /// assert_eq!(consumer.try_read(&mut bytes), Ok(2));
    /// assert_eq!(consumer.try_read(&mut bytes), Err(TryReadError::Empty));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn try_read(&mut self, bytes: &mut [u8]) -> Result<usize, TryReadError> {
        let len = bytes.len();
        let path = self.fast(bytes, INLINE);
        self.finish_fast(path, Ok(len), |this| this.try_read_long(bytes))
    }

    /// Fills all of `bytes`, if as many are there, or takes nothing. Never waits.
    ///
    /// No bytes to fill is `Ok(())`.
    ///
    /// # Errors
    ///
    /// [`PeekError::Empty`] and [`PeekError::Ended`] say how many there are:
    /// nothing was taken, and what `bytes` held is still there.
    /// [`PeekError::TooLong`] when the ring is not as long as that.
    /// [`PeekError::Broken`] when fewer are left and no more will come, the stream
    /// not being whole. A producer that died is not noticed here: see
    /// [`check_peer`](Self::check_peer).
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::PeekError;
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.try_write(b"abc").unwrap();
    /// let mut bytes = [0; 4];
    /// let (wanted, available) = (4, 3);
    /// let error = consumer.try_read_exact(&mut bytes).unwrap_err();
    /// assert_eq!(error, PeekError::Empty { wanted, available });
    /// producer.try_write(b"d").unwrap();
    /// consumer.try_read_exact(&mut bytes)?;
    /// assert_eq!(&bytes, b"abcd");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn try_read_exact(&mut self, bytes: &mut [u8]) -> Result<(), PeekError> {
        let path = self.fast(bytes, INLINE);
        self.finish_fast(path, Ok(()), |this| this.try_read_exact_slow(bytes))
    }

    /// Reads what is there, at least one byte, blocking until `deadline` while
    /// there is none; 0 is the end of the stream, or that `bytes` is empty.
    /// What is there is read even if `deadline` has passed.
    ///
    /// # Errors
    ///
    /// [`PartialError`] says why nothing was read.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    /// use std::time::{Duration, Instant};
    /// use shmpipe::WaitError;
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.write_all(b"abc")?;
    /// let soon = Instant::now() + Duration::from_millis(20);
    /// let mut bytes = [0; 5];
    /// assert_eq!(consumer.read_deadline(&mut bytes, soon), Ok(3));
    /// assert_eq!(consumer.read_deadline(&mut bytes, soon).unwrap_err().cause, WaitError::TimedOut);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "recv_timeout")]
    pub fn read_deadline(
        &mut self,
        bytes: &mut [u8],
        deadline: Instant,
    ) -> Result<usize, PartialError> {
        let read = self.read_until(bytes, Some(deadline));
        read.map_err(|blocked| PartialError {
            moved: 0,
            wanted: bytes.len(),
            cause: blocked.into(),
        })
    }

    /// Fills all of `bytes` before `deadline`, which bounds the whole call,
    /// however often it waits. After the deadline it looks once, and reads what
    /// is there.
    ///
    /// # Errors
    ///
    /// [`PartialError`] says how many bytes were read, and why no more; the first
    /// of `bytes` hold them.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    /// use std::time::{Duration, Instant};
    /// use shmpipe::WaitError;
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.write_all(b"abc")?;
    /// let soon = Instant::now() + Duration::from_millis(20);
    /// let mut bytes = [0; 5];
    /// let partial = consumer.read_exact_deadline(&mut bytes, soon).unwrap_err();
    /// assert_eq!((partial.moved, partial.cause), (3, WaitError::TimedOut));
    /// assert_eq!(&bytes[..3], b"abc");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn read_exact_deadline(
        &mut self,
        bytes: &mut [u8],
        deadline: Instant,
    ) -> Result<(), PartialError> {
        if let Err(broken) = self.end.usable() {
            let cause = WaitError::Broken(broken);
            let wanted = bytes.len();
            return Err(PartialError {
                moved: 0,
                wanted,
                cause,
            });
        }
        let mut moved = 0;
        while moved < bytes.len() {
            let cause = match self.read_until(&mut bytes[moved..], Some(deadline)) {
                Ok(0) => WaitError::Ended,
                Ok(len) => {
                    moved += len;
                    if moved == bytes.len() || !is_past(Some(deadline)) {
                        continue;
                    }
                    self.why_no_more()
                }
                Err(blocked) => blocked.into(),
            };
            let wanted = bytes.len();
            return Err(PartialError {
                moved,
                wanted,
                cause,
            });
        }
        Ok(())
    }
}

impl io::Read for Consumer {
    /// Reads what is there, at least one byte, blocking while there is none;
    /// 0 is the end of the stream.
    #[inline]
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let len = bytes.len();
        let path = self.fast(bytes, INLINE);
        self.finish_fast(path, Ok(len), |this| this.read_long(bytes))
    }

    #[inline]
    fn read_exact(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let path = self.fast(bytes, INLINE);
        self.finish_fast(path, Ok(()), |this| this.read_exact_long(bytes))
    }

    /// Reads into the parts one after the other what is there, at least one
    /// byte, and releases it together.
    fn read_vectored(&mut self, parts: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        let deadline = self.end.deadline();
        match self.wait_to_peek(len.min(1), deadline) {
            Ok(()) => {}
            Err(PeekError::TimedOut { .. }) => {
                return Err(self.end.timed_out(self.end.timeout()));
            }
            Err(error) => return self.end_or(error).map(|()| 0),
        }
        let available = self.known(len)?;
        let mut read = 0;
        for part in parts {
            let take = part.len().min(available - read);
            let position = self.reader.head().wrapping_add(read as u64);
            self.reader
                .region()
                .copy_out(position, &mut part[..take], 0);
            read += take;
        }
        self.consume(read);
        Ok(read)
    }
}
