//! The calls that write.

use std::io::{self, IoSlice};
use std::time::Instant;

use super::Producer;
use crate::error::{PartialError, ReserveError, TryWriteError, WaitError};

impl Producer {
    /// Writes as many bytes as there is room for, and returns how many. Never
    /// blocks. The only system call is the wake of a sleeping consumer.
    ///
    /// An empty `bytes` gives `Ok(0)` and changes nothing.
    ///
    /// # Errors
    ///
    /// [`TryWriteError::Full`] if there is no room at all.
    /// [`TryWriteError::Broken`] if the stream cannot continue. This call does not
    /// notice the death of a consumer: see [`check_peer`](Self::check_peer).
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::TryWriteError;
    ///
    /// let (mut producer, _consumer) = shmpipe::Options::new().capacity(4096).create_anonymous()?.split()?;
    /// assert_eq!(producer.try_write(&[7; 4000]), Ok(4000));
    /// assert_eq!(producer.try_write(&[8; 4000]), Ok(96));
    /// assert_eq!(producer.try_write(&[9]), Err(TryWriteError::Full));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn try_write(&mut self, bytes: &[u8]) -> Result<usize, TryWriteError> {
        let path = self.fast_short(bytes);
        self.finish_fast(path, Ok(bytes.len()), |this| this.try_write_long(bytes))
    }

    /// Writes all of `bytes` if there is room for all of them, or nothing. Never
    /// waits. All bytes are published together: a consumer sees all of them or
    /// none, even if this process is killed during the call.
    ///
    /// An empty `bytes` gives `Ok(())` and changes nothing.
    ///
    /// # Errors
    ///
    /// [`ReserveError::Full`] returns how much room there is; nothing was written.
    /// [`ReserveError::TooLong`] if `bytes` is longer than the capacity.
    /// [`ReserveError::Broken`] if the stream cannot continue. This call does not
    /// notice the death of a consumer: see [`check_peer`](Self::check_peer).
    ///
    /// # Examples
    ///
    /// A log writer that drops records when the ring is full:
    ///
    /// ```
    /// use shmpipe::ReserveError;
    ///
    /// let (mut producer, _consumer) = shmpipe::Options::new().capacity(4096).create_anonymous()?.split()?;
    /// let mut dropped = 0;
    /// for _ in 0..50 {
    ///     match producer.try_write_all(&[7; 100]) {
    ///         Ok(()) => {}
    ///         Err(ReserveError::Full { .. }) => dropped += 1,
    ///         Err(error) => return Err(error.into()),
    ///     }
    /// }
    /// assert_eq!(dropped, 10);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn try_write_all(&mut self, bytes: &[u8]) -> Result<(), ReserveError> {
        let path = self.fast_short(bytes);
        self.finish_fast(path, Ok(()), |this| this.try_write_all_slow(bytes))
    }

    /// Writes as many bytes as there is room for, and returns how many. Blocks
    /// until `deadline` while there is no room. After the deadline, available room
    /// is still used. An empty `bytes` gives `Ok(0)`.
    ///
    /// # Errors
    ///
    /// [`PartialError`] says why no byte was written.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use shmpipe::WaitError;
    ///
    /// let (mut producer, _consumer) = shmpipe::Options::new().capacity(4096).create_anonymous()?.split()?;
    /// let soon = Instant::now() + Duration::from_millis(20);
    /// assert_eq!(producer.write_deadline(&[7; 5000], soon), Ok(4096));
    /// assert_eq!(producer.write_deadline(&[7; 904], soon).unwrap_err().cause, WaitError::TimedOut);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn write_deadline(
        &mut self,
        bytes: &[u8],
        deadline: Instant,
    ) -> Result<usize, PartialError> {
        let deadline = Some(deadline);
        let cause = loop {
            match self.try_write_pieces(bytes, deadline) {
                Ok(len) => return Ok(len),
                Err(TryWriteError::Full) => match self.wait_for_some_room(deadline) {
                    Ok(()) => {}
                    Err(blocked) => break blocked.into(),
                },
                Err(TryWriteError::Broken(broken)) => break WaitError::Broken(broken),
            }
        };
        Err(PartialError {
            moved: 0,
            wanted: bytes.len(),
            cause,
        })
    }

    /// Writes all of `bytes` before `deadline`, which limits the call as a whole.
    /// After the deadline, the call uses the room that one look finds.
    ///
    /// # Errors
    ///
    /// [`PartialError`] says how many bytes were written, and why no more. These
    /// bytes are in the stream.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use shmpipe::WaitError;
    ///
    /// let (mut producer, _consumer) = shmpipe::Options::new().capacity(4096).create_anonymous()?.split()?;
    /// let soon = Instant::now() + Duration::from_millis(20);
    /// let partial = producer.write_all_deadline(&[7; 5000], soon).unwrap_err();
    /// assert_eq!((partial.moved, partial.cause), (4096, WaitError::TimedOut));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn write_all_deadline(
        &mut self,
        bytes: &[u8],
        deadline: Instant,
    ) -> Result<(), PartialError> {
        let (moved, done) = match self.end.usable() {
            Ok(()) => self.write_until(bytes, Some(deadline)),
            Err(broken) => (0, Err(broken.into())),
        };
        done.map_err(|blocked| PartialError {
            moved,
            wanted: bytes.len(),
            cause: blocked.into(),
        })
    }
}

impl io::Write for Producer {
    /// Writes all of `bytes`, and blocks while the ring is full. Writes fewer only
    /// if the stream breaks or the time limit passes meanwhile. The next call then
    /// returns the error.
    #[inline(always)]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let path = self.fast_short(bytes);
        self.finish_fast(path, Ok(bytes.len()), |this| this.write_long(bytes))
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let path = self.fast_short(bytes);
        self.finish_fast(path, Ok(()), |this| this.write_all_long(bytes))
    }

    /// Writes the parts one after the other, as many bytes as there is room for,
    /// and publishes them together. Blocks while there is no room.
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

    /// Publishes bytes held back in a batch, and fails if there is no consumer to
    /// read them. Without a batch, every write is already published before it
    /// returns. Does not wait until the consumer has read these bytes.
    fn flush(&mut self) -> io::Result<()> {
        self.end.usable()?;
        if self.writer.pending() > 0 {
            self.check_consumer()?;
            self.publish();
        }
        Ok(())
    }
}
