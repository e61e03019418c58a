//! What the benchmarks share: a child process at the other end of a ring, a pipe or a Unix
//! socket. The child does the amount of work that it is told to do.
#![allow(dead_code)] // each benchmark uses a part
#![allow(unsafe_code)] // fork, pinning, and the end of the child

#[path = "../../tests/common/pin.rs"]
mod pin;

use std::cell::Cell;
use std::io::{self, PipeWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use shmpipe::{Options, Ring};

/// The child at the other end, and the pipe that gives it orders. The child ends when that
/// pipe does.
pub(crate) struct Child {
    pid: libc::pid_t,
    orders: Option<PipeWriter>,
}

impl Child {
    /// Runs `work` in a child process, once for each count that arrives on the pipe.
    pub(crate) fn new(work: impl FnOnce(&mut dyn FnMut() -> Option<u64>)) -> Child {
        let (mut taken, orders) = io::pipe().unwrap();
        let cpus = cpus();
        // SAFETY: a benchmark has one thread, so that no lock is held.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "{}", io::Error::last_os_error());
        if pid > 0 {
            pin(cpus[0]);
            return Child {
                pid,
                orders: Some(orders),
            };
        }
        drop(orders); // so that the last one is the parent's
        pin(*cpus.get(1).unwrap_or(&cpus[0]));
        let body = || {
            work(&mut || {
                let mut count = [0; 8];
                taken.read_exact(&mut count).ok()?;
                Some(u64::from_ne_bytes(count))
            });
        };
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        // SAFETY: ends the child. Nothing that belongs to the parent runs.
        unsafe { libc::_exit(i32::from(done.is_err())) }
    }

    pub(crate) fn order(&mut self, count: u64) {
        let orders = self.orders.as_mut().unwrap();
        orders.write_all(&count.to_ne_bytes()).unwrap();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.orders = None;
        // SAFETY: the pid is a child of this process that is not reaped yet.
        unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) };
    }
}

fn cpus() -> Vec<usize> {
    static FIRST: std::sync::OnceLock<Vec<usize>> = std::sync::OnceLock::new();
    // The parent pins itself later. The processors of its start are wanted.
    FIRST.get_or_init(pin::allowed_cpus).clone()
}

fn pin(cpu: usize) {
    // If the kernel refuses, the process stays where it is.
    let _ = pin::pin_to(&[cpu]);
}

/// A stream of blocks. The child sends as many as it is told to send.
pub(crate) struct Stream<R> {
    child: Child,
    receiver: R,
    block: Vec<u8>,
}

impl<R: Read> Stream<R> {
    /// `sender` is called in the child, `receiver` in the parent.
    pub(crate) fn new<W: Write>(
        block: usize,
        sender: impl FnOnce() -> W,
        receiver: impl FnOnce() -> R,
    ) -> Stream<R> {
        let child = Child::new(|next| {
            let (mut sender, block) = (sender(), vec![7; block]);
            while let Some(count) = next() {
                for _ in 0..count {
                    sender.write_all(&block).unwrap();
                }
                sender.flush().unwrap();
            }
        });
        Stream {
            child,
            receiver: receiver(),
            block: vec![0; block],
        }
    }

    /// The time from the arrival of a block to the arrival of the `count`th block after it.
    pub(crate) fn time(&mut self, count: u64) -> Duration {
        self.child.order(count + 1);
        self.receiver.read_exact(&mut self.block).unwrap();
        let start = Instant::now();
        for _ in 0..count {
            self.receiver.read_exact(&mut self.block).unwrap();
        }
        assert!(self.block.iter().all(|&byte| byte == 7));
        start.elapsed()
    }
}

/// A round trip: the child sends each block back.
pub(crate) struct Echo<W, R> {
    child: Child,
    there: W,
    back: R,
    block: Vec<u8>,
}

impl<W: Write, R: Read> Echo<W, R> {
    /// `their` ends are made in the child, `our` ends in the parent.
    pub(crate) fn new<TheirW: Write, TheirR: Read>(
        block: usize,
        their: impl FnOnce() -> (TheirW, TheirR),
        our: impl FnOnce() -> (W, R),
    ) -> Echo<W, R> {
        let child = Child::new(|next| {
            let ((mut back, mut there), mut block) = (their(), vec![0; block]);
            while let Some(count) = next() {
                for _ in 0..count {
                    there.read_exact(&mut block).unwrap();
                    back.write_all(&block).unwrap();
                }
            }
        });
        let (there, back) = our();
        Echo {
            child,
            there,
            back,
            block: vec![7; block],
        }
    }

    /// The time of `count` round trips in a row.
    pub(crate) fn time(&mut self, count: u64) -> Duration {
        self.child.order(count);
        let start = Instant::now();
        for _ in 0..count {
            self.there.write_all(&self.block).unwrap();
            self.back.read_exact(&mut self.block).unwrap();
        }
        start.elapsed()
    }
}

/// A ring between a process and its child.
pub(crate) struct Shared(Cell<Option<Ring>>);

impl Shared {
    pub(crate) fn new(options: &Options) -> Shared {
        Shared(Cell::new(Some(options.create_anonymous().unwrap())))
    }

    pub(crate) fn producer(&self) -> shmpipe::Producer {
        self.0.take().unwrap().into_producer().unwrap()
    }

    pub(crate) fn consumer(&self) -> shmpipe::Consumer {
        self.0.take().unwrap().into_consumer().unwrap()
    }
}

/// A stream through a ring.
pub(crate) fn ring_stream(options: &Options, block: usize) -> Stream<shmpipe::Consumer> {
    let ring = Shared::new(options);
    Stream::new(block, || ring.producer(), || ring.consumer())
}

/// A stream through a pipe.
pub(crate) fn pipe_stream(block: usize) -> Stream<io::PipeReader> {
    let (reader, writer) = io::pipe().unwrap();
    let theirs = writer.try_clone().unwrap();
    drop(writer);
    Stream::new(block, move || theirs, || reader)
}

/// A stream through a pair of Unix sockets.
pub(crate) fn unix_stream(block: usize) -> Stream<UnixStream> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    Stream::new(block, move || theirs, || ours)
}

/// Round trips through two rings.
pub(crate) fn ring_echo(
    options: &Options,
    block: usize,
) -> Echo<shmpipe::Producer, shmpipe::Consumer> {
    let (there, back) = (Shared::new(options), Shared::new(options));
    Echo::new(
        block,
        || (back.producer(), there.consumer()),
        || (there.producer(), back.consumer()),
    )
}

/// Round trips through two pipes.
pub(crate) fn pipe_echo(block: usize) -> Echo<PipeWriter, io::PipeReader> {
    let (there, back) = (io::pipe().unwrap(), io::pipe().unwrap());
    let ours = (there.1.try_clone().unwrap(), back.0.try_clone().unwrap());
    Echo::new(block, move || (back.1, there.0), || ours)
}

/// Round trips through a pair of Unix sockets.
pub(crate) fn unix_echo(block: usize) -> Echo<UnixStream, UnixStream> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let both = |socket: UnixStream| (socket.try_clone().unwrap(), socket);
    Echo::new(block, move || both(theirs), || both(ours))
}

/// Settings for short runs. The comparison in `benches/peers` is the thorough one.
pub(crate) fn criterion() -> criterion::Criterion {
    criterion::Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args()
}
