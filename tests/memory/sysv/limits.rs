//! Limits of the kernel, lists of segments, IPC namespaces.

use std::fs;
use std::{io, thread};

use shmpipe::sysv::{self, KernelLimit, Mode, SegmentId, SysvErrorKind};

use super::{keyed, kind, page, poke, private};
use crate::common::{Segment, alone, case_not_run, not_run, unshare};

#[test]
fn absurd_sizes_are_typed_errors() {
    let zero = sysv::create(None, 0, Mode::OWNER_ONLY);
    assert_eq!(kind(zero), SysvErrorKind::InvalidSize { requested: 0 });

    for size in [1 << 60, usize::MAX] {
        // A machine that overcommits without limit may grant the first.
        let error = match sysv::create(None, size, Mode::OWNER_ONLY) {
            Ok(id) => {
                drop(Segment { id });
                eprintln!("note: {size} bytes were granted");
                continue;
            }
            Err(error) => error,
        };
        let text = error.to_string();
        match error.kind() {
            SysvErrorKind::OutOfMemory => assert!(text.contains("vm.overcommit_memory")),
            SysvErrorKind::TooLarge {
                requested, limit, ..
            } => {
                assert_eq!((requested, limit), (size, KernelLimit::Shmmax));
                assert!(text.contains("SHMMAX") && text.contains("/proc/sys/kernel/shmmax"));
            }
            SysvErrorKind::LimitReached { limit, .. } => {
                assert_eq!(limit, KernelLimit::Shmall);
                assert!(text.contains("SHMALL") && text.contains("/proc/sys/kernel/shmall"));
            }
            SysvErrorKind::InvalidSize { requested } => assert_eq!(requested, size),
            kind => panic!("{kind:?}: {text}"),
        }
    }
}

#[test]
fn limits_are_named_when_reached() {
    alone("sysv::limits::limits_are_named_when_reached", || {
        if !unshare(libc::CLONE_NEWIPC) {
            let error = io::Error::last_os_error();
            return not_run(&format!("unshare: {error}"));
        }
        let set = |limit: KernelLimit, value: u64| fs::write(limit.path(), value.to_string());
        if let Err(error) = set(KernelLimit::Shmmni, 4) {
            return not_run(&format!("shmmni: {error}"));
        }
        // The namespace and all in it go with this process.
        too_many();
        assert_eq!(sysv::list().unwrap(), []);

        set(KernelLimit::Shmmax, 10_000).unwrap();
        too_large();

        set(KernelLimit::Shmmax, 1 << 30).unwrap();
        set(KernelLimit::Shmall, 8).unwrap();
        too_many_pages();
    });
}

/// Where there may be four segments.
fn too_many() {
    let full: Vec<Segment> = (0..4).map(|_| private(page() + 1)).collect();
    let limits = sysv::limits().unwrap();
    assert_eq!((limits.shmmni, limits.segments_in_use), (4, 4));
    assert_eq!(limits.pages_in_use, 8);
    let mut ids: Vec<SegmentId> = full.iter().map(|segment| segment.id).collect();
    let mut listed: Vec<SegmentId> = sysv::list().unwrap().iter().map(|s| s.id).collect();
    ids.sort();
    listed.sort();
    assert_eq!(ids, listed);

    let error = sysv::create(None, 1, Mode::OWNER_ONLY).unwrap_err();
    let expected = SysvErrorKind::LimitReached {
        limit: KernelLimit::Shmmni,
        value: 4,
    };
    assert_eq!(error.kind(), expected);
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    assert_eq!(
        error.to_string(),
        "shmget(key=IPC_PRIVATE, size=1, IPC_CREAT|IPC_EXCL|0600): the limit SHMMNI of 4 segments \
             is reached; raise it with `sysctl kernel.shmmni=...` or in /proc/sys/kernel/shmmni"
    );
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::StorageFull);
    drop(full);
}

/// Where a segment may have 10,000 bytes.
fn too_large() {
    let error = sysv::create(None, 10_001, Mode::OWNER_ONLY).unwrap_err();
    let expected = SysvErrorKind::TooLarge {
        requested: 10_001,
        limit: KernelLimit::Shmmax,
        value: 10_000,
    };
    assert_eq!(error.kind(), expected);
    assert!(error.to_string().ends_with(
        "10001 bytes asked for, and SHMMAX is 10000; \
             raise it with `sysctl kernel.shmmax=...` or in /proc/sys/kernel/shmmax"
    ));
    drop(private(10_000));
}

/// Where all segments may have eight pages.
fn too_many_pages() {
    let half = private(4 * page());
    let result = sysv::create(None, 4 * page() + 1, Mode::OWNER_ONLY);
    let expected = SysvErrorKind::LimitReached {
        limit: KernelLimit::Shmall,
        value: 8,
    };
    assert_eq!(kind(result), expected);
    drop(half);
    drop(private(8 * page()));
}

#[test]
fn other_ipc_namespace_knows_neither_key_nor_id() {
    alone(
        "sysv::limits::other_ipc_namespace_knows_neither_key_nor_id",
        || {
            let (key, segment) = keyed(page());
            let attachment = sysv::attach(segment.id).unwrap();
            thread::scope(|scope| {
                // A namespace belongs to a thread; this one ends here.
                scope.spawn(|| {
                    if !unshare(libc::CLONE_NEWIPC) {
                        let error = io::Error::last_os_error();
                        return case_not_run(
                            "sysv::limits::other_ipc_namespace",
                            &format!("unshare: {error}"),
                        );
                    }
                    assert_eq!(kind(sysv::open(key)), SysvErrorKind::NotFound);
                    assert_eq!(kind(sysv::stat(segment.id)), SysvErrorKind::Removed);
                    assert_eq!(sysv::list().unwrap(), []);
                    // What is attached stays so.
                    poke(attachment.as_ptr(), 0, 9);
                });
            });
            assert_eq!(segment.stat().attached, 1);
        },
    );
}

#[test]
fn list_is_what_the_kernel_lists() {
    alone("sysv::limits::list_is_what_the_kernel_lists", || {
        let (_, keyed) = keyed(5000);
        let attached = private(3 * page());
        let attachment = sysv::attach(attached.id).unwrap();
        let dying = private(1);
        let kept = sysv::attach(dying.id).unwrap();
        sysv::remove(dying.id).unwrap();

        let listed = sysv::list().unwrap();
        let Ok(table) = fs::read_to_string("/proc/sysvipc/shm") else {
            return not_run("there is no /proc/sysvipc/shm");
        };
        for segment in [&keyed, &attached, &dying] {
            let stat = listed.iter().find(|stat| stat.id == segment.id).unwrap();
            assert_eq!(*stat, segment.stat());
            let id = segment.id.to_string();
            let row: Vec<&str> = table
                .lines()
                .map(|line| line.split_whitespace().collect::<Vec<_>>())
                .find(|row| row[1] == id)
                .unwrap();
            assert_eq!(row[0], stat.key_raw.to_string());
            let bits = u32::from_str_radix(row[2], 8).unwrap();
            assert_eq!(bits & 0o777, u32::from(stat.mode.bits()));
            assert_eq!(bits & 0o1000 != 0, stat.marked_for_removal);
            assert_eq!(row[3], stat.size.to_string());
            assert_eq!(row[4], stat.creator_pid.to_string());
            assert_eq!(row[5], stat.last_pid.to_string());
            assert_eq!(row[6], stat.attached.to_string());
            assert_eq!(row[7], stat.uid.to_string());
            assert_eq!(row[8], stat.gid.to_string());
            assert_eq!(row[9], stat.creator_uid.to_string());
            assert_eq!(row[10], stat.creator_gid.to_string());
            assert_eq!(row[11], stat.attach_time.to_string());
            assert_eq!(row[12], stat.detach_time.to_string());
            assert_eq!(row[13], stat.change_time.to_string());
        }
        drop((attachment, kept));
    });
}

#[test]
fn limits_are_those_of_proc() {
    let limits = sysv::limits().unwrap();
    let read = |limit: KernelLimit| -> u64 {
        let text = fs::read_to_string(limit.path()).unwrap();
        text.trim().parse().unwrap()
    };
    assert_eq!(limits.shmmni, read(KernelLimit::Shmmni));
    assert_eq!(limits.shmmax, read(KernelLimit::Shmmax));
    assert_eq!(limits.shmall, read(KernelLimit::Shmall));
}
