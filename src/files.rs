//! Bytes between a ring and a file descriptor, with no copy in this process:
//! the kernel reads into the ring, or writes out of it.
#![allow(unsafe_code)] // hands a region's addresses to read(2) and write(2)

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use crate::consumer::Consumer;
use crate::error::PeekError;
use crate::grant::{ReadGrant, WriteGrant};
use crate::producer::{Producer, no_room};

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
        let deadline = self.deadline();
        let most = most.min(self.capacity());
        if self.room_for(most)? == 0 && most > 0 {
            self.wait_for_some_room(most, deadline).map_err(no_room)?;
        }
        let mut grant = self.reserve_up_to(most)?;
        let len = fill(&mut grant, file.as_fd())?;
        grant.commit(len);
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
        let deadline = self.deadline();
        match self.wait_to_peek(most.min(1), deadline) {
            Ok(()) => {}
            Err(PeekError::Ended { .. }) => return Ok(0),
            Err(error) => return Err(error.into()),
        }
        let grant = self.peek_up_to(most)?;
        let len = drain(&grant, file.as_fd())?;
        if len == 0 && grant.len() > 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        grant.consume(len);
        Ok(len)
    }
}

/// Fills the start of a grant from `file` with one read, and says how far; 0
/// is the end of the file. An interrupted read is made again.
///
/// <https://man7.org/linux/man-pages/man2/read.2.html>
fn fill(grant: &mut WriteGrant<'_>, file: BorrowedFd<'_>) -> io::Result<usize> {
    let (place, len) = (grant.as_mut_ptr(), grant.len());
    retry(|| {
        // SAFETY: the kernel writes at most `len` bytes from `place` on, which
        // are mapped while the grant lives. It copes with whatever the peer
        // does to them meanwhile.
        unsafe { libc::read(file.as_raw_fd(), place.cast(), len) }
    })
}

/// Drains the start of a grant into `file` with one write, and says how far.
/// An interrupted write is made again.
///
/// <https://man7.org/linux/man-pages/man2/write.2.html>
fn drain(grant: &ReadGrant<'_>, file: BorrowedFd<'_>) -> io::Result<usize> {
    let (place, len) = (grant.as_ptr(), grant.len());
    retry(|| {
        // SAFETY: the kernel reads at most `len` bytes from `place` on, which
        // are mapped while the grant lives.
        unsafe { libc::write(file.as_raw_fd(), place.cast(), len) }
    })
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
