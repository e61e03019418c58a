//! A limit of zero: one try, everywhere.

use std::fs::File;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use shmpipe::failpoint::{Point, kill_at};
use shmpipe::{
    Occupant, OpenError, Options, PeekError, ReserveError, Role, Snapshot, TryReadError, WaitError,
};

use crate::common::kill::{Opened, open};
use crate::common::{End, Fork, TempPath, alone, is_locked, until};
use crate::{CAPACITY, POLICIES, passed, split};

fn impatient() -> Options {
    let mut options = crate::small();
    options.timeout(Some(Duration::ZERO));
    options
}

fn by_key(options: &Options, path: &TempPath, role: Role) -> Result<Opened, OpenError> {
    Ok(match role {
        Role::Producer => Opened::Producer(options.open_producer_by_key(path.key())?),
        Role::Consumer => Opened::Consumer(options.open_consumer_by_key(path.key())?),
    })
}

/// Whether somebody has `role` in the ring that the key of `path` leads to.
fn is_held(path: &TempPath, role: Role) -> bool {
    let ring = path.segment().map(Snapshot::of);
    ring.is_some_and(|ring| {
        let Ok(ring) = ring else { return false };
        let holder = match role {
            Role::Producer => ring.producer,
            Role::Consumer => ring.consumer,
        };
        holder != Occupant::Nobody
    })
}

#[test]
fn a_peer_that_waits_is_met_without_time() {
    for role in [Role::Producer, Role::Consumer] {
        for keyed in [false, true] {
            let path = TempPath::new();
            let meet = |options: &Options, role| match keyed {
                false => open(options, &path, role),
                true => by_key(options, &path, role),
            };
            thread::scope(|scope| {
                let waiting = scope.spawn(|| meet(&crate::small(), role.peer()).map(drop));
                // It has the role first, and lets go of the file's lock after that.
                until(|| is_held(&path, role.peer()) && !is_locked(&path));
                drop(meet(&impatient(), role).unwrap());
                waiting.join().unwrap().unwrap();
            });
        }
    }
}

#[test]
fn what_is_left_behind_is_in_nobodys_way() {
    alone("zero::what_is_left_behind_is_in_nobodys_way", || {
        for point in [Point::Created, Point::MagicStored, Point::Announced] {
            let path = TempPath::new();
            let mut maker = Fork::new(|| {
                kill_at(point, 0);
                drop(open(&crate::small(), &path, Role::Producer));
            });
            assert_eq!(maker.wait(), End::Signal(libc::SIGKILL));
            let mut options = impatient();
            let producer = options.wait_for_peer(false).open_producer(&path).unwrap();
            drop(impatient().open_consumer(&path).unwrap());
            drop(producer);
        }
    });
}

/// The text of an open that timed out.
#[track_caller]
fn untimely<T: std::fmt::Debug>(opened: Result<T, OpenError>) -> String {
    let error = opened.unwrap_err();
    assert!(matches!(error, OpenError::TimedOut { .. }), "{error}");
    error.to_string()
}

#[test]
fn an_open_that_times_out_says_what_it_waited_for() {
    let path = TempPath::new();
    let text = untimely(impatient().open_producer(&path));
    assert!(text.contains("no consumer opened the other end"), "{text}");
    let text = untimely(impatient().open_consumer_by_key(path.key()));
    assert!(text.contains("no producer opened the other end"), "{text}");
    assert!(!path.leads_to_a_segment());

    let lock = File::open(&path).unwrap();
    lock.lock().unwrap();
    let text = untimely(impatient().open_producer(&path));
    assert!(text.contains("lock"), "{text}");
    drop(lock);

    let _newborn = shmpipe::sysv::create(
        Some(path.key()),
        2 * crate::common::page(),
        shmpipe::sysv::Mode::OWNER_ONLY,
    )
    .unwrap();
    let text = untimely(impatient().open_producer(&path));
    assert!(text.contains("being made"), "{text}");
    let text = untimely(impatient().attach(path.segment().unwrap()));
    assert!(text.contains("being made"), "{text}");
    shmpipe::sysv::remove(path.segment().unwrap()).unwrap();
}

#[test]
fn a_ring_that_is_there_is_attached_and_both_roles_are_taken_without_time() {
    let mut options = impatient();
    let ring = options.create_anonymous().unwrap();
    let other = options.attach(ring.id().unwrap()).unwrap();
    let mut producer = ring.into_producer().unwrap();
    let mut consumer = other.into_consumer().unwrap();
    producer.write_all(b"abc").unwrap();
    consumer.read_exact(&mut [0; 3]).unwrap();
    let path = TempPath::new();
    options.persistent(true);
    drop(options.open_producer(&path).unwrap());
    drop(options.open_consumer(&path).unwrap());
}

#[test]
fn what_can_move_moves_without_time() {
    for policy in POLICIES {
        let (mut producer, mut consumer) = split(policy);
        producer.set_timeout(Some(Duration::ZERO));
        consumer.set_timeout(Some(Duration::ZERO));
        let mut bytes = [0; CAPACITY];

        assert_eq!(producer.write(&[7; 100]).unwrap(), 100);
        producer.write_all(&[7; 100]).unwrap();
        assert_eq!(producer.write_vectored(&[IoSlice::new(b"ab")]).unwrap(), 2);
        assert_eq!(producer.write_deadline(b"cd", passed()), Ok(2));
        producer.write_all_deadline(b"ef", passed()).unwrap();
        producer.reserve_deadline(4, passed()).unwrap().commit_all();
        let file = File::open("/proc/version").unwrap();
        assert_eq!(producer.fill_from(&file, 3).unwrap(), 3);
        assert_eq!(producer.fill_from_deadline(&file, 3, passed()).unwrap(), 3);

        assert_eq!(consumer.read(&mut bytes[..50]).unwrap(), 50);
        consumer.read_exact(&mut bytes[..50]).unwrap();
        let mut part = [IoSliceMut::new(&mut bytes[..50])];
        assert_eq!(consumer.read_vectored(&mut part).unwrap(), 50);
        assert_eq!(consumer.read_deadline(&mut bytes[..25], passed()), Ok(25));
        consumer
            .read_exact_deadline(&mut bytes[..25], passed())
            .unwrap();
        consumer.peek_deadline(4, passed()).unwrap().consume_all();
        let null = File::options().write(true).open("/dev/null").unwrap();
        assert_eq!(consumer.drain_to(&null, 3).unwrap(), 3);
        assert_eq!(consumer.drain_to_deadline(&null, 3, passed()).unwrap(), 3);
        assert_eq!(consumer.available(), Ok(6));

        // More than there is: what is there, and that it was not all.
        let partial = consumer
            .read_exact_deadline(&mut bytes, passed())
            .unwrap_err();
        assert_eq!((partial.moved, partial.cause), (6, WaitError::TimedOut));
        let partial = producer
            .write_all_deadline(&[7; CAPACITY + 1], passed())
            .unwrap_err();
        assert_eq!(
            (partial.moved, partial.cause),
            (CAPACITY, WaitError::TimedOut)
        );
        assert_eq!(
            producer.write(b"x").unwrap_err().kind(),
            ErrorKind::TimedOut
        );
        let error = producer.reserve_deadline(1, passed()).unwrap_err();
        assert_eq!(error, ReserveError::TimedOut { wanted: 1, room: 0 });
        consumer.read_exact(&mut bytes).unwrap();
        let error = consumer.peek_deadline(1, passed()).unwrap_err();
        assert_eq!(
            error,
            PeekError::TimedOut {
                wanted: 1,
                available: 0
            }
        );
    }
}

/// The end is there, and so is what a peer that has left means to a writer.
#[test]
fn the_end_is_found_without_time_by_every_policy() {
    for policy in POLICIES {
        for limit in [None, Some(passed())] {
            let ends = || {
                let (mut producer, mut consumer) = split(policy);
                assert_eq!(consumer.try_read(&mut [0]), Err(TryReadError::Empty));
                consumer.set_timeout(Some(Duration::ZERO));
                producer.close_deadline(passed()).unwrap();
                consumer
            };
            let read = |deadline: Option<Instant>| match deadline {
                None => ends().read(&mut [0]).map_err(|error| error.to_string()),
                Some(deadline) => ends()
                    .read_deadline(&mut [0], deadline)
                    .map_err(|partial| partial.to_string()),
            };
            assert_eq!(read(limit), Ok(0), "{policy:?}");
            let null = File::options().write(true).open("/dev/null").unwrap();
            assert_eq!(ends().drain_to_deadline(&null, 1, passed()).unwrap(), 0);
            let ended = ends().peek_deadline(1, passed()).unwrap_err();
            assert_eq!(
                ended,
                PeekError::Ended {
                    wanted: 1,
                    available: 0
                }
            );
            let partial = ends().read_exact_deadline(&mut [0], passed()).unwrap_err();
            assert_eq!(partial.cause, WaitError::Ended);

            let (mut producer, consumer) = split(policy);
            producer.write_all(&[7; CAPACITY]).unwrap();
            drop(consumer);
            let partial = producer.write_deadline(b"x", passed()).unwrap_err();
            assert!(matches!(partial.cause, WaitError::Broken(_)), "{partial}");
        }
    }
}
