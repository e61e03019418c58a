//! Writes, blocks and rings of every size.

use std::io::{Read, Write};

use shmpipe::Role;

use super::{SEED, anonymous, receive, send};
use crate::common::{End, Fork, TempPath, alone, check, options, sleeps, stream, unique, until};

#[test]
fn one_write_may_be_larger_than_the_ring() {
    alone(
        "pairs::sizes::one_write_may_be_larger_than_the_ring",
        || {
            for capacity in [4096, 64 << 10] {
                let mut ring = Some(anonymous(capacity));
                let mut child = Fork::new(|| {
                    let mut producer = ring.take().unwrap().into_producer().unwrap();
                    send(&mut producer, SEED, 1_000_001, 1_000_001);
                    assert_eq!(producer.position(), 1_000_001);
                });
                let mut consumer = ring.take().unwrap().into_consumer().unwrap();
                // More is asked for than the ring holds, too.
                let mut bytes = vec![0; 1_000_001];
                consumer.read_exact(&mut bytes).unwrap();
                check(SEED, 0, &bytes);
                assert_eq!(consumer.read(&mut [0]).unwrap(), 0);
                assert_eq!(child.wait(), End::Exit(0));
            }
        },
    );
}

#[test]
fn blocks_of_every_size_arrive_whole() {
    alone("pairs::sizes::blocks_of_every_size_arrive_whole", || {
        let sizes = [1, 2, 7, 63, 64, 65, 1000, 4095, 4096, 4097, 8192, 65_537];
        for (turn, &written) in sizes.iter().enumerate() {
            for shift in [0, 1, 5, 8] {
                let read = sizes[(turn + shift) % sizes.len()];
                let len = 150_001.min(20_000 * written.min(read));
                let seed = unique();
                let mut ring = Some(anonymous(4096));
                let mut child = Fork::new(|| {
                    let mut producer = ring.take().unwrap().into_producer().unwrap();
                    send(&mut producer, seed, len, written);
                });
                let mut consumer = ring.take().unwrap().into_consumer().unwrap();
                receive(&mut consumer, seed, len, read);
                assert_eq!(child.wait(), End::Exit(0));
            }
        }
    });
}

#[test]
fn rings_of_4_kib_and_of_64_mib_carry_more_than_they_hold() {
    let test = "pairs::sizes::rings_of_4_kib_and_of_64_mib_carry_more_than_they_hold";
    alone(test, || {
        for (capacity, len) in [(4096, 1_000_003), (64 << 20, (70 << 20) + 3)] {
            let path = TempPath::new();
            let mut child = Fork::new(|| {
                let mut producer = options().capacity(capacity).open_producer(&path).unwrap();
                assert_eq!(producer.capacity(), capacity);
                send(&mut producer, SEED, len, 100_003);
            });
            let mut consumer = options().open_consumer(&path).unwrap();
            assert_eq!(consumer.capacity(), capacity);
            receive(&mut consumer, SEED, len, 77_777);
            assert_eq!(child.wait(), End::Exit(0));
        }
    });
}

#[test]
fn the_side_that_is_ahead_sleeps_and_the_other_wakes_it() {
    let test = "pairs::sizes::the_side_that_is_ahead_sleeps_and_the_other_wakes_it";
    alone(test, || {
        const ROUNDS: usize = 100;
        // Whoever is ahead sleeps before the end.
        let slowly = |round: usize, id, ahead| {
            if round < ROUNDS / 2 {
                until(|| sleeps(id, ahead));
            }
        };

        let mut ring = Some(anonymous(4096));
        let mut slow_reader = Fork::new(|| {
            let mut consumer = ring.take().unwrap().into_consumer().unwrap();
            let id = consumer.id().unwrap();
            let mut bytes = [0; 4096];
            for round in 0..ROUNDS {
                slowly(round, id, Role::Producer);
                consumer.read_exact(&mut bytes).unwrap();
            }
            assert!(consumer.stats().wakes > 0, "{:?}", consumer.stats());
        });
        let mut producer = ring.take().unwrap().into_producer().unwrap();
        send(&mut producer, SEED, 4096 * ROUNDS, 4096);
        assert_eq!(slow_reader.wait(), End::Exit(0));
        assert!(producer.stats().sleeps > 0, "{:?}", producer.stats());

        let mut ring = Some(anonymous(4096));
        let mut slow_writer = Fork::new(|| {
            let mut producer = ring.take().unwrap().into_producer().unwrap();
            let id = producer.id().unwrap();
            for round in 0..ROUNDS {
                slowly(round, id, Role::Consumer);
                producer.write_all(&stream(SEED, round as u64, 1)).unwrap();
            }
            assert!(producer.stats().wakes > 0, "{:?}", producer.stats());
        });
        let mut consumer = ring.take().unwrap().into_consumer().unwrap();
        receive(&mut consumer, SEED, ROUNDS, 4096);
        assert_eq!(slow_writer.wait(), End::Exit(0));
        assert!(consumer.stats().sleeps > 0, "{:?}", consumer.stats());
    });
}
