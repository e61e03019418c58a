//! Waiting for the next stream, and for whoever has the other end.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use shmpipe::{Broken, Consumer, NextStreamError, Role, WaitError, WaitPolicy};

use crate::common::{
    End, Fork, PATIENCE, Task, TempPath, Waiting, alone, exit_now, once_asleep, once_waiting,
    options, until,
};
use crate::{Persistent, Told, later, soon, take};

/// A consumer at the end of a first stream.
fn at_an_end(ring: &Persistent) -> Consumer {
    ring.finish(b"one");
    let mut consumer = ring.consumer();
    assert_eq!(take(&mut consumer), (b"one".to_vec(), Told::Finished));
    consumer
}

/// What follows a stream, and when it is there to be waited for.
fn next_comes(comes: impl FnOnce(&Persistent, &Waiting) + Send, policy: WaitPolicy) {
    let ring = Persistent::new();
    let mut consumer = at_an_end(&ring);
    consumer.set_wait_policy(policy);
    let nothing = consumer.next_stream_deadline(soon());
    assert_eq!(nothing, Err(NextStreamError::TimedOut));
    // Acknowledged once: this waits on.
    let nothing = consumer.next_stream_deadline(Instant::now());
    assert_eq!(nothing, Err(NextStreamError::TimedOut));
    let (next, ()) = once_waiting(
        || consumer.next_stream_deadline(later()),
        |waiting| comes(&ring, waiting),
    );
    assert_eq!(next, Ok(true));
    assert_eq!(consumer.stream_position(), 0);
}

#[test]
fn the_next_stream_is_waited_for() {
    for policy in [WaitPolicy::Park, WaitPolicy::Adaptive, WaitPolicy::Spin] {
        next_comes(|ring, _| ring.finish(b"two"), policy);
        next_comes(|ring, _| ring.abort(b""), policy);
        // A producer that has not written yet is one.
        let came = |ring: &Persistent, waiting: &Waiting| {
            let producer = ring.producer();
            waiting.until_it_is_over();
            drop(producer);
        };
        next_comes(came, policy);
    }
}

#[test]
fn what_is_there_of_the_next_stream_is_not_waited_for() {
    let ring = Persistent::new();
    let mut consumer = at_an_end(&ring);
    ring.finish(b"two");
    ring.finish(b"");
    let mut third = ring.producer();
    third.write_all(b"three").unwrap();
    let past = Instant::now();
    assert_eq!(consumer.next_stream_deadline(past), Ok(true));
    assert_eq!(take(&mut consumer), (b"two".to_vec(), Told::Finished));
    assert_eq!(consumer.next_stream_deadline(past), Ok(true));
    assert_eq!(take(&mut consumer), (vec![], Told::Finished));
    assert_eq!(consumer.next_stream_deadline(past), Ok(true));
    // At the beginning of a stream that has come.
    assert_eq!(consumer.next_stream_deadline(past), Ok(true));
    let mut bytes = [0; 5];
    consumer.read_exact(&mut bytes).unwrap();
    let not_ended = Err(NextStreamError::NotEnded { available: 0 });
    assert_eq!(consumer.next_stream_deadline(past), not_ended);
}

#[test]
fn waiting_for_the_next_stream_can_be_cancelled() {
    let mut ring = Persistent::new();
    let flag = Arc::new(AtomicBool::new(false));
    ring.options.cancel_on(Arc::clone(&flag));
    let mut consumer = at_an_end(&ring);
    let (next, ()) = once_asleep(
        || consumer.next_stream_deadline(later()),
        |_| flag.store(true, Ordering::Relaxed),
    );
    assert_eq!(next, Err(NextStreamError::Cancelled));
}

#[test]
fn a_peer_is_waited_for_whoever_comes_first() {
    let ring = Persistent::new();
    let mut producer = ring.producer();
    assert_eq!(
        producer.wait_for_peer_deadline(soon()),
        Err(WaitError::TimedOut)
    );
    let (came, mut consumer) = once_asleep(
        || producer.wait_for_peer_deadline(later()),
        |_| ring.consumer(),
    );
    came.unwrap();
    producer.wait_for_peer_deadline(Instant::now()).unwrap(); // it is there
    consumer.wait_for_peer_deadline(Instant::now()).unwrap();
    drop(consumer);
    // It has left: the next one is waited for.
    assert_eq!(
        producer.wait_for_peer_deadline(soon()),
        Err(WaitError::TimedOut)
    );
    producer.set_timeout(Some(Duration::from_millis(30)));
    assert_eq!(producer.wait_for_peer(), Err(WaitError::TimedOut));
    drop(producer);

    let ring = Persistent::new();
    let mut consumer = ring.consumer();
    assert_eq!(
        consumer.wait_for_peer_deadline(soon()),
        Err(WaitError::TimedOut)
    );
    let (came, ()) = once_asleep(
        || consumer.wait_for_peer_deadline(later()),
        |_| ring.finish(b""), // come and gone
    );
    came.unwrap();
    // An end is there.
    consumer.wait_for_peer_deadline(Instant::now()).unwrap();
    consumer.next_stream().unwrap();
    consumer.set_timeout(Some(Duration::from_millis(30)));
    assert_eq!(consumer.wait_for_peer(), Err(WaitError::TimedOut));
}

#[test]
fn a_peer_that_came_and_left_meanwhile_has_come() {
    let ring = Persistent::new();
    let mut producer = ring.producer();
    for _ in 0..50 {
        let (came, ()) = once_asleep(
            || producer.wait_for_peer_deadline(later()),
            |_| drop(ring.consumer()),
        );
        came.unwrap();
    }
}

#[test]
fn whoever_follows_the_dead_is_waited_for() {
    alone("waiting::whoever_follows_the_dead_is_waited_for", || {
        for resumes in [false, true] {
            let ring = Persistent::new();
            let mut consumer = ring.consumer();
            let pid = ring.die(b"torso");
            assert_eq!(take(&mut consumer), (b"torso".to_vec(), Told::Died(pid)));
            assert_eq!(
                consumer.wait_for_peer_deadline(soon()),
                Err(WaitError::TimedOut)
            );
            let mut child = Fork::new(|| {
                Task::parent().until_asleep();
                let mut producer = if resumes {
                    ring.resumer()
                } else {
                    ring.producer()
                };
                Task::parent().until_asleep(); // in another call
                producer.write_all(b" and more").unwrap();
            });
            consumer.wait_for_peer_deadline(later()).unwrap();
            if resumes {
                assert_eq!(take(&mut consumer), (b" and more".to_vec(), Told::Finished));
            } else {
                assert_eq!(take(&mut consumer), (vec![], Told::Died(pid)));
            }
            assert_eq!(child.wait(), End::Exit(0));
        }
        // The same for a producer.
        let ring = Persistent::new();
        let mut producer = ring.producer();
        let mut child = Fork::new(|| {
            std::mem::forget(ring.consumer());
            exit_now(0);
        });
        assert_eq!(child.wait(), End::Exit(0));
        assert_eq!(
            producer.wait_for_peer_deadline(soon()),
            Err(WaitError::TimedOut)
        );
        let mut child = Fork::new(|| {
            Task::parent().until_asleep();
            let _consumer = ring.consumer();
            Task::parent().until_asleep(); // in another call
        });
        producer.wait_for_peer_deadline(later()).unwrap();
        assert_eq!(child.wait(), End::Exit(0));
    });
}

#[test]
fn a_peer_of_a_ring_with_one_stream_is_waited_for() {
    for role in [Role::Producer, Role::Consumer] {
        let path = TempPath::new();
        let mut options = options();
        options.wait_for_peer(false);
        let (mut producer, mut consumer) = (None, None);
        match role {
            Role::Producer => producer = Some(options.open_producer(&path).unwrap()),
            Role::Consumer => consumer = Some(options.open_consumer(&path).unwrap()),
        }
        let mut wait = |deadline| match (&mut producer, &mut consumer) {
            (Some(end), _) => end.wait_for_peer_deadline(deadline),
            (_, Some(end)) => end.wait_for_peer_deadline(deadline),
            _ => unreachable!(),
        };
        assert_eq!(wait(soon()), Err(WaitError::TimedOut));
        let (came, ()) = once_asleep(
            || wait(later()),
            |_| match role.peer() {
                Role::Producer => drop(options.open_producer(&path).unwrap()),
                Role::Consumer => drop(options.open_consumer(&path).unwrap()),
            },
        );
        came.unwrap();
        // Nobody follows: to have come is enough. Or to have left, an error.
        let again = wait(Instant::now());
        assert!(!matches!(again, Err(WaitError::TimedOut)), "{again:?}");
    }
}

#[test]
fn a_read_waits_for_a_producer_to_come() {
    let ring = Persistent::new();
    let mut consumer = at_an_end(&ring);
    assert!(consumer.next_stream().unwrap());
    consumer.set_timeout(Some(PATIENCE));
    let (taken, ()) = once_asleep(|| take(&mut consumer), |_| ring.finish(b"two"));
    assert_eq!(taken, (b"two".to_vec(), Told::Finished));
    until(|| consumer.peer() == shmpipe::Occupant::Nobody);
}

/// Found in review: the second call, which was to wait on, acknowledged an end
/// that nobody had been told.
#[test]
fn an_end_that_comes_between_two_waits_is_told() {
    let ring = Persistent::new();
    let mut consumer = at_an_end(&ring);
    let nothing = consumer.next_stream_deadline(soon());
    assert_eq!(nothing, Err(NextStreamError::TimedOut));
    ring.abort(b"");
    ring.finish(b"");
    assert_eq!(consumer.next_stream_deadline(later()), Ok(true));
    assert_eq!(take(&mut consumer), (vec![], Told::Aborted));
    assert_eq!(consumer.next_stream_deadline(later()), Ok(true));
    assert_eq!(take(&mut consumer), (vec![], Told::Finished));
}

/// Found in review: the death was latched, and what had been written was lost.
#[test]
fn what_a_dead_producer_has_written_counts_before_its_death() {
    let test = "waiting::what_a_dead_producer_has_written_counts_before_its_death";
    alone(test, || {
        let mut ring = Some(options().create_anonymous().unwrap());
        let mut child = Fork::new(|| {
            let mut producer = ring.take().unwrap().into_producer().unwrap();
            producer.write_all(b"abc").unwrap();
            exit_now(1);
        });
        let mut consumer = ring.take().unwrap().into_consumer().unwrap();
        child.wait();
        assert_eq!(consumer.wait_for_peer_deadline(later()), Ok(()));
        let mut bytes = [0; 3];
        consumer.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"abc");
        let died = consumer.wait_for_peer_deadline(later()).unwrap_err();
        assert!(
            matches!(died, WaitError::Broken(Broken::Died { .. })),
            "{died}"
        );
    });
}
