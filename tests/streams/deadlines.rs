//! Limits on waiting, in every call that has one, and the ways to wait. No
//! test here asserts how long something takes, but that it ends.

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{End, Fork, PATIENCE, Task, alone, check, kill_self, once_waiting, stream};
use crate::small::{CAPACITY, small, soon, split};
use shmpipe::{
    Broken, PartialError, PeekError, ReserveError, Role, TryReadError, TryWriteError, WaitError,
    WaitPolicy,
};

const POLICIES: [WaitPolicy; 6] = [
    WaitPolicy::Spin,
    WaitPolicy::SpinThenPark(Duration::ZERO),
    WaitPolicy::SpinThenPark(Duration::from_micros(30)),
    WaitPolicy::SpinThenPark(Duration::from_millis(1)),
    WaitPolicy::SpinThenPark(Duration::MAX),
    WaitPolicy::Park,
];

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

#[track_caller]
fn assert_stops<T: std::fmt::Debug>(
    result: Result<T, PartialError>,
    moved: usize,
    cause: WaitError,
) {
    let partial = result.unwrap_err();
    assert_eq!((partial.moved, partial.cause), (moved, cause));
}

// ---- Time is over ----

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

// ---- The peer, or the caller, ends the wait ----

#[test]
fn calls_with_deadlines_on_a_closed_handle_say_so_whatever_there_is_to_move() {
    let (mut producer, mut consumer) = split();
    producer.close().unwrap();
    consumer.close().unwrap();
    let closed = || WaitError::Broken(Broken::Closed);
    for len in [0, 1] {
        let mut bytes = vec![0; len];
        assert_stops(producer.write_all_deadline(&bytes, soon()), 0, closed());
        assert_stops(consumer.read_deadline(&mut bytes, soon()), 0, closed());
        assert_stops(
            consumer.read_exact_deadline(&mut bytes, soon()),
            0,
            closed(),
        );
    }
}

#[test]
fn a_peer_that_leaves_during_the_wait_ends_it() {
    for policy in POLICIES {
        let far = Instant::now() + PATIENCE;
        let (mut producer, mut consumer) = split();
        producer.set_wait_policy(policy);
        consumer.set_wait_policy(policy);
        let (written, ()) = once_waiting(
            || producer.write_all_deadline(&[7; CAPACITY + 6], far),
            |_| {
                consumer.read_exact(&mut [0; 5]).unwrap();
                drop(consumer);
            },
        );
        let partial = written.unwrap_err();
        assert_eq!(partial.cause, WaitError::Broken(Broken::ConsumerClosed));
        // The five are written or not, as the two come to it.
        assert!((CAPACITY..=CAPACITY + 5).contains(&partial.moved));

        for aborted in [false, true] {
            let (mut producer, mut consumer) = split();
            consumer.set_wait_policy(policy);
            let mut bytes = [0; 9];
            producer.write_all(b"abc").unwrap();
            let (read, ()) = once_waiting(
                || consumer.read_exact_deadline(&mut bytes, far),
                |_| match aborted {
                    true => producer.abort(),
                    false => producer.close().unwrap(),
                },
            );
            let cause = match aborted {
                true => WaitError::Broken(Broken::ProducerAborted),
                false => WaitError::Ended,
            };
            assert_stops(read, 3, cause);
            assert_eq!(&bytes[..3], b"abc");
        }
    }
}

#[test]
fn a_cancel_flag_ends_every_wait_and_nothing_else() {
    for policy in POLICIES {
        let flag = Arc::new(AtomicBool::new(true));
        let mut options = small();
        options.cancel_on(flag.clone()).wait_policy(policy);
        let (mut producer, mut consumer) = options.create_anonymous().unwrap().split().unwrap();
        assert_eq!(consumer.wait_policy(), policy);
        let far = Instant::now() + PATIENCE;
        let cancelled = || WaitError::Cancelled;
        let mut bytes = [0; 9];
        assert_stops(consumer.read_deadline(&mut bytes, far), 0, cancelled());
        producer.write_all_deadline(b"abc", far).unwrap(); // does not wait
        assert_stops(
            consumer.read_exact_deadline(&mut bytes, far),
            3,
            cancelled(),
        );
        let error = consumer.peek_deadline(1, far).unwrap_err();
        assert_eq!(error, PeekError::Cancelled);
        let result = producer.write_all_deadline(&[7; CAPACITY + 9], far);
        assert_stops(result, CAPACITY, cancelled());
        let error = producer.reserve_deadline(1, far).unwrap_err();
        assert_eq!(error, ReserveError::Cancelled);
        // The stream goes on.
        flag.store(false, Ordering::Relaxed);
        consumer.read_exact(&mut [0; CAPACITY]).unwrap();
        producer.write_all_deadline(b"x", far).unwrap();
        consumer.peek_deadline(1, far).unwrap().consume_all();
    }
}

// ---- Ways to wait ----

#[test]
fn every_policy_streams_between_two_processes() {
    alone(
        "deadlines::every_policy_streams_between_two_processes",
        || {
            for policy in POLICIES {
                let mut options = small();
                options.wait_policy(policy);
                let ring = options.create_anonymous().unwrap();
                let other = options.attach(ring.id().unwrap()).unwrap();
                let len = 300_000;
                let mut child = Fork::new(move || {
                    let mut producer = other.into_producer().unwrap();
                    for part in stream(3, 0, len).chunks(1777) {
                        producer.write_all(part).unwrap();
                    }
                });
                let mut consumer = ring.into_consumer().unwrap();
                let mut bytes = Vec::new();
                assert_eq!(consumer.read_to_end(&mut bytes).unwrap(), len, "{policy:?}");
                check(3, 0, &bytes);
                assert_eq!(child.wait(), End::Exit(0));
                if policy == WaitPolicy::Spin {
                    assert_eq!(consumer.stats().sleeps, 0);
                }
            }
        },
    );
}

#[test]
fn every_policy_answers_between_two_processes() {
    alone(
        "deadlines::every_policy_answers_between_two_processes",
        || {
            for policy in POLICIES {
                let mut options = small();
                options.wait_policy(policy);
                let (there, back) = (
                    options.create_anonymous().unwrap(),
                    options.create_anonymous().unwrap(),
                );
                let other_there = options.attach(there.id().unwrap()).unwrap();
                let other_back = options.attach(back.id().unwrap()).unwrap();
                let mut child = Fork::new(move || {
                    let mut asked = other_there.into_consumer().unwrap();
                    let mut answers = other_back.into_producer().unwrap();
                    let mut byte = [0];
                    while asked.read(&mut byte).unwrap() > 0 {
                        answers.write_all(&byte).unwrap();
                    }
                });
                let mut asking = there.into_producer().unwrap();
                let mut answered = back.into_consumer().unwrap();
                for turn in 0..50 {
                    asking.write_all(&[turn]).unwrap();
                    let mut byte = [0];
                    answered.read_exact(&mut byte).unwrap();
                    assert_eq!(byte, [turn], "{policy:?}");
                }
                drop(asking);
                assert_eq!(child.wait(), End::Exit(0));
            }
        },
    );
}

#[test]
fn every_policy_notices_a_death() {
    alone("deadlines::every_policy_notices_a_death", || {
        let far = Instant::now() + PATIENCE;
        for policy in POLICIES {
            let mut options = small();
            options.wait_policy(policy);
            let ring = options.create_anonymous().unwrap();
            let other = options.attach(ring.id().unwrap()).unwrap();
            let mut child = Fork::new(move || {
                let mut producer = other.into_producer().unwrap();
                producer.write_all(b"last").unwrap();
                Task::parent().until_asleep_or_spinning();
                kill_self();
            });
            let mut consumer = ring.into_consumer().unwrap();
            let mut bytes = [0; 5];
            let partial = consumer.read_exact_deadline(&mut bytes, far).unwrap_err();
            let died = |role| {
                WaitError::Broken(Broken::Died {
                    role,
                    pid: child.pid(),
                })
            };
            assert_eq!(partial.cause, died(Role::Producer), "{policy:?}");
            assert_eq!((partial.moved, &bytes[..4]), (4, &b"last"[..]));
            assert_eq!(child.wait(), End::Signal(libc::SIGKILL));

            let ring = options.create_anonymous().unwrap();
            let other = options.attach(ring.id().unwrap()).unwrap();
            let mut child = Fork::new(move || {
                let mut consumer = other.into_consumer().unwrap();
                consumer.read_exact(&mut [0; 4]).unwrap();
                Task::parent().until_asleep_or_spinning();
                kill_self();
            });
            let mut producer = ring.into_producer().unwrap();
            let result = producer.write_all_deadline(&[7; 2 * CAPACITY], far);
            let partial = result.unwrap_err();
            let role = Role::Consumer;
            let pid = child.pid();
            assert_eq!(partial.cause, WaitError::Broken(Broken::Died { role, pid }));
            assert_eq!(partial.moved, CAPACITY + 4, "{policy:?}");
            assert_eq!(child.wait(), End::Signal(libc::SIGKILL));
        }
    });
}

#[test]
fn a_call_that_does_not_block_makes_no_system_call() {
    let (mut producer, mut consumer) = split();
    let mut bytes = [0; 512];
    for _ in 0..1000 {
        producer.try_write(&bytes).unwrap();
        producer.try_reserve(300).unwrap().commit_all();
        producer.write_all(&bytes[..7]).unwrap();
        assert_eq!(
            producer.write_vectored(&[IoSlice::new(b"parts")]).unwrap(),
            5
        );
        producer.flush().unwrap();
        assert_eq!(consumer.available(), Ok(824));
        consumer.try_read(&mut bytes).unwrap();
        consumer.try_peek(300).unwrap().consume_all();
        consumer.read_exact(&mut bytes[..12]).unwrap();
        assert_eq!(consumer.try_read(&mut bytes), Err(TryReadError::Empty));
        assert!(consumer.try_peek(1).is_err() && consumer.try_peek_up_to(1).is_err());
    }
    producer.try_write(&[7; CAPACITY]).unwrap();
    assert_eq!(producer.try_write(b"x"), Err(TryWriteError::Full));
    assert!(producer.try_reserve(1).is_err() && producer.try_reserve_up_to(1).is_err());
    assert_eq!(producer.room(), Ok(0));
    assert_eq!((producer.stats(), consumer.stats()), Default::default());
}
