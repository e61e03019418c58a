//! Looking at rings without touching them, and removing them on purpose.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::error::{Incompatible, OpenError, Place};
use crate::open;
use crate::open::classify::{Class, Expected, Found, classify, misshapen};
use crate::open::keyfile::KeyFile;
use crate::options::Options;
use crate::peer::{Occupant, occupant};
use crate::ring::marks;
use crate::role::Role;
use crate::segment::identity::Geometry;
use crate::segment::layout::Header;
use crate::segment::position;
use crate::segment::region::inspect;
use crate::segment::state::{Kind, Life};
use crate::sync::{Ordering, fence};
use crate::sys::sysv::{self, FileIdentity, Key, Mode, SegmentId, SysvErrorKind};
use crate::tuning::{LOOKS, REMOVING};
use crate::wait;
use crate::wait::deadline::Deadline;

/// How a ring comes and goes.
///
/// # Examples
///
/// ```
/// use shmpipe::{LifeCycle, Options};
///
/// # let path = std::env::temp_dir().join(format!("shmpipe-doc-life-{}", std::process::id()));
/// # std::fs::write(&path, "")?;
/// let _consumer = Options::new().wait_for_peer(false).open_consumer(&path)?;
/// assert_eq!(Options::new().snapshot(&path)?.life_cycle, LifeCycle::Named);
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LifeCycle {
    /// No key leads to it; it goes with its last process.
    Anonymous,
    /// A key leads to it until both ends are open.
    Named,
    /// A key leads to it until it is removed.
    Persistent,
}

impl std::fmt::Display for LifeCycle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            LifeCycle::Anonymous => "anonymous",
            LifeCycle::Named => "named",
            LifeCycle::Persistent => "persistent",
        })
    }
}

/// A ring at one moment.
///
/// The words are those of running processes: by the time they are read they
/// may have changed. They agree with one another as far as `fill` is never
/// more than `capacity`; and from one look to the next, `written` only grows.
///
/// # Examples
///
/// ```
/// use shmpipe::{LifeCycle, Occupant, Options};
///
/// # let path = std::env::temp_dir().join(format!("shmpipe-doc-snapshot-{}", std::process::id()));
/// # std::fs::write(&path, "")?;
/// let mut producer = Options::new().capacity(65536).wait_for_peer(false).open_producer(&path)?;
/// producer.try_write(b"abc").unwrap();
///
/// let ring = Options::new().snapshot(&path)?;
/// assert_eq!((ring.capacity, ring.fill, ring.written), (65536, 3, 3));
/// assert_eq!(ring.producer, Occupant::Process(std::process::id()));
/// assert_eq!((ring.consumer, ring.consumer_sleeps), (Occupant::Nobody, false));
/// assert_eq!(ring.life_cycle, LifeCycle::Named);
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The segment.
    pub id: SegmentId,
    /// Its key; `None` once no key leads to it.
    pub key: Option<Key>,
    /// Its bytes, as the kernel says.
    pub size: usize,
    /// How often it was attached before this look. A handle counts two.
    pub attached: u64,
    /// Bytes of the ring.
    pub capacity: u64,
    /// Bytes written and not yet read.
    pub fill: u64,
    /// Bytes written since the ring was made.
    pub written: u64,
    /// How it comes and goes.
    pub life_cycle: LifeCycle,
    /// Ends of streams in it that no consumer has acknowledged; see
    /// [`Options::persistent`](crate::Options::persistent).
    pub unread_ends: u64,
    /// Tells this ring from every other one, also from a later one with its id
    /// or its path.
    pub nonce: u64,
    /// The path by which its creator opened it. For people: whoever may write to
    /// the segment may have changed it, and the file may have moved since. Show
    /// it escaped.
    pub path: Option<PathBuf>,
    /// Who writes.
    pub producer: Occupant,
    /// Who reads.
    pub consumer: Occupant,
    /// Whether the producer sleeps until there is room.
    pub producer_sleeps: bool,
    /// Whether the consumer sleeps until there are bytes.
    pub consumer_sleeps: bool,
    /// When it was made, or last given another owner or mode: the change time
    /// that the kernel keeps (`shm_ctime`), in whole seconds.
    pub changed: SystemTime,
}

impl Snapshot {
    /// Looks at the ring whose segment is `id`, through a read-only
    /// attachment that is gone when this returns.
    ///
    /// # Errors
    ///
    /// [`OpenError::Removed`], [`OpenError::NotARing`],
    /// [`OpenError::System`].
    ///
    /// # Examples
    ///
    /// ```
    /// let (mut producer, _consumer) = shmpipe::pair()?;
    /// producer.try_write(b"12345").unwrap();
    /// let ring = shmpipe::Snapshot::of(producer.id().unwrap())?;
    /// assert_eq!((ring.fill, ring.written), (5, 5));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn of(id: SegmentId) -> Result<Snapshot, OpenError> {
        Snapshot::look(id, None).map_err(|error| error.located(&Place::segment(id)))
    }

    /// Looks at the ring whose segment is `id`, if it is that of `file`.
    fn look(id: SegmentId, file: Option<FileIdentity>) -> Result<Snapshot, OpenError> {
        let removed_or = |error: sysv::SysvError| match error.kind() {
            SysvErrorKind::Removed | SysvErrorKind::NotFound => OpenError::removed(id),
            _ => OpenError::System(error),
        };
        let stat = sysv::stat(id).map_err(removed_or)?;
        let not_a_ring = |reason| OpenError::not_a_ring(id, reason);
        if let Some(reason) = misshapen(&stat) {
            return Err(not_a_ring(reason));
        }
        let looked = sysv::look(id).map_err(removed_or)?;
        // The id may have passed to another segment meanwhile, and cannot any more.
        let stat = looked.stat();
        if let Some(reason) = misshapen(stat) {
            return Err(not_a_ring(reason));
        }
        let header = inspect::header_of(&looked).map_err(not_a_ring)?;
        let state = inspect::load_state(header);
        let image = header.identity.load();
        let geometry = Geometry::of_segment(&image, looked.len()).map_err(not_a_ring)?;
        if state.life() == Some(Life::Unborn) {
            return Err(not_a_ring(Incompatible::HalfMade));
        }
        if let Some(file) = file
            && !geometry.is_of(file)
        {
            return Err(OpenError::KeyCollision {
                at: Place::default(), // the caller knows
                id,
                owner: (geometry.device, geometry.inode),
                asked: (file.dev, file.ino),
                earlier: geometry.is_of_earlier(file).then_some(stat.age()),
            });
        }
        let life_cycle = match geometry.kind {
            Kind::Anonymous => LifeCycle::Anonymous,
            Kind::Named => LifeCycle::Named,
            Kind::Persistent => LifeCycle::Persistent,
            // Never in a segment.
            Kind::Placed => return Err(not_a_ring(Incompatible::Kind { found: image.kind })),
        };
        let (fill, written) = positions(header, geometry.capacity);
        let path = header.load_path();
        let producer = occupant(header, state, Role::Producer);
        let consumer = occupant(header, state, Role::Consumer);
        Ok(Snapshot {
            id,
            key: Key::from_raw(stat.key_raw).ok(), // 0 is none
            size: looked.len(),
            attached: stat.attached.saturating_sub(1),
            capacity: geometry.capacity,
            fill,
            written,
            life_cycle,
            unread_ends: marks::unread_ends(header),
            nonce: geometry.nonce,
            path: (!path.is_empty()).then(|| PathBuf::from(OsString::from_vec(path))),
            producer,
            consumer,
            producer_sleeps: sleeps(header, Role::Producer, producer),
            consumer_sleeps: sleeps(header, Role::Consumer, consumer),
            changed: SystemTime::UNIX_EPOCH
                + Duration::from_secs(stat.change_time.try_into().unwrap_or(0)),
        })
    }

    /// Every ring on this host (in this IPC namespace) that this process may
    /// read. Other programs' segments are looked at, never written to.
    ///
    /// # Errors
    ///
    /// When the kernel does not list its segments, or there is no memory to look
    /// at one of them.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{Options, Snapshot};
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-all-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// let _consumer = Options::new().wait_for_peer(false).open_consumer(&path)?;
    /// let id = Options::new().snapshot(&path)?.id;
    /// assert!(Snapshot::all()?.iter().any(|ring| ring.id == id));
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn all() -> Result<Vec<Snapshot>, OpenError> {
        let mut rings = Vec::new();
        for stat in sysv::list()? {
            match Snapshot::of(stat.id) {
                Ok(ring) => rings.push(ring),
                Err(OpenError::System(error)) if hides_a_ring(&error) => return Err(error.into()),
                Err(_) => {} // gone, no ring, or not ours to read
            }
        }
        Ok(rings)
    }

    /// Why rings on this host, which bear the mark of this crate, cannot be
    /// looked into: each an [`OpenError::NotARing`] that names the segment. They
    /// were made by builds of other layout versions, or are half made.
    /// [`remove`] removes them.
    ///
    /// # Errors
    ///
    /// When the kernel does not list its segments.
    ///
    /// # Examples
    ///
    /// ```
    /// for why in shmpipe::Snapshot::unknown()? {
    ///     println!("{why}");
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn unknown() -> Result<Vec<OpenError>, OpenError> {
        let is_ours = |error: &OpenError| match error {
            OpenError::NotARing { reason, .. } => !matches!(
                reason,
                Incompatible::NoMagic | Incompatible::TooSmall { .. }
            ),
            _ => false,
        };
        let mut unknown = Vec::new();
        for stat in sysv::list()? {
            match Snapshot::of(stat.id) {
                Err(OpenError::System(error)) if hides_a_ring(&error) => return Err(error.into()),
                Err(why) if is_ours(&why) => unknown.push(why),
                Ok(_) | Err(_) => {} // a ring, gone, or not ours to read
            }
        }
        Ok(unknown)
    }
}

/// Whether a failed look at a segment says nothing about the segment.
fn hides_a_ring(error: &sysv::SysvError) -> bool {
    matches!(
        error.kind(),
        SysvErrorKind::OutOfMemory | SysvErrorKind::LimitReached { .. } | SysvErrorKind::Other
    )
}

/// Whether `holder`, who has `role`, sleeps. Whoever has left cannot.
fn sleeps(header: &Header, role: Role, holder: Occupant) -> bool {
    let sleeping = &header.side(role).signals.sleeping;
    matches!(holder, Occupant::Process(_)) && sleeping.load(Ordering::Relaxed) == wait::ASLEEP // shown only
}

/// The segment that `file` leads to.
fn find(file: &KeyFile) -> Result<SegmentId, OpenError> {
    sysv::open(file.key()).map_err(|error| match error.kind() {
        SysvErrorKind::NotFound => OpenError::NoRing {
            path: file.path().to_owned(),
        },
        _ => OpenError::System(error),
    })
}

/// Fill and tail, read until both stood still in between, or often enough.
pub(crate) fn positions(header: &Header, capacity: u64) -> (u64, u64) {
    let load = |role| {
        let word = header.side(role).position.load(Ordering::Relaxed); // with the fence: P1, P2
        fence(Ordering::Acquire); // P1, P2
        word
    };
    let mut tail = load(Role::Producer);
    for _ in 0..LOOKS {
        let head = load(Role::Consumer);
        let again = load(Role::Producer);
        if again == tail {
            let fill = position::readable(head, head, tail, capacity).unwrap_or(capacity);
            return (fill, tail);
        }
        tail = again;
    }
    // The head may be past this tail by now; positions wrap.
    let ahead = tail.wrapping_sub(load(Role::Consumer));
    let fill = if ahead > u64::MAX / 2 { 0 } else { ahead };
    (fill.min(capacity), tail)
}

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
    let expected = Expected::by_id(any_mode(), &[]);
    let deadline = Deadline::new(Some(REMOVING), None);
    remove_classified(id, &expected, force, &deadline)
        .map_err(|error| error.located(&Place::segment(id)))
}

/// Looking at the ring of a path, and removing it. Of the options, only the
/// [project id](Options::project) counts.
impl Options {
    /// Looks at the ring that the file `path` leads to, as [`Snapshot::of`] does. A
    /// named ring is found until both ends are open, a persistent one until it is
    /// removed.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::of`], and [`OpenError::NoRing`],
    /// [`OpenError::KeyCollision`], [`OpenError::Path`], [`OpenError::Key`].
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{Occupant, OpenError, Options};
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-at-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// let mut options = Options::new();
    /// assert!(matches!(options.snapshot(&path), Err(OpenError::NoRing { .. })));
    /// let consumer = options.wait_for_peer(false).open_consumer(&path)?;
    /// let ring = options.snapshot(&path)?;
    /// assert_eq!(ring.consumer, Occupant::Process(std::process::id()));
    /// assert_eq!(ring.producer, Occupant::Nobody);
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn snapshot(&self, path: impl AsRef<Path>) -> Result<Snapshot, OpenError> {
        let file = self.key_file(path.as_ref())?;
        let look = |id| Snapshot::look(id, Some(file.identity()));
        find(&file)
            .and_then(look)
            .map_err(|error| error.located(&file.place()))
    }

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
        let expected = Expected::by_key(any_mode(), &[], file.key(), Some(file.identity()));
        find(&file)
            .map_err(RemoveError::from)
            .and_then(|id| remove_classified(id, &expected, force, &deadline))
            .map_err(|error| error.located(&file.place()))
    }
}

fn remove_classified(
    id: SegmentId,
    expected: &Expected,
    force: Force,
    deadline: &Deadline,
) -> Result<(), RemoveError> {
    let force = force == Force::Attached;
    let found = classify(id, expected, deadline)?;
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
    let expected = Expected::by_id(any_mode(), &[]);
    let deadline = Deadline::new(Some(REMOVING), None);
    let mut removed = Vec::new();
    let mut failed = None;
    for stat in sysv::list()? {
        if stat.marked_for_removal {
            continue;
        }
        let id = stat.id;
        let found = match classify(id, &expected, &deadline) {
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
