//! Who meets whom: two opens of one path, of which one waits.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use shmpipe::sysv::{self, SegmentId};
use shmpipe::{Consumer, Occupant, OpenError, Options, Role, Snapshot};

use super::{is_gone, open_both};
use crate::common::{TempPath, check, open_each, options, page, stream, until};

/// Bytes of a ring that somebody asks for.
const RING: usize = 8192;

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
    let key = path.key();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| options().open_producer(&path));
        until(|| path.leads_to_a_segment());
        path.remove_file_while(|| {
            let opened = waiting.join().unwrap();
            assert!(matches!(opened, Err(OpenError::FileGone { .. })));
            assert!(sysv::open(key).is_err());
        });
    });
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
