//! The writing end.

mod leave;
mod settings;
mod write;

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::time::Instant;

use crossbeam_utils::CachePadded;

use crate::error::{Broken, OpenError, PartialError, ReserveError, TryWriteError};
use crate::handle::config::HandleConfig;
use crate::handle::endpoint::{Blocked, Endpoint, Need, Short};
use crate::peer::Claim;
use crate::ring::{Departures, Writer};
use crate::segment::closed::Departure;
use crate::segment::copy::INLINE;
use crate::segment::region::Region;
use crate::segment::region::mapped::MappedRegion;
use crate::tuning::{IDLE_LOOKS, PUBLICATION, publication};

use crate::wait::deadline::is_past;
use crate::wait::pace;

/// The end of a ring that bytes are written to.
///
/// [`Write`](std::io::Write) blocks while the ring is full;
/// [`try_write`](Self::try_write) never does. Each write is published at once,
/// a long one as it goes, so [`flush`](std::io::Write::flush) has nothing to do.
/// One that sleeps in a full ring is woken once a quarter of it is free, and
/// finds within about ten milliseconds if less is.
///
/// Dropping the producer finishes the stream, as [`close`](Self::close) does.
/// Dropping it while panicking, or under
/// [`Options::abort_on_drop`](crate::Options::abort_on_drop), breaks the stream
/// off, as [`abort`](Self::abort) does. A process that ends in any other way has died:
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
    /// On lines of its own: the handle of another thread may lie beside it.
    writer: CachePadded<Writer<MappedRegion>>,
    end: Endpoint,
    /// Bytes held back before they are published together.
    batch: u64,
    /// Not `Sync`: a handle is used by one thread at a time.
    _not_sync: PhantomData<Cell<()>>,
}

impl Producer {
    pub(crate) fn new(
        region: MappedRegion,
        claim: Claim,
        config: &HandleConfig,
    ) -> Result<Producer, OpenError> {
        Producer::with(region, claim, config, true)
    }

    pub(crate) fn with(
        region: MappedRegion,
        claim: Claim,
        config: &HandleConfig,
        handed_over: bool,
    ) -> Result<Producer, OpenError> {
        let kind = region.geometry().kind;
        let departures = if config.needs_consumer(kind) {
            Departures::End
        } else {
            Departures::Pass
        };
        let mut end = Endpoint::new(region.clone(), claim, config, handed_over);
        match Writer::new(region, kind.persists(), departures) {
            Ok(writer) => Ok(Producer {
                writer: CachePadded::new(writer),
                end,
                batch: config.batch as u64,
                _not_sync: PhantomData,
            }),
            Err(corruption) => {
                end.leave(Departure::Aborted, || ());
                Err(corruption.into())
            }
        }
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
    /// let (mut producer, _consumer) = shmpipe::Options::new().capacity(4096).create_anonymous()?.split()?;
    /// assert_eq!(producer.try_write(&[7; 4000]), Ok(4000));
    /// assert_eq!(producer.try_write(&[8; 4000]), Ok(96));
    /// assert_eq!(producer.try_write(&[9]), Err(TryWriteError::Full));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn try_write(&mut self, bytes: &[u8]) -> Result<usize, TryWriteError> {
        let short = self.write_short(bytes);
        self.end_with(short, Ok(bytes.len()), |this| {
            this.try_write_at_length(bytes)
        })
    }

    /// Writes all of `bytes`, if there is room for them, or nothing. Never waits,
    /// and publishes them together: a consumer sees all of them or none, even if
    /// this process is killed in between.
    ///
    /// No bytes to write is `Ok(())`, and changes nothing.
    ///
    /// # Errors
    ///
    /// [`ReserveError::Full`] says how much room there is: nothing was written.
    /// [`ReserveError::TooLong`] when the ring is not as long as that.
    /// [`ReserveError::Broken`] when the stream cannot go on. A consumer that
    /// died is not noticed here: see [`check_peer`](Self::check_peer).
    ///
    /// # Examples
    ///
    /// A log writer that drops what there is no room for:
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
        let short = self.write_short(bytes);
        self.end_with(short, Ok(()), |this| this.try_write_all_at_length(bytes))
    }

    #[inline(never)]
    fn try_write_all_at_length(&mut self, bytes: &[u8]) -> Result<(), ReserveError> {
        self.end.usable()?;
        if bytes.is_empty() {
            return Ok(());
        }
        self.check_consumer()?;
        let (wanted, capacity) = (bytes.len(), self.capacity());
        if wanted > capacity {
            return Err(ReserveError::TooLong { wanted, capacity });
        }
        let room = self.known_room(wanted)?;
        if room < wanted {
            // Nothing may be held back from a consumer that has to make room first.
            self.publish();
            return Err(ReserveError::Full { wanted, room });
        }
        let put = self.writer.put(bytes);
        put.map_err(|corruption| self.end.latch(corruption.into()))?;
        if self.writer.pending() >= self.batch {
            self.publish();
        }
        self.end.went_on(0);
        Ok(())
    }

    #[inline(never)]
    fn try_write_at_length(&mut self, bytes: &[u8]) -> Result<usize, TryWriteError> {
        let short = self.write_known(bytes);
        self.end_with(short, Ok(bytes.len()), |this| {
            this.try_write_pieces(bytes, None)
        })
    }

    /// The most common case of a write: it is short, there is somebody to read it,
    /// who does not ask for echoes, and there is room that is known of.
    #[inline(always)]
    fn write_short(&mut self, bytes: &[u8]) -> Short {
        if !(1..=INLINE).contains(&bytes.len())
            || !self.end.is_usable()
            || self.writer.is_asked_for_echoes()
            || !self.writer.put_unechoed(bytes)
        {
            return Short::Not;
        }
        self.publish_if_due()
    }

    /// The common case: one publication carries it, there is somebody to read it,
    /// and there is room that is known of.
    #[inline(always)]
    fn write_known(&mut self, bytes: &[u8]) -> Short {
        if !(1..=PUBLICATION).contains(&bytes.len()) || !self.end.is_usable() {
            return Short::Not;
        }
        if self.writer.is_asked() {
            return self.write_asked(bytes);
        }
        if !self.writer.put_unechoed(bytes) {
            return Short::Not;
        }
        self.publish_if_due()
    }

    /// The same for a consumer that takes messages one at a time.
    #[inline(never)]
    fn write_asked(&mut self, bytes: &[u8]) -> Short {
        if !self.writer.put_asked(bytes) {
            return Short::Not;
        }
        let short = self.publish_if_due();
        self.writer.get_ready(bytes.len());
        short
    }

    /// Publishes what was written, unless a batch is to hold more.
    #[inline(always)]
    fn publish_if_due(&mut self) -> Short {
        if self.batch > 0 && self.writer.pending() < self.batch {
            return Short::Done;
        }
        self.writer.publish();
        self.end.spares(self.writer.peer_signals())
    }

    /// As [`Short::end`].
    #[inline(always)]
    fn end_with<T>(&mut self, short: Short, done: T, otherwise: impl FnOnce(&mut Self) -> T) -> T {
        short.end(self, done, Self::wake_after, otherwise)
    }

    /// Wakes the consumer if need be, and gives back `result`.
    #[cold]
    #[inline(never)]
    fn wake_after<T>(&mut self, result: T) -> T {
        let (peer, tail) = (self.writer.peer_signals(), self.writer.tail());
        self.end.wake_unspared(peer, tail);
        result
    }

    /// All cases. After `deadline` there is no look but the first, however little
    /// room that finds: a peer that dribbles does not prolong the call.
    #[inline(never)]
    fn try_write_pieces(
        &mut self,
        bytes: &[u8],
        deadline: Option<Instant>,
    ) -> Result<usize, TryWriteError> {
        self.end.usable()?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let mut written = 0;
        loop {
            // The next piece needs a look, unless the last one left room.
            if written > 0 && deadline.is_some() && self.known_room(0)? == 0 && is_past(deadline) {
                return Ok(written);
            }
            let longest = self.writer.region().longest_publication();
            let most = publication(written, longest);
            match self.write_some(&bytes[written..], most) {
                Ok(0) if written == 0 => return Err(TryWriteError::Full),
                Err(broken) if written == 0 => return Err(broken.into()),
                // What was published counts; the next call gives the reason.
                Ok(0) | Err(_) => return Ok(written),
                Ok(len) => written += len,
            }
            if written == bytes.len() {
                self.end.went_on(0);
                return Ok(written);
            }
        }
    }

    /// What one publication of at most `most` bytes carries, or as much of it as there
    /// is room for.
    #[inline]
    fn write_some(&mut self, bytes: &[u8], most: usize) -> Result<usize, Broken> {
        self.check_consumer()?;
        let bytes = &bytes[..bytes.len().min(most)];
        match self.writer.put(bytes) {
            Ok(len) => {
                // Nothing may be held back from a consumer that has to make
                // room first.
                if len < bytes.len() || self.writer.pending() >= self.batch {
                    self.publish();
                }
                Ok(len)
            }
            Err(corruption) => Err(self.end.latch(corruption.into())),
        }
    }

    /// Whether there is a consumer left to write for.
    #[inline]
    pub(crate) fn check_consumer(&mut self) -> Result<(), Broken> {
        match self.writer.is_left_alone() {
            Ok(false) => Ok(()),
            Ok(true) => Err(Broken::ConsumerClosed),
            Err(corruption) => Err(self.end.latch(corruption.into())),
        }
    }

    /// Publishes what was written, and wakes a consumer that waits for it.
    #[inline]
    pub(crate) fn publish(&mut self) {
        if self.writer.pending() > 0 {
            self.writer.publish();
            let (peer, tail) = (self.writer.peer_signals(), self.writer.tail());
            self.end.wake(peer, tail);
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
            match self.try_write_pieces(&bytes[written..], deadline) {
                Ok(len) => {
                    written += len;
                    // What has become free since is left: a peer that dribbles
                    // does not prolong the call.
                    if written < bytes.len() && is_past(deadline) {
                        let departure = self.check_consumer().map_err(Blocked::from);
                        return (written, departure.and(Err(Blocked::TimedOut)));
                    }
                }
                Err(TryWriteError::Full) => {
                    if let Err(blocked) = self.wait_for_some_room(deadline) {
                        return (written, Err(blocked));
                    }
                }
                Err(TryWriteError::Broken(broken)) => return (written, Err(broken.into())),
            }
        }
        (written, Ok(()))
    }

    /// Waits for some room. The consumer wakes a sleeping producer once a
    /// quarter of the ring is free; less is found at the end of a slice.
    pub(crate) fn wait_for_some_room(&mut self, deadline: Option<Instant>) -> Result<(), Blocked> {
        self.wait_for_room(1, self.quarter(), deadline)
    }

    /// A quarter of the ring: room that is worth a wake.
    pub(crate) fn quarter(&self) -> u64 {
        self.writer.region().capacity() / 4
    }

    /// Waits for `least` bytes of room; `worth_a_wake` is how many the consumer
    /// had better have made before it wakes us.
    pub(crate) fn wait_for_room(
        &mut self,
        least: u64,
        worth_a_wake: u64,
        deadline: Option<Instant>,
    ) -> Result<(), Blocked> {
        // A reader that is a ring behind has more to do than to be watched.
        // A writer that follows right behind it takes lines that it has hardly let
        // go. So while the reader goes on, half of the ring is waited for.
        let capacity = self.writer.region().capacity();
        let rest = pace::until_room(capacity);
        let plenty = least.max(capacity / 2);
        let (end, wanted, mut room) = self.wait_for_room_parts(worth_a_wake);
        let (mut before, mut idle) = (0, 0);
        end.wait_for_plenty(wanted, rest, deadline, |need| {
            let room = room()?;
            idle = if room == before { idle + 1 } else { 0 };
            before = room;
            let enough = match need {
                Need::Plenty if idle < IDLE_LOOKS => plenty,
                Need::Least | Need::Plenty => least,
            };
            Ok((room >= enough).then_some(()))
        })
    }

    /// What it takes to wait for that, all that was held back being published:
    /// who waits, the head that is worth a wake, and what tells how much room there
    /// is.
    pub(crate) fn wait_for_room_parts(
        &mut self,
        worth_a_wake: u64,
    ) -> (&mut Endpoint, u64, impl FnMut() -> Result<u64, Blocked>) {
        self.publish();
        // The head at which that much is free.
        let capacity = self.writer.region().capacity();
        let all_free = self.writer.tail().wrapping_sub(capacity);
        let wanted = all_free.wrapping_add(worth_a_wake);
        let writer = &mut self.writer;
        let room = move || {
            if writer.is_left_alone()? {
                return Err(Broken::ConsumerClosed.into());
            }
            Ok(writer.room(u64::MAX)?)
        };
        (&mut self.end, wanted, room)
    }

    /// Writes what there is room for, at least one byte, blocking until
    /// `deadline` while there is none; says how many bytes that was. What there
    /// is room for is written even if `deadline` has passed. No bytes to write
    /// is `Ok(0)`.
    ///
    /// # Errors
    ///
    /// [`PartialError`] says why nothing was written.
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
        let written = self.write_some_until(bytes, Some(deadline));
        written.map_err(|blocked| PartialError {
            moved: 0,
            wanted: bytes.len(),
            cause: blocked.into(),
        })
    }

    /// Waits for some room, and writes what there is room for.
    fn write_some_until(
        &mut self,
        bytes: &[u8],
        deadline: Option<Instant>,
    ) -> Result<usize, Blocked> {
        loop {
            match self.try_write_pieces(bytes, deadline) {
                Ok(len) => return Ok(len),
                Err(TryWriteError::Full) => self.wait_for_some_room(deadline)?,
                Err(TryWriteError::Broken(broken)) => return Err(broken.into()),
            }
        }
    }

    /// Writes all of `bytes` before `deadline`, which bounds the whole call,
    /// however often it waits. After the deadline it looks once, and writes what
    /// there is room for.
    ///
    /// # Errors
    ///
    /// [`PartialError`] says how many bytes were written, and why no more; those
    /// are in the stream.
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

    /// Whether there is somebody to write for; publishes what is held back.
    pub(crate) fn start_grant(&mut self) -> Result<(), Broken> {
        self.end.usable()?;
        self.check_consumer()?;
        self.publish();
        Ok(())
    }

    pub(crate) fn expect_child(&mut self, pid: u32) {
        self.end.expect_child(pid);
    }

    /// When a blocking call that starts now gives up.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.end.deadline()
    }

    #[cfg(feature = "async")]
    pub(crate) fn end(&mut self) -> &mut Endpoint {
        &mut self.end
    }

    pub(crate) fn is_usable(&self) -> bool {
        self.end.is_usable()
    }

    pub(crate) fn writer(&self) -> &Writer<MappedRegion> {
        &self.writer
    }

    /// What a grant ends with. Its length is room that there was.
    pub(crate) fn commit(&mut self, len: usize) {
        self.writer.advance(len as u64);
        self.publish();
    }

    /// Bytes there is room for: at least so many can be written without
    /// waiting, however late. 0 may be out of date at once.
    ///
    /// # Errors
    ///
    /// What makes the handle unusable.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, _consumer) = shmpipe::pair()?;
    /// producer.try_write(b"abc").unwrap();
    /// assert_eq!(producer.room()?, producer.capacity() - 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "slots")]
    pub fn room(&mut self) -> Result<usize, Broken> {
        self.known_room(self.capacity())
    }

    /// The room that is known of; looks at the consumer's position if that is less
    /// than `wanted`.
    pub(crate) fn known_room(&mut self, wanted: usize) -> Result<usize, Broken> {
        self.end.usable()?;
        match self.writer.room(wanted as u64) {
            Ok(room) => Ok(room as usize), // at most the capacity
            Err(corruption) => Err(self.end.latch(corruption.into())),
        }
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
