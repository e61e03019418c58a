//! Zero-copy: room to write into before it is published, bytes to look at
//! before they are released.
//!
//! A grant is one run of addresses, of any length up to the capacity: the ring
//! is mapped twice in a row. What the addresses lead to is shared with the
//! peer, so the safe methods copy, or give a pointer and a length; slices are
//! behind `unsafe`, for a peer that keeps to the protocol.
//!
//! A fork copies a grant that is held. The copy's methods ask whose it is, as
//! those of the handles do, before they change anything that is shared.
#![allow(unsafe_code)] // makes slices of a region's addresses

use std::fmt;
use std::ops::Range;
use std::slice;
use std::time::Instant;

use crate::consumer::Consumer;
use crate::endpoint::Blocked;
use crate::error::{Broken, PeekError, ReserveError};
use crate::producer::Producer;
use crate::region::Region;
use crate::ring::Readiness;

/// Room in the ring, to be filled and then committed.
///
/// Nothing of it is visible to the consumer before [`commit`](Self::commit),
/// and all that is committed after, even if the process is killed in between:
/// a record is whole or not there. A grant that is dropped was never there.
/// A copy that a fork made is inert: writing to it and committing it do
/// nothing.
///
/// # Examples
///
/// ```
/// use std::io::Read;
///
/// let (mut producer, mut consumer) = shmpipe::pair()?;
/// let mut grant = producer.reserve(100)?;
/// grant.write_at(0, b"a record of ");
/// grant.write_at(12, b"two parts");
/// grant.commit(21);
///
/// let mut record = [0; 21];
/// consumer.read_exact(&mut record)?;
/// assert_eq!(&record, b"a record of two parts");
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "nothing is written before it is committed"]
pub struct WriteGrant<'a> {
    producer: &'a mut Producer,
    len: usize,
}

impl<'a> WriteGrant<'a> {
    pub(crate) fn new(producer: &'a mut Producer, len: usize) -> WriteGrant<'a> {
        WriteGrant { producer, len }
    }

    /// Bytes of room, one run of addresses.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, _consumer) = shmpipe::pair()?;
    /// assert_eq!(producer.reserve(100)?.len(), 100);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // a grant has at least what was asked for
    pub fn len(&self) -> usize {
        self.len
    }

    /// The first address. Valid for writes of [`len`](Self::len) bytes while
    /// the grant lives. The peer can write there too, whatever the protocol
    /// says, so ordinary Rust reads and writes need the peer's good conduct;
    /// system calls and volatile or atomic accesses do not.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// let mut grant = producer.reserve(3)?;
    /// let place = grant.as_mut_ptr();
    /// for (offset, &byte) in b"abc".iter().enumerate() {
    ///     // SAFETY: inside the grant, and volatile, whoever the peer is.
    ///     unsafe { place.add(offset).write_volatile(byte) };
    /// }
    /// grant.commit_all();
    /// let mut bytes = [0; 3];
    /// assert_eq!(consumer.try_read(&mut bytes), Ok(3));
    /// assert_eq!(&bytes, b"abc");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        let writer = self.producer.writer();
        writer.region().at(writer.tail(), self.len).as_ptr()
    }

    /// Copies `bytes` to `offset` in the grant.
    ///
    /// # Panics
    ///
    /// When they reach beyond the end of the grant.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// let mut grant = producer.reserve(6)?;
    /// grant.write_at(3, b"def"); // in any order
    /// grant.write_at(0, b"abc");
    /// grant.commit_all();
    /// let mut bytes = [0; 6];
    /// assert_eq!(consumer.try_read(&mut bytes), Ok(6));
    /// assert_eq!(&bytes, b"abcdef");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn write_at(&mut self, offset: usize, bytes: &[u8]) {
        check_range(offset, bytes.len(), self.len);
        if !self.producer.is_usable() {
            return;
        }
        let writer = self.producer.writer();
        let position = writer.tail().wrapping_add(offset as u64);
        writer.region().copy_in(position, bytes);
    }

    /// The room as a slice. Its bytes are those of an earlier lap.
    ///
    /// # Safety
    ///
    /// - The peer keeps to the protocol: it does not touch room that it has
    ///   released, for as long as the slice lives.
    /// - The process is the one that made the grant, not one that a fork gave
    ///   a copy.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// let mut grant = producer.reserve(3)?;
    /// // SAFETY: the peer is this thread, which does not touch the room, and
    /// // nothing forks.
    /// unsafe { grant.as_mut_slice() }.copy_from_slice(b"abc");
    /// grant.commit_all();
    /// let mut bytes = [0; 3];
    /// assert_eq!(consumer.try_read(&mut bytes), Ok(3));
    /// assert_eq!(&bytes, b"abc");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub unsafe fn as_mut_slice(&mut self) -> &mut [u8] {
        let len = self.len;
        // SAFETY: `at` gives the start of `len` mapped bytes, initialised
        // since the kernel made them. They are the writer's until they are
        // published, for which the grant has to go first; that nobody else
        // touches them meanwhile is the caller's word.
        unsafe { slice::from_raw_parts_mut(self.as_mut_ptr(), len) }
    }

    /// Writes the first `len` bytes to the stream and publishes them.
    ///
    /// # Panics
    ///
    /// When `len` is more than the grant has.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// let mut grant = producer.reserve(100)?;
    /// grant.write_at(0, b"abc");
    /// grant.commit(3);
    /// assert_eq!(consumer.available()?, 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn commit(self, len: usize) {
        check_range(0, len, self.len);
        if self.producer.is_usable() {
            self.producer.commit(len);
        }
    }

    /// Writes the whole grant to the stream and publishes it.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// let mut grant = producer.reserve(3)?;
    /// grant.write_at(0, b"abc");
    /// grant.commit_all();
    /// assert_eq!(consumer.available()?, 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn commit_all(self) {
        let len = self.len;
        self.commit(len);
    }
}

/// Bytes in the ring, to be looked at and then released.
///
/// They stay until [`consume`](Self::consume); a grant that is dropped has
/// consumed nothing. A copy that a fork made is inert: consuming it does
/// nothing.
///
/// # Examples
///
/// ```
/// use std::io::Write;
///
/// let (mut producer, mut consumer) = shmpipe::pair()?;
/// producer.write_all(b"\x03abcdef")?;
///
/// let mut len = [0];
/// consumer.peek(1)?.read_at(0, &mut len); // not consumed
/// let record_end = 1 + usize::from(len[0]);
/// let grant = consumer.peek(record_end)?;
/// let mut record = vec![0; record_end - 1];
/// grant.read_at(1, &mut record);
/// grant.consume_all();
/// assert_eq!(record, b"abc");
/// assert_eq!(consumer.available()?, 3);
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "nothing is consumed before it is said"]
pub struct ReadGrant<'a> {
    consumer: &'a mut Consumer,
    len: usize,
}

impl<'a> ReadGrant<'a> {
    pub(crate) fn new(consumer: &'a mut Consumer, len: usize) -> ReadGrant<'a> {
        ReadGrant { consumer, len }
    }

    /// Bytes there are, one run of addresses.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.try_write(b"abc").unwrap();
    /// assert_eq!(consumer.peek_up_to(100)?.len(), 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // a grant has at least what was asked for
    pub fn len(&self) -> usize {
        self.len
    }

    /// The first address. Valid for reads of [`len`](Self::len) bytes while
    /// the grant lives. The peer can write there, whatever the protocol says:
    /// see [`WriteGrant::as_mut_ptr`].
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.try_write(b"abc").unwrap();
    /// let grant = consumer.peek(3)?;
    /// // SAFETY: inside the grant, and volatile, whoever the peer is.
    /// let last = unsafe { grant.as_ptr().add(2).read_volatile() };
    /// assert_eq!(last, b'c');
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn as_ptr(&self) -> *const u8 {
        let reader = self.consumer.reader();
        reader.region().at(reader.head(), self.len).as_ptr()
    }

    /// Copies bytes from `offset` in the grant on, as many as `bytes` holds.
    ///
    /// # Panics
    ///
    /// When that reaches beyond the end of the grant.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.try_write(b"abcdef").unwrap();
    /// let mut bytes = [0; 3];
    /// consumer.peek(6)?.read_at(3, &mut bytes);
    /// assert_eq!(&bytes, b"def");
    /// assert_eq!(consumer.available()?, 6); // a look takes nothing
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn read_at(&self, offset: usize, bytes: &mut [u8]) {
        check_range(offset, bytes.len(), self.len);
        let reader = self.consumer.reader();
        let position = reader.head().wrapping_add(offset as u64);
        reader.region().copy_out(position, bytes);
    }

    /// The bytes as a slice.
    ///
    /// # Safety
    ///
    /// - The peer keeps to the protocol: it does not touch bytes that it has
    ///   published, for as long as the slice lives.
    /// - The process is the one that made the grant, not one that a fork gave
    ///   a copy.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.try_write(b"abc").unwrap();
    /// let grant = consumer.peek(3)?;
    /// // SAFETY: the peer is this thread, which does not touch the bytes, and
    /// // nothing forks.
    /// assert_eq!(unsafe { grant.as_slice() }, b"abc");
    /// grant.consume_all();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub unsafe fn as_slice(&self) -> &[u8] {
        // SAFETY: `at` gives the start of `len` mapped bytes. They are the
        // reader's until they are released, for which the grant has to go
        // first; that nobody else touches them meanwhile is the caller's word.
        unsafe { slice::from_raw_parts(self.as_ptr(), self.len) }
    }

    /// Takes the first `len` bytes out of the stream.
    ///
    /// # Panics
    ///
    /// When `len` is more than the grant has.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.try_write(b"abc").unwrap();
    /// consumer.peek(3)?.consume(1);
    /// assert_eq!(consumer.available()?, 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn consume(self, len: usize) {
        check_range(0, len, self.len);
        if self.consumer.is_usable() {
            self.consumer.consume(len);
        }
    }

    /// Takes all of the grant's bytes out of the stream.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.try_write(b"abc").unwrap();
    /// consumer.peek_up_to(usize::MAX)?.consume_all();
    /// assert_eq!(consumer.available()?, 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn consume_all(self) {
        let len = self.len;
        self.consume(len);
    }
}

impl Producer {
    /// Reserves `len` bytes of room, in one piece, to be filled and committed.
    /// Does not block. Bytes that are held back in a batch are published.
    ///
    /// # Errors
    ///
    /// [`ReserveError::Full`] says how much room there is.
    /// [`ReserveError::TooLong`] when the ring is not as long as that.
    /// [`ReserveError::Broken`] when there is nobody to write for, or the
    /// handle is of no further use.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::ReserveError;
    ///
    /// let (mut producer, _consumer) = shmpipe::Options::new().capacity(4096).anonymous()?.split()?;
    /// producer.reserve(4000)?.commit(3000);
    /// assert_eq!(producer.reserve(2000).unwrap_err(), ReserveError::Full { room: 1096 });
    /// assert_eq!(producer.reserve(5000).unwrap_err(), ReserveError::TooLong { capacity: 4096 });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reserve(&mut self, len: usize) -> Result<WriteGrant<'_>, ReserveError> {
        let room = self.room_for(len)?;
        if room < len {
            return Err(ReserveError::Full { room });
        }
        Ok(WriteGrant::new(self, len))
    }

    /// Reserves as much room as there is, at most `most` bytes and at least
    /// one. Does not block.
    ///
    /// # Errors
    ///
    /// [`ReserveError::Full`] when there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, _consumer) = shmpipe::Options::new().capacity(4096).anonymous()?.split()?;
    /// producer.reserve_up_to(4000)?.commit_all();
    /// assert_eq!(producer.reserve_up_to(4000)?.len(), 96);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reserve_up_to(&mut self, most: usize) -> Result<WriteGrant<'_>, ReserveError> {
        let len = self.room_for(most.min(self.capacity()))?.min(most);
        if len == 0 && most > 0 {
            return Err(ReserveError::Full { room: 0 });
        }
        Ok(WriteGrant::new(self, len))
    }

    /// Reserves `len` bytes of room, in one piece; waits for it until
    /// `deadline`. A deadline that has passed does not keep room that is there
    /// from being granted.
    ///
    /// # Errors
    ///
    /// [`ReserveError::TimedOut`] says how much room there is.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use shmpipe::ReserveError;
    ///
    /// let (mut producer, _consumer) = shmpipe::Options::new().capacity(4096).anonymous()?.split()?;
    /// let soon = Instant::now() + Duration::from_millis(20);
    /// producer.reserve_deadline(4000, soon)?.commit_all();
    /// let error = producer.reserve_deadline(100, soon).unwrap_err();
    /// assert_eq!(error, ReserveError::TimedOut { room: 96 });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reserve_deadline(
        &mut self,
        len: usize,
        deadline: Instant,
    ) -> Result<WriteGrant<'_>, ReserveError> {
        self.wait_to_reserve(len, Some(deadline))?;
        Ok(WriteGrant::new(self, len))
    }

    fn wait_to_reserve(
        &mut self,
        len: usize,
        deadline: Option<Instant>,
    ) -> Result<(), ReserveError> {
        if self.room_for(len)? >= len {
            return Ok(());
        }
        match self.wait_for_room(len as u64, len as u64, deadline) {
            Ok(()) => Ok(()),
            Err(Blocked::TimedOut) => match self.room_for(len)? {
                // It came at the last moment.
                room if room >= len => Ok(()),
                room => Err(ReserveError::TimedOut { room }),
            },
            Err(Blocked::Broken(broken)) => Err(broken.into()),
        }
    }

    /// The room there is, if the ring is at all as long as `len`.
    pub(crate) fn room_for(&mut self, len: usize) -> Result<usize, ReserveError> {
        self.start_grant()?;
        if len > self.capacity() {
            return Err(ReserveError::TooLong {
                capacity: self.capacity(),
            });
        }
        Ok(self.room(len)?)
    }
}

impl Consumer {
    /// Looks at the next `len` bytes, in one piece, without taking them out of
    /// the stream. Does not block.
    ///
    /// # Errors
    ///
    /// [`PeekError::Empty`] and [`PeekError::Ended`] say how many there are.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    /// use shmpipe::PeekError;
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.write_all(b"abc")?;
    /// assert_eq!(consumer.peek(4).unwrap_err(), PeekError::Empty { available: 3 });
    /// producer.close()?;
    /// assert_eq!(consumer.peek(4).unwrap_err(), PeekError::Ended { available: 3 });
    /// consumer.peek(3)?.consume_all();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn peek(&mut self, len: usize) -> Result<ReadGrant<'_>, PeekError> {
        self.bytes_for(len)?;
        Ok(ReadGrant::new(self, len))
    }

    /// Looks at the bytes that are there, at most `most` and at least one. Does
    /// not block.
    ///
    /// # Errors
    ///
    /// [`PeekError::Empty`] when there are none yet, [`PeekError::Ended`] when
    /// there will be none.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.write_all(b"abc")?;
    /// let grant = consumer.peek_up_to(usize::MAX)?;
    /// assert_eq!(grant.len(), 3);
    /// grant.consume(2);
    /// assert_eq!(consumer.available()?, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn peek_up_to(&mut self, most: usize) -> Result<ReadGrant<'_>, PeekError> {
        self.bytes_for(most.min(1))?;
        let most = most.min(self.capacity());
        let available = self.known(most)?;
        Ok(ReadGrant::new(self, available.min(most)))
    }

    /// Looks at the next `len` bytes, in one piece; waits for them until
    /// `deadline`. A deadline that has passed does not keep bytes that are
    /// there from being granted.
    ///
    /// # Errors
    ///
    /// [`PeekError::TimedOut`] and [`PeekError::Ended`] say how many there are.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    /// use std::time::{Duration, Instant};
    /// use shmpipe::PeekError;
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.write_all(b"abc")?;
    /// let soon = Instant::now() + Duration::from_millis(20);
    /// let error = consumer.peek_deadline(4, soon).unwrap_err();
    /// assert_eq!(error, PeekError::TimedOut { available: 3 });
    /// consumer.peek_deadline(3, soon)?.consume_all();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn peek_deadline(
        &mut self,
        len: usize,
        deadline: Instant,
    ) -> Result<ReadGrant<'_>, PeekError> {
        self.wait_to_peek(len, Some(deadline))?;
        Ok(ReadGrant::new(self, len))
    }

    pub(crate) fn wait_to_peek(
        &mut self,
        len: usize,
        deadline: Option<Instant>,
    ) -> Result<(), PeekError> {
        match self.bytes_for(len) {
            Err(PeekError::Empty { .. }) => {}
            there => return there,
        }
        match self.wait_for_bytes(len as u64, deadline) {
            Ok(()) => self.bytes_for(len),
            Err(Blocked::TimedOut) => match self.known(len)? {
                // They came at the last moment.
                available if available >= len => Ok(()),
                available => Err(PeekError::TimedOut { available }),
            },
            Err(Blocked::Broken(broken)) => Err(broken.into()),
        }
    }

    /// Whether there are `len` bytes, and if not, why.
    fn bytes_for(&mut self, len: usize) -> Result<(), PeekError> {
        if len > self.capacity() {
            return Err(PeekError::TooLong {
                capacity: self.capacity(),
            });
        }
        match self.readiness(len)? {
            Readiness::Ready => Ok(()),
            Readiness::Empty => Err(PeekError::Empty {
                available: self.known(0)?,
            }),
            Readiness::Finished => Err(PeekError::Ended {
                available: self.known(0)?,
            }),
            Readiness::Aborted => Err(Broken::ProducerAborted.into()),
        }
    }
}

#[track_caller]
fn check_range(offset: usize, len: usize, granted: usize) {
    let Range { start, end } = offset..offset.saturating_add(len);
    assert!(
        end <= granted,
        "bytes {start} to {end} of a grant of {granted} bytes"
    );
}

impl fmt::Debug for WriteGrant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteGrant")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ReadGrant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadGrant")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}
