//! The calls that read.

use std::io::{self, IoSliceMut};
use std::time::Instant;

use super::Consumer;
use crate::error::{PartialError, PeekError, TryReadError, WaitError};
use crate::segment::copy::SHORT;
use crate::wait::deadline::is_past;

impl Consumer {
    /// Reads the available bytes, at most as many as `bytes` holds, and returns how
    /// many. 0 means the end of the stream, or that `bytes` is empty. Never blocks.
    /// The only system call is the wake of a sleeping producer.
    ///
    /// # Errors
    ///
    /// [`TryReadError::Empty`] if there are no bytes yet. [`TryReadError::Broken`]
    /// if no more bytes will come and the stream is not whole. This call does not
    /// notice the death of a producer: see [`check_peer`](Self::check_peer).
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
        let path = self.fast(bytes, SHORT);
        self.finish_fast(path, Ok(len), |this| this.try_read_long(bytes))
    }

    /// Fills all of `bytes` if that many are available, or takes nothing. Never
    /// waits.
    ///
    /// An empty `bytes` gives `Ok(())`.
    ///
    /// # Errors
    ///
    /// [`PeekError::Empty`] and [`PeekError::Ended`] return how many bytes there
    /// are. Nothing was taken, and `bytes` is unchanged. [`PeekError::TooLong`] if
    /// `bytes` is longer than the capacity. [`PeekError::Broken`] if too few bytes
    /// are left and the stream is not whole. This call does not notice the death of
    /// a producer: see [`check_peer`](Self::check_peer).
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
        let path = self.fast(bytes, SHORT);
        self.finish_fast(path, Ok(()), |this| this.try_read_exact_slow(bytes))
    }

    /// Reads the available bytes, and blocks until `deadline` while there are none.
    /// 0 means the end of the stream, or that `bytes` is empty. After the deadline,
    /// available bytes are still read.
    ///
    /// # Errors
    ///
    /// [`PartialError`] says why no byte was read.
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

    /// Fills all of `bytes` before `deadline`, which limits the call as a whole.
    /// After the deadline, the call reads what is available at one look.
    ///
    /// # Errors
    ///
    /// [`PartialError`] says how many bytes were read, and why no more. The
    /// beginning of `bytes` holds them.
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
    /// Reads the available bytes, and blocks while there are none. 0 means the end
    /// of the stream.
    #[inline(always)]
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let len = bytes.len();
        let path = self.fast(bytes, SHORT);
        self.finish_fast(path, Ok(len), |this| this.read_long(bytes))
    }

    #[inline]
    fn read_exact(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let path = self.fast(bytes, SHORT);
        self.finish_fast(path, Ok(()), |this| this.read_exact_long(bytes))
    }

    /// Reads the available bytes into the parts, one part after the other, and
    /// releases these bytes together. Blocks while there are none.
    fn read_vectored(&mut self, parts: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        let deadline = self.end.deadline();
        match self.wait_to_peek(len.min(1), len, deadline) {
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
            self.copy_ahead(&mut part[..take], read);
            read += take;
        }
        self.consume(read);
        Ok(read)
    }
}
