//! What others do, as the kernel and the ring tell. A test waits for a state, and never
//! for a time that should be long enough.
#![allow(dead_code)] // each test binary uses a part
#![allow(unsafe_code)] // gettid, fcntl

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shmpipe::sysv::SegmentId;
use shmpipe::{Role, Snapshot};

use super::until;

/// A thread of this process, or another process by its first thread.
#[derive(Clone, Debug)]
pub(crate) struct Task(PathBuf);

impl Task {
    /// The calling thread. A forked child may look at it, too.
    pub(crate) fn current() -> Task {
        // SAFETY: no arguments.
        let id = unsafe { libc::gettid() };
        let pid = std::process::id();
        Task(format!("/proc/{pid}/task/{id}/stat").into())
    }

    pub(crate) fn of(pid: u32) -> Task {
        Task(format!("/proc/{pid}/task/{pid}/stat").into())
    }

    /// The first thread of the process that started this one.
    pub(crate) fn parent() -> Task {
        Task::of(std::os::unix::process::parent_id())
    }

    /// The state of the thread, and its processor time in ticks of 10 ms; `None` once
    /// it has ended.
    fn look(&self) -> Option<(char, u64)> {
        let stat = std::fs::read_to_string(&self.0).ok()?;
        // See proc_pid_stat(5); the name in brackets may hold anything.
        let (_, fields) = stat.rsplit_once(") ")?;
        let mut fields = fields.split_whitespace();
        let state = fields.next()?.chars().next()?;
        let times = fields.skip(10).take(2);
        Some((state, times.map(|time| time.parse::<u64>().unwrap()).sum()))
    }

    /// Whether a signal has stopped it.
    pub(crate) fn is_stopped(&self) -> bool {
        (self.look()).is_some_and(|(state, _)| matches!(state, 'T' | 't'))
    }

    pub(crate) fn is_asleep(&self) -> bool {
        self.look().is_some_and(|(state, _)| state == 'S')
    }

    /// Waits until it sleeps in a call.
    #[track_caller]
    pub(crate) fn until_asleep(&self) {
        self.until_idle(u64::MAX);
    }

    /// Waits until it sleeps in a call, or turns round in one: it has had the
    /// processor for 20 ms, which is more than the way to the call takes.
    #[track_caller]
    pub(crate) fn until_asleep_or_spinning(&self) {
        let (_, before) = self.look().expect("it has ended");
        self.until_idle(before + 3); // the first of them is partly over
    }

    /// Waits until it sleeps, or has had the processor for so many ticks in all. On its
    /// way to a call it may sleep for a lock of the C library's, but hardly twice.
    #[track_caller]
    fn until_idle(&self, ticks: u64) {
        let mut looks = 0;
        until(|| {
            let (state, used) = self.look().expect("it has ended");
            looks = if state == 'S' { looks + 1 } else { 0 };
            looks == 2 || used >= ticks
        });
    }
}

/// A call that waits, seen by another thread.
#[derive(Debug)]
pub(crate) struct Waiting {
    task: Task,
    spins: bool,
    is_over: AtomicBool,
}

impl Waiting {
    /// Waits until the call waits; again, if what it waits for has come in part.
    #[track_caller]
    pub(crate) fn until_it_waits(&self) {
        match self.spins {
            true => self.task.until_asleep_or_spinning(),
            false => self.task.until_asleep(),
        }
        assert!(!self.is_over.load(Ordering::Acquire), "it does not wait");
    }

    /// Waits until the call has returned.
    #[track_caller]
    pub(crate) fn until_it_is_over(&self) {
        until(|| self.is_over.load(Ordering::Acquire));
    }

    fn call<T, U: Send>(
        spins: bool,
        wait: impl FnOnce() -> T,
        act: impl FnOnce(&Waiting) -> U + Send,
    ) -> (T, U) {
        let waiting = Waiting {
            task: Task::current(),
            spins,
            is_over: AtomicBool::new(false),
        };
        std::thread::scope(|scope| {
            let acting = scope.spawn(|| {
                waiting.until_it_waits();
                act(&waiting)
            });
            let waited = wait();
            waiting.is_over.store(true, Ordering::Release);
            match acting.join() {
                Ok(acted) => (waited, acted),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

/// Makes a call that sleeps, and acts in another thread once it does. Gives what
/// both return.
#[track_caller]
pub(crate) fn once_asleep<T, U: Send>(
    wait: impl FnOnce() -> T,
    act: impl FnOnce(&Waiting) -> U + Send,
) -> (T, U) {
    Waiting::call(false, wait, act)
}

/// As [`once_asleep`], for a call that may spin instead.
#[track_caller]
pub(crate) fn once_waiting<T, U: Send>(
    wait: impl FnOnce() -> T,
    act: impl FnOnce(&Waiting) -> U + Send,
) -> (T, U) {
    Waiting::call(true, wait, act)
}

/// Whether the holder of `role` says that it sleeps, or is about to.
pub(crate) fn sleeps(id: SegmentId, role: Role) -> bool {
    Snapshot::of(id).is_ok_and(|ring| match role {
        Role::Producer => ring.producer_sleeps,
        Role::Consumer => ring.consumer_sleeps,
    })
}

/// Whether a process waits for its peer at `path`: it holds a lock on a byte of the
/// file, by which openers in other IPC namespaces know it.
pub(crate) fn is_waited_for(path: &Path) -> bool {
    let Ok(file) = File::open(path) else {
        return false; // who opens the ring may make the file
    };
    // SAFETY: a `flock` is integers, for which zero is valid.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as _; // conflicts with any lock, on any byte
    // SAFETY: F_OFD_GETLK reads and writes a `flock`, which outlives the call.
    let asked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
    assert_eq!(asked, 0, "{}", io::Error::last_os_error());
    lock.l_type != libc::F_UNLCK as libc::c_short
}

/// Whether somebody has the lock of `path`, under which rings are made and removed.
pub(crate) fn is_locked(path: &Path) -> bool {
    File::open(path).unwrap().try_lock().is_err()
}

/// Tries `holds` with this time, and with longer ones where that is too short for
/// the machine: a slow or busy one takes its time between two steps of a test. What
/// the test is about does not hold for any time if it is broken.
#[track_caller]
pub(crate) fn for_some_time(time: Duration, mut holds: impl FnMut(Duration) -> bool) {
    let held = [1, 8, 32].into_iter().any(|longer| holds(time * longer));
    assert!(held, "it does not hold for {time:?}, nor for longer");
}
