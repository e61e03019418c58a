//! The blocking wait: what ends it, and what the next call on the member returns.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use shmpipe::set::End;
use shmpipe::{
    Broken, Consumer, Options, PeekError, Role, TryReadError, TryWriteError, WaitError, WaitPolicy,
    WaitSet,
};

use crate::common::offsets::TAIL;
use crate::common::{
    Fork, PATIENCE, Task, TempPath, alone, exit_now, filter, kill_self, once_asleep, once_waiting,
    poke,
};
use crate::{pair, ring};

pub(crate) const POLICIES: [WaitPolicy; 4] = [
    WaitPolicy::Spin,
    WaitPolicy::SpinThenPark(Duration::from_micros(20)),
    WaitPolicy::Adaptive,
    WaitPolicy::Park,
];

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_millis(60)
}

/// A set of a member that is never ready, and of the one that a test is about, whose key is 1.
pub(crate) fn set_with(
    member: impl Into<End>,
    policy: WaitPolicy,
) -> (shmpipe::Producer, WaitSet<End>) {
    let (quiet, consumer) = pair();
    let mut set = WaitSet::new();
    set.set_wait_policy(policy);
    assert_eq!(set.insert(consumer.into()), 0);
    assert_eq!(set.insert(member.into()), 1);
    (quiet, set)
}

fn try_read(set: &mut WaitSet<End>) -> Result<usize, TryReadError> {
    match &mut set[1] {
        End::Consumer(consumer) => consumer.try_read(&mut [0; 64]),
        End::Producer(_) => unreachable!(),
    }
}

fn try_write(set: &mut WaitSet<End>) -> Result<usize, TryWriteError> {
    match &mut set[1] {
        End::Producer(producer) => producer.try_write(b"x"),
        End::Consumer(_) => unreachable!(),
    }
}

/// What the producer in another process does once the set waits.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Write,
    Close,
    Abort,
    Exit,
    Kill,
}

#[test]
fn what_a_producer_does_ends_a_wait() {
    alone("waiting::what_a_producer_does_ends_a_wait", || {
        for policy in POLICIES {
            for act in [Act::Write, Act::Close, Act::Abort, Act::Exit, Act::Kill] {
                let mut ring = Some(ring(4096));
                let mut child = Fork::new(|| {
                    let mut producer = ring.take().unwrap().into_producer().unwrap();
                    Task::parent().until_asleep_or_spinning();
                    match act {
                        Act::Write => {
                            producer.write_all(b"abc").unwrap();
                            Task::parent().until_asleep_or_spinning();
                            exit_now(0);
                        }
                        Act::Close => producer.close().unwrap(),
                        Act::Abort => producer.abort(),
                        Act::Exit => exit_now(0),
                        Act::Kill => kill_self(),
                    }
                });
                let consumer = ring.take().unwrap().into_consumer().unwrap();
                let (_quiet, mut set) = set_with(consumer, policy);
                assert_eq!(set.wait(), Ok(Some(1)), "{act:?}, {policy:?}");
                let read = try_read(&mut set);
                let died = |read: Result<usize, TryReadError>| {
                    matches!(
                        read,
                        Err(TryReadError::Broken(Broken::Died {
                            role: Role::Producer,
                            ..
                        }))
                    )
                };
                match act {
                    Act::Write => {
                        assert_eq!(read, Ok(3));
                        // The bytes count first, and then the death.
                        assert_eq!(set.wait(), Ok(Some(1)));
                        assert!(died(try_read(&mut set)));
                    }
                    Act::Close => assert_eq!(read, Ok(0)),
                    Act::Abort => {
                        assert_eq!(read, Err(TryReadError::Broken(Broken::ProducerAborted)));
                    }
                    Act::Exit | Act::Kill => assert!(died(read), "{act:?}, {policy:?}"),
                }
                // Level-triggered, and final: at once, and again.
                assert_eq!(set.wait(), Ok(Some(1)));
                if !matches!(act, Act::Close | Act::Abort) {
                    assert!(died(try_read(&mut set)));
                }
                child.wait();
            }
        }
    });
}

#[test]
fn what_a_consumer_does_ends_a_wait() {
    alone("waiting::what_a_consumer_does_ends_a_wait", || {
        for policy in POLICIES {
            for act in [Act::Write, Act::Close, Act::Exit, Act::Kill] {
                let mut ring = Some(ring(4096));
                let mut child = Fork::new(|| {
                    let mut consumer = ring.take().unwrap().into_consumer().unwrap();
                    Task::parent().until_asleep_or_spinning();
                    match act {
                        Act::Write => {
                            consumer.read_exact(&mut [0; 1]).unwrap();
                            Task::parent().until_asleep_or_spinning();
                            consumer.read_exact(&mut [0; 2000]).unwrap();
                            std::thread::sleep(PATIENCE); // it is killed
                        }
                        Act::Close | Act::Abort => consumer.close().unwrap(),
                        Act::Exit => exit_now(0),
                        Act::Kill => kill_self(),
                    }
                });
                let mut producer = ring.take().unwrap().into_producer().unwrap();
                assert_eq!(producer.try_write(&[7; 4096]), Ok(4096));
                let (_quiet, mut set) = set_with(producer, policy);
                let what = format!("{act:?}, {policy:?}");
                assert_eq!(set.wait(), Ok(Some(1)), "{what}");
                match act {
                    Act::Write => {
                        // One byte is no wake, and is found after a slice.
                        let mut written = try_write(&mut set).unwrap();
                        while written < 2001 {
                            assert_eq!(set.wait(), Ok(Some(1)), "{what}");
                            written += try_write(&mut set).unwrap();
                        }
                        child.kill();
                    }
                    Act::Close | Act::Abort => {
                        let closed = TryWriteError::Broken(Broken::ConsumerClosed);
                        assert_eq!(try_write(&mut set), Err(closed));
                    }
                    Act::Exit | Act::Kill => {
                        for _ in 0..2 {
                            let died = try_write(&mut set).unwrap_err();
                            let TryWriteError::Broken(Broken::Died { role, .. }) = died else {
                                panic!("{died} after {what}");
                            };
                            assert_eq!(role, Role::Consumer);
                        }
                    }
                }
                child.wait();
            }
        }
    });
}

/// In a ring that persists, a death is returned once. Then the set waits for a successor.
#[test]
fn each_death_is_returned_once_where_others_can_follow() {
    alone(
        "waiting::each_death_is_returned_once_where_others_can_follow",
        || {
            let path = TempPath::new();
            let mut options = Options::new();
            options.persistent(true).resume(true).capacity(4096);
            let consumer = options.open_consumer(&path).unwrap();
            let (_quiet, mut set) = set_with(consumer, WaitPolicy::Park);
            for _ in 0..3 {
                let mut child = Fork::new(|| {
                    let mut producer = options.open_producer(&path).unwrap();
                    Task::parent().until_asleep();
                    producer.write_all(b"abc").unwrap();
                    kill_self();
                });
                assert_eq!(set.wait(), Ok(Some(1)));
                assert_eq!(try_read(&mut set), Ok(3));
                assert_eq!(set.wait(), Ok(Some(1)));
                let read = try_read(&mut set);
                assert!(
                    matches!(read, Err(TryReadError::Broken(Broken::Died { .. }))),
                    "{read:?}"
                );
                assert_eq!(try_read(&mut set), Err(TryReadError::Empty));
                assert_eq!(set.wait_deadline(soon()), Err(WaitError::TimedOut));
                child.wait();
            }
        },
    );
}

/// A death that a wait found is of no interest once a successor has come.
#[test]
fn a_verdict_about_a_predecessor_is_forgotten() {
    alone(
        "waiting::a_verdict_about_a_predecessor_is_forgotten",
        || {
            let path = TempPath::new();
            let mut options = Options::new();
            options.persistent(true).resume(true).capacity(4096);
            let consumer = options.open_consumer(&path).unwrap();
            let (_quiet, mut set) = set_with(consumer, WaitPolicy::Park);
            let mut child = Fork::new(|| {
                let _producer = options.open_producer(&path).unwrap();
                Task::parent().until_asleep();
                kill_self();
            });
            assert_eq!(set.wait(), Ok(Some(1))); // the death
            child.wait();
            let mut successor = options.open_producer(&path).unwrap();
            assert_eq!(try_read(&mut set), Err(TryReadError::Empty));
            assert_eq!(set.try_wait(), Ok(None));
            successor.write_all(b"abc").unwrap();
            assert_eq!(set.wait(), Ok(Some(1)));
            assert_eq!(try_read(&mut set), Ok(3));
        },
    );
}

/// A wait of a handle alone latches a death, too, and the next call that never waits returns it.
#[test]
fn a_death_that_a_handle_found_alone_is_latched() {
    alone(
        "waiting::a_death_that_a_handle_found_alone_is_latched",
        || {
            let mut ring = Some(ring(4096));
            let mut child = Fork::new(|| {
                let _producer = ring.take().unwrap().into_producer().unwrap();
                Task::parent().until_asleep();
                kill_self();
            });
            let mut consumer = ring.take().unwrap().into_consumer().unwrap();
            assert!(matches!(
                consumer.wait_readable(1),
                Err(PeekError::Broken(Broken::Died { .. }))
            ));
            let read = consumer.try_read(&mut [0]);
            assert!(
                matches!(read, Err(TryReadError::Broken(Broken::Died { .. }))),
                "{read:?}"
            );
            let mut set = WaitSet::from(consumer);
            assert_eq!(set.wait(), Ok(Some(0)));
            child.wait();
        },
    );
}

#[test]
fn a_cancel_flag_of_a_member_ends_a_wait() {
    for policy in POLICIES {
        let flag = Arc::new(AtomicBool::new(false));
        let mut options = Options::new();
        let (mut producer, consumer) = options
            .cancel_on(Arc::clone(&flag))
            .create_anonymous()
            .unwrap()
            .split()
            .unwrap();
        let (_quiet, mut set) = set_with(consumer, policy);
        let (waited, ()) = once_waiting(|| set.wait(), |_| flag.store(true, Ordering::Relaxed));
        assert_eq!(waited, Err(WaitError::Cancelled));
        assert_eq!(set.try_wait(), Err(WaitError::Cancelled));
        // What is ready counts first.
        producer.try_write(b"x").unwrap();
        assert_eq!(set.wait(), Ok(Some(1)));
    }
}

#[test]
fn a_deadline_ends_a_wait_and_a_past_one_looks_once() {
    for policy in POLICIES {
        let (mut producer, consumer) = pair();
        let (_quiet, mut set) = set_with(consumer, policy);
        let start = Instant::now();
        assert_eq!(set.wait_deadline(soon()), Err(WaitError::TimedOut));
        assert!(start.elapsed() >= Duration::from_millis(60));
        assert_eq!(set.wait_deadline(start), Err(WaitError::TimedOut));
        producer.try_write(b"x").unwrap();
        assert_eq!(set.wait_deadline(start), Ok(Some(1)));
    }
}

#[test]
fn a_lie_of_a_peer_ends_a_wait() {
    let (producer, consumer) = pair();
    let id = consumer.id().unwrap();
    let (_quiet, mut set) = set_with(consumer, WaitPolicy::Park);
    let (waited, ()) = once_asleep(|| set.wait(), |_| poke(id, TAIL, &u64::MAX.to_ne_bytes()));
    assert_eq!(waited, Ok(Some(1)));
    for _ in 0..2 {
        let read = try_read(&mut set);
        assert!(
            matches!(read, Err(TryReadError::Broken(Broken::Corrupted(_)))),
            "{read:?}"
        );
    }
    drop(producer);
}

/// Before Linux 5.16, or under a filter: `one` handle sleeps on its word, several are looked at.
#[test]
fn a_kernel_without_waitv_will_do() {
    alone("waiting::a_kernel_without_waitv_will_do", || {
        filter::lack(libc::SYS_futex_waitv);
        for members in [1, 2, 5] {
            let mut rings: Vec<_> = (0..members).map(|_| Some(ring(4096))).collect();
            let mut child = Fork::new(|| {
                let take = |ring: &mut Option<shmpipe::Ring>| {
                    ring.take().unwrap().into_producer().unwrap()
                };
                let mut producers: Vec<_> = rings.iter_mut().map(take).collect();
                for round in 0..50_u8 {
                    for producer in &mut producers {
                        producer.write_all(&[round]).unwrap();
                    }
                    if round % 10 == 0 {
                        Task::parent().until_asleep();
                    }
                }
                kill_self();
            });
            let take =
                |ring: &mut Option<shmpipe::Ring>| ring.take().unwrap().into_consumer().unwrap();
            let mut set: WaitSet<Consumer> = rings.iter_mut().map(take).collect();
            set.set_wait_policy(WaitPolicy::Park);
            let mut received = vec![Vec::<u8>::new(); members];
            while let Some(key) = set.wait().unwrap() {
                let mut bytes = [0; 64];
                match set[key].try_read(&mut bytes) {
                    Ok(len) => received[key].extend(&bytes[..len]),
                    Err(TryReadError::Broken(Broken::Died { .. })) => drop(set.remove(key)),
                    other => panic!("{other:?}"),
                }
            }
            assert!(received.iter().all(|bytes| bytes.iter().copied().eq(0..50)));
            child.wait();
        }
    });
}
