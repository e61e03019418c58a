//! The writing end.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use crate::endpoint::{Blocked, Endpoint, Left};
use crate::error::{Broken, CloseError, OpenError, TryWriteError, timed_out};
use crate::options::Options;
use crate::region::Region;
use crate::region::shm::ShmRegion;
use crate::ring::{Departure, Writer};
use crate::roles::Claim;
use crate::state::{Kind, Role};
use crate::sync::Ordering;
use crate::sysv::SegmentId;
use crate::wait::Stats;

/// The end of a ring that bytes are written to.
///
/// [`io::Write`] blocks while the ring is full; [`try_write`](Self::try_write)
/// never does. Each write is published at once, a long one as it goes, so
/// [`io::Write::flush`] has nothing to do.
///
/// Dropping the producer finishes the stream, as [`close`](Self::close) does;
/// dropping it while panicking breaks the stream off, as
/// [`abort`](Self::abort) does. A process that ends in any other way has died:
/// the consumer reads all that was published, then gets an error.
///
/// A producer can be sent to another thread, not shared between two. After a
/// fork it belongs to the process that forked; the child's copy is inert.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
///
/// let (mut producer, mut consumer) = shmpipe::pair()?;
/// producer.write_all(b"bytes")?;
/// producer.close()?;
///
/// let mut received = Vec::new();
/// consumer.read_to_end(&mut received)?;
/// assert_eq!(received, b"bytes");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// It is not [`Sync`]:
///
/// ```compile_fail
/// fn shared<T: Sync>(_: T) {}
/// shared(shmpipe::pair().unwrap().0);
/// ```
pub struct Producer {
    writer: Writer<ShmRegion>,
    end: Endpoint,
    /// Not `Sync`: a handle is used by one thread at a time.
    _not_sync: PhantomData<Cell<()>>,
}

impl Producer {
    pub(crate) fn new(
        region: ShmRegion,
        claim: Claim,
        options: &Options,
    ) -> Result<Producer, OpenError> {
        Producer::with(region, claim, options, true)
    }

    pub(crate) fn with(
        region: ShmRegion,
        claim: Claim,
        options: &Options,
        handed_over: bool,
    ) -> Result<Producer, OpenError> {
        // With a persistent ring, a consumer that had closed before this
        // producer came says nothing about the next one.
        let forgotten = match region.geometry().kind {
            Kind::Persistent => {
                let consumer = region.header().side(Role::Consumer);
                consumer.signals.closed.load(Ordering::Acquire) // P4
            }
            Kind::Anonymous | Kind::Named => 0,
        };
        let mut end = Endpoint::new(region.clone(), claim, options, handed_over);
        match Writer::new(region, forgotten) {
            Ok(writer) => Ok(Producer {
                writer,
                end,
                _not_sync: PhantomData,
            }),
            Err(corruption) => {
                end.leave(Departure::Aborted);
                Err(corruption.into())
            }
        }
    }

    /// Opens the ring of the file `path` for writing, with the default
    /// [`Options`].
    ///
    /// # Errors
    ///
    /// As [`Options::producer`].
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Producer, OpenError> {
        Options::new().producer(path)
    }

    /// Writes what there is room for, and says how much that was. Never
    /// blocks; makes a system call only to wake a consumer that sleeps.
    ///
    /// No bytes to write is `Ok(0)`, and changes nothing.
    ///
    /// # Errors
    ///
    /// [`TryWriteError::Full`] when there is no room at all.
    /// [`TryWriteError::Broken`] when the stream cannot go on. A consumer that
    /// died is not noticed here: see [`check_peer`](Self::check_peer).
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::TryWriteError;
    ///
    /// let (mut producer, _consumer) = shmpipe::Options::new().capacity(4096).anonymous()?.split()?;
    /// assert_eq!(producer.try_write(&[7; 4000]), Ok(4000));
    /// assert_eq!(producer.try_write(&[8; 4000]), Ok(96));
    /// assert_eq!(producer.try_write(&[9]), Err(TryWriteError::Full));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn try_write(&mut self, bytes: &[u8]) -> Result<usize, TryWriteError> {
        self.end.usable()?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let mut written = 0;
        loop {
            match self.write_some(&bytes[written..]) {
                Ok(0) if written == 0 => return Err(TryWriteError::Full),
                Err(broken) if written == 0 => return Err(broken.into()),
                // What was published counts; the next call gives the reason.
                Ok(0) | Err(_) => return Ok(written),
                Ok(len) => written += len,
            }
            if written == bytes.len() {
                return Ok(written);
            }
        }
    }

    /// One publication.
    #[inline]
    fn write_some(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        match self.writer.peer_departure() {
            Ok(Departure::Open) => {}
            Ok(_) => return Err(Broken::ConsumerClosed),
            Err(corruption) => return Err(self.end.latch(corruption.into())),
        }
        match self.writer.write(bytes) {
            Ok(len) => {
                if len > 0 {
                    self.end.wake(self.writer.tail());
                }
                Ok(len)
            }
            Err(corruption) => Err(self.end.latch(corruption.into())),
        }
    }

    /// Writes all of `bytes` before `deadline`, or says how far it came.
    fn write_until(
        &mut self,
        bytes: &[u8],
        deadline: Option<Instant>,
    ) -> (usize, Result<(), Blocked>) {
        let mut written = 0;
        while written < bytes.len() {
            match self.try_write(&bytes[written..]) {
                Ok(len) => written += len,
                Err(TryWriteError::Full) => {
                    if let Err(blocked) = self.wait_for_room(bytes.len() - written, deadline) {
                        return (written, Err(blocked));
                    }
                }
                Err(TryWriteError::Broken(broken)) => return (written, Err(broken.into())),
            }
        }
        (written, Ok(()))
    }

    /// Waits for room for some of `len` bytes. The consumer wakes a sleeping
    /// producer once a quarter of the ring is free, or room for all of `len`.
    fn wait_for_room(&mut self, len: usize, deadline: Option<Instant>) -> Result<(), Blocked> {
        let capacity = self.writer.region().capacity();
        let worth_a_wake = (len as u64).min(capacity / 4);
        // The head at which that much is free.
        let wanted = self
            .writer
            .tail()
            .wrapping_add(worth_a_wake)
            .wrapping_sub(capacity);
        let writer = &mut self.writer;
        self.end.wait(wanted, deadline, || {
            if writer.peer_departure()? != Departure::Open {
                return Err(Broken::ConsumerClosed.into());
            }
            Ok((writer.room(1)? > 0).then_some(()))
        })
    }

    /// Finishes the stream: the consumer reads what is left, then the end.
    ///
    /// # Errors
    ///
    /// [`CloseError::NobodyCame`] when the ring was opened without waiting and
    /// nobody has opened the other end: the bytes in it are gone.
    /// [`CloseError::Broken`] when the handle was closed before, or inherited
    /// by fork.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{Broken, TryWriteError};
    ///
    /// let (mut producer, _consumer) = shmpipe::pair()?;
    /// producer.close()?;
    /// assert_eq!(producer.try_write(b"x"), Err(TryWriteError::Broken(Broken::Closed)));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn close(&mut self) -> Result<(), CloseError> {
        self.end.usable()?;
        let unread = self.writer.unread().unwrap_or(0);
        match self.end.leave(Departure::Finished) {
            Left::Alone if unread > 0 => Err(CloseError::NobodyCame { unread }),
            _ => Ok(()),
        }
    }

    /// Breaks the stream off: the consumer reads what is left, then gets
    /// [`Broken::ProducerAborted`]. Nothing happens to a handle that is closed
    /// or was inherited by fork.
    pub fn abort(&mut self) {
        self.end.leave(Departure::Aborted);
    }

    /// Asks the kernel whether the consumer lives: two system calls.
    ///
    /// A consumer that is not there yet is no error.
    ///
    /// # Errors
    ///
    /// [`Broken::Died`], [`Broken::NeverCame`], [`Broken::ConsumerClosed`], or
    /// what makes the handle unusable.
    pub fn check_peer(&mut self) -> Result<(), Broken> {
        self.end.usable()?;
        match self.writer.peer_departure() {
            Ok(Departure::Open) => self.end.peer_verdict(),
            Ok(_) => Err(Broken::ConsumerClosed),
            Err(corruption) => Err(self.end.latch(corruption.into())),
        }
    }

    /// Bytes of the ring.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.writer.region().capacity() as usize
    }

    /// The segment that the ring lies in.
    #[must_use]
    pub fn id(&self) -> SegmentId {
        self.end.hand_over()
    }

    /// Bytes written since the ring was made, by this handle and by those
    /// before it; wraps at 2^64.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.writer.tail()
    }

    /// How often this handle slept, and how often it woke the consumer.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.end.stats()
    }

    /// The limit on each blocking call; `None` is no limit.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.end.timeout()
    }

    /// Sets the limit on each blocking call. A write that runs into it after
    /// some bytes says how many; one that wrote none fails with
    /// [`io::ErrorKind::TimedOut`].
    pub fn set_timeout(&mut self, limit: Option<Duration>) {
        self.end.set_timeout(limit);
    }
}

impl io::Write for Producer {
    /// Writes all of `bytes`, blocking while the ring is full. Fewer are
    /// written only when the stream breaks or the time is over in between; the
    /// next call then gives the reason.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.end.usable()?;
        let deadline = self.end.deadline();
        match self.write_until(bytes, deadline) {
            (written, _) if written > 0 => Ok(written),
            (_, Ok(())) => Ok(0),
            (_, Err(Blocked::TimedOut)) => Err(timed_out("no room in the ring")),
            (_, Err(Blocked::Broken(broken))) => Err(broken.into()),
        }
    }

    /// Does nothing: every write is published before it returns.
    fn flush(&mut self) -> io::Result<()> {
        self.end.usable()?;
        Ok(())
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.end.leave(if std::thread::panicking() {
            Departure::Aborted
        } else {
            Departure::Finished
        });
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("id", &self.end.region().id())
            .field("capacity", &self.capacity())
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}
