//! Bytes between a ring and a file descriptor, with no copy in this process:
//! the kernel reads into the ring, or writes out of it. A span of a segment's
//! ring is always one piece, so read(2) and write(2) do. In memory of the
//! caller's the ring's end can divide it: then readv(2) and writev(2) do.
#![allow(unsafe_code)] // hands a region's addresses to the kernel

mod unwaited;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::time::Instant;

use crate::error::{Bytes, timed_out};
use crate::handle::consumer::Consumer;
use crate::handle::producer::Producer;
use crate::segment::region::Region;
use crate::tuning::DESCRIPTOR_PAUSE;
use unwaited::Way;

/// The most that a descriptor that blocks is given at once: `PIPE_BUF`, which a
/// pipe takes whole, by pipe(7).
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
    #[doc(alias = "splice")]
    pub fn fill_from(&mut self, file: impl AsFd, most: usize) -> io::Result<usize> {
        self.await_room(most, self.deadline())?;
        self.fill_once(file.as_fd(), most)
    }

    /// As [`fill_from`](Self::fill_from), but waits until `deadline` at most:
    /// for room in the ring first, then, by poll(2), for something to read. A
    /// deadline that has passed does not keep what is there from being moved.
    ///
    /// The read itself does not wait, even if another reader is faster. What
    /// makes that so for a pipe, a socket or a terminal leaves the flags of the
    /// caller's descriptor as they are: others may share them. A terminal is
    /// opened anew for that, by `/proc/self/fd`. Files on disks and unknown
    /// devices are beyond this.
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
        let file = file.as_fd();
        if most == 0 {
            return self.fill_once(file, 0);
        }
        loop {
            let revents = await_file(file, libc::POLLIN, deadline)?;
            let way = Way::of(file, revents)?;
            if let Some(len) = self.fill_with(most, |room| way.fill(room, file))? {
                return Ok(len);
            }
            pause(deadline)?;
        }
    }

    /// Waits for room for some of `most` bytes.
    fn await_room(&mut self, most: usize, deadline: Option<Instant>) -> io::Result<()> {
        let most = most.min(self.capacity());
        if self.room_for(most)? == 0 && most > 0 {
            let waited = self.wait_for_some_room(deadline);
            waited.map_err(|blocked| self.io_error(blocked))?;
        }
        Ok(())
    }

    fn fill_once(&mut self, file: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        let filled = self.fill_with(most, |room| fill(room, file).map(Some))?;
        Ok(filled.unwrap_or(0))
    }

    /// Commits what `read` has read into the room there is.
    fn fill_with(
        &mut self,
        most: usize,
        read: impl FnOnce(Runs) -> io::Result<Option<usize>>,
    ) -> io::Result<Option<usize>> {
        let room = self.room_for(most.min(self.capacity()))?.min(most);
        let writer = self.writer();
        let filled = read(writer.region().runs(writer.tail(), room))?;
        self.commit(filled.unwrap_or(0));
        Ok(filled)
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
    #[doc(alias = "splice")]
    pub fn drain_to(&mut self, file: impl AsFd, most: usize) -> io::Result<usize> {
        match self.await_bytes(most, self.deadline())? {
            true => self.drain_once(file.as_fd(), most),
            false => Ok(0),
        }
    }

    /// As [`drain_to`](Self::drain_to), but waits until `deadline` at most: for
    /// bytes in the ring first, then, by poll(2), for the file to take some. A
    /// deadline that has passed does not keep what is there from being moved.
    /// A pipe, socket or terminal that blocks is given 4096 bytes at most; one
    /// that does not block (`O_NONBLOCK`) is given all.
    ///
    /// The write itself does not wait, though poll(2) promises room for one byte
    /// only, and others may write meanwhile. What makes that so leaves the flags
    /// of the caller's descriptor as they are: others may share them. A terminal
    /// is opened anew for that, by `/proc/self/fd`; where that is refused, so is
    /// this call. Files on disks and unknown devices are beyond this.
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
        loop {
            let revents = await_file(file, libc::POLLOUT, deadline)?;
            let way = Way::of(file, revents)?;
            let sure = if way.is_plain() { usize::MAX } else { SURE };
            let first = self.first_word()?;
            let write = |bytes| way.drain(bytes, file, first);
            if let Some(len) = self.drain_with(most.min(sure), write)? {
                return Ok(len);
            }
            pause(deadline)?;
        }
    }

    /// The next eight bytes, if they are there, as the number that an eventfd
    /// takes them for.
    fn first_word(&mut self) -> io::Result<Option<u64>> {
        let mut word = [0; 8];
        if self.known(word.len())? < word.len() {
            return Ok(None);
        }
        let reader = self.reader();
        reader.region().copy_out(reader.head(), &mut word, 0);
        Ok(Some(u64::from_ne_bytes(word)))
    }

    /// Waits for some of `most` bytes; `false` at the end of the stream.
    fn await_bytes(&mut self, most: usize, deadline: Option<Instant>) -> io::Result<bool> {
        match self.wait_to_peek(most.min(1), deadline) {
            Ok(()) => Ok(true),
            Err(error) => self.end_or(error).map(|()| false),
        }
    }

    fn drain_once(&mut self, file: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        let drained = self.drain_with(most, |bytes| drain(bytes, file).map(Some))?;
        Ok(drained.unwrap_or(0))
    }

    /// Takes out of the stream what `write` has written of the bytes there are.
    fn drain_with(
        &mut self,
        most: usize,
        write: impl FnOnce(Runs) -> io::Result<Option<usize>>,
    ) -> io::Result<Option<usize>> {
        let most = most.min(self.capacity());
        let available = self.known(most)?.min(most);
        let reader = self.reader();
        let drained = write(reader.region().runs(reader.head(), available))?;
        if drained == Some(0) && available > 0 {
            let refused = format!("the file took none of {}", Bytes(available));
            return Err(io::Error::new(io::ErrorKind::WriteZero, refused));
        }
        self.consume(drained.unwrap_or(0));
        Ok(drained)
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
/// failed, which the call itself will tell. Gives what poll(2) says.
///
/// <https://man7.org/linux/man-pages/man2/poll.2.html>
fn await_file(
    file: BorrowedFd<'_>,
    events: libc::c_short,
    deadline: Instant,
) -> io::Result<libc::c_short> {
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
        _ => Ok(asked.revents),
    }
}

/// Lets a moment pass, if there is one before `deadline`.
fn pause(deadline: Instant) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(timed_out("the file was not ready"));
    }
    std::thread::sleep(DESCRIPTOR_PAUSE.min(left));
    Ok(())
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
