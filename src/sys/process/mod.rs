//! Who a process is, and whether it lives.
//!
//! Guarded here: the verdict [`Liveness::Gone`]. It lets a side finish, take over or remove, so it
//! is given on proof only.
//!
//! 1. Gone is said of a process of our own pid namespace only, and then for good.
//! 2. The proof is one of three: its pidfd is readable; its pid belongs to no process; its pid
//!    belongs to a process with another start time.
//! 3. The pidfd is opened before the start time is read.
//! 4. Start times, or the ends of them, are compared only if both were read in one time namespace,
//!    ours from a `/proc` of our pid namespace.
//! 5. The letter of the state in `/proc` is never used: a process whose first thread has ended
//!    shows `Z` and lives.
//!
//! Of 1: namespaces are compared by inode number. A number is given out again only after its
//! namespace has gone, and every process in it, so that equal numbers mean one namespace or a peer
//! that is gone.
//!
//! Of 3: let the pidfd be of process P, and the start time of process Q, which has the same pid,
//! later or at the same time. If Q is not the peer, the peer is gone, as no pid comes back to a
//! process. If Q is the peer, so is P, as P cannot come before it: the pidfd was opened after the
//! peer had written its record. Only a pid that came round within one clock tick (10 ms) goes
//! unnoticed, and then the answer is "alive".
//!
//! Of 4: the kernel shows start times with the offset of the reader's time namespace
//! (time_namespaces(7)). `/proc` may be mounted for another pid namespace, where our pids name
//! strangers; `NSpid` (proc_pid_status(5)) tells.
//!
//! A record comes from shared memory and may say anything. A false one can at worst make its writer
//! look alive or dead.

// pidfd_open(2), poll(2) and kill(2) have no safe wrapper in std.
#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Mutex;

use crate::sys::fork::Epoch;

#[cfg(test)]
mod tests;

/// The largest pid that Linux gives out is below this (`PID_MAX_LIMIT`, proc_sys_kernel(5)).
const PID_LIMIT: u32 = 1 << 22;

/// What a process says of itself, so that another can tell whether it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Clock ticks from boot to the start of the process; 0 is unknown.
    pub(crate) start: u64,
    /// Inode number of the pid namespace; 0 is unknown.
    pub(crate) pid_namespace: u32,
    /// Inode number of the time namespace; 0 is unknown.
    pub(crate) time_namespace: u32,
}

/// What [`Process::current`] read last, and in which process.
static CACHE: Mutex<Option<(Epoch, Process)>> = Mutex::new(None);

impl Process {
    /// This process. Read once per process; after a fork, read again.
    pub(crate) fn current() -> Process {
        // Not `lock`: the thread that held the lock may have been left behind by a fork.
        let Ok(mut cache) = CACHE.try_lock() else {
            return Process::read();
        };
        if let Some((epoch, process)) = *cache
            && epoch.is_current()
        {
            return process;
        }
        let process = Process::read();
        if process.start != 0 && process.pid_namespace != 0 {
            *cache = Some((Epoch::current(), process)); // what could not be read is tried again
        }
        process
    }

    /// A child of this process, not yet waited for.
    pub(crate) fn of_child(pid: u32) -> Process {
        Process {
            pid,
            start: start_of(pid),
            ..Process::current()
        }
    }

    /// This process, for a claim. Its start time is of the time namespace that
    /// it is in now: setns(2) may have moved it since the last one.
    pub(crate) fn claimer() -> Process {
        let process = Process::current();
        if process.time_namespace == namespace("time") {
            process
        } else {
            Process::read()
        }
    }

    /// Whether `other` may be the same process: nothing of the two contradicts it but, perhaps, a
    /// start time.
    pub(crate) fn may_be(&self, other: &Process) -> bool {
        let (own, others) = (self.pid_namespace, other.pid_namespace);
        self.pid == other.pid && (own == others || own == 0 || others == 0)
    }

    fn read() -> Process {
        let pid = std::process::id();
        Process {
            pid,
            start: start_of(pid),
            pid_namespace: namespace("pid"),
            time_namespace: namespace("time"),
        }
    }
}

/// Whether a process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Liveness {
    Alive,
    /// Proven.
    Gone,
    /// Nothing can be proven. Treat as alive.
    Unknown,
}

/// Asks again and again whether one process lives.
#[derive(Debug)]
pub(crate) struct Watch {
    peer: Process,
    /// The end of its start time, where that is all that is known of it.
    start_end: Option<u32>,
    evidence: Evidence,
}

#[derive(Debug)]
enum Evidence {
    None,
    Pidfd(OwnedFd),
    Gone,
}

impl Watch {
    /// Makes no system call: the first [`check`](Watch::check) does.
    pub(crate) fn new(peer: Process) -> Watch {
        Watch {
            peer,
            start_end: None,
            evidence: Evidence::None,
        }
    }

    /// The same of a process of which but the [end](start_end) of its start time is known; `None`
    /// if not even that is.
    pub(crate) fn with_start_end(peer: Process, start_end: Option<u32>) -> Watch {
        Watch {
            start_end,
            ..Watch::new(peer)
        }
    }

    /// Whether the peer lives: one `poll(2)` that does not wait, once the pidfd is open. Does not
    /// block or panic, whatever the record says. `Gone` is final, and closes the pidfd.
    pub(crate) fn check(&mut self) -> Liveness {
        let liveness = match &self.evidence {
            Evidence::None => self.open(),
            Evidence::Pidfd(pidfd) => poll(pidfd),
            Evidence::Gone => Liveness::Gone,
        };
        if liveness == Liveness::Gone {
            self.evidence = Evidence::Gone;
        }
        liveness
    }

    /// The check before there is a pidfd. Unknown leaves it so, and the next check tries again.
    fn open(&mut self) -> Liveness {
        let peer = self.peer;
        if peer.pid == 0 || peer.pid > PID_LIMIT || peer.pid_namespace == 0 {
            return Liveness::Unknown;
        }
        let own = Process::current();
        if own.pid_namespace != peer.pid_namespace {
            return Liveness::Unknown;
        }
        if (own.pid, own.start) == (peer.pid, peer.start) {
            return Liveness::Alive;
        }
        let pidfd = match pidfd_open(peer.pid) {
            Ok(pidfd) => pidfd,
            Err(error) => {
                return match error.raw_os_error() {
                    Some(libc::ESRCH) => Liveness::Gone,
                    // The pid is a thread's, or (before Linux 6.15) that of a process group whose
                    // leader is gone.
                    Some(libc::EINVAL | libc::ENOENT) if is_free(peer.pid) => Liveness::Gone,
                    _ => Liveness::Unknown,
                };
            }
        };
        if is_another(peer) || self.start_end.is_some_and(|end| has_another_end(peer, end)) {
            return Liveness::Gone;
        }
        let liveness = poll(&pidfd);
        self.evidence = Evidence::Pidfd(pidfd);
        liveness
    }
}

/// Whether the peer's pid is now that of a process with another start time.
fn is_another(peer: Process) -> bool {
    // Not from the cache: setns(2) moves a process to another time namespace.
    if peer.start == 0 || peer.time_namespace == 0 || peer.time_namespace != namespace("time") {
        return false;
    }
    let start = start_of(peer.pid);
    start != 0 && start != peer.start
}

/// The last bits of a start time, which is all that an owner word has room for.
pub(crate) fn start_end(start: u64) -> u32 {
    (start & 0x3f_ffff) as u32
}

/// Whether the peer's pid is now that of a process whose start time has another end. Which time
/// namespace the peer read its own in is not known. But were it the process that has the pid, then
/// that one's, which is ours.
fn has_another_end(peer: Process, end: u32) -> bool {
    let own = namespace("time");
    if own == 0 || namespace_in(&format!("/proc/{}/ns", peer.pid), "time") != own {
        return false;
    }
    let start = start_of(peer.pid);
    start != 0 && start_end(start) != end
}

fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    let no_flags: libc::c_long = 0; // close-on-exec is set in any case
    // SAFETY: pidfd_open(2) takes two integers and touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::c_long, no_flags) };
    match RawFd::try_from(result) {
        // SAFETY: the call succeeded, so `fd` is open, new, and owned by nobody else.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A pidfd is readable once the process has ended, reaped or not, all its threads included
/// (pidfd_open(2)).
fn poll(pidfd: &OwnedFd) -> Liveness {
    let mut entry = libc::pollfd {
        fd: pidfd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: `entry` is one live, writable pollfd, and the count is one.
    match unsafe { libc::poll(&mut entry, 1, 0) } {
        0 => Liveness::Alive,
        1 if entry.revents & libc::POLLIN != 0 => Liveness::Gone,
        _ => Liveness::Unknown,
    }
}

/// Whether no process and no thread of our pid namespace has this pid. A zombie has.
fn is_free(pid: u32) -> bool {
    // SAFETY: kill(2) takes two integers, and signal 0 is not sent. The callers' pid is in
    // 1..=PID_LIMIT, so it names one process and no group.
    let result = unsafe { libc::kill(pid as libc::pid_t, 0) };
    result != 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH)
}

/// The start time of a process of our pid namespace, 0 if it cannot be read.
fn start_of(pid: u32) -> u64 {
    if !proc_is_ours() {
        return 0;
    }
    let stat = fs::read(format!("/proc/{pid}/task/{pid}/stat")).unwrap_or_default();
    parse_start(&stat).unwrap_or(0)
}

/// Whether `/proc` shows our pid namespace: then we have one pid there, and else one more for each
/// level in between.
fn proc_is_ours() -> bool {
    let status = fs::read("/proc/thread-self/status").unwrap_or_default();
    status
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"NSpid:"))
        .is_some_and(|pids| {
            pids.split(u8::is_ascii_whitespace)
                .filter(|pid| !pid.is_empty())
                .count()
                == 1
        })
}

/// Field 22 of proc_pid_stat(5). Field 2 is a name that may hold anything, so counting starts at
/// the last parenthesis.
fn parse_start(stat: &[u8]) -> Option<u64> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = str::from_utf8(&stat[name_end + 1..]).ok()?;
    rest.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

/// The inode number of one of our namespaces, 0 if it cannot be read. Asked of the thread: once the
/// first thread has ended, `/proc/self/ns` is empty.
pub(crate) fn namespace(kind: &str) -> u32 {
    namespace_in("/proc/thread-self/ns", kind)
}

/// The inode number of a namespace in such a folder, 0 if it cannot be read.
fn namespace_in(folder: &str, kind: &str) -> u32 {
    let link = fs::read_link(format!("{folder}/{kind}")).unwrap_or_default();
    link.to_str()
        .and_then(|link| parse_namespace(link, kind))
        .unwrap_or(0)
}

/// The link reads `pid:[4026531836]` (namespaces(7)).
fn parse_namespace(link: &str, kind: &str) -> Option<u32> {
    link.strip_prefix(kind)?
        .strip_prefix(":[")?
        .strip_suffix("]")?
        .parse()
        .ok()
}

/// The user that this process acts as.
pub(crate) fn effective_uid() -> u32 {
    // SAFETY: no arguments; it cannot fail.
    unsafe { libc::geteuid() }
}
