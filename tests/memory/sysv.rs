//! `shmpipe::sysv` against the real kernel.
//!
//! Most tests run in a process of their own ([`alone`]). A fork elsewhere in the process
//! would double their attachments. The umask, the user and the namespaces belong to the
//! whole process.
#![allow(unsafe_code)] // forks, and looks at raw memory

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::thread;

use crate::common::filter::fail_remaps;
use crate::common::maps::{attachments, mappings};
use crate::common::{
    End, Fork, Segment, TempPath, alone, exit_now, is_root, unique, unshare, until,
};
use shmpipe::sysv::{
    self, DoubleView, FileIdentity, KernelLimit, Key, KeyError, Mode, Project, SegmentId,
    SysvError, SysvErrorKind,
};

fn private(size: usize) -> Segment {
    Segment::new(None, size, 0o600)
}

/// One under a key that was free.
fn keyed(size: usize) -> (Key, Segment) {
    loop {
        let Ok(key) = Key::from_raw(unique() as i32) else {
            continue;
        };
        match sysv::create(Some(key), size, Mode::OWNER_ONLY) {
            Ok(id) => return (key, Segment { id }),
            Err(error) if error.kind() == SysvErrorKind::AlreadyExists => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn sleep_for_ever() -> ! {
    loop {
        // SAFETY: waits for a signal.
        unsafe { libc::pause() };
    }
}

/// Writes one byte of a segment that nobody else in the test is using.
fn poke(base: *mut u8, offset: usize, value: u8) {
    // SAFETY: the tests pass attached segments and offsets inside.
    unsafe { base.wrapping_add(offset).write_volatile(value) };
}

fn peek(base: *mut u8, offset: usize) -> u8 {
    // SAFETY: as for poke.
    unsafe { base.wrapping_add(offset).read_volatile() }
}

fn page() -> usize {
    sysv::page_size()
}

fn mode(bits: u32) -> Mode {
    Mode::new(bits).unwrap()
}

#[track_caller]
fn kind<T: std::fmt::Debug>(result: Result<T, SysvError>) -> SysvErrorKind {
    result.unwrap_err().kind()
}

/// Whether any mapping of this process touches these bytes.
fn is_mapped(start: usize, len: usize) -> bool {
    mappings(|range, _| range.start < start + len && start < range.end).contains(&true)
}

/// An address where `len` bytes were free a moment ago, at a multiple of the page size.
fn free_address(len: usize) -> *mut u8 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping, where the kernel likes.
    let start = unsafe { libc::mmap(ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0) };
    assert_ne!(start, libc::MAP_FAILED);
    // SAFETY: the mapping just made.
    assert_eq!(unsafe { libc::munmap(start, len) }, 0);
    start.cast()
}

// ---- Keys ----

#[test]
fn key_equals_ftok() {
    let file = TempPath::new();
    for path in [
        &*file,
        Path::new("/"),
        Path::new("/dev/null"),
        Path::new("/proc/self/cwd"), // a link that is followed
    ] {
        let c_path = CString::new(path.as_os_str().as_bytes()).unwrap();
        for project in [1, 2, 127, 128, 254, 255] {
            // SAFETY: a string that ends in a zero byte.
            let expected = unsafe { libc::ftok(c_path.as_ptr(), project as i32) };
            let project = Project::new(project).unwrap();
            let key = Key::from_path(path, project).unwrap();
            assert_eq!(key.raw(), expected, "{}", path.display());
            let identity = FileIdentity::of(&File::open(path).unwrap(), project).unwrap();
            assert_eq!(identity, FileIdentity::at(path, project).unwrap());
            assert_eq!(identity.key().unwrap(), key);
            assert_eq!(
                key.to_string(),
                format!("0x{:08x}", expected.cast_unsigned())
            );
        }
    }
}

#[test]
fn missing_path_is_named() {
    let path = Path::new("/nonexistent/ring");
    let error = Key::from_path(path, Project::default()).unwrap_err();
    assert!(matches!(&error, KeyError::Path { path: named, source, .. }
        if named == path && source.kind() == io::ErrorKind::NotFound));
    assert!(error.to_string().contains("/nonexistent/ring"));
}

#[test]
fn project_is_1_to_255() {
    for value in [0, 256, 257, u32::MAX] {
        let error = Project::new(value).unwrap_err();
        assert!(matches!(error, KeyError::Project { value: named, .. } if named == value));
    }
    assert_eq!(Project::new(255).unwrap().get(), 255);
    assert_eq!(Project::default().get(), 1);
}

#[test]
fn key_is_neither_0_nor_minus_1() {
    assert!(matches!(Key::from_raw(0), Err(KeyError::Private)));
    assert!(matches!(Key::from_raw(-1), Err(KeyError::MinusOne)));
    assert_eq!(Key::from_raw(-2).unwrap().to_string(), "0xfffffffe");

    let mut identity = FileIdentity {
        dev: 0x1_00ff,
        ino: 0x1_ffff,
        birth: 0,
        project: Project::new(255).unwrap(),
    };
    let error = identity.key().unwrap_err();
    assert!(matches!(error, KeyError::MinusOne));
    assert!(error.to_string().contains("another project id"));
    identity.project = Project::new(254).unwrap();
    assert_eq!(identity.key().unwrap().raw(), 0xfeff_ffff_u32.cast_signed());
}

#[test]
fn ids_and_modes_are_checked() {
    assert!(SegmentId::from_raw(-1).is_err());
    assert!("".parse::<SegmentId>().is_err());
    assert!("2147483648".parse::<SegmentId>().is_err());
    assert_eq!("2147483647".parse::<SegmentId>().unwrap().raw(), i32::MAX);
    assert_eq!(Mode::new(0o1000), None);
    assert_eq!(mode(0o754).others_bits(), 0o4);
    assert_eq!(mode(0o660).others_bits(), 0);
}

// ---- Create, open, stat, set, remove ----

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
    alone("sysv::umask_does_not_apply", || {
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
    alone("sysv::memory_is_whole_zeroed_pages", || {
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

// ---- Attach, detach ----

#[test]
fn detach_is_not_deletion() {
    alone("sysv::detach_is_not_deletion", || {
        let (key, segment) = keyed(page());
        let first = sysv::attach(segment.id).unwrap();
        assert_eq!(segment.stat().attached, 1);
        poke(first.as_ptr(), 0, 0xa5);
        let (start, len) = (first.as_ptr().addr(), first.len());
        drop(first);
        assert!(!is_mapped(start, len));
        let stat = segment.stat();
        assert_eq!(stat.attached, 0);
        assert!(stat.attach_time > 0 && stat.detach_time > 0);
        assert_eq!(stat.last_pid, std::process::id().cast_signed());
        assert!(!stat.marked_for_removal);
        let again = sysv::attach(sysv::open(key).unwrap()).unwrap();
        assert_eq!(peek(again.as_ptr(), 0), 0xa5);
    });
}

#[test]
fn two_attachments_show_the_same_bytes() {
    alone("sysv::two_attachments_show_the_same_bytes", || {
        let segment = private(page());
        let one = sysv::attach(segment.id).unwrap();
        let two = sysv::attach_read_only(segment.id).unwrap();
        assert_eq!(segment.stat().attached, 2);
        assert_ne!(one.as_ptr(), two.as_ptr());
        poke(one.as_ptr(), 7, 77);
        assert_eq!(peek(two.as_ptr(), 7), 77);
    });
}

#[test]
fn attach_at_a_chosen_address() {
    alone("sysv::attach_at_a_chosen_address", || {
        let segment = private(2 * page());
        let address = free_address(2 * page());
        let attachment = sysv::attach_at(segment.id, address).unwrap();
        assert_eq!(attachment.as_ptr(), address);

        // Taken, taken in part, not at a page.
        let inner = address.wrapping_add(page());
        let odd = free_address(4 * page()).wrapping_add(1);
        for address in [address, inner, odd] {
            let error = sysv::attach_at(segment.id, address).unwrap_err();
            let address = address.addr();
            assert_eq!(error.kind(), SysvErrorKind::BadAddress { address });
            assert!(error.to_string().contains(&format!("{address:#x}")));
        }
        assert_eq!(segment.stat().attached, 1);
    });
}

#[test]
fn read_only_attachment_cannot_be_written() {
    alone("sysv::read_only_attachment_cannot_be_written", || {
        let segment = private(page());
        let attachment = sysv::attach_read_only(segment.id).unwrap();
        let base = attachment.as_ptr();
        let mut child = Fork::new(|| {
            let none = libc::rlimit {
                rlim_cur: 0,
                rlim_max: 0,
            };
            // SAFETY: a valid limit: no core file.
            unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
            poke(base, 0, 1);
            exit_now(0);
        });
        assert_eq!(child.wait(), End::Signal(libc::SIGSEGV));
        assert_eq!(peek(base, 0), 0);
    });
}

#[test]
fn attachments_cross_threads() {
    fn check<T: Send + Sync + std::fmt::Debug>() {}
    check::<sysv::Attachment>();
    check::<DoubleView>();
}

// ---- What ends an attachment ----

#[test]
fn fork_inherits_and_sigkill_detaches() {
    alone("sysv::fork_inherits_and_sigkill_detaches", || {
        let segment = private(page());
        let attachment = sysv::attach(segment.id).unwrap();
        let base = attachment.as_ptr();
        let mut child = Fork::new(|| {
            poke(base, 0, 42);
            sleep_for_ever();
        });
        // Exact at once: the fork has returned.
        assert_eq!(segment.stat().attached, 2);
        until(|| peek(base, 0) == 42);
        child.kill();
        assert_eq!(child.wait(), End::Signal(libc::SIGKILL));
        segment.wait_for_attached(1);
        drop(attachment);
        assert_eq!(segment.stat().attached, 0);
    });
}

#[test]
fn exit_detaches() {
    alone("sysv::exit_detaches", || {
        let segment = private(page());
        let raw = segment.id.raw();
        let mut child = Fork::new(|| {
            // SAFETY: where the kernel likes.
            let base = unsafe { libc::shmat(raw, ptr::null(), 0) };
            poke(base.cast(), 0, 42);
            exit_now(0);
        });
        assert_eq!(child.wait(), End::Exit(0));
        segment.wait_for_attached(0);
        let attachment = sysv::attach(segment.id).unwrap();
        assert_eq!(peek(attachment.as_ptr(), 0), 42);
    });
}

#[test]
fn exec_detaches() {
    alone("sysv::exec_detaches", || {
        let segment = private(page());
        let attachment = sysv::attach(segment.id).unwrap();
        let program = c"sleep".as_ptr();
        let argv = [program, c"1000".as_ptr(), ptr::null()];
        let mut gate = [0; 2];
        // SAFETY: two ints.
        assert_eq!(unsafe { libc::pipe(gate.as_mut_ptr()) }, 0);
        let [gate_out, gate_in] = gate;
        let mut child = Fork::new(|| {
            let mut byte = 0_u8;
            // SAFETY: one byte into one byte; waits for the parent.
            unsafe { libc::read(gate_out, (&raw mut byte).cast(), 1) };
            // SAFETY: strings that end in zero bytes, and an array that ends in null.
            unsafe { libc::execvp(program, argv.as_ptr()) };
            exit_now(127);
        });
        assert_eq!(segment.stat().attached, 2);
        // SAFETY: one byte from a string; opens the gate.
        assert_eq!(unsafe { libc::write(gate_in, c"x".as_ptr().cast(), 1) }, 1);
        segment.wait_for_attached(1);
        // It is the exec that detached it: the process is there, and it is sleep.
        assert!(child.is_running());
        let comm = format!("/proc/{}/comm", child.pid());
        // The kernel changes the name after the memory.
        until(|| fs::read_to_string(&comm).unwrap().trim() == "sleep");
        drop(attachment);
    });
}

#[test]
fn removed_segment_lives_until_the_last_detach() {
    alone("sysv::removed_segment_lives_until_the_last_detach", || {
        let (key, old) = keyed(page());
        let attachment = sysv::attach(old.id).unwrap();
        poke(attachment.as_ptr(), 0, 1);
        sysv::remove(old.id).unwrap();
        let stat = old.stat();
        assert!(stat.marked_for_removal);
        assert_eq!((stat.key_raw, stat.mode), (0, Mode::OWNER_ONLY));

        // Not by key any more; by id as long as someone is attached.
        assert_eq!(kind(sysv::open(key)), SysvErrorKind::NotFound);
        let by_id = sysv::attach(old.id).unwrap();
        assert_eq!(peek(by_id.as_ptr(), 0), 1);
        assert_eq!(old.stat().attached, 2);

        // The key serves another segment meanwhile.
        let id = sysv::create(Some(key), page(), Mode::OWNER_ONLY).unwrap();
        let new = Segment { id };
        assert_ne!(new.id, old.id);

        drop(attachment);
        assert_eq!(old.stat().attached, 1);
        drop(by_id);
        assert_eq!(kind(sysv::stat(old.id)), SysvErrorKind::Removed);
        assert_eq!(sysv::open(key).unwrap(), new.id);
    });
}

#[test]
fn stranger_is_denied() {
    const NOBODY: u32 = 65534;
    alone("sysv::stranger_is_denied", || {
        if !is_root() {
            return eprintln!("skipped: stranger_is_denied needs root");
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
            End::Exit(100) => eprintln!("skipped: stranger_is_denied cannot change user here"),
            end => assert_eq!(end, End::Exit(0), "the call of this number was not denied"),
        }
        assert_eq!(segment.stat().attached, 0);
    });
}

// ---- Limits and lists ----

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
    alone("sysv::limits_are_named_when_reached", || {
        if !unshare(libc::CLONE_NEWIPC) {
            let error = io::Error::last_os_error();
            return eprintln!("skipped: limits_are_named_when_reached: unshare: {error}");
        }
        let set = |limit: KernelLimit, value: u64| fs::write(limit.path(), value.to_string());
        if let Err(error) = set(KernelLimit::Shmmni, 4) {
            return eprintln!("skipped: limits_are_named_when_reached: shmmni: {error}");
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
    alone("sysv::other_ipc_namespace_knows_neither_key_nor_id", || {
        let (key, segment) = keyed(page());
        let attachment = sysv::attach(segment.id).unwrap();
        thread::scope(|scope| {
            // A namespace belongs to a thread; this one ends here.
            scope.spawn(|| {
                if !unshare(libc::CLONE_NEWIPC) {
                    let error = io::Error::last_os_error();
                    return eprintln!("skipped: other_ipc_namespace: unshare: {error}");
                }
                assert_eq!(kind(sysv::open(key)), SysvErrorKind::NotFound);
                assert_eq!(kind(sysv::stat(segment.id)), SysvErrorKind::Removed);
                assert_eq!(sysv::list().unwrap(), []);
                // What is attached stays so.
                poke(attachment.as_ptr(), 0, 9);
            });
        });
        assert_eq!(segment.stat().attached, 1);
    });
}

#[test]
fn list_is_what_the_kernel_lists() {
    alone("sysv::list_is_what_the_kernel_lists", || {
        let (_, keyed) = keyed(5000);
        let attached = private(3 * page());
        let attachment = sysv::attach(attached.id).unwrap();
        let dying = private(1);
        let kept = sysv::attach(dying.id).unwrap();
        sysv::remove(dying.id).unwrap();

        let listed = sysv::list().unwrap();
        let Ok(table) = fs::read_to_string("/proc/sysvipc/shm") else {
            return eprintln!("skipped: no /proc/sysvipc/shm");
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

// ---- Double view ----

#[test]
fn ring_follows_upon_itself() {
    alone("sysv::ring_follows_upon_itself", || {
        // A header of none, of one page, and of more than the ring; a small and a huge ring.
        for (header, capacity) in [
            (0, page()),
            (page(), page()),
            (page(), 4 * page()),
            (3 * page(), page()),
            (page(), 4 << 20),
        ] {
            let len = header + capacity;
            let segment = private(len);
            let view = sysv::attach_double(segment.id, header).unwrap();
            assert_eq!(view.id(), segment.id);
            assert_eq!(view.segment_len(), len);
            assert_eq!(view.len(), len + capacity);
            assert_eq!(segment.stat().attached, DoubleView::VIEWS);
            let base = view.as_ptr();

            // Every page of the ring, from either side.
            for offset in (header..len).step_by(page()) {
                poke(base, offset, 1);
                assert_eq!(peek(base, offset + capacity), 1);
                poke(base, offset + capacity + page() - 1, 2);
                assert_eq!(peek(base, offset + page() - 1), 2);
            }

            // A span over the seam is one slice.
            let seam: Vec<u8> = (1..=64).collect();
            let around = base.wrapping_add(len - 32);
            // SAFETY: 64 bytes inside the view, which nobody else uses.
            let span = unsafe { std::slice::from_raw_parts_mut(around, 64) };
            span.copy_from_slice(&seam);
            // SAFETY: the ring's last 32 bytes, in the first view.
            let end = unsafe { std::slice::from_raw_parts(around, 32) };
            // SAFETY: the ring's first 32 bytes, in the first view.
            let start = unsafe { std::slice::from_raw_parts(base.wrapping_add(header), 32) };
            assert_eq!([end, start].concat(), seam);

            // The segment is what a peer sees who attaches once.
            let single = sysv::attach(segment.id).unwrap();
            assert_eq!(peek(single.as_ptr(), len - 32), 1);
            assert_eq!(peek(single.as_ptr(), header), 33);
            if header > 0 {
                poke(single.as_ptr(), 0, 99);
                assert_eq!(peek(base, 0), 99);
                assert_ne!(peek(base, len), 99);
            }
            drop(single);

            let (start, len) = (base.addr(), view.len());
            drop(view);
            assert_eq!(segment.stat().attached, 0);
            assert!(!is_mapped(start, len));
        }
    });
}

#[test]
fn large_double_view_suits_huge_pages() {
    alone("sysv::large_double_view_suits_huge_pages", || {
        for header in [page(), 2 << 20] {
            let segment = private(header + (2 << 20));
            let view = sysv::attach_double(segment.id, header).unwrap();
            assert_eq!(view.as_ptr().addr() % (2 << 20), 0);
        }
    });
}

#[test]
fn double_views_leave_no_mappings() {
    alone("sysv::double_views_leave_no_mappings", || {
        for capacity in [page(), 4 << 20] {
            let segment = private(page() + capacity);
            let round = || {
                let view = sysv::attach_double(segment.id, page()).unwrap();
                let (start, len) = (view.as_ptr().addr(), view.len());
                drop(view);
                assert!(!is_mapped(start, len));
            };
            round();
            let before = mappings(|_, _| ()).len();
            for _ in 0..200 {
                round();
            }
            // The heap may have grown by a mapping or two; a leak would be 200.
            assert!(mappings(|_, _| ()).len() < before + 10);
            assert_eq!(segment.stat().attached, 0);
        }
    });
}

#[test]
fn double_view_needs_whole_pages() {
    alone("sysv::double_view_needs_whole_pages", || {
        let page_size = page();
        for (segment_len, header_len) in [
            (2 * page_size, 1),
            (2 * page_size + 1, page_size),
            (page_size, page_size),
            (page_size, 2 * page_size),
            (page_size, usize::MAX),
        ] {
            let segment = private(segment_len);
            let error = sysv::attach_double(segment.id, header_len).unwrap_err();
            let expected = SysvErrorKind::NotWholePages {
                segment_len,
                header_len,
                page_size,
            };
            assert_eq!(error.kind(), expected);
            assert_eq!(error.raw_os_error(), None);
            assert_eq!((segment.stat().attached, attachments().len()), (0, 0));
        }
    });
}

#[test]
fn failed_double_view_leaves_nothing() {
    alone("sysv::failed_double_view_leaves_nothing", || {
        let capacity = 64 << 20;
        let segment = private(page() + capacity);
        // Room for the segment once, not for the reservation.
        let used: usize = mappings(|range, _| range.len()).iter().sum();
        let limit = (used + capacity + capacity / 2) as libc::rlim_t;
        let limit = libc::rlimit {
            rlim_cur: limit,
            rlim_max: limit,
        };
        // SAFETY: a valid limit; this process runs one test.
        let result = unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) };
        assert_eq!(result, 0);
        let error = sysv::attach_double(segment.id, page()).unwrap_err();
        assert_eq!(error.kind(), SysvErrorKind::OutOfMemory);
        assert!(error.call().starts_with("mmap(addr=NULL, length="));
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::OutOfMemory);
        assert_eq!((segment.stat().attached, attachments().len()), (0, 0));
    });
}

#[test]
fn double_view_without_second_attach() {
    alone("sysv::double_view_without_second_attach", || {
        if !fail_remaps(0, libc::ENOMEM) {
            return eprintln!("skipped: double_view_without_second_attach: no seccomp");
        }
        let segment = private(2 * page());
        let error = sysv::attach_double(segment.id, page()).unwrap_err();
        assert_eq!(error.kind(), SysvErrorKind::OutOfMemory);
        assert!(error.call().ends_with(", SHM_REMAP)"));
        assert_eq!((segment.stat().attached, attachments().len()), (0, 0));
    });
}

#[test]
fn double_view_without_first_attach() {
    alone("sysv::double_view_without_first_attach", || {
        // The second view of 3 MiB begins 1 MiB past a multiple of 2 MiB, the first one at one.
        if !fail_remaps(1 << 20, libc::ENOMEM) {
            return eprintln!("skipped: double_view_without_first_attach: no seccomp");
        }
        let ring = 3 << 20;
        let segment = private(ring);
        let error = sysv::attach_double(segment.id, 0).unwrap_err();
        assert_eq!(error.kind(), SysvErrorKind::OutOfMemory);
        assert_eq!((segment.stat().attached, attachments().len()), (0, 0));

        // The second view's header cannot be known to be ours any more, and stays.
        let segment = private(page() + ring);
        let error = sysv::attach_double(segment.id, page()).unwrap_err();
        assert_eq!(error.kind(), SysvErrorKind::OutOfMemory);
        assert_eq!((segment.stat().attached, attachments().len()), (1, 1));
        assert_eq!(attachments()[0].len(), page());
    });
}
