//! How a consumer leaves, continues with the next stream, waits for its producer, and
//! checks whether the producer lives.

use std::time::Instant;

use super::{Consumer, EndTold, why_broken};
use crate::error::{Broken, CloseError, NextStreamError, WaitError};
use crate::ring::Readiness;
use crate::segment::closed::Departure;

impl Consumer {
    /// Closes the ring: the producer's writes fail from now on. Has no effect on a
    /// handle that is already closed. The memory stays attached until the handle is
    /// dropped.
    ///
    /// # Errors
    ///
    /// [`CloseError::Broken`] if the handle was [aborted](Self::abort) before,
    /// found the ring corrupt, or was inherited by fork. [`Broken::Died`] or
    /// [`Broken::NeverCame`] if a call has returned that before, and no other producer
    /// can join the ring: there is nobody to close it for.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{Broken, TryWriteError};
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// consumer.close()?;
    /// let closed = Err(TryWriteError::Broken(Broken::ConsumerClosed));
    /// assert_eq!(producer.try_write(b"x"), closed);
    /// consumer.close()?; // has nothing left to do
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn close(&mut self) -> Result<(), CloseError> {
        if self.end.has_closed() {
            return Ok(());
        }
        self.end.usable()?;
        self.leave();
        Ok(())
    }

    /// Leaves without acknowledging the end of the stream: the next consumer gets
    /// that end again. For a ring that no second consumer can join, this has the
    /// effect of [`close`](Self::close). Has no effect on a handle that is closed
    /// or was inherited by fork.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use shmpipe::Options;
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-abort-c-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// let mut options = Options::new();
    /// options.persistent(true).open_producer(&path)?.write_all(b"abc")?;
    /// for _ in 0..2 {
    ///     let mut consumer = options.open_consumer(&path)?;
    ///     consumer.read_to_end(&mut Vec::new())?; // to the end, the second time too
    ///     consumer.abort(); // what was read could not be stored
    /// }
    /// # shmpipe::Options::new().remove(&path)?;
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn abort(&mut self) {
        self.end.leave(Departure::Aborted, || ());
    }

    fn leave(&mut self) {
        let reader = &mut self.reader;
        let acknowledges = self.end_told == EndTold::Read && self.end.is_usable();
        self.end.leave(Departure::Finished, || {
            if acknowledges && reader.at_the_end().is_some() {
                reader.acknowledge();
            }
        });
    }

    /// Acknowledges the end of the stream that was read, and continues with the
    /// next stream. Does not wait: the next stream may have begun, or may begin
    /// later. Returns `true` if the end was acknowledged.
    ///
    /// If no call has returned the end yet, the result depends on the stream. The
    /// end of a whole stream is acknowledged. The error of a broken stream is
    /// returned first, and the next call acknowledges the end. So no caller misses
    /// that a stream was broken off.
    ///
    /// Returns `false` if the ring is not [persistent](crate::Options::persistent),
    /// so that no other stream can follow. The end then stays unacknowledged.
    ///
    /// # Errors
    ///
    /// [`NextStreamError::NotEnded`] if the stream has not ended, or bytes before
    /// its end are unread. [`NextStreamError::Broken`] with
    /// [`Broken::ProducerAborted`] or [`Broken::Died`] if the stream was broken off
    /// and no call has returned that. Otherwise [`NextStreamError::Broken`] with
    /// what makes the handle unusable.
    ///
    /// # Examples
    ///
    /// See [`Options::persistent`](crate::Options::persistent), and:
    ///
    /// ```
    /// let (producer, mut consumer) = shmpipe::pair()?;
    /// assert!(consumer.next_stream().is_err()); // the stream has not ended
    /// drop(producer);
    /// assert_eq!(consumer.next_stream(), Ok(false)); // no other can follow
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn next_stream(&mut self) -> Result<bool, NextStreamError> {
        let available = match self.readiness(1)? {
            Readiness::Ended(ending) => {
                let untold = self.end_told == EndTold::No;
                if let Some(broken) = why_broken(ending).filter(|_| untold) {
                    self.end_told = EndTold::Shown;
                    return Err(broken.into());
                }
                return Ok(self.acknowledge()?);
            }
            Readiness::Ready => self.known(self.capacity())?,
            Readiness::Empty => 0,
        };
        Err(NextStreamError::NotEnded { available })
    }

    /// Continues with the next stream, as [`next_stream`](Self::next_stream) does,
    /// and then waits for that stream until `deadline`. The wait ends at the first
    /// byte, at an end, or when a producer comes. If the current stream has no bytes
    /// yet, this call only waits.
    ///
    /// # Errors
    ///
    /// The errors of [`next_stream`](Self::next_stream).
    /// [`NextStreamError::TimedOut`] or [`NextStreamError::Cancelled`] after the
    /// end was acknowledged: the call can be made again.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::time::{Duration, Instant};
    /// use shmpipe::{NextStreamError, Options};
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-next-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// let mut options = Options::new();
    /// options.persistent(true).open_producer(&path)?.write_all(b"abc")?;
    /// let mut consumer = options.open_consumer(&path)?;
    /// consumer.read_to_end(&mut Vec::new())?;
    /// let soon = || Instant::now() + Duration::from_millis(20);
    /// assert_eq!(consumer.next_stream_deadline(soon()), Err(NextStreamError::TimedOut));
    /// options.open_producer(&path)?.write_all(b"def")?;
    /// assert_eq!(consumer.next_stream_deadline(soon()), Ok(true));
    /// # drop(consumer);
    /// # shmpipe::Options::new().remove(&path)?;
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn next_stream_deadline(&mut self, deadline: Instant) -> Result<bool, NextStreamError> {
        // An earlier call has acknowledged the end and then timed out. Since then no
        // call has returned a byte or an end.
        let goes_on = self.awaits_next && self.end_told == EndTold::No && self.is_at_a_beginning();
        if !goes_on {
            match self.next_stream() {
                Ok(true) => {}
                // Nothing of this stream has come yet, or all of its bytes are
                // unread.
                Err(NextStreamError::NotEnded { available }) if self.is_at_a_beginning() => {
                    if available > 0 {
                        return Ok(true);
                    }
                }
                done => return done,
            }
        }
        let waited = match self.wait_for_peer_until(Some(deadline)) {
            Ok(()) => Ok(true),
            Err(WaitError::TimedOut | WaitError::Ended) => Err(NextStreamError::TimedOut),
            Err(WaitError::Cancelled) => Err(NextStreamError::Cancelled),
            Err(WaitError::Broken(broken)) => Err(broken.into()),
        };
        self.awaits_next = waited.is_err();
        waited
    }

    /// Whether a call has returned the end of the stream. The stream was finished
    /// or broken off, or its producer died and another producer has begun a new
    /// stream. [`next_stream`](Self::next_stream) acknowledges the end.
    ///
    /// After [`Broken::Died`], `true` means that the stream is over. With `false`,
    /// a producer that [resumes](crate::Options::resume) can continue the stream.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Read;
    ///
    /// let (producer, mut consumer) = shmpipe::pair()?;
    /// drop(producer);
    /// assert!(!consumer.is_at_end()); // no call has said so
    /// assert_eq!(consumer.read(&mut [0])?, 0);
    /// assert!(consumer.is_at_end());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.end_told != EndTold::No
    }

    /// Whether no byte of the current stream has been read, in a persistent ring.
    fn is_at_a_beginning(&self) -> bool {
        self.stream_position() == 0 && self.end.mapping().geometry().kind.persists()
    }

    fn acknowledge(&mut self) -> Result<bool, Broken> {
        let next = self.reader.next_stream();
        let next = next.map_err(|corruption| self.end.latch(corruption.into()))?;
        if next {
            self.end_told = EndTold::No;
            self.awaits_next = false;
        }
        Ok(next)
    }

    /// Sets whether a drop acknowledges nothing, as [`abort`](Self::abort) does.
    /// See [`Options::abort_on_drop`](crate::Options::abort_on_drop).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Read;
    /// use shmpipe::Options;
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-drop-c-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// let mut options = Options::new();
    /// drop(options.persistent(true).open_producer(&path)?);
    /// for _ in 0..2 {
    ///     let mut consumer = options.open_consumer(&path)?;
    ///     consumer.set_abort_on_drop(true);
    ///     assert_eq!(consumer.read(&mut [0])?, 0); // the end, the second time too
    /// }
    /// # Options::new().remove(&path)?;
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_abort_on_drop(&mut self, abort: bool) {
        self.end.set_abort_on_drop(abort);
    }

    /// Waits until a producer holds the other end, or has held the other end since
    /// this call began. Returns at once if there is something to read, or an end.
    /// The handle's timeout limits the wait.
    ///
    /// After [`Broken::Died`] on a [persistent](crate::Options::persistent) ring,
    /// this call waits for the next producer.
    ///
    /// # Errors
    ///
    /// [`WaitError::TimedOut`] or [`WaitError::Cancelled`]. [`WaitError::Broken`]
    /// with what makes the handle unusable, or if nobody can come any more.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::Options;
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-wait-p-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// let mut consumer = Options::new().wait_for_peer(false).open_consumer(&path)?;
    /// # let other = path.clone();
    /// # let coming = std::thread::spawn(move || Options::new().open_producer(other).map(drop));
    /// consumer.wait_for_peer()?;
    /// # coming.join().unwrap()?;
    /// # drop(consumer);
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_for_peer(&mut self) -> Result<(), WaitError> {
        self.wait_for_peer_until(self.deadline())
    }

    /// Waits for a producer until `deadline`, whatever the handle's timeout.
    /// Otherwise see [`wait_for_peer`](Self::wait_for_peer).
    ///
    /// # Errors
    ///
    /// The errors of [`wait_for_peer`](Self::wait_for_peer).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    ///
    /// let (_producer, mut consumer) = shmpipe::pair()?;
    /// consumer.wait_for_peer_deadline(Instant::now())?; // it is there
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_for_peer_deadline(&mut self, deadline: Instant) -> Result<(), WaitError> {
        self.wait_for_peer_until(Some(deadline))
    }

    pub(crate) fn wait_for_peer_until(
        &mut self,
        deadline: Option<Instant>,
    ) -> Result<(), WaitError> {
        self.end.usable().map_err(WaitError::Broken)?;
        let reader = &mut self.reader;
        let ready = || Ok(reader.readiness(1)? != Readiness::Empty);
        Ok(self.end.await_peer(deadline, ready)?)
    }

    /// Asks the kernel whether the producer lives: two system calls. Bytes that a
    /// dead producer had published can still be read.
    ///
    /// A producer that has not come yet, or has finished, is no error. `Ok` may be
    /// out of date at once, and also covers a producer whose death cannot be
    /// proven. An error is a proof.
    ///
    /// # Errors
    ///
    /// [`Broken::Died`], [`Broken::NeverCame`], or what makes the handle unusable.
    ///
    /// # Examples
    ///
    /// ```
    /// let (producer, mut consumer) = shmpipe::pair()?;
    /// consumer.check_peer()?; // no proof of death
    /// drop(producer);
    /// consumer.check_peer()?; // it finished
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn check_peer(&mut self) -> Result<(), Broken> {
        self.end.usable()?;
        match self.reader.peer_departure() {
            Ok(Departure::Open) => self.end.peer_verdict(),
            Ok(_) => Ok(()),
            Err(corruption) => Err(self.end.latch(corruption.into())),
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if self.end.aborts_on_drop() {
            self.abort();
        } else {
            self.leave();
        }
    }
}
