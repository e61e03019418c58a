//! The configuration of an open.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::error::OpenError;
use crate::segment::identity::MIN_RING_OFFSET;
use crate::sys::sysv::Mode;
use crate::wait::deadline::Deadline;

/// The default capacity of a ring, in bytes.
///
/// # Examples
///
/// ```
/// let ring = shmpipe::Options::new().create_anonymous()?;
/// assert_eq!(ring.capacity(), shmpipe::DEFAULT_CAPACITY);
/// # Ok::<(), std::io::Error>(())
/// ```
pub const DEFAULT_CAPACITY: usize = 4 << 20;

/// The largest capacity in bytes. An address space must hold the header and two
/// views of the ring.
const MAX_CAPACITY: usize = 1 << 61;

/// How a ring is found, made and claimed.
#[derive(Clone, Debug)]
pub(crate) struct OpenConfig {
    pub(crate) capacity: Option<usize>,
    pub(crate) mode: Mode,
    /// Users that are trusted besides the effective user.
    pub(crate) owners: Vec<u32>,
    pub(crate) persistent: bool,
    /// Whether opening waits for the other side. `None` stands for the default of
    /// the life cycle.
    pub(crate) wait_for_peer: Option<bool>,
    pub(crate) prefault: bool,
    pub(crate) resume: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) cancel: Option<Arc<AtomicBool>>,
}

impl OpenConfig {
    pub(crate) fn new() -> OpenConfig {
        OpenConfig {
            capacity: None,
            mode: Mode::OWNER_ONLY,
            owners: Vec::new(),
            persistent: false,
            wait_for_peer: None,
            prefault: false,
            resume: false,
            timeout: None,
            cancel: None,
        }
    }

    /// Whether opening by path or key waits for the other side.
    pub(crate) fn waits_for_peer(&self) -> bool {
        self.wait_for_peer.unwrap_or(!self.persistent)
    }

    /// The deadline of an opening call that starts now.
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::new(self.timeout, self.cancel.as_ref())
    }

    /// The capacity that a ring made with these options has.
    pub(crate) fn ring_bytes(&self) -> Result<usize, OpenError> {
        let asked = self.capacity.unwrap_or(DEFAULT_CAPACITY);
        if asked == 0 || asked > MAX_CAPACITY {
            return Err(OpenError::Capacity { asked });
        }
        let least = crate::sys::sysv::page_size().max(MIN_RING_OFFSET);
        Ok(asked.next_power_of_two().max(least))
    }
}
