//! Removing rings on purpose.

use std::path::Path;

use crate::error::{OpenError, Place};
use crate::open;
use crate::open::classify::{Class, Found, Requirements, classify};
use crate::open::find::{may_hide_a_ring, named_by};
use crate::options::Options;
use crate::peer::{Occupant, occupant};
use crate::role::Role;
use crate::segment::region::inspect;
use crate::segment::state::LifeCycleKind;
use crate::sys::sysv::{self, Mode, SegmentId};
use crate::tuning::REMOVING;
use crate::wait::deadline::Deadline;

/// Why a ring was not removed.
///
/// # Examples
///
/// ```
/// use shmpipe::{Options, RemoveError};
///
/// # let path = std::env::temp_dir().join(format!("shmpipe-doc-in-use-{}", std::process::id()));
/// # std::fs::write(&path, "")?;
/// let _consumer = Options::new().persistent(true).open_consumer(&path)?;
/// let removed = Options::new().remove(&path);
/// assert!(matches!(removed, Err(RemoveError::InUse { .. })));
/// Options::new().force_remove(&path)?; // by force
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

/// Who uses a ring that was therefore not removed. Each process id is that of the
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
    /// Processes that hold a role: one or both.
    Sides {
        /// The producer's process id.
        producer: Option<u32>,
        /// The consumer's process id.
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

impl std::fmt::Display for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            User::Maker(Some(pid)) => write!(f, "process {pid}, which has not finished it"),
            User::Maker(None) => f.write_str("its maker, who has not finished it"),
            User::Sides {
                producer: Some(producer),
                consumer: Some(consumer),
            } => write!(
                f,
                "the producer (process {producer}) and the consumer (process {consumer})"
            ),
            User::Sides {
                producer: Some(pid),
                ..
            } => write!(f, "the producer (process {pid})"),
            User::Sides {
                consumer: Some(pid),
                ..
            } => write!(f, "the consumer (process {pid})"),
            User::Sides { .. } => f.write_str("nobody any more"),
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
    fn in_use(id: SegmentId, found: &Found) -> RemoveError {
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
                        // Without the attachment of this inspection.
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
    fn located(mut self, place: &Place) -> RemoveError {
        match self {
            RemoveError::InUse { ref mut at, .. } => {
                at.complete(place);
                self
            }
            RemoveError::Open(error) => RemoveError::Open(error.located(place)),
        }
    }
}

impl std::fmt::Display for RemoveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
    fn io_kind(&self) -> std::io::ErrorKind {
        match self {
            RemoveError::InUse { .. } => std::io::ErrorKind::ResourceBusy,
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

impl From<RemoveError> for std::io::Error {
    fn from(error: RemoveError) -> std::io::Error {
        match error {
            RemoveError::Open(error) => error.into(),
            error => std::io::Error::new(error.kind(), error),
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

/// Removes the ring whose segment is `id`. Removes nothing but rings.
/// [`remove_stale`] describes which segments count as half-made rings.
///
/// # Errors
///
/// [`RemoveError::InUse`] while a process has the ring attached: see
/// [`force_remove`]. [`RemoveError::Open`] if the segment is not a ring that this
/// process may remove.
///
/// # Examples
///
/// ```
/// use shmpipe::{OpenError, Options};
///
/// # let path = std::env::temp_dir().join(format!("shmpipe-doc-remove-{}", std::process::id()));
/// # std::fs::write(&path, "")?;
/// drop(Options::new().persistent(true).open_consumer(&path)?);
/// shmpipe::remove(Options::new().snapshot(&path)?.id)?;
/// assert!(matches!(Options::new().snapshot(&path), Err(OpenError::NoRing { .. })));
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn remove(id: SegmentId) -> Result<(), RemoveError> {
    remove_id(id, Force::Not)
}

/// Removes the ring whose segment is `id`, even if processes have it attached.
/// Removes nothing but rings. Those processes continue, but nobody can find the
/// ring any more.
///
/// # Errors
///
/// [`RemoveError::InUse`] while the ring is being made. [`RemoveError::Open`] if
/// the segment is not a ring that this process may remove.
///
/// # Examples
///
/// ```
/// use shmpipe::{Options, RemoveError};
///
/// # let path = std::env::temp_dir().join(format!("shmpipe-doc-force-{}", std::process::id()));
/// # std::fs::write(&path, "")?;
/// let consumer = Options::new().persistent(true).open_consumer(&path)?;
/// let id = consumer.id().unwrap();
/// assert!(matches!(shmpipe::remove(id), Err(RemoveError::InUse { .. })));
/// shmpipe::force_remove(id)?;
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn force_remove(id: SegmentId) -> Result<(), RemoveError> {
    remove_id(id, Force::Attached)
}

/// Whether attachments prevent a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Force {
    Not,
    /// Removes the ring even if processes have it attached.
    Attached,
}

fn remove_id(id: SegmentId, force: Force) -> Result<(), RemoveError> {
    let required = Requirements::by_id(any_mode(), &[]);
    let deadline = Deadline::new(Some(REMOVING), None);
    remove_classified(id, &required, force, &deadline)
        .map_err(|error| error.located(&Place::segment(id)))
}

/// Removing the ring of a path. Only the [project id](Options::project) of the
/// options counts.
impl Options {
    /// Removes the ring of the file `path`, under the conditions of [`remove`].
    ///
    /// # Errors
    ///
    /// The errors of [`remove`], and [`OpenError::NoRing`] if there is no ring,
    /// [`OpenError::Path`], [`OpenError::Key`].
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{OpenError, Options};
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-remove-path-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// let mut options = Options::new();
    /// drop(options.persistent(true).open_consumer(&path)?);
    /// options.remove(&path)?;
    /// assert!(matches!(options.snapshot(&path), Err(OpenError::NoRing { .. })));
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn remove(&self, path: impl AsRef<Path>) -> Result<(), RemoveError> {
        self.remove_path(path.as_ref(), Force::Not)
    }

    /// Removes the ring of the file `path`, even if processes have it attached,
    /// under the conditions of [`force_remove`].
    ///
    /// # Errors
    ///
    /// The errors of [`force_remove`], and [`OpenError::NoRing`] if there is no
    /// ring, [`OpenError::Path`], [`OpenError::Key`].
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{Options, RemoveError};
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-force-path-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// let mut options = Options::new();
    /// let _consumer = options.persistent(true).open_consumer(&path)?;
    /// assert!(matches!(options.remove(&path), Err(RemoveError::InUse { .. })));
    /// options.force_remove(&path)?;
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn force_remove(&self, path: impl AsRef<Path>) -> Result<(), RemoveError> {
        self.remove_path(path.as_ref(), Force::Attached)
    }

    fn remove_path(&self, path: &Path, force: Force) -> Result<(), RemoveError> {
        let file = self.key_file(path)?;
        let deadline = Deadline::new(Some(REMOVING), None);
        let locked = file.lock(&deadline);
        let _lock = locked.map_err(|error| error.located(&file.place()))?;
        let required = Requirements::by_key(any_mode(), &[], file.key(), Some(file.identity()));
        named_by(&file)
            .map_err(RemoveError::from)
            .and_then(|id| remove_classified(id, &required, force, &deadline))
            .map_err(|error| error.located(&file.place()))
    }
}

fn remove_classified(
    id: SegmentId,
    required: &Requirements,
    force: Force,
    deadline: &Deadline,
) -> Result<(), RemoveError> {
    let force = force == Force::Attached;
    let found = classify(id, required, deadline)?;
    match found.class {
        Class::Absent => Err(OpenError::removed(id).into()),
        Class::Newborn => Err(RemoveError::in_use(id, &found)),
        // The meaning of this version's words is unknown. The attach count proves
        // that nobody uses the ring.
        Class::OtherVersion(_) if force || found.alone => Ok(sysv::remove_if_there(id)?),
        Class::OtherVersion(_) => Err(RemoveError::in_use(id, &found)),
        Class::Live(_) | Class::Spent if !force && !found.alone => {
            Err(RemoveError::in_use(id, &found))
        }
        // `found` keeps the segment attached, so the id still means this segment.
        Class::Stillborn | Class::Spent => Ok(sysv::remove_if_there(id)?),
        Class::Live(geometry) | Class::Orphan(geometry) if force => {
            Ok(open::retire_by_force(id, &geometry)?)
        }
        Class::Live(geometry) | Class::Orphan(geometry) => {
            if open::retire(id, &geometry, found.state)? {
                Ok(())
            } else {
                Err(RemoveError::in_use(id, &found))
            }
        }
        class => Err(class.refusal(id).unwrap_or(OpenError::removed(id)).into()),
    }
}

/// Removes every segment that dead processes left behind: rings that nobody joined,
/// and half-made rings. Never removes a persistent ring. Returns the ids of the
/// removed segments.
///
/// A creator that dies before it writes a byte leaves a segment that looks like any
/// empty one. Such a segment is removed if it has the size of a ring, is all zero,
/// has mode 0600, and belongs to this user. Also, nobody has it attached, and its
/// creator is dead. This can remove another program's segment.
///
/// # Errors
///
/// An error when the kernel does not list its segments. Otherwise the first error
/// of inspecting or removing a segment, after all others were tried.
///
/// # Examples
///
/// ```
/// use shmpipe::Options;
///
/// # let path = std::env::temp_dir().join(format!("shmpipe-doc-stale-{}", std::process::id()));
/// # std::fs::write(&path, "")?;
/// let _consumer = Options::new().wait_for_peer(false).open_consumer(&path)?;
/// let id = Options::new().snapshot(&path)?.id;
/// assert!(!shmpipe::remove_stale()?.contains(&id)); // its opener lives
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn remove_stale() -> Result<Vec<SegmentId>, RemoveError> {
    let required = Requirements::by_id(any_mode(), &[]);
    let deadline = Deadline::new(Some(REMOVING), None);
    let mut removed = Vec::new();
    let mut failed = None;
    for stat in sysv::list()? {
        if stat.marked_for_removal {
            continue;
        }
        let id = stat.id;
        let found = match classify(id, &required, &deadline) {
            Ok(found) => found,
            Err(error) => {
                if may_hide_a_ring(&error) {
                    failed.get_or_insert(OpenError::System(error));
                }
                continue; // removed, or not for this process to judge
            }
        };
        let mode = found
            .attachment
            .as_ref()
            .map(|attachment| attachment.stat().mode);
        let done = match found.class {
            // The segment is all zero, and only its size suggests a ring. The mode
            // must be the default too.
            Class::Stillborn if mode != Some(Mode::OWNER_ONLY) => continue,
            Class::Stillborn | Class::Spent => sysv::remove_if_there(id)
                .map(|()| true)
                .map_err(OpenError::from),
            Class::Orphan(geometry) => open::retire(id, &geometry, found.state),
            // An anonymous ring whose creator died before marking it for removal.
            Class::Live(geometry) if geometry.kind == LifeCycleKind::Anonymous && found.alone => {
                open::retire(id, &geometry, found.state)
            }
            _ => continue,
        };
        match done {
            Ok(true) => removed.push(id),
            Ok(false) => {}
            Err(error) => {
                failed.get_or_insert(error);
            }
        }
    }
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(removed),
    }
}

/// A mode that trusts every segment of this user: for removal, its permission bits
/// do not matter.
fn any_mode() -> Mode {
    Mode::new(0o777).unwrap_or_default()
}
