//! Options, paths and kernel limits with which no ring can be opened.
#![allow(unsafe_code)] // setuid and umask

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use shmpipe::OpenError;
use shmpipe::sysv::{KernelLimit, KeyError, SysvErrorKind};

use super::open_both;
use crate::common::{
    Fork, TempPath, alone, is_root, is_waited_for, move_to_own_ipc_namespace, not_run, open_each,
    options, page, until,
};

#[test]
fn a_path_that_is_missing_is_named() {
    let path = Path::new("/nonexistent/ring");
    for opened in open_each(&options(), path) {
        let error = opened.unwrap_err();
        assert!(error.to_string().contains("/nonexistent/ring"), "{error}");
        assert!(matches!(&error, OpenError::Path { path: named, source, .. }
            if named == path && source.kind() == ErrorKind::NotFound));
        assert_eq!(io::Error::from(error).kind(), ErrorKind::NotFound);
    }
}

#[test]
fn a_directory_is_refused() {
    let path = std::env::temp_dir();
    for opened in open_each(&options(), &path) {
        assert!(matches!(opened, Err(OpenError::Directory { path: named, .. }) if named == path));
    }
}

#[test]
fn a_file_that_cannot_be_read_is_refused() {
    alone(
        "open::impossible::a_file_that_cannot_be_read_is_refused",
        || {
            let path = TempPath::new();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
            // SAFETY: an integer; this process runs one test.
            if is_root() && unsafe { libc::seteuid(65_534) } != 0 {
                return not_run("no other user can be had");
            }
            for opened in open_each(&options(), &path) {
                assert!(
                    matches!(opened, Err(OpenError::Path { path: named, source, .. })
                if *named == *path && source.kind() == ErrorKind::PermissionDenied)
                );
            }
            // SAFETY: as above; fails where it was not changed.
            unsafe { libc::seteuid(0) };
            assert!(!path.leads_to_a_segment());
        },
    );
}

#[test]
fn impossible_options_are_refused_before_anything_is_touched() {
    let path = TempPath::new();
    for project in [0, 256, u32::MAX] {
        for opened in open_each(options().project(project), &path) {
            assert!(
                matches!(opened, Err(OpenError::Key(KeyError::Project { value, .. }))
                if value == project)
            );
        }
    }
    for capacity in [0, isize::MAX as usize + 1, usize::MAX] {
        let mut options = options();
        options.capacity(capacity);
        let anonymous = options.create_anonymous().map(drop);
        for opened in open_each(&options, &path).into_iter().chain([anonymous]) {
            assert!(matches!(opened, Err(OpenError::Capacity { asked, .. }) if asked == capacity));
        }
    }
    for mode in [0, 0o400, 0o1777, 0o10600] {
        let mut options = options();
        options.mode(mode);
        let anonymous = options.create_anonymous().map(drop);
        for opened in open_each(&options, &path).into_iter().chain([anonymous]) {
            assert!(matches!(opened, Err(OpenError::Mode { asked, .. }) if asked == mode));
        }
    }
    assert!(!path.leads_to_a_segment());
}

#[test]
fn options_are_checked_before_the_kernel_is_asked() {
    let path = Path::new("/nonexistent/ring");
    for opened in open_each(options().capacity(0), path) {
        assert!(matches!(opened, Err(OpenError::Capacity { asked: 0, .. })));
    }
    for opened in open_each(options().mode(0), path) {
        assert!(matches!(opened, Err(OpenError::Mode { asked: 0, .. })));
    }
}

#[test]
fn what_the_kernel_does_not_allow_is_refused_with_its_limit() {
    let test = "open::impossible::what_the_kernel_does_not_allow_is_refused_with_its_limit";
    alone(test, || {
        let limit = "/proc/sys/kernel/shmmax";
        if !move_to_own_ipc_namespace() || fs::write(limit, "1000000").is_err() {
            return not_run("no IPC namespace to set limits in");
        }
        let path = TempPath::new();
        let mut options = options();
        options.capacity(1 << 20);
        let anonymous = options.create_anonymous().map(drop);
        for opened in open_each(&options, &path).into_iter().chain([anonymous]) {
            let error = opened.unwrap_err();
            assert!(error.to_string().contains(limit), "{error}");
            let OpenError::System(error) = error else {
                panic!("{error:?}")
            };
            let expected = SysvErrorKind::TooLarge {
                requested: page() + (1 << 20),
                limit: KernelLimit::Shmmax,
                value: 1_000_000,
            };
            assert_eq!(error.kind(), expected);
        }
        assert!(!path.leads_to_a_segment());
        options.capacity(4096);
        open_both(&options, &path);
    });
}

#[test]
fn nothing_persists_where_the_kernel_removes_what_is_detached() {
    let test = "open::impossible::nothing_persists_where_the_kernel_removes_what_is_detached";
    alone(test, || {
        let forced = "/proc/sys/kernel/shm_rmid_forced";
        if !move_to_own_ipc_namespace() || fs::write(forced, "1").is_err() {
            return not_run("no IPC namespace to set it in");
        }
        let path = TempPath::new();
        for opened in open_each(options().persistent(true), &path) {
            assert!(matches!(opened, Err(OpenError::CannotPersist)));
        }
        open_both(&options(), &path);
    });
}

#[test]
fn a_process_that_waits_in_another_ipc_namespace_is_named_as_the_cause() {
    let test =
        "open::impossible::a_process_that_waits_in_another_ipc_namespace_is_named_as_the_cause";
    alone(test, || {
        let path = TempPath::new();
        let (mut note, there) = io::pipe().unwrap();
        let mut there = Some(there);
        let child = Fork::new(|| {
            let mut there = there.take().unwrap();
            let moved = move_to_own_ipc_namespace();
            there.write_all(&[u8::from(moved)]).unwrap();
            let _ = options().open_producer(&path);
        });
        drop(there.take());
        let mut moved = [0];
        note.read_exact(&mut moved).unwrap();
        if moved == [0] {
            return not_run("no IPC namespace of its own can be had");
        }
        until(|| is_waited_for(&path));
        let opened = options().open_consumer(&path).map(drop);
        assert!(
            matches!(&opened, Err(OpenError::OtherNamespace { path: named, .. }) if *named == *path),
            "{opened:?}"
        );
        child.kill();
    });
}
