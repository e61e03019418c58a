//! Inspecting rings without changing them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::error::{Incompatible, OpenError, Place};
use crate::open::classify::misshapen;
use crate::open::find::{may_hide_a_ring, named_by};
use crate::options::Options;
use crate::peer::{Occupant, occupant};
use crate::ring::marks;
use crate::role::Role;
use crate::segment::identity::Geometry;
use crate::segment::layout::Header;
use crate::segment::mapping::inspect;
use crate::segment::position;
use crate::segment::state::{Life, LifeCycleKind};
use crate::sync::{Ordering, fence};
use crate::sys::sysv::{self, FileIdentity, Key, Project, SegmentId, SysvErrorKind};
use crate::tuning::LOOKS;
use crate::wait;

/// How long a ring lives, and whether a key leads to it.
///
/// # Examples
///
/// ```
/// use shmpipe::{LifeCycle, Options};
///
/// # let path = std::env::temp_dir().join(format!("shmpipe-doc-life-{}", std::process::id()));
/// # std::fs::write(&path, "")?;
/// let consumer = Options::new().wait_for_peer(false).open_consumer(&path)?;
/// assert_eq!(Options::new().snapshot(&path)?.life_cycle, LifeCycle::Named);
/// # drop(consumer);
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LifeCycle {
    /// The ring has no key, and lives as long as a process has it attached.
    Anonymous,
    /// The ring has a key until both ends are open.
    Named,
    /// The ring has a key until somebody removes the ring.
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

/// The state of a ring at one moment.
///
/// The values are those of running processes, and may have changed by the time they
/// are read. `fill` is never more than `capacity`. From one snapshot to the next,
/// `written` only grows.
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
/// # drop(producer);
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// A monitor: two snapshots give the rates of a ring that others use.
///
/// ```
/// use std::time::{Duration, Instant};
/// use shmpipe::{Options, Snapshot};
///
/// # let (mut producer, mut consumer) = shmpipe::pair()?;
/// # let id = producer.id().expect("a segment"); // or one of `Snapshot::all`
/// # producer.try_write(b"before").unwrap();
/// let (before, start) = (Snapshot::of(id)?, Instant::now());
/// # producer.try_write(b"meanwhile").unwrap();
/// # consumer.try_read(&mut [0; 10]).unwrap();
/// std::thread::sleep(Duration::from_millis(20));
/// let (now, seconds) = (Snapshot::of(id)?, start.elapsed().as_secs_f64());
/// let read = |ring: &Snapshot| ring.written.wrapping_sub(ring.fill as u64);
/// let written = now.written.wrapping_sub(before.written);
/// let read = read(&now).wrapping_sub(read(&before));
/// println!("{} bytes/s in, {} bytes/s out", written as f64 / seconds, read as f64 / seconds);
/// # assert_eq!((written, read), (9, 10));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The segment's id.
    pub id: SegmentId,
    /// The segment's key; `None` once no key leads to the segment.
    pub key: Option<Key>,
    /// Size of the segment in bytes, as the kernel says.
    pub size: usize,
    /// Attachments of the segment, without the one of this snapshot. A handle
    /// counts two.
    pub attached: u64,
    /// Capacity of the ring in bytes.
    pub capacity: usize,
    /// Bytes written and not yet read.
    pub fill: usize,
    /// Bytes written since the ring was made.
    pub written: u64,
    /// How long the ring lives.
    pub life_cycle: LifeCycle,
    /// Ends of streams that no consumer has acknowledged. See
    /// [`Options::persistent`](crate::Options::persistent).
    pub unread_ends: u64,
    /// A random number that identifies the ring. A later ring with the same id or
    /// path has another number.
    pub nonce: u64,
    /// The path by which the creator opened the ring. Only for people to read: any
    /// process that can write to the segment may have changed the path, and the
    /// file may have moved. Escape the path before showing it.
    pub path: Option<PathBuf>,
    /// The project id with which the ring was opened by its file; `None` of a ring
    /// without a file.
    pub project: Option<Project>,
    /// The occupant of the producer's role.
    pub producer: Occupant,
    /// The occupant of the consumer's role.
    pub consumer: Occupant,
    /// Whether the producer sleeps until there is room.
    pub producer_sleeps: bool,
    /// Whether the consumer sleeps until there are bytes.
    pub consumer_sleeps: bool,
    /// When the ring was made, or last given another owner or mode. The kernel
    /// keeps this time as `shm_ctime`, in whole seconds.
    pub changed: SystemTime,
}

impl Snapshot {
    /// Inspects the ring whose segment is `id`, through a read-only attachment that
    /// ends before this call returns.
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

    /// Inspects the ring whose segment is `id`. The ring must be that of `file`, if
    /// one is given.
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
        let attachment = sysv::attach_to_inspect(id).map_err(removed_or)?;
        // Before the attachment, the id may have passed to another segment. The
        // attachment now keeps the id from being reused.
        let stat = attachment.stat();
        if let Some(reason) = misshapen(stat) {
            return Err(not_a_ring(reason));
        }
        let header = inspect::header_of(&attachment).map_err(not_a_ring)?;
        let state = inspect::load_state(header);
        let image = header.identity.load();
        let geometry = Geometry::of_segment(&image, attachment.len()).map_err(not_a_ring)?;
        if state.life() == Some(Life::Unborn) {
            return Err(not_a_ring(Incompatible::HalfMade));
        }
        check_file(id, &geometry, file, stat.age())?;
        let life_cycle = match geometry.kind {
            LifeCycleKind::Anonymous => LifeCycle::Anonymous,
            LifeCycleKind::Named => LifeCycle::Named,
            LifeCycleKind::Persistent => LifeCycle::Persistent,
            // Placed rings lie in no segment.
            LifeCycleKind::Placed => {
                return Err(not_a_ring(Incompatible::Kind { found: image.kind }));
            }
        };
        let (fill, written) = positions(header, geometry.capacity);
        let path = header.load_path();
        let producer = occupant(header, state, Role::Producer);
        let consumer = occupant(header, state, Role::Consumer);
        Ok(Snapshot {
            id,
            key: Key::from_raw(stat.key_raw).ok(), // the raw key 0 means no key
            size: attachment.len(),
            attached: stat.attached.saturating_sub(1),
            capacity: geometry.capacity,
            fill,
            written,
            life_cycle,
            unread_ends: marks::unread_ends(header),
            nonce: geometry.nonce,
            path: (!path.is_empty()).then(|| PathBuf::from(OsString::from_vec(path))),
            project: Project::new(geometry.project).ok(), // 0 means no file
            producer,
            consumer,
            producer_sleeps: sleeps(header, Role::Producer, producer),
            consumer_sleeps: sleeps(header, Role::Consumer, consumer),
            changed: SystemTime::UNIX_EPOCH
                + Duration::from_secs(stat.change_time.try_into().unwrap_or(0)),
        })
    }

    /// Returns a snapshot of every ring in this IPC namespace that this process may
    /// read. Segments of other programs are only read, never written to.
    ///
    /// # Errors
    ///
    /// An error when the kernel does not list its segments, or when memory runs
    /// out.
    ///
    /// # Examples
    ///
    /// ```
    /// use shmpipe::{Options, Snapshot};
    ///
    /// # let path = std::env::temp_dir().join(format!("shmpipe-doc-all-{}", std::process::id()));
    /// # std::fs::write(&path, "")?;
    /// let consumer = Options::new().wait_for_peer(false).open_consumer(&path)?;
    /// let id = Options::new().snapshot(&path)?.id;
    /// assert!(Snapshot::all()?.iter().any(|ring| ring.id == id));
    /// # drop(consumer);
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn all() -> Result<Vec<Snapshot>, OpenError> {
        let mut rings = Vec::new();
        for stat in sysv::list()? {
            match Snapshot::of(stat.id) {
                Ok(ring) => rings.push(ring),
                Err(OpenError::System(error)) if may_hide_a_ring(&error) => {
                    return Err(error.into());
                }
                Err(_) => {} // removed, not a ring, or not readable
            }
        }
        Ok(rings)
    }

    /// Returns why some rings of this crate cannot be inspected. Each item is an
    /// [`OpenError::NotARing`] that names the segment. Such rings were made by
    /// builds of other layout versions, or are half made. [`remove`](crate::remove)
    /// removes them.
    ///
    /// # Errors
    ///
    /// An error when the kernel does not list its segments, or when memory runs
    /// out.
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
                Err(OpenError::System(error)) if may_hide_a_ring(&error) => {
                    return Err(error.into());
                }
                Err(why) if is_ours(&why) => unknown.push(why),
                Ok(_) | Err(_) => {} // a usable ring, a removed segment, or one that is not readable
            }
        }
        Ok(unknown)
    }
}

/// Fails if the segment `id` is not the ring of `file`.
fn check_file(
    id: SegmentId,
    geometry: &Geometry,
    file: Option<FileIdentity>,
    age: Duration,
) -> Result<(), OpenError> {
    match file {
        Some(file) if !geometry.is_of(file) => Err(OpenError::KeyCollision {
            at: Place::default(), // the caller fills in the place
            id,
            owner: (geometry.device, geometry.inode),
            asked: (file.dev, file.ino),
            earlier: geometry.is_of_earlier(file).then_some(age),
        }),
        _ => Ok(()),
    }
}

/// Whether `holder`, which has `role`, sleeps. A holder that has left does not
/// sleep.
fn sleeps(header: &Header, role: Role, holder: Occupant) -> bool {
    let sleeping = &header.side(role).signals.sleeping;
    matches!(holder, Occupant::Process(_)) && sleeping.load(Ordering::Relaxed) == wait::ASLEEP // only shown to people
}

/// Returns the fill and the tail. Reads until two loads of the tail are equal, at
/// most [`LOOKS`] times.
pub(crate) fn positions(header: &Header, capacity: usize) -> (usize, u64) {
    let load = |role| {
        let word = header.side(role).position.load(Ordering::Relaxed); // with the fence: P1, P2
        fence(Ordering::Acquire); // P1, P2
        word
    };
    let most = capacity as u64;
    let mut tail = load(Role::Producer);
    for _ in 0..LOOKS {
        let head = load(Role::Consumer);
        let again = load(Role::Producer);
        if again == tail {
            let fill = position::readable(head, head, tail, most).unwrap_or(most);
            return (fill as usize, tail); // at most the capacity
        }
        tail = again;
    }
    // The head may have moved past this tail. Positions wrap.
    let ahead = tail.wrapping_sub(load(Role::Consumer));
    let fill = if ahead > u64::MAX / 2 { 0 } else { ahead };
    (fill.min(most) as usize, tail) // at most the capacity
}

/// Inspecting the ring of a path. Only the [project id](Options::project) of the
/// options counts.
impl Options {
    /// Inspects the ring of the file `path`, as [`Snapshot::of`] does by id. A
    /// named ring can be found until both ends are open, a persistent ring until
    /// somebody removes it.
    ///
    /// # Errors
    ///
    /// The errors of [`Snapshot::of`], and [`OpenError::NoRing`],
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
    /// # drop(consumer);
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn snapshot(&self, path: impl AsRef<Path>) -> Result<Snapshot, OpenError> {
        let file = self.key_file(path.as_ref())?;
        let look = |id| Snapshot::look(id, Some(file.identity()));
        named_by(&file)
            .and_then(look)
            .map_err(|error| error.located(&file.place()))
    }
}
