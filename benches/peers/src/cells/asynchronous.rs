//! Async handles beside blocking ones, and beside tokio's sockets and pipes.

use super::{Cell, Entrant, KIB, cell, entrant, named, size, stream};
use crate::channel::Wait;
use crate::contenders::{self, asynchronous};
use crate::job::Job;

pub(super) fn streams() -> Vec<Cell> {
    [64, 4 * KIB, 64 * KIB]
        .map(|block| {
            let mut entrants = entrants(stream(block));
            let halves = contenders::halves().into_iter();
            entrants.extend(halves.map(|half| entrant(half, stream(block), Wait::Default)));
            cell("async streams", size(block), "GB/s", entrants)
        })
        .into()
}

pub(super) fn round_trips() -> Vec<Cell> {
    let job = Job::RoundTrip { block: 64 };
    let mut entrants = entrants(job);
    entrants.push(entrant(contenders::bare_futex(), job, Wait::Park));
    let cell = cell("async round trips", size(64), "us", entrants);
    vec![Cell {
        scale: 1e-3,
        ..cell
    }]
}

/// The async contenders, and the blocking ones that they stand for.
fn entrants(job: Job) -> Vec<Entrant> {
    let mut all: Vec<Entrant> = asynchronous::all()
        .map(|who| Entrant {
            // One thread more waits for all async handles of a process.
            shares: true,
            ..entrant(who, job, Wait::Default)
        })
        .into();
    for (who, wait) in [("blocking", Wait::Default), ("blocking, Park", Wait::Park)] {
        let ours = named(&["shmpipe"]).into_iter();
        all.extend(ours.map(|one| Entrant {
            who: format!("shmpipe, {who}"),
            ..entrant(one, job, wait)
        }));
    }
    all
}
