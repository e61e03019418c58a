//! Moves bytes between a ring and a file descriptor without a copy in this process.
//! The kernel reads into the ring, or writes out of the ring. In a segment, any
//! span of the ring is one piece, so read(2) and write(2) suffice. In the caller's
//! memory a span can wrap: readv(2) and writev(2) then take both parts.
#![allow(unsafe_code)] // passes a region's addresses to the kernel

mod unwaited;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use crate::error::{Bytes, WaitError, timed_out};
use crate::handle::consumer::Consumer;
use crate::handle::producer::Producer;
use crate::segment::region::Region;
use crate::tuning::{DESCRIPTOR_PAUSE, SLICE};
use crate::wait::deadline;
use unwaited::Way;

/// The most bytes given at once to a descriptor that blocks: `PIPE_BUF`, which a
/// pipe takes as a whole, by pipe(7).
const SURE: usize = 4096;

impl Producer {
    /// Fills the ring from `file` with one `read(2)`, directly into the ring, and
    /// returns the number of bytes. Reads at most `most` bytes. 0 means the end of
    /// the file, or that `most` is 0. Waits while the ring is full, within the
    /// limit of [`set_timeout`](Producer::set_timeout). The read itself may block
    /// for as long as the file makes it. Bytes held back in a batch, and then the
    /// bytes read, are published at once.
    ///
    /// # Errors
    ///
    /// The error of the read, such as [`io::ErrorKind::WouldBlock`] from a
    /// descriptor that does not block; nothing was written. An interrupted read is
    /// repeated. Otherwise the errors of [`io::Write::write`].
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

    /// Fills the ring from `file`, and waits until `deadline`: first for room in
    /// the ring, then, by poll(2), for something to read. After the deadline,
    /// available bytes are still moved. Otherwise see
    /// [`fill_from`](Self::fill_from).
    ///
    /// The read itself does not wait, even if another reader is faster. The flags
    /// of the caller's descriptor stay as they are, since other processes may share
    /// them. A terminal is opened again by `/proc/self/fd` instead. Files on disks
    /// and unknown devices can still block.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::TimedOut`] if nothing was moved. Otherwise the errors of
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
            let revents = await_file(file, libc::POLLIN, deadline, self.cancel_flag())?;
            let way = Way::of(file, revents)?;
            if let Some(len) = self.fill_with(most, |room| way.fill(room, file))? {
                return Ok(len);
            }
            pause(deadline)?;
        }
    }

    /// Waits for room for at least one of `most` bytes.
    fn await_room(&mut self, most: usize, deadline: Option<Instant>) -> io::Result<()> {
        let most = most.min(self.capacity());
        if self.room_for(most)? == 0 && most > 0 {
            let waited = self.wait_for_some_room(deadline);
            waited.map_err(|blocked| self.io_error(blocked))?;
        }
        // The file may keep this side waiting, so the consumer gets what a batch
        // holds back.
        self.publish();
        Ok(())
    }

    fn fill_once(&mut self, file: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        let filled = self.fill_with(most, |room| fill(room, file).map(Some))?;
        Ok(filled.unwrap_or(0))
    }

    /// Commits the bytes that `read` has read into the room.
    fn fill_with(
        &mut self,
        most: usize,
        read: impl FnOnce(Runs) -> io::Result<Option<usize>>,
    ) -> io::Result<Option<usize>> {
        let room = self.room_for(most.min(self.capacity()))?.min(most);
        self.publish();
        let writer = self.writer();
        let filled = read(writer.region().runs(writer.tail(), room))?;
        self.commit(filled.unwrap_or(0));
        self.publish();
        Ok(filled)
    }
}

impl Consumer {
    /// Drains the ring into `file` with one `write(2)`, directly from the ring, and
    /// returns the number of bytes. Writes at most `most` bytes. 0 means the end of
    /// the stream, or that `most` is 0. Waits while the ring is empty, within the
    /// limit of [`set_timeout`](Consumer::set_timeout). The write itself may block
    /// for as long as the file makes it. Only bytes that the file has taken leave
    /// the stream.
    ///
    /// # Errors
    ///
    /// The error of the write, such as [`io::ErrorKind::WouldBlock`] from a
    /// descriptor that does not block, or [`io::ErrorKind::BrokenPipe`]; the bytes
    /// stay in the ring. [`io::ErrorKind::WriteZero`] if the file takes no byte,
    /// since 0 means the end of the stream. An interrupted write is repeated.
    /// Otherwise the errors of [`io::Read::read`].
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

    /// Drains the ring into `file`, and waits until `deadline`: first for bytes in
    /// the ring, then, by poll(2), for the file to take some. After the deadline,
    /// available bytes are still moved. A pipe, socket or terminal that blocks gets
    /// at most 4096 bytes. With `O_NONBLOCK` it gets all. Otherwise see
    /// [`drain_to`](Self::drain_to).
    ///
    /// The write itself does not wait, although poll(2) promises room for only one
    /// byte and other processes may write meanwhile. The flags of the caller's
    /// descriptor stay as they are, since other processes may share them. A
    /// terminal is opened again by `/proc/self/fd` instead, and if that is refused,
    /// this call fails. Files on disks and unknown devices can still block.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::TimedOut`] if nothing was moved. Otherwise the errors of
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
            let revents = await_file(file, libc::POLLOUT, deadline, self.cancel_flag())?;
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

    /// The next eight bytes, if available, as the number that an eventfd would add.
    fn first_word(&mut self) -> io::Result<Option<u64>> {
        let mut word = [0; 8];
        if self.known(word.len())? < word.len() {
            return Ok(None);
        }
        let reader = self.reader();
        reader.region().copy_out(reader.head(), &mut word, 0);
        Ok(Some(u64::from_ne_bytes(word)))
    }

    /// Waits for at least one of `most` bytes. Returns `false` at the end of the
    /// stream.
    fn await_bytes(&mut self, most: usize, deadline: Option<Instant>) -> io::Result<bool> {
        match self.wait_to_peek(most.min(1), most, deadline) {
            Ok(()) => Ok(true),
            Err(error) => self.end_or(error).map(|()| false),
        }
    }

    fn drain_once(&mut self, file: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        let drained = self.drain_with(most, |bytes| drain(bytes, file).map(Some))?;
        Ok(drained.unwrap_or(0))
    }

    /// Removes from the stream the bytes that `write` has written.
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

/// Fills the start of `room` from `file` with one read, and returns the number of
/// bytes. 0 means the end of the file. An interrupted read is repeated.
///
/// <https://man7.org/linux/man-pages/man2/read.2.html>
/// <https://man7.org/linux/man-pages/man2/readv.2.html>
fn fill(room: Runs, file: BorrowedFd<'_>) -> io::Result<usize> {
    let fd = file.as_raw_fd();
    if let [(place, len), (_, 0)] = room {
        // SAFETY: the kernel writes at most `len` bytes from `place` on, which are
        // mapped while the handle that gave them is borrowed. The kernel's writes
        // are sound whatever the peer does to these bytes meanwhile.
        return retry(|| unsafe { libc::read(fd, place.as_ptr().cast(), len) });
    }
    let parts = room.map(part);
    // SAFETY: as for `read`, for each of the two parts.
    retry(|| unsafe { libc::readv(fd, parts.as_ptr(), 2) })
}

/// Drains the start of `bytes` into `file` with one write, and returns the number
/// of bytes. An interrupted write is repeated.
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
    // SAFETY: as for `write`, for each of the two parts.
    retry(|| unsafe { libc::writev(fd, parts.as_ptr(), 2) })
}

/// A run as the kernel's iovec.
fn part((place, len): (NonNull<u8>, usize)) -> libc::iovec {
    libc::iovec {
        iov_base: place.as_ptr().cast(),
        iov_len: len,
    }
}

/// Waits until `file` is ready for `events`, or has failed, which the read or write
/// will report. Returns the events of poll(2).
///
/// <https://man7.org/linux/man-pages/man2/poll.2.html>
fn await_file(
    file: BorrowedFd<'_>,
    events: libc::c_short,
    deadline: Instant,
    cancel: Option<&Arc<AtomicBool>>,
) -> io::Result<libc::c_short> {
    let mut asked = libc::pollfd {
        fd: file.as_raw_fd(),
        events,
        revents: 0,
    };
    loop {
        if deadline::is_set(cancel) {
            return Err(WaitError::Cancelled.into());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        // Nothing wakes poll(2) when the flag is set.
        let time = if cancel.is_some() {
            left.min(SLICE)
        } else {
            left
        };
        let limit = libc::timespec {
            tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        };
        let ready = retry(|| {
            // SAFETY: one pollfd and one timespec, which outlive the call; no mask.
            let ready = unsafe { libc::ppoll(&raw mut asked, 1, &raw const limit, ptr::null()) };
            ready as isize // no loss: -1, 0 or 1
        })?;
        if ready > 0 {
            return Ok(asked.revents);
        }
        if time == left {
            return Err(timed_out("the file was not ready"));
        }
    }
}

/// Sleeps for a moment, unless `deadline` has passed.
fn pause(deadline: Instant) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(timed_out("the file was not ready"));
    }
    std::thread::sleep(DESCRIPTOR_PAUSE.min(left));
    Ok(())
}

/// Makes a system call, again if a signal interrupted it. A negative result is an
/// error.
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
