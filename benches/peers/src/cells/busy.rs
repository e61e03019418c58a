//! Streams on a machine whose processors others want too.

use super::{Cell, Entrant, KIB, MIB, cell, entrant, named, size};
use crate::channel::Wait;
use crate::job::Job;

/// The rings of shmpipe.
pub(crate) const RINGS: [usize; 3] = [64 * KIB, 256 * KIB, 4 * MIB];

/// Our name with the default policy, or with another one, and a ring.
pub(crate) fn name(policy: Option<&str>, ring: usize) -> String {
    let ring = size(ring);
    match policy {
        None => format!("shmpipe, {ring} ring"),
        Some(policy) => format!("shmpipe, {policy}, {ring} ring"),
    }
}

/// A cell for each number of busy loops and each block, with all rings. Twice the loops have
/// half of the bytes, so no stream takes much longer than another.
pub(super) fn cells(bytes: u64) -> Vec<Cell> {
    let mut cells = Vec::new();
    for loops in [1, 2, 4] {
        let total = bytes / loops as u64;
        for block in [4 * KIB, 64 * KIB, MIB] {
            let job = Job::Busy {
                block,
                total,
                loops,
            };
            let plural = if loops == 1 { "" } else { "s" };
            let case = format!(
                "{loops} loop{plural}, {} by {}",
                size(total as usize),
                size(block)
            );
            cells.push(Cell {
                rounds: 9,
                ..cell("busy machine", case, "ms", entrants(job))
            });
        }
    }
    cells
}

fn entrants(job: Job) -> Vec<Entrant> {
    let mut all = Vec::new();
    for ring in RINGS {
        for (policy, wait) in [(None, Wait::Default), (Some("Park"), Wait::Park)] {
            for contender in named(&["shmpipe"]) {
                let mut one = entrant(contender, job, wait);
                one.who = name(policy, ring);
                one.spec.capacity = ring;
                all.push(one);
            }
        }
    }
    let others = named(&["pipe", "Unix socket"]);
    all.extend(
        others
            .into_iter()
            .map(|who| entrant(who, job, Wait::Default)),
    );
    all
}
