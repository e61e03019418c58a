//! More members than one `FUTEX_WAITV` takes.

use std::io::Write;

use shmpipe::{Broken, Producer, TryReadError, WaitPolicy, WaitSet};

use crate::common::{End, Fork, Task, alone, exit_now};
use crate::{ring, until_readable};

const MEMBERS: usize = 300;
const ROUNDS: u8 = 5;

/// A child that has all producers. It writes to each in turn, and then is gone.
fn writer(rings: &mut [Option<shmpipe::Ring>]) -> Fork {
    Fork::new(|| {
        let take = |ring: &mut Option<shmpipe::Ring>| ring.take().unwrap().into_producer().unwrap();
        let mut producers: Vec<Producer> = rings.iter_mut().map(take).collect();
        for round in 0..ROUNDS {
            for (number, producer) in producers.iter_mut().enumerate() {
                producer.write_all(&[round, number as u8]).unwrap();
                if number % 60 == 0 {
                    Task::parent().until_asleep(); // so that each part of the set is slept on
                }
            }
        }
        exit_now(0); // without a close: all have died
    })
}

/// Serves the members until all are gone. `wait` gives the key of the next.
fn serve(set: &mut WaitSet, mut wait: impl FnMut(&mut WaitSet) -> Option<usize>) {
    let mut received = vec![Vec::<u8>::new(); MEMBERS];
    let mut dead = 0;
    while let Some(key) = wait(set) {
        let mut bytes = [0; 64];
        match set[key].try_read(&mut bytes) {
            Ok(len) => received[key].extend(&bytes[..len]),
            Err(TryReadError::Empty) => {}
            Err(TryReadError::Broken(Broken::Died { .. })) => {
                set.remove(key);
                dead += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(dead, MEMBERS);
    for (number, bytes) in received.iter().enumerate() {
        let expected: Vec<u8> = (0..ROUNDS)
            .flat_map(|round| [round, number as u8])
            .collect();
        assert_eq!(bytes, &expected);
    }
}

fn rings() -> Vec<Option<shmpipe::Ring>> {
    (0..MEMBERS).map(|_| Some(ring(4096))).collect()
}

fn consumers(rings: &mut [Option<shmpipe::Ring>]) -> WaitSet {
    let take = |ring: &mut Option<shmpipe::Ring>| ring.take().unwrap().into_consumer().unwrap();
    rings.iter_mut().map(take).collect()
}

#[test]
fn a_wait_serves_300_members_and_finds_300_deaths() {
    alone(
        "many::a_wait_serves_300_members_and_finds_300_deaths",
        || {
            for policy in [WaitPolicy::Park, WaitPolicy::Adaptive] {
                let mut rings = rings();
                let mut child = writer(&mut rings);
                let mut set = consumers(&mut rings);
                set.set_wait_policy(policy);
                serve(&mut set, |set| set.wait().unwrap());
                assert_eq!(child.wait(), End::Exit(0));
            }
        },
    );
}

#[test]
fn a_descriptor_serves_300_members_and_finds_300_deaths() {
    alone(
        "many::a_descriptor_serves_300_members_and_finds_300_deaths",
        || {
            let mut rings = rings();
            let mut child = writer(&mut rings);
            let mut set = consumers(&mut rings);
            let descriptor = set.poll_fd().unwrap();
            serve(&mut set, |set| {
                while !set.is_empty() {
                    if let Some(key) = set.try_wait().unwrap() {
                        return Some(key);
                    }
                    until_readable(&descriptor);
                }
                None
            });
            assert_eq!(child.wait(), End::Exit(0));
        },
    );
}
