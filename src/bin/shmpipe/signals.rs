//! The signals that end a stream: SIGINT, SIGTERM and SIGHUP.
//!
//! Each sets a flag, which ends waiting in the library, and writes a byte to a
//! socket, which wakes the [watcher](crate::watch).

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

/// What a signal leaves behind.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Set by a signal.
    pub(crate) flag: Arc<AtomicBool>,
    /// Gets a byte from a signal.
    pub(crate) socket: UnixStream,
}

impl Signals {
    pub(crate) fn catch() -> io::Result<Signals> {
        let flag = Arc::new(AtomicBool::new(false));
        let (socket, written) = UnixStream::pair()?;
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            if signal == SIGHUP && is_ignored(SIGHUP) {
                continue; // nohup(1)
            }
            flag::register(signal, Arc::clone(&flag))?;
            low_level::pipe::register(signal, written.try_clone()?)?;
        }
        Ok(Signals { flag, socket })
    }
}

/// Whether this process was started with `signal` ignored; not if the kernel
/// does not say.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.unwrap_or(0) & (1 << (signal - 1)) != 0
}
