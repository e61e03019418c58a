//! Wake-ups by a peer that closes.

use std::io::{ErrorKind, Read, Write};
use std::time::Instant;

use fastrand::Rng;
use shmpipe::failpoint::set_slice;
use shmpipe::sysv::SegmentId;
use shmpipe::{Occupant, Ring, Role};

use super::{CAPACITY, Places, SLICE, STUCK, Tally, options, parks, pause, watch};
use crate::common::{Fork, alone};

/// Waits for the other side to take its role: it is about to sleep then.
fn await_peer(peer: impl Fn() -> Occupant) {
    let start = Instant::now();
    while peer() == Occupant::Nobody {
        assert!(start.elapsed() < STUCK, "it does not come");
        std::thread::yield_now();
    }
}

/// What a side of a round does: one closes, while the other parks or is about
/// to. Returns whether the other was seen to sleep.
fn close_or_park(ring: Ring, role: Role, closes: bool, how: u64, random: &mut Rng) -> bool {
    match (role, closes) {
        (Role::Producer, true) => {
            let mut producer = ring.into_producer().unwrap();
            await_peer(|| producer.peer());
            (0..9).for_each(|_| pause(random));
            match how {
                0 => producer.close().unwrap(),
                1 => producer.abort(),
                _ => drop(producer),
            }
            false
        }
        (Role::Consumer, true) => {
            let mut consumer = ring.into_consumer().unwrap();
            await_peer(|| consumer.peer());
            (0..9).for_each(|_| pause(random));
            match how {
                0 => consumer.close().unwrap(),
                _ => drop(consumer),
            }
            false
        }
        (Role::Producer, false) => {
            let mut producer = ring.into_producer().unwrap();
            let _ = producer.try_write(&[0; CAPACITY]); // it may have closed
            (0..9).for_each(|_| pause(random));
            let error = producer.write(&[0]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
            producer.stats().sleeps > 0
        }
        (Role::Consumer, false) => {
            let mut consumer = ring.into_consumer().unwrap();
            (0..9).for_each(|_| pause(random));
            match consumer.read(&mut [0]) {
                Ok(len) => assert_eq!(len, 0),
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionAborted),
            }
            consumer.stats().sleeps > 0
        }
    }
}

/// A ring for each round: one side closes it while the other goes to sleep.
#[test]
fn closing_loses_no_wake() {
    alone("parking::closing::closing_loses_no_wake", || {
        set_slice(SLICE);
        let (tally, rounds) = (Tally::new(), parks() / 100);
        let mut rings = [0, 1].map(|_| Some(options().create_anonymous().unwrap()));
        let mut take = |number: usize| rings[number].take().unwrap();
        let plan = |round: u64| {
            let role = [Role::Producer, Role::Consumer][(round & 1) as usize];
            (role, round >> 1 & 1 == 0, (round >> 2) % 3)
        };
        let lead = Fork::new(|| {
            let mut out = take(0).into_producer().unwrap();
            let mut back = take(1).into_consumer().unwrap();
            let (mut random, mut places) = (Rng::with_seed(5), Places::new(0));
            let mut slept = 0;
            for round in 0..rounds {
                places.at(round << 4);
                let ring = options().create_anonymous().unwrap();
                out.write_all(&ring.id().unwrap().raw().to_ne_bytes())
                    .unwrap();
                let (role, closes, how) = plan(round);
                let waits = close_or_park(ring, role, closes, how, &mut random);
                slept += u64::from(waits);
                let mut reply = [0];
                back.read_exact(&mut reply).unwrap();
                slept += u64::from(reply[0]);
                tally.set(0, round + 1);
            }
            println!("rings closed on a sleeper: {slept} of {rounds}");
            assert!(slept > rounds / 20, "{slept} of {rounds} slept");
        });
        let follow = Fork::new(|| {
            let mut inward = take(0).into_consumer().unwrap();
            let mut out = take(1).into_producer().unwrap();
            let (mut random, mut places) = (Rng::with_seed(6), Places::new(1));
            for round in 0..rounds {
                places.at(round << 4);
                let mut id = [0; 4];
                inward.read_exact(&mut id).unwrap();
                let id = SegmentId::from_raw(i32::from_ne_bytes(id)).unwrap();
                let ring = options().attach(id).unwrap();
                let (role, closes, how) = plan(round);
                let waits = close_or_park(ring, role.peer(), !closes, how, &mut random);
                out.write_all(&[u8::from(waits)]).unwrap();
            }
        });
        watch("rings closed", &tally, [lead, follow]);
    });
}
