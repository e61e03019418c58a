//! System calls of the harness: processes, processors, shared memory and resource usage.
#![allow(unsafe_code)] // the calls of C

#[path = "../../../tests/common/pin.rs"]
mod pin;

use std::io;
use std::ops::Deref;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::time::{Duration, Instant};

pub(crate) use pin::allowed_cpus;

/// A value that this process shares with the processes that it forks later. Its pages are
/// present from the start.
pub(crate) struct Shared<T>(NonNull<T>);

/// A type that may lie in zeroed memory that several processes write to.
///
/// # Safety
///
/// Zero bytes must be a value, and all fields must be atomic.
#[allow(dead_code)] // a bound is a use
pub(crate) unsafe trait Zeroed: Sync {}

impl<T: Zeroed> Shared<T> {
    /// A zeroed value.
    pub(crate) fn new() -> Shared<T> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
        // SAFETY: a new mapping; the kernel chooses the address.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<T>(), access, kind, -1, 0) };
        assert_ne!(at, libc::MAP_FAILED, "{}", io::Error::last_os_error());
        Shared(NonNull::new(at.cast()).expect("a mapping is not at zero"))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: mapped in `new`, page aligned, and as long as a `T`. It holds zeros, or
        // what atomic stores have made of them (`Zeroed`).
        unsafe { self.0.as_ref() }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`, which nothing refers to any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), size_of::<T>()) };
    }
}

// SAFETY: only shared references to a `T` are given out, and `T` is `Sync`.
unsafe impl<T: Sync> Sync for Shared<T> {}
// SAFETY: only shared references to a `T` are given out. Any thread may unmap memory.
unsafe impl<T: Sync> Send for Shared<T> {}

/// Alignment of 128 bytes: two lines, since the prefetcher takes them in pairs.
#[repr(C, align(128))]
pub(crate) struct Line<T>(pub(crate) T);

/// Pins the calling thread to one processor.
pub(crate) fn pin(cpu: usize) {
    pin_to(&[cpu]);
}

/// Keeps the calling thread to some processors.
pub(crate) fn pin_to(cpus: &[usize]) {
    pin::pin_to(cpus).unwrap_or_else(|error| panic!("processors {cpus:?}: {error}"));
}

/// Runs `body` in a child process, which then ends without running anything of this
/// process. This process must have one thread.
pub(crate) fn fork(body: impl FnOnce()) -> libc::pid_t {
    // SAFETY: the process has one thread, so no other thread holds a lock.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", io::Error::last_os_error()),
        0 => {
            std::panic::set_hook(Box::new(|_| {})); // the board has the words
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
            end(i32::from(done.is_err()))
        }
        child => child,
    }
}

/// Ends this process at once, without handlers or destructors.
pub(crate) fn end(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Waits for children of this process. Sleeps, so as not to disturb them. Once one has
/// failed or `limit` is over, kills all of them, and returns which failed.
pub(crate) fn reap(children: &[libc::pid_t], limit: Duration) -> Result<(), &'static str> {
    let end = Instant::now() + limit;
    let mut verdict = Ok(());
    let mut left: Vec<(libc::pid_t, OwnedFd)> = children
        .iter()
        .map(|&child| (child, pidfd(child)))
        .collect();
    while !left.is_empty() {
        let mut fds: Vec<libc::pollfd> = left
            .iter()
            .map(|(_, fd)| libc::pollfd {
                fd: fd.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            })
            .collect();
        let rest = end.saturating_duration_since(Instant::now()).as_millis() as libc::c_int;
        // SAFETY: the array has that many pollfds.
        let ready = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, rest) };
        if ready == 0 && verdict.is_ok() {
            verdict = Err("hung");
        }
        let mut at = 0;
        left.retain(|&(child, _)| {
            let ended = fds[at].revents != 0;
            at += 1;
            if !ended {
                return true;
            }
            let mut status = 0;
            // SAFETY: the kernel writes an integer to `status`.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            if status != 0 && verdict.is_ok() {
                verdict = Err("died");
            }
            false
        });
        if verdict.is_err() {
            for (child, _) in &left {
                // SAFETY: the child is not reaped yet, so the pid is its own.
                unsafe { libc::kill(*child, libc::SIGKILL) };
            }
        }
    }
    verdict
}

/// A descriptor that becomes readable when that child ends.
fn pidfd(child: libc::pid_t) -> OwnedFd {
    // SAFETY: numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, child, 0) };
    assert!(fd >= 0, "pidfd_open: {}", io::Error::last_os_error());
    // SAFETY: the descriptor is new, and nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) }
}

/// Resources that a process or thread has used so far.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    /// Processor time in seconds, in user code and in the kernel.
    pub(crate) cpu: f64,
    /// Voluntary context switches.
    pub(crate) waits: f64,
    /// Involuntary context switches.
    pub(crate) preemptions: f64,
    /// Seconds in which it was ready to run and waited for a processor.
    pub(crate) kept_waiting: f64,
}

impl Usage {
    pub(crate) fn of_thread() -> Usage {
        Usage::of(libc::RUSAGE_THREAD, "/proc/thread-self/schedstat")
    }

    pub(crate) fn of_process() -> Usage {
        Usage::of(libc::RUSAGE_SELF, "/proc/self/schedstat")
    }

    fn of(who: libc::c_int, schedule: &str) -> Usage {
        // SAFETY: plain integers, for which zeros are a value.
        let mut used: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: `used` is a rusage to write to.
        unsafe { libc::getrusage(who, &raw mut used) };
        // The file has: nanoseconds on a processor, nanoseconds in its queue, turns.
        let schedule = std::fs::read_to_string(schedule).unwrap_or_default();
        let queued = schedule
            .split_whitespace()
            .nth(1)
            .and_then(|ns| ns.parse::<f64>().ok());
        let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
        Usage {
            cpu: seconds(used.ru_utime) + seconds(used.ru_stime),
            waits: used.ru_nvcsw as f64,
            preemptions: used.ru_nivcsw as f64,
            kept_waiting: queued.map_or(f64::NAN, |ns| ns / 1e9),
        }
    }

    pub(crate) fn since(self, before: Usage) -> Usage {
        Usage {
            cpu: self.cpu - before.cpu,
            waits: self.waits - before.waits,
            preemptions: self.preemptions - before.preemptions,
            kept_waiting: self.kept_waiting - before.kept_waiting,
        }
    }
}
