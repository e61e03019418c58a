//! How a producer leaves, and what it learns of its consumer before.

use std::time::Instant;

use super::Producer;
use crate::error::{Broken, CloseError, WaitError};
use crate::handle::endpoint::Left;
use crate::ring::marks::Ending;
use crate::segment::closed::Departure;

impl Producer {
    /// Finishes the stream: the consumer reads what is left, then the end.
    /// Waits for nobody but a child that has yet to take its end: see
    /// [`Ring::spawn_consumer`](crate::Ring::spawn_consumer). Nothing happens to a
    /// handle that was closed before.
    ///
    /// # Errors
    ///
    /// [`CloseError::NeverCame`] when the ring was opened without waiting and
    /// nobody has opened the other end, or when the child did not take it: the
    /// bytes in it are gone.
    /// [`CloseError::Broken`] when the stream was [aborted](Self::abort) before,
    /// found corrupt, or the handle was inherited by fork.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{Broken, TryWriteError};
    ///
    /// let (mut producer, _consumer) = shmpipe::pair()?;
    /// producer.close()?;
    /// assert_eq!(producer.try_write(b"x"), Err(TryWriteError::Broken(Broken::Closed)));
    /// producer.close()?; // has nothing left to do
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn close(&mut self) -> Result<(), CloseError> {
        self.close_until(self.deadline())
    }

    /// Finishes the stream as [`close`](Self::close) does, and waits until
    /// `deadline` at most for a child that has yet to take its end.
    ///
    /// # Errors
    ///
    /// As [`close`](Self::close): [`CloseError::NeverCame`] counts the bytes
    /// when the child did not come in time.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::process::Command;
    /// use std::time::{Duration, Instant};
    /// use shmpipe::CloseError;
    ///
    /// // A child that lives on, and knows nothing of its role.
    /// let ring = shmpipe::Options::new().create_anonymous()?;
    /// let (mut producer, mut child) = ring.spawn_consumer(Command::new("sleep").arg("60"))?;
    /// producer.try_write(b"abc").unwrap();
    /// let closed = producer.close_deadline(Instant::now() + Duration::from_millis(20));
    /// assert_eq!(closed, Err(CloseError::NeverCame { unread: 3 }));
    /// child.kill()?;
    /// child.wait()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn close_deadline(&mut self, deadline: Instant) -> Result<(), CloseError> {
        self.close_until(Some(deadline))
    }

    fn close_until(&mut self, deadline: Option<Instant>) -> Result<(), CloseError> {
        if self.end.has_closed() {
            return Ok(());
        }
        self.end.usable()?;
        self.publish();
        let has_come = self.end.await_child(deadline);
        self.finish(has_come)
    }

    /// Leaves, all being published. Whoever was to come `has_come`, or never
    /// will.
    pub(crate) fn finish(&mut self, has_come: bool) -> Result<(), CloseError> {
        let unread = self.writer.unread().unwrap_or_else(|corruption| {
            self.end.latch(corruption.into());
            0
        });
        match self.leave(Departure::Finished) {
            left if unread > 0 && (left == Left::Alone || !has_come) => {
                Err(CloseError::NeverCame { unread })
            }
            _ => Ok(()),
        }
    }

    /// Breaks the stream off: the consumer reads what is left, then gets
    /// [`Broken::ProducerAborted`]. Nothing happens to a handle that is closed
    /// or was inherited by fork.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{ErrorKind, Read, Write};
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.write_all(b"one half")?;
    /// producer.abort();
    /// let mut bytes = Vec::new();
    /// let error = consumer.read_to_end(&mut bytes).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    /// assert_eq!(bytes, b"one half");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn abort(&mut self) {
        self.leave(Departure::Aborted);
    }

    fn leave(&mut self, departure: Departure) -> Left {
        // What a corrupt ring holds is no whole stream.
        let departure = match self.end.usable() {
            Err(Broken::Corrupted(_)) => Departure::Aborted,
            _ => departure,
        };
        let ending = match departure {
            Departure::Finished => Ending::Finished,
            Departure::Aborted | Departure::Open => Ending::Aborted,
        };
        let writer = &mut self.writer;
        self.end.leave(departure, || writer.leave_mark(ending))
    }

    /// Sets whether a drop breaks the stream off, as [`abort`](Self::abort)
    /// does, in place of finishing it. See
    /// [`Options::abort_on_drop`](crate::Options::abort_on_drop).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{ErrorKind, Read, Write};
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.set_abort_on_drop(true);
    /// producer.write_all(b"one half")?;
    /// drop(producer);
    /// let error = consumer.read_to_end(&mut Vec::new()).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn set_abort_on_drop(&mut self, abort: bool) {
        self.end.set_abort_on_drop(abort);
    }

    /// Waits until a consumer has the other end, or has had it since this call
    /// began. Where none can follow, it is enough to have had it. Until then what
    /// is written is for nobody yet. Waits no longer than the handle's timeout.
    ///
    /// # Errors
    ///
    /// [`WaitError::TimedOut`]; [`WaitError::Cancelled`]; [`WaitError::Broken`] with what makes the handle unusable,
    /// or if nobody can come any more.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::Options;
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-wait-c-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// let mut producer = Options::new().wait_for_peer(false).open_producer(&path)?;
    /// # let other = path.clone();
    /// # let coming = std::thread::spawn(move || Options::new().open_consumer(other).map(drop));
    /// producer.wait_for_peer()?;
    /// # coming.join().unwrap()?;
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_for_peer(&mut self) -> Result<(), WaitError> {
        self.wait_for_peer_until(self.deadline())
    }

    /// As [`wait_for_peer`](Self::wait_for_peer), until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`wait_for_peer`](Self::wait_for_peer).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    ///
    /// let (mut producer, _consumer) = shmpipe::pair()?;
    /// producer.wait_for_peer_deadline(Instant::now())?; // it is there
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_for_peer_deadline(&mut self, deadline: Instant) -> Result<(), WaitError> {
        self.wait_for_peer_until(Some(deadline))
    }

    /// For a handle that was opened to wait for its consumer, who did not come: gives
    /// the role up as if nobody had had it. A stream that was resumed can be resumed.
    pub(crate) fn withdraw(&mut self) {
        self.end.leave(Departure::Aborted, || ());
    }

    pub(crate) fn wait_for_peer_until(
        &mut self,
        deadline: Option<Instant>,
    ) -> Result<(), WaitError> {
        self.end.usable().map_err(WaitError::Broken)?;
        self.publish();
        Ok(self.end.await_peer(deadline, || Ok(false))?)
    }

    /// Asks the kernel whether the consumer lives: two system calls.
    ///
    /// A consumer that is not there yet is no error. `Ok` may be out of date at
    /// once, and is said of whoever cannot be proven to be dead; an error is
    /// proof.
    ///
    /// # Errors
    ///
    /// [`Broken::Died`], [`Broken::NeverCame`], [`Broken::ConsumerClosed`], or
    /// what makes the handle unusable.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::Broken;
    ///
    /// let (mut producer, consumer) = shmpipe::pair()?;
    /// producer.check_peer()?; // nothing speaks against it
    /// drop(consumer);
    /// assert_eq!(producer.check_peer(), Err(Broken::ConsumerClosed));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn check_peer(&mut self) -> Result<(), Broken> {
        self.end.usable()?;
        match self.writer.peer_departure() {
            Ok(Departure::Open) => self.end.peer_verdict(),
            Ok(_) => {
                // One that died in leaving is declared dead, so that another can follow.
                let _ = self.end.peer_verdict(); // it has left all the same
                Err(Broken::ConsumerClosed)
            }
            Err(corruption) => Err(self.end.latch(corruption.into())),
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        if self.end.aborts_on_drop() {
            self.leave(Departure::Aborted);
            return;
        }
        if self.end.usable().is_ok() {
            self.publish();
            self.end.await_child(self.deadline());
        }
        self.leave(Departure::Finished);
    }
}
