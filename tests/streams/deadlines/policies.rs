//! Wait policies.

use std::io::{IoSlice, Read, Write};
use std::time::Instant;

use shmpipe::{Broken, Role, TryReadError, TryWriteError, WaitError, WaitPolicy};

use super::POLICIES;
use crate::common::{End, Fork, PATIENCE, Task, alone, check, kill_self, stream};
use crate::small::{CAPACITY, small, split};

#[test]
fn every_policy_streams_between_two_processes() {
    alone(
        "deadlines::policies::every_policy_streams_between_two_processes",
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
        "deadlines::policies::every_policy_answers_between_two_processes",
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
    alone("deadlines::policies::every_policy_notices_a_death", || {
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
