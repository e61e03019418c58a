//! Reads and writes that do not wait, even where poll(2) reports too early that a
//! descriptor is ready.
//!
//! poll(2) calls a descriptor writable if it takes one byte. A write(2) of more
//! bytes then waits until all are taken. A read waits if another reader was faster.
//!
//! | descriptor | what can wait | what is done |
//! |---|---|---|
//! | with `O_NONBLOCK`; a file on a disk | nothing | the plain call |
//! | a socket | a datagram with a wrong checksum, other readers and writers | `MSG_DONTWAIT` |
//! | a pipe, and others that know the flag | other readers and writers | `RWF_NOWAIT` |
//! | a pipe on a kernel before 6.5 | other readers and writers | a new open file description, `O_NONBLOCK` |
//! | a terminal | too little room; a tab takes eight bytes; `VTIME` | a new open file description, `O_NONBLOCK` |
//! | the master of a pty | too little room | single bytes, with a poll between them |
//! | an eventfd, written | a sum that is too large | the sum is computed first |
//!
//! `O_NONBLOCK` is a flag of the open file description, which other processes may
//! share. So the flag is never set on the caller's descriptor.
//!
//! <https://man7.org/linux/man-pages/man2/preadv2.2.html>
//! <https://man7.org/linux/man-pages/man5/proc_pid_fd.5.html>
#![allow(unsafe_code)] // passes a region's addresses to the kernel

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Instant;

use super::{Runs, await_file, drain, fill, part, retry};

/// The direction in which the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    IntoTheRing,
    OutOfTheRing,
}

impl Direction {
    pub(super) fn events(self) -> libc::c_short {
        match self {
            Direction::IntoTheRing => libc::POLLIN,
            Direction::OutOfTheRing => libc::POLLOUT,
        }
    }
}

/// How a call is kept from waiting.
#[derive(Debug)]
pub(super) enum Way {
    /// The plain call: it does not wait, or nothing can prevent that.
    Plain,
    Socket,
    /// By `RWF_NOWAIT`, if the descriptor knows the flag. poll(2) returned
    /// `revents`.
    Flag {
        revents: libc::c_short,
    },
    /// By another descriptor, with an open file description of its own.
    Own(OwnedFd),
    ByteByByte,
    EventFd,
}

impl Way {
    /// The way for `file`, for which poll(2) returned `revents`.
    pub(super) fn of(file: BorrowedFd<'_>, revents: libc::c_short) -> io::Result<Way> {
        // SAFETY: integers only.
        let flags = retry(|| unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) } as isize)?;
        // No loss: flags are not negative.
        if flags as libc::c_int & libc::O_NONBLOCK != 0 {
            return Ok(Way::Plain);
        }
        match fstat(file)?.st_mode & libc::S_IFMT {
            libc::S_IFREG | libc::S_IFBLK | libc::S_IFDIR => return Ok(Way::Plain),
            libc::S_IFSOCK => return Ok(Way::Socket),
            _ => {}
        }
        Ok(Way::Flag { revents })
    }

    /// The way for a `file` that does not know `RWF_NOWAIT`.
    fn without_flag(
        file: BorrowedFd<'_>,
        direction: Direction,
        revents: libc::c_short,
    ) -> io::Result<Way> {
        // A call on a terminal that was hung up, or on a pipe without another end,
        // fails at once. A new open file description would not be hung up.
        if revents & (libc::POLLERR | libc::POLLHUP) != 0 {
            return Ok(Way::Plain);
        }
        let stat = fstat(file)?;
        if stat.st_mode & libc::S_IFMT == libc::S_IFIFO {
            // The open is refused if the pipe belongs to another user.
            return Ok(open_again(file, direction).map_or(Way::Plain, Way::Own));
        }
        // SAFETY: an integer.
        if unsafe { libc::isatty(file.as_raw_fd()) } == 1 {
            return Way::of_terminal(file, direction, stat.st_rdev);
        }
        if direction == Direction::OutOfTheRing && is_eventfd(file) {
            return Ok(Way::EventFd);
        }
        Ok(Way::Plain)
    }

    fn of_terminal(
        file: BorrowedFd<'_>,
        direction: Direction,
        rdev: libc::dev_t,
    ) -> io::Result<Way> {
        let is_master = matches!((libc::major(rdev), libc::minor(rdev)), (5, 2) | (2, _));
        if is_master {
            // Opening a master again would create another pty. A master does not
            // process its output, and has its input when poll(2) says so.
            return Ok(match direction {
                Direction::IntoTheRing => Way::Plain,
                Direction::OutOfTheRing => Way::ByteByByte,
            });
        }
        match open_again(file, direction) {
            Ok(own) => Ok(Way::Own(own)),
            Err(_) if direction == Direction::IntoTheRing => Ok(Way::Plain),
            Err(error) => {
                let why = "the terminal cannot be opened again, so no deadline would hold";
                Err(io::Error::new(error.kind(), format!("{why}: {error}")))
            }
        }
    }

    /// Reads available bytes into `room`. `None` if the read would wait.
    pub(super) fn fill(self, room: Runs, file: BorrowedFd<'_>) -> io::Result<Option<usize>> {
        match self {
            Way::Socket => unless_it_waits(receive(room, file)),
            Way::Flag { revents } => match with_flag(room, file, Direction::IntoTheRing) {
                Err(error) if is_unknown(&error) => {
                    Way::without_flag(file, Direction::IntoTheRing, revents)?.fill(room, file)
                }
                read => unless_it_waits(read),
            },
            Way::Own(own) => unless_it_waits(fill(room, own.as_fd())),
            Way::Plain | Way::ByteByByte | Way::EventFd => fill(room, file).map(Some),
        }
    }

    /// Writes as many of `bytes` as are taken. `None` if the write would wait.
    /// `first` is the number in the first eight bytes, for an eventfd.
    pub(super) fn drain(
        self,
        bytes: Runs,
        file: BorrowedFd<'_>,
        first: Option<u64>,
    ) -> io::Result<Option<usize>> {
        match self {
            Way::Socket => unless_it_waits(send(bytes, file)),
            Way::Flag { revents } => match with_flag(bytes, file, Direction::OutOfTheRing) {
                Err(error) if is_unknown(&error) => {
                    Way::without_flag(file, Direction::OutOfTheRing, revents)?
                        .drain(bytes, file, first)
                }
                written => unless_it_waits(written),
            },
            Way::Own(own) => unless_it_waits(drain(bytes, own.as_fd())),
            Way::ByteByByte => drain_byte_by_byte(bytes, file),
            Way::EventFd if exceeds(file, first) => Ok(None),
            Way::Plain | Way::EventFd => drain(bytes, file).map(Some),
        }
    }

    /// Whether the plain call is made. That call may return that it would wait, and
    /// the caller may try again.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Way::Plain)
    }
}

/// <https://man7.org/linux/man-pages/man2/fstat.2.html>
fn fstat(file: BorrowedFd<'_>) -> io::Result<libc::stat> {
    // SAFETY: all fields are integers, for which zero is a value.
    let mut stat: libc::stat = unsafe { mem::zeroed() };
    // SAFETY: writes a `stat`, which outlives the call.
    retry(|| unsafe { libc::fstat(file.as_raw_fd(), &raw mut stat) } as isize)?;
    Ok(stat)
}

/// Whether an error says that `RWF_NOWAIT` is unknown to the descriptor, to the
/// kernel or to a system-call filter. If the error has another cause, the next call
/// returns the same error.
fn is_unknown(error: &io::Error) -> bool {
    let codes = [libc::EOPNOTSUPP, libc::ENOSYS, libc::EPERM, libc::EINVAL];
    error
        .raw_os_error()
        .is_some_and(|code| codes.contains(&code))
}

fn unless_it_waits(moved: io::Result<usize>) -> io::Result<Option<usize>> {
    match moved {
        Ok(len) => Ok(Some(len)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// preadv2(2) or pwritev2(2) at the file's current position, with `RWF_NOWAIT`.
fn with_flag(runs: Runs, file: BorrowedFd<'_>, direction: Direction) -> io::Result<usize> {
    const CURRENT_POSITION: libc::c_long = -1;
    let call = match direction {
        Direction::IntoTheRing => libc::SYS_preadv2,
        Direction::OutOfTheRing => libc::SYS_pwritev2,
    };
    let parts = runs.map(part);
    retry(|| {
        // SAFETY: the kernel reads two iovecs, which outlive the call. Their
        // addresses are mapped while the handle that gave the runs is borrowed. The
        // system call takes the position in two words.
        let moved = unsafe {
            libc::syscall(
                call,
                file.as_raw_fd(),
                parts.as_ptr(),
                2,
                CURRENT_POSITION,
                CURRENT_POSITION,
                libc::RWF_NOWAIT,
            )
        };
        moved as isize // no loss: a c_long is as wide as an isize
    })
}

/// A message of the two parts, without an address.
fn message(parts: &mut [libc::iovec; 2]) -> libc::msghdr {
    // SAFETY: all fields are integers or pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = parts.as_mut_ptr();
    message.msg_iovlen = 2;
    message
}

fn receive(room: Runs, file: BorrowedFd<'_>) -> io::Result<usize> {
    let mut parts = room.map(part);
    let mut message = message(&mut parts);
    // SAFETY: as in `with_flag`, for a message that points to the two iovecs.
    retry(|| unsafe { libc::recvmsg(file.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) })
}

fn send(bytes: Runs, file: BorrowedFd<'_>) -> io::Result<usize> {
    let mut parts = bytes.map(part);
    let message = message(&mut parts);
    // SAFETY: as in `receive`.
    retry(|| unsafe { libc::sendmsg(file.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT) })
}

/// Opens the pipe or terminal again, with a new open file description that does not
/// block.
fn open_again(file: BorrowedFd<'_>, direction: Direction) -> io::Result<OwnedFd> {
    let opened = File::options()
        .read(direction == Direction::IntoTheRing)
        .write(direction == Direction::OutOfTheRing)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    Ok(opened.into())
}

/// Writes single bytes while poll(2) says that one more byte is taken.
fn drain_byte_by_byte(bytes: Runs, file: BorrowedFd<'_>) -> io::Result<Option<usize>> {
    let mut written = 0;
    for (place, len) in bytes {
        for offset in 0..len {
            let events = Direction::OutOfTheRing.events();
            if written > 0 && await_file(file, events, Instant::now(), None).is_err() {
                return Ok(Some(written));
            }
            // SAFETY: inside the run, which is `len` bytes long.
            let one = unsafe { place.add(offset) };
            match drain([(one, 1), (one, 0)], file) {
                Ok(1) => written += 1,
                Ok(_) => return Ok(Some(written)),
                // The written bytes count. The next call returns the error.
                Err(_) if written > 0 => return Ok(Some(written)),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(Some(written))
}

fn is_eventfd(file: BorrowedFd<'_>) -> bool {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
    link.is_ok_and(|link| link.as_os_str() == "anon_inode:[eventfd]")
}

/// Whether writing `value` to this eventfd would wait for a read.
///
/// <https://man7.org/linux/man-pages/man2/eventfd.2.html>
fn exceeds(file: BorrowedFd<'_>, value: Option<u64>) -> bool {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()));
    let count = info.ok().and_then(|info| {
        let count = info
            .lines()
            .find_map(|line| line.strip_prefix("eventfd-count:"))?;
        u64::from_str_radix(count.trim(), 16).ok()
    });
    match (count, value) {
        (Some(count), Some(value)) if value < u64::MAX => {
            count.checked_add(value).is_none_or(|sum| sum == u64::MAX)
        }
        _ => false, // the write reports what is wrong, or nothing can be predicted
    }
}
