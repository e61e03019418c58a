//! Removing rings on purpose.

mod error;

use std::path::Path;

use crate::error::{OpenError, Place};
use crate::open;
use crate::open::classify::{Class, Requirements, classify};
use crate::open::find::{may_hide_a_ring, named_by};
use crate::options::Options;
use crate::segment::state::LifeCycleKind;
use crate::sys::sysv::{self, Mode, SegmentId};
use crate::tuning::REMOVAL_LIMIT;
use crate::wait::deadline::Deadline;

pub use error::{RemoveError, User};

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
    remove_id(id, Force::No)
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
/// # drop(consumer);
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn force_remove(id: SegmentId) -> Result<(), RemoveError> {
    remove_id(id, Force::Yes)
}

/// Whether to remove a ring even if processes have it attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Force {
    No,
    Yes,
}

fn remove_id(id: SegmentId, force: Force) -> Result<(), RemoveError> {
    let required = Requirements::by_id(any_mode(), &[]);
    let deadline = Deadline::new(Some(REMOVAL_LIMIT), None);
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
        self.remove_path(path.as_ref(), Force::No)
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
    /// let consumer = options.persistent(true).open_consumer(&path)?;
    /// assert!(matches!(options.remove(&path), Err(RemoveError::InUse { .. })));
    /// options.force_remove(&path)?;
    /// # drop(consumer);
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn force_remove(&self, path: impl AsRef<Path>) -> Result<(), RemoveError> {
        self.remove_path(path.as_ref(), Force::Yes)
    }

    fn remove_path(&self, path: &Path, force: Force) -> Result<(), RemoveError> {
        let file = self.key_file(path)?;
        let deadline = Deadline::new(Some(REMOVAL_LIMIT), None);
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
    let force = force == Force::Yes;
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
/// has mode 0600, and belongs to this user. Its creator must be dead, and nobody may
/// have it attached. This can remove another program's segment.
///
/// To see which rings dead processes have left behind, and to remove only some of them, look at
/// [`Snapshot::all`](crate::Snapshot::all): nobody has such a ring attached, and it is not
/// persistent. Then call [`remove`] for each, which judges it anew. Half-made segments have no
/// snapshot; see [`Snapshot::unknown`](crate::Snapshot::unknown).
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
/// let consumer = Options::new().wait_for_peer(false).open_consumer(&path)?;
/// let id = Options::new().snapshot(&path)?.id;
/// assert!(!shmpipe::remove_stale()?.contains(&id)); // its opener lives
///
/// // A dry run, with the owner of each:
/// for ring in shmpipe::Snapshot::all()? {
///     if ring.attached == 0 && ring.life_cycle != shmpipe::LifeCycle::Persistent {
///         let owner = shmpipe::sysv::stat(ring.id).map(|stat| stat.uid);
///         println!("{:?} of user {owner:?} would be removed", ring.path);
///     }
/// }
/// # drop(consumer);
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn remove_stale() -> Result<Vec<SegmentId>, RemoveError> {
    let required = Requirements::by_id(any_mode(), &[]);
    let deadline = Deadline::new(Some(REMOVAL_LIMIT), None);
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
