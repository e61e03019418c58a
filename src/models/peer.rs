//! Claiming, leaving and losing a role (P6). The holder of the producer's role writes the first
//! byte of the ring, a plain cell. Two holders at a time are therefore a race.

use loom::thread;

use super::{claim, claimer, explore, process, ready};
use crate::peer::{self, Claim, ClaimError};
use crate::role::Role;
use crate::segment::closed::Departure;
use crate::segment::record::Holder;
use crate::segment::record::pid_of;
use crate::segment::region::Region;
use crate::segment::region::heap::HeapRegion;
use crate::segment::state::{LifeCycleKind, Tenure};
use crate::sync::Ordering;

const ROLE: Role = Role::Producer;
/// The id of the dead process.
const DEAD: u32 = 9;

/// What only the holder of the role does.
fn act(region: &HeapRegion, pid: u32) {
    region.copy_in(0, &[pid as u8], 0);
}

fn take(region: &HeapRegion, kind: LifeCycleKind, pid: u32) -> Option<Claim> {
    let claim = claim(region, kind, ROLE, pid).ok()?;
    act(region, pid);
    Some(claim)
}

/// Claims the role, whose last holder is dead if its process id is [`DEAD`].
fn claim_producer(region: &HeapRegion, pid: u32) -> Option<Claim> {
    let is_dead = |found| pid_of(found) == DEAD;
    let claim = peer::claim_as(
        claimer(pid),
        region.header(),
        LifeCycleKind::Persistent,
        ROLE,
        is_dead,
    )
    .ok()?;
    act(region, pid);
    Some(claim)
}

/// One of three claimers gets the role.
pub fn one_of_several_claimers_wins() {
    explore(20, || {
        let region = ready(1, 0);
        let claimers = [1, 2].map(|pid| {
            let region = region.clone();
            thread::spawn(move || take(&region, LifeCycleKind::Named, pid).is_some())
        });
        let mut winners = usize::from(take(&region, LifeCycleKind::Named, 3).is_some());
        for claimer in claimers {
            winners += usize::from(claimer.join().unwrap());
        }
        assert_eq!(winners, 1);
        let state = region.header().state();
        assert_eq!(
            (state.tenure(ROLE), state.generation(ROLE)),
            (Some(Tenure::Held), 1)
        );
    });
}

/// One of two claimers gets the role of the dead.
pub fn one_claimer_takes_over() {
    explore(10, || {
        let region = ready(1, 0);
        claim(&region, LifeCycleKind::Persistent, ROLE, DEAD).unwrap();
        let other = region.clone();
        let claimer = thread::spawn(move || claim_producer(&other, 1).is_some());
        let winners = usize::from(claim_producer(&region, 2).is_some());
        assert_eq!(winners + usize::from(claimer.join().unwrap()), 1);
        let state = region.header().state();
        assert_eq!(
            (state.tenure(ROLE), state.generation(ROLE)),
            (Some(Tenure::Held), 2)
        );
    });
}

/// A peer declares the holder dead while a successor claims the role. The successor keeps the role,
/// or finds it free at its next attempt.
pub fn declaring_a_death_takes_nothing_from_a_successor() {
    explore(10, || {
        let region = ready(1, 0);
        claim(&region, LifeCycleKind::Persistent, ROLE, DEAD).unwrap();
        let seen = region.header().state();
        let record = region.header().record(ROLE);
        let owner = record.owner.load(Ordering::Relaxed); // one thread yet
        let other = region.clone();
        let declarer = thread::spawn(move || {
            peer::declare_lost(other.header(), seen, ROLE, owner);
        });
        let mut claim = claim_producer(&region, 1);
        declarer.join().unwrap();
        if claim.is_none() {
            claim = claim_producer(&region, 1);
        }
        assert_eq!(claim.unwrap().generation, 2);
        let state = region.header().state();
        assert_eq!(state.tenure(ROLE), Some(Tenure::Held));
        let holder = Holder::read(region.header().record(ROLE));
        assert_eq!(holder.map(|holder| holder.process), Some(process(1)));
    });
}

/// A successor sees everything that its predecessor did. Nobody takes the predecessor's departure
/// for the successor's.
pub fn a_successor_comes_after_its_predecessor() {
    explore(10, || {
        let region = ready(1, 0);
        let predecessor = take(&region, LifeCycleKind::Persistent, 1).unwrap();
        let other = region.clone();
        let succeeding = thread::spawn(move || {
            let claim = take(&other, LifeCycleKind::Persistent, 2);
            assert!(claim.is_none_or(|claim| claim.generation == 2));
        });
        let other = region.clone();
        let looking = thread::spawn(move || {
            if other.header().state().generation(ROLE) == 2 {
                let signals = &other.header().side(ROLE).signals;
                let closed = signals.closed.load(Ordering::Relaxed); // after the state word, P6
                assert_eq!(closed, 0, "its predecessor's");
            }
        });
        act(&region, 1);
        peer::leave(
            region.header(),
            LifeCycleKind::Persistent,
            &predecessor,
            Departure::Finished,
            || (),
        )
        .unwrap();
        succeeding.join().unwrap();
        looking.join().unwrap();
    });
}

/// A second claimer takes the role and leaves while a slow claimer is at its first steps. The slow
/// claimer then sees everything that the second one did.
pub fn a_slow_claimer_comes_after_one_that_came_and_went() {
    explore(10, || {
        let region = ready(1, 0);
        let other = region.clone();
        let looking = thread::spawn(move || look(&other));
        let other = region.clone();
        let quick = thread::spawn(move || {
            if let Some(claim) = take(&other, LifeCycleKind::Persistent, 1) {
                peer::leave(
                    other.header(),
                    LifeCycleKind::Persistent,
                    &claim,
                    Departure::Finished,
                    || (),
                )
                .unwrap();
            }
        });
        take(&region, LifeCycleKind::Persistent, 2);
        quick.join().unwrap();
        looking.join().unwrap();
    });
}

/// An owner word names the generation of its claim, even for an overtaken claimer. Found by
/// reading: the word could name the generation of the claim in between. It was then not freed when
/// its holder was declared dead.
pub fn an_owner_word_has_the_generation_of_its_claim() {
    explore(10, || {
        let region = ready(1, 0);
        let check = |region: &HeapRegion, claim: &Claim| {
            let owner = region.header().record(ROLE).owner.load(Ordering::Relaxed); // own
            assert_eq!(owner & 3, u64::from(claim.generation) & 3);
        };
        let other = region.clone();
        let quick = thread::spawn(move || {
            if let Some(claim) = take(&other, LifeCycleKind::Persistent, 1) {
                check(&other, &claim);
                peer::leave(
                    other.header(),
                    LifeCycleKind::Persistent,
                    &claim,
                    Departure::Finished,
                    || (),
                )
                .unwrap();
            }
        });
        if let Some(claim) = take(&region, LifeCycleKind::Persistent, 2) {
            check(&region, &claim);
        }
        quick.join().unwrap();
    });
}

/// A transition sees what the last one published, even if its own swap failed first.
pub fn a_transition_comes_after_the_last() {
    explore(5, || {
        let region = ready(1, 0);
        let closed = |region: &HeapRegion| {
            let signals = &region.header().side(ROLE).signals;
            signals.closed.load(Ordering::Relaxed) // after the state word, P6
        };
        let first = take(&region, LifeCycleKind::Persistent, 1).unwrap();
        peer::leave(
            region.header(),
            LifeCycleKind::Persistent,
            &first,
            Departure::Finished,
            || (),
        )
        .unwrap();
        let other = region.clone();
        let claiming = thread::spawn(move || take(&other, LifeCycleKind::Persistent, 2).unwrap());
        let (before, _) = region
            .header()
            .transition(|state| state.claim(ROLE.peer(), LifeCycleKind::Persistent, false))
            .unwrap();
        if before.tenure(ROLE) == Some(Tenure::Held) {
            assert_eq!(closed(&region), 0, "the predecessor's");
        }
        claiming.join().unwrap();
    });
}

/// Reads the role's record: it belongs to one holder, or counts as half done.
fn look(region: &HeapRegion) {
    if let Some(holder) = Holder::read(region.header().record(ROLE)) {
        let found = holder.process;
        if found.start != 0 {
            assert_eq!(found, process(found.pid));
        }
    }
}

/// Reads the role's record while `change` happens.
///
/// The reader is the second thread. Loom remembers only the last access of a word. If a thread
/// loads a word and then swaps it, loom forgets the load, and skips orders in which another thread
/// acts before that load. Such a thread therefore has to be the first.
fn look_while(first: u32, change: impl Fn(&HeapRegion, Claim) + Copy + Send + Sync + 'static) {
    explore(10, move || {
        let region = ready(1, 0);
        let claim = take(&region, LifeCycleKind::Persistent, first).unwrap();
        let other = region.clone();
        let looking = thread::spawn(move || look(&other));
        change(&region, claim);
        looking.join().unwrap();
    });
}

/// A record belongs to one holder while one holder follows another.
pub fn a_record_is_of_one_holder() {
    look_while(1, |region, predecessor| {
        peer::leave(
            region.header(),
            LifeCycleKind::Persistent,
            &predecessor,
            Departure::Finished,
            || (),
        )
        .unwrap();
        take(region, LifeCycleKind::Persistent, 2).unwrap();
    });
}

/// A record belongs to one holder while a claimer succeeds a dead one. Found when this model was
/// made: a claimer's words could be seen under the owner word of the dead.
pub fn a_record_taken_over_is_of_one_holder() {
    look_while(DEAD, |region, _| {
        claim_producer(region, 2).unwrap();
    });
}

/// A refused claimer learns the reason.
pub fn a_held_role_is_refused() {
    explore(1, || {
        let region = ready(1, 0);
        take(&region, LifeCycleKind::Persistent, 1).unwrap();
        let refused = claim(&region, LifeCycleKind::Persistent, ROLE, 2).unwrap_err();
        assert_eq!(refused, ClaimError::Taken { pid: 1 });
    });
}
