//! Grants as slices, without a copy, for a peer that the caller vouches for.
#![allow(unsafe_code)] // makes slices of a region's addresses

use std::io::{self, BufRead, Read, Write};
use std::ops::{Deref, DerefMut};

use super::{ReadGrant, WriteGrant};

/// Room as a slice: a [`WriteGrant`] whose peer the caller vouches for.
///
/// Dereferences to the room that [`advance`](Self::advance) and [`Write`] have not
/// passed, whose bytes are left from an earlier lap. So a library that fills a slice, or a
/// typed reference into it, needs no copy. With the feature `bytes`, implements
/// `bytes::BufMut`. Dropping this value commits nothing.
///
/// # Examples
///
/// See [`WriteGrant::trusted`].
#[derive(Debug)]
#[must_use = "nothing is written before it is committed"]
pub struct TrustedWrite<'a>(WriteGrant<'a>);

/// Bytes as a slice: a [`ReadGrant`] whose peer the caller vouches for.
///
/// Dereferences to the bytes that [`BufRead::consume`] and [`Read`] have not passed. So a
/// parser that borrows its input, or a typed reference into it, needs no copy. With the
/// feature `bytes`, implements `bytes::Buf`. Dropping this value consumes nothing.
///
/// # Examples
///
/// See [`ReadGrant::trusted`].
#[derive(Debug)]
#[must_use = "dropping this value consumes nothing"]
pub struct TrustedRead<'a>(ReadGrant<'a>);

impl<'a> WriteGrant<'a> {
    /// Vouches for the peer, for access without a copy.
    ///
    /// # Safety
    ///
    /// The rules of [`as_mut_slice`](Self::as_mut_slice) hold while the returned value
    /// lives:
    ///
    /// - The peer keeps to the protocol: it does not touch released room.
    /// - The process is the one that made the grant, not a forked child with a
    ///   copy.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// let grant = producer.reserve(100)?;
    /// // SAFETY: the peer is this thread, which does not touch the room, and
    /// // nothing forks.
    /// let mut room = unsafe { grant.trusted() };
    /// room[..3].copy_from_slice(b"abc"); // in place
    /// room.advance(3);
    /// room[..2].copy_from_slice(b"de");
    /// room.advance(2);
    /// room.commit_written();
    /// assert_eq!(consumer.peek(5)?.to_vec(), b"abcde");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub unsafe fn trusted(self) -> TrustedWrite<'a> {
        TrustedWrite(self)
    }
}

impl TrustedWrite<'_> {
    /// Counts the next `len` bytes of the room as written. They have the content that the
    /// caller gave them, or that of an earlier lap.
    ///
    /// # Panics
    ///
    /// If `len` is more than the rest of the room.
    ///
    /// # Examples
    ///
    /// See [`WriteGrant::trusted`].
    #[track_caller]
    #[inline]
    pub fn advance(&mut self, len: usize) {
        super::check_range(self.0.written, len, self.0.len);
        self.0.written += len;
    }

    /// Commits what was written: see [`WriteGrant::commit_written`].
    ///
    /// # Examples
    ///
    /// See [`WriteGrant::trusted`].
    #[inline]
    pub fn commit_written(self) {
        self.0.commit_written();
    }
}

impl Deref for TrustedWrite<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let writer = self.0.producer.writer();
        let first = writer.region().place(writer.tail());
        // SAFETY: a grant is one run of `len` mapped and initialised addresses from the tail on.
        // `trusted` says that nobody else touches them meanwhile.
        let all = unsafe { std::slice::from_raw_parts(first.as_ptr(), self.0.len) };
        &all[self.0.written..]
    }
}

impl DerefMut for TrustedWrite<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let written = self.0.written;
        // SAFETY: `trusted` has the same rules, for as long as this value lives.
        let all = unsafe { self.0.as_mut_slice() };
        &mut all[written..]
    }
}

/// Writes to where the last write ended, as [`WriteGrant`] does, and fails in the same cases.
impl Write for TrustedWrite<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> ReadGrant<'a> {
    /// Vouches for the peer, for access without a copy.
    ///
    /// # Safety
    ///
    /// The rules of [`as_slice`](Self::as_slice) hold while the returned value lives:
    ///
    /// - The peer keeps to the protocol: it does not touch published bytes.
    /// - The process is the one that made the grant, not a forked child with a
    ///   copy.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::BufRead;
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.try_write(b"first line\nsecond").unwrap();
    /// let grant = consumer.peek_up_to(usize::MAX)?;
    /// // SAFETY: the peer is this thread, which does not touch the bytes, and
    /// // nothing forks.
    /// let mut bytes = unsafe { grant.trusted() };
    /// assert!(bytes.starts_with(b"first")); // in place
    /// let mut line = String::new();
    /// bytes.read_line(&mut line)?;
    /// assert_eq!(line, "first line\n");
    /// bytes.consume_read(); // keeps the second line
    /// assert_eq!(consumer.available()?, 6);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub unsafe fn trusted(self) -> TrustedRead<'a> {
        TrustedRead(self)
    }
}

impl TrustedRead<'_> {
    /// Takes the bytes that were passed out of the stream: see [`ReadGrant::consume_read`].
    ///
    /// # Examples
    ///
    /// See [`ReadGrant::trusted`].
    #[inline]
    pub fn consume_read(self) {
        self.0.consume_read();
    }

    /// Releases all of the grant: what was read, and the rest.
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.try_write(b"a message").unwrap();
    /// // SAFETY: the peer is this thread, which does not touch the bytes, and nothing forks.
    /// let bytes = unsafe { consumer.peek(9)?.trusted() };
    /// assert_eq!(&*bytes, b"a message");
    /// bytes.consume_all();
    /// assert_eq!(consumer.available()?, 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline]
    pub fn consume_all(self) {
        self.0.consume_all();
    }

    #[track_caller]
    #[inline]
    fn pass(&mut self, len: usize) {
        super::check_range(self.0.read, len, self.0.len);
        self.0.read += len;
    }
}

impl Deref for TrustedRead<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: `trusted` has the same rules, for as long as this value lives.
        let all = unsafe { self.0.as_slice() };
        &all[self.0.read..]
    }
}

/// Reads from where the last read ended, as [`ReadGrant`] does.
impl Read for TrustedRead<'_> {
    #[inline]
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes)
    }
}

/// The bytes of the grant. Never waits for more. `consume` only passes bytes; they leave the
/// ring by [`TrustedRead::consume_read`].
impl BufRead for TrustedRead<'_> {
    #[inline]
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self)
    }

    #[track_caller]
    #[inline]
    fn consume(&mut self, len: usize) {
        self.pass(len);
    }
}

#[cfg(feature = "bytes")]
impl bytes::Buf for TrustedRead<'_> {
    #[inline]
    fn remaining(&self) -> usize {
        self.0.len - self.0.read
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        self
    }

    #[track_caller]
    #[inline]
    fn advance(&mut self, len: usize) {
        self.pass(len);
    }
}

// SAFETY: `chunk_mut` returns the room after what was written, all of which is initialised, and
// `advance_mut` panics beyond its end. Both look at one length, which only `advance_mut` and
// `write` move, forwards.
#[cfg(feature = "bytes")]
unsafe impl bytes::BufMut for TrustedWrite<'_> {
    #[inline]
    fn remaining_mut(&self) -> usize {
        self.0.len - self.0.written
    }

    #[track_caller]
    #[inline]
    unsafe fn advance_mut(&mut self, len: usize) {
        self.advance(len);
    }

    #[inline]
    fn chunk_mut(&mut self) -> &mut bytes::buf::UninitSlice {
        bytes::buf::UninitSlice::new(self)
    }
}
