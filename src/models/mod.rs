//! Small programs for loom, which runs each in every order that the memory
//! model allows, with the threads of one in the place of processes. They are
//! in the crate because they use its inside; `tests/loom.rs` runs them.
//!
//! What a model relies on:
//!
//! - a byte of the ring is a plain cell (`segment/region/heap.rs`): an access that
//!   nothing orders is reported as a race;
//! - nothing ever times out: a lost wake-up is reported as a deadlock;
//! - the least number of orders that a model must have been run in, so that
//!   one that does not explore fails.

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
use crate::segment::region::heap::HeapRegion;
use crate::segment::state::{LifeCycleKind, State};
use crate::sys::process::Process;
use crate::wait::Effort;

/// Preemptions of a run, unless `LOOM_MAX_PREEMPTIONS` says another number.
const PREEMPTIONS: usize = 2;

/// Runs `program` in every order with so few preemptions, which are to be at
/// least `least`.
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

/// A process of the model: never asked whether it lives.
fn process(pid: u32) -> Process {
    Process {
        pid,
        start: 10 * u64::from(pid),
        pid_namespace: 1,
        time_namespace: 1,
    }
}

/// The same, who begins a stream.
fn claimer(pid: u32) -> Claimer {
    Claimer {
        process: process(pid),
        capabilities: KNOWS_INLINE,
        views: 2,
        resumes: false,
    }
}

/// A ring that is ready, as its creator leaves it.
fn ready(capacity: usize, position: u64) -> HeapRegion {
    let region = HeapRegion::new(capacity, position);
    crate::open::publish(&region);
    region
}

/// Claims a role whose last holder, if there is one, lives.
fn claim(
    region: &HeapRegion,
    kind: LifeCycleKind,
    role: Role,
    pid: u32,
) -> Result<Claim, ClaimError> {
    claim_as(claimer(pid), region, kind, role, |_| false)
}

/// A ring, ready and with both roles claimed.
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
    crate::peer::leave(region, LifeCycleKind::Named, claim, departure, || ())
}

/// The last argument of a wait: there is no end of a slice.
fn no_slice<E>() -> Result<(), E> {
    unreachable!("time stands still")
}

/// Nothing spent yet.
fn effort() -> Effort {
    Effort::new()
}
