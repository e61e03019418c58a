//! Claiming a role and giving it up.
//!
//! # The steps of a claim (P6)
//!
//! The numbers are those of the table in `guide/format.md`.
//!
//! 1. The claimer checks that a claim is allowed. An owner must be proven dead.
//! 2. The claimer swaps `owner` from free, or from a holder proven dead, to the
//!    claimer's own word. This step decides between claimers.
//! 3. The claimer looks at the life-cycle word again. If the next generation has
//!    changed, the claimer restores `owner` and gives up.
//! 4. A producer of a persistent ring checks that there are places for its marks,
//!    and frees `owner` if there are none. Unless the producer resumes, it ends the
//!    stream of a dead producer by a mark (`ring/marks.rs`).
//! 5. The claimer counts the claim in the side's `claims`.
//! 6. The claimer fills the rest of the record, then stores its owner word in
//!    `complete`. The other words of a record count only while `owner` and
//!    `complete` are equal.
//! 7. The claimer clears what the last holder left in the signals of the side.
//! 8. The claimer swaps the life-cycle word, which now says that the role is held.
//!
//! Giving up a role runs in the opposite order: the life-cycle word first, `owner`
//! last. A process that is killed in the middle of a claim, or of giving up, leaves
//! an `owner` that can be proven dead. A held role always has an owner.

use super::liveness::holder_is_dead;
use crate::error::Corruption;
use crate::ring::marks::{self, NoPlace};
use crate::role::Role;
use crate::segment::closed::Departure;
use crate::segment::layout::{HEARS_BARRIERS, Header, KNOWS_INLINE, Record, Signals, WAKES};
use crate::segment::mapping::Mapping;
use crate::segment::record::{owner_word, pid_of, release_owner, restore_owner};
use crate::segment::state::{Life, LifeCycleKind, Refusal, State, Tenure};
use crate::sync::failpoint::failpoint;
use crate::sync::{Ordering, fence};
use crate::sys::membarrier;
use crate::sys::process::Process;
use crate::wait;

/// A role that this process holds. A copy of the claim serves checks of the peer.
/// Only the endpoint gives the role up.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) role: Role,
    pub(crate) generation: u16,
    /// The number of this claim in the side's count of claims.
    number: u64,
    pub(super) owner: u64,
    pub(super) views: u32,
}

/// What a claimer is, and what it asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claimer {
    pub(crate) process: Process,
    /// Bits of `Record::capabilities`.
    pub(crate) capabilities: u32,
    /// Attachments of the claimer's mapping. Two roles that share a mapping each count
    /// all of them. Zero in the caller's memory.
    pub(crate) views: u32,
    /// Whether a producer continues the stream of a dead producer.
    pub(crate) resumes: bool,
}

impl Claim {
    pub(super) fn is_held_in(&self, state: State) -> bool {
        state.tenure(self.role) == Some(Tenure::Held)
            && state.generation(self.role) == self.generation
    }
}

/// Why a claim failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClaimError {
    /// The holder lives, or cannot be proven dead, or its role cannot be taken by a
    /// successor.
    Taken { pid: u32 },
    /// The ring takes no new holders.
    Gone,
    /// The ring has no place for the ends of another producer: too many ends are
    /// unacknowledged.
    TooManyEnds { unread: u64 },
    /// Words of earlier holders contradict the protocol.
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

/// Claims `role` for this process.
pub(crate) fn claim(mapping: &Mapping, role: Role, resumes: bool) -> Result<Claim, ClaimError> {
    let kind = mapping.geometry().kind;
    let is_dead = |found| holder_is_dead(mapping, role, found);
    let hears = if membarrier::register() {
        HEARS_BARRIERS
    } else {
        0
    };
    let claimer = Claimer {
        process: Process::claimer(),
        capabilities: WAKES | KNOWS_INLINE | hears,
        views: mapping.views(),
        resumes,
    };
    claim_as(claimer, mapping.header(), kind, role, is_dead)
}

/// Claims `role` in any memory, for the claimer `me`. `is_dead` says whether the
/// process of an owner word is proven dead.
pub(crate) fn claim_as(
    me: Claimer,
    header: &Header,
    kind: LifeCycleKind,
    role: Role,
    is_dead: impl FnOnce(u64) -> bool,
) -> Result<Claim, ClaimError> {
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
    failpoint!(OwnerTaken);

    if role == Role::Producer && kind.persists() {
        settle_marks(header, &me, owner, found)?;
    }
    let number = publish_claim(header, role, &me, owner);

    match header.transition(|state| state.claim(role, kind, dead)) {
        Ok((_, state)) => {
            failpoint!(RoleHeld);
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

/// Step 4: checks that there are places for the producer's marks. Unless `me`
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
        // `complete` names the last claimer that completed its record. That process
        // is dead, and was the last one that could write.
        let complete = record.complete.load(Ordering::Relaxed); // P6
        marks::break_off(header, pid_of(complete));
    }
    Ok(())
}

/// Steps 5 to 7: counts the claim, writes the record, and clears the signals of
/// the last holder. Returns the number of the claim.
fn publish_claim(header: &Header, role: Role, me: &Claimer, owner: u64) -> u64 {
    let record = header.record(role);
    // Release: a process that sees the count also sees the mark.
    let claims = &header.side(role).signals.claims;
    let number = claims.load(Ordering::Relaxed).wrapping_add(1); // after the last holder's, P6
    claims.store(number, Ordering::Release); // P6, P8
    failpoint!(ClaimCounted);

    // Release: a process that reads one of the words below finds the owner word
    // changed when it looks again, and finds the claim counted.
    fence(Ordering::Release); // P6
    fill_record(record, me);
    record.complete.store(owner, Ordering::Release); // P6
    failpoint!(RecordComplete);

    clear_signals(&header.side(role).signals);
    failpoint!(SideCleared);
    number
}

/// Fills the claimer's words of a record. `owner` and `complete` are stored by the
/// caller.
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

/// Clears what the last holder of a role left in its signals.
fn clear_signals(side: &Signals) {
    side.closed.store(0, Ordering::Relaxed); // published by the state word, P6
    // The asymmetric fence that the last holder promised does not bind the new
    // holder. After the barrier no process relies on that promise. If the kernel
    // refuses the barrier, the first sleep may last a slice too long.
    if side.sleeping.swap(wait::AWAKE, Ordering::Relaxed) == wait::PROMISED {
        membarrier::everywhere(); // P5
    }
    side.delivery_hint.store(0, Ordering::Relaxed); // a hint
}

/// Gives up the role of `claim` and wakes the peer. Returns the life-cycle words
/// before and after, or `None` if this claim no longer holds the role. Calls
/// `last_act` while the role is still held and `closed` is already set. So a peer
/// that sees what `last_act` wrote also sees `closed`.
pub(crate) fn leave(
    header: &Header,
    kind: LifeCycleKind,
    claim: &Claim,
    departure: Departure,
    last_act: impl FnOnce(),
) -> Option<(State, State)> {
    let record = header.record(claim.role);
    let own = record.owner.load(Ordering::Relaxed); // compared only
    if own != claim.owner {
        return None;
    }
    let word = departure.to_word(claim.number);
    let signals = &header.side(claim.role).signals;
    signals.closed.store(word, Ordering::Release); // P4
    failpoint!(ClosedStored);
    last_act();
    let left = header.transition(|state| {
        if claim.is_held_in(state) {
            Ok(state.leave(claim.role, kind))
        } else {
            Err(())
        }
    });
    failpoint!(RoleLeft);
    if kind.persists() {
        release_owner(record, claim.owner);
        failpoint!(OwnerFreed);
    }
    wait::wake_always(&header.side(claim.role.peer()).signals);
    failpoint!(LeftTold);
    left.ok()
}

/// Gives up the role of `claim` in a ring that persists, as if its holder were proven
/// dead, and wakes the peer. The side's `closed` word stays as it is, so that the stream
/// has no end. Has no effect if this claim no longer holds the role.
pub(crate) fn abandon(header: &Header, claim: &Claim) {
    let record = header.record(claim.role);
    let own = record.owner.load(Ordering::Relaxed); // compared only
    if own != claim.owner {
        return;
    }
    // A failure is not reported: the role is no longer this claim's.
    let _ = header.transition(|state| match claim.is_held_in(state) {
        true => state.lose(claim.role).ok_or(()),
        false => Err(()),
    });
    release_owner(record, claim.owner);
    wait::wake_always(&header.side(claim.role.peer()).signals);
}

/// Gives up a ring that is not paired. Returns `false` if the ring is paired.
pub(crate) fn leave_unpaired(header: &Header) -> bool {
    header
        .transition(|state| match state.life() {
            Some(Life::Paired) => Err(()),
            _ => Ok(state.remove()),
        })
        .is_ok()
}

/// Gives up a ring that was found in the state `seen`. Returns `false` if the state
/// has changed.
pub(crate) fn give_up(header: &Header, seen: State) -> bool {
    header
        .transition(|state| {
            if state == seen {
                Ok(state.remove())
            } else {
                Err(())
            }
        })
        .is_ok()
}
