//! How a producer leaves, waits for its consumer, and checks whether the consumer lives.

use std::time::Instant;

use super::Producer;
use crate::error::{Broken, CloseError, WaitError};
use crate::handle::endpoint::Left;
use crate::ring::marks::Ending;
use crate::segment::closed::Departure;

impl Producer {
    /// Finishes the stream: the consumer reads what is left, then the end. Waits
    /// only for a child that has not taken its end yet, within the handle's
    /// [timeout](Self::set_timeout): see
    /// [`Ring::spawn_consumer`](crate::Ring::spawn_consumer). Has no effect on a
    /// handle that is already closed. The memory stays attached until the handle is
    /// dropped.
    ///
    /// # Errors
    ///
    /// [`CloseError::NeverCame`] if the ring was opened without waiting and nobody
    /// has opened the other end, or if the child did not take it. The bytes in the
    /// ring are lost. [`CloseError::Broken`] if the stream was
    /// [aborted](Self::abort) before or found corrupt, or the handle was inherited
    /// by fork. [`Broken::Died`] if a call has returned the death of the consumer
    /// before, and no other consumer can join the ring.
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

    /// Finishes the stream, and waits until `deadline` for a child that has not
    /// taken its end yet, whatever the handle's timeout. Otherwise see
    /// [`close`](Self::close).
    ///
    /// # Errors
    ///
    /// The errors of [`close`](Self::close). [`CloseError::NeverCame`] counts the
    /// lost bytes if the child did not come before `deadline`.
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

    /// Finishes the stream. The caller has published everything. `has_come` says
    /// whether an expected child has come.
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
    /// [`Broken::ProducerAborted`]. Has no effect on a handle that is closed or was
    /// inherited by fork.
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

    /// Leaves as a death would, without an end. The consumer reads what is left, then
    /// gets [`Broken::Died`] with this process's id. In a
    /// [persistent](crate::Options::persistent) ring, a producer that
    /// [resumes](crate::Options::resume) continues the stream, and any other producer
    /// breaks it off. This serves a program that stops in mid-stream and will be started
    /// again, and a relay that passes on the death of a producer elsewhere.
    ///
    /// In a ring that no second producer can join, this has the effect of
    /// [`abort`](Self::abort). Has no effect on a handle that is closed or was
    /// inherited by fork.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use shmpipe::{Broken, Options};
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-abandon-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// let mut options = Options::new();
    /// options.persistent(true).resume(true);
    /// let mut consumer = options.open_consumer(&path)?;
    /// let mut producer = options.open_producer(&path)?;
    /// producer.write_all(b"one half, ")?;
    /// producer.abandon(); // to be continued
    /// let mut text = String::new();
    /// let error = consumer.read_to_string(&mut text).unwrap_err();
    /// assert!(matches!(Broken::find(&error), Some(Broken::Died { .. })));
    /// assert!(!consumer.is_at_end());
    ///
    /// options.open_producer(&path)?.write_all(b"the other")?; // and closes
    /// consumer.read_to_string(&mut text)?;
    /// assert_eq!(text, "one half, the other");
    /// # drop((consumer, producer));
    /// # Options::new().remove(&path)?;
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn abandon(&mut self) {
        if !self.end.mapping().geometry().kind.persists() {
            self.abort();
        } else {
            if self.end.is_usable() {
                self.publish();
            }
            self.end.abandon();
        }
    }

    fn leave(&mut self, departure: Departure) -> Left {
        // The bytes in a corrupt ring are not a whole stream.
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

    /// Sets whether a drop breaks the stream off, as [`abort`](Self::abort) does,
    /// instead of finishing it. See
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

    /// Waits until a consumer holds the other end, or has held the other end since
    /// this call began. If no second consumer can join, one that has come and left
    /// is enough. The handle's timeout limits the wait.
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
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-wait-c-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// let mut producer = Options::new().wait_for_peer(false).open_producer(&path)?;
    /// # let other = path.clone();
    /// # let coming = std::thread::spawn(move || Options::new().open_consumer(other).map(drop));
    /// producer.wait_for_peer()?;
    /// # coming.join().unwrap()?;
    /// # drop(producer);
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_for_peer(&mut self) -> Result<(), WaitError> {
        self.wait_for_peer_until(self.deadline())
    }

    /// Waits for a consumer until `deadline`, whatever the handle's timeout.
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
    /// let (mut producer, _consumer) = shmpipe::pair()?;
    /// producer.wait_for_peer_deadline(Instant::now())?; // it is there
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait_for_peer_deadline(&mut self, deadline: Instant) -> Result<(), WaitError> {
        self.wait_for_peer_until(Some(deadline))
    }

    /// Gives the role up as if nobody had held it, for an open that waited for a
    /// consumer in vain. A resumed stream can be resumed again.
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
    /// A consumer that has not come yet is no error. `Ok` may be out of date at
    /// once, and also covers a consumer whose death cannot be proven. An error is a
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
    /// producer.check_peer()?; // no proof of death
    /// drop(consumer);
    /// assert_eq!(producer.check_peer(), Err(Broken::ConsumerClosed));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn check_peer(&mut self) -> Result<(), Broken> {
        self.end.usable()?;
        match self.writer.peer_departure() {
            Ok(Departure::Open) => self.end.peer_verdict(),
            Ok(_) => {
                // If the consumer died while leaving, the next call declares its death,
                // so that another consumer can follow.
                let _ = self.end.peer_verdict(); // the consumer has left in any case
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
