//! Stdin and stdout, between which and a ring the kernel moves the bytes.
//!
//! A signal does not interrupt a read(2) or a write(2) for good, so none of
//! them may block: what can is waited for with poll(2), a [`LOOK`] at a time.
//!
//! | descriptor | how |
//! |---|---|
//! | what cannot be polled: a file, `/dev/null` | waits for nobody |
//! | pipe, FIFO, terminal | opened again, without blocking: a file description of our own, so nobody else's flags change |
//! | socket, device, eventfd, and what cannot be opened again | polled, then moves no more than there is room for |
//!
//! What is polled is the descriptor that came: the kernel says of a FIFO whose
//! writers have gone that it is at its end, but not to who opens it after that.
//!
//! Some descriptors keep messages apart, and cut what a read has no room for:
//! see [`Unit`].

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Seek};
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::fs::OFlags;
use rustix::net::{SocketType, sockopt};
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};
use shmpipe::sysv;

use crate::exit::Failure;

/// How long a wait goes on without a look at what else there is.
pub(crate) const LOOK: Duration = Duration::from_millis(100);
/// The most that is moved at once.
const BLOCK: usize = 256 << 10;
/// What a descriptor that poll(2) calls writable takes without blocking:
/// `PIPE_BUF`.
const SURE: usize = 4096;

/// Stdin or stdout.
#[derive(Debug)]
pub(crate) struct Stream {
    name: &'static str,
    file: File,
    /// What is polled, if not the file itself.
    polled: Option<File>,
    manner: Manner,
    unit: Unit,
    /// Bytes to move at once.
    most: usize,
}

/// What a read or write may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Waits for nobody.
    Direct,
    /// Fails with `WouldBlock`.
    NonBlocking,
    /// Blocks.
    Blocking,
}

/// What has to come out of stdin in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// One byte.
    Bytes,
    /// All that one read gives to who has room for so many bytes: a packet of
    /// a pipe in packet mode (`O_DIRECT`), which only its writer can tell; a
    /// record of a device; the number of an eventfd.
    UpTo(usize),
    /// One packet of a socket: see [`packets`](crate::packets).
    Packet,
}

impl Stream {
    pub(crate) fn stdin() -> Result<Stream, Failure> {
        let stdin = io::stdin();
        is_open_for("stdin", stdin.as_fd(), OFlags::WRONLY)?;
        let mut how = File::options();
        let mut stdin = Stream::of("stdin", stdin.as_fd(), how.read(true), can_be_polled)?;
        stdin.unit = stdin.find_unit();
        Ok(stdin)
    }

    pub(crate) fn stdout() -> Result<Stream, Failure> {
        let stdout = io::stdout();
        is_open_for("stdout", stdout.as_fd(), OFlags::RDONLY)?;
        let mut how = File::options();
        // A file takes all that it is given, even one that can be polled.
        let may_wait = |file: &File| !is_regular(file) && can_be_polled(file);
        let mut stdout = Stream::of("stdout", stdout.as_fd(), how.write(true), may_wait)?;
        if stdout.manner == Manner::Blocking {
            stdout.most = SURE;
        }
        widen(&stdout.file);
        Ok(stdout)
    }

    fn of(
        name: &'static str,
        fd: BorrowedFd<'_>,
        how: &mut OpenOptions,
        may_wait: impl Fn(&File) -> bool,
    ) -> Result<Stream, Failure> {
        // Without std's own buffer.
        let file = fd.try_clone_to_owned().map(File::from);
        let mut stream = Stream {
            name,
            file: file.map_err(|error| Failure::io(name, &error))?,
            polled: None,
            manner: Manner::Direct,
            unit: Unit::Bytes,
            most: BLOCK,
        };
        if may_wait(&stream.file) {
            stream.manner = Manner::Blocking;
            if let Some(own) = open_again(&stream.file, how) {
                stream.manner = Manner::NonBlocking;
                stream.polled = Some(mem::replace(&mut stream.file, own));
            }
        }
        Ok(stream)
    }

    /// What has to come out of it in one piece.
    pub(crate) fn unit(&self) -> Unit {
        self.unit
    }

    fn find_unit(&self) -> Unit {
        let kind = self.file.metadata().map(|found| found.file_type());
        match kind {
            Ok(kind) if kind.is_socket() => match sockopt::socket_type(&self.file) {
                Ok(SocketType::STREAM) => Unit::Bytes,
                _ => Unit::Packet,
            },
            // By pipe(2) PIPE_BUF, by the kernel's source a page.
            Ok(kind) if kind.is_fifo() => Unit::UpTo(sysv::page_size().max(SURE)),
            _ if self.manner == Manner::Direct || self.file.is_terminal() => Unit::Bytes,
            _ => Unit::UpTo(BLOCK),
        }
    }

    /// Leaves out `bytes` of it: those that were sent before. What cannot seek
    /// may give them again, or have lost some that were not sent.
    pub(crate) fn skip(&mut self, bytes: u64) -> Result<(), Failure> {
        if bytes == 0 {
            return Ok(());
        }
        let Ok(start) = self.file.stream_position() else {
            return Err(Failure::other(format_args!(
                "{}: {bytes} bytes of the stream were sent, and it cannot seek behind them: \
                 resume from a file",
                self.name
            )));
        };
        let metadata = self.file.metadata();
        let metadata = metadata.map_err(|error| self.failure(&error))?;
        let to = start.saturating_add(bytes);
        if metadata.is_file() && metadata.len() < to {
            return Err(Failure::other(format_args!(
                "{}: {bytes} bytes of the stream were sent, and it has {} only",
                self.name,
                metadata.len().saturating_sub(start)
            )));
        }
        let moved = self.file.seek(io::SeekFrom::Start(to));
        moved.map(|_| ()).map_err(|error| self.failure(&error))
    }

    /// The most that is to be moved at once, out of or into a ring of
    /// `capacity` bytes: so much less that both sides work at once.
    pub(crate) fn most(&self, capacity: usize) -> usize {
        self.most.min(capacity / 4)
    }

    /// Whether a write has to be preceded by [`is_ready`](Self::is_ready),
    /// because it could block.
    pub(crate) fn may_block(&self) -> bool {
        self.manner == Manner::Blocking
    }

    /// Waits until it can be read from or written to; `false` after a
    /// [`LOOK`], or a signal.
    pub(crate) fn is_ready(&self, what: PollFlags) -> Result<bool, Failure> {
        match self.manner {
            Manner::Direct => Ok(true),
            Manner::NonBlocking | Manner::Blocking => match self.poll(what, LOOK) {
                Ok(events) => Ok(!events.is_empty()),
                Err(rustix::io::Errno::INTR) => Ok(false),
                Err(error) => Err(self.failure(&error.into())),
            },
        }
    }

    /// Whether nobody reads from it any more.
    pub(crate) fn is_broken(&self) -> bool {
        // Nobody reads a file in that sense.
        self.manner != Manner::Direct && self.has(PollFlags::ERR | PollFlags::HUP)
    }

    /// Whether one of `events` is there. A poll that fails says nothing; the
    /// next read or write will.
    pub(crate) fn has(&self, events: PollFlags) -> bool {
        let found = self.poll(events, Duration::ZERO);
        found.is_ok_and(|found| found.intersects(events))
    }

    fn poll(&self, what: PollFlags, limit: Duration) -> rustix::io::Result<PollFlags> {
        let file = self.polled.as_ref().unwrap_or(&self.file);
        let mut fds = [PollFd::new(file, what)];
        let limit = Timespec {
            tv_sec: 0,
            tv_nsec: limit.subsec_nanos().into(),
        };
        poll(&mut fds, Some(&limit))?;
        Ok(fds[0].revents())
    }

    /// Whether there may be nothing more to read, of what poll(2) calls ready
    /// to be read; takes nothing out of it.
    pub(crate) fn may_be_at_end(&mut self) -> bool {
        if self.manner == Manner::Direct
            && let Ok(at) = self.file.stream_position()
        {
            return self.file.read_at(&mut [0], at).is_ok_and(|len| len == 0);
        }
        rustix::io::ioctl_fionread(&self.file).is_ok_and(|len| len == 0)
    }

    /// That reading or writing it failed.
    pub(crate) fn failure(&self, error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::stdout_closed(),
            _ => Failure::io(self.name, error),
        }
    }

    /// What failed when bytes were moved between it and a ring. Nothing did if
    /// it was not ready, whatever poll(2) said.
    pub(crate) fn moved(&self, moved: io::Result<usize>) -> Result<Option<usize>, Failure> {
        match moved {
            Ok(len) => Ok(Some(len)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
            // An errno comes from the descriptor, all else from the ring.
            Err(error) if error.raw_os_error().is_some() => Err(self.failure(&error)),
            Err(error) => Err(Failure::stream(error)),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl io::Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.file.read(bytes)
    }
}

/// Lets a pipe hold a block, so that it takes one at once and its reader has
/// something to read meanwhile. What is no pipe, or is not allowed to be wider,
/// stays as it is.
fn widen(file: &File) {
    if fcntl_getpipe_size(file).is_ok_and(|size| size < BLOCK) {
        let _ = fcntl_setpipe_size(file, BLOCK); // it does without
    }
}

/// Refuses a descriptor that is open for the `other` direction only, or for
/// none. To open it again could make it what it was not.
fn is_open_for(name: &str, fd: BorrowedFd<'_>, other: OFlags) -> Result<(), Failure> {
    let flags = rustix::fs::fcntl_getfl(fd);
    let flags = flags.map_err(|error| Failure::io(name, &error.into()))?;
    if flags & OFlags::ACCMODE == other || flags.contains(OFlags::PATH) {
        let verb = if name == "stdin" {
            "reading"
        } else {
            "writing"
        };
        return Err(Failure::other(format_args!(
            "{name}: is not open for {verb}"
        )));
    }
    Ok(())
}

fn is_regular(file: &File) -> bool {
    file.metadata().is_ok_and(|found| found.is_file())
}

/// Whether poll(2) may ever say that `file` is not ready: epoll(7) refuses what
/// has no poll of its own. That it can seek says nothing: an eventfd can, and
/// `/proc/kmsg`, which even looks like a file.
fn can_be_polled(file: &File) -> bool {
    let added = epoll::create(epoll::CreateFlags::CLOEXEC).and_then(|set| {
        let data = epoll::EventData::new_u64(0);
        epoll::add(&set, file, data, epoll::EventFlags::IN)
    });
    added != Err(rustix::io::Errno::PERM)
}

/// Opens what `file` leads to once more, not to block. `None` where that is
/// not possible, or is not the same thing.
fn open_again(file: &File, how: &mut OpenOptions) -> Option<File> {
    let found = file.metadata().ok()?;
    let is_multiplexer = found.file_type().is_char_device() && found.rdev() == PTMX;
    if !found.file_type().is_fifo() && (!file.is_terminal() || is_multiplexer) {
        return None;
    }
    how.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(format!("/proc/self/fd/{}", file.as_raw_fd()))
        .ok()
}

/// The device `/dev/ptmx`, each open of which makes another terminal.
const PTMX: u64 = libc::makedev(5, 2);
