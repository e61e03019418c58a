//! A sweep of faults: each system call on the way of a program fails in each
//! way that the kernel documents, the first and later ones, once and from then
//! on. What follows ends in time, without a panic, well only with every byte,
//! and leaves no segment, descriptor or mapping. crates/cli/tests/faults does
//! the same to the command, with this sweep.
//!
//! `SHMPIPE_FAULTS=100000` sets how many faults, spread evenly over all there
//! are (75 unless said); `SHMPIPE_FAULT="producer openat EMFILE 3 once"` tries
//! one; `-- --nocapture` shows what came of each.
#![allow(unsafe_code)] // seccomp(2), sendmsg(2), dup2(2)

#[path = "../common/mod.rs"]
mod common;
mod library;
mod mended;
mod scenario;
mod supervisor;
mod sweep;
mod table;
#[cfg(feature = "async")]
mod tasks;

use sweep::Subject;

/// What is swept here.
fn subjects() -> Option<Vec<Subject>> {
    Some(library::SCENARIOS.iter().map(Subject::from).collect())
}

#[test]
fn no_fault_hangs_panics_loses_or_leaks() {
    sweep::sweep("no_fault_hangs_panics_loses_or_leaks", subjects);
}
