//! Paths that name no ring, or cannot be locked, and what is said of them.
#![allow(unsafe_code)] // runs the command behind a system-call filter

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::common::filter;
use crate::common::{TempPath, stream, unique};
use crate::running::{DONE, FAILURE, Running, USAGE, until};

#[test]
fn a_dangling_symbolic_link_is_said_to_be_one() {
    let path = TempPath::new();
    fs::remove_file(&path).unwrap();
    symlink("/nowhere/at\x1ball", &path).unwrap();
    for verb in ["send", "recv", "rm", "demo"] {
        let words = r#"a symbolic link to "/nowhere/at\u{1b}all", which leads to no file"#;
        Running::verb(verb, &path, &[]).end().with(FAILURE, words);
    }
}

#[test]
fn an_empty_path_is_said_to_be_empty() {
    for verb in ["send", "recv", "rm", "demo"] {
        let ended = Running::new([verb, ""]).end();
        ended.with(USAGE, "the path is empty");
    }
    let error = shmpipe::Producer::open("").unwrap_err();
    assert_eq!(error.to_string(), r#""": the path is empty"#);
}

/// A folder whose name would colour a terminal, and end a line.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        let file = TempPath::new();
        let folder = PathBuf::from(format!("{}\x1b[31m\nred", file.display()));
        fs::create_dir(&folder).unwrap();
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn control_characters_in_a_path_are_shown_escaped() {
    let shown = r"\u{1b}[31m\nred";
    let folder = Folder::new();
    let missing = folder.0.join("missing/ring");
    for verb in ["send", "recv", "rm", "demo"] {
        let ended = Running::verb(verb, &missing, &[]).end();
        let ended = ended.with(FAILURE, shown);
        assert!(!ended.stderr.contains('\x1b'), "{}", ended.stderr);
        let ended = Running::verb(verb, &folder.0, &[]).end();
        ended.with(FAILURE, shown);
        let ended = Running::verb(verb, &folder.0, &["--no\x1bsuch"]).end();
        let ended = ended.with(USAGE, r"no\u{1b}such");
        assert!(!ended.stderr.contains('\x1b'), "{}", ended.stderr);
    }
    let path = TempPath::new_in(&folder.0);
    fs::write(&path, "bytes").unwrap();
    let demo = Running::verb("demo", &path, &[]).end().with(DONE, "");
    assert!(demo.text().contains(shown), "{}", demo.text());
    let none = Running::verb("rm", &path, &[]).end().with(FAILURE, shown);
    assert!(none.stderr.contains("no ring"), "{}", none.stderr);
    let mut sender = Running::verb("send", &path, &["--persist"]);
    drop(sender.stdin());
    sender.end().with(DONE, "");
    let removed = Running::verb("rm", &path, &[]).end().with(DONE, "");
    assert!(removed.text().contains(shown), "{}", removed.text());
    assert_eq!(removed.text().lines().count(), 1);
}

/// The command, whose flock(2) fails with `errno`; of descriptor `fd` only, if
/// that is given.
fn behind_a_filter(errno: i32, fd: Option<u32>, verb: &str, path: &TempPath) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shmpipe"));
    command.args([OsStr::new(verb), path.as_ref()]);
    let mut program = [
        filter::load(filter::CALL),
        filter::unless_equal(libc::SYS_flock as u32, 3),
        filter::load(filter::low_half(0)),
        filter::unless_equal(fd.unwrap_or(0), if fd.is_some() { 1 } else { 0 }),
        filter::give(libc::SECCOMP_RET_ERRNO | errno as u32),
        filter::give(libc::SECCOMP_RET_ALLOW),
    ];
    let install = move || match filter::install(&mut program) {
        true => Ok(()),
        false => Err(std::io::Error::last_os_error()),
    };
    // SAFETY: two system calls, no more, between fork and exec.
    unsafe { command.pre_exec(install) };
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(Stdio::piped());
    command
}

#[track_caller]
fn says(mut command: Command, words: &str) {
    let ended = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), FAILURE, "{said}");
    assert!(said.contains("its file system cannot lock it"), "{said}");
    assert!(said.contains(words), "{said}");
}

#[test]
fn a_file_system_without_locks_is_named_as_the_cause() {
    let path = TempPath::new();
    for (errno, words) in [
        (libc::ENOLCK, "No locks available"),
        (libc::ENOSYS, "not implemented"),
        (libc::EOPNOTSUPP, "ot supported"),
        (libc::EBADF, "Bad file descriptor"), // even if open for writing
    ] {
        for verb in ["send", "recv", "rm"] {
            says(behind_a_filter(errno, None, verb, &path), words);
        }
    }
    assert!(!path.leads_to_a_segment());
}

/// As NFS does with what is open for reading only.
#[test]
fn a_lock_that_asks_for_a_file_open_for_writing_gets_one() {
    let seed = unique();
    // The file that names the ring is one of these descriptors.
    for fd in 3..12 {
        let path = TempPath::new();
        let run = |verb| {
            behind_a_filter(libc::EBADF, Some(fd), verb, &path)
                .spawn()
                .unwrap()
        };
        let (mut sender, receiver) = (run("send"), run("recv"));
        let mut stdin = sender.stdin.take().unwrap();
        std::io::Write::write_all(&mut stdin, &stream(seed, 0, 1000)).unwrap();
        drop(stdin);
        for child in [sender, receiver] {
            let ended = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(ended.status.code(), DONE, "descriptor {fd}: {said}");
            assert!([0, 1000].contains(&ended.stdout.len()));
        }
        assert!(!path.leads_to_a_segment());
    }
}

#[test]
fn a_lock_that_needs_writing_where_that_is_refused_says_so() {
    let path = TempPath::new();
    // Nobody opens for writing a program that runs, not even root.
    fs::copy(env!("CARGO_BIN_EXE_shmpipe"), &path).unwrap();
    let elsewhere = TempPath::new();
    let mut running = Command::new(&*path);
    running.arg("recv").arg(&*elsewhere).stdin(Stdio::null());
    running.stdout(Stdio::null());
    // Another test's fork may hold the copy open for writing, until its exec.
    let mut running = until("it starts", || running.spawn().ok());
    let refused = behind_a_filter(libc::EBADF, None, "send", &path);
    let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        says(refused, "it has to be open for writing")
    }));
    running.kill().unwrap();
    running.wait().unwrap();
    refused.unwrap();
}
