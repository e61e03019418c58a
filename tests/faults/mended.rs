//! What the sweep has found, by name.

use std::fs::File;
use std::process::{Command, Stdio};

use crate::common::{TempPath, alone, move_to_own_ipc_namespace, options};
use crate::supervisor::Fault;
use crate::table::{CALLS, name_of};
use crate::{Cell, Subject, command};

/// Tries faults, each by its name, in a process of its own. The calls of a
/// command are counted from its `main` on.
fn try_each(test: &str, names: &[&str]) {
    alone(test, || {
        let isolated = move_to_own_ipc_namespace();
        let Some(at_start) = command::at_start() else {
            println!("skipped: this kernel has no seccomp listeners");
            return;
        };
        let subjects = Subject::all();
        let mut wrong = vec![];
        for name in names {
            let words: Vec<&str> = name.split(' ').collect();
            let [subject, call, errno, first, how] = words[..] else {
                panic!("{name}: not a fault");
            };
            let subject = subjects.iter().position(|known| known.name() == subject);
            let call = CALLS.iter().position(|known| known.name == call).unwrap();
            let errors = CALLS[call].errors.iter();
            let subject = subject.unwrap();
            let start = match subjects[subject] {
                Subject::Library(_) => 0,
                Subject::Command(..) => at_start[call],
            };
            let fault = Fault {
                call,
                errno: *errors
                    .clone()
                    .find(|known| name_of(**known) == errno)
                    .unwrap(),
                first: start + first.parse::<u64>().unwrap(),
                lasting: how == "on",
            };
            let cell = Cell::new(&subjects, subject, fault);
            wrong.extend(cell.judge(&subjects[subject], isolated));
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    });
}

#[test]
fn a_ring_that_cannot_be_looked_at_is_not_left_out_of_the_list() {
    try_each(
        "mended::a_ring_that_cannot_be_looked_at_is_not_left_out_of_the_list",
        &[
            "ls shmat ENOMEM 0 once",
            "ls shmctl-stat ENOMEM 1 on",
            "ls shmctl-stat EOVERFLOW 20 on",
        ],
    );
}

#[test]
fn what_cannot_be_looked_at_or_removed_is_no_success_of_removing_what_is_stale() {
    try_each(
        "mended::what_cannot_be_looked_at_or_removed_is_no_success_of_removing_what_is_stale",
        &[
            "remove-stale shmat ENOMEM 0 once",
            "remove-stale shmat ENOMEM 2 once",
            "remove-stale shmctl-stat ENOMEM 1 on",
            "remove-stale shmctl-rmid EFAULT 0 once",
        ],
    );
}

#[test]
fn what_mmap_and_munmap_refuse_is_not_taken_for_the_segments_nature() {
    try_each(
        "mended::what_mmap_and_munmap_refuse_is_not_taken_for_the_segments_nature",
        &[
            "remove-stale mmap EPERM 0 once",
            "remove-stale munmap ENOMEM 0 on",
            "remove-stale munmap ENOMEM 1 once",
            "ls mmap EPERM 0 on",
            "ls munmap ENOMEM 0 on",
        ],
    );
}

#[test]
fn an_interrupted_count_of_threads_is_made_again() {
    try_each(
        "mended::an_interrupted_count_of_threads_is_made_again",
        &["demo openat EINTR 0 once", "demo openat EINTR 1 once"],
    );
}

/// Rust's own writes to stdout take EBADF for success.
#[test]
fn a_stdout_that_is_open_for_reading_only_is_an_error() {
    let path = TempPath::new();
    drop(options().persistent(true).producer(&path).unwrap());
    let path = path.to_str().unwrap();
    let demo = "demo --bytes 4KiB --capacity 4KiB".split(' ').collect();
    for arguments in [vec!["ls"], demo, vec!["rm", path]] {
        let output = Command::new(env!("CARGO_BIN_EXE_shmpipe"))
            .args(&arguments)
            .stdout(Stdio::from(File::open("/dev/null").unwrap()))
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        assert!(stderr.contains("stdout"), "{arguments:?}: {stderr}");
    }
}
