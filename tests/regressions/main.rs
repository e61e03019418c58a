//! One test for each bug that was found, with a line on how.
#![cfg(feature = "__failpoints")] // for the harness of the kill tests
#![allow(unsafe_code)] // shmget, shmat, unshare, setuid

#[path = "../common/mod.rs"]
mod common;
mod ends;
mod huge_pages;
mod left_behind;
mod lies;
mod roles;
#[path = "../common/shmat.rs"]
mod shmat;
mod waiting;

use std::io::{Read, Write};
use std::time::Duration;

use common::kill::{Habits, Opened, Outcome, Pattern, SHARDS, in_shards, options};
use common::{End, Fork, alone, broken, exit_now, not_run};
use shmpipe::{Broken, Ring, Role};

const ROLES: [Role; 2] = [Role::Producer, Role::Consumer];

fn take(ring: Ring, role: Role) -> Opened {
    match role {
        Role::Producer => Opened::Producer(ring.into_producer().unwrap()),
        Role::Consumer => Opened::Consumer(ring.into_consumer().unwrap()),
    }
}

/// Streams 15,000 bytes, to their end.
#[track_caller]
fn stream(mut opened: Opened) {
    let close_after = match opened {
        Opened::Producer(_) => 5,
        Opened::Consumer(_) => u64::MAX,
    };
    let habits = Habits {
        close_after,
        ..Habits::STREAMING
    };
    assert_eq!(opened.stream(&Pattern::new(), habits), Outcome::Finished);
    let position = match opened {
        Opened::Producer(producer) => producer.position(),
        Opened::Consumer(consumer) => consumer.position(),
    };
    assert_eq!(position, 15_000);
}

fn skipped(what: &str) {
    not_run(&format!("{what} could not be had"));
}

/// Found by a program written from the documentation: a reader that was told
/// of the death gave up before it had looked once more.
#[test]
fn bytes_published_just_before_death_are_read() {
    alone("bytes_published_just_before_death_are_read", || {
        in_shards(|shard| {
            for round in 0..400 / SHARDS {
                let mut ring = Some(options(4096).create_anonymous().unwrap());
                let mut child = Fork::new(|| {
                    let mut producer = ring.take().unwrap().into_producer().unwrap();
                    // Near the end of a slice of the reader's sleep.
                    let early = (round * SHARDS + shard) % 40 * 10;
                    std::thread::sleep(Duration::from_micros(10_100 - early));
                    producer.try_write(b"last words").unwrap();
                    exit_now(0);
                });
                let mut consumer = ring.take().unwrap().into_consumer().unwrap();
                let mut bytes = Vec::new();
                let error = consumer.read_to_end(&mut bytes).unwrap_err();
                assert_eq!(bytes, b"last words");
                let broken = error.get_ref().unwrap().downcast_ref::<Broken>();
                assert!(matches!(broken, Some(Broken::Died { .. })), "{error}");
                assert_eq!(child.wait(), End::Exit(0));
            }
        });
    });
}

/// Found by a program written from the documentation: asking made the answer
/// final, with bytes left to read.
#[test]
fn asking_after_a_dead_producer_keeps_its_bytes() {
    alone("asking_after_a_dead_producer_keeps_its_bytes", || {
        let mut ring = Some(options(4096).create_anonymous().unwrap());
        let mut child = Fork::new(|| {
            let mut producer = ring.take().unwrap().into_producer().unwrap();
            producer.write_all(b"last words").unwrap();
            exit_now(0);
        });
        let mut consumer = ring.take().unwrap().into_consumer().unwrap();
        assert_eq!(child.wait(), End::Exit(0));
        assert!(matches!(consumer.check_peer(), Err(Broken::Died { .. })));
        let mut bytes = [0; 10];
        consumer.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"last words");
        assert!(consumer.read(&mut bytes).is_err());
    });
}
