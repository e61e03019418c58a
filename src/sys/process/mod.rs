//! Identity of processes, and whether a process lives.
//!
//! The verdict [`Liveness::Gone`] lets a side finish, claim a role or remove a ring, so it needs
//! proof. Rules:
//!
//! 1. Gone is said only of a process of our own pid namespace, and is final.
//! 2. There are three proofs: the process's pidfd is readable; its pid belongs to no process; its pid
//!    belongs to a process with another start time.
//! 3. The pidfd is opened before the start time is read.
//! 4. Start times, or their low bits, are compared only if both were read in one time namespace.
//!    Ours must come from a `/proc` of our pid namespace.
//! 5. The state letter in `/proc` is never used: a process whose first thread has ended shows `Z` and
//!    lives.
//!
//! Rule 1: namespaces are compared by inode number. The kernel reuses a number only after the
//! namespace and every process in it are gone. So equal numbers mean one namespace, or a peer that
//! is gone.
//!
//! Rule 3: the pidfd is of a process P, and the start time of a process Q. Both processes have had
//! the peer's pid, and P is Q or came before Q. There are two cases:
//!
//! - Q is not the peer. Then the peer is gone, since no process gets its pid back.
//! - Q is the peer. Then P is the peer, too: the pidfd was opened after the peer wrote its record,
//!   so P is no process before the peer.
//!
//! One case is missed: a pid that was reused within one clock tick (10 ms). The answer is then
//! "alive".
//!
//! Rule 4: the kernel shows start times with the offset of the reader's time namespace
//! (time_namespaces(7)). `/proc` may be mounted for another pid namespace, where our pids name
//! other processes. `NSpid` (proc_pid_status(5)) reveals that.
//!
//! A record comes from shared memory and may hold anything. A false record can at worst make its
//! writer look alive or dead.

// pidfd_open(2), poll(2) and kill(2) have no safe wrapper in std.
#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Mutex;

use crate::sys::fork::Epoch;

#[cfg(test)]
mod tests;

/// Greater than any pid of Linux (`PID_MAX_LIMIT`, proc_sys_kernel(5)).
const PID_LIMIT: u32 = 1 << 22;

/// The identity of a process, by which another can tell whether it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Clock ticks from boot to the start of the process; 0 when unknown.
    pub(crate) start: u64,
    /// Inode number of the pid namespace; 0 when unknown.
    pub(crate) pid_namespace: u32,
    /// Inode number of the time namespace; 0 when unknown.
    pub(crate) time_namespace: u32,
}

/// The result that [`Process::current`] read last, and the process that read it.
static CACHE: Mutex<Option<(Epoch, Process)>> = Mutex::new(None);

impl Process {
    /// This process. Read once per process, and again after a fork.
    pub(crate) fn current() -> Process {
        // `try_lock`, since a fork may have left the lock held by a thread that the child lacks.
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
            *cache = Some((Epoch::current(), process)); // an incomplete result is read again
        }
        process
    }

    /// A child of this process that has not been waited for.
    pub(crate) fn of_child(pid: u32) -> Process {
        Process {
            pid,
            start: start_of(pid),
            ..Process::current()
        }
    }

    /// This process, for a claim. Its start time is read in its current time namespace: setns(2)
    /// may have moved the process since the last read.
    pub(crate) fn claimer() -> Process {
        let process = Process::current();
        if process.time_namespace == namespace("time") {
            process
        } else {
            Process::read()
        }
    }

    /// Whether `other` may be the same process. Compares everything but the start times; unknown
    /// values match.
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
    /// A process with this pid lives, and nothing shows that it is another one.
    Alive,
    /// Proven gone.
    Gone,
    /// Nothing is proven. Treat as alive.
    Unknown,
}

/// Checks repeatedly whether one process lives.
#[derive(Debug)]
pub(crate) struct Watch {
    peer: Process,
    /// The low bits of the peer's start time, if only those are known.
    start_low_bits: Option<u32>,
    evidence: Evidence,
}

#[derive(Debug)]
enum Evidence {
    None,
    Pidfd(OwnedFd),
    Gone,
}

impl Watch {
    /// A watch of `peer`. Makes no system call; the first [`check`](Watch::check) does.
    pub(crate) fn new(peer: Process) -> Watch {
        Watch {
            peer,
            start_low_bits: None,
            evidence: Evidence::None,
        }
    }

    /// A watch of a process whose start time is known only by its [low bits](start_low_bits), or
    /// not at all.
    pub(crate) fn with_start_low_bits(peer: Process, start_low_bits: Option<u32>) -> Watch {
        Watch {
            start_low_bits,
            ..Watch::new(peer)
        }
    }

    /// Whether the peer lives. With an open pidfd, this is one `poll(2)` that does not wait. Does
    /// not block or panic, whatever the record says. `Gone` is final and closes the pidfd.
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

    /// The check before there is a pidfd. After `Unknown` the next check tries again.
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
            return Liveness::Alive; // the caller itself: no descriptor is needed
        }
        let pidfd = match pidfd_open(peer.pid) {
            Ok(pidfd) => pidfd,
            Err(error) => {
                return match error.raw_os_error() {
                    Some(libc::ESRCH) => Liveness::Gone,
                    // The pid is a thread's. Before Linux 6.15, it may also be that of a process
                    // group whose leader is gone.
                    Some(libc::EINVAL | libc::ENOENT) if is_free(peer.pid) => Liveness::Gone,
                    _ => Liveness::Unknown,
                };
            }
        };
        let low_bits = self.start_low_bits;
        if is_another(peer) || low_bits.is_some_and(|bits| has_other_low_bits(peer, bits)) {
            return Liveness::Gone;
        }
        let liveness = poll(&pidfd);
        self.evidence = Evidence::Pidfd(pidfd);
        liveness
    }
}

/// Whether the peer's pid is now that of a process with another start time.
fn is_another(peer: Process) -> bool {
    // Read anew, since setns(2) moves a process to another time namespace.
    if peer.start == 0 || peer.time_namespace == 0 || peer.time_namespace != namespace("time") {
        return false;
    }
    let start = start_of(peer.pid);
    start != 0 && start != peer.start
}

/// The low 22 bits of a start time: as many as fit an owner word.
pub(crate) fn start_low_bits(start: u64) -> u32 {
    (start & 0x3f_ffff) as u32
}

/// Whether the peer's pid now belongs to a process whose start time has other low bits.
///
/// Start times are comparable only if the peer read its own in our time namespace. The peer's time
/// namespace is not recorded here. It is taken to be that of the process that has the pid now.
fn has_other_low_bits(peer: Process, bits: u32) -> bool {
    let own = namespace("time");
    if own == 0 || namespace_in(&format!("/proc/{}/ns", peer.pid), "time") != own {
        return false;
    }
    let start = start_of(peer.pid);
    start != 0 && start_low_bits(start) != bits
}

fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    let no_flags: libc::c_long = 0; // pidfd_open(2) always sets close-on-exec
    // SAFETY: pidfd_open(2) takes two integers and touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::c_long, no_flags) };
    match RawFd::try_from(result) {
        // SAFETY: the call succeeded, so `fd` is open, new, and owned by nobody else.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Polls a pidfd. It is readable once the process has ended with all its threads, reaped or not
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

/// Whether no process and no thread of our pid namespace has this pid. A zombie still has its pid.
fn is_free(pid: u32) -> bool {
    // SAFETY: kill(2) takes two integers, and signal 0 sends nothing. The callers' pid is in
    // 1..=PID_LIMIT, so it names one process and no group.
    let result = unsafe { libc::kill(pid as libc::pid_t, 0) };
    result != 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH)
}

/// The start time of a process of our pid namespace; 0 if it cannot be read.
fn start_of(pid: u32) -> u64 {
    if !proc_is_ours() {
        return 0;
    }
    let stat = fs::read(format!("/proc/{pid}/task/{pid}/stat")).unwrap_or_default();
    parse_start(&stat).unwrap_or(0)
}

/// Whether `/proc` shows our pid namespace. Then `NSpid` lists one pid; otherwise one more for each
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

/// Parses field 22 of proc_pid_stat(5). Field 2 is a name that may hold anything, so counting
/// starts at the last parenthesis.
fn parse_start(stat: &[u8]) -> Option<u64> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = str::from_utf8(&stat[name_end + 1..]).ok()?;
    rest.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

/// The inode number of one of our namespaces; 0 if it cannot be read. Asks for the thread, since
/// `/proc/self/ns` is empty once the first thread has ended.
pub(crate) fn namespace(kind: &str) -> u32 {
    namespace_in("/proc/thread-self/ns", kind)
}

/// The inode number of a namespace in the given folder; 0 if it cannot be read.
fn namespace_in(folder: &str, kind: &str) -> u32 {
    let link = fs::read_link(format!("{folder}/{kind}")).unwrap_or_default();
    link.to_str()
        .and_then(|link| parse_namespace(link, kind))
        .unwrap_or(0)
}

/// Parses a link such as `pid:[4026531836]` (namespaces(7)).
fn parse_namespace(link: &str, kind: &str) -> Option<u32> {
    link.strip_prefix(kind)?
        .strip_prefix(":[")?
        .strip_suffix("]")?
        .parse()
        .ok()
}

/// The effective user id of this process.
pub(crate) fn effective_uid() -> u32 {
    // SAFETY: no arguments; the call cannot fail.
    unsafe { libc::geteuid() }
}
