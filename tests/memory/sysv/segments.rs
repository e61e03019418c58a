//! Segments: create, open, stat, set, remove, and who may.

use std::io;

use shmpipe::sysv::{self, Mode, SysvErrorKind};

use super::{free_address, keyed, kind, mode, page, peek, poke, private};
use crate::common::{End, Fork, Segment, alone, exit_now, is_root, not_run};

#[test]
fn second_create_finds_the_key_taken() {
    let (key, segment) = keyed(page());
    let error = sysv::create(Some(key), page(), Mode::OWNER_ONLY).unwrap_err();
    assert_eq!(error.kind(), SysvErrorKind::AlreadyExists);
    assert_eq!(error.raw_os_error(), Some(libc::EEXIST));
    let call = format!(
        "shmget(key={key}, size={}, IPC_CREAT|IPC_EXCL|0600)",
        page()
    );
    assert_eq!(error.call(), call);
    assert_eq!(
        error.to_string(),
        call + ": a segment with this key exists already"
    );
    // A larger size must not turn EEXIST into EINVAL.
    let larger = sysv::create(Some(key), 64 * page(), Mode::OWNER_ONLY);
    assert_eq!(kind(larger), SysvErrorKind::AlreadyExists);
    assert_eq!(sysv::open(key).unwrap(), segment.id);

    let wrapped = io::Error::from(error.clone());
    assert_eq!(wrapped.kind(), io::ErrorKind::AlreadyExists);
    let inner = wrapped.get_ref().and_then(|inner| inner.downcast_ref());
    assert_eq!(inner, Some(&error));
}

#[test]
fn umask_does_not_apply() {
    alone("sysv::segments::umask_does_not_apply", || {
        for umask in [0o000, 0o077, 0o777] {
            // SAFETY: this process runs one test.
            unsafe { libc::umask(umask) };
            assert_eq!(private(1).stat().mode, Mode::OWNER_ONLY);
            let id = sysv::create(None, 1, mode(0o666)).unwrap();
            let segment = Segment { id };
            assert_eq!(segment.stat().mode, mode(0o666));
        }
    });
}

#[test]
fn newborn_describes_itself() {
    let (key, segment) = keyed(5000);
    let stat = segment.stat();
    assert_eq!(stat.id, segment.id);
    assert_eq!(stat.key_raw, key.raw());
    assert_eq!(stat.size, 5000);
    // SAFETY: no arguments.
    assert_eq!(stat.uid, unsafe { libc::geteuid() });
    // SAFETY: no arguments.
    assert_eq!(stat.gid, unsafe { libc::getegid() });
    assert_eq!((stat.creator_uid, stat.creator_gid), (stat.uid, stat.gid));
    assert_eq!(stat.creator_pid, std::process::id().cast_signed());
    assert_eq!((stat.attached, stat.last_pid), (0, 0));
    assert_eq!((stat.attach_time, stat.detach_time), (0, 0));
    assert!(stat.change_time > 0);
    assert!(!stat.marked_for_removal && !stat.locked);
    assert_eq!(private(1).stat().key_raw, 0);
}

#[test]
fn memory_is_whole_zeroed_pages() {
    alone("sysv::segments::memory_is_whole_zeroed_pages", || {
        let size = page() + 1;
        let segment = private(size);
        let attachment = sysv::attach(segment.id).unwrap();
        assert_eq!(attachment.len(), size);
        let rounded = sysv::round_to_pages(size).unwrap();
        assert_eq!(rounded, 2 * page());
        let base = attachment.as_ptr();
        assert!((0..rounded).all(|offset| peek(base, offset) == 0));
        poke(base, rounded - 1, 1);
        assert_eq!(peek(base, rounded - 1), 1);
    });
}

#[test]
fn rounding_does_not_overflow() {
    assert_eq!(sysv::round_to_pages(0), Some(0));
    assert_eq!(sysv::round_to_pages(page()), Some(page()));
    assert_eq!(sysv::round_to_pages(page() + 1), Some(2 * page()));
    assert_eq!(sysv::round_to_pages(usize::MAX - page() + 2), None);
    let last = usize::MAX - (page() - 1);
    assert_eq!(sysv::round_to_pages(last), Some(last));
}

#[test]
fn size_means_nothing_when_opening() {
    let (key, segment) = keyed(3 * page());
    for size in [0, 1, 3 * page()] {
        // SAFETY: three integers.
        let raw = unsafe { libc::shmget(key.raw(), size, 0) };
        assert_eq!(raw, segment.id.raw());
    }
    assert_eq!(sysv::open(key).unwrap(), segment.id);
    assert_eq!(segment.stat().size, 3 * page());
}

#[test]
fn unknown_key_is_not_found() {
    let (key, segment) = keyed(1);
    sysv::remove(segment.id).unwrap();
    let error = sysv::open(key).unwrap_err();
    assert_eq!(error.kind(), SysvErrorKind::NotFound);
    assert_eq!(error.call(), format!("shmget(key={key}, size=0, 0)"));
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::NotFound);
}

#[test]
fn removed_id_is_removed_for_every_call() {
    let segment = private(page());
    let id = segment.id;
    let uid = segment.stat().uid;
    sysv::remove(id).unwrap();
    assert_eq!(kind(sysv::stat(id)), SysvErrorKind::Removed);
    assert_eq!(kind(sysv::remove(id)), SysvErrorKind::Removed);
    let set = sysv::set(id, uid, uid, Mode::OWNER_ONLY);
    assert_eq!(kind(set), SysvErrorKind::Removed);
    assert_eq!(kind(sysv::attach(id)), SysvErrorKind::Removed);
    assert_eq!(kind(sysv::attach_read_only(id)), SysvErrorKind::Removed);
    assert_eq!(kind(sysv::attach_double(id, 0)), SysvErrorKind::Removed);
    let at = sysv::attach_at(id, free_address(page()));
    assert_eq!(kind(at), SysvErrorKind::Removed);
    let error = sysv::attach(id).unwrap_err();
    assert_eq!(error.call(), format!("shmat(shmid={id}, shmaddr=NULL, 0)"));
}

#[test]
fn set_changes_the_mode() {
    let segment = private(1);
    let before = segment.stat();
    sysv::set(segment.id, before.uid, before.gid, mode(0o640)).unwrap();
    let after = segment.stat();
    assert_eq!(after.mode, mode(0o640));
    assert_eq!((after.uid, after.gid), (before.uid, before.gid));
    // The id is right, so this EINVAL is not a removal.
    let error = sysv::set(segment.id, u32::MAX, before.gid, mode(0o640)).unwrap_err();
    assert_eq!(error.kind(), SysvErrorKind::Other);
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
}

#[test]
fn stranger_is_denied() {
    const NOBODY: u32 = 65534;
    alone("sysv::segments::stranger_is_denied", || {
        if !is_root() {
            return not_run("needs root");
        }
        let segment = private(page());
        // The one child that calls the crate, which allocates when it fails: the C library keeps
        // its allocator usable over a fork.
        let mut child = Fork::new(|| {
            // SAFETY: three integers.
            if unsafe { libc::setresgid(NOBODY, NOBODY, NOBODY) } != 0 {
                exit_now(100);
            }
            // SAFETY: three integers.
            if unsafe { libc::setresuid(NOBODY, NOBODY, NOBODY) } != 0 {
                exit_now(100);
            }
            let id = segment.id;
            let denied = [
                sysv::attach(id).map(drop),
                sysv::attach_read_only(id).map(drop),
                sysv::attach_double(id, 0).map(drop),
                sysv::stat(id).map(drop),
                sysv::set(id, NOBODY, NOBODY, mode(0o666)),
                sysv::remove(id),
            ]
            .iter()
            .position(|result| {
                !matches!(result, Err(error)
                    if error.kind() == SysvErrorKind::PermissionDenied)
            });
            exit_now(denied.map_or(0, |position| position as i32 + 1));
        });
        match child.wait() {
            End::Exit(100) => not_run("no other user can be had"),
            end => assert_eq!(end, End::Exit(0), "the call of this number was not denied"),
        }
        assert_eq!(segment.stat().attached, 0);
    });
}
