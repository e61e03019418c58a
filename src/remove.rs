//! Removing rings on purpose.

use std::path::Path;

use crate::error::{OpenError, Place};
use crate::open;
use crate::open::classify::{Class, Found, Requirements, classify};
use crate::open::find::{hides_a_ring, named_by};
use crate::options::Options;
use crate::peer::{Occupant, occupant};
use crate::role::Role;
use crate::segment::region::inspect;
use crate::segment::state::Kind;
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
    /// Somebody has it attached, or may want it again.
    #[non_exhaustive]
    InUse {
        /// Which ring.
        at: Place,
        /// The segment.
        id: SegmentId,
        /// Who uses it.
        by: User,
    },
    /// There is none, or it cannot be told what it is.
    Open(OpenError),
}

/// Who uses a ring that is not removed for that. Process ids are those of the
/// pid namespace that each process is in.
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
    /// Its maker, who has not finished it; `None` where the kernel does not
    /// say who that is. Such a ring is not removed by force either.
    Maker(Option<u32>),
    /// Those who have its roles, one at least.
    Sides {
        /// Who writes.
        producer: Option<u32>,
        /// Who reads.
        consumer: Option<u32>,
    },
    /// Others who have it attached, without a role.
    Others {
        /// How often it is attached; a handle counts two.
        attached: u64,
        /// Who attached or detached it last; `None` where the kernel does not
        /// say.
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
    /// The segment `id`, of which `found` was found, is in use.
    fn in_use(id: SegmentId, found: &Found) -> RemoveError {
        let known = |pid: i32| u32::try_from(pid).ok().filter(|&pid| pid != 0);
        let stat = sysv::stat(id).ok();
        let by = match (&found.class, &found.looked) {
            (Class::Newborn, _) => User::Maker(stat.and_then(|stat| known(stat.creator_pid))),
            (_, looked) => {
                let header = looked
                    .as_ref()
                    .and_then(|looked| inspect::header_of(looked).ok());
                let holder = |role| match occupant(header?, inspect::load_state(header?), role) {
                    Occupant::Process(pid) => Some(pid),
                    _ => None,
                };
                let (producer, consumer) = (holder(Role::Producer), holder(Role::Consumer));
                match stat {
                    Some(stat) if producer.is_none() && consumer.is_none() => User::Others {
                        // Less our own look.
                        attached: stat.attached.saturating_sub(u64::from(looked.is_some())),
                        last: known(stat.last_pid).filter(|&pid| pid != std::process::id()),
                    },
                    _ => User::Sides { producer, consumer },
                }
            }
        };
        let at = Place::default(); // the caller knows
        RemoveError::InUse { at, id, by }
    }

    /// Has it say that it is about the ring at `place`.
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

/// Removes the ring whose segment is `id`, and nothing but a ring; one that may
/// have been half made is [what `remove_stale` says](remove_stale).
///
/// # Errors
///
/// [`RemoveError::InUse`] when somebody has it attached: see [`force_remove`].
/// [`RemoveError::Open`] when it is no ring of ours.
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

/// Removes the ring whose segment is `id`, and nothing but a ring, even if
/// somebody has it attached. Those go on; nobody can find it any more.
///
/// # Errors
///
/// [`RemoveError::InUse`] while it is being made. [`RemoveError::Open`] when it is
/// no ring of ours.
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

/// What does not keep a ring from being removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Force {
    Not,
    /// That somebody has it attached.
    Attached,
}

fn remove_id(id: SegmentId, force: Force) -> Result<(), RemoveError> {
    let required = Requirements::by_id(any_mode(), &[]);
    let deadline = Deadline::new(Some(REMOVING), None);
    remove_classified(id, &required, force, &deadline)
        .map_err(|error| error.located(&Place::segment(id)))
}

/// Removing the ring of a path. Of the options, only the
/// [project id](Options::project) counts.
impl Options {
    /// Removes the ring that the file `path` leads to, as [`remove`] does.
    ///
    /// # Errors
    ///
    /// As [`remove`]; [`OpenError::NoRing`] when there is none,
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

    /// Removes the ring that the file `path` leads to, even if somebody has it
    /// attached, as [`force_remove`] does.
    ///
    /// # Errors
    ///
    /// As [`force_remove`]; [`OpenError::NoRing`] when there is none,
    /// [`OpenError::Path`], [`OpenError::Key`].
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
        // What its words say is not known; that nobody has it attached is.
        Class::OtherVersion(_) if force || found.alone => Ok(sysv::remove_if_there(id)?),
        Class::OtherVersion(_) => Err(RemoveError::in_use(id, &found)),
        Class::Live(_) | Class::Spent if !force && !found.alone => {
            Err(RemoveError::in_use(id, &found))
        }
        // `found` keeps the segment attached, so the id is still its.
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

/// Removes every segment that a dead process has left behind: rings that
/// nobody joined, and half-made ones. A persistent ring is never among them.
/// Returns what was removed.
///
/// What a ring's creator left before it wrote a byte cannot be told from any
/// segment of a ring's size that is all zero, of mode 0600 and our user,
/// attached by nobody, and made by a process that is dead: such a one is
/// removed too, whoever meant it for what.
///
/// # Errors
///
/// When the kernel does not list its segments; and the first error of looking at
/// or removing one, once all the others were tried.
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
                if hides_a_ring(&error) {
                    failed.get_or_insert(OpenError::System(error));
                }
                continue; // gone, or not ours to judge
            }
        };
        let mode = found.looked.as_ref().map(|looked| looked.stat().mode);
        let done = match found.class {
            // All zero: only its shape speaks for it, so nothing may speak against.
            Class::Stillborn if mode != Some(Mode::OWNER_ONLY) => continue,
            Class::Stillborn | Class::Spent => sysv::remove_if_there(id)
                .map(|()| true)
                .map_err(OpenError::from),
            Class::Orphan(geometry) => open::retire(id, &geometry, found.state),
            // An anonymous ring whose maker died before it could remove it.
            Class::Live(geometry) if geometry.kind == Kind::Anonymous && found.alone => {
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

/// For removing one's own: how open a ring is does not matter.
fn any_mode() -> Mode {
    Mode::new(0o777).unwrap_or_default()
}
