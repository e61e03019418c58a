//! Waiting for the peer, and giving up.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use shmpipe::failpoint::{Point, kill_at};
use shmpipe::sysv::SegmentId;
use shmpipe::{Broken, Consumer, Role, WaitError};

use crate::common::kill::{Opened, options};
use crate::common::{End, Fork, PATIENCE, alone, exit_now, sleeps, until};
use crate::{ROLES, broken, stream, take};

/// Found in review: only an id that came from `Ring::id` was waited for.
#[test]
fn whoever_has_an_id_from_a_handle_is_waited_for() {
    alone(
        "waiting::whoever_has_an_id_from_a_handle_is_waited_for",
        || {
            for role in ROLES {
                let (mut told, mut tell) = io::pipe().unwrap();
                // Forked before there is a ring: it inherits no attachment.
                let mut child = Fork::new(|| {
                    let mut id = [0; 4];
                    told.read_exact(&mut id).unwrap();
                    let id = SegmentId::from_raw(i32::from_ne_bytes(id)).unwrap();
                    until(|| sleeps(id, role));
                    std::thread::sleep(Duration::from_millis(50)); // for a few slices
                    stream(take(options(4096).attach(id).unwrap(), role.peer()));
                });
                let opened = take(options(4096).create_anonymous().unwrap(), role);
                tell.write_all(&opened.id().raw().to_ne_bytes()).unwrap();
                stream(opened);
                assert_eq!(child.wait(), End::Exit(0), "{role}");
            }
        },
    );
}

/// Reads again and again, for no longer than `limit` each, until it breaks.
fn poll_until_over(consumer: &mut Consumer, limit: Duration) -> io::Error {
    consumer.set_timeout(Some(limit));
    let start = Instant::now();
    loop {
        let error = consumer.read(&mut [0]).unwrap_err();
        if error.kind() != ErrorKind::TimedOut {
            return error;
        }
        assert!(start.elapsed() < PATIENCE, "it is not noticed: {limit:?}");
    }
}

const SHORT: [Duration; 2] = [Duration::from_millis(1), Duration::ZERO];

/// Found in review: only a wait that lasted a slice asked whether the peer
/// lives.
#[test]
fn short_waits_notice_a_death() {
    alone("waiting::short_waits_notice_a_death", || {
        for limit in SHORT {
            let mut ring = Some(options(4096).create_anonymous().unwrap());
            let mut child = Fork::new(|| {
                let _producer = ring.take().unwrap().into_producer().unwrap();
                exit_now(0);
            });
            let pid = child.pid();
            let mut consumer = ring.take().unwrap().into_consumer().unwrap();
            assert_eq!(child.wait(), End::Exit(0));
            let role = Role::Producer;
            let died = poll_until_over(&mut consumer, limit);
            assert_eq!(broken(&died), Broken::Died { role, pid });
        }
    });
}

/// Found in review: nor did it look at the flag.
#[test]
fn short_waits_notice_the_cancel_flag() {
    for limit in SHORT {
        let flag = Arc::new(AtomicBool::new(true));
        let ring = options(4096).cancel_on(flag).create_anonymous().unwrap();
        let (_producer, mut consumer) = ring.split().unwrap();
        let cancelled = poll_until_over(&mut consumer, limit);
        assert_eq!(WaitError::find(&cancelled), Some(&WaitError::Cancelled));
    }
}

/// Found in review: a claim that was half done was not looked at, so that the
/// other side waited for ever.
#[test]
fn a_death_in_the_middle_of_a_claim_is_noticed() {
    alone(
        "waiting::a_death_in_the_middle_of_a_claim_is_noticed",
        || {
            for role in ROLES {
                let ring = options(4096).create_anonymous().unwrap();
                let _ = ring.id().unwrap(); // handed over: somebody else might come
                let mut ring = Some(ring);
                let mut child = Fork::new(|| {
                    kill_at(Point::OwnerTaken, 0);
                    take(ring.take().unwrap(), role);
                });
                let pid = child.pid();
                assert_eq!(child.wait(), End::Signal(libc::SIGKILL));
                let error = match take(ring.take().unwrap(), role.peer()) {
                    Opened::Producer(mut producer) => producer.write_all(&[7; 10_000]),
                    Opened::Consumer(mut consumer) => consumer.read_exact(&mut [0]),
                }
                .unwrap_err();
                assert_eq!(broken(&error), Broken::Died { role, pid });
            }
        },
    );
}

/// Found by reading: a wait for a file, which nothing but poll(2) ends, did not
/// look at the flag until its deadline.
#[test]
fn a_cancel_flag_ends_a_wait_for_a_file() {
    let flag = Arc::new(AtomicBool::new(false));
    let mut options = options(4096);
    let ring = options.cancel_on(flag.clone()).create_anonymous().unwrap();
    let (mut producer, mut consumer) = ring.split().unwrap();
    let (empty, _input) = std::io::pipe().unwrap();
    let (_output, mut full) = std::io::pipe().unwrap();
    full.write_all(&vec![0; 64 << 10]).unwrap(); // the default size of a pipe
    producer.write_all(b"abc").unwrap();
    let far = Instant::now() + PATIENCE;
    std::thread::scope(|scope| {
        let filling = scope.spawn(|| producer.fill_from_deadline(&empty, 10, far));
        let draining = scope.spawn(|| consumer.drain_to_deadline(&full, 10, far));
        std::thread::sleep(Duration::from_millis(20)); // into poll(2), mostly
        flag.store(true, Ordering::Relaxed);
        for waiting in [filling, draining] {
            let error = waiting.join().unwrap().unwrap_err();
            assert_eq!(WaitError::find(&error), Some(&WaitError::Cancelled));
        }
    });
    assert!(Instant::now() < far, "the deadline ended the waits");
    assert_eq!(consumer.available(), Ok(3));
}
