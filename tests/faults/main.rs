//! A sweep of faults: each system call of a program fails in each way that the kernel
//! documents. The first call fails or a later one, once or from then on. Afterwards the
//! program must end in time, without a panic, and succeed only with every byte. It must
//! leave no segment, descriptor or mapping. `crates/cli/tests/faults` applies this sweep to
//! the command.
//!
//! `SHMPIPE_FAULTS=100000` sets the number of faults, spread evenly over all cases (75 by
//! default). `SHMPIPE_FAULT="producer openat EMFILE 3 once"` tries one. `-- --nocapture`
//! shows the result of each.
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
