//! A sweep of faults: each system call of the command fails in each way that the kernel
//! documents. The first call fails or a later one, once or from then on. Afterwards the
//! command must end in time, without a panic, and succeed only with every byte. It must
//! leave no segment, descriptor or mapping. `tests/faults` has the sweep itself, and
//! applies it to programs that use the library.
//!
//! `SHMPIPE_FAULTS=100000` sets the number of faults, spread evenly over all cases (75 by
//! default). `SHMPIPE_FAULT="send-file openat EMFILE 3 once"` tries one. `-- --nocapture`
//! shows the result of each.
#![allow(unsafe_code)] // seccomp(2), sendmsg(2), dup2(2)

mod command;
#[path = "../../../../tests/common/mod.rs"]
mod common;
mod mended;
#[path = "../../../../tests/faults/scenario.rs"]
mod scenario;
mod spawn;
#[path = "../../../../tests/faults/supervisor.rs"]
mod supervisor;
#[path = "../../../../tests/faults/sweep.rs"]
mod sweep;
#[path = "../../../../tests/faults/table.rs"]
mod table;

use sweep::Subject;

/// What is swept here. `None` where the kernel has no such filters.
fn subjects() -> Option<Vec<Subject>> {
    let start = command::at_start()?;
    let verbs = command::VERBS.map(|(name, verb)| Subject {
        name,
        keeps: verb.keeps(),
        start,
        play: Box::new(move |path, fault, limit| command::run(verb, path, fault, limit)),
    });
    let spawn = Subject::from(&spawn::SCENARIO);
    Some([spawn].into_iter().chain(verbs).collect())
}

#[test]
fn no_fault_hangs_panics_loses_or_leaks() {
    sweep::sweep("no_fault_hangs_panics_loses_or_leaks", subjects);
}
