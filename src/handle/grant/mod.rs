//! Zero-copy access: room to fill before publishing, and bytes to look at before
//! releasing.
//!
//! A grant is one run of addresses, up to the capacity, since a segment is mapped
//! twice in a row. In the caller's memory, a grant ends at the ring's end. The
//! peer shares the memory. So the safe methods copy, or return a pointer and a
//! length. Slices need `unsafe`, and a peer that keeps to the protocol.
//!
//! A fork copies a held grant. As with handles, the methods of the copy check the
//! process before they change anything shared.
//!
//! This file has more than 450 lines because more than half of them are documentation with
//! examples.
#![allow(unsafe_code)] // makes slices of a region's addresses

mod cursor;
mod peek;
mod reserve;
mod trusted;

use std::fmt;
use std::slice;

use crate::handle::consumer::Consumer;
use crate::handle::producer::Producer;
use crate::segment::region::Region;

pub use self::trusted::{TrustedRead, TrustedWrite};

/// Room in the ring, to be filled and then committed.
///
/// The consumer sees nothing of the room before [`commit`](Self::commit), and all
/// committed bytes after, even if the process is killed meanwhile. So a record is
/// complete or absent. A [batch](Producer::set_batch) holds committed bytes back
/// like written ones. Dropping a grant has no effect. A copy made by a fork is
/// inert: its `write_at` and `commit` do nothing. Its
/// [address](Self::as_mut_ptr) still leads to the shared room, so do not write there.
///
/// A grant may hold many records. One look at the consumer's position and one
/// publication then serve all of them.
///
/// A grant is also an [`io::Write`](std::io::Write): each write copies to where the last one
/// ended, and [`commit_written`](Self::commit_written) commits all of them.
/// [`write_at`](Self::write_at) is independent of that.
///
/// # Examples
///
/// ```
/// use std::io::Read;
///
/// let (mut producer, mut consumer) = shmpipe::pair()?;
/// let mut grant = producer.try_reserve(100)?;
/// grant.write_at(b"a record of ", 0);
/// grant.write_at(b"two parts", 12);
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
    /// Bytes written through `io::Write`.
    written: usize,
}

impl<'a> WriteGrant<'a> {
    #[inline(always)]
    fn new(producer: &'a mut Producer, len: usize) -> WriteGrant<'a> {
        WriteGrant {
            producer,
            len,
            written: 0,
        }
    }

    /// Length of the room in bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, _consumer) = shmpipe::pair()?;
    /// assert_eq!(producer.try_reserve(100)?.len(), 100);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // empty only if 0 bytes were asked for
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The first address, valid for writes of [`len`](Self::len) bytes while the
    /// grant lives. A peer that breaks the protocol can write there too. Ordinary
    /// Rust reads and writes are sound only if the peer keeps to the protocol.
    /// System calls and volatile or atomic accesses are sound with any peer. Only a
    /// peer in another process can break the protocol: in this process the peer is
    /// this crate.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// let mut grant = producer.try_reserve(3)?;
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
    #[inline]
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        let writer = self.producer.writer();
        writer.region().place(writer.tail()).as_ptr()
    }

    /// Copies `bytes` to `offset` in the grant. The arguments have the order of
    /// [`FileExt`](std::os::unix::fs::FileExt).
    ///
    /// # Panics
    ///
    /// If the bytes reach beyond the end of the grant.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// let mut grant = producer.try_reserve(6)?;
    /// grant.write_at(b"def", 3); // in any order
    /// grant.write_at(b"abc", 0);
    /// grant.commit_all();
    /// let mut bytes = [0; 6];
    /// assert_eq!(consumer.try_read(&mut bytes), Ok(6));
    /// assert_eq!(&bytes, b"abcdef");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    #[inline]
    pub fn write_at(&mut self, bytes: &[u8], offset: usize) {
        check_range(offset, bytes.len(), self.len);
        if !self.producer.is_usable() {
            return;
        }
        let writer = self.producer.writer();
        let position = writer.tail().wrapping_add(offset as u64);
        // SAFETY: a grant is one run of addresses from the tail on, and the range is within it. So
        // by the rule of `contiguous` the bytes from `position` on are one run.
        unsafe { writer.region().copy_in_run(position, bytes, 0) };
    }

    /// The room as a slice. Its bytes are left from an earlier lap.
    ///
    /// # Safety
    ///
    /// - The peer keeps to the protocol: it does not touch released room while the
    ///   slice lives.
    /// - The process is the one that made the grant, not a forked child with a
    ///   copy.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// let mut grant = producer.try_reserve(3)?;
    /// // SAFETY: the peer is this thread, which does not touch the room, and
    /// // nothing forks.
    /// unsafe { grant.as_mut_slice() }.copy_from_slice(b"abc");
    /// grant.commit_all();
    /// let mut bytes = [0; 3];
    /// assert_eq!(consumer.try_read(&mut bytes), Ok(3));
    /// assert_eq!(&bytes, b"abc");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub unsafe fn as_mut_slice(&mut self) -> &mut [u8] {
        let len = self.len;
        // SAFETY: a grant is one run of `len` mapped addresses from the tail on, whose bytes the
        // kernel or the caller of `create_in` has initialised. The bytes are the writer's until
        // they are published, and publishing consumes the grant. The caller
        // guarantees that nobody else touches them meanwhile.
        unsafe { slice::from_raw_parts_mut(self.as_mut_ptr(), len) }
    }

    /// Writes the first `len` bytes to the stream and publishes them, unless a
    /// [batch](Producer::set_batch) holds them back.
    ///
    /// # Panics
    ///
    /// If `len` is more than the length of the grant.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// let mut grant = producer.try_reserve(100)?;
    /// grant.write_at(b"abc", 0);
    /// grant.commit(3);
    /// assert_eq!(consumer.available()?, 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    #[inline]
    pub fn commit(self, len: usize) {
        check_range(0, len, self.len);
        if self.producer.is_usable() {
            self.producer.commit(len);
        }
    }

    /// Writes the whole grant to the stream: see [`commit`](Self::commit).
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// let mut grant = producer.try_reserve(3)?;
    /// grant.write_at(b"abc", 0);
    /// grant.commit_all();
    /// assert_eq!(consumer.available()?, 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    #[inline]
    pub fn commit_all(self) {
        let len = self.len;
        self.commit(len);
    }
}

/// Bytes in the ring, to be looked at and then released.
///
/// The bytes stay in the stream until [`consume`](Self::consume). Dropping a grant
/// consumes nothing. A copy made by a fork is inert: consuming it does nothing.
///
/// A grant is also an [`io::Read`](std::io::Read): each read copies from where the last one
/// ended, and [`consume_read`](Self::consume_read) consumes all of these bytes.
/// [`read_at`](Self::read_at) is independent of that.
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
/// consumer.try_peek(1)?.read_at(&mut len, 0); // not consumed
/// let record_end = 1 + usize::from(len[0]);
/// let grant = consumer.try_peek(record_end)?;
/// let mut record = vec![0; record_end - 1];
/// grant.read_at(&mut record, 1);
/// grant.consume_all();
/// assert_eq!(record, b"abc");
/// assert_eq!(consumer.available()?, 3);
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use = "dropping a grant consumes nothing"]
pub struct ReadGrant<'a> {
    consumer: &'a mut Consumer,
    len: usize,
    /// Bytes read through `io::Read`.
    read: usize,
}

impl<'a> ReadGrant<'a> {
    #[inline(always)]
    fn new(consumer: &'a mut Consumer, len: usize) -> ReadGrant<'a> {
        ReadGrant {
            consumer,
            len,
            read: 0,
        }
    }

    /// Number of bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.try_write(b"abc").unwrap();
    /// assert_eq!(consumer.try_peek_up_to(100)?.len(), 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // empty only if 0 bytes were asked for
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The first address, valid for reads of [`len`](Self::len) bytes while the
    /// grant lives. A peer that breaks the protocol can write there: see
    /// [`WriteGrant::as_mut_ptr`].
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.try_write(b"abc").unwrap();
    /// let grant = consumer.try_peek(3)?;
    /// // SAFETY: inside the grant, and volatile, whoever the peer is.
    /// let last = unsafe { grant.as_ptr().add(2).read_volatile() };
    /// assert_eq!(last, b'c');
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn as_ptr(&self) -> *const u8 {
        let reader = self.consumer.reader();
        reader.region().place(reader.head()).as_ptr()
    }

    /// Copies bytes from `offset` in the grant until `bytes` is full. The arguments
    /// have the order of [`FileExt`](std::os::unix::fs::FileExt).
    ///
    /// # Panics
    ///
    /// If the bytes reach beyond the end of the grant.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.try_write(b"abcdef").unwrap();
    /// let mut bytes = [0; 3];
    /// consumer.try_peek(6)?.read_at(&mut bytes, 3);
    /// assert_eq!(&bytes, b"def");
    /// assert_eq!(consumer.available()?, 6); // a look takes nothing
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    #[inline]
    pub fn read_at(&self, bytes: &mut [u8], offset: usize) {
        check_range(offset, bytes.len(), self.len);
        let reader = self.consumer.reader();
        let position = reader.head().wrapping_add(offset as u64);
        // SAFETY: a grant is one run of addresses from the head on, and the range is within it. So
        // by the rule of `contiguous` the bytes from `position` on are one run.
        unsafe { reader.region().copy_out_run(position, bytes, 0) };
    }

    /// Returns a copy of all bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.try_write(b"abc").unwrap();
    /// let grant = consumer.peek_up_to(usize::MAX)?;
    /// assert_eq!(grant.to_vec(), b"abc");
    /// grant.consume_all(); // once the copy is where it belongs
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        self.read_at(&mut bytes, 0);
        bytes
    }

    /// The bytes as a slice.
    ///
    /// # Safety
    ///
    /// - The peer keeps to the protocol: it does not touch published bytes while
    ///   the slice lives.
    /// - The process is the one that made the grant, not a forked child with a
    ///   copy.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.try_write(b"abc").unwrap();
    /// let grant = consumer.try_peek(3)?;
    /// // SAFETY: the peer is this thread, which does not touch the bytes, and
    /// // nothing forks.
    /// assert_eq!(unsafe { grant.as_slice() }, b"abc");
    /// grant.consume_all();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    #[inline]
    pub unsafe fn as_slice(&self) -> &[u8] {
        // SAFETY: a grant is one run of `len` mapped addresses from the head on, whose bytes the
        // producer has initialised. The bytes are the reader's until they are released, and
        // releasing consumes the grant. The caller guarantees that nobody else
        // touches them meanwhile.
        unsafe { slice::from_raw_parts(self.as_ptr(), self.len) }
    }

    /// Takes the first `len` bytes out of the stream.
    ///
    /// # Panics
    ///
    /// If `len` is more than the length of the grant.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.try_write(b"abc").unwrap();
    /// consumer.try_peek(3)?.consume(1);
    /// assert_eq!(consumer.available()?, 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    #[inline]
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
    /// consumer.try_peek_up_to(usize::MAX)?.consume_all();
    /// assert_eq!(consumer.available()?, 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    #[inline]
    pub fn consume_all(self) {
        let len = self.len;
        self.consume(len);
    }
}

#[inline]
#[track_caller]
fn check_range(offset: usize, len: usize, granted: usize) {
    if offset > granted || len > granted - offset {
        out_of_range(offset, len, granted);
    }
}

#[cold]
#[track_caller]
fn out_of_range(offset: usize, len: usize, granted: usize) -> ! {
    let end = offset.saturating_add(len);
    panic!("bytes {offset} to {end} of a grant of {granted} bytes");
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
