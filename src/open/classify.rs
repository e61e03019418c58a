//! Judges what a segment is. All such judgements are made here. A doubtful segment
//! counts as in use.

use std::mem::offset_of;
use std::time::Duration;

use crate::error::{Incompatible, OpenError, Place};
use crate::role::Role;
use crate::segment::identity::{Geometry, VERSION};
use crate::segment::identity::{LINE, MIN_RING_OFFSET, ring_offset};
use crate::segment::layout::Header;
use crate::segment::mapping::inspect;
use crate::segment::record::Holder;
use crate::segment::state::{Life, LifeCycleKind, State, Tenure};
use crate::sys::process::{Liveness, Process, Watch, effective_uid};
use crate::sys::sysv::{
    self, Attachment, FileIdentity, Key, Mode, SegmentId, Stat, SysvError, SysvErrorKind,
};
use crate::tuning::ZERO_CHECK_LIMIT;
use crate::wait::deadline::Deadline;

/// What a segment must fulfil before it is read.
#[derive(Clone, Debug)]
pub(crate) struct Requirements {
    /// The most permission bits that the segment may have.
    pub(crate) mode: Mode,
    /// The effective user. This user or one of `others` must own the segment and
    /// must have created it.
    own: u32,
    others: Vec<u32>,
    /// The key by which the segment was found, and must still be found.
    key: Option<Key>,
    /// The file whose ring the segment must be.
    pub(crate) file: Option<FileIdentity>,
    /// Whether a segment that is marked for removal is acceptable. Segments found
    /// by id are.
    pub(crate) marked: bool,
}

impl Requirements {
    /// The requirements of a caller that asks for `mode` and found the segment by
    /// key.
    pub(crate) fn by_key(
        mode: Mode,
        others: &[u32],
        key: Key,
        file: Option<FileIdentity>,
    ) -> Requirements {
        Requirements {
            key: Some(key),
            file,
            marked: false,
            ..Requirements::by_id(mode, others)
        }
    }

    /// The requirements of a caller that asks for `mode` and found the segment by
    /// id.
    pub(crate) fn by_id(mode: Mode, others: &[u32]) -> Requirements {
        Requirements {
            mode,
            own: effective_uid(),
            others: others.to_vec(),
            key: None,
            file: None,
            marked: true,
        }
    }

    fn trusts(&self, user: u32) -> bool {
        user == self.own || self.others.contains(&user)
    }

    /// The class of an untrusted segment. `users` are its owner and its creator.
    /// `None` stands for what the kernel does not say.
    fn distrust(&self, users: Option<(u32, u32)>, mode: Option<Mode>) -> Class {
        let stranger = |(owner, creator)| match self.trusts(owner) {
            true => creator,
            false => owner,
        };
        Class::Untrusted {
            uid: users.map(stranger),
            mode: mode.map(|mode| u32::from(mode.bits())),
            trusted: [&[self.own], &self.others[..]].concat(),
            most: self.mode,
        }
    }
}

/// What a segment is.
#[derive(Debug)]
pub(crate) enum Class {
    /// There is no such segment, or it is marked for removal.
    Absent,
    /// The segment belongs to another user, or is open to more users than required.
    /// It was not read.
    Untrusted {
        uid: Option<u32>,
        mode: Option<u32>,
        trusted: Vec<u32>,
        most: Mode,
    },
    /// The segment is not a ring that this build can use.
    Foreign(Incompatible),
    /// The segment is a ring of this earlier layout version, which this build does
    /// not know.
    OtherVersion(u32),
    /// The segment is the ring of another file.
    Collision {
        owner: (u64, u64),
        asked: (u64, u64),
        earlier: Option<Duration>,
    },
    /// The ring is being made by a process that may live.
    Newborn,
    /// The ring was half made by a process that is proven dead.
    Stillborn,
    /// A named ring that nobody joined and whose holders are dead.
    Orphan(Geometry),
    /// A named ring that the next opener should remove: paired, replaced or given
    /// up.
    Spent,
    /// A ring that is in use, or can be used.
    Live(Geometry),
}

/// A segment and its class.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) class: Class,
    /// The life-cycle word by which the segment was judged.
    pub(crate) state: State,
    /// Whether no other process had the segment attached after that word was read.
    pub(crate) alone: bool,
    /// Keeps the id from being reused while the caller acts on the class. Counts as
    /// an attachment until dropped.
    pub(crate) attachment: Option<Attachment>,
}

impl From<Class> for Found {
    fn from(class: Class) -> Found {
        Found {
            class,
            state: State(0),
            alone: false,
            attachment: None,
        }
    }
}

/// Judges the segment `id`. Reads the segment for no longer than `deadline` and
/// [`ZERO_CHECK_LIMIT`] allow.
pub(crate) fn classify(
    id: SegmentId,
    required: &Requirements,
    deadline: &Deadline,
) -> Result<Found, SysvError> {
    let stat = match sysv::stat(id) {
        Ok(stat) => stat,
        Err(error) => return absent_or(error, id, required),
    };
    if let Some(class) = class_by_stat(&stat, required) {
        return Ok(class.into());
    }
    // Resident pages are counted before attaching: in a process that locks its
    // memory (mlockall), the attachment alone populates all pages.
    let fingerprint = |stat: &Stat| (stat.detach_time, stat.change_time, stat.creator_pid);
    let (before, was_untouched) = (fingerprint(&stat), untouched(&stat));
    let attachment = match sysv::attach_to_inspect(id) {
        Ok(attachment) => attachment,
        Err(error) => return absent_or(error, id, required),
    };
    // This check decides. The id may have passed to another segment since the first
    // check. The attachment now keeps the id from being reused.
    if let Some(class) = class_by_stat(attachment.stat(), required) {
        return Ok(class.into());
    }
    let header = match inspect::header_of(&attachment) {
        Ok(header) => header,
        Err(reason) => return Ok(Class::Foreign(reason).into()),
    };
    let state = inspect::load_state(header);
    // The attach count is read only after the life-cycle word. The process that
    // wrote the word was attached then, and either still is, or has left.
    let stat = match sysv::stat(id) {
        Ok(stat) => stat,
        Err(error) => return absent_or(error, id, required),
    };
    let alone = stat.attached == 1;
    let facts = Facts {
        state,
        alone,
        creator: stat.creator_pid,
        len: attachment.len(),
        age: stat.age(),
        // Nobody had the segment attached at the first check, no other process has
        // attached since, and the id still means the same segment.
        untouched: was_untouched && alone && fingerprint(&stat) == before,
    };
    Ok(Found {
        class: class_by_header(header, &attachment, facts, required, deadline),
        state,
        alone,
        attachment: Some(attachment),
    })
}

/// What is known of a segment besides its header.
#[derive(Clone, Copy)]
struct Facts {
    state: State,
    alone: bool,
    creator: i32,
    len: usize,
    age: Duration,
    /// Whether no process touched a page of the segment before this check.
    untouched: bool,
}

/// Whether the segment of `stat`, which nobody has attached, has no pages. Such a
/// segment is all zero. `false` if the kernel does not say.
fn untouched(stat: &Stat) -> bool {
    stat.attached == 0
        && sysv::resident(stat.id).is_some_and(|pages| pages.in_memory == 0 && pages.swapped == 0)
}

fn absent_or(error: SysvError, id: SegmentId, required: &Requirements) -> Result<Found, SysvError> {
    match error.kind() {
        SysvErrorKind::Removed | SysvErrorKind::NotFound => Ok(Class::Absent.into()),
        SysvErrorKind::PermissionDenied => {
            let listed = sysv::listed(id);
            let users = listed.map(|listed| (listed.uid, listed.creator_uid));
            let mode = listed.map(|listed| listed.mode);
            Ok(required.distrust(users, mode).into())
        }
        _ => Err(error),
    }
}

/// Judges by what the kernel says, before the segment is read.
fn class_by_stat(stat: &Stat, required: &Requirements) -> Option<Class> {
    if required.key.is_some_and(|key| key.raw() != stat.key_raw) {
        // The segment was removed since the key led to it. The id may mean another
        // segment now.
        return Some(Class::Absent);
    }
    let excess = stat.mode.bits() & !required.mode.bits();
    if !required.trusts(stat.uid) || !required.trusts(stat.creator_uid) || excess != 0 {
        return Some(required.distrust(Some((stat.uid, stat.creator_uid)), Some(stat.mode)));
    }
    if stat.marked_for_removal && !required.marked {
        return Some(Class::Absent);
    }
    misshapen(stat).map(Class::Foreign)
}

/// The reason why a segment of this size cannot be a ring; `None` if it can. The
/// size is checked before attaching, since another program may rely on the attach
/// count of its segment.
pub(crate) fn misshapen(stat: &Stat) -> Option<Incompatible> {
    if stat.size < size_of::<Header>() {
        return Some(Incompatible::TooSmall { segment: stat.size });
    }
    let ring = stat.size.checked_sub(ring_offset());
    let fits = ring.is_some_and(|ring| ring.is_power_of_two() && ring >= MIN_RING_OFFSET);
    (!fits).then_some(Incompatible::NoMagic)
}

fn class_by_header(
    header: &Header,
    attachment: &Attachment,
    facts: Facts,
    required: &Requirements,
    deadline: &Deadline,
) -> Class {
    let image = header.identity.load();
    let unborn = facts.state.life() == Some(Life::Unborn);
    if unborn && (image == Default::default() || image.may_become_ours()) {
        // With our magic at the start, only the words before the path must be zero.
        // Without one, all of the segment must be zero.
        let checked = match image.magic {
            0 => usize::MAX,
            _ => offset_of!(Header, path) - LINE, // the path is stored before the state
        };
        if !is_stillborn(facts) {
            return Class::Newborn;
        }
        let latest = deadline.at_most(ZERO_CHECK_LIMIT);
        let zero = facts.untouched.then_some(true);
        return match zero.or_else(|| inspect::is_zero_after_identity(attachment, checked, latest)) {
            Some(true) => Class::Stillborn,
            Some(false) => Class::Foreign(Incompatible::NoMagic),
            None => Class::Newborn, // a doubtful segment counts as in use
        };
    }
    let geometry = match Geometry::of_segment(&image, facts.len) {
        Ok(geometry) => geometry,
        Err(Incompatible::Version { found, .. }) if (1..VERSION).contains(&found) => {
            return Class::OtherVersion(found);
        }
        Err(reason) => return Class::Foreign(reason),
    };
    if let Some(file) = required.file
        && !geometry.is_of(file)
    {
        return Class::Collision {
            owner: (geometry.device, geometry.inode),
            asked: (file.dev, file.ino),
            earlier: geometry.is_of_earlier(file).then_some(facts.age),
        };
    }
    if geometry.kind == LifeCycleKind::Anonymous && !required.marked {
        // No key leads to an anonymous ring.
        return Class::Foreign(Incompatible::Kind { found: image.kind });
    }
    match (geometry.kind, facts.state.life()) {
        (_, Some(Life::Removed)) => Class::Spent,
        (LifeCycleKind::Named, Some(Life::Paired | Life::Replaced)) => Class::Spent,
        (LifeCycleKind::Named, Some(Life::Open)) if is_orphan(header, facts) => {
            Class::Orphan(geometry)
        }
        (_, Some(Life::Open | Life::Paired)) => Class::Live(geometry),
        (_, Some(Life::Unborn | Life::Replaced) | None) => Class::Foreign(Incompatible::State {
            found: facts.state.0,
        }),
    }
}

/// Whether the creator of a half-made segment is proven dead. A segment that was
/// never attached and whose creator lives is newborn, however old.
fn is_stillborn(facts: Facts) -> bool {
    let creator = Process {
        pid: u32::try_from(facts.creator).unwrap_or(0), // 0: not in our pid namespace
        start: 0,
        ..Process::current()
    };
    facts.alone && Watch::new(creator).check() == Liveness::Gone
}

/// Whether no process is left that could pair an open named ring.
fn is_orphan(header: &Header, facts: Facts) -> bool {
    let held = |role: &Role| facts.state.tenure(*role) == Some(Tenure::Held);
    let dead = |role| {
        Holder::read(header.record(role)).is_some_and(|holder| holder.liveness() == Liveness::Gone)
    };
    let mut held = [Role::Producer, Role::Consumer]
        .into_iter()
        .filter(held)
        .peekable();
    // A process that holds a role has the segment attached.
    facts.alone || held.peek().is_some() && held.all(dead)
}

impl Class {
    /// The error for a caller that cannot use a segment of this class. `None` if
    /// the caller can.
    pub(crate) fn refusal(&self, id: SegmentId) -> Option<OpenError> {
        let at = Place::default(); // a caller further up fills in the place
        Some(match self {
            Class::Untrusted {
                uid,
                mode,
                trusted,
                most,
            } => OpenError::Untrusted {
                at,
                id,
                uid: *uid,
                mode: *mode,
                trusted: trusted.clone(),
                most: u32::from(most.bits()),
            },
            Class::Foreign(reason) => OpenError::not_a_ring(id, *reason),
            &Class::OtherVersion(found) => OpenError::not_a_ring(
                id,
                Incompatible::Version {
                    found,
                    supported: VERSION,
                },
            ),
            &Class::Collision {
                owner,
                asked,
                earlier,
            } => OpenError::KeyCollision {
                at,
                id,
                owner,
                asked,
                earlier,
            },
            _ => return None,
        })
    }
}
