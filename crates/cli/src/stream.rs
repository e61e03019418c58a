//! Stdin and stdout. The kernel moves bytes between them and a ring.
//!
//! A read(2) or write(2) that blocks may go on after a signal. So no call may block:
//! poll(2) waits for descriptors, for a [`LOOK`] at a time.
//!
//! | descriptor | how |
//! |---|---|
//! | cannot be polled: a file, `/dev/null` | read and written at once |
//! | pipe, FIFO | opened again with `O_NONBLOCK`: a file description of our own, so nobody else's flags change. Polled only after a call that would have waited |
//! | terminal | the same, but polled before each read |
//! | stream socket as stdout | written with `MSG_DONTWAIT`, and polled as a pipe is |
//! | other socket, device, eventfd, and any file that cannot be opened again | polled; then no more is moved than fits |
//!
//! poll(2) gets the descriptor that this process was given. The kernel reports that a
//! FIFO's writers have gone only on a descriptor that was open while there was a writer.
//!
//! Some descriptors keep messages apart, and drop the part that a read has no room for: see
//! [`Unit`].

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Seek, Write};
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::fs::OFlags;
use rustix::net::{SendFlags, SocketType, sockopt};
use shmpipe::{Consumer, WaitPolicy, sysv};

use crate::exit::Failure;
use crate::pipes::{self, Naps};
use crate::sockets;

/// The longest wait before signals and the peer are looked at again.
pub(crate) const LOOK: Duration = Duration::from_millis(100);
/// The most bytes that are moved at once.
pub(crate) const BLOCK: usize = 256 << 10;
/// Bytes that a descriptor takes without blocking when poll(2) calls it writable:
/// `PIPE_BUF`.
const SURE: usize = 4096;

/// Stdin or stdout.
#[derive(Debug)]
pub(crate) struct Stream {
    name: &'static str,
    file: File,
    /// The file to poll, if it is another one.
    polled: Option<File>,
    manner: Manner,
    unit: Unit,
    /// The most bytes to move at once.
    most: usize,
    /// Whether the next read may come before a poll. Set by the first poll: a FIFO that was
    /// opened before its writer looks as if its writer had gone.
    may_try_first: Cell<bool>,
    /// Naps before writes into a pipe that was full.
    naps: Option<Naps>,
}

/// How a read or a write may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Never waits.
    Direct,
    /// Fails with `WouldBlock`.
    NonBlocking,
    /// A stream socket as stdout. The flags are those of others, so each call says that it
    /// must not wait.
    Sending,
    /// Blocks.
    Blocking,
}

/// The bytes of stdin that must be read in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// One byte.
    Bytes,
    /// All bytes that one read returns, if it has room for that many. These are a packet of
    /// a pipe, a record of a device, or the number of an eventfd. Only the writer of a pipe
    /// can tell whether it is in packet mode (`O_DIRECT`).
    UpTo(usize),
    /// One packet of a socket: see [`sockets`](crate::sockets).
    Packet,
}

impl Stream {
    pub(crate) fn stdin() -> Result<Stream, Failure> {
        Stream::input("stdin", io::stdin().as_fd())
    }

    pub(crate) fn stdout() -> Result<Stream, Failure> {
        Stream::output("stdout", io::stdout().as_fd())
    }

    /// A descriptor to read from, with its name for messages.
    pub(crate) fn input(name: &'static str, fd: BorrowedFd<'_>) -> Result<Stream, Failure> {
        is_open_for(name, fd, OFlags::WRONLY)?;
        let mut how = File::options();
        let mut input = Stream::of(name, fd, how.read(true), can_be_polled)?;
        input.unit = input.find_unit();
        pipes::widen(&input.file, pipes::WIDE_STDIN);
        Ok(input)
    }

    /// A descriptor to write to, with its name for messages.
    pub(crate) fn output(name: &'static str, fd: BorrowedFd<'_>) -> Result<Stream, Failure> {
        is_open_for(name, fd, OFlags::RDONLY)?;
        let mut how = File::options();
        // A file takes all that it is given, even one that can be polled.
        let may_wait = |file: &File| !is_regular(file) && can_be_polled(file);
        let mut output = Stream::of(name, fd, how.write(true), may_wait)?;
        if output.manner == Manner::Blocking {
            match sockopt::socket_type(&output.file) {
                Ok(SocketType::STREAM) => output.manner = Manner::Sending,
                _ => output.most = SURE,
            }
        }
        let size = pipes::widen(&output.file, pipes::WIDE_STDOUT)
            .filter(|_| output.manner == Manner::NonBlocking);
        output.naps = size.and_then(Naps::new);
        Ok(output)
    }

    fn of(
        name: &'static str,
        fd: BorrowedFd<'_>,
        how: &mut OpenOptions,
        may_wait: impl Fn(&File) -> bool,
    ) -> Result<Stream, Failure> {
        // A file, without the buffer of std.
        let file = fd.try_clone_to_owned().map(File::from);
        let mut stream = Stream {
            name,
            file: file.map_err(|error| Failure::io(name, &error))?,
            polled: None,
            manner: Manner::Direct,
            unit: Unit::Bytes,
            most: BLOCK,
            may_try_first: Cell::new(false),
            naps: None,
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

    /// The bytes that must be read in one piece.
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
            // A packet has PIPE_BUF bytes by pipe(2), and a page by the kernel's source.
            Ok(kind) if kind.is_fifo() => Unit::UpTo(sysv::page_size().max(SURE)),
            _ if self.manner == Manner::Direct || self.file.is_terminal() => Unit::Bytes,
            _ => Unit::UpTo(BLOCK),
        }
    }

    /// Skips the first `bytes` bytes, which were sent before. Input that cannot seek is
    /// refused: it may repeat bytes, or may have lost some.
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

    /// The bytes from here to the end of a file; `None` for anything else.
    pub(crate) fn left(&mut self) -> Option<u64> {
        let found = self.file.metadata().ok()?;
        let at = self.file.stream_position().ok()?;
        (found.is_file() && found.len() > 0).then(|| found.len().saturating_sub(at))
    }

    /// The most bytes to move at once, out of or into a ring of `capacity` bytes. A part of
    /// the ring, so that both sides work at once.
    pub(crate) fn most(&self, capacity: usize) -> usize {
        self.most.min(capacity / 4)
    }

    /// Whether a write could block, so that [`is_ready`](Self::is_ready) must come first.
    pub(crate) fn may_block(&self) -> bool {
        self.manner == Manner::Blocking
    }

    /// How the ring's side waits for its peer. Another process feeds or empties a pipe or a
    /// socket, and needs the processor that a spin would take.
    pub(crate) fn wait_policy(&self) -> WaitPolicy {
        match self.manner {
            Manner::Direct => WaitPolicy::Adaptive,
            Manner::NonBlocking | Manner::Sending | Manner::Blocking => WaitPolicy::Park,
        }
    }

    /// Whether the next read may come before a poll: of a pipe, once it had a writer.
    pub(crate) fn may_try_first(&self) -> bool {
        self.may_try_first.get()
    }

    /// Waits until the stream can be read from or written to. `false` after a [`LOOK`], or
    /// a signal.
    pub(crate) fn is_ready(&self, what: PollFlags) -> Result<bool, Failure> {
        if self.manner == Manner::Direct {
            return Ok(true);
        }
        match self.poll(what, LOOK) {
            Ok(events) => {
                let is_pipe = self.manner == Manner::NonBlocking && !self.file.is_terminal();
                self.may_try_first.set(is_pipe && !events.is_empty());
                Ok(!events.is_empty())
            }
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(self.failure(&error.into())),
        }
    }

    /// Waits until a stream that took nothing can be written to, as [`is_ready`](Self::is_ready)
    /// does. Lets the reader of a pipe read on for a while.
    pub(crate) fn await_room(&self) -> Result<(), Failure> {
        if self.is_ready(PollFlags::OUT)?
            && let Some(naps) = &self.naps
        {
            naps.take();
        }
        Ok(())
    }

    /// Moves bytes out of the ring, at most `most`. [`moved`](Self::moved) takes the result.
    pub(crate) fn drain(&self, consumer: &mut Consumer, most: usize) -> io::Result<usize> {
        match self.manner {
            Manner::Sending => sockets::send_from(consumer, self, most),
            _ => consumer.drain_to(self, most),
        }
    }

    /// Whether nobody reads the stream any more.
    pub(crate) fn is_broken(&self) -> bool {
        // A file has no reader.
        self.manner != Manner::Direct && self.has(PollFlags::ERR | PollFlags::HUP)
    }

    /// Writes some of `bytes`. [`moved`](Self::moved) takes the result.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(self.most)];
        match self.manner {
            Manner::Sending => {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                Ok(rustix::net::send(self, bytes, flags)?)
            }
            _ => (&self.file).write(bytes),
        }
    }

    /// Sets `flag` once nobody reads the stream any more, from a thread that sleeps until then.
    /// `false` if there can be no such thread. The caller then has to look from time to time.
    pub(crate) fn tell_when_broken(&self, flag: &Arc<AtomicBool>) -> bool {
        if self.manner == Manner::Direct {
            return true; // a file has no reader
        }
        let file = self.polled.as_ref().unwrap_or(&self.file);
        let Ok(file) = file.try_clone() else {
            return false;
        };
        let flag = Arc::clone(flag);
        let (has_started, started) = mpsc::channel::<()>();
        let watch = move || {
            drop(has_started);
            until_gone(&file);
            flag.store(true, Ordering::Relaxed); // no other memory depends on the flag
        };
        let thread = thread::Builder::new().name("stdout".to_owned());
        let is_there = thread.spawn(watch).is_ok();
        // If there is no memory for its signal stack, the thread ends this process. That should
        // happen before there is a ring.
        let _ = started.recv(); // fails, since nothing is ever sent
        is_there
    }

    /// Whether one of `events` is set. If poll(2) fails, the answer is no, and the next
    /// read or write reports the error.
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

    /// Whether a stream that poll(2) calls readable may be at its end. Takes no bytes out
    /// of it.
    pub(crate) fn may_be_at_end(&mut self) -> bool {
        if self.manner == Manner::Direct
            && let Ok(at) = self.file.stream_position()
        {
            return self.file.read_at(&mut [0], at).is_ok_and(|len| len == 0);
        }
        rustix::io::ioctl_fionread(&self.file).is_ok_and(|len| len == 0)
    }

    /// The failure of a read or a write.
    pub(crate) fn failure(&self, error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::stdout_closed(),
            _ => Failure::io(self.name, error),
        }
    }

    /// The result of moving bytes between the stream and a ring. `None` if the stream was
    /// not ready, whatever poll(2) said.
    pub(crate) fn moved(&self, moved: io::Result<usize>) -> Result<Option<usize>, Failure> {
        match moved {
            Ok(len) => {
                if let Some(naps) = &self.naps {
                    naps.count(len);
                }
                Ok(Some(len))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
            // An error with an errno comes from the descriptor, any other one from the
            // ring.
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

/// Sleeps until the other end of a pipe, a socket or a terminal has gone.
pub(crate) fn until_gone(file: impl AsFd) {
    let mut fds = [PollFd::new(&file, PollFlags::empty())]; // ERR and HUP come unasked
    while poll(&mut fds, None).is_err() || fds[0].revents().is_empty() {}
}

/// Refuses a descriptor that is open only for the `other` direction, or for none. Opening
/// it again could give it a direction that it did not have.
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

/// Whether poll(2) may ever say that `file` is not ready. epoll(7) refuses files without a
/// poll of their own. That a file can seek says nothing: an eventfd can, and so can
/// `/proc/kmsg`, which even looks like a regular file.
fn can_be_polled(file: &File) -> bool {
    let added = epoll::create(epoll::CreateFlags::CLOEXEC).and_then(|set| {
        let data = epoll::EventData::new_u64(0);
        epoll::add(&set, file, data, epoll::EventFlags::IN)
    });
    added != Err(rustix::io::Errno::PERM)
}

/// Opens the file behind `file` once more, without blocking. `None` if that is not
/// possible, or would not be the same thing.
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

/// The device `/dev/ptmx`. Each open of it makes another terminal.
const PTMX: u64 = libc::makedev(5, 2);
