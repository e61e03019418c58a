//! Stdin and stdout, between which and a ring the kernel moves the bytes.
//!
//! A signal does not interrupt a read(2) or a write(2) for good, so none of
//! them may block: what can is waited for with poll(2), a [`LOOK`] at a time.
//!
//! | descriptor | how |
//! |---|---|
//! | what can seek: a file, `/dev/null` | waits for nobody, so it is not polled |
//! | pipe, FIFO, terminal | opened again, without blocking: a file description of our own, so nobody else's flags change |
//! | socket, and what cannot be opened again | polled, then moves no more than there is room for |

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Seek};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};

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
    manner: Manner,
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

impl Stream {
    pub(crate) fn stdin() -> Result<Stream, Failure> {
        let mut how = File::options();
        Stream::of("stdin", io::stdin().as_fd(), how.read(true))
    }

    pub(crate) fn stdout() -> Result<Stream, Failure> {
        let mut how = File::options();
        let mut stdout = Stream::of("stdout", io::stdout().as_fd(), how.write(true))?;
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
    ) -> Result<Stream, Failure> {
        // Without std's own buffer.
        let file = fd.try_clone_to_owned().map(File::from);
        let mut file = file.map_err(|error| Failure::io(name, &error))?;
        let manner = if file.stream_position().is_ok() {
            Manner::Direct
        } else if let Some(own) = open_again(&file, how) {
            file = own;
            Manner::NonBlocking
        } else {
            Manner::Blocking
        };
        Ok(Stream {
            name,
            file,
            manner,
            most: BLOCK,
        })
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
        // A poll that fails says nothing; the next write will.
        let events = self.poll(PollFlags::empty(), Duration::ZERO);
        events.is_ok_and(|events| events.intersects(PollFlags::ERR | PollFlags::HUP))
    }

    fn poll(&self, what: PollFlags, limit: Duration) -> rustix::io::Result<PollFlags> {
        let mut fds = [PollFd::new(&self.file, what)];
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
        let position = self.file.stream_position();
        match position.and_then(|at| self.file.read_at(&mut [0], at)) {
            Ok(len) => len == 0,
            // Cannot seek.
            Err(_) => rustix::io::ioctl_fionread(&self.file).is_ok_and(|len| len == 0),
        }
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
