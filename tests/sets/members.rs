//! Which handles can be members, when they are ready, and how they change between waits.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use shmpipe::set::End;
use shmpipe::{Broken, Consumer, Options, PeekError, WaitError, WaitPolicy, WaitSet};

use crate::common::{
    self, Fork, PATIENCE, Task, TempPath, alone, kill_self, once_asleep, once_waiting, until,
};
use crate::waiting::{POLICIES, set_with, soon};
use crate::{pair, ring, sleeps_of};

#[test]
fn an_end_that_waits_for_its_peer_can_be_a_member() {
    alone(
        "members::an_end_that_waits_for_its_peer_can_be_a_member",
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

/// A set whose peers wake it sleeps for longer once nothing has come for a second.
#[test]
fn an_idle_set_sleeps_for_longer() {
    alone("members::an_idle_set_sleeps_for_longer", || {
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

/// Bytes that a dead producer left are no record. What wants more gets the death, and the bytes
/// stay.
#[test]
fn a_part_of_a_record_does_not_hide_a_death() {
    alone("members::a_part_of_a_record_does_not_hide_a_death", || {
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
