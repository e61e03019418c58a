//! The cases in which an end was lost, or a torso passed for a whole.

use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::Duration;

use shmpipe::{Broken, NextStreamError, Occupant, Role};

use crate::common::{End, Fork, PATIENCE, alone, exit_now, once_asleep, page, until};
use crate::{Persistent, Told, assert_nothing_comes, assert_streams, broken, later, soon, take};

#[test]
fn a_broken_stream_before_a_whole_one_is_told() {
    let ring = Persistent::new();
    ring.abort(b"torso");
    ring.finish(b"whole");
    let streams: [(&[u8], _); 2] = [(b"torso", Told::Aborted), (b"whole", Told::Finished)];
    assert_streams(&mut ring.consumer(), &streams);
}

#[test]
fn two_streams_are_two_with_and_without_a_reader_in_between() {
    for reads_between in [false, true] {
        let ring = Persistent::new();
        ring.finish(b"one");
        let mut between = reads_between.then(|| ring.consumer());
        if let Some(consumer) = &mut between {
            assert_eq!(take(consumer), (b"one".to_vec(), Told::Finished));
        }
        ring.finish(b"two");
        let streams: [(&[u8], _); 2] = [(b"one", Told::Finished), (b"two", Told::Finished)];
        match between {
            None => assert_streams(&mut ring.consumer(), &streams),
            Some(consumer) => {
                drop(consumer); // has acknowledged the first
                assert_streams(&mut ring.consumer(), &streams[1..]);
            }
        }
    }
}

#[test]
fn empty_streams_are_streams() {
    let ring = Persistent::new();
    for _ in 0..3 {
        drop(ring.producer());
    }
    ring.abort(b"");
    let mut streams = vec![(&[][..], Told::Finished); 3];
    streams.push((&[], Told::Aborted));
    assert_streams(&mut ring.consumer(), &streams);
}

#[test]
fn a_torso_and_a_whole_are_no_whole() {
    alone("rows::a_torso_and_a_whole_are_no_whole", || {
        for consumer_first in [false, true] {
            let ring = Persistent::new();
            let early = consumer_first.then(|| ring.consumer());
            let pid = ring.die(b"torso");
            ring.finish(b"whole");
            let mut consumer = early.unwrap_or_else(|| ring.consumer());
            let streams: [(&[u8], _); 2] =
                [(b"torso", Told::Died(pid)), (b"whole", Told::Finished)];
            assert_streams(&mut consumer, &streams);
        }
    });
}

#[test]
fn one_that_resumes_goes_on_with_the_stream_of_the_dead() {
    alone(
        "rows::one_that_resumes_goes_on_with_the_stream_of_the_dead",
        || {
            for consumer_first in [false, true] {
                let ring = Persistent::new();
                let early = consumer_first.then(|| ring.consumer());
                ring.die(b"half, ");
                let mut producer = ring.resumer();
                assert_eq!((producer.position(), producer.stream_position()), (6, 6));
                producer.write_all(b"whole").unwrap();
                producer.close().unwrap();
                let mut consumer = early.unwrap_or_else(|| ring.consumer());
                let streams: [(&[u8], _); 1] = [(b"half, whole", Told::Finished)];
                assert_streams(&mut consumer, &streams);
            }
        },
    );
}

#[test]
fn what_has_ended_is_not_resumed() {
    for aborts in [false, true] {
        let ring = Persistent::new();
        if aborts {
            ring.abort(b"first");
        } else {
            ring.finish(b"first");
        }
        let mut producer = ring.resumer();
        assert_eq!((producer.position(), producer.stream_position()), (5, 0));
        producer.write_all(b"second").unwrap();
        producer.close().unwrap();
        let how = [Told::Finished, Told::Aborted][usize::from(aborts)];
        let streams: [(&[u8], _); 2] = [(b"first", how), (b"second", Told::Finished)];
        assert_streams(&mut ring.consumer(), &streams);
    }
}

#[test]
fn one_that_died_without_a_byte_leaves_no_end() {
    alone("rows::one_that_died_without_a_byte_leaves_no_end", || {
        let ring = Persistent::new();
        ring.die(b"");
        ring.finish(b"one");
        ring.die(b"");
        ring.die(b"");
        ring.finish(b"two");
        let streams: [(&[u8], _); 2] = [(b"one", Told::Finished), (b"two", Told::Finished)];
        assert_streams(&mut ring.consumer(), &streams);
    });
}

#[test]
fn each_of_many_dead_leaves_its_end() {
    alone("rows::each_of_many_dead_leaves_its_end", || {
        let ring = Persistent::new();
        let pids: Vec<u32> = (0..5).map(|_| ring.die(b"torso")).collect();
        ring.finish(b"");
        let mut streams: Vec<(&[u8], Told)> = pids
            .into_iter()
            .map(|pid| (&b"torso"[..], Told::Died(pid)))
            .collect();
        streams.push((b"", Told::Finished));
        assert_streams(&mut ring.consumer(), &streams);
    });
}

#[test]
fn a_death_that_nobody_follows_is_told_by_each_call_that_would_wait() {
    alone(
        "rows::a_death_that_nobody_follows_is_told_by_each_call_that_would_wait",
        || {
            let ring = Persistent::new();
            let mut consumer = ring.consumer();
            let pid = ring.die(b"torso");
            for _ in 0..2 {
                let (bytes, how) = take(&mut consumer);
                assert!(bytes.is_empty() || bytes == b"torso");
                assert_eq!(how, Told::Died(pid));
                let died = Broken::Died {
                    role: Role::Producer,
                    pid,
                };
                let peeked = consumer.peek_deadline(1, later()).unwrap_err();
                assert_eq!(peeked, died.clone().into());
                // That is no end.
                let not_ended = NextStreamError::NotEnded { available: 0 };
                assert_eq!(consumer.next_stream(), Err(not_ended));
            }
            // Who resumes goes on behind what was told to be a death.
            let mut producer = ring.resumer();
            producer.write_all(b", resumed").unwrap();
            let mut bytes = [0; 9];
            consumer.read_exact(&mut bytes).unwrap();
            assert_eq!(&bytes, b", resumed");
            producer.close().unwrap();
            assert_eq!(take(&mut consumer), (vec![], Told::Finished));
        },
    );
}

#[test]
fn a_death_that_was_told_ends_the_stream_once_another_begins() {
    alone(
        "rows::a_death_that_was_told_ends_the_stream_once_another_begins",
        || {
            let ring = Persistent::new();
            let mut consumer = ring.consumer();
            let pid = ring.die(b"torso");
            assert_eq!(take(&mut consumer), (b"torso".to_vec(), Told::Died(pid)));
            ring.finish(b"whole");
            let streams: [(&[u8], _); 2] = [(b"", Told::Died(pid)), (b"whole", Told::Finished)];
            assert_streams(&mut consumer, &streams);
        },
    );
}

#[test]
fn a_consumer_that_is_not_there_is_not_missed() {
    let ring = Persistent::new();
    let mut producer = ring.producer();
    let mut consumer = ring.consumer();
    producer.write_all(b"one").unwrap();
    consumer.read_exact(&mut [0; 3]).unwrap();
    consumer.close().unwrap();
    drop(consumer);
    // It is told by who asks, and is no error of a write.
    assert_eq!(producer.check_peer(), Err(Broken::ConsumerClosed));
    assert_eq!(producer.peer(), Occupant::Nobody);
    let bytes = vec![7; page()];
    producer.write_all(&bytes).unwrap();
    producer.set_timeout(Some(Duration::from_millis(30)));
    let error = producer.write(b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    producer.set_timeout(Some(PATIENCE));
    let (written, ()) = once_asleep(
        || producer.write_all(b"x"),
        |_| {
            let mut next = ring.consumer();
            next.read_exact(&mut vec![0; page()]).unwrap();
        },
    );
    written.unwrap();
}

#[test]
fn a_consumer_that_is_killed_is_not_missed() {
    alone("rows::a_consumer_that_is_killed_is_not_missed", || {
        let ring = Persistent::new();
        let mut producer = ring.producer();
        let mut child = Fork::new(|| {
            let _consumer = ring.consumer();
            thread::sleep(PATIENCE);
        });
        until(|| producer.peer() == Occupant::Process(child.pid()));
        child.kill();
        child.wait();
        producer.write_all(&vec![7; page()]).unwrap();
        producer.set_timeout(Some(Duration::from_millis(50)));
        let error = producer.write(b"x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        let died = Broken::Died {
            role: Role::Consumer,
            pid: child.pid(),
        };
        assert_eq!(producer.check_peer(), Err(died));
    });
}

#[test]
fn a_consumer_that_is_required_is_missed() {
    alone("rows::a_consumer_that_is_required_is_missed", || {
        let mut ring = Persistent::new();
        ring.options.require_consumer(true);
        let mut producer = ring.producer();
        producer.write_all(b"nobody has come yet").unwrap();
        drop(ring.consumer());
        let error = producer.write(b"x").unwrap_err();
        assert_eq!(broken(&error), Broken::ConsumerClosed);
        // Until the next one comes.
        let mut child = Fork::new(|| {
            let _consumer = ring.consumer();
            thread::sleep(PATIENCE);
        });
        until(|| producer.peer() == Occupant::Process(child.pid()));
        producer.write_all(&vec![7; page() - 19]).unwrap();
        child.kill();
        child.wait();
        let error = producer.write(b"x").unwrap_err();
        let died = Broken::Died {
            role: Role::Consumer,
            pid: child.pid(),
        };
        assert_eq!(broken(&error), died);
    });
}

#[test]
fn an_end_is_told_until_the_next_stream_is_asked_for() {
    let ring = Persistent::new();
    let mut consumer = ring.consumer();
    ring.finish(b"one");
    assert_eq!(take(&mut consumer), (b"one".to_vec(), Told::Finished));
    ring.finish(b"two");
    for _ in 0..3 {
        assert_eq!(take(&mut consumer), (vec![], Told::Finished));
    }
    assert!(consumer.next_stream().unwrap());
    assert_eq!(take(&mut consumer), (b"two".to_vec(), Told::Finished));
    assert!(consumer.next_stream().unwrap());
    assert_nothing_comes(&mut consumer);
}

#[test]
fn the_dead_are_named_after_their_death_was_told() {
    alone(
        "rows::the_dead_are_named_after_their_death_was_told",
        || {
            let ring = Persistent::new();
            let mut consumer = ring.consumer();
            let producers_pid = ring.die(b"torso");
            assert_eq!(take(&mut consumer).1, Told::Died(producers_pid));
            assert_eq!(consumer.peer(), Occupant::Dead(producers_pid));
            let looked = shmpipe::Options::new().snapshot(&ring.path).unwrap();
            assert_eq!(looked.producer, Occupant::Dead(producers_pid));
            drop(consumer);

            let mut producer = ring.producer();
            let mut child = Fork::new(|| {
                std::mem::forget(ring.consumer());
                exit_now(0);
            });
            assert_eq!(child.wait(), End::Exit(0));
            assert!(producer.check_peer().is_err());
            assert_eq!(producer.peer(), Occupant::Dead(child.pid()));
            let looked = shmpipe::Options::new().snapshot(&ring.path).unwrap();
            assert_eq!(looked.consumer, Occupant::Dead(child.pid()));
        },
    );
}

#[test]
fn positions_in_the_stream_are_told() {
    let ring = Persistent::new();
    let mut consumer = ring.consumer();
    ring.finish(b"before");
    let mut producer = ring.producer();
    assert_eq!((producer.position(), producer.stream_position()), (6, 0));
    producer.write_all(b"one").unwrap();
    assert_eq!((producer.position(), producer.stream_position()), (9, 3));
    assert_eq!(producer.consumed(), Ok(0));
    take(&mut consumer);
    assert_eq!((consumer.position(), consumer.stream_position()), (6, 6));
    assert_eq!(producer.consumed(), Ok(6));
    assert!(consumer.next_stream().unwrap());
    assert_eq!((consumer.position(), consumer.stream_position()), (6, 0));
    consumer.read_exact(&mut [0; 2]).unwrap();
    assert_eq!((consumer.position(), consumer.stream_position()), (8, 2));
    assert_eq!(producer.consumed(), Ok(8));
    // The next consumer is in the same stream.
    drop(consumer);
    let consumer = ring.consumer();
    assert_eq!((consumer.position(), consumer.stream_position()), (8, 2));
}

#[test]
fn a_ring_with_one_stream_has_no_next() {
    let (mut producer, mut consumer) = shmpipe::pair().unwrap();
    producer.write_all(b"one").unwrap();
    producer.close().unwrap();
    assert_eq!(take(&mut consumer), (b"one".to_vec(), Told::Finished));
    for _ in 0..2 {
        assert_eq!(consumer.next_stream(), Ok(false));
        assert_eq!(consumer.next_stream_deadline(soon()), Ok(false));
        assert_eq!(take(&mut consumer), (vec![], Told::Finished));
    }
}
