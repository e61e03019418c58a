//! The limit on how long a call may wait, by the monotonic clock, and the flag that cancels the
//! call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::{OpenError, Place};

/// The limit on one operation.
#[derive(Clone, Debug)]
pub(crate) struct Deadline {
    started: Instant,
    at: Option<Instant>,
    cancel: Option<Arc<AtomicBool>>,
}

impl Deadline {
    /// A limit that begins now. A limit beyond the clock's range counts as no limit.
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

    /// Fails if the caller has set the cancel flag.
    pub(crate) fn check_cancelled(&self) -> Result<(), OpenError> {
        match is_set(self.cancel.as_ref()) {
            true => Err(OpenError::Cancelled),
            false => Ok(()),
        }
    }

    /// Runs `work`, whose duration does not count against the limit.
    pub(crate) fn exclude<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        self.at = self.at.and_then(|at| at.checked_add(start.elapsed()));
        done
    }

    /// The end of the limit, but no later than `most` from now.
    pub(crate) fn at_most(&self, most: Duration) -> Instant {
        let latest = Instant::now() + most;
        self.at.map_or(latest, |at| at.min(latest))
    }

    /// Fails if the time is over or the cancel flag is set. `what` says what is awaited.
    pub(crate) fn check(&self, what: &'static str) -> Result<(), OpenError> {
        self.check_cancelled()?;
        if is_past(self.at) {
            return Err(self.timed_out(what));
        }
        Ok(())
    }

    pub(crate) fn timed_out(&self, what: &'static str) -> OpenError {
        OpenError::TimedOut {
            at: Place::default(), // filled in by `OpenError::located`
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

/// Whether there is a deadline and it has passed.
pub(crate) fn is_past(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

/// Whether there is a cancel flag and it is set.
pub(crate) fn is_set(flag: Option<&Arc<AtomicBool>>) -> bool {
    // Relaxed: the flag carries nothing but itself.
    flag.is_some_and(|flag| flag.load(Ordering::Relaxed))
}
