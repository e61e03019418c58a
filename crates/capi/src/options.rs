//! `shmpipe_options`: what C asks for when it opens a ring.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ring::{Options, Pace, WaitPolicy};

use crate::failure::Failure;

/// `shmpipe_flag`.
pub(crate) type Flag = AtomicBool;

/// `shmpipe_options`. A field may be added at the end only, and its zero must be the default.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct RawOptions {
    /// The size of the struct in the caller's header.
    pub(crate) size: usize,
    pub(crate) capacity: u64,
    pub(crate) timeout_ns: i64,
    pub(crate) flags: u32,
    pub(crate) mode: u32,
    pub(crate) project: u32,
    pub(crate) owner: u32,
    pub(crate) wait_policy: u32,
    pub(crate) pace: u32,
    pub(crate) spin_ns: u64,
    pub(crate) batch: u64,
    pub(crate) cancel: *const Flag,
}

impl RawOptions {
    /// `SHMPIPE_OPTIONS_INIT`.
    pub(crate) const DEFAULT: RawOptions = RawOptions {
        size: size_of::<RawOptions>(),
        capacity: 0,
        timeout_ns: -1,
        flags: 0,
        mode: 0,
        project: 0,
        owner: 0,
        wait_policy: 0,
        pace: 0,
        spin_ns: 0,
        batch: 0,
        cancel: std::ptr::null(),
    };
}

pub(crate) const PERSISTENT: u32 = 1;
pub(crate) const RESUME: u32 = 1 << 1;
pub(crate) const NO_WAIT: u32 = 1 << 2;
pub(crate) const WAIT: u32 = 1 << 3;
pub(crate) const CREATE_FILE: u32 = 1 << 4;
pub(crate) const PREFAULT: u32 = 1 << 5;
pub(crate) const ABORT_ON_FREE: u32 = 1 << 6;
pub(crate) const TRUST_OWNER: u32 = 1 << 7;
pub(crate) const REQUIRE_CONSUMER: u32 = 1 << 8;
pub(crate) const NO_CONSUMER_NEEDED: u32 = 1 << 9;
const ALL: u32 = (1 << 10) - 1;

/// How long a call may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timeout {
    Forever,
    Try,
    For(Duration),
}

impl Timeout {
    #[inline]
    pub(crate) fn new(nanoseconds: i64) -> Result<Timeout, Failure> {
        match nanoseconds {
            -1 => Ok(Timeout::Forever),
            0 => Ok(Timeout::Try),
            1.. => Ok(Timeout::For(Duration::from_nanos(nanoseconds as u64))),
            _ => Err(Failure::invalid(
                "timeout_ns is less than -1: -1 waits for ever, and 0 tries once",
            )),
        }
    }
}

/// Turns C's options into those of the library. `cancel` is the caller's flag.
pub(crate) fn options(raw: &RawOptions, cancel: Option<Arc<Flag>>) -> Result<Options, Failure> {
    let has = |flag: u32| raw.flags & flag != 0;
    if raw.flags & !ALL != 0 {
        return Err(Failure::invalid("options.flags has an unknown bit"));
    }
    let both = |one, other| has(one) && has(other);
    if both(NO_WAIT, WAIT) || both(REQUIRE_CONSUMER, NO_CONSUMER_NEEDED) {
        return Err(Failure::invalid("two of options.flags exclude each other"));
    }
    let mut options = Options::new();
    if raw.capacity > 0 {
        let asked = usize::try_from(raw.capacity);
        options.capacity(asked.map_err(|_| Failure::invalid("options.capacity is too large"))?);
    }
    options.timeout(match Timeout::new(raw.timeout_ns)? {
        Timeout::Forever => None,
        Timeout::Try => Some(Duration::ZERO),
        Timeout::For(limit) => Some(limit),
    });
    if raw.mode > 0 {
        options.mode(raw.mode);
    }
    if raw.project > 0 {
        options.project(raw.project);
    }
    if has(TRUST_OWNER) {
        options.owner(raw.owner);
    }
    if has(NO_WAIT) || has(WAIT) {
        options.wait_for_peer(has(WAIT));
    }
    if has(REQUIRE_CONSUMER) || has(NO_CONSUMER_NEEDED) {
        options.require_consumer(has(REQUIRE_CONSUMER));
    }
    options
        .persistent(has(PERSISTENT))
        .resume(has(RESUME))
        .create_file(has(CREATE_FILE))
        .prefault(has(PREFAULT))
        .abort_on_drop(has(ABORT_ON_FREE))
        .wait_policy(wait_policy(raw)?)
        .pace(pace(raw)?)
        .batch(usize::try_from(raw.batch).unwrap_or(usize::MAX));
    if let Some(cancel) = cancel {
        options.cancel_on(cancel);
    }
    Ok(options)
}

fn wait_policy(raw: &RawOptions) -> Result<WaitPolicy, Failure> {
    match raw.wait_policy {
        0 => Ok(WaitPolicy::Adaptive),
        1 => Ok(WaitPolicy::Park),
        2 => Ok(WaitPolicy::Spin),
        3 => Ok(WaitPolicy::SpinThenPark(Duration::from_nanos(raw.spin_ns))),
        _ => Err(Failure::invalid("options.wait_policy is unknown")),
    }
}

fn pace(raw: &RawOptions) -> Result<Pace, Failure> {
    match raw.pace {
        0 => Ok(Pace::Balanced),
        1 => Ok(Pace::Latency),
        2 => Ok(Pace::Throughput),
        _ => Err(Failure::invalid("options.pace is unknown")),
    }
}
