//! Many rings between two processes, whose reader waits for all of them.

use super::{Cell, Entrant, KIB, cell, entrant};
use crate::channel::Wait;
use crate::contenders::many;
use crate::job::Job;

const RINGS: [usize; 4] = [1, 8, 64, 300];
/// The capacity of each, where a contender has a choice.
const EACH: usize = 64 * KIB;

/// Messages over all rings in turn, as fast as they go.
pub(super) fn streams() -> Vec<Cell> {
    let job = Job::Many { singly: false };
    RINGS
        .map(|rings| Cell {
            scale: 1000.0 / job.block() as f64,
            ..cell("many rings", name(rings), "M/s", entrants(job, rings))
        })
        .into()
}

/// One message at a time, to the next ring each time.
pub(super) fn single_messages() -> Vec<Cell> {
    let job = Job::Many { singly: true };
    RINGS
        .map(|rings| Cell {
            scale: 1e-3,
            ..cell(
                "many rings, one message",
                name(rings),
                "us",
                entrants(job, rings),
            )
        })
        .into()
}

fn name(rings: usize) -> String {
    match rings {
        1 => "1 ring".into(),
        rings => format!("{rings} rings"),
    }
}

fn entrants(job: Job, rings: usize) -> Vec<Entrant> {
    let all = many::all().into_iter().map(|who| {
        let mut one = entrant(who, job, Wait::Default);
        one.spec.capacity = EACH;
        one.spec.channels = rings;
        one.shares = true;
        one
    });
    all.collect()
}
