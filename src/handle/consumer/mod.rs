//! The reading end of a ring.

mod leave;
mod read;
mod settings;
mod transfer;

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crossbeam_utils::CachePadded;

use crate::error::{Broken, OpenError};
use crate::handle::config::HandleConfig;
use crate::handle::endpoint::{Blocked, Endpoint};
use crate::peer::Claim;
use crate::ring::marks::Ending;
use crate::ring::{Reader, Readiness};
use crate::role::Role;
use crate::segment::closed::Departure;
use crate::segment::mapping::Mapping;
use crate::segment::position;
use crate::segment::region::Region;
use crate::segment::region::mapped::MappedRegion;
use crate::wait::coalesce::Coalescer;

/// The end of a ring that bytes are read from.
///
/// [`Read`](std::io::Read) blocks while the ring is empty;
/// [`try_read`](Self::try_read) never does. After a producer has finished, reads
/// return the rest of its bytes, then the end of the stream, `Ok(0)`. After a
/// producer has broken off or died, reads return the rest, then an error. A
/// producer that drops its handle has finished, unless
/// [`Options::abort_on_drop`](crate::Options::abort_on_drop) says otherwise.
///
/// Dropping the consumer closes the ring. The producer's writes then fail with
/// [`Broken::ConsumerClosed`], which is a
/// [`BrokenPipe`](std::io::ErrorKind::BrokenPipe). In a
/// [persistent](crate::Options::persistent) ring, writes continue and wait for the
/// next consumer when the ring is full. There, a drop acknowledges the end of a
/// stream that was read.
///
/// `Consumer` does not implement [`BufRead`](std::io::BufRead), which would lend
/// out the ring's memory as a slice while the peer may write there.
/// [`std::io::BufReader`] adds `lines()` and the like, at the cost of a copy.
/// [`try_peek`](Self::try_peek) gives access to bytes in place. A broken stream
/// returns its error at each call, so stop at the first error: by `?`,
/// `collect::<Result<..>>` or `map_while`.
///
/// A consumer can be sent to another thread, but not shared. After a fork, the
/// consumer belongs to the process that forked. The child's copy is inert.
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
///
/// Reading lines:
///
/// ```
/// use std::io::{BufRead, BufReader, Write};
///
/// let (mut producer, consumer) = shmpipe::pair()?;
/// producer.write_all(b"one\ntwo\n")?;
/// producer.close()?;
/// let lines = BufReader::new(consumer).lines().collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(lines, ["one", "two"]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Consumer {
    /// On its own cache lines, since the handle of another thread may be adjacent.
    reader: CachePadded<Reader<MappedRegion>>,
    end: Endpoint,
    coalescer: Coalescer,
    /// Which calls have returned the end of this stream.
    end_told: EndTold,
    /// Whether [`next_stream_deadline`](Self::next_stream_deadline) acknowledged an
    /// end, and nothing of the next stream came within its deadline.
    awaits_next: bool,
    /// Not `Sync`: a handle is used by one thread at a time.
    _not_sync: PhantomData<Cell<()>>,
}

/// Which calls have returned the end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum EndTold {
    No,
    /// A call that looks at bytes without taking them.
    Shown,
    /// A reading call. Leaving in order acknowledges the end from now on.
    Read,
}

impl Consumer {
    pub(crate) fn new(
        mapping: Mapping,
        claim: Claim,
        config: &HandleConfig,
    ) -> Result<Consumer, OpenError> {
        Consumer::with(mapping, claim, config, true)
    }

    pub(crate) fn with(
        mapping: Mapping,
        claim: Claim,
        config: &HandleConfig,
        id_shared: bool,
    ) -> Result<Consumer, OpenError> {
        let persists = mapping.geometry().kind.persists();
        let mut end = Endpoint::new(mapping.clone(), claim, config, id_shared);
        match Reader::new(MappedRegion::new(mapping), persists) {
            Ok(reader) => Ok(Consumer {
                reader: CachePadded::new(reader),
                end,
                end_told: EndTold::No,
                awaits_next: false,
                coalescer: Coalescer::new(config.pace),
                _not_sync: PhantomData,
            }),
            Err(corruption) => {
                end.leave(Departure::Aborted, || ());
                Err(corruption.into())
            }
        }
    }

    pub(crate) fn expect_child(&mut self, pid: u32) {
        self.end.expect_child(pid);
    }

    /// The deadline of a blocking call that starts now.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.end.deadline()
    }

    pub(crate) fn end(&mut self) -> &mut Endpoint {
        &mut self.end
    }

    pub(crate) fn cancel_flag(&self) -> Option<&Arc<AtomicBool>> {
        self.end.cancel_flag()
    }

    pub(crate) fn is_usable(&self) -> bool {
        self.end.is_usable()
    }

    pub(crate) fn reader(&self) -> &Reader<MappedRegion> {
        &self.reader
    }

    /// Notes that a reading call has returned the end, if the end has been reached. Leaving
    /// in order acknowledges it from now on.
    pub(crate) fn end_read(&mut self) {
        if self.reader.at_the_end().is_some() {
            self.end_told = EndTold::Read;
        }
    }

    /// Notes that a call which looks at bytes has returned the end.
    pub(crate) fn end_shown(&mut self) {
        self.end_told = self.end_told.max(EndTold::Shown);
    }

    /// The known number of readable bytes. Loads the producer's position if that
    /// number is less than `wanted`.
    #[inline(always)] // part of each look for messages
    pub(crate) fn known(&mut self, wanted: usize) -> Result<usize, Broken> {
        match self.reader.available(wanted as u64) {
            Ok(available) => Ok(available as usize), // at most the capacity
            Err(corruption) => Err(self.end.latch(corruption.into())),
        }
    }

    /// Whether `least` bytes can be read. If not, whether more can come.
    pub(crate) fn readiness(&mut self, least: usize) -> Result<Readiness, Broken> {
        self.end.usable()?;
        let readiness = self.reader.readiness(least as u64);
        readiness.map_err(|corruption| self.end.latch(corruption.into()))
    }

    /// What a wait for several handles has found out about the producer. Bytes that the producer
    /// has left can still be read, so with `bytes_left` the verdict is not final.
    pub(crate) fn verdict(&mut self, bytes_left: bool) -> Option<Broken> {
        match bytes_left {
            true => self.end.verdict(),
            false => self.end.take_verdict(),
        }
    }

    /// Whether a call that never waits would return anything but the error for fewer than `least`
    /// bytes.
    pub(crate) fn is_ready(&mut self, least: usize) -> bool {
        match self.readiness(least) {
            Ok(Readiness::Empty) => self.end.has_verdict(),
            Ok(Readiness::Ready | Readiness::Ended(_)) | Err(_) => true,
        }
    }

    #[inline]
    fn wake_producer(&mut self) {
        let (peer, head) = (self.reader.peer_signals(), self.reader.head());
        self.end.wake(peer, head);
    }

    /// Waits until `least` bytes can be read, or no more can come.
    pub(crate) fn wait_for_bytes(
        &mut self,
        least: usize,
        deadline: Option<Instant>,
    ) -> Result<(), Blocked> {
        let is_empty = self.reader.known() == 0;
        let (end, wanted, ready) = self.wait_for_bytes_parts(least);
        if is_empty {
            end.wait_while_empty(wanted, deadline, ready)
        } else {
            end.wait(wanted, deadline, ready)
        }
    }

    /// Returns the parts of [`wait_for_bytes`](Self::wait_for_bytes): the endpoint,
    /// the tail that is worth a wake, and the condition that ends the wait.
    pub(crate) fn wait_for_bytes_parts(
        &mut self,
        least: usize,
    ) -> (
        &mut Endpoint,
        u64,
        impl FnMut() -> Result<Option<()>, Blocked>,
    ) {
        let wanted = position::after(self.reader.head(), least);
        let (reader, least) = (&mut self.reader, least as u64);
        let ready = move || Ok((reader.readiness(least)? != Readiness::Empty).then_some(()));
        (&mut self.end, wanted, ready)
    }

    /// Copies bytes out and leaves them in the stream, from `offset` after the next byte. The
    /// caller knows that they are available, in one piece or not.
    pub(crate) fn copy_ahead(&self, bytes: &mut [u8], offset: usize) {
        let position = position::after(self.reader.head(), offset);
        self.reader.region().copy_out(position, bytes, 0);
    }

    /// Returns how many bytes can be read without waiting. This is a lower bound:
    /// bytes stay until this handle reads them, and more may come at any time.
    ///
    /// # Errors
    ///
    /// What makes the handle unusable.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.try_write(b"abc").unwrap();
    /// assert_eq!(consumer.available()?, 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "slots")]
    pub fn available(&mut self) -> Result<usize, Broken> {
        self.end.usable()?;
        self.known(self.capacity())
    }
}

/// The error that a reader gets at this ending. `None` for a whole stream.
pub(crate) fn why_broken(ending: Ending) -> Option<Broken> {
    match ending {
        Ending::Finished => None,
        Ending::Aborted => Some(Broken::ProducerAborted),
        Ending::Died(pid) => Some(Broken::Died {
            role: Role::Producer,
            pid,
        }),
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("id", &self.end.mapping().id())
            .field("capacity", &self.capacity())
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}
