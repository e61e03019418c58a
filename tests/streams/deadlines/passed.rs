//! Deadlines that pass: what each call says, and what it moved.

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use shmpipe::{Broken, PartialError, PeekError, ReserveError, WaitError};

use super::{POLICIES, assert_stops};
use crate::common::{PATIENCE, check, once_waiting, stream};
use crate::small::{CAPACITY, soon, split};

/// So far that no clock reaches it, and as far as an [`Instant`] goes.
fn farthest() -> Instant {
    let now = Instant::now();
    let mut far = now;
    for bit in (0..63).rev() {
        far = far
            .checked_add(Duration::from_secs(1 << bit))
            .unwrap_or(far);
    }
    assert!(far > now + PATIENCE);
    far
}

#[test]
fn every_call_with_a_deadline_says_how_far_it_came() {
    let (mut producer, mut consumer) = split();
    let mut bytes = [0; 2 * CAPACITY];
    assert_stops(
        consumer.read_deadline(&mut bytes, soon()),
        0,
        WaitError::TimedOut,
    );
    assert_stops(
        consumer.read_exact_deadline(&mut bytes, soon()),
        0,
        WaitError::TimedOut,
    );
    let error = consumer.peek_deadline(1, soon()).unwrap_err();
    assert_eq!(
        error,
        PeekError::TimedOut {
            wanted: 1,
            available: 0
        }
    );

    let sent = stream(1, 0, CAPACITY + 904);
    let result = producer.write_all_deadline(&sent, soon());
    assert_stops(result, CAPACITY, WaitError::TimedOut);
    assert_stops(
        producer.write_all_deadline(b"x", soon()),
        0,
        WaitError::TimedOut,
    );
    let error = producer.reserve_deadline(1, soon()).unwrap_err();
    assert_eq!(error, ReserveError::TimedOut { wanted: 1, room: 0 });

    // What was moved is moved, and the rest follows it.
    let result = consumer.read_exact_deadline(&mut bytes[..CAPACITY + 1], soon());
    assert_stops(result, CAPACITY, WaitError::TimedOut);
    producer
        .write_all_deadline(&sent[CAPACITY..], soon())
        .unwrap();
    consumer
        .read_exact_deadline(&mut bytes[CAPACITY..CAPACITY + 904], soon())
        .unwrap();
    check(1, 0, &bytes[..CAPACITY + 904]);
    let positions = (producer.position(), consumer.position());
    assert_eq!(positions, (5000, 5000));
}

#[test]
fn nothing_is_lost_over_many_timeouts() {
    let (mut producer, mut consumer) = split();
    let len = 50_000;
    let a_moment = || Instant::now() + Duration::from_micros(300);
    thread::scope(|scope| {
        scope.spawn(move || {
            let bytes = stream(2, 0, len);
            let mut written = 0;
            while written < len {
                let end = len.min(written + 5000);
                written = match producer.write_all_deadline(&bytes[written..end], a_moment()) {
                    Ok(()) => end,
                    Err(PartialError { moved, cause, .. }) => {
                        assert_eq!(cause, WaitError::TimedOut);
                        written + moved
                    }
                };
                assert_eq!(producer.position(), written as u64);
            }
        });
        let mut bytes = vec![0; len];
        let mut read = 0;
        while read < len {
            let end = len.min(read + 700);
            read = match consumer.read_exact_deadline(&mut bytes[read..end], a_moment()) {
                Ok(()) => end,
                Err(PartialError { moved, cause, .. }) => {
                    assert_eq!(cause, WaitError::TimedOut, "after {read} bytes and {moved}");
                    read + moved
                }
            };
            thread::sleep(Duration::from_micros(200));
        }
        check(2, 0, &bytes);
        let error = consumer.read_exact_deadline(&mut [0], Instant::now() + PATIENCE);
        assert_stops(error, 0, WaitError::Ended);
    });
}

#[test]
fn a_deadline_that_has_passed_moves_what_can_move_at_once() {
    let (mut producer, mut consumer) = split();
    let passed = Instant::now();
    producer.write_all_deadline(b"abcdef", passed).unwrap();
    let mut bytes = [0; 4];
    assert_eq!(consumer.read_deadline(&mut bytes, passed), Ok(4));
    assert_stops(
        consumer.read_exact_deadline(&mut bytes, passed),
        2,
        WaitError::TimedOut,
    );
    assert_eq!(&bytes[..2], b"ef");
    assert_stops(
        consumer.read_deadline(&mut bytes, passed),
        0,
        WaitError::TimedOut,
    );
    let result = producer.write_all_deadline(&[7; CAPACITY + 1], passed);
    assert_stops(result, CAPACITY, WaitError::TimedOut);
    producer.close().unwrap();
    consumer.read_exact(&mut [0; CAPACITY]).unwrap();
    assert_eq!(consumer.read_deadline(&mut bytes, passed), Ok(0)); // the end
    assert_stops(
        consumer.read_exact_deadline(&mut bytes, passed),
        0,
        WaitError::Ended,
    );
}

#[test]
fn a_deadline_beyond_every_clock_waits_like_none() {
    for policy in POLICIES {
        let (mut producer, mut consumer) = split();
        producer.set_wait_policy(policy);
        consumer.set_wait_policy(policy);
        consumer.set_timeout(Some(Duration::MAX));
        producer.set_timeout(Some(Duration::MAX));
        let far = farthest();
        once_waiting(
            || {
                let mut bytes = [0; 5000];
                consumer.read_exact_deadline(&mut bytes, far).unwrap();
                consumer.read_exact(&mut bytes).unwrap();
                consumer.peek_deadline(3000, far).unwrap().consume_all();
            },
            |_| {
                producer.write_all_deadline(&[7; 5000], far).unwrap();
                producer.write_all(&[7; 5000]).unwrap();
                producer.reserve_deadline(3000, far).unwrap().commit_all();
            },
        );
        assert_eq!(consumer.position(), 13_000);
    }
}

#[test]
fn the_limit_of_a_handle_is_each_calls_own() {
    let (mut producer, mut consumer) = split();
    for limit in [Duration::ZERO, Duration::from_millis(3)] {
        consumer.set_timeout(Some(limit));
        producer.set_timeout(Some(limit));
        for _ in 0..3 {
            let error = consumer.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            let mut byte = [0];
            let error = consumer
                .read_vectored(&mut [IoSliceMut::new(&mut byte)])
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            producer.write_all(b"x").unwrap();
            assert_eq!(consumer.read(&mut byte).unwrap(), 1);
        }
        assert_eq!(producer.write(&[7; CAPACITY + 9]).unwrap(), CAPACITY);
        let error = producer.write(b"x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let error = producer.write_vectored(&[IoSlice::new(b"x")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        // A deadline counts in place of the limit.
        assert_stops(
            producer.write_all_deadline(b"x", soon()),
            0,
            WaitError::TimedOut,
        );
        consumer.read_exact(&mut [0; CAPACITY]).unwrap();
    }
}

#[test]
fn errors_of_deadlines_have_fitting_kinds_and_numbers() {
    let partial = |cause| PartialError {
        moved: 17,
        wanted: 20,
        cause,
    };
    let kind = |cause| {
        let partial = partial(cause);
        let text = partial.to_string();
        assert!(text.contains("17 of 20 bytes"), "{text}");
        std::io::Error::from(partial).kind()
    };
    assert_eq!(kind(WaitError::TimedOut), ErrorKind::TimedOut);
    assert_eq!(kind(WaitError::Ended), ErrorKind::UnexpectedEof);
    let broken = WaitError::Broken(Broken::ProducerAborted);
    assert_eq!(kind(broken), ErrorKind::ConnectionAborted);
    let error = std::io::Error::from(partial(WaitError::TimedOut));
    let inside = error
        .get_ref()
        .unwrap()
        .downcast_ref::<PartialError>()
        .unwrap();
    assert_eq!(inside.moved, 17);
}
