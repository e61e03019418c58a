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
    self, Fork, PATIENCE, Task, TempPath, alone, exit_now, filter, kill_self, once_asleep,
    once_waiting, poke, until,
};
use crate::{pair, ring, sleeps_of};

const POLICIES: [WaitPolicy; 4] = [
    WaitPolicy::Spin,
    WaitPolicy::SpinThenPark(Duration::from_micros(20)),
    WaitPolicy::Adaptive,
    WaitPolicy::Park,
];

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(60)
}

/// A set of a member that is never ready, and of the one that a test is about, whose key is 1.
fn set_with(member: impl Into<End>, policy: WaitPolicy) -> (shmpipe::Producer, WaitSet<End>) {
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

/// Bytes that a dead producer left are no record. What wants more gets the death, and the bytes
/// stay.
#[test]
fn a_part_of_a_record_does_not_hide_a_death() {
    alone("waiting::a_part_of_a_record_does_not_hide_a_death", || {
        let mut ring = Some(ring(4096));
        let mut child = Fork::new(|| {
            let mut producer = ring.take().unwrap().into_producer().unwrap();
            producer.write_all(b"abc").unwrap();
            Task::parent().until_asleep();
            kill_self();
        });
        let consumer = ring.take().unwrap().into_consumer().unwrap();
        let mut set = WaitSet::from(consumer);
        set.set_wait_policy(WaitPolicy::Park);
        set.set_low_water_mark(0, 4);
        assert_eq!(set.wait(), Ok(Some(0)));
        let is_dead = |error| matches!(error, PeekError::Broken(Broken::Died { .. }));
        assert!(is_dead(set[0].try_peek(4).unwrap_err()));
        assert!(is_dead(set[0].try_peek(4).unwrap_err()));
        assert_eq!(set[0].try_read(&mut [0; 4]), Ok(3));
        assert!(set[0].try_read(&mut [0; 4]).is_err());
        child.wait();
    });
}

#[test]
fn an_end_that_waits_for_its_peer_can_be_a_member() {
    alone(
        "waiting::an_end_that_waits_for_its_peer_can_be_a_member",
        || {
            let paths: Vec<TempPath> = (0..4).map(|_| TempPath::new()).collect();
            let mut options = Options::new();
            options.wait_for_peer(false).capacity(4096);
            let open = |path: &TempPath| options.open_consumer(path).unwrap();
            let mut set: WaitSet = paths.iter().map(open).collect();
            assert_eq!(set.wait_deadline(soon()), Err(WaitError::TimedOut));
            for (key, path) in paths.iter().enumerate() {
                let mut child = Fork::new(|| {
                    let mut producer = common::options().open_producer(path).unwrap();
                    Task::parent().until_asleep_or_spinning();
                    producer.write_all(&[key as u8; 9]).unwrap();
                    producer.close().unwrap();
                });
                assert_eq!(set.wait(), Ok(Some(key)));
                let mut bytes = Vec::new();
                set.remove(key).unwrap().read_to_end(&mut bytes).unwrap();
                assert_eq!(bytes, [key as u8; 9]);
                child.wait();
            }
            assert_eq!(set.wait(), Ok(None));
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
fn a_busy_ring_does_not_starve_a_quiet_one() {
    let (mut producers, consumers): (Vec<_>, Vec<_>) = (0..5).map(|_| pair()).unzip();
    let mut set: WaitSet = consumers.into_iter().collect();
    for producer in &mut producers {
        producer.try_write(&[7; 100]).unwrap();
    }
    let order: Vec<_> = (0..10).map(|_| set.wait().unwrap().unwrap()).collect();
    assert_eq!(order, [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
    // Ring 2 has bytes whenever the set looks. The others get one byte.
    for (key, producer) in producers.iter_mut().enumerate() {
        set[key].try_read(&mut [0; 100]).unwrap();
        producer.try_write(b"x").unwrap();
    }
    let mut served = Vec::new();
    for _ in 0..9 {
        let key = set.wait().unwrap().unwrap();
        set[key].try_read(&mut [0; 100]).unwrap();
        producers[2].try_write(b"x").unwrap();
        served.push(key);
    }
    assert_eq!(served[..5], [0, 1, 2, 3, 4]);
    assert_eq!(served[5..], [2, 2, 2, 2]);
}

/// A batch that fills the ring is published, or no room would ever come, whatever the policy.
#[test]
fn a_wait_publishes_a_batch() {
    for policy in POLICIES {
        let (mut producer, mut consumer) = pair();
        producer.set_batch(1 << 20);
        producer.try_write(&[7; 4096]).unwrap();
        let (_quiet, mut set) = set_with(producer, policy);
        let reading = std::thread::spawn(move || {
            consumer.read_exact(&mut [0; 4096]).unwrap();
            consumer
        });
        assert_eq!(set.wait(), Ok(Some(1)));
        drop(reading.join().unwrap());
    }
}

#[test]
fn a_low_water_mark_keeps_parts_of_records_back() {
    let (mut producer, consumer) = pair();
    let mut set = WaitSet::from(consumer);
    set.set_low_water_mark(0, 100);
    producer.try_write(&[7; 99]).unwrap();
    assert_eq!(set.wait_deadline(soon()), Err(WaitError::TimedOut));
    let (waited, _) = once_asleep(
        || {
            set.set_wait_policy(WaitPolicy::Park);
            set.wait()
        },
        |_| producer.try_write(&[7; 1]).unwrap(),
    );
    assert_eq!(waited, Ok(Some(0)));
    set.set_low_water_mark(0, usize::MAX); // counts as the capacity
    assert_eq!(set.try_wait(), Ok(None));
    producer.close().unwrap();
    assert_eq!(set.try_wait(), Ok(Some(0)));

    let (mut producer, mut consumer) = pair();
    producer.try_write(&[7; 4000]).unwrap();
    let mut set = WaitSet::from(producer);
    set.set_low_water_mark(0, 2000);
    assert_eq!(set.try_wait(), Ok(None));
    consumer.read_exact(&mut [0; 1900]).unwrap();
    assert_eq!(set.try_wait(), Ok(None));
    consumer.read_exact(&mut [0; 4]).unwrap();
    assert_eq!(set.try_wait(), Ok(Some(0)));
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

/// A set whose peers wake it sleeps for longer once nothing has come for a second.
#[test]
fn an_idle_set_sleeps_for_longer() {
    alone("waiting::an_idle_set_sleeps_for_longer", || {
        let mut rings: Vec<_> = (0..40).map(|_| Some(ring(4096))).collect();
        let mut child = Fork::new(|| {
            let take =
                |ring: &mut Option<shmpipe::Ring>| ring.take().unwrap().into_producer().unwrap();
            let _producers: Vec<_> = rings.iter_mut().map(take).collect();
            std::thread::sleep(PATIENCE); // it is killed
        });
        let take = |ring: &mut Option<shmpipe::Ring>| ring.take().unwrap().into_consumer().unwrap();
        let mut set: WaitSet<Consumer> = rings.iter_mut().map(take).collect();
        set.set_wait_policy(WaitPolicy::Park);
        let time = |seconds| Instant::now() + Duration::from_secs(seconds);
        assert_eq!(set.wait_deadline(time(2)), Err(WaitError::TimedOut));
        let before = sleeps_of("/proc/thread-self/status");
        assert_eq!(set.wait_deadline(time(1)), Err(WaitError::TimedOut));
        let sleeps = sleeps_of("/proc/thread-self/status") - before;
        assert!(sleeps < 50, "{sleeps} sleeps in a second");
        // And the death of one is noticed all the same.
        child.kill();
        assert!(set.wait().is_ok());
        child.wait();
    });
}

#[test]
fn a_set_can_be_sent_to_another_thread() {
    let (mut producer, consumer) = pair();
    let mut set = WaitSet::from(End::from(consumer));
    let descriptor = set.poll_fd().unwrap();
    assert_eq!(set.try_wait(), Ok(None));
    let serving = std::thread::spawn(move || {
        let key = set.wait().unwrap().unwrap();
        assert_eq!(set.try_wait(), Ok(Some(key)));
        set.remove(key).is_some()
    });
    producer.try_write(b"x").unwrap();
    assert!(serving.join().unwrap());
    drop(descriptor);
}

/// A member is removed, and another inserted, between two waits.
#[test]
fn members_change_between_waits() {
    let (mut one, from_one) = pair();
    let (mut two, from_two) = pair();
    let mut set = WaitSet::new();
    let key = set.insert(from_one);
    one.try_write(b"one").unwrap();
    assert_eq!(set.wait(), Ok(Some(key)));
    let mut from_one = set.remove(key).unwrap();
    assert_eq!(set.wait(), Ok(None));
    assert_eq!(set.insert(from_two), key);
    assert_eq!(set.wait_deadline(soon()), Err(WaitError::TimedOut));
    two.try_write(b"two").unwrap();
    assert_eq!(set.wait(), Ok(Some(key)));
    // A removed handle waits for itself again.
    let mut bytes = [0; 3];
    from_one.read_exact(&mut bytes).unwrap();
    let (read, ()) = once_waiting(
        || from_one.read_exact(&mut bytes),
        |_| one.write_all(b"end").unwrap(),
    );
    read.unwrap();
    assert_eq!(&bytes, b"end");
    until(|| set.len() == 1);
}
