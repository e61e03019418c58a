//! The signals that end a stream: SIGINT, SIGTERM and SIGHUP.
//!
//! Each sets a flag, which ends waiting in the library and which
//! [`Stream`](crate::stream::Stream) looks at after each of its short waits.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::exit::Failure;

/// What a signal leaves behind.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Set by a signal.
    pub(crate) flag: Arc<AtomicBool>,
}

impl Signals {
    pub(crate) fn catch() -> Result<Signals, Failure> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            if signal == SIGHUP && is_ignored(SIGHUP) {
                continue; // nohup(1)
            }
            let registered = flag::register(signal, Arc::clone(&flag));
            registered.map_err(|error: io::Error| Failure::io("signals", &error))?;
        }
        Ok(Signals { flag })
    }

    /// Fails once a signal has come.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        // Relaxed: the flag says all there is to know.
        match self.flag.load(Ordering::Relaxed) {
            true => Err(Failure::interrupted()),
            false => Ok(()),
        }
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
