//! The reading end.

mod leave;
mod settings;

use std::cell::Cell;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::marker::PhantomData;
use std::time::Instant;

use crossbeam_utils::CachePadded;

use crate::error::{Broken, Bytes, OpenError, PartialError, PeekError, TryReadError, WaitError};
use crate::handle::config::HandleConfig;
use crate::handle::endpoint::{Blocked, Endpoint, Short};
use crate::peer::Claim;
use crate::ring::marks::Ending;
use crate::ring::{Reader, Readiness};
use crate::role::Role;
use crate::segment::closed::Departure;
use crate::segment::copy::INLINE;
use crate::segment::region::Region;
use crate::segment::region::mapped::MappedRegion;
use crate::tuning::PUBLICATION;
use crate::wait::Spinning;
use crate::wait::deadline::is_past;
use crate::wait::pace::Pacer;

/// The end of a ring that bytes are read from.
///
/// [`io::Read`] blocks while the ring is empty; [`try_read`](Self::try_read)
/// never does. A producer that finished leaves its bytes to be read, then the
/// end of the stream, `Ok(0)`. One that broke the stream off, or died, leaves
/// them too, but then comes an error. A producer that gives up by dropping its
/// handle has finished, unless [`Options::abort_on_drop`](crate::Options::abort_on_drop) says otherwise.
///
/// Dropping the consumer closes the ring: the producer's writes fail with
/// [`Broken::ConsumerClosed`], an [`io::ErrorKind::BrokenPipe`]. In a ring that
/// [persists](crate::Options::persistent) they wait for the next consumer, and a drop
/// acknowledges the end of a stream that was read.
///
/// It is no [`io::BufRead`]: that would lend out the ring's memory as a slice,
/// which the peer may be writing. [`std::io::BufReader`] around it is one, with
/// `lines()` and the like, for a copy more; [`try_peek`](Self::try_peek) looks at
/// bytes in place. A stream that broke off gives its error again at each call,
/// so end at the first one: by `?`, `collect::<Result<..>>` or `map_while`.
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
///
/// Lines:
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
    /// On lines of its own: the handle of another thread may lie beside it.
    reader: CachePadded<Reader<MappedRegion>>,
    end: Endpoint,
    pacer: Pacer,
    /// What calls have said of the end of this stream.
    end_told: EndTold,
    /// Whether [`next_stream_deadline`](Self::next_stream_deadline) has
    /// acknowledged an end, and nothing of the next stream came in time.
    awaits_next: bool,
    /// Not `Sync`: a handle is used by one thread at a time.
    _not_sync: PhantomData<Cell<()>>,
}

/// What calls have said of the end of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum EndTold {
    No,
    /// By a call that looks, and takes nothing.
    Shown,
    /// By a reading call: whoever leaves in order now acknowledges the end.
    Read,
}

impl Consumer {
    pub(crate) fn new(
        region: MappedRegion,
        claim: Claim,
        config: &HandleConfig,
    ) -> Result<Consumer, OpenError> {
        Consumer::with(region, claim, config, true)
    }

    pub(crate) fn with(
        region: MappedRegion,
        claim: Claim,
        config: &HandleConfig,
        handed_over: bool,
    ) -> Result<Consumer, OpenError> {
        let persists = region.geometry().kind.persists();
        let mut end = Endpoint::new(region.clone(), claim, config, handed_over);
        match Reader::new(region, persists) {
            Ok(reader) => Ok(Consumer {
                reader: CachePadded::new(reader),
                end,
                end_told: EndTold::No,
                awaits_next: false,
                pacer: Pacer::new(config.pace),
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
        let short = self.read_known(bytes, INLINE);
        self.end_with(short, Ok(len), |this| this.try_read_at_length(bytes))
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
        let short = self.read_known(bytes, INLINE);
        self.end_with(short, Ok(()), |this| this.try_read_exact_at_length(bytes))
    }

    #[inline(never)]
    fn try_read_exact_at_length(&mut self, bytes: &mut [u8]) -> Result<(), PeekError> {
        if let Err(error) = self.bytes_for(bytes.len()) {
            // As of a reading call: whoever leaves in order acknowledges the end.
            let is_end = matches!(error, PeekError::Ended { .. } | PeekError::Broken(_));
            if is_end && self.reader.at_the_end().is_some() {
                self.end_told = EndTold::Read;
            }
            return Err(error);
        }
        self.reader.region().copy_out(self.reader.head(), bytes, 0);
        self.consume(bytes.len());
        self.end.went_on(bytes.len() as u64);
        Ok(())
    }

    #[inline(never)]
    fn try_read_at_length(&mut self, bytes: &mut [u8]) -> Result<usize, TryReadError> {
        let len = bytes.len();
        let short = self.read_known(bytes, PUBLICATION);
        self.end_with(short, Ok(len), |this| {
            let read = this.try_read_pieces(bytes, None)?;
            this.end.went_on(read as u64);
            Ok(read)
        })
    }

    /// The common case of a read: it is of `most` bytes at most, no more than one
    /// release carries, and so many bytes are known to be there.
    #[inline(always)]
    fn read_known(&mut self, bytes: &mut [u8], most: usize) -> Short {
        if !(1..=most).contains(&bytes.len())
            || !self.end.is_usable()
            || !self.reader.get_known(bytes)
        {
            return Short::Not;
        }
        self.end.spares(self.reader.peer_signals())
    }

    /// As [`Short::end`].
    #[inline(always)]
    fn end_with<T>(&mut self, short: Short, done: T, otherwise: impl FnOnce(&mut Self) -> T) -> T {
        short.end(self, done, Self::wake_after, otherwise)
    }

    /// Wakes the producer if need be, and gives back `result`.
    #[cold]
    #[inline(never)]
    fn wake_after<T>(&mut self, result: T) -> T {
        let (peer, head) = (self.reader.peer_signals(), self.reader.head());
        self.end.wake_unspared(peer, head);
        result
    }

    /// All cases. After `deadline` there is no look but the first, however little
    /// that finds: a peer that dribbles does not prolong the call.
    #[inline(never)]
    fn try_read_pieces(
        &mut self,
        bytes: &mut [u8],
        deadline: Option<Instant>,
    ) -> Result<usize, TryReadError> {
        self.end.usable()?;
        let mut read = 0;
        while read < bytes.len() {
            // The next piece needs a look, unless this is what the last one left.
            if read > 0 && self.reader.known() == 0 && is_past(deadline) {
                break;
            }
            match self.read_some(&mut bytes[read..])? {
                0 if read > 0 => break,
                0 => match self.nothing_to_read()? {
                    0 => return Ok(0),
                    _ => continue,
                },
                len => read += len,
            }
        }
        Ok(read)
    }

    /// What one release carries, or as much of it as there is.
    #[inline]
    fn read_some(&mut self, bytes: &mut [u8]) -> Result<usize, Broken> {
        let most = bytes.len().min(self.reader.region().longest_release());
        match self.reader.get(&mut bytes[..most]) {
            Ok(0) => Ok(0),
            Ok(len) => {
                self.consume(len);
                Ok(len)
            }
            Err(corruption) => Err(self.end.latch(corruption.into())),
        }
    }

    /// Finds out what it means that the ring was empty: how much has come
    /// since, or 0 for the end.
    #[cold]
    fn nothing_to_read(&mut self) -> Result<u64, TryReadError> {
        match self.reader.readiness(1) {
            Ok(Readiness::Ready) => Ok(1),
            Ok(Readiness::Empty) => Err(TryReadError::Empty),
            Ok(Readiness::Ended(ending)) => {
                self.end_told = EndTold::Read;
                match why_broken(ending) {
                    None => Ok(0),
                    Some(broken) => Err(broken.into()),
                }
            }
            Err(corruption) => Err(self.end.latch(corruption.into()).into()),
        }
    }

    /// As [`read`](io::Read::read) of more than few bytes, or of few that are not
    /// known to be there.
    #[inline(never)]
    fn read_at_length(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let len = bytes.len();
        let short = self.read_known(bytes, PUBLICATION);
        self.end_with(short, Ok(len), |this| this.hear_or_read(bytes))
    }

    /// The same for [`read_exact`](io::Read::read_exact).
    #[inline(never)]
    fn read_exact_at_length(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let short = self.read_known(bytes, PUBLICATION);
        self.end_with(short, Ok(()), |this| this.hear_or_read_exact(bytes))
    }

    #[inline(never)]
    fn hear_or_read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self.hear(bytes) {
            0 => self.wait_and_read(bytes),
            len => Ok(len),
        }
    }

    #[inline(never)]
    fn hear_or_read_exact(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let len = self.hear(bytes);
        if len == bytes.len() {
            return Ok(());
        }
        self.read_exact_or_wait(&mut bytes[len..])
    }

    /// Takes a message, if one comes in a moment and is to be taken at once: its
    /// length, or 0.
    #[inline(always)]
    fn hear(&mut self, bytes: &mut [u8]) -> usize {
        if bytes.is_empty()
            || !self.reader.may_hear()
            || !self.pacer.is_at_once()
            || !self.end.is_usable()
        {
            return 0;
        }
        let len = self.reader.hear_next(bytes);
        if len > 0 {
            self.wake_producer();
            self.end.went_on(0);
            self.pacer.taken_at_once();
            let alone = self.pacer.finds_nothing_more();
            self.reader.note(len as u64, alone);
        }
        len
    }

    #[inline(never)]
    fn wait_and_read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let deadline = self.end.deadline();
        let read = self.read_until(bytes, deadline);
        read.map_err(|blocked| self.end.io_error(blocked))
    }

    #[inline(never)]
    fn read_exact_or_wait(&mut self, mut bytes: &mut [u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.wait_and_read(bytes)? {
                0 => {
                    let short = format!("the stream has ended {} short", Bytes(bytes.len()));
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, short));
                }
                read => bytes = &mut bytes[read..],
            }
        }
        Ok(())
    }

    fn read_until(
        &mut self,
        bytes: &mut [u8],
        deadline: Option<Instant>,
    ) -> Result<usize, Blocked> {
        if !bytes.is_empty() && self.end.is_usable() {
            self.gather(bytes.len(), deadline)?;
        }
        let mut waited = false;
        loop {
            match self.try_read_pieces(bytes, deadline) {
                Ok(len) => return Ok(len),
                // Its end was there a moment ago, and is not: a peer that goes
                // on like this does not outlast the deadline.
                Err(TryReadError::Empty) if waited && is_past(deadline) => {
                    return Err(Blocked::TimedOut);
                }
                Err(TryReadError::Empty) => self.wait_for_bytes(1, deadline)?,
                Err(TryReadError::Broken(broken)) => return Err(broken.into()),
            }
            waited = true;
        }
    }

    /// Waits while there is nothing; and, having caught up with the producer,
    /// lets bytes gather as the pace says.
    fn gather(&mut self, len: usize, deadline: Option<Instant>) -> Result<(), Blocked> {
        if self.reader.known() >= len as u64 {
            return Ok(());
        }
        match self.known(len)? {
            0 => match self.wait_for_bytes(1, deadline) {
                Err(Blocked::TimedOut) => return Ok(()), // the caller looks once more
                waited => waited?,
            },
            found => self.end.went_on(found as u64),
        }
        let found = self.reader.known();
        if found > 0 && self.end.spinning() != Spinning::Not && !is_past(deadline) {
            let capacity = self.reader.region().capacity();
            let reader = &mut self.reader;
            let gathered = self
                .pacer
                .gather(found, capacity, || reader.available(u64::MAX));
            gathered.map_err(|corruption| self.end.latch(corruption.into()))?;
            let alone = self.pacer.finds_nothing_more();
            let known = self.reader.known();
            self.reader.note(known, alone);
        }
        Ok(())
    }

    /// Waits until there are `least` bytes, or no more to come.
    pub(crate) fn wait_for_bytes(
        &mut self,
        least: u64,
        deadline: Option<Instant>,
    ) -> Result<(), Blocked> {
        let (end, wanted, ready) = self.wait_for_bytes_parts(least);
        end.wait(wanted, deadline, ready)
    }

    /// What it takes to wait for that: who waits, the tail that is worth a
    /// wake, and what tells whether the wait is over.
    pub(crate) fn wait_for_bytes_parts(
        &mut self,
        least: u64,
    ) -> (
        &mut Endpoint,
        u64,
        impl FnMut() -> Result<Option<()>, Blocked>,
    ) {
        let wanted = self.reader.head().wrapping_add(least);
        let reader = &mut self.reader;
        let ready = move || Ok((reader.readiness(least)? != Readiness::Empty).then_some(()));
        (&mut self.end, wanted, ready)
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

    /// For a reading call that was refused by `error`: nothing, if that is the end
    /// of a whole stream. Notes that the end was given, however the stream ended.
    pub(crate) fn end_or(&mut self, error: PeekError) -> io::Result<()> {
        if self.reader.at_the_end().is_some() {
            self.end_told = EndTold::Read;
        }
        match error {
            PeekError::Ended { .. } => Ok(()),
            error => Err(error.into()),
        }
    }

    /// What ends a call after its deadline, all that it found being read: what
    /// has come since is left there, or a peer that dribbles would prolong it.
    fn why_no_more(&mut self) -> WaitError {
        match self.readiness(1) {
            Ok(Readiness::Ready | Readiness::Empty) => WaitError::TimedOut,
            Ok(Readiness::Ended(ending)) => {
                self.end_told = EndTold::Read;
                why_broken(ending).map_or(WaitError::Ended, WaitError::Broken)
            }
            Err(broken) => WaitError::Broken(broken),
        }
    }

    /// Notes that a call which looks has returned the end.
    pub(crate) fn end_shown(&mut self) {
        self.end_told = self.end_told.max(EndTold::Shown);
    }

    /// The bytes known to be there; looks again if those are fewer than
    /// `wanted`.
    pub(crate) fn known(&mut self, wanted: usize) -> Result<usize, Broken> {
        match self.reader.available(wanted as u64) {
            Ok(available) => Ok(available as usize), // at most the capacity
            Err(corruption) => Err(self.end.latch(corruption.into())),
        }
    }

    #[cfg(feature = "async")]
    pub(crate) fn end(&mut self) -> &mut Endpoint {
        &mut self.end
    }

    pub(crate) fn is_usable(&self) -> bool {
        self.end.is_usable()
    }

    pub(crate) fn reader(&self) -> &Reader<MappedRegion> {
        &self.reader
    }

    /// Whether there are `least` bytes, and if not, whether more can come.
    pub(crate) fn readiness(&mut self, least: usize) -> Result<Readiness, Broken> {
        self.end.usable()?;
        let readiness = self.reader.readiness(least as u64);
        readiness.map_err(|corruption| self.end.latch(corruption.into()))
    }

    /// When a blocking call that starts now gives up.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.end.deadline()
    }

    /// Takes bytes that are there out of the stream.
    #[inline]
    pub(crate) fn consume(&mut self, len: usize) {
        if len > 0 {
            self.reader.release(len as u64);
            self.wake_producer();
        }
    }

    #[inline]
    fn wake_producer(&mut self) {
        let (peer, head) = (self.reader.peer_signals(), self.reader.head());
        self.end.wake(peer, head);
    }

    /// Bytes that can be read without waiting: there are at least so many, and
    /// none of them goes unless this handle reads it. 0 may be out of date at
    /// once.
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

impl io::Read for Consumer {
    /// Reads what is there, at least one byte, blocking while there is none;
    /// 0 is the end of the stream.
    #[inline]
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let len = bytes.len();
        let short = self.read_known(bytes, INLINE);
        self.end_with(short, Ok(len), |this| this.read_at_length(bytes))
    }

    #[inline]
    fn read_exact(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let short = self.read_known(bytes, INLINE);
        self.end_with(short, Ok(()), |this| this.read_exact_at_length(bytes))
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

/// The error that an ending is to a reader; none for a whole stream.
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
            .field("id", &self.end.region().id())
            .field("capacity", &self.capacity())
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}
