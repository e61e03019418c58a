//! Models for loom: small programs that loom runs in every order that the memory model allows.
//! Threads stand for processes. The models are inside the crate because they use its internals;
//! `tests/loom.rs` runs them.
//!
//! Models rely on three things:
//!
//! - A byte of the ring is a plain cell (`segment/region/heap.rs`), so loom reports an unordered
//!   access as a race.
//! - Nothing ever times out, so loom reports a lost wake-up as a deadlock.
//! - Each model has a least number of explored orders, so a model that explores too little fails.

pub mod inline;
pub mod life;
pub mod marks;
pub mod peer;
pub mod ring;
pub mod wait;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::peer::{Claim, ClaimError, Claimer, claim_as};
use crate::role::Role;
use crate::segment::closed::Departure;
use crate::segment::layout::KNOWS_INLINE;
use crate::segment::region::Region;
use crate::segment::region::heap::HeapRegion;
use crate::segment::state::{LifeCycleKind, State};
use crate::sys::process::Process;
use crate::wait::{Effort, Sleep};

/// Preemptions of a run, unless `LOOM_MAX_PREEMPTIONS` gives another number.
const PREEMPTIONS: usize = 2;

/// Runs `program` in every order with at most that many preemptions, and checks that there are at
/// least `least` orders.
fn explore(least: usize, program: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(PREEMPTIONS);
    builder.max_branches = 10_000;
    let orders = Arc::new(AtomicUsize::new(0));
    let counter = orders.clone();
    builder.check(move || {
        counter.fetch_add(1, Ordering::Relaxed); // outside the model
        program();
    });
    let orders = orders.load(Ordering::Relaxed); // as above
    println!("{orders} orders");
    assert!(orders >= least, "{orders} orders are too few");
}

/// A process of the model, never checked for liveness.
fn process(pid: u32) -> Process {
    Process {
        pid,
        start: 10 * u64::from(pid),
        pid_namespace: 1,
        time_namespace: 1,
    }
}

/// A claimer of the model. As a producer it begins a new stream.
fn claimer(pid: u32) -> Claimer {
    Claimer {
        process: process(pid),
        capabilities: KNOWS_INLINE,
        views: 2,
        resumes: false,
    }
}

/// A ready ring, as its creator leaves it.
fn ready(capacity: usize, position: u64) -> HeapRegion {
    let region = HeapRegion::new(capacity, position);
    crate::open::publish(region.header());
    region
}

/// Claims a role whose last holder, if any, is alive.
fn claim(
    region: &HeapRegion,
    kind: LifeCycleKind,
    role: Role,
    pid: u32,
) -> Result<Claim, ClaimError> {
    claim_as(claimer(pid), region.header(), kind, role, |_| false)
}

/// A ready ring with both roles claimed.
fn paired(capacity: usize, position: u64) -> (HeapRegion, Claim, Claim) {
    let region = ready(capacity, position);
    let mut both = [(Role::Producer, 1), (Role::Consumer, 2)]
        .map(|(role, pid)| claim(&region, LifeCycleKind::Named, role, pid).unwrap())
        .into_iter();
    let (producer, consumer) = (both.next().unwrap(), both.next().unwrap());
    (region, producer, consumer)
}

/// Leaves a ring that does not persist.
fn leave(region: &HeapRegion, claim: &Claim, departure: Departure) -> Option<(State, State)> {
    crate::peer::leave(
        region.header(),
        LifeCycleKind::Named,
        claim,
        departure,
        || (),
    )
}

/// The last argument of a wait: no slice ever ends.
fn no_slice<E>() -> Result<Sleep, E> {
    unreachable!("time stands still")
}

/// The state of a side that has not waited yet.
fn effort() -> Effort {
    Effort::new()
}
