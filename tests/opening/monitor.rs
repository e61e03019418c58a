//! Looking at rings: what a snapshot says, and that nobody notices it.

use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use shmpipe::sysv::{self, SysvErrorKind};
use shmpipe::{LifeCycle, Occupant, OpenError, Options, RemoveError, Snapshot, WaitPolicy};

use crate::common::offsets::{HEAD, TAIL, set_start};
use crate::common::{
    Segment, TempPath, alone, bytes_of, move_to_own_ipc_namespace, options, page, remove_unused,
    until, until_gone,
};

fn persistent() -> Options {
    let mut options = options();
    options.persistent(true).capacity(page());
    options
}

#[test]
fn a_look_leaves_every_byte_and_every_count_as_it_was() {
    alone(
        "monitor::a_look_leaves_every_byte_and_every_count_as_it_was",
        || {
            move_to_own_ipc_namespace(); // where nobody else looks at its rings
            let path = TempPath::new();
            let mut producer = persistent().open_producer(&path).unwrap();
            let mut consumer = persistent().open_consumer(&path).unwrap();
            producer.write_all(&[7; 1000]).unwrap();
            consumer.read_exact(&mut [0; 10]).unwrap();
            let id = producer.id().unwrap();
            let (bytes, attached) = (bytes_of(id), sysv::stat(id).unwrap().attached);
            for _ in 0..1000 {
                let by_id = Snapshot::of(id).unwrap();
                let by_path = shmpipe::Options::new().snapshot(&path).unwrap();
                assert_eq!(by_id, by_path);
                assert_eq!((by_id.fill, by_id.written), (990, 1000));
                assert_eq!(by_id.attached, attached);
            }
            assert!(bytes_of(id) == bytes, "a byte of the segment has changed");
            assert_eq!(sysv::stat(id).unwrap().attached, attached);
        },
    );
}

#[test]
fn figures_agree_while_bytes_stream() {
    const LOOKS: usize = 10_000;
    let path = TempPath::new();
    let mut producer = persistent().open_producer(&path).unwrap();
    let mut consumer = persistent().open_consumer(&path).unwrap();
    let id = producer.id().unwrap();
    let enough = AtomicBool::new(false);
    /// Ends the stream also when a look fails.
    struct Ends<'a>(&'a AtomicBool);
    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    thread::scope(|scope| {
        let _ends = Ends(&enough);
        scope.spawn(|| {
            let block = [7; 1000];
            let mut written = 0;
            while !enough.load(Ordering::Relaxed) {
                written += 1;
                producer.write_all(&block[..written % 1000 + 1]).unwrap();
            }
            producer.close().unwrap();
        });
        scope.spawn(|| std::io::copy(&mut consumer, &mut std::io::sink()).unwrap());
        let mut before = Snapshot::of(id).unwrap();
        for look in 0..LOOKS {
            let ring = match look % 2 {
                0 => Snapshot::of(id).unwrap(),
                _ => shmpipe::Options::new().snapshot(&path).unwrap(),
            };
            assert!(ring.fill <= ring.capacity, "{ring:?}");
            assert!(ring.fill as u64 <= ring.written, "{ring:?}");
            assert!(ring.written >= before.written, "{before:?} {ring:?}");
            assert_eq!(ring.changed, before.changed);
            before = ring;
        }
        assert!(before.written > 0);
    });
    let ring = Snapshot::of(id).unwrap();
    assert_eq!((ring.fill, ring.written), (0, ring.written));
}

#[test]
fn figures_are_right_where_positions_wrap() {
    let path = TempPath::new();
    drop(persistent().open_consumer(&path).unwrap());
    let id = path.segment().unwrap();
    // Ten bytes before the end of all positions.
    let start = u64::MAX - 9;
    set_start(id, start);
    let mut producer = persistent().open_producer(&path).unwrap();
    let mut consumer = persistent().open_consumer(&path).unwrap();
    let figures = || {
        let ring = Snapshot::of(id).unwrap();
        (ring.fill, ring.written)
    };
    assert_eq!(figures(), (0, start));
    producer.write_all(&[7; 15]).unwrap();
    assert_eq!(figures(), (15, 5));
    consumer.read_exact(&mut [0; 8]).unwrap();
    assert_eq!(figures(), (7, 5));
    consumer.read_exact(&mut [0; 7]).unwrap();
    assert_eq!(figures(), (0, 5));
    producer.write_all(&vec![7; page()]).unwrap();
    assert_eq!(figures(), (page(), 5 + page() as u64));
}

#[test]
fn figures_that_cannot_be_are_clamped() {
    let path = TempPath::new();
    drop(persistent().open_producer(&path).unwrap());
    let id = path.segment().unwrap();
    let fill = |tail: u64, head: u64| {
        crate::common::poke(id, TAIL, &tail.to_ne_bytes());
        crate::common::poke(id, HEAD, &head.to_ne_bytes());
        Snapshot::of(id).unwrap().fill
    };
    let full = page();
    let past = full as u64;
    assert_eq!(fill(past, 0), full);
    assert_eq!(fill(past + 1, 0), full);
    assert_eq!(fill(1 << 40, 0), full);
    assert!(fill(0, 1) <= full);
    crate::common::poke(id, TAIL, &[0; 8]);
    crate::common::poke(id, HEAD, &[0; 8]);
}

#[test]
fn a_look_tells_who_sleeps() {
    let path = TempPath::new();
    let mut producer = persistent().open_producer(&path).unwrap();
    let mut consumer = persistent().open_consumer(&path).unwrap();
    producer.set_wait_policy(WaitPolicy::Park);
    consumer.set_wait_policy(WaitPolicy::Park);
    let id = producer.id().unwrap();
    let asleep = || {
        let ring = Snapshot::of(id).unwrap();
        (ring.producer_sleeps, ring.consumer_sleeps)
    };
    assert_eq!(asleep(), (false, false));
    thread::scope(|scope| {
        let reading = scope.spawn(|| consumer.read_exact(&mut [0]));
        until(|| asleep() == (false, true));
        producer.write_all(&[7]).unwrap();
        reading.join().unwrap().unwrap();
    });
    assert_eq!(asleep(), (false, false));
    thread::scope(|scope| {
        let writing = scope.spawn(|| producer.write_all(&vec![7; page() + 1]));
        until(|| asleep() == (true, false));
        consumer.read_exact(&mut vec![0; page()]).unwrap();
        writing.join().unwrap().unwrap();
    });
    assert_eq!(asleep(), (false, false));
}

#[test]
fn a_look_tells_when_the_ring_was_made() {
    let second = Duration::from_secs(1);
    let before = SystemTime::now() - second; // whole seconds, of a coarser clock
    let (producer, _consumer) = shmpipe::pair().unwrap();
    let ring = Snapshot::of(producer.id().unwrap()).unwrap();
    assert!(ring.changed >= before, "{ring:?}");
    assert!(ring.changed <= SystemTime::now(), "{ring:?}");
}

#[test]
fn a_path_leads_to_its_ring_for_as_long_as_it_can_be_opened() {
    let path = TempPath::new();
    let none = |project| match shmpipe::Options::new().project(project).snapshot(&path) {
        Err(OpenError::NoRing { path: named, .. }) => assert_eq!(named, *path),
        other => panic!("{other:?}"),
    };
    none(1);
    let consumer = options().wait_for_peer(false).open_consumer(&path).unwrap();
    let ring = shmpipe::Options::new().snapshot(&path).unwrap();
    assert_eq!(ring, Snapshot::of(consumer.id().unwrap()).unwrap());
    assert_eq!(ring.life_cycle, LifeCycle::Named);
    assert_eq!(ring.consumer, Occupant::Process(std::process::id()));
    none(2);
    let producer = options().open_producer(&path).unwrap();
    none(1); // both ends are open
    assert_eq!(Snapshot::of(producer.id().unwrap()).unwrap().key, None);
}

#[test]
fn what_is_no_ring_is_said_to_be_none() {
    let path = TempPath::new();
    let foreign = Segment::new(Some(path.key()), 2 * page(), 0o600);
    crate::common::poke(foreign.id, 0, b"another program's");
    let looks = [
        Snapshot::of(foreign.id),
        shmpipe::Options::new().snapshot(&path),
    ];
    for looked in looks {
        match looked {
            Err(OpenError::NotARing { id, .. }) => assert_eq!(id, foreign.id),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(
        shmpipe::Options::new().snapshot(std::env::temp_dir()),
        Err(OpenError::Directory { .. })
    ));
    assert!(matches!(
        shmpipe::Options::new().snapshot("/nowhere/at/all"),
        Err(OpenError::Path { .. })
    ));
    assert!(matches!(
        shmpipe::Options::new().project(0).snapshot(&path),
        Err(OpenError::Key(_))
    ));
}

#[test]
fn the_ring_of_another_file_is_not_shown_as_this_ones() {
    let path = TempPath::new();
    let producer = persistent().open_producer(&path).unwrap();
    // The inode number in the identity line, which is what a key forgets.
    let inode = std::fs::metadata(&path).unwrap().ino();
    crate::common::poke(
        producer.id().unwrap(),
        56,
        &(inode + (1 << 16)).to_ne_bytes(),
    );
    match shmpipe::Options::new().snapshot(&path) {
        Err(OpenError::KeyCollision { owner, asked, .. }) => {
            assert_eq!((owner.1, asked.1), (inode + (1 << 16), inode));
        }
        other => panic!("{other:?}"),
    }
    assert!(Snapshot::of(producer.id().unwrap()).is_ok());
    crate::common::poke(producer.id().unwrap(), 56, &inode.to_ne_bytes());
}

#[test]
fn a_removed_ring_is_removed() {
    let path = TempPath::new();
    let producer = persistent().open_producer(&path).unwrap();
    let id = producer.id().unwrap();
    drop(producer);
    remove_unused(|| shmpipe::Options::new().remove(&path));
    until_gone(id);
    assert_eq!(sysv::stat(id).unwrap_err().kind(), SysvErrorKind::Removed);
    match Snapshot::of(id) {
        Err(OpenError::Removed { id: named, .. }) => assert_eq!(named, id),
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        shmpipe::Options::new().snapshot(&path),
        Err(OpenError::NoRing { .. })
    ));
    let error = shmpipe::Options::new().remove(&path).unwrap_err();
    assert_eq!(error.to_string(), format!("no ring at {}", path.display()));
    assert!(matches!(error, RemoveError::Open(OpenError::NoRing { .. })));
}
