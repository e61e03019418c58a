//! The reading end.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use crate::endpoint::{Blocked, Endpoint};
use crate::error::{Broken, CloseError, OpenError, TryReadError, timed_out};
use crate::options::Options;
use crate::region::Region;
use crate::region::shm::ShmRegion;
use crate::ring::{Departure, Reader, Readiness};
use crate::roles::Claim;
use crate::state::{Kind, Role};
use crate::sync::Ordering;
use crate::sysv::SegmentId;
use crate::wait::Stats;

/// The end of a ring that bytes are read from.
///
/// [`io::Read`] blocks while the ring is empty; [`try_read`](Self::try_read)
/// never does. A producer that finished leaves its bytes to be read, then the
/// end of the stream, `Ok(0)`. One that broke the stream off, or died, leaves
/// them too, but then comes an error: a stream cut short never looks like a
/// whole one.
///
/// Dropping the consumer closes the ring: the producer's writes fail with
/// [`Broken::ConsumerClosed`], an [`io::ErrorKind::BrokenPipe`].
///
/// A consumer can be sent to another thread, not shared between two. After a
/// fork it belongs to the process that forked; the child's copy is inert.
///
/// # Examples
///
/// ```
/// use shmpipe::TryReadError;
///
/// let (mut producer, mut consumer) = shmpipe::pair()?;
/// let mut bytes = [0; 8];
/// assert_eq!(consumer.try_read(&mut bytes), Err(TryReadError::Empty));
/// producer.try_write(b"abc").unwrap();
/// assert_eq!(consumer.try_read(&mut bytes), Ok(3));
/// assert_eq!(&bytes[..3], b"abc");
/// drop(producer);
/// assert_eq!(consumer.try_read(&mut bytes), Ok(0)); // the end
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Consumer {
    reader: Reader<ShmRegion>,
    end: Endpoint,
    /// Not `Sync`: a handle is used by one thread at a time.
    _not_sync: PhantomData<Cell<()>>,
}

impl Consumer {
    pub(crate) fn new(
        region: ShmRegion,
        claim: Claim,
        options: &Options,
    ) -> Result<Consumer, OpenError> {
        Consumer::with(region, claim, options, true)
    }

    pub(crate) fn with(
        region: ShmRegion,
        claim: Claim,
        options: &Options,
        handed_over: bool,
    ) -> Result<Consumer, OpenError> {
        // With a persistent ring, an end of stream that an earlier consumer
        // was given and left with is not given again.
        let forgotten = match region.geometry().kind {
            Kind::Persistent => {
                let consumer = region.header().side(Role::Consumer);
                consumer.signals.acknowledged.load(Ordering::Acquire) // P6
            }
            Kind::Anonymous | Kind::Named => 0,
        };
        let mut end = Endpoint::new(region.clone(), claim, options, handed_over);
        match Reader::new(region, forgotten) {
            Ok(reader) => Ok(Consumer {
                reader,
                end,
                _not_sync: PhantomData,
            }),
            Err(corruption) => {
                end.leave(Departure::Aborted);
                Err(corruption.into())
            }
        }
    }

    /// Opens the ring of the file `path` for reading, with the default
    /// [`Options`].
    ///
    /// # Errors
    ///
    /// As [`Options::consumer`].
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Consumer, OpenError> {
        Options::new().consumer(path)
    }

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
    #[inline]
    pub fn try_read(&mut self, bytes: &mut [u8]) -> Result<usize, TryReadError> {
        self.end.usable()?;
        let mut read = 0;
        while read < bytes.len() {
            match self.reader.read(&mut bytes[read..]) {
                Ok(0) if read == 0 => match self.nothing_to_read()? {
                    0 => return Ok(0),
                    _ => continue,
                },
                Ok(0) => break,
                Ok(len) => {
                    read += len;
                    self.end.wake(self.reader.head());
                }
                Err(corruption) => return Err(self.end.latch(corruption.into()).into()),
            }
        }
        Ok(read)
    }

    /// Finds out what it means that the ring was empty: how much has come
    /// since, or 0 for the end.
    #[cold]
    fn nothing_to_read(&mut self) -> Result<u64, TryReadError> {
        match self.reader.readiness() {
            Ok(Readiness::Ready(len)) => Ok(len),
            Ok(Readiness::Empty) => Err(TryReadError::Empty),
            Ok(Readiness::Finished) => Ok(0),
            Ok(Readiness::Aborted) => Err(Broken::ProducerAborted.into()),
            Err(corruption) => Err(self.end.latch(corruption.into()).into()),
        }
    }

    fn read_until(
        &mut self,
        bytes: &mut [u8],
        deadline: Option<Instant>,
    ) -> Result<usize, Blocked> {
        loop {
            match self.try_read(bytes) {
                Ok(len) => return Ok(len),
                Err(TryReadError::Empty) => self.wait_for_bytes(deadline)?,
                Err(TryReadError::Broken(broken)) => return Err(broken.into()),
            }
        }
    }

    /// Waits until there is something to read, or nothing more to come.
    fn wait_for_bytes(&mut self, deadline: Option<Instant>) -> Result<(), Blocked> {
        let wanted = self.reader.head().wrapping_add(1);
        let reader = &mut self.reader;
        self.end.wait(wanted, deadline, || {
            Ok((reader.readiness()? != Readiness::Empty).then_some(()))
        })
    }

    /// Closes the ring: the producer's writes fail from here on.
    ///
    /// # Errors
    ///
    /// [`CloseError::Broken`] when the handle was closed before, or inherited
    /// by fork.
    pub fn close(&mut self) -> Result<(), CloseError> {
        self.end.usable()?;
        self.leave();
        Ok(())
    }

    fn leave(&mut self) {
        if self.end.usable().is_ok() {
            self.reader.acknowledge_end();
        }
        self.end.leave(Departure::Finished);
    }

    /// Asks the kernel whether the producer lives: two system calls. What it
    /// has published can be read even if it does not.
    ///
    /// A producer that is not there yet, or that finished, is no error.
    ///
    /// # Errors
    ///
    /// [`Broken::Died`], [`Broken::NeverCame`], or what makes the handle
    /// unusable.
    pub fn check_peer(&mut self) -> Result<(), Broken> {
        self.end.usable()?;
        match self.reader.peer_departure() {
            Ok(Departure::Open) => self.end.peer_verdict(),
            Ok(_) => Ok(()),
            Err(corruption) => Err(self.end.latch(corruption.into())),
        }
    }

    /// Bytes of the ring.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.reader.region().capacity() as usize
    }

    /// The segment that the ring lies in.
    #[must_use]
    pub fn id(&self) -> SegmentId {
        self.end.hand_over()
    }

    /// Bytes read since the ring was made, by this handle and by those before
    /// it; wraps at 2^64.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.reader.head()
    }

    /// How often this handle slept, and how often it woke the producer.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.end.stats()
    }

    /// The limit on each blocking call; `None` is no limit.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.end.timeout()
    }

    /// Sets the limit on each blocking call; one that runs into it fails with
    /// [`io::ErrorKind::TimedOut`], and nothing is lost.
    pub fn set_timeout(&mut self, limit: Option<Duration>) {
        self.end.set_timeout(limit);
    }
}

impl io::Read for Consumer {
    /// Reads what is there, at least one byte, blocking while there is none;
    /// 0 is the end of the stream.
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let deadline = self.end.deadline();
        self.read_until(bytes, deadline)
            .map_err(|blocked| match blocked {
                Blocked::TimedOut => timed_out("no bytes in the ring"),
                Blocked::Broken(broken) => broken.into(),
            })
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("id", &self.end.region().id())
            .field("capacity", &self.capacity())
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}
