//! The configuration of a handle.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::segment::state::LifeCycleKind;
use crate::wait::WaitPolicy;
use crate::wait::coalesce::Pace;

/// How a handle waits, batches and leaves.
#[derive(Clone, Debug)]
pub(crate) struct HandleConfig {
    pub(crate) timeout: Option<Duration>,
    pub(crate) cancel: Option<Arc<AtomicBool>>,
    pub(crate) policy: WaitPolicy,
    pub(crate) pace: Pace,
    /// Bytes that a producer holds back before publishing.
    pub(crate) batch: usize,
    pub(crate) abort_on_drop: bool,
    pub(crate) require_consumer: Option<bool>,
}

impl HandleConfig {
    pub(crate) fn new() -> HandleConfig {
        HandleConfig {
            timeout: None,
            cancel: None,
            policy: WaitPolicy::default(),
            pace: Pace::default(),
            batch: 0,
            abort_on_drop: false,
            require_consumer: None,
        }
    }

    /// Whether a producer of a ring of this kind fails without a consumer.
    pub(crate) fn needs_consumer(&self, kind: LifeCycleKind) -> bool {
        let default = kind != LifeCycleKind::Persistent;
        !kind.persists() || self.require_consumer.unwrap_or(default)
    }
}
