//! What the kernel and the host allow.
#![allow(unsafe_code)] // system calls, only to see whether they are there

use std::fs;
use std::path::{Path, PathBuf};
use std::ptr;
use std::thread::available_parallelism;

use rustix::process::{PidfdFlags, geteuid, getpid, pidfd_open};
use shmpipe::{DEFAULT_CAPACITY, sysv};

use super::{Finding, Level};
use crate::units::{bytes, percent};

/// The text of a small file of the kernel, without its newline.
fn kernel(path: &str) -> Option<String> {
    fs::read_to_string(path)
        .ok()
        .map(|text| text.trim().to_owned())
}

pub(super) fn limits() -> Vec<Finding> {
    let limits = match sysv::limits() {
        Ok(limits) => limits,
        Err(error) => {
            return vec![Finding::new(
                Level::Problem,
                "shared memory",
                error.to_string(),
                "there are no rings on this host",
                "use a kernel with System V shared memory, or allow it in the sandbox",
            )];
        }
    };
    let used = percent(limits.segments_in_use, limits.shmmni);
    let level = match used {
        100 => Level::Problem,
        80.. => Level::Warning,
        _ => Level::Ok,
    };
    let count = format!("{} of {} ({used}%)", limits.segments_in_use, limits.shmmni);
    let pages = percent(limits.pages_in_use, limits.shmall);
    let memory = format!(
        "{} of {} ({pages}%)",
        bytes(limits.pages_in_use.saturating_mul(sysv::page_size() as u64)),
        bytes(limits.shmall.saturating_mul(sysv::page_size() as u64))
    );
    let needed = (DEFAULT_CAPACITY + sysv::page_size()) as u64;
    let at_limit = |level, subject, found: String, means, advice| match level {
        Level::Ok => Finding::ok(subject, found),
        level => Finding::new(level, subject, found, means, advice),
    };
    let is_low = |bad, level| if bad { level } else { Level::Ok };
    vec![
        at_limit(
            level,
            "segments",
            count,
            "each ring takes one; at the limit none can be made",
            "`shmpipe rm --stale`, `ipcrm`, or `sysctl kernel.shmmni=N`",
        ),
        at_limit(
            is_low(limits.shmmax < needed, Level::Warning),
            "largest segment",
            bytes(limits.shmmax),
            "a ring of the default capacity cannot be made",
            "`sysctl kernel.shmmax=N`, or a smaller --capacity",
        ),
        at_limit(
            is_low(pages >= 80, Level::Warning),
            "memory of segments",
            memory,
            "at the limit no ring can be made",
            "`sysctl kernel.shmall=N`, or remove segments",
        ),
    ]
}

pub(super) fn rmid_forced() -> Finding {
    match kernel("/proc/sys/kernel/shm_rmid_forced").as_deref() {
        Some("1") => Finding::new(
            Level::Warning,
            "shm_rmid_forced",
            "1",
            "persistent rings are refused, since the kernel would remove them",
            "`sysctl kernel.shm_rmid_forced=0`",
        ),
        found => Finding::ok("shm_rmid_forced", found.unwrap_or("unknown")),
    }
}

/// Finds the setting in the files of systemd. The last setting counts, and files in
/// folders come after the main file.
pub(super) fn remove_ipc() -> Finding {
    const SUBJECT: &str = "RemoveIPC of systemd-logind";
    if !Path::new("/run/systemd/system").exists() {
        return Finding::ok(SUBJECT, "systemd does not run here");
    }
    let mut files = vec![PathBuf::from("/etc/systemd/logind.conf")];
    for folder in ["/usr/lib", "/run", "/etc"] {
        let folder = format!("{folder}/systemd/logind.conf.d");
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut parts: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        parts.sort();
        files.append(&mut parts);
    }
    let texts = files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok());
    let settings: Vec<String> = texts
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|line| line.trim().strip_prefix("RemoveIPC=").map(str::to_owned))
        .collect();
    let last = settings.last().map_or("yes", String::as_str);
    if ["no", "false", "off", "0"].contains(&last.to_ascii_lowercase().as_str()) {
        return Finding::ok(SUBJECT, last);
    }
    match geteuid().as_raw() < 1000 {
        true => Finding::ok(SUBJECT, "yes, but not for system users such as this one"),
        false => Finding::new(
            Level::Warning,
            SUBJECT,
            "yes",
            "rings that nobody has attached go when this user's last session ends",
            "use a system user, `loginctl enable-linger`, or RemoveIPC=no",
        ),
    }
}

pub(super) fn ipc_namespace() -> Finding {
    const SUBJECT: &str = "IPC namespace";
    let own = fs::read_link("/proc/self/ns/ipc");
    match (own, fs::read_link("/proc/1/ns/ipc")) {
        (Ok(own), Ok(first)) if own != first => Finding::new(
            Level::Note,
            SUBJECT,
            "not that of process 1",
            "only processes of this namespace find these rings",
            "share it between containers: see the guide on deployment",
        ),
        (Ok(_), Ok(_)) => Finding::ok(SUBJECT, "that of process 1"),
        (Ok(own), _) => Finding::ok(SUBJECT, own.to_string_lossy()),
        _ => Finding::new(
            Level::Warning,
            "/proc",
            "cannot be read",
            "deaths of peers are noticed by the number of attachments alone",
            "mount /proc",
        ),
    }
}

/// <https://man7.org/linux/man-pages/man2/membarrier.2.html>
pub(super) fn membarrier() -> Finding {
    // SAFETY: a query changes nothing.
    let known = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_QUERY, 0, 0) };
    let wanted = libc::c_long::from(libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED);
    match known > 0 && known & wanted != 0 {
        true => Finding::ok("membarrier", "there"),
        false => Finding::new(
            Level::Note,
            "membarrier",
            "not there",
            "each publication costs a fence, so small writes are slower",
            "allow membarrier(2) in the sandbox, or use Linux 4.16 or later",
        ),
    }
}

pub(super) fn pidfd() -> Finding {
    match pidfd_open(getpid(), PidfdFlags::empty()) {
        Ok(_) => Finding::ok("pidfd", "there"),
        Err(error) => Finding::new(
            Level::Note,
            "pidfd",
            error.to_string(),
            "the death of a peer is found by its number and start time instead",
            "allow pidfd_open(2) in the sandbox, or use Linux 5.3 or later",
        ),
    }
}

/// <https://docs.kernel.org/userspace-api/futex2.html>
pub(super) fn futex_waitv() -> Finding {
    let none = ptr::null::<libc::c_void>();
    // SAFETY: no waiters are read, since their number is 0, which the kernel refuses.
    unsafe { libc::syscall(libc::SYS_futex_waitv, none, 0, 0, none, 0) };
    match std::io::Error::last_os_error().raw_os_error() {
        Some(libc::EINVAL) => Finding::ok("FUTEX_WAITV", "there"),
        _ => Finding::new(
            Level::Note,
            "FUTEX_WAITV",
            "not there",
            "one thread cannot sleep on several rings in one call",
            "allow futex_waitv(2) in the sandbox, or use Linux 5.16 or later",
        ),
    }
}

pub(super) fn processors() -> Finding {
    const SUBJECT: &str = "processors and load";
    let processors = available_parallelism().map_or(1, usize::from);
    let load = kernel("/proc/loadavg").unwrap_or_default();
    let load: f64 = load
        .split(' ')
        .next()
        .and_then(|load| load.parse().ok())
        .unwrap_or(0.0);
    let found = format!("{processors}, load {load:.1}");
    if processors == 1 {
        return Finding::new(
            Level::Warning,
            SUBJECT,
            found,
            "both sides share one processor, so a ring is hardly faster than a pipe",
            "give both sides a processor each",
        );
    }
    match load > processors as f64 {
        true => Finding::new(
            Level::Note,
            SUBJECT,
            found,
            "sides wait for processors, so streams are slower than on an idle host",
            "look with top(1) who uses them",
        ),
        false => Finding::ok(SUBJECT, found),
    }
}

pub(super) fn pipes() -> Finding {
    let most = kernel("/proc/sys/fs/pipe-max-size").and_then(|text| text.parse().ok());
    match most {
        Some(most) if most < crate::pipes::WIDE_STDOUT as u64 => Finding::new(
            Level::Note,
            "pipe-max-size",
            bytes(most),
            "recv widens the pipe of stdout to 1M, and may not here",
            "`sysctl fs.pipe-max-size=1048576`",
        ),
        most => Finding::ok("pipe-max-size", most.map_or("unknown".to_owned(), bytes)),
    }
}
