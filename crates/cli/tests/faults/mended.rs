//! What the sweep has found, by name.

use std::fs::File;
use std::process::{Command, Stdio};

use crate::command::send_first;
use crate::common::{TempPath, not_run, options};
use crate::subjects;
use crate::supervisor::Fault;
use crate::sweep::try_each;
use crate::table::CALLS;

#[test]
fn a_ring_that_cannot_be_looked_at_is_not_left_out_of_the_list() {
    try_each(
        "mended::a_ring_that_cannot_be_looked_at_is_not_left_out_of_the_list",
        &[
            "ls shmat ENOMEM 0 once",
            "ls shmctl-stat ENOMEM 1 on",
            "ls shmctl-stat EOVERFLOW 1 on",
        ],
        subjects,
    );
}

#[test]
fn what_mmap_and_munmap_refuse_is_not_taken_for_the_segments_nature() {
    try_each(
        "mended::what_mmap_and_munmap_refuse_is_not_taken_for_the_segments_nature",
        &["ls mmap EPERM 0 on", "ls munmap ENOMEM 0 on"],
        subjects,
    );
}

#[test]
fn an_interrupted_count_of_threads_is_made_again() {
    try_each(
        "mended::an_interrupted_count_of_threads_is_made_again",
        &["demo openat EINTR 0 once", "demo openat EINTR 1 once"],
        subjects,
    );
}

/// A lock that stayed kept the peer of a waiting opener out.
#[test]
fn an_interrupted_unlock_is_made_again() {
    let path = TempPath::new();
    let fault = Fault {
        call: CALLS.iter().position(|call| call.name == "flock").unwrap(),
        errno: libc::EINTR,
        first: 1, // the unlock after the ring was made
        lasting: false,
    };
    let Some(ended) = send_first(&path, fault) else {
        return not_run("this kernel has no seccomp listeners");
    };
    for (code, _, stderr) in ended {
        assert_eq!(code, 0, "{stderr}");
    }
}

/// Rust's own writes to stdout take EBADF for success.
#[test]
fn a_stdout_that_is_open_for_reading_only_is_an_error() {
    let path = TempPath::new();
    drop(options().persistent(true).open_producer(&path).unwrap());
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
