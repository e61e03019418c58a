//! Who holds a role: claiming it, giving it up, and telling whether its
//! holder lives.
//!
//! # The steps of a claim (P6)
//!
//! 1. `owner` is swapped from free, or from a holder proven dead, to the
//!    claimer's own word. This decides between claimers.
//! 2. A producer of a ring that persists looks for places for its marks, and
//!    frees `owner` if there are none. Unless it resumes, it breaks a dead
//!    producer's stream off, by a mark (`ring/marks.rs`).
//! 3. The claim is counted in the side's `claims`.
//! 4. The claimer fills the rest of the record, then stores its word in
//!    `complete`: only where both are equal do the other words count.
//! 5. It clears what the last holder left in the side's line.
//! 6. The life-cycle word is swapped to say that the role is held.
//!
//! Giving up goes the other way: life-cycle word first, `owner` last. A
//! claimer or leaver that is killed in between leaves an `owner` that can be
//! proven dead, never a role without one.

use super::liveness::holder_is_dead;
use crate::error::Corruption;
use crate::ring::marks::{self, NoPlace};
use crate::role::Role;
use crate::segment::closed::Departure;
use crate::segment::layout::{HEARS_BARRIERS, Header, KNOWS_INLINE, Record, Signals, WAKES};
use crate::segment::record::{owner_word, pid_of, release_owner, restore_owner};
use crate::segment::region::Region;
use crate::segment::region::mapped::MappedRegion;
use crate::segment::state::{Kind, Life, Refusal, State, Tenure};
use crate::sync::steps::step;
use crate::sync::{Ordering, fence};
use crate::sys::membarrier;
use crate::sys::process::Process;
use crate::wait;

/// A role that this process holds. A copy is as good, for asking after the
/// peer; the endpoint alone gives the role up.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) role: Role,
    pub(crate) generation: u16,
    /// The number of the claim, by the side's count of claims.
    number: u64,
    pub(super) owner: u64,
    pub(super) views: u32,
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
    pub(super) fn is_held_in(&self, state: State) -> bool {
        state.tenure(self.role) == Some(Tenure::Held)
            && state.generation(self.role) == self.generation
    }
}

/// Why a role was not had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClaimError {
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

impl From<NoPlace> for ClaimError {
    fn from(no_place: NoPlace) -> ClaimError {
        match no_place {
            NoPlace::TooMany(unread) => ClaimError::TooManyEnds { unread },
            NoPlace::Corrupt(corruption) => ClaimError::Corrupt(corruption),
        }
    }
}

/// Claims `role`.
pub(crate) fn claim(region: &MappedRegion, role: Role, resumes: bool) -> Result<Claim, ClaimError> {
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
        views: region.views(),
        resumes,
    };
    claim_as(claimer, region, kind, role, is_dead)
}

/// Claims `role` in any memory, for the claimer `me`. `is_dead` says whether the
/// process of an owner word is proven dead.
pub(crate) fn claim_as(
    me: Claimer,
    region: &impl Region,
    kind: Kind,
    role: Role,
    is_dead: impl FnOnce(u64) -> bool,
) -> Result<Claim, ClaimError> {
    let header = region.header();
    let record = header.record(role);

    let now = header.state();
    let found = record.owner.load(Ordering::Relaxed); // compared only
    let dead = found != 0 && is_dead(found);
    let refused = |refusal| match refusal {
        Refusal::Taken => ClaimError::Taken { pid: pid_of(found) },
        Refusal::Gone => ClaimError::Gone,
    };
    now.claim(role, kind, dead).map_err(refused)?;
    if found != 0 && !dead {
        // Another process is in the middle of a claim or of leaving.
        return Err(ClaimError::Taken { pid: pid_of(found) });
    }

    let generation = now.next_generation(role);
    let owner = owner_word(&me.process, generation);
    record
        .owner
        .compare_exchange(found, owner, Ordering::Acquire, Ordering::Relaxed) // P6
        .map_err(|other| ClaimError::Taken { pid: pid_of(other) })?;

    // Nobody else can claim the role while the owner word is ours. If a claimer
    // came and left before the exchange, it has used up this generation.
    if header.state().next_generation(role) != generation {
        restore_owner(record, owner, found);
        return Err(ClaimError::Taken { pid: 0 });
    }
    step!(OwnerTaken);

    if role == Role::Producer && kind.persists() {
        settle_marks(header, &me, owner, found)?;
    }
    let number = publish_claim(header, role, &me, owner);

    match header.transition(|state| state.claim(role, kind, dead)) {
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

/// Step 2: checks that there are places for the producer's marks. Unless `me`
/// resumes, ends the stream of a dead producer by a mark. `owner` is the word of
/// `me`, and `found` the word that it replaced.
fn settle_marks(header: &Header, me: &Claimer, owner: u64, found: u64) -> Result<(), NoPlace> {
    let role = Role::Producer;
    let record = header.record(role);
    if let Err(no_place) = marks::check_places(header) {
        // The record still describes the last owner. Its death is declared here,
        // because the next claimer may be unable to prove it.
        if found != 0 {
            let _ = header.transition(|state| state.lose(role).ok_or(()));
        }
        release_owner(record, owner);
        return Err(no_place);
    }
    if !me.resumes {
        // The last claimer that completed its record. That process is dead, and
        // was the last one that could write.
        let complete = record.complete.load(Ordering::Relaxed); // P6
        marks::break_off(header, pid_of(complete));
    }
    Ok(())
}

/// Steps 3 to 5: counts the claim, writes the record, and clears the signals of
/// the last holder. Returns the number of the claim.
fn publish_claim(header: &Header, role: Role, me: &Claimer, owner: u64) -> u64 {
    let record = header.record(role);
    // Release: a process that sees the count also sees the mark.
    let claims = &header.side(role).signals.claims;
    let number = claims.load(Ordering::Relaxed).wrapping_add(1); // after the last holder's, P6
    claims.store(number, Ordering::Release); // P6, P8
    step!(ClaimCounted);

    // Release: a process that reads one of the words below finds the owner word
    // changed when it looks again, and finds the claim counted.
    fence(Ordering::Release); // P6
    fill_record(record, me);
    record.complete.store(owner, Ordering::Release); // P6
    step!(RecordComplete);

    clear_signals(&header.side(role).signals);
    step!(SideCleared);
    number
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
    let left = header.transition(|state| {
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
    region
        .header()
        .transition(|state| match state.life() {
            Some(Life::Paired) => Err(()),
            _ => Ok(state.remove()),
        })
        .is_ok()
}

/// Gives up a ring that was found in this state. `false` when it has moved on
/// since.
pub(crate) fn give_up(region: &impl Region, seen: State) -> bool {
    region
        .header()
        .transition(|state| {
            if state == seen {
                Ok(state.remove())
            } else {
                Err(())
            }
        })
        .is_ok()
}
