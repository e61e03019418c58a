//! Who holds a role: claiming it, giving it up, and telling whether its
//! holder lives.
//!
//! # The steps of a claim (P6)
//!
//! 1. `owner` is swapped from free, or from a holder proven dead, to the
//!    claimer's own word. This decides between claimers.
//! 2. A producer of a ring that persists looks for places for its marks, and
//!    frees `owner` if there are none. Unless it resumes, it breaks a dead
//!    producer's stream off, by a mark (`marks.rs`).
//! 3. The claim is counted in the side's `claims`.
//! 4. The claimer fills the rest of the record, then stores its word in
//!    `complete`: only where both are equal do the other words count.
//! 5. It clears what the last holder left in the side's line.
//! 6. The life-cycle word is swapped to say that the role is held.
//!
//! Giving up goes the other way: life-cycle word first, `owner` last. A
//! claimer or leaver that is killed in between leaves an `owner` that can be
//! proven dead, never a role without one.
//!
//! # Proof of death
//!
//! Either the kernel says that the process exited (`peer.rs`), or the segment
//! is attached fewer times than the living would have it. Each claim records
//! how many attachments its mapping has. Two claims of one process may share a
//! mapping, those of two processes do not. A count at or above the expected one
//! proves nothing, since a fork adds to it. What cannot be known counts as
//! alive.

use crate::error::{Corruption, Rule};
use crate::ring::Departure;
use crate::ring::marks::{self, NoPlace};
use crate::segment::layout::{HEARS_BARRIERS, Header, KNOWS_INLINE, Record, Signals, WAKES};
use crate::segment::region::Region;
use crate::segment::region::mapped::MappedRegion;
use crate::segment::state::{Kind, Life, Refusal, Role, State, Tenure};
use crate::sync::steps::step;
use crate::sync::{Ordering, fence};
use crate::sys::membarrier;
use crate::sys::process::{self, Liveness, Process, Watch};
use crate::sys::sysv::{self, DoubleView};
use crate::wait;

/// The most attachments that a record is believed to stand for.
const MOST_VIEWS: u32 = 2;

/// A process and one of its claims, in a word: process id, pid namespace,
/// start time and generation. The last three are cut short, so the word is
/// enough to prove a half-done claimer dead, and to tell two claims apart.
///
/// The inode numbers of namespaces are given out from the lowest free one on,
/// so 18 bits of them tell 2^18 namespaces that live at a time from one
/// another.
fn owner_word(process: &Process, generation: u16) -> u64 {
    u64::from(process.pid) << 42
        | u64::from(process.pid_namespace & NAMESPACE) << 24
        | u64::from(process::start_end(process.start)) << 2
        | u64::from(generation & 3)
}

/// The bits of a pid namespace's inode number that an owner word has.
const NAMESPACE: u32 = 0x3_ffff;

/// Whether an owner word may be that of the claim of this `generation`.
fn is_of(owner: u64, generation: u16) -> bool {
    owner & 3 == u64::from(generation) & 3
}

/// The process id in an owner word.
pub(crate) fn pid_of(owner: u64) -> u32 {
    (owner >> 42) as u32
}

/// A role that this process holds. A copy is as good, for asking after the
/// peer; the endpoint alone gives the role up.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) role: Role,
    pub(crate) generation: u16,
    /// The number of the claim, by the side's count of claims.
    number: u64,
    owner: u64,
    views: u32,
}

/// What a claimer wants, and is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claimer {
    pub(crate) process: Process,
    /// Bits of `Record::capabilities`.
    pub(crate) capabilities: u32,
    /// What the claim adds to the attach count of the segment: nothing when the
    /// same mapping is counted for the other role already.
    pub(crate) views: u32,
    /// Whether a producer goes on with the stream of one that died.
    pub(crate) resumes: bool,
}

impl Claim {
    fn is_held_in(&self, state: State) -> bool {
        state.tenure(self.role) == Some(Tenure::Held)
            && state.generation(self.role) == self.generation
    }
}

/// Why a role was not had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// Its holder lives, or cannot be proven dead, or cannot be followed.
    Taken { pid: u32 },
    /// The ring takes nobody any more.
    Gone,
    /// So many ends of streams are not acknowledged that there is no place for
    /// another producer's.
    TooManyEnds { unread: u64 },
    /// What the last holders left cannot be true.
    Corrupt(Corruption),
}

impl From<NoPlace> for Denied {
    fn from(no_place: NoPlace) -> Denied {
        match no_place {
            NoPlace::TooMany(unread) => Denied::TooManyEnds { unread },
            NoPlace::Corrupt(corruption) => Denied::Corrupt(corruption),
        }
    }
}

/// The life-cycle word as it is now.
pub(crate) fn state(header: &Header) -> State {
    State(header.state.word.load(Ordering::Acquire)) // P3, P6
}

/// Swaps the life-cycle word through `next` until it sticks, and returns the
/// word before and after; the error of `next` ends it.
pub(crate) fn transition<E>(
    header: &Header,
    mut next: impl FnMut(State) -> Result<State, E>,
) -> Result<(State, State), E> {
    let word = &header.state.word;
    let mut before = state(header);
    loop {
        let after = next(before)?;
        // Release: the words written before are the winner's to publish.
        // Acquire: what the last winner published is seen before we go on.
        // Relaxed: of a swap that failed the word alone counts. P3, P6
        match word.compare_exchange(before.0, after.0, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => return Ok((before, after)),
            Err(now) => before = State(now),
        }
    }
}

/// Claims `role`.
pub(crate) fn claim(
    region: &MappedRegion,
    role: Role,
    views: u32,
    resumes: bool,
) -> Result<Claim, Denied> {
    let kind = region.geometry().kind;
    let is_dead = |found| holder_is_dead(region, role, found);
    let hears = if membarrier::register() {
        HEARS_BARRIERS
    } else {
        0
    };
    let claimer = Claimer {
        process: Process::claimer(),
        capabilities: WAKES | KNOWS_INLINE | hears,
        views,
        resumes,
    };
    claim_as(claimer, region, kind, role, is_dead)
}

/// Claims `role` for a claimer, in any memory. `is_dead` says whether the
/// process of an owner word is proven dead.
pub(crate) fn claim_as(
    me: Claimer,
    region: &impl Region,
    kind: Kind,
    role: Role,
    is_dead: impl FnOnce(u64) -> bool,
) -> Result<Claim, Denied> {
    let header = region.header();
    let record = header.record(role);

    let now = state(header);
    let found = record.owner.load(Ordering::Relaxed); // compared only
    let dead = found != 0 && is_dead(found);
    let refused = |refusal| match refusal {
        Refusal::Taken => Denied::Taken { pid: pid_of(found) },
        Refusal::Gone => Denied::Gone,
    };
    now.claim(role, kind, dead).map_err(refused)?;
    if found != 0 && !dead {
        // Another claimer, or a leaver, is half way through.
        return Err(Denied::Taken { pid: pid_of(found) });
    }

    let generation = now.next_generation(role);
    let owner = owner_word(&me.process, generation);
    record
        .owner
        .compare_exchange(found, owner, Ordering::Acquire, Ordering::Relaxed) // P6
        .map_err(|other| Denied::Taken { pid: pid_of(other) })?;

    // While the word is ours nobody else claims the role. One that came and
    // went before has had the generation that the word says.
    if state(header).next_generation(role) != generation {
        restore_owner(record, owner, found);
        return Err(Denied::Taken { pid: 0 });
    }
    step!(OwnerTaken);

    if role == Role::Producer && kind.persists() {
        if let Err(no_place) = marks::check_places(header) {
            // The record is still the last owner's. Its death is declared: the
            // next claimer may not be able to prove it.
            if found != 0 {
                let _ = transition(header, |state| state.lose(role).ok_or(()));
            }
            release_owner(record, owner);
            return Err(no_place.into());
        }
        if !me.resumes {
            // The last one that wrote a whole record, which is dead: it wrote, or
            // was about to.
            let complete = record.complete.load(Ordering::Relaxed); // P6
            marks::break_off(header, pid_of(complete));
        }
    }
    // Release: whoever sees the count sees the mark.
    let claims = &header.side(role).signals.claims;
    let number = claims.load(Ordering::Relaxed).wrapping_add(1); // after the last holder's, P6
    claims.store(number, Ordering::Release); // P6, P8
    step!(ClaimCounted);

    // Release: whoever reads one of the words below finds the owner changed
    // when it looks again, and the claim counted.
    fence(Ordering::Release); // P6
    fill_record(record, &me);
    record.complete.store(owner, Ordering::Release); // P6
    step!(RecordComplete);

    clear_signals(&header.side(role).signals);
    step!(SideCleared);

    match transition(header, |state| state.claim(role, kind, dead)) {
        Ok((_, state)) => {
            step!(RoleHeld);
            Ok(Claim {
                role,
                generation: state.generation(role),
                number,
                owner,
                views: me.views,
            })
        }
        Err(refusal) => {
            release_owner(record, owner);
            Err(refused(refusal))
        }
    }
}

/// The claimer's words of a record, but for the two that say whose it is.
fn fill_record(record: &Record, me: &Claimer) {
    let process = &me.process;
    // Relaxed: published by `complete`.
    record.start.store(process.start, Ordering::Relaxed); // P6
    record
        .pid_namespace
        .store(process.pid_namespace, Ordering::Relaxed); // P6
    record
        .time_namespace
        .store(process.time_namespace, Ordering::Relaxed); // P6
    record.views.store(me.views, Ordering::Relaxed); // P6
    record
        .capabilities
        .store(me.capabilities, Ordering::Relaxed); // P6
}

/// Takes away what the last holder of a role left in its signals.
fn clear_signals(side: &Signals) {
    side.closed.store(0, Ordering::Relaxed); // published by the state word, P6
    // A promise of the last holder does not bind this one: from the barrier on
    // nobody reads it any more. Refused, it may cost the first sleep a slice.
    if side.sleeping.swap(wait::AWAKE, Ordering::Relaxed) == wait::PROMISED {
        membarrier::everywhere(); // P5
    }
    side.wants_echo.store(0, Ordering::Relaxed); // a hint
}

/// The process whose claim had this `generation`, the last one that held the
/// role; 0 when the record is another claimer's by now.
fn last_holder(record: &Record, generation: u16) -> u32 {
    let complete = record.complete.load(Ordering::Relaxed); // one word, P6
    match is_of(complete, generation) {
        true => pid_of(complete),
        false => 0,
    }
}

/// Gives a role, which was not had, back to its dead holder `found`, or to
/// nobody.
fn restore_owner(record: &Record, owner: u64, found: u64) {
    // A failure means that somebody else wrote it; then it is not ours to give.
    let _ = record
        .owner
        .compare_exchange(owner, found, Ordering::Release, Ordering::Relaxed); // P6
}

fn release_owner(record: &Record, owner: u64) {
    restore_owner(record, owner, 0);
}

/// Gives `claim` up and tells the peer. Returns the life-cycle word before and
/// after; nothing, and does nothing, when the role is no longer this claim's.
/// Calls `last_act` while the role is still held, and `closed` says already that
/// its holder leaves: whoever is told of an end sees that too.
pub(crate) fn leave(
    region: &impl Region,
    kind: Kind,
    claim: &Claim,
    departure: Departure,
    last_act: impl FnOnce(),
) -> Option<(State, State)> {
    let header = region.header();
    let record = header.record(claim.role);
    let own = record.owner.load(Ordering::Relaxed); // compared only
    if own != claim.owner {
        return None;
    }
    let word = departure.to_word(claim.number);
    let signals = &header.side(claim.role).signals;
    signals.closed.store(word, Ordering::Release); // P4
    step!(ClosedStored);
    last_act();
    let left = transition(header, |state| {
        if claim.is_held_in(state) {
            Ok(state.leave(claim.role, kind))
        } else {
            Err(())
        }
    });
    step!(RoleLeft);
    if kind.persists() {
        release_owner(record, claim.owner);
        step!(OwnerFreed);
    }
    wait::wake_always(&header.side(claim.role.peer()).signals);
    step!(LeftTold);
    left.ok()
}

/// Gives up a named ring that nobody has joined. `false` when somebody just
/// has.
pub(crate) fn leave_unpaired(region: &impl Region) -> bool {
    transition(region.header(), |state| match state.life() {
        Some(Life::Paired) => Err(()),
        _ => Ok(state.remove()),
    })
    .is_ok()
}

/// Gives up a ring that was found in this state. `false` when it has moved on
/// since.
pub(crate) fn give_up(region: &impl Region, seen: State) -> bool {
    transition(region.header(), |state| {
        if state == seen {
            Ok(state.remove())
        } else {
            Err(())
        }
    })
    .is_ok()
}

/// What a side is told of its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It lives, or nothing proves that it does not.
    Present,
    /// Nobody has the role: not yet, or not any more.
    Absent,
    /// It is dead.
    Dead { pid: u32 },
    /// Nobody has the role, and nobody who could take it is left.
    NeverCame,
}

/// Keeps an eye on the peer of one claim.
#[derive(Debug, Default)]
pub(crate) struct PeerWatch {
    /// The watch, and the owner word and the process that it is of.
    watch: Option<(u64, Process, Watch)>,
    /// The child that the role was handed to, until somebody has the role.
    child: Option<Watch>,
}

impl PeerWatch {
    /// Expects this child, not yet waited for, to take the peer's role; and
    /// nobody else.
    pub(crate) fn expect_child(&mut self, pid: u32) {
        let mut watch = Watch::new(Process::of_child(pid));
        // Now, while the pid is sure to be the child's; the answer comes again.
        watch.check();
        self.child = Some(watch);
    }

    /// Whether a child was expected that was not seen to come.
    pub(crate) fn expects_child(&self) -> bool {
        self.child.is_some()
    }

    /// Asks whether the peer of `claim` lives. `handed_over` says that the
    /// segment's id was given to a process that may come at any time.
    pub(crate) fn check(
        &mut self,
        region: &MappedRegion,
        claim: &Claim,
        handed_over: bool,
    ) -> Result<Verdict, Corruption> {
        let header = region.header();
        let now = state(header);
        let own = header.record(claim.role).owner.load(Ordering::Relaxed); // compared only
        if own != claim.owner {
            return Err(Corruption::new(Rule::OwnRole, own, claim.owner));
        }
        if !claim.is_held_in(now) {
            let expected = now.with_holder(claim.role, claim.generation);
            return Err(Corruption::new(Rule::OwnRole, now.0, expected.0));
        }
        let role = claim.role.peer();
        let record = header.record(role);
        let holder = Holder::read(record);
        let verdict = match now.tenure(role) {
            Some(Tenure::Held) => {
                self.child = None;
                match self.is_dead(region, claim, holder) {
                    true => Verdict::Dead {
                        // The owner word may be that of one who found it dead.
                        pid: last_holder(record, now.generation(role)),
                    },
                    false => Verdict::Present,
                }
            }
            Some(Tenure::Free)
                if region.geometry().kind == Kind::Anonymous || self.child.is_some() =>
            {
                self.check_newcomer(region, claim, holder, handed_over)
            }
            Some(Tenure::Free | Tenure::Left) => Verdict::Absent,
            Some(Tenure::Lost) => Verdict::Dead {
                pid: last_holder(record, now.generation(role)),
            },
            None => return Err(Corruption::new(Rule::StateWord, now.0, State::OPEN.0)),
        };
        // The evidence is of one holder only if no other has come meanwhile.
        let owner = record.owner.load(Ordering::Relaxed); // compared only
        if state(header) != now || owner != holder.map_or(0, |holder| holder.owner) {
            return Ok(Verdict::Present);
        }
        if region.geometry().kind.persists() {
            match (now.tenure(role), verdict) {
                (Some(Tenure::Held), Verdict::Dead { .. }) => {
                    declare_lost(header, now, role, owner);
                }
                // A claimer or leaver who died half way. The next claimer may not
                // be able to prove that: the attachments are counted here alone.
                (Some(Tenure::Free | Tenure::Lost), _)
                    if owner != 0 && self.is_dead(region, claim, holder) =>
                {
                    release_owner(record, owner);
                }
                _ => {}
            }
        }
        Ok(verdict)
    }

    /// Whether the peer, which has the role or its owner word, is proven dead.
    fn is_dead(&mut self, region: &MappedRegion, claim: &Claim, holder: Option<Holder>) -> bool {
        let Some(holder) = holder else {
            return false;
        };
        // Of one process it may be the other half of a split.
        let fewest = if holder.process.may_be(&Process::current()) {
            claim.views.max(holder.views)
        } else {
            claim.views + holder.views
        };
        let fewest = u64::from(fewest);
        self.is_gone(&holder) || attached(region).is_some_and(|count| count < fewest)
    }

    /// Nobody has the role of an anonymous ring, or of one that was handed to a
    /// child: may somebody come yet?
    fn check_newcomer(
        &mut self,
        region: &MappedRegion,
        claim: &Claim,
        half_done: Option<Holder>,
        handed_over: bool,
    ) -> Verdict {
        if let Some(holder) = half_done
            && self.is_gone(&holder)
        {
            return Verdict::Dead {
                pid: holder.process.pid,
            };
        }
        let alone = || attached(region).is_some_and(|count| count <= u64::from(claim.views));
        let is_nobody_left = match &mut self.child {
            Some(child) => half_done.is_none() && child.check() == Liveness::Gone,
            None => !handed_over && alone(),
        };
        if is_nobody_left {
            return Verdict::NeverCame;
        }
        Verdict::Absent
    }

    fn is_gone(&mut self, holder: &Holder) -> bool {
        // A claimer that has gone on since the last look is watched anew.
        let watch = match &mut self.watch {
            Some((owner, process, watch))
                if (*owner, *process) == (holder.owner, holder.process) =>
            {
                watch
            }
            other => {
                let watch = (holder.owner, holder.process, holder.watch());
                &mut other.insert(watch).2
            }
        };
        watch.check() == Liveness::Gone
    }
}

/// Says in the segment that the holder of `role` is dead: whoever opens the
/// ring next may not be able to prove it.
pub(crate) fn declare_lost(header: &Header, seen: State, role: Role, owner: u64) {
    let lost = transition(header, |state| {
        if state == seen {
            state.lose(role).ok_or(())
        } else {
            Err(())
        }
    });
    // The word is freed by whoever has declared it, or finds it declared by a
    // process that died before it could.
    let declared = lost.is_ok() || seen.tenure(role) == Some(Tenure::Lost);
    if declared && is_of(owner, seen.generation(role)) {
        release_owner(header.record(role), owner);
    }
}

/// Who has a role, or is about to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder {
    owner: u64,
    pub(crate) process: Process,
    views: u32,
    capabilities: u32,
}

impl Holder {
    /// Copies a record out; nothing when it has no owner.
    ///
    /// Relaxed loads and fences: the record may be in a mapping that is
    /// read-only (`inspect::load_state`).
    pub(crate) fn read(record: &Record) -> Option<Holder> {
        let owner = record.owner.load(Ordering::Relaxed); // compared only
        if owner == 0 {
            return None;
        }
        let complete = record.complete.load(Ordering::Relaxed); // P6, with the fence
        fence(Ordering::Acquire); // P6
        let holder = Holder {
            owner,
            process: Process {
                pid: pid_of(owner),
                start: record.start.load(Ordering::Relaxed), // P6
                pid_namespace: record.pid_namespace.load(Ordering::Relaxed), // P6
                time_namespace: record.time_namespace.load(Ordering::Relaxed), // P6
            },
            views: record.views.load(Ordering::Relaxed).min(MOST_VIEWS), // P6
            capabilities: record.capabilities.load(Ordering::Relaxed),   // P6
        };
        fence(Ordering::Acquire); // P6
        // Only if the owner is the same before and after are the words its.
        let again = record.owner.load(Ordering::Relaxed); // P6
        Some(if complete == owner && again == owner {
            holder
        } else {
            Holder::half_done(owner)
        })
    }

    /// What the owner word alone says: the process, if it is in our pid
    /// namespace, and the end of its start time.
    fn half_done(owner: u64) -> Holder {
        let own = Process::current().pid_namespace;
        let same = own != 0 && u64::from(own & NAMESPACE) == owner >> 24 & u64::from(NAMESPACE);
        Holder {
            owner,
            process: Process {
                pid: pid_of(owner),
                start: 0,
                pid_namespace: if same { own } else { 0 },
                time_namespace: 0,
            },
            views: 1,
            capabilities: 0,
        }
    }

    /// What the holder says that it can do: bits of `Record::capabilities`.
    pub(crate) fn capabilities(&self) -> u32 {
        self.capabilities
    }

    /// Whether the process is alive, as far as can be told without knowing
    /// who has the segment attached.
    pub(crate) fn liveness(&self) -> Liveness {
        self.watch().check()
    }

    fn watch(&self) -> Watch {
        // No loss: it has as many bits.
        let start_end = process::start_end(self.owner >> 2);
        let is_all_there_is = self.process.start == 0 && start_end != 0;
        Watch::with_start_end(self.process, is_all_there_is.then_some(start_end))
    }
}

/// How often the segment is attached; `None` when the kernel does not say,
/// when its id means another segment here (this process has moved to another
/// IPC namespace), or when there is none.
fn attached(region: &MappedRegion) -> Option<u64> {
    let stat = sysv::stat(region.known_id()?).ok()?;
    Some(stat.attached)
}

/// Whether the process of the owner word `found` is proven dead, asked by a
/// process that holds no role and has the segment attached once, in two views.
fn holder_is_dead(region: &MappedRegion, role: Role, found: u64) -> bool {
    let holder = Holder::read(region.header().record(role));
    let gone = |holder: Holder| holder.owner == found && holder.liveness() == Liveness::Gone;
    if holder.is_some_and(gone) {
        return true;
    }
    // Whoever holds a role, or is half way through a claim, has the segment
    // attached. If nobody but us has, nobody does.
    attached(region).is_some_and(|count| count <= DoubleView::VIEWS)
}

/// Who has a role.
///
/// # Examples
///
/// ```
/// use shmpipe::{Occupant, Options};
///
/// let ring = Options::new().anonymous()?;
/// let producer = ring.into_producer()?;
/// assert_eq!(producer.peer(), Occupant::Nobody);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Occupant {
    /// Nobody has had it yet, or it is free again.
    Nobody,
    /// This process, in its own pid namespace. It lives, or nothing proves
    /// that it does not.
    Process(u32),
    /// This process had it and is dead.
    Dead(u32),
    /// Whoever had it has left.
    Left,
}

/// Who has `role`, by the life-cycle word `state`.
pub(crate) fn occupant(header: &Header, state: State, role: Role) -> Occupant {
    let record = header.record(role);
    let last = || last_holder(record, state.generation(role));
    match state.tenure(role) {
        Some(Tenure::Held) => match Holder::read(record) {
            Some(holder) if holder.liveness() == Liveness::Gone => Occupant::Dead(last()),
            Some(holder) => Occupant::Process(holder.process.pid),
            None => Occupant::Process(0),
        },
        Some(Tenure::Lost) => Occupant::Dead(last()),
        Some(Tenure::Left) => Occupant::Left,
        Some(Tenure::Free) | None => Occupant::Nobody,
    }
}
