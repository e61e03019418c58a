//! How a ring becomes trusted, and how it ends: the life-cycle word.

use loom::thread;

use super::{claim, explore, leave, ready};
use crate::open;
use crate::peer::{self, ClaimError};
use crate::role::Role;
use crate::segment::closed::Departure;
use crate::segment::identity::Geometry;
use crate::segment::layout::Header;
use crate::segment::mapping::inspect::load_state;
use crate::segment::record::Holder;
use crate::segment::region::Region;
use crate::segment::region::heap::HeapRegion;
use crate::segment::state::{Life, LifeCycleKind, State, Tenure};

fn geometry() -> Geometry {
    Geometry::new(1 << 20, LifeCycleKind::Named, 7, None, 0)
}

/// P3, through a read-only mapping: a process that sees the ring open sees its identity.
pub fn an_open_ring_has_its_identity() {
    an_identity_comes_before(load_state);
}

/// P3, through a writable mapping: a process that claims a role sees the identity.
pub fn a_claimed_ring_has_its_identity() {
    an_identity_comes_before(Header::state);
}

fn an_identity_comes_before(state: fn(&Header) -> State) {
    explore(3, move || {
        let region = HeapRegion::new(1, 0);
        let created = region.clone();
        let creator = thread::spawn(move || {
            created.header().identity.store(&geometry().to_image());
            open::publish(created.header());
        });
        if state(region.header()).life() == Some(Life::Open) {
            assert_eq!(region.header().identity.load(), geometry().to_image());
        }
        creator.join().unwrap();
    });
}

/// P3: a half-written identity has its magic. Found when this model was made: `load` loaded the
/// magic first. A reader that saw the rest of the line could then miss the magic, and take the ring
/// for a stranger's.
pub fn the_magic_comes_first() {
    explore(100, || {
        let region = HeapRegion::new(1, 0);
        let created = region.clone();
        let creator = thread::spawn(move || {
            created.header().identity.store(&geometry().to_image());
        });
        let image = region.header().identity.load();
        assert!(image == Default::default() || image.may_become_ours());
        creator.join().unwrap();
    });
}

/// P3: a ring is made in memory that held an old ring. A process that finds a cleared word of the
/// old identity, apart from the magic, also finds the old life-cycle word cleared.
pub fn the_life_of_an_old_ring_ends_first() {
    explore(5, || {
        let region = HeapRegion::new(1, 0);
        region.header().identity.store(&geometry().to_image());
        open::publish(region.header());
        let cleared = region.clone();
        let creator = thread::spawn(move || cleared.header().invalidate());
        let old = geometry().to_image();
        let found = region.header().identity.load();
        if (found.version, found.flags) != (old.version, old.flags) {
            let life = region.header().state().life();
            assert_eq!(life, Some(Life::Unborn));
        }
        creator.join().unwrap();
    });
}

/// Two sides that come at once pair the ring, and at least one of them sees the pair.
pub fn two_claims_pair_a_ring_once() {
    explore(10, || {
        let region = ready(2, 0);
        let other = region.clone();
        let paired = |region: &HeapRegion, role, pid| {
            let claim = claim(region, LifeCycleKind::Named, role, pid).unwrap();
            assert_eq!(claim.generation, 1);
            region.header().state().life() == Some(Life::Paired)
        };
        let producer = thread::spawn(move || paired(&other, Role::Producer, 1));
        let first = paired(&region, Role::Consumer, 2);
        let second = producer.join().unwrap();
        assert!(first || second, "nobody saw the pair");
        let state = region.header().state();
        assert_eq!(state.life(), Some(Life::Paired));
        for role in [Role::Producer, Role::Consumer] {
            assert_eq!(state.tenure(role), Some(Tenure::Held));
        }
    });
}

/// One opener gives up while another joins: the ring is paired for both, or gone for both.
pub fn giving_up_and_joining_exclude_each_other() {
    explore(5, || {
        let region = ready(2, 0);
        claim(&region, LifeCycleKind::Named, Role::Producer, 1).unwrap();
        let other = region.clone();
        let opener = thread::spawn(move || peer::leave_unpaired(other.header()));
        let joined = claim(&region, LifeCycleKind::Named, Role::Consumer, 2);
        let has_left = opener.join().unwrap();
        assert_eq!(joined.is_ok(), !has_left);
        if has_left {
            assert_eq!(joined.unwrap_err(), ClaimError::Gone);
            // The refused claimer leaves no owner behind.
            let record = region.header().record(Role::Consumer);
            assert!(Holder::read(record).is_none());
        }
    });
}

/// A reclaimer of an orphan removes the state that it saw, and no later state.
pub fn reclaiming_and_claiming_exclude_each_other() {
    explore(5, || {
        let region = ready(2, 0);
        let other = region.clone();
        let reclaimer = thread::spawn(move || peer::give_up(other.header(), State::OPEN));
        let joined = claim(&region, LifeCycleKind::Named, Role::Consumer, 2);
        assert_eq!(joined.is_ok(), !reclaimer.join().unwrap());
    });
}

/// Both sides leave at once, and both departures are recorded.
pub fn both_sides_leave() {
    explore(5, || {
        let (region, producer, consumer) = super::paired(2, 0);
        let other = region.clone();
        let leaving = thread::spawn(move || {
            leave(&other, &producer, Departure::Finished).unwrap();
        });
        leave(&region, &consumer, Departure::Finished).unwrap();
        leaving.join().unwrap();
        let state = region.header().state();
        for role in [Role::Producer, Role::Consumer] {
            assert_eq!(state.tenure(role), Some(Tenure::Left));
        }
    });
}
