//! Places for ends: reserved when a producer opens the ring, so that no
//! departure ever waits for one.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use shmpipe::{Consumer, OpenError, Options};

use crate::common::{PATIENCE, alone, once_asleep, options};
use crate::{Persistent, Told, assert_nothing_comes, room_for, take};

/// The ends that there are places for, and those that a producer reserves.
const PLACES: u64 = 127;
const RESERVED: u64 = 2;
/// With so many unread no producer can come.
const FULL: u64 = PLACES - RESERVED + 1;

/// A ring with this many empty streams.
fn with_ends(count: u64) -> Persistent {
    let ring = Persistent::new();
    for _ in 0..count {
        drop(ring.producer());
    }
    ring
}

/// Takes one end, which is acknowledged.
fn take_one(consumer: &mut Consumer) {
    assert_eq!(take(consumer), (vec![], Told::Finished));
    assert!(consumer.next_stream().unwrap());
}

fn is_refused(opened: Result<shmpipe::Producer, OpenError>) {
    let error = opened.unwrap_err();
    assert!(
        matches!(error, OpenError::TooManyEnds { unread: FULL, .. }),
        "{error}"
    );
}

#[test]
fn more_streams_than_there_are_places_for_are_refused_within_the_limit() {
    let mut ring = with_ends(FULL);
    for limit in [Duration::ZERO, Duration::from_millis(30)] {
        ring.options.timeout(Some(limit));
        let start = Instant::now();
        is_refused(ring.options.open_producer(&ring.path));
        is_refused(ring.options.clone().resume(true).open_producer(&ring.path));
        let took = start.elapsed();
        assert!(took >= 2 * limit && took < PATIENCE, "{took:?}");
    }
    // A consumer is not.
    let mut consumer = ring.consumer();
    take_one(&mut consumer);
    drop(ring.producer());
    is_refused(ring.options.open_producer(&ring.path));
}

#[test]
fn a_role_that_was_refused_is_free() {
    let mut ring = with_ends(FULL);
    ring.options.timeout(Some(Duration::ZERO));
    is_refused(ring.options.open_producer(&ring.path));
    let mut consumer = ring.consumer();
    assert_eq!(consumer.peer(), shmpipe::Occupant::Nobody);
    for _ in 0..FULL {
        take_one(&mut consumer);
    }
    assert_nothing_comes(&mut consumer);
    ring.finish(b"on");
    assert_eq!(take(&mut consumer), (b"on".to_vec(), Told::Finished));
}

#[test]
fn a_role_of_the_dead_that_was_refused_is_still_theirs() {
    alone(
        "places::a_role_of_the_dead_that_was_refused_is_still_theirs",
        || {
            let mut ring = with_ends(FULL - 1);
            let pid = ring.die(b"torso");
            // Its end takes a place, if it is left; and then another one comes.
            ring.finish(b"");
            ring.options.timeout(Some(Duration::ZERO));
            let error = ring.options.open_producer(&ring.path).unwrap_err();
            assert!(
                matches!(error, OpenError::TooManyEnds { unread: PLACES, .. }),
                "{error}"
            );
            let mut consumer = ring.consumer();
            for _ in 0..FULL - 1 {
                take_one(&mut consumer);
            }
            assert_eq!(take(&mut consumer), (b"torso".to_vec(), Told::Died(pid)));
            assert!(consumer.next_stream().unwrap());
            take_one(&mut consumer);
            assert_nothing_comes(&mut consumer);

            let mut ring = with_ends(FULL - 1);
            let pid = ring.die(b"torso");
            ring.die(b"");
            // Broken off, at once; and no place is left for the next one's.
            ring.options.timeout(Some(Duration::ZERO));
            is_refused(ring.options.open_producer(&ring.path));
            let mut consumer = ring.consumer();
            take_one(&mut consumer);
            ring.finish(b"");
            for _ in 1..FULL - 1 {
                take_one(&mut consumer);
            }
            assert_eq!(take(&mut consumer), (b"torso".to_vec(), Told::Died(pid)));
            assert!(consumer.next_stream().unwrap());
            take_one(&mut consumer);
            assert_nothing_comes(&mut consumer);
        },
    );
}

#[test]
fn an_opener_waits_for_a_place_and_is_woken() {
    let ring = with_ends(FULL);
    for _ in 0..20 {
        let mut consumer = ring.consumer();
        once_asleep(|| drop(ring.producer()), |_| take_one(&mut consumer));
    }
}

#[test]
fn an_opener_that_waits_for_a_place_can_be_cancelled() {
    let mut ring = with_ends(FULL);
    let flag = Arc::new(AtomicBool::new(false));
    ring.options.cancel_on(Arc::clone(&flag));
    let (opened, ()) = once_asleep(
        || ring.options.open_producer(&ring.path),
        |_| flag.store(true, Ordering::Relaxed),
    );
    let error = opened.unwrap_err();
    assert!(matches!(error, OpenError::Cancelled), "{error}");
}

#[test]
fn memory_of_the_callers_has_as_many_places() {
    let memory = room_for(4096);
    let mut options = options();
    drop(memory.init(&options).unwrap());
    let producer = |options: &Options| {
        let ring = memory.attach(options)?;
        ring.into_producer()
    };
    for _ in 0..FULL {
        drop(producer(&options).unwrap());
    }
    options.timeout(Some(Duration::from_millis(20)));
    is_refused(producer(&options));
    let refused = memory.attach(&options).and_then(|ring| ring.split());
    is_refused(refused.map(|(producer, _)| producer));
    options.timeout(Some(PATIENCE));
    let mut consumer = memory.attach(&options).unwrap().into_consumer().unwrap();
    let (opened, ()) = once_asleep(|| producer(&options).map(drop), |_| take_one(&mut consumer));
    opened.unwrap();
}

#[test]
fn leaving_never_waits_for_a_place() {
    let ring = with_ends(FULL - 1);
    let mut last = ring.producer();
    last.write_all(b"last").unwrap();
    let start = Instant::now();
    last.close().unwrap();
    assert!(start.elapsed() < PATIENCE, "that is a hang");
    let mut consumer = ring.consumer();
    for _ in 0..FULL - 1 {
        take_one(&mut consumer);
    }
    assert_eq!(take(&mut consumer), (b"last".to_vec(), Told::Finished));
}

/// Found in review: it slept on, in a ring that took nobody any more.
#[test]
fn an_opener_does_not_wait_in_a_ring_that_is_removed() {
    let ring = with_ends(FULL);
    let opener = || {
        let mut options = options();
        options.persistent(true).timeout(Some(PATIENCE));
        options
            .open_producer(&ring.path)
            .map(|producer| producer.position())
    };
    let remove = || shmpipe::Options::new().force_remove(&ring.path);
    let (opened, ()) = once_asleep(opener, |_| remove().unwrap());
    assert_eq!(opened.unwrap(), 0, "a new ring");
}
