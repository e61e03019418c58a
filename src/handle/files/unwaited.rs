//! Reads and writes that do not wait, whatever poll(2) has promised.
//!
//! poll(2) calls a descriptor writable that takes one byte, and a write(2) of
//! more waits until all of it is taken, or somebody else is faster:
//!
//! | descriptor | what waits | what is done |
//! |---|---|---|
//! | `O_NONBLOCK` is set; a file on a disk | nothing | the plain call |
//! | a socket | a datagram that proves damaged, other readers and writers | `MSG_DONTWAIT` |
//! | a pipe, and what else knows it | other readers and writers | `RWF_NOWAIT` |
//! | a pipe on a kernel before 6.5 | the same | a description of our own, `O_NONBLOCK` |
//! | a terminal | the room it has; a tab takes eight bytes; `VTIME` | the same |
//! | the master of a pty | the room it has | byte after byte, polled between |
//! | an eventfd, written | a sum that is too large | the sum is worked out first |
//!
//! `O_NONBLOCK` is a flag of the open file description, which other processes
//! share. So it is never set on the caller's.
//!
//! <https://man7.org/linux/man-pages/man2/preadv2.2.html>
//! <https://man7.org/linux/man-pages/man5/proc_pid_fd.5.html>
#![allow(unsafe_code)] // hands a region's addresses to the kernel

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Instant;

use super::{Runs, await_file, drain, fill, part, retry};

/// Which way the bytes go.
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
    /// It does not wait, or nothing can be done about it.
    Plain,
    Socket,
    /// By `RWF_NOWAIT`, where the descriptor knows it; poll(2) has said `revents`.
    Flag {
        revents: libc::c_short,
    },
    /// By another descriptor, of a description of our own.
    Own(OwnedFd),
    ByteByByte,
    EventFd,
}

impl Way {
    /// What suits `file`, of which poll(2) has said `revents`.
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

    /// What suits a `file` that does not know the flag.
    fn without_flag(
        file: BorrowedFd<'_>,
        direction: Direction,
        revents: libc::c_short,
    ) -> io::Result<Way> {
        // Of a terminal that was hung up, or a pipe without another end, a call
        // fails at once; and another description would not be hung up.
        if revents & (libc::POLLERR | libc::POLLHUP) != 0 {
            return Ok(Way::Plain);
        }
        let stat = fstat(file)?;
        if stat.st_mode & libc::S_IFMT == libc::S_IFIFO {
            // Refused where it is another user's.
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
            // To open it again would make another pty. Its output is not
            // processed, and its input is there once poll(2) says so.
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

    /// Reads into `room` what is there; `None` if it would have to wait.
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

    /// Writes of `bytes` what is taken; `None` if it would have to wait. `first`
    /// is the first eight of them.
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

    /// Whether a call may say that it would have to wait, for the caller to try
    /// again.
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
/// kernel or to a system-call filter. If it says something else after all, so
/// does the call that follows.
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

/// preadv2(2) or pwritev2(2) at the file's own position, with `RWF_NOWAIT`.
fn with_flag(runs: Runs, file: BorrowedFd<'_>, direction: Direction) -> io::Result<usize> {
    const AT_ITS_OWN: libc::c_long = -1;
    let call = match direction {
        Direction::IntoTheRing => libc::SYS_preadv2,
        Direction::OutOfTheRing => libc::SYS_pwritev2,
    };
    let parts = runs.map(part);
    retry(|| {
        // SAFETY: the kernel goes by two iovecs, which outlive the call, and
        // whose addresses are mapped while the handle that gave the runs is
        // borrowed. The position is in two words where a word has 32 bits.
        let moved = unsafe {
            libc::syscall(
                call,
                file.as_raw_fd(),
                parts.as_ptr(),
                2,
                AT_ITS_OWN,
                AT_ITS_OWN,
                libc::RWF_NOWAIT,
            )
        };
        moved as isize // no loss: a c_long is as wide
    })
}

/// The two parts as a message without an address.
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
    // SAFETY: as in `with_flag`, of a message that leads to the two iovecs.
    retry(|| unsafe { libc::recvmsg(file.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) })
}

fn send(bytes: Runs, file: BorrowedFd<'_>) -> io::Result<usize> {
    let mut parts = bytes.map(part);
    let message = message(&mut parts);
    // SAFETY: as in `receive`.
    retry(|| unsafe { libc::sendmsg(file.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT) })
}

/// A description of our own of the same pipe or terminal, which does not block.
fn open_again(file: BorrowedFd<'_>, direction: Direction) -> io::Result<OwnedFd> {
    let opened = File::options()
        .read(direction == Direction::IntoTheRing)
        .write(direction == Direction::OutOfTheRing)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    Ok(opened.into())
}

/// Writes as long as poll(2) says that one more byte is taken.
fn drain_byte_by_byte(bytes: Runs, file: BorrowedFd<'_>) -> io::Result<Option<usize>> {
    let mut written = 0;
    for (place, len) in bytes {
        for offset in 0..len {
            let events = Direction::OutOfTheRing.events();
            if written > 0 && await_file(file, events, Instant::now()).is_err() {
                return Ok(Some(written));
            }
            // SAFETY: inside the run, which is `len` bytes long.
            let one = unsafe { place.add(offset) };
            match drain([(one, 1), (one, 0)], file) {
                Ok(1) => written += 1,
                Ok(_) => return Ok(Some(written)),
                // What was written counts; the next call gives the reason.
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

/// Whether a write of `value` to this eventfd would wait for a read.
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
        _ => false, // the call says what is wrong, or cannot be foreseen
    }
}
