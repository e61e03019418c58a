//! All segments of this host, as the verbs that look at rings see them.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::geteuid;
use shmpipe::error::Incompatible;
use shmpipe::escape::shown;
use shmpipe::sysv::{self, Mode, SegmentId, Stat, SysvErrorKind};
use shmpipe::{LifeCycle, Occupant, OpenError, Snapshot};

use crate::args::Sort;
use crate::exit::Failure;

/// A segment, and what can be seen of it.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) stat: Stat,
    pub(crate) seen: Seen,
    /// Bytes per second, once it was looked at twice.
    pub(crate) rate: Option<f64>,
    /// Whether it went while it was looked at.
    pub(crate) has_gone: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Seen {
    Ring(Box<Snapshot>),
    /// A ring of this crate, with words that are wrong, or that this build does not know.
    Damaged(Damage),
    /// A segment with the size of a ring. This user may not look inside.
    Unreadable,
    /// No ring.
    Foreign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    Corrupt,
    HalfMade,
    OtherVersion,
}

/// What a ring does, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    Flowing,
    Full,
    Idle,
    Ending,
    NoSender,
    NoReceiver,
    Kept,
    SenderDied,
    ReceiverDied,
    Stale,
    HalfMade,
    OtherVersion,
    Corrupt,
    NotReadable,
    NoRing,
    Gone,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            State::Flowing => "flowing",
            State::Full => "full",
            State::Idle => "idle",
            State::Ending => "ending",
            State::NoSender => "no sender",
            State::NoReceiver => "no receiver",
            State::Kept => "kept",
            State::SenderDied => "sender died",
            State::ReceiverDied => "receiver died",
            State::Stale => "stale",
            State::HalfMade => "half made",
            State::OtherVersion => "other version",
            State::Corrupt => "corrupt",
            State::NotReadable => "not readable",
            State::NoRing => "no ring",
            State::Gone => "gone",
        })
    }
}

/// Between two looks at a ring.
const MOMENT: Duration = Duration::from_millis(5);

/// Looks at all segments. Attaches those that may be rings, read-only.
pub(crate) fn survey() -> Result<Vec<Segment>, Failure> {
    let listed = sysv::list().map_err(OpenError::from)?;
    let mut segments = Vec::new();
    for stat in listed {
        segments.extend(Segment::look(stat)?);
    }
    look_again(&mut segments);
    Ok(segments)
}

/// Looks once more at empty rings whose receiver is awake. A receiver that waits is awake for a
/// moment now and then, and its ring then seems to flow. The receiver waits if nothing went through the
/// ring between the two looks.
fn look_again(segments: &mut [Segment]) {
    let is_process = |occupant| matches!(occupant, Occupant::Process(_));
    let seems_to_flow = |ring: &Snapshot| {
        let both = is_process(ring.producer) && is_process(ring.consumer);
        both && ring.fill == 0 && !ring.consumer_sleeps
    };
    let seems = |segment: &Segment| segment.ring().is_some_and(seems_to_flow);
    if !segments.iter().any(seems) {
        return;
    }
    thread::sleep(MOMENT);
    for segment in segments {
        let Seen::Ring(ring) = &mut segment.seen else {
            continue;
        };
        // A ring that has gone meanwhile stays as it was.
        if seems_to_flow(ring)
            && let Ok(mut later) = Snapshot::of(ring.id)
            && later.nonce == ring.nonce
        {
            let nothing_went = later.written == ring.written && later.fill == 0;
            later.consumer_sleeps |= nothing_went && is_process(later.consumer);
            **ring = later;
        }
    }
}

/// Whether it is the ring that was opened by `path`, although no key may lead to it any more.
pub(crate) fn is_of_path(segment: &Segment, path: &Path, project: u32) -> bool {
    let Some(ring) = segment.ring() else {
        return false;
    };
    let absolute = std::path::absolute(path).ok();
    let made_by = ring.path.as_ref().map(std::path::absolute);
    let has_path = made_by.is_some_and(|made_by| made_by.is_ok_and(|path| Some(path) == absolute));
    has_path
        && ring
            .project
            .is_some_and(|id| u32::from(id.get()) == project)
}

/// Whether the file that should name a ring does not exist.
pub(crate) fn has_no_file(error: &OpenError) -> bool {
    matches!(error, OpenError::Path { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

/// The failure of a verb that makes no file, where the library says less: if just the file is
/// missing, or if another project id was asked for.
pub(crate) fn no_ring(error: &OpenError, project: u32) -> Option<Failure> {
    let why = match error {
        OpenError::Path { path, source, .. } if source.raw_os_error() == Some(libc::ENOENT) => {
            format!("no ring at {}: there is no such file", shown(path))
        }
        OpenError::NoRing { path, .. } if project != 1 => {
            format!("no ring at {} with project id {project}", shown(path))
        }
        _ => return None,
    };
    Some(Failure::other(why))
}

impl Segment {
    /// Looks at a segment. `None` if it has gone meanwhile. Fails if the look fails for a reason
    /// outside the segment, since a ring would then be missing in the list.
    fn look(stat: Stat) -> Result<Option<Segment>, Failure> {
        let seen = match Snapshot::of(stat.id) {
            Ok(ring) => Seen::Ring(Box::new(ring)),
            Err(OpenError::Removed { .. }) => return Ok(None),
            Err(OpenError::NotARing { reason, .. }) => match reason {
                Incompatible::NoMagic | Incompatible::TooSmall { .. } => Seen::Foreign,
                Incompatible::HalfMade => Seen::Damaged(Damage::HalfMade),
                Incompatible::Size { .. } | Incompatible::State { .. } => {
                    Seen::Damaged(Damage::Corrupt)
                }
                _ => Seen::Damaged(Damage::OtherVersion),
            },
            Err(OpenError::System(error)) if error.kind() != SysvErrorKind::PermissionDenied => {
                return Err(OpenError::System(error).into());
            }
            Err(_) if has_size_of_a_ring(&stat) => Seen::Unreadable,
            Err(_) => Seen::Foreign,
        };
        Ok(Some(Segment {
            stat,
            seen,
            rate: None,
            has_gone: false,
        }))
    }

    pub(crate) fn id(&self) -> SegmentId {
        self.stat.id
    }

    pub(crate) fn ring(&self) -> Option<&Snapshot> {
        match &self.seen {
            Seen::Ring(ring) => Some(ring),
            _ => None,
        }
    }

    /// Whether it is, or may be, a ring.
    pub(crate) fn may_be_ring(&self) -> bool {
        !matches!(self.seen, Seen::Foreign)
    }

    pub(crate) fn state(&self) -> State {
        match &self.seen {
            _ if self.has_gone => State::Gone,
            Seen::Ring(ring) => state_of(ring),
            Seen::Damaged(Damage::Corrupt) => State::Corrupt,
            Seen::Damaged(Damage::HalfMade) => State::HalfMade,
            Seen::Damaged(Damage::OtherVersion) => State::OtherVersion,
            Seen::Unreadable => State::NotReadable,
            Seen::Foreign => State::NoRing,
        }
    }

    /// Whether it belongs to this user.
    pub(crate) fn is_own(&self) -> bool {
        self.stat.uid == geteuid().as_raw()
    }

    /// Whether dead processes have left it behind, as `rm --stale` sees it.
    pub(crate) fn is_stale(&self) -> bool {
        matches!(self.state(), State::Stale)
            || self.state() == State::HalfMade && self.stat.attached == 0 && !self.creator_lives()
    }

    /// Whether a creator that died before it wrote a byte may have left it. `rm --stale` removes
    /// it if all of it is zero.
    pub(crate) fn may_be_empty_leftover(&self) -> bool {
        matches!(self.seen, Seen::Foreign)
            && has_size_of_a_ring(&self.stat)
            && self.stat.mode == Mode::OWNER_ONLY
            && self.is_own()
            && self.stat.attached == 0
            && !self.creator_lives()
    }

    fn creator_lives(&self) -> bool {
        fs::exists(format!("/proc/{}", self.stat.creator_pid)).unwrap_or(true)
    }

    /// The path, and the project id if that is not 1: `/tmp/ring#2`.
    pub(crate) fn path(&self) -> String {
        let path = self
            .ring()
            .and_then(|ring| Some((ring, ring.path.as_ref()?)));
        match path.map(|(ring, path)| (shown(path), ring.project)) {
            None => "-".to_owned(),
            Some((path, Some(project))) if project.get() != 1 => format!("{path}#{project}"),
            Some((path, _)) => path.to_string(),
        }
    }

    pub(crate) fn owner(&self) -> String {
        user_name(self.stat.uid)
    }

    pub(crate) fn age(&self) -> Duration {
        let changed =
            UNIX_EPOCH + Duration::from_secs(self.stat.change_time.try_into().unwrap_or(0));
        SystemTime::now()
            .duration_since(changed)
            .unwrap_or_default()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.ring().map_or(0, |ring| ring.capacity)
    }

    pub(crate) fn fill(&self) -> usize {
        self.ring().map_or(0, |ring| ring.fill)
    }

    pub(crate) fn total(&self) -> u64 {
        self.ring().map_or(0, |ring| ring.written)
    }

    /// The commands at both ends.
    pub(crate) fn commands(&self) -> [String; 2] {
        match self.ring() {
            Some(ring) => [ring.producer, ring.consumer].map(command),
            None => ["-".to_owned(), "-".to_owned()],
        }
    }

    /// Whether a process has a role of this ring.
    pub(crate) fn is_of(&self, pid: u32) -> bool {
        let has = Occupant::Process(pid);
        self.ring()
            .is_some_and(|ring| ring.producer == has || ring.consumer == has)
    }

    pub(crate) fn has_same_ring(&self, other: &Segment) -> bool {
        match (self.ring(), other.ring()) {
            (Some(ring), Some(other)) => ring.id == other.id && ring.nonce == other.nonce,
            _ => false,
        }
    }
}

/// Fills in the rates since `before`, which was seen `time` ago.
pub(crate) fn add_rates(now: &mut [Segment], before: &[Segment], time: Duration) {
    for segment in now {
        let earlier = before.iter().find(|earlier| earlier.has_same_ring(segment));
        segment.rate = earlier.map(|earlier| {
            segment.total().saturating_sub(earlier.total()) as f64 / time.as_secs_f64()
        });
    }
}

/// Sorts: words from A to Z, numbers from the largest, ids from the smallest.
pub(crate) fn sort(segments: &mut [Segment], by: Sort) {
    let id = |segment: &Segment| segment.id().raw();
    match by {
        Sort::Path => segments.sort_by_key(|segment| (segment.path(), id(segment))),
        Sort::Id => segments.sort_by_key(id),
        Sort::Owner => segments.sort_by_key(|segment| (segment.owner(), id(segment))),
        Sort::State => segments.sort_by_key(|segment| (segment.state(), id(segment))),
        Sort::Capacity => sort_down(segments, |segment| segment.capacity() as f64),
        Sort::Fill => sort_down(segments, |segment| {
            segment.fill() as f64 / segment.capacity().max(1) as f64
        }),
        Sort::Total => sort_down(segments, |segment| segment.total() as f64),
        Sort::Age => sort_down(segments, |segment| segment.age().as_secs_f64()),
        Sort::Rate => sort_down(segments, |segment| {
            segment.rate.unwrap_or(segment.total() as f64)
        }),
    }
}

fn sort_down(segments: &mut [Segment], number: impl Fn(&Segment) -> f64) {
    segments.sort_by(|a, b| {
        let order = number(b).total_cmp(&number(a));
        order.then(a.id().raw().cmp(&b.id().raw()))
    });
}

/// Whether the size is that of a ring: a page plus a power of two.
fn has_size_of_a_ring(stat: &Stat) -> bool {
    let ring = stat.size.checked_sub(sysv::page_size());
    ring.is_some_and(|ring| ring.is_power_of_two() && ring >= sysv::page_size())
}

fn state_of(ring: &Snapshot) -> State {
    use Occupant::{Dead, Left, Nobody, Process};
    let persists = ring.life_cycle == LifeCycle::Persistent;
    match (ring.producer, ring.consumer) {
        _ if !persists && is_left(ring) => State::Stale,
        (Process(_), Process(_)) if ring.fill == ring.capacity => State::Full,
        (Process(_), Process(_)) if ring.producer_sleeps && ring.fill > 0 => State::Full,
        (Process(_), Process(_)) if ring.consumer_sleeps && ring.fill == 0 => State::Idle,
        (Process(_), Process(_)) => State::Flowing,
        (Dead(_), _) => State::SenderDied,
        (_, Dead(_)) => State::ReceiverDied,
        (Left, Process(_)) => State::Ending,
        (Nobody, Process(_)) => State::NoSender,
        (Process(_), _) => State::NoReceiver,
        _ => State::Kept,
    }
}

/// Whether no process is left that uses a ring that does not persist. Others may be looking at it
/// just now, and so have it attached.
fn is_left(ring: &Snapshot) -> bool {
    let both = [ring.producer, ring.consumer];
    let is_dead = |side: &Occupant| matches!(side, Occupant::Dead(_));
    let is_away = |side: &Occupant| is_dead(side) || *side == Occupant::Nobody;
    ring.attached == 0
        // A ring without a key is a pair's, and goes with its last attachment.
        || ring.key.is_some() && both.iter().any(is_dead) && both.iter().all(is_away)
}

/// The name of a user, or the number of one without a name.
pub(crate) fn user_name(uid: u32) -> String {
    match uzers::get_user_by_uid(uid) {
        Some(user) => shown(user.name()).to_string(),
        None => uid.to_string(),
    }
}

/// The name of an occupant's command. For `shmpipe` itself, the verb.
fn command(occupant: Occupant) -> String {
    match occupant {
        Occupant::Nobody => "-".to_owned(),
        Occupant::Process(pid) => name_of(pid).unwrap_or_else(|| "?".to_owned()),
        Occupant::Dead(_) => "(dead)".to_owned(),
        Occupant::Left => "(left)".to_owned(),
        _ => "?".to_owned(),
    }
}

/// What a process calls itself; `None` if it cannot be seen.
pub(crate) fn name_of(pid: u32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut words = line.split(|&byte| byte == 0);
    let comm = fs::read(format!("/proc/{pid}/comm")).ok()?;
    let comm = comm.strip_suffix(b"\n").unwrap_or(&comm);
    let name = match comm {
        b"shmpipe" => words.nth(1).filter(|verb| !verb.is_empty()).unwrap_or(comm),
        _ => comm,
    };
    Some(shown(&OsString::from_vec(name.to_vec())).to_string())
}

/// `process 12 (tar)`, `died`, `left`.
pub(crate) fn holder(occupant: Occupant) -> String {
    match occupant {
        Occupant::Process(pid) if pid != 0 => match name_of(pid) {
            Some(name) => format!("process {pid} ({name})"),
            None => format!("process {pid}"),
        },
        occupant => occupant.to_string(),
    }
}
