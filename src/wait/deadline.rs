//! How long a caller is prepared to wait, by the monotonic clock, and the flag
//! by which it changes its mind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::{OpenError, Place};

/// A limit on one operation.
#[derive(Clone, Debug)]
pub(crate) struct Deadline {
    started: Instant,
    at: Option<Instant>,
    cancel: Option<Arc<AtomicBool>>,
}

impl Deadline {
    /// Starts now. A limit too far away for the clock is none.
    pub(crate) fn new(limit: Option<Duration>, cancel: Option<&Arc<AtomicBool>>) -> Deadline {
        let started = Instant::now();
        Deadline {
            started,
            at: limit.and_then(|limit| started.checked_add(limit)),
            cancel: cancel.cloned(),
        }
    }

    pub(crate) fn at(&self) -> Option<Instant> {
        self.at
    }

    /// Fails once the caller has changed its mind.
    pub(crate) fn check_cancelled(&self) -> Result<(), OpenError> {
        match is_set(self.cancel.as_ref()) {
            true => Err(OpenError::Cancelled),
            false => Ok(()),
        }
    }

    /// Does not count the time that `work` takes.
    pub(crate) fn without<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        self.at = self.at.and_then(|at| at.checked_add(start.elapsed()));
        done
    }

    /// The same limit, but no later than `most` from now.
    pub(crate) fn at_most(&self, most: Duration) -> Instant {
        let latest = Instant::now() + most;
        self.at.map_or(latest, |at| at.min(latest))
    }

    /// Fails once the time is over or the caller has changed its mind; `what`
    /// says what is being waited for.
    pub(crate) fn check(&self, what: &'static str) -> Result<(), OpenError> {
        self.check_cancelled()?;
        if is_past(self.at) {
            return Err(self.timed_out(what));
        }
        Ok(())
    }

    pub(crate) fn timed_out(&self, what: &'static str) -> OpenError {
        OpenError::TimedOut {
            at: Place::default(), // the caller's caller knows
            after: self.started.elapsed(),
            what,
        }
    }

    /// Sleeps a moment between two tries.
    pub(crate) fn pause(&self, what: &'static str) -> Result<(), OpenError> {
        self.check(what)?;
        std::thread::sleep(Duration::from_millis(1));
        Ok(())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Whether there is a deadline, and it has passed.
pub(crate) fn is_past(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

/// Whether a cancel flag is there and set.
pub(crate) fn is_set(flag: Option<&Arc<AtomicBool>>) -> bool {
    // Relaxed: the flag stands for itself.
    flag.is_some_and(|flag| flag.load(Ordering::Relaxed))
}
