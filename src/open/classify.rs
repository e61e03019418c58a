//! What a segment is to us: the one place that decides it. Doubt counts as in
//! use.

use std::mem::offset_of;
use std::time::Duration;

use crate::error::{Incompatible, OpenError, Place};
use crate::role::Role;
use crate::segment::identity::{Geometry, VERSION};
use crate::segment::identity::{LINE, MIN_RING_OFFSET, ring_offset};
use crate::segment::layout::Header;
use crate::segment::record::Holder;
use crate::segment::region::inspect;
use crate::segment::state::{Kind, Life, State, Tenure};
use crate::sys::process::{Liveness, Process, Watch, effective_uid};
use crate::sys::sysv::{
    self, Attachment, FileIdentity, Key, Mode, SegmentId, Stat, SysvError, SysvErrorKind,
};
use crate::tuning::READING;
use crate::wait::deadline::Deadline;

/// What is required of a segment before it is looked into.
#[derive(Clone, Debug)]
pub(crate) struct Requirements {
    /// It may be open to nobody beyond this.
    pub(crate) mode: Mode,
    /// The effective user: it or one of `others` must own it, and have made it.
    own: u32,
    others: Vec<u32>,
    /// The key by which it was found, and must be found yet.
    key: Option<Key>,
    /// The file whose ring it must be.
    pub(crate) file: Option<FileIdentity>,
    /// Whether it may be marked for removal and yet be used, as what is
    /// looked for by id may.
    pub(crate) marked: bool,
}

impl Requirements {
    /// What a caller that asks for `mode` may trust when it looks by key.
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

    /// The same when it looks by id.
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

    /// What a segment is that belongs to the first of `users`, was made by the
    /// second and has this mode, all as far as the kernel says it.
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
    /// There is none, or it is marked for removal.
    Absent,
    /// Another user's, or open to more users than expected. Not looked into.
    Untrusted {
        uid: Option<u32>,
        mode: Option<u32>,
        trusted: Vec<u32>,
        most: Mode,
    },
    /// Not a ring that this build can use.
    Foreign(Incompatible),
    /// A ring of this earlier layout version, which this build does not know.
    OtherVersion(u32),
    /// The ring of another file.
    Collision {
        owner: (u64, u64),
        asked: (u64, u64),
        earlier: Option<Duration>,
    },
    /// Being made by a process that may live.
    Newborn,
    /// Half made by a process that is proven dead.
    Stillborn,
    /// A named ring that nobody joined and whose holders are dead.
    Orphan(Geometry),
    /// A named ring that the next one to look should remove: paired, replaced
    /// or given up.
    Spent,
    /// In use, or to be used.
    Live(Geometry),
}

/// A segment and what it is.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) class: Class,
    /// The life-cycle word by which it was judged.
    pub(crate) state: State,
    /// Whether nobody had it attached when that word had been read.
    pub(crate) alone: bool,
    /// Keeps its id from being reused while the class is acted upon; and is
    /// counted as attached, until it is dropped.
    pub(crate) looked: Option<Attachment>,
}

impl From<Class> for Found {
    fn from(class: Class) -> Found {
        Found {
            class,
            state: State(0),
            alone: false,
            looked: None,
        }
    }
}

/// Says what the segment `id` is. Reads no further into one than `deadline` and
/// [`READING`] allow.
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
    // Before it is attached: that alone has all pages made in a process that
    // locks its memory (mlockall).
    let same = |stat: &Stat| (stat.detach_time, stat.change_time, stat.creator_pid);
    let (before, was_untouched) = (same(&stat), untouched(&stat));
    let looked = match sysv::look(id) {
        Ok(looked) => looked,
        Err(error) => return absent_or(error, id, required),
    };
    // The answer that decides: the id may have passed to another segment since the first one,
    // and cannot any more.
    if let Some(class) = class_by_stat(looked.stat(), required) {
        return Ok(class.into());
    }
    let header = match inspect::header_of(&looked) {
        Ok(header) => header,
        Err(reason) => return Ok(Class::Foreign(reason).into()),
    };
    let state = inspect::load_state(header);
    // Counted only now: whoever made the word what it is had it attached, and
    // either still has, or has gone.
    let stat = match sysv::stat(id) {
        Ok(stat) => stat,
        Err(error) => return absent_or(error, id, required),
    };
    let alone = stat.attached == 1;
    let facts = Facts {
        state,
        alone,
        creator: stat.creator_pid,
        len: looked.len(),
        age: stat.age(),
        // Nobody had it attached then, nobody has come and gone since, and the id
        // has not passed to another segment.
        untouched: was_untouched && alone && same(&stat) == before,
    };
    Ok(Found {
        class: class_by_header(header, &looked, facts, required, deadline),
        state,
        alone,
        looked: Some(looked),
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
    /// Whether nobody ever touched a page of it before this look.
    untouched: bool,
}

/// Whether the segment of this `stat`, which nobody has attached, has no page:
/// it is all zero. `false` where the kernel does not say.
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

/// What the kernel alone says, before a byte is believed.
fn class_by_stat(stat: &Stat, required: &Requirements) -> Option<Class> {
    if required.key.is_some_and(|key| key.raw() != stat.key_raw) {
        // Removed since the key led to it; the id may be another segment's by now.
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

/// What a segment's size alone says against its being a ring. Asked before it
/// is attached: its own program may go by the attach count.
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
    looked: &Attachment,
    facts: Facts,
    required: &Requirements,
    deadline: &Deadline,
) -> Class {
    let image = header.identity.load();
    let unborn = facts.state.life() == Some(Life::Unborn);
    if unborn && (image == Default::default() || image.may_become_ours()) {
        // Its magic makes it ours; without one, nothing in it may be anybody's.
        let checked = match image.magic {
            0 => usize::MAX,
            _ => offset_of!(Header, path) - LINE, // the path is stored before the state
        };
        if !is_stillborn(facts) {
            return Class::Newborn;
        }
        let latest = deadline.at_most(READING);
        let zero = facts.untouched.then_some(true);
        return match zero.or_else(|| inspect::is_zero_behind_identity(looked, checked, latest)) {
            Some(true) => Class::Stillborn,
            Some(false) => Class::Foreign(Incompatible::NoMagic),
            None => Class::Newborn, // doubt is in use
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
    if geometry.kind == Kind::Anonymous && !required.marked {
        // No key leads to an anonymous ring.
        return Class::Foreign(Incompatible::Kind { found: image.kind });
    }
    match (geometry.kind, facts.state.life()) {
        (_, Some(Life::Removed)) => Class::Spent,
        (Kind::Named, Some(Life::Paired | Life::Replaced)) => Class::Spent,
        (Kind::Named, Some(Life::Open)) if is_orphan(header, facts) => Class::Orphan(geometry),
        (_, Some(Life::Open | Life::Paired)) => Class::Live(geometry),
        (_, Some(Life::Unborn | Life::Replaced) | None) => Class::Foreign(Incompatible::State {
            found: facts.state.0,
        }),
    }
}

/// Whether a half-made segment's creator is proven dead. One that was never
/// attached and whose creator lives is a newborn, however old.
fn is_stillborn(facts: Facts) -> bool {
    let creator = Process {
        pid: u32::try_from(facts.creator).unwrap_or(0), // 0: not in our pid namespace
        start: 0,
        ..Process::current()
    };
    facts.alone && Watch::new(creator).check() == Liveness::Gone
}

/// Whether nobody is left of those who might pair an open named ring.
fn is_orphan(header: &Header, facts: Facts) -> bool {
    let held = |role: &Role| facts.state.tenure(*role) == Some(Tenure::Held);
    let dead = |role| {
        Holder::read(header.record(role)).is_some_and(|holder| holder.liveness() == Liveness::Gone)
    };
    let mut held = [Role::Producer, Role::Consumer]
        .into_iter()
        .filter(held)
        .peekable();
    // Whoever holds a role has it attached.
    facts.alone || held.peek().is_some() && held.all(dead)
}

impl Class {
    /// The error for a caller that can do nothing with a segment of this
    /// class; `None` where it can.
    pub(crate) fn refusal(&self, id: SegmentId) -> Option<OpenError> {
        let at = Place::default(); // the caller's caller knows
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
