//! Opening: what cannot be, who meets whom, and what is left behind.
#![allow(unsafe_code)] // setuid and umask

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::common::offsets::TAIL;
use crate::common::{
    Fork, TempPath, alone, check, is_root, is_waited_for, move_to_own_ipc_namespace, open_each,
    options, page, poke, stream, unique, until,
};
use shmpipe::error::Rule;
use shmpipe::sysv::{self, KernelLimit, Key, KeyError, SegmentId, SysvErrorKind};
use shmpipe::{Consumer, Occupant, OpenError, Options, Producer, Role, Snapshot};

/// Opens both ends of `path`, each waiting for the other.
fn open_both(options: &Options, path: &Path) -> (Producer, Consumer) {
    thread::scope(|scope| {
        let producer = scope.spawn(|| options.open_producer(path));
        let consumer = options.open_consumer(path).unwrap();
        (producer.join().unwrap().unwrap(), consumer)
    })
}

/// Bytes of a ring that somebody asks for.
const RING: usize = 8192;

fn is_gone(id: SegmentId) -> bool {
    sysv::stat(id).map_or(true, |stat| stat.marked_for_removal)
}

// ---- Options and paths ----

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
    alone("open::a_file_that_cannot_be_read_is_refused", || {
        let path = TempPath::new();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
        // SAFETY: an integer; this process runs one test.
        if is_root() && unsafe { libc::seteuid(65_534) } != 0 {
            return eprintln!("skipped: a_file_that_cannot_be_read_is_refused: no seteuid");
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
    });
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
    let test = "open::what_the_kernel_does_not_allow_is_refused_with_its_limit";
    alone(test, || {
        let limit = "/proc/sys/kernel/shmmax";
        if !move_to_own_ipc_namespace() || fs::write(limit, "1000000").is_err() {
            return eprintln!("skipped: {test}: no IPC namespace to set limits in");
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
    let test = "open::nothing_persists_where_the_kernel_removes_what_is_detached";
    alone(test, || {
        let forced = "/proc/sys/kernel/shm_rmid_forced";
        if !move_to_own_ipc_namespace() || fs::write(forced, "1").is_err() {
            return eprintln!("skipped: {test}: no IPC namespace to set it in");
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
    let test = "open::a_process_that_waits_in_another_ipc_namespace_is_named_as_the_cause";
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
            return eprintln!("skipped: {test}: no IPC namespace");
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

// ---- What is there already ----

#[test]
fn a_key_that_leads_to_a_ring_of_no_file_is_a_collision() {
    let path = TempPath::new();
    let mut options = options();
    options.capacity(4096).wait_for_peer(false);
    let mut theirs = options.open_producer_by_key(path.key()).unwrap();
    theirs.write_all(b"theirs").unwrap();
    let file = fs::metadata(&path).unwrap();
    for opened in open_each(&options, &path) {
        assert!(
            matches!(opened, Err(OpenError::KeyCollision { id, owner: (0, 0), asked, .. })
            if id == theirs.id().unwrap() && asked == (file.dev(), file.ino()))
        );
    }
    // By its key it goes on.
    let mut consumer = options.open_consumer_by_key(path.key()).unwrap();
    assert_eq!(consumer.read(&mut [0; 9]).unwrap(), 6);
    theirs.close().unwrap();
    assert_eq!(consumer.read(&mut [0; 9]).unwrap(), 0);
    // Another project id leads elsewhere.
    drop(options.project(2).open_producer(&path).unwrap());
}

#[test]
fn a_ring_whose_creator_was_killed_while_it_waited_is_reclaimed() {
    let test = "open::a_ring_whose_creator_was_killed_while_it_waited_is_reclaimed";
    alone(test, || {
        move_to_own_ipc_namespace();
        let path = TempPath::new();
        let mut creator = Fork::new(|| drop(options().open_producer(&path)));
        until(|| {
            Snapshot::all().unwrap().iter().any(|ring| {
                ring.producer == Occupant::Process(creator.pid()) && Some(ring.id) == path.segment()
            })
        });
        let left = path.segment().unwrap();
        creator.kill();
        creator.wait();
        assert!(!is_gone(left), "nobody was there to remove it");
        let snapshot = Snapshot::of(left).unwrap();
        assert_eq!(snapshot.producer, Occupant::Dead(creator.pid()));
        let (mut producer, mut consumer) = open_both(&options(), &path);
        assert!(is_gone(left));
        assert!(!path.leads_to_a_segment());
        producer.write_all(b"x").unwrap();
        consumer.read_exact(&mut [0]).unwrap();
    });
}

#[test]
fn positions_that_cannot_be_are_refused() {
    let path = TempPath::new();
    let mut options = options();
    options.persistent(true).capacity(page());
    let id = options.open_producer(&path).unwrap().id().unwrap();
    poke(id, TAIL, &(page() as u64 + 1).to_ne_bytes());
    let [producer, consumer] = open_each(&options, &path);
    for (opened, wanted) in [
        (producer, Rule::HeadOutOfRange),
        (consumer, Rule::TailOutOfRange),
    ] {
        assert!(matches!(opened, Err(OpenError::Corrupted(corruption))
            if corruption.rule() == wanted));
    }
    shmpipe::Options::new().remove(&path).unwrap();
}

#[test]
fn an_id_that_names_no_segment_is_removed() {
    let ring = options().create_anonymous().unwrap();
    let id = ring.id().unwrap();
    drop(ring);
    assert!(matches!(options().attach(id), Err(OpenError::Removed { id: gone, .. }) if gone == id));
    let looked = Snapshot::of(id);
    assert!(matches!(looked, Err(OpenError::Removed { id: gone, .. }) if gone == id));
}

// ---- Who meets whom ----

/// While one end of `path`, opened with `options`, waits for the other.
fn while_one_waits(options: &Options, path: &TempPath, then: impl FnOnce() -> Consumer) {
    thread::scope(|scope| {
        let waiting = scope.spawn(|| options.open_producer(path));
        until(|| path.leads_to_a_segment());
        let mut consumer = then();
        let mut producer = waiting.join().unwrap().unwrap();
        assert_eq!(producer.id().unwrap(), consumer.id().unwrap());
        assert_eq!(producer.capacity(), consumer.capacity());
        producer.write_all(b"met").unwrap();
        drop(producer);
        let mut text = String::new();
        consumer.read_to_string(&mut text).unwrap();
        assert_eq!(text, "met");
    });
    assert!(!path.leads_to_a_segment());
}

#[test]
fn a_capacity_asked_for_wins_over_one_that_nobody_asked_for() {
    let path = TempPath::new();
    while_one_waits(&options(), &path, || {
        let consumer = options().capacity(RING).open_consumer(&path).unwrap();
        assert_eq!(consumer.capacity(), RING);
        consumer
    });
    while_one_waits(options().capacity(RING), &path, || {
        let consumer = options().open_consumer(&path).unwrap();
        assert_eq!(consumer.capacity(), RING);
        consumer
    });
    // What is rounded to the same is the same.
    while_one_waits(options().capacity(RING - 1), &path, || {
        options().capacity(RING).open_consumer(&path).unwrap()
    });
}

#[test]
fn two_capacities_asked_for_that_differ_are_an_error() {
    let path = TempPath::new();
    while_one_waits(options().capacity(RING), &path, || {
        let mut large = options();
        for opened in open_each(large.capacity(2 * RING), &path) {
            let (wanted, there) = (2 * RING, RING);
            assert!(
                matches!(opened, Err(OpenError::CapacityMismatch { asked, found, .. })
                if asked == wanted && found == there)
            );
        }
        options().open_consumer(&path).unwrap()
    });
}

#[test]
fn a_ring_that_may_hold_bytes_does_not_give_way() {
    let path = TempPath::new();
    let mut producer = options().wait_for_peer(false).open_producer(&path).unwrap();
    producer.write_all(b"kept").unwrap();
    let opened = options().capacity(RING).open_consumer(&path);
    assert!(matches!(opened, Err(OpenError::CapacityMismatch { .. })));
    let mut consumer = options().open_consumer(&path).unwrap();
    assert_eq!(consumer.read(&mut [0; 9]).unwrap(), 4);
}

#[test]
fn life_cycles_that_differ_are_an_error() {
    let path = TempPath::new();
    while_one_waits(&options(), &path, || {
        for opened in open_each(options().persistent(true), &path) {
            assert!(matches!(
                opened,
                Err(OpenError::LifeCycleMismatch {
                    persistent: false,
                    ..
                })
            ));
        }
        options().open_consumer(&path).unwrap()
    });
    drop(options().persistent(true).open_producer(&path).unwrap());
    for opened in open_each(&options(), &path) {
        assert!(matches!(
            opened,
            Err(OpenError::LifeCycleMismatch {
                persistent: true,
                ..
            })
        ));
    }
}

#[test]
fn a_role_that_somebody_waits_in_is_taken() {
    let path = TempPath::new();
    while_one_waits(&options(), &path, || {
        // The role follows the ring by a moment.
        let id = path.segment().unwrap();
        until(|| Snapshot::of(id).is_ok_and(|ring| ring.producer != Occupant::Nobody));
        let opened = options().open_producer(&path);
        assert!(
            matches!(opened, Err(OpenError::RoleTaken { role: Role::Producer, pid, .. })
            if pid == std::process::id())
        );
        options().open_consumer(&path).unwrap()
    });
}

#[test]
fn an_open_that_gives_up_leaves_no_segment() {
    let path = TempPath::new();
    for opened in open_each(options().timeout(Some(Duration::from_millis(30))), &path) {
        let error = opened.unwrap_err();
        assert!(matches!(error, OpenError::TimedOut { .. }), "{error}");
        assert_eq!(io::Error::from(error).kind(), ErrorKind::TimedOut);
        assert!(!path.leads_to_a_segment());
    }
    let flag = Arc::new(AtomicBool::new(false));
    let mut options = options();
    options.cancel_on(flag.clone());
    thread::scope(|scope| {
        scope.spawn(|| {
            until(|| path.leads_to_a_segment());
            flag.store(true, Ordering::Relaxed);
        });
        assert!(matches!(
            options.open_producer(&path),
            Err(OpenError::Cancelled)
        ));
    });
    assert!(!path.leads_to_a_segment());
    // Set before: nothing is begun.
    assert!(matches!(
        options.open_consumer(&path),
        Err(OpenError::Cancelled)
    ));
    assert!(!path.leads_to_a_segment());
}

#[test]
fn who_waits_in_a_ring_that_is_removed_makes_another() {
    let path = TempPath::new();
    while_one_waits(&options(), &path, || {
        let first = path.segment().unwrap();
        sysv::remove(first).unwrap();
        until(|| path.segment().is_some_and(|second| second != first));
        options().open_consumer(&path).unwrap()
    });
}

#[test]
fn who_waits_at_a_path_that_goes_away_is_told() {
    let path = TempPath::new();
    let kept = fs::File::open(&path).unwrap(); // so that the key stays known
    let key = path.key();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| options().open_producer(&path));
        until(|| path.leads_to_a_segment());
        fs::remove_file(&path).unwrap();
        let opened = waiting.join().unwrap();
        assert!(matches!(opened, Err(OpenError::FileGone { .. })));
    });
    assert!(sysv::open(key).is_err());
    drop(kept);
}

#[test]
fn a_paired_path_is_free_for_a_second_pair() {
    let path = TempPath::new();
    let mut options = options();
    options.capacity(4096);
    let mut pairs: Vec<_> = (0..3)
        .map(|seed| {
            assert!(!path.leads_to_a_segment());
            (seed, open_both(&options, &path))
        })
        .collect();
    for round in 0..100 {
        for (seed, (producer, _)) in &mut pairs {
            producer
                .write_all(&stream(*seed, round * 1111, 1111))
                .unwrap();
        }
        for (seed, (_, consumer)) in &mut pairs {
            let mut bytes = [0; 1111];
            consumer.read_exact(&mut bytes).unwrap();
            check(*seed, round * 1111, &bytes);
        }
    }
    let ids: Vec<SegmentId> = pairs.iter().map(|(_, pair)| pair.0.id().unwrap()).collect();
    assert!(ids[0] != ids[1] && ids[1] != ids[2]);
    drop(pairs);
    assert!(ids.into_iter().all(is_gone));
}

#[test]
fn both_ends_are_found_by_a_raw_key() {
    let key = Key::from_raw(unique() as i32 | 1 << 30).unwrap();
    thread::scope(|scope| {
        let producer = scope.spawn(|| options().open_producer_by_key(key));
        let mut consumer = options().open_consumer_by_key(key).unwrap();
        producer.join().unwrap().unwrap().write_all(b"x").unwrap();
        assert_eq!(consumer.read(&mut [0; 9]).unwrap(), 1);
        assert_eq!(consumer.read(&mut [0; 9]).unwrap(), 0);
    });
    assert!(sysv::open(key).is_err());
}

#[test]
fn the_mode_is_what_was_asked_for_whatever_the_umask() {
    alone(
        "open::the_mode_is_what_was_asked_for_whatever_the_umask",
        || {
            let path = TempPath::new();
            for (umask, mode) in [(0o077, 0o660), (0, 0o600), (0o777, 0o666)] {
                // SAFETY: an integer; this process runs one test.
                unsafe { libc::umask(umask) };
                let mut shared = options();
                shared.wait_for_peer(false).mode(mode);
                let producer = shared.open_producer(&path).unwrap();
                let stat = sysv::stat(producer.id().unwrap()).unwrap();
                assert_eq!(u32::from(stat.mode.bits()), mode);
                // Who asks for less trusts it not.
                let opened = options().open_consumer(&path);
                assert_eq!(
                    mode == 0o600,
                    !matches!(opened, Err(OpenError::Untrusted { mode: found, .. }) if found == Some(mode))
                );
                if mode != 0o600 {
                    drop(shared.open_consumer(&path).unwrap());
                }
            }
        },
    );
}

#[test]
fn no_file_is_made_through_a_link_that_leads_nowhere() {
    let (link, target) = (TempPath::new(), TempPath::new());
    for path in [&link, &target] {
        fs::remove_file(path).unwrap();
    }
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let mut options = options();
    options.wait_for_peer(false).create_file(true);
    for opened in open_each(&options, &link) {
        let error = opened.unwrap_err();
        assert!(matches!(error, OpenError::Path { .. }), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    assert!(!target.exists());
    // A link to a file is followed, and the file is the same by either name.
    fs::write(&target, "").unwrap();
    let _producer = options.open_producer(&link).unwrap();
    drop(options.open_consumer(&target).unwrap());
}

/// An error of opening names the process at the other end.
#[test]
fn errors_name_the_holder_of_the_other_end() {
    let path = TempPath::new();
    let mut options = options();
    options
        .wait_for_peer(false)
        .persistent(true)
        .capacity(page());
    let own = std::process::id();
    let _producer = options.open_producer(&path).unwrap();
    let place = |opened: Result<Consumer, OpenError>| match opened.unwrap_err() {
        OpenError::CapacityMismatch { at, .. }
        | OpenError::LifeCycleMismatch { at, .. }
        | OpenError::RoleTaken { at, .. } => at,
        error => panic!("{error:?}"),
    };
    let mut other = options.clone();
    let at = place(other.capacity(2 * page()).open_consumer(&path));
    assert_eq!(at.peer(), Some(own));
    let text = format!("(as consumer; the producer is process {own}): ");
    assert!(at.to_string().ends_with(&text), "{at}");
    let at = place(other.persistent(false).open_consumer(&path));
    assert_eq!(at.peer(), Some(own));

    let _consumer = options.open_consumer(&path).unwrap();
    let at = place(options.open_consumer(&path));
    assert_eq!((at.peer(), at.path()), (Some(own), Some(&*path)));
    drop(_producer);
    let at = place(options.open_consumer(&path));
    assert_eq!(at.peer(), None, "it has left");
}

#[test]
fn the_file_is_made_where_that_is_asked_for() {
    let path = TempPath::new();
    fs::remove_file(&path).unwrap();
    let mut options = options();
    options.wait_for_peer(false);
    let missing = options.open_producer(&path).unwrap_err();
    assert!(matches!(missing, OpenError::Path { .. }), "{missing}");
    assert!(!path.exists());
    options.create_file(true);
    drop(options.open_producer(&path).unwrap());
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // One that is there is left as it is, and so is what opening refuses.
    fs::write(&path, "contents").unwrap();
    drop(options.open_consumer(&path).unwrap());
    assert_eq!(fs::read(&path).unwrap(), b"contents");
    fs::remove_file(&path).unwrap();
    let refused = options.clone().capacity(0).open_producer(&path);
    assert!(matches!(refused, Err(OpenError::Capacity { .. })));
    assert!(!path.exists());
    let nowhere = options.open_producer("/nowhere/at/all").unwrap_err();
    assert_eq!(nowhere.kind(), ErrorKind::NotFound);
    fs::write(&path, "").unwrap(); // as it was found
}
