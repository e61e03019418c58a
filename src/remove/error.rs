//! Why a ring was not removed, and who uses it.

use std::fmt;
use std::io;

use crate::error::{OpenError, Place};
use crate::open::classify::{Class, Found};
use crate::peer::{Occupant, occupant};
use crate::role::Role;
use crate::segment::mapping::inspect;
use crate::sys::sysv::{self, SegmentId};

/// Why a ring was not removed.
///
/// # Examples
///
/// ```
/// use shmpipe::{Options, RemoveError};
///
/// # let path = std::env::temp_dir().join(format!("shmpipe-doc-in-use-{}", std::process::id()));
/// # std::fs::write(&path, "")?;
/// let consumer = Options::new().persistent(true).open_consumer(&path)?;
/// let removed = Options::new().remove(&path);
/// assert!(matches!(removed, Err(RemoveError::InUse { .. })));
/// Options::new().force_remove(&path)?; // by force
/// # drop(consumer);
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum RemoveError {
    /// A process has the ring attached, or may attach it again.
    #[non_exhaustive]
    InUse {
        /// The place of the ring.
        at: Place,
        /// The segment's id.
        id: SegmentId,
        /// The user of the ring.
        by: User,
    },
    /// There is no such ring, or the segment could not be judged.
    Open(OpenError),
}

/// The user that keeps a ring from being removed. A process id is that of the
/// process's own pid namespace.
///
/// # Examples
///
/// ```
/// use shmpipe::{Options, RemoveError, User};
///
/// # let path = std::env::temp_dir().join(format!("shmpipe-doc-user-{}", std::process::id()));
/// # std::fs::write(&path, "")?;
/// let consumer = Options::new().persistent(true).open_consumer(&path)?;
/// let removed = Options::new().remove(&path);
/// let Err(RemoveError::InUse { by: User::Sides { consumer: pid, .. }, .. }) = removed else { panic!() };
/// assert_eq!(pid, Some(std::process::id()));
/// # drop(consumer);
/// # Options::new().remove(&path)?;
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum User {
    /// The creator has not finished making the ring. `None` if the kernel does not
    /// say who the creator is. Force does not remove such a ring.
    Maker(Option<u32>),
    /// Processes that hold a role: one or both, or none if they have gone meanwhile.
    Sides {
        /// The producer's process id; 0 if unknown.
        producer: Option<u32>,
        /// The consumer's process id; 0 if unknown.
        consumer: Option<u32>,
    },
    /// Processes that have the ring attached without a role.
    Others {
        /// Attachments of the segment. A handle counts two.
        attached: u64,
        /// The process that last attached or detached the ring. `None` if the
        /// kernel does not say.
        last: Option<u32>,
    },
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            User::Maker(Some(pid)) => write!(f, "process {pid}, which has not finished it"),
            User::Maker(None) => f.write_str("its maker, who has not finished it"),
            User::Sides { producer, consumer } => {
                let side = |role, pid| match pid {
                    0 => format!("the {role} (process id unknown)"),
                    pid => format!("the {role} (process {pid})"),
                };
                let sides = [(Role::Producer, producer), (Role::Consumer, consumer)];
                let sides: Vec<String> = sides
                    .into_iter()
                    .filter_map(|(role, pid)| Some(side(role, pid?)))
                    .collect();
                match &sides[..] {
                    [] => f.write_str("nobody any more"),
                    sides => f.write_str(&sides.join(" and ")),
                }
            }
            User::Others { attached, last } => {
                write!(f, "others without a role (attached {attached} times")?;
                if let Some(pid) = last {
                    write!(f, ", last by process {pid}")?;
                }
                f.write_str(")")
            }
        }
    }
}

impl RemoveError {
    /// The error for the segment `id`, which `found` says is in use.
    pub(super) fn in_use(id: SegmentId, found: &Found) -> RemoveError {
        let known = |pid: i32| u32::try_from(pid).ok().filter(|&pid| pid != 0);
        let stat = sysv::stat(id).ok();
        let by = match (&found.class, &found.attachment) {
            (Class::Newborn, _) => User::Maker(stat.and_then(|stat| known(stat.creator_pid))),
            (_, attachment) => {
                let header = attachment
                    .as_ref()
                    .and_then(|attachment| inspect::header_of(attachment).ok());
                let holder = |role| match occupant(header?, inspect::load_state(header?), role) {
                    Occupant::Process(pid) => Some(pid),
                    _ => None,
                };
                let (producer, consumer) = (holder(Role::Producer), holder(Role::Consumer));
                match stat {
                    Some(stat) if producer.is_none() && consumer.is_none() => User::Others {
                        // The attachment of this inspection does not count.
                        attached: stat
                            .attached
                            .saturating_sub(u64::from(attachment.is_some())),
                        last: known(stat.last_pid).filter(|&pid| pid != std::process::id()),
                    },
                    _ => User::Sides { producer, consumer },
                }
            }
        };
        let at = Place::default(); // the caller fills in the place
        RemoveError::InUse { at, id, by }
    }

    /// Adds the place of the ring to the error.
    pub(super) fn located(mut self, place: &Place) -> RemoveError {
        match self {
            RemoveError::InUse { ref mut at, .. } => {
                at.complete(place);
                self
            }
            RemoveError::Open(error) => RemoveError::Open(error.located(place)),
        }
    }
}

impl fmt::Display for RemoveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RemoveError::InUse { at, id, by } => {
                if at.path().is_some() {
                    at.fmt(f)?;
                }
                write!(f, "segment {id} is in use by {by}: ")?;
                match by {
                    User::Maker(_) => f.write_str("try again once that has been done"),
                    _ => f.write_str("to remove it all the same, use force (--force)"),
                }
            }
            RemoveError::Open(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RemoveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RemoveError::InUse { .. } => None,
            RemoveError::Open(error) => Some(error),
        }
    }
}

impl RemoveError {
    fn io_kind(&self) -> io::ErrorKind {
        match self {
            RemoveError::InUse { .. } => io::ErrorKind::ResourceBusy,
            RemoveError::Open(error) => error.kind(),
        }
    }

    fn own_errno(&self) -> Option<i32> {
        match self {
            RemoveError::InUse { .. } => None,
            RemoveError::Open(error) => Some(error.errno()),
        }
    }
}

crate::sys::errno::numbered!(RemoveError);

impl From<RemoveError> for io::Error {
    fn from(error: RemoveError) -> io::Error {
        match error {
            RemoveError::Open(error) => error.into(),
            error => io::Error::new(error.kind(), error),
        }
    }
}

impl From<OpenError> for RemoveError {
    fn from(error: OpenError) -> RemoveError {
        RemoveError::Open(error)
    }
}

impl From<sysv::SysvError> for RemoveError {
    fn from(error: sysv::SysvError) -> RemoveError {
        RemoveError::Open(error.into())
    }
}
