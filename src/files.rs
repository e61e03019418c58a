//! Bytes between a ring and a file descriptor, with no copy in this process:
//! the kernel reads into the ring, or writes out of it. A span of a segment's
//! ring is always one piece, so read(2) and write(2) do. In memory of the
//! caller's the ring's end can divide it: then readv(2) and writev(2) do.
#![allow(unsafe_code)] // hands a region's addresses to the kernel

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::time::Instant;

use crate::consumer::Consumer;
use crate::error::PeekError;
use crate::error::timed_out;
use crate::producer::{Producer, no_room};

/// What a descriptor that blocks takes at once, once poll(2) has called it
/// writable: `PIPE_BUF`, by pipe(7).
const SURE: usize = 4096;

impl Producer {
    /// Fills the ring from `file` with one `read(2)`, straight into the ring,
    /// and says how many bytes that was; 0 is the end of the file, or that
    /// `most`, which limits the bytes, is 0. Waits while the ring is full,
    /// within the limit of [`set_timeout`](Producer::set_timeout); for how long
    /// the read may block is up to the file. What was held back in a batch, and
    /// then what was read, is published at once.
    ///
    /// # Errors
    ///
    /// What the read gives, such as [`io::ErrorKind::WouldBlock`] from a
    /// descriptor that does not block; nothing is written then. An interrupted
    /// read is made again. Otherwise as [`io::Write::write`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Read;
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// let file = std::fs::File::open("/proc/version")?;
    /// while producer.fill_from(&file, usize::MAX)? > 0 {}
    /// producer.close()?;
    /// let mut text = String::new();
    /// consumer.read_to_string(&mut text)?;
    /// assert_eq!(text, std::fs::read_to_string("/proc/version")?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn fill_from(&mut self, file: impl AsFd, most: usize) -> io::Result<usize> {
        self.await_room(most, self.deadline())?;
        self.fill_once(file.as_fd(), most)
    }

    /// As [`fill_from`](Self::fill_from), but waits until `deadline` at most:
    /// for room in the ring first, then, by poll(2), for something to read. A
    /// deadline that has passed does not keep what is there from being moved.
    /// A file whose bytes another reader takes meanwhile can still block.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::TimedOut`]: nothing was moved. Otherwise as
    /// [`fill_from`](Self::fill_from).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{ErrorKind, Write};
    /// use std::time::{Duration, Instant};
    ///
    /// let (mut producer, _consumer) = shmpipe::pair()?;
    /// let (pipe, mut input) = std::io::pipe()?;
    /// let soon = Instant::now() + Duration::from_millis(20);
    /// let error = producer.fill_from_deadline(&pipe, 100, soon).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::TimedOut);
    /// input.write_all(b"abc")?;
    /// assert_eq!(producer.fill_from_deadline(&pipe, 100, soon)?, 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn fill_from_deadline(
        &mut self,
        file: impl AsFd,
        most: usize,
        deadline: Instant,
    ) -> io::Result<usize> {
        self.await_room(most, Some(deadline))?;
        if most > 0 {
            await_file(file.as_fd(), libc::POLLIN, deadline)?;
        }
        self.fill_once(file.as_fd(), most)
    }

    /// Waits for room for some of `most` bytes.
    fn await_room(&mut self, most: usize, deadline: Option<Instant>) -> io::Result<()> {
        let most = most.min(self.capacity());
        if self.room_for(most)? == 0 && most > 0 {
            self.wait_for_some_room(deadline).map_err(no_room)?;
        }
        Ok(())
    }

    fn fill_once(&mut self, file: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        let room = self.room_for(most.min(self.capacity()))?.min(most);
        let writer = self.writer();
        let len = fill(writer.region().runs(writer.tail(), room), file)?;
        self.commit(len);
        Ok(len)
    }
}

impl Consumer {
    /// Drains the ring into `file` with one `write(2)`, straight from the
    /// ring, and says how many bytes that was; 0 is the end of the stream, or
    /// that `most`, which limits the bytes, is 0. Waits while the ring is
    /// empty, within the limit of [`set_timeout`](Consumer::set_timeout); for
    /// how long the write may block is up to the file. Only what the file has
    /// taken leaves the stream.
    ///
    /// # Errors
    ///
    /// What the write gives, such as [`io::ErrorKind::WouldBlock`] from a
    /// descriptor that does not block, or [`io::ErrorKind::BrokenPipe`]; the
    /// bytes stay in the ring then. [`io::ErrorKind::WriteZero`] from a file
    /// that takes nothing, so that it does not look like the end of the stream.
    /// An interrupted write is made again. Otherwise as [`io::Read::read`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{Read, Write};
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// producer.write_all(b"through a ring and a pipe")?;
    /// producer.close()?;
    /// let (mut out, pipe) = std::io::pipe()?;
    /// while consumer.drain_to(&pipe, usize::MAX)? > 0 {}
    /// drop(pipe);
    /// let mut text = String::new();
    /// out.read_to_string(&mut text)?;
    /// assert_eq!(text, "through a ring and a pipe");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn drain_to(&mut self, file: impl AsFd, most: usize) -> io::Result<usize> {
        match self.await_bytes(most, self.deadline())? {
            true => self.drain_once(file.as_fd(), most),
            false => Ok(0),
        }
    }

    /// As [`drain_to`](Self::drain_to), but waits until `deadline` at most: for
    /// bytes in the ring first, then, by poll(2), for the file to take some. A
    /// deadline that has passed does not keep what is there from being moved.
    /// A pipe, socket or terminal that blocks is given 4096 bytes at most, which
    /// it takes at once unless somebody else writes to it meanwhile; one that
    /// does not block (`O_NONBLOCK`) is given all.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::TimedOut`]: nothing was moved. Otherwise as
    /// [`drain_to`](Self::drain_to).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// use std::time::{Duration, Instant};
    ///
    /// let (mut producer, mut consumer) = shmpipe::pair()?;
    /// let (_output, pipe) = std::io::pipe()?;
    /// let soon = Instant::now() + Duration::from_millis(20);
    /// let error = consumer.drain_to_deadline(&pipe, 100, soon).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::TimedOut);
    /// producer.try_write(b"abc").unwrap();
    /// assert_eq!(consumer.drain_to_deadline(&pipe, 100, soon)?, 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn drain_to_deadline(
        &mut self,
        file: impl AsFd,
        most: usize,
        deadline: Instant,
    ) -> io::Result<usize> {
        if !self.await_bytes(most, Some(deadline))? {
            return Ok(0);
        }
        let file = file.as_fd();
        if most == 0 {
            return self.drain_once(file, 0);
        }
        await_file(file, libc::POLLOUT, deadline)?;
        let sure = if may_block(file)? { SURE } else { usize::MAX };
        self.drain_once(file, most.min(sure))
    }

    /// Waits for some of `most` bytes; `false` at the end of the stream.
    fn await_bytes(&mut self, most: usize, deadline: Option<Instant>) -> io::Result<bool> {
        match self.wait_to_peek(most.min(1), deadline) {
            Ok(()) => Ok(true),
            Err(PeekError::Ended { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn drain_once(&mut self, file: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        let most = most.min(self.capacity());
        let available = self.known(most)?.min(most);
        let reader = self.reader();
        let len = drain(reader.region().runs(reader.head(), available), file)?;
        if len == 0 && available > 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.consume(len);
        Ok(len)
    }
}

/// Two runs of addresses, with the length of each.
type Runs = [(NonNull<u8>, usize); 2];

/// Fills the start of `room` from `file` with one read, and says how far; 0 is
/// the end of the file. An interrupted read is made again.
///
/// <https://man7.org/linux/man-pages/man2/read.2.html>
/// <https://man7.org/linux/man-pages/man2/readv.2.html>
fn fill(room: Runs, file: BorrowedFd<'_>) -> io::Result<usize> {
    let fd = file.as_raw_fd();
    if let [(place, len), (_, 0)] = room {
        // SAFETY: the kernel writes at most `len` bytes from `place` on, which
        // are mapped while the handle that gave them is borrowed. It copes
        // with whatever the peer does to them meanwhile.
        return retry(|| unsafe { libc::read(fd, place.as_ptr().cast(), len) });
    }
    let parts = room.map(part);
    // SAFETY: as above, of each of the two parts.
    retry(|| unsafe { libc::readv(fd, parts.as_ptr(), 2) })
}

/// Drains the start of `bytes` into `file` with one write, and says how far.
/// An interrupted write is made again.
///
/// <https://man7.org/linux/man-pages/man2/write.2.html>
/// <https://man7.org/linux/man-pages/man2/writev.2.html>
fn drain(bytes: Runs, file: BorrowedFd<'_>) -> io::Result<usize> {
    let fd = file.as_raw_fd();
    if let [(place, len), (_, 0)] = bytes {
        // SAFETY: the kernel reads at most `len` bytes from `place` on, which
        // are mapped while the handle that gave them is borrowed.
        return retry(|| unsafe { libc::write(fd, place.as_ptr().cast(), len) });
    }
    let parts = bytes.map(part);
    // SAFETY: as above, of each of the two parts.
    retry(|| unsafe { libc::writev(fd, parts.as_ptr(), 2) })
}

/// A run as the kernel takes it.
fn part((place, len): (NonNull<u8>, usize)) -> libc::iovec {
    libc::iovec {
        iov_base: place.as_ptr().cast(),
        iov_len: len,
    }
}

/// Waits until `file` can be read from or written to, as `events` says, or has
/// failed, which the call itself will tell.
///
/// <https://man7.org/linux/man-pages/man2/poll.2.html>
fn await_file(file: BorrowedFd<'_>, events: libc::c_short, deadline: Instant) -> io::Result<()> {
    let mut asked = libc::pollfd {
        fd: file.as_raw_fd(),
        events,
        revents: 0,
    };
    let ready = retry(|| {
        let left = deadline.saturating_duration_since(Instant::now());
        let limit = libc::timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        // SAFETY: one pollfd and one timespec, which outlive the call; no mask.
        let ready = unsafe { libc::ppoll(&raw mut asked, 1, &raw const limit, ptr::null()) };
        ready as isize // no loss: -1, 0 or 1
    })?;
    match ready {
        0 => Err(timed_out("the file was not ready")),
        _ => Ok(()),
    }
}

/// Whether a write to `file` can wait for somebody: it blocks, and is not one
/// that can seek, such as a file on a disk.
///
/// <https://man7.org/linux/man-pages/man2/fcntl.2.html>
fn may_block(file: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: integers only.
    let flags = retry(|| unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) } as isize)?;
    // No loss: flags are not negative.
    if flags as libc::c_int & libc::O_NONBLOCK != 0 {
        return Ok(false);
    }
    // SAFETY: integers only; moves nothing.
    Ok(unsafe { libc::lseek(file.as_raw_fd(), 0, libc::SEEK_CUR) } == -1)
}

fn retry(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        match usize::try_from(call()) {
            Ok(len) => return Ok(len),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
}
