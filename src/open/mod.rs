//! How a ring is made, found, paired and removed.
//!
//! | kind | found by | removed |
//! |---|---|---|
//! | anonymous | fork; id | at birth: `IPC_RMID` right after the first attach |
//! | named | key, until paired | when both roles are claimed; else by the last handle's drop |
//! | persistent | key | on purpose only |
//! | placed | its memory, which is the caller's | never: there is no segment |
//!
//! On Linux a segment marked for removal can still be attached by id while
//! somebody has it attached, and its key is free at once. So nothing here
//! resolves a key twice: what is held is the id, kept alive by an attachment.
//!
//! A segment is removed only by a process that has it attached and has won,
//! or has seen somebody win, the swap of the life-cycle word that says so. A
//! winner may die before it removes: whoever sees the word next does it.

pub(crate) mod classify;
pub(crate) mod keyfile;

use std::time::{Duration, Instant};

use crate::error::{Incompatible, MemoryError, OpenError, Place};
use crate::open::classify::{Class, Expected, Found, classify};
use crate::open::keyfile::KeyFile;
use crate::options::Options;
use crate::peer::{self, Claim, Denied};
use crate::ring::marks::{self, NoPlace};
use crate::role::Role;
use crate::segment::closed::Departure;
use crate::segment::identity::ring_offset;
use crate::segment::identity::{EXPLICIT_CAPACITY, Geometry, UNWAITED};
use crate::segment::region::Region;
use crate::segment::region::mapped::MappedRegion;
use crate::segment::state::{Kind, Life, State, Tenure};
use crate::sync::steps::step;
use crate::sys::random::random;
use crate::sys::sysv::{self, Key, SegmentId, SysvErrorKind};
use crate::wait::deadline::{self, Deadline};
use crate::wait::{self, Effort, Spinning, Waited};

/// How long a segment that is being made may take before it is somebody
/// else's.
const BIRTH: Duration = Duration::from_secs(1);
/// How long an opener looks before it says that the other side is in another
/// IPC namespace.
const ELSEWHERE: Duration = Duration::from_millis(200);

/// Tries to make or join a ring before the clock is asked: one, and one for what
/// the first has removed.
const UNCHECKED_TRIES: u32 = 2;

/// How long a role may be between two holders before it counts as taken.
const HALF_DONE: Duration = Duration::from_millis(100);

/// What leads to a ring.
#[derive(Debug)]
pub(crate) enum Name {
    File(KeyFile),
    Key(Key),
}

impl Name {
    fn key(&self) -> Key {
        match self {
            Name::File(file) => file.key(),
            Name::Key(key) => *key,
        }
    }

    pub(crate) fn file(&self) -> Option<&KeyFile> {
        match self {
            Name::File(file) => Some(file),
            Name::Key(_) => None,
        }
    }

    /// What an error calls it.
    pub(crate) fn place(&self) -> Place {
        match self {
            Name::File(file) => file.place(),
            Name::Key(key) => Place::key(*key),
        }
    }

    fn expected(&self, options: &Options) -> Expected {
        let file = self.file().map(KeyFile::identity);
        Expected::by_key(options.mode, &options.owners, self.key(), file)
    }
}

/// A ring and a role in it.
pub(crate) type Joined = (MappedRegion, Claim);

/// Makes an anonymous ring.
pub(crate) fn create_anonymous(options: &Options) -> Result<MappedRegion, OpenError> {
    let geometry = Geometry::new(options.ring_bytes()?, Kind::Anonymous, nonce(), None, 0);
    let id = sysv::create(None, geometry.ring_end(), options.mode)?;
    step!(Created);
    let view = sysv::attach_double_own(id, geometry.ring_offset, geometry.ring_end());
    step!(Attached);
    // Removed in either case: attached, it lives on until the last detaches.
    let removed = match &view {
        Ok(_) => remove_if_there(id),
        Err(_) => remove_if_own(id, geometry.ring_end()),
    };
    step!(Unkeyed);
    let region = MappedRegion::format(view?, geometry, &[]);
    removed?;
    publish(&region);
    Ok(region)
}

/// Attaches the ring whose segment is `id`.
pub(crate) fn attach(id: SegmentId, options: &Options) -> Result<MappedRegion, OpenError> {
    let deadline = Deadline::new(options.timeout, options.cancel.as_ref());
    let expected = Expected::by_id(options.mode, &options.owners);
    loop {
        let found = classify(id, &expected, &deadline)?;
        match found.class {
            Class::Absent => return Err(OpenError::removed(id)),
            Class::Newborn if deadline.elapsed() >= BIRTH => return Err(half_made(id)),
            Class::Newborn => deadline.pause("the ring is being made")?,
            Class::Stillborn => return Err(half_made(id)),
            Class::Live(geometry) | Class::Orphan(geometry) => return attach_live(id, &geometry),
            Class::Spent => {
                // Paired: by id a role can still be asked for, and refused.
                let view = sysv::attach_double(id, ring_offset())?;
                return MappedRegion::open(view)
                    .map_err(|reason| OpenError::not_a_ring(id, reason));
            }
            class => return Err(class.refusal(id).unwrap_or(OpenError::removed(id))),
        }
    }
}

/// The ring takes nobody any more. One in the caller's memory never comes to
/// that by itself: somebody has written to it.
fn gone(region: &MappedRegion) -> OpenError {
    match region.id() {
        Some(id) => OpenError::removed(id),
        None => MemoryError::NotARing(Incompatible::State {
            found: region.header().state().0,
        })
        .into(),
    }
}

fn half_made(id: SegmentId) -> OpenError {
    OpenError::not_a_ring(id, Incompatible::HalfMade)
}

/// Attaches a segment that was classified as live, and makes sure that it is
/// still the same one.
fn attach_live(id: SegmentId, geometry: &Geometry) -> Result<MappedRegion, OpenError> {
    let removed = |error: sysv::SysvError| match error.kind() {
        SysvErrorKind::Removed | SysvErrorKind::NotFound => OpenError::removed(id),
        _ => OpenError::System(error),
    };
    let view = sysv::attach_double(id, geometry.ring_offset).map_err(removed)?;
    let region = MappedRegion::open(view).map_err(|reason| OpenError::not_a_ring(id, reason))?;
    if region.geometry().nonce != geometry.nonce {
        return Err(OpenError::removed(id));
    }
    Ok(region)
}

/// Makes or finds the ring that `name` leads to, and claims `role` in it.
/// Waits for the peer where the options say so. One limit holds for all of it,
/// in which the time for having pages be there does not count.
pub(crate) fn open(name: &Name, role: Role, options: &Options) -> Result<Joined, OpenError> {
    if options.persistent && forced_removal() {
        return Err(OpenError::CannotPersist);
    }
    let mut deadline = Deadline::new(options.timeout, options.cancel.as_ref());
    loop {
        let joined = join(name, role, options, &mut deadline)?;
        if options.persistent || options.unwaited {
            return Ok(joined);
        }
        match await_peer(name, joined, options, &deadline)? {
            Some(joined) => return Ok(joined),
            None => continue, // the ring was given up for another one
        }
    }
}

/// One pass: makes the ring or joins the one that is there. Tries once even if
/// the time is over, and once more behind a leftover that it has removed.
fn join(
    name: &Name,
    role: Role,
    options: &Options,
    deadline: &mut Deadline,
) -> Result<Joined, OpenError> {
    let expected = name.expected(options);
    let mut absent_since = None;
    let mut newborn_since = None;
    let mut tries = 0;
    loop {
        deadline.check_cancelled()?;
        if tries >= UNCHECKED_TRIES {
            deadline.check("each try met a ring that was being made or removed")?;
        }
        tries += 1;
        let lock = name.file().map(|file| file.lock(deadline)).transpose()?;
        let id = match sysv::open(name.key()) {
            Ok(id) => Some(id),
            Err(error) if error.kind() == SysvErrorKind::NotFound => None,
            Err(error) => return Err(error.into()),
        };
        let Found {
            class,
            state,
            looked,
            ..
        } = match id {
            Some(id) => classify(id, &expected, deadline)?,
            None => Class::Absent.into(),
        };
        match (class, id) {
            (Class::Absent, _) => {
                if let Some(file) = name.file()
                    && file.waited_for_elsewhere()
                {
                    let since = *absent_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= ELSEWHERE {
                        return Err(OpenError::OtherNamespace {
                            path: file.path().to_owned(),
                        });
                    }
                    drop(lock);
                    deadline.pause("a process waits in another IPC namespace")?;
                    continue;
                }
                let (region, claim) = match create_named(name, role, options, deadline) {
                    Err(OpenError::System(error)) if is_race(error.kind()) => continue,
                    created => created?,
                };
                drop(lock);
                if options.prefault {
                    populate_own(&region, &claim, deadline)?;
                }
                return Ok((region, claim));
            }
            (Class::Live(geometry), Some(id)) => {
                let region = match attach_live(id, &geometry) {
                    Err(OpenError::Removed { .. }) => continue,
                    attached => attached?,
                };
                drop(looked); // the region pins the id; and who is attached is counted
                if give_way(&region, options)? {
                    continue;
                }
                // No role without the pages, and no lock while they come: the
                // attachment keeps the ring from looking left behind.
                let lock = lock.filter(|_| !options.prefault);
                if options.prefault {
                    deadline.without(|| region.populate())?;
                }
                let claimed = take(
                    &region,
                    role,
                    region.views(),
                    options,
                    deadline.at_most(HALF_DONE),
                );
                drop(lock);
                match claimed {
                    Err(OpenError::Removed { .. }) => continue,
                    Err(OpenError::TooManyEnds { unread, .. }) => {
                        await_places(&region, deadline, unread)?;
                    }
                    claimed => return Ok((region, claimed?)),
                }
            }
            (Class::Newborn, Some(id)) => {
                let since = *newborn_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= BIRTH {
                    return Err(half_made(id));
                }
                drop(lock);
                deadline.pause("the ring is being made")?;
            }
            (Class::Stillborn, Some(id)) if lock.is_none() => return Err(half_made(id)),
            // By id, which `looked` pins.
            (Class::Stillborn, Some(id)) => remove_if_there(id)?,
            (Class::Spent, Some(id)) => match remove_if_there(id) {
                // Another user's: whoever it is that waits there removes it.
                Err(OpenError::System(error))
                    if error.kind() == SysvErrorKind::PermissionDenied
                        && deadline.elapsed() < BIRTH =>
                {
                    drop(lock);
                    deadline.pause("another user's ring is being removed")?;
                }
                removed => removed?,
            },
            (Class::Orphan(geometry), Some(id)) => {
                retire(id, &geometry, state)?;
            }
            (class, Some(id)) => {
                return Err(class.refusal(id).unwrap_or(OpenError::removed(id)));
            }
            (_, None) => unreachable!("what has no id is absent"),
        }
    }
}

/// What a race with another opener, or with a remover, ends in.
fn is_race(kind: SysvErrorKind) -> bool {
    matches!(
        kind,
        SysvErrorKind::AlreadyExists | SysvErrorKind::Removed | SysvErrorKind::NotFound
    )
}

fn create_named(
    name: &Name,
    role: Role,
    options: &Options,
    deadline: &Deadline,
) -> Result<Joined, OpenError> {
    let kind = if options.persistent {
        Kind::Persistent
    } else {
        Kind::Named
    };
    let flags = if options.capacity.is_some() {
        EXPLICIT_CAPACITY
    } else {
        0
    } | if options.unwaited { UNWAITED } else { 0 };
    let file = name.file().map(KeyFile::identity);
    let geometry = Geometry::new(options.ring_bytes()?, kind, nonce(), file, flags);
    let id = sysv::create(Some(name.key()), geometry.ring_end(), options.mode)?;
    step!(Created);
    let own = sysv::attach_double_own(id, geometry.ring_offset, geometry.ring_end());
    let view = match own {
        Ok(view) => view,
        Err(error) => {
            remove_if_own(id, geometry.ring_end())?;
            return Err(error.into());
        }
    };
    step!(Attached);
    let path = name.file().map_or(&[][..], KeyFile::path_bytes);
    let region = MappedRegion::format(view, geometry, path);
    publish(&region);
    let claim = take(
        &region,
        role,
        region.views(),
        options,
        deadline.at_most(HALF_DONE),
    )?;
    Ok((region, claim))
}

/// Has every page of a ring that was just made be there, its role being taken
/// and its path's lock not held, so that the other side can come meanwhile.
/// Where there is no memory for them the role is given up, and with it the ring,
/// unless somebody else uses it by now.
fn populate_own(
    region: &MappedRegion,
    claim: &Claim,
    deadline: &mut Deadline,
) -> Result<(), OpenError> {
    let Err(error) = deadline.without(|| region.populate()) else {
        return Ok(());
    };
    let kind = region.geometry().kind;
    let left = peer::leave(region, kind, claim, Departure::Aborted, || ());
    let is_unused = match left {
        // A named one went with its only side; one that persists stays until it
        // is told to go.
        Some((_, after)) if after.generation(claim.role.peer()) == 0 => {
            after.life() == Some(Life::Removed) || peer::give_up(region, after)
        }
        _ => false,
    };
    if is_unused {
        unkey(region)?;
    }
    Err(error.into())
}

/// Lets the others believe a formatted ring.
pub(crate) fn publish(region: &impl Region) {
    step!(Formatted);
    let word = &region.header().state.word;
    word.store(State::OPEN.0, crate::sync::Ordering::Release); // P3
    step!(Published);
}

/// Waits until a producer finds places for the ends of its streams.
fn await_places(
    region: &MappedRegion,
    deadline: &Deadline,
    mut unread: u64,
) -> Result<(), OpenError> {
    let header = region.header();
    loop {
        match deadline.check("") {
            Err(OpenError::TimedOut { .. }) => return Err(too_many_ends(region, unread)),
            checked => checked?,
        }
        // A ring that is removed takes nobody: the caller finds out.
        if !matches!(header.state().life(), Some(Life::Open | Life::Paired)) {
            return Ok(());
        }
        let prepared = marks::prepare_wait(header);
        match marks::check_places(header) {
            Err(NoPlace::TooMany(now)) => unread = now,
            // Somebody else may have the role, and leave ends that are acknowledged
            // between the two looks: whoever has it judges, which is the claim.
            Ok(()) | Err(NoPlace::Corrupt(_)) => return Ok(()),
        }
        let now = Instant::now();
        let left = deadline.at().map(|at| at.saturating_duration_since(now));
        marks::wait(
            header,
            prepared,
            left.unwrap_or(wait::SLICE).min(wait::SLICE),
        );
    }
}

fn too_many_ends(region: &MappedRegion, unread: u64) -> OpenError {
    OpenError::TooManyEnds {
        at: Place::segment(region.id()).with_role(Role::Producer),
        unread,
    }
}

/// Claims `role` of a ring that no path's lock is held for. Has its pages be
/// there first, where that was asked for, and waits for places if need be.
pub(crate) fn claim(
    region: &MappedRegion,
    role: Role,
    views: u32,
    options: &Options,
) -> Result<Claim, OpenError> {
    if options.prefault {
        region.populate()?;
    }
    let deadline = Deadline::new(options.timeout, options.cancel.as_ref());
    loop {
        match take(region, role, views, options, deadline.at_most(HALF_DONE)) {
            Err(OpenError::TooManyEnds { unread, .. }) => await_places(region, &deadline, unread)?,
            taken => return taken,
        }
    }
}

/// Claims `role`; a ring that is thereby paired is removed from its key, and
/// its other side told. Waits until `latest` for one who is half way through.
fn take(
    region: &MappedRegion,
    role: Role,
    views: u32,
    options: &Options,
    latest: Instant,
) -> Result<Claim, OpenError> {
    let claim = loop {
        match peer::claim(region, role, views, options.resume) {
            Ok(claim) => break claim,
            Err(Denied::Gone) => return Err(gone(region)),
            Err(Denied::TooManyEnds { unread }) => return Err(too_many_ends(region, unread)),
            Err(Denied::Corrupt(corruption)) => return Err(corruption.into()),
            // Somebody is half way through leaving, through a claim, or through
            // saying that the holder is dead.
            Err(Denied::Taken { .. })
                if matches!(
                    region.header().state().tenure(role),
                    Some(Tenure::Free | Tenure::Lost)
                ) && Instant::now() < latest =>
            {
                std::thread::yield_now();
            }
            Err(Denied::Taken { pid }) => {
                let at = Place::segment(region.id()).with_role(role);
                return Err(OpenError::RoleTaken { at, role, pid });
            }
        }
    };
    if region.header().state().life() == Some(Life::Paired) {
        if region.geometry().kind == Kind::Named {
            unkey(region)?;
        }
        step!(KeyRemoved);
    }
    // A side may wait for whoever comes.
    wait::wake_always(&region.header().side(role.peer()).signals);
    Ok(claim)
}

/// Compares what the caller wants with the ring that is there. `true` when
/// that ring was given up for one of the capacity asked for.
fn give_way(region: &MappedRegion, options: &Options) -> Result<bool, OpenError> {
    let geometry = region.geometry();
    let persistent = geometry.kind == Kind::Persistent;
    if persistent != options.persistent {
        let at = Place::segment(region.id());
        return Err(OpenError::LifeCycleMismatch { at, persistent });
    }
    let asked = options.ring_bytes()?;
    if options.capacity.is_none() || asked == geometry.capacity {
        return Ok(false);
    }
    let mismatch = OpenError::CapacityMismatch {
        at: Place::segment(region.id()),
        asked,
        found: geometry.capacity,
    };
    if persistent || geometry.explicit_capacity || geometry.unwaited {
        return Err(mismatch);
    }
    if region
        .header()
        .transition(|state| state.replace().ok_or(()))
        .is_err()
    {
        return Err(mismatch);
    }
    for role in [Role::Producer, Role::Consumer] {
        wait::wake_always(&region.header().side(role).signals);
    }
    unkey(region)?;
    Ok(true)
}

/// Takes away a ring that was found in the state `seen`, unless it has moved
/// on since; says whether it was taken away.
pub(crate) fn retire(id: SegmentId, geometry: &Geometry, seen: State) -> Result<bool, OpenError> {
    let region = match attach_live(id, geometry) {
        Err(OpenError::Removed { .. }) => return Ok(true),
        attached => attached?,
    };
    if !peer::give_up(&region, seen) {
        return Ok(false);
    }
    step!(OrphanTaken);
    remove_if_there(id)?;
    Ok(true)
}

/// Takes away a ring, whatever its holders do meanwhile. One that is paired is
/// so for good: that word is left to those who go by it.
pub(crate) fn retire_by_force(id: SegmentId, geometry: &Geometry) -> Result<(), OpenError> {
    let region = match attach_live(id, geometry) {
        Err(OpenError::Removed { .. }) => return Ok(()),
        attached => attached?,
    };
    peer::leave_unpaired(&region);
    remove_if_there(id)
}

/// Removes a segment of `len` bytes that this process has made and could not attach, so that
/// nothing has kept its id from passing to another one.
fn remove_if_own(id: SegmentId, len: usize) -> Result<(), OpenError> {
    match sysv::stat(id) {
        Ok(stat) if stat.made_here() && stat.size == len => remove_if_there(id),
        _ => Ok(()),
    }
}

/// Removes a segment; that somebody else was faster is as good.
pub(crate) fn remove_if_there(id: SegmentId) -> Result<(), OpenError> {
    match sysv::remove(id) {
        Err(error) if error.kind() != SysvErrorKind::Removed => Err(error.into()),
        _ => Ok(()),
    }
}

/// Removes the segment of a ring that nobody needs to find any more. Where it
/// belongs to another user, that user's side does it; in another IPC namespace
/// than it was attached in, its id is somebody else's.
pub(crate) fn unkey(region: &MappedRegion) -> Result<(), OpenError> {
    let Some(id) = region.known_id() else {
        return Ok(());
    };
    match remove_if_there(id) {
        Err(OpenError::System(error)) if error.kind() == SysvErrorKind::PermissionDenied => Ok(()),
        removed => removed,
    }
}

/// Why waiting for the peer ends early.
enum Stop {
    Cancelled,
    /// The key or the path no longer leads here.
    Unfindable,
}

/// Waits until both roles are claimed. `None` when the ring was replaced or
/// removed and another one is to be made.
fn await_peer(
    name: &Name,
    (region, claim): Joined,
    options: &Options,
    deadline: &Deadline,
) -> Result<Option<Joined>, OpenError> {
    let header = region.header();
    let life = || header.state().life();
    let file = name.file();
    let is_there = || {
        let stat = region.id().and_then(|id| sysv::stat(id).ok());
        stat.is_some_and(|stat| !stat.marked_for_removal)
    };
    let on_path = || file.is_none_or(KeyFile::is_current);
    let waited = if life() == Some(Life::Open) {
        file.inspect(|file| file.mark_waiting());
        step!(Announced);
        let waited = wait::wait(
            &header.side(claim.role).signals,
            u64::MAX, // no position ends this wait
            Spinning::Not,
            deadline.at(),
            &mut Effort::new(),
            || Ok(life().filter(|&life| life != Life::Open)),
            || {
                if deadline::is_set(options.cancel.as_ref()) {
                    Err(Stop::Cancelled)
                } else if on_path() && is_there() {
                    Ok(())
                } else {
                    Err(Stop::Unfindable)
                }
            },
        );
        file.inspect(|file| file.unmark());
        waited
    } else {
        Ok(Waited::Ready(Life::Paired))
    };
    // Unless somebody joined at the last moment, which counts.
    if !matches!(waited, Ok(Waited::Ready(_))) && peer::leave_unpaired(&region) {
        unkey(&region)?;
        return match waited {
            Err(Stop::Cancelled) => Err(OpenError::Cancelled),
            Err(Stop::Unfindable) if on_path() => Ok(None),
            Err(Stop::Unfindable) => Err(OpenError::FileGone {
                at: Place::default(),
            }),
            Ok(_) => Err(deadline.timed_out(match claim.role {
                Role::Producer => "no consumer opened the other end",
                Role::Consumer => "no producer opened the other end",
            })),
        };
    }
    // Whoever sees the end of this wait removes the key: the one that made it
    // so may have died before it could.
    unkey(&region)?;
    Ok((life() == Some(Life::Paired)).then_some((region, claim)))
}

/// A number that tells this ring from every other one.
pub(crate) fn nonce() -> u64 {
    random()
}

/// Whether the kernel removes what nobody has attached.
/// <https://man7.org/linux/man-pages/man5/proc_sys_kernel.5.html>
fn forced_removal() -> bool {
    std::fs::read_to_string("/proc/sys/kernel/shm_rmid_forced")
        .is_ok_and(|value| value.trim() == "1")
}
