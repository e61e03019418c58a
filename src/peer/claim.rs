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
use crate::segment::layout::{HEARS_BARRIERS, KNOWS_INLINE, Record, Signals, WAKES};
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

/// Claims `role`.
pub(crate) fn claim(region: &MappedRegion, role: Role, resumes: bool) -> Result<Claim, Denied> {
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

    let now = header.state();
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
    if header.state().next_generation(role) != generation {
        restore_owner(record, owner, found);
        return Err(Denied::Taken { pid: 0 });
    }
    step!(OwnerTaken);

    if role == Role::Producer && kind.persists() {
        if let Err(no_place) = marks::check_places(header) {
            // The record is still the last owner's. Its death is declared: the
            // next claimer may not be able to prove it.
            if found != 0 {
                let _ = header.transition(|state| state.lose(role).ok_or(()));
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
