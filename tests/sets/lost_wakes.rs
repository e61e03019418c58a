//! A hunt for lost wakes. Slices are so long that nobody looks by itself, so a lost wake shows as a
//! wait without an end.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use fastrand::Rng;
use shmpipe::failpoint::set_slice;
use shmpipe::{Consumer, Producer, Ring, WaitPolicy, WaitSet};

use crate::common::random::any;
use crate::common::{End, Fork, alone, asked_for, filter, once_asleep};
use crate::{is_readable_within, ring};

/// Nobody looks by itself before this has passed.
const SLICE: Duration = Duration::from_secs(60);
/// No progress for so long is a wake that went missing.
const STUCK: Duration = Duration::from_secs(30);
/// Members, each with a ring of its own for the answer.
const MEMBERS: usize = 3;

/// Wakes in all.
fn rounds() -> u64 {
    asked_for("SHMPIPE_PARKS").unwrap_or(60_000) / 3
}

/// Spins for a moment, so that the other side is met at every point of its way to sleep.
fn pause(random: &mut Rng) {
    let turns = any(random, &[1_u32, 30, 300, 3_000]);
    for _ in 0..random.u32(..turns) {
        std::hint::spin_loop();
    }
}

type Rings = Vec<Option<Ring>>;

fn rings() -> Rings {
    (0..MEMBERS).map(|_| Some(ring(4096))).collect()
}

fn producers(rings: &mut Rings) -> Vec<Producer> {
    let take = |ring: &mut Option<Ring>| ring.take().unwrap().into_producer().unwrap();
    rings.iter_mut().map(take).collect()
}

fn consumers(rings: &mut Rings) -> Vec<Consumer> {
    let take = |ring: &mut Option<Ring>| ring.take().unwrap().into_consumer().unwrap();
    rings.iter_mut().map(take).collect()
}

/// Another process that writes a byte to one ring after the other at random, and waits for the
/// answer now and then.
fn partner(there: &mut Rings, back: &mut Rings, seed: u64, rounds: u64) -> Fork {
    Fork::new(|| {
        let (mut producers, mut consumers) = (producers(there), consumers(back));
        let mut random = Rng::with_seed(seed);
        for _ in 0..rounds {
            let number = random.usize(..MEMBERS);
            pause(&mut random);
            producers[number].write_all(&[7]).unwrap();
            consumers[number].read_exact(&mut [0]).unwrap();
        }
    })
}

/// Reads a byte of each member that `wait` returns, and answers.
fn answer(
    set: &mut WaitSet,
    back: &mut [Producer],
    rounds: u64,
    mut wait: impl FnMut(&mut WaitSet, &mut Rng) -> usize,
) {
    let mut random = Rng::with_seed(1);
    for _ in 0..rounds {
        let key = wait(set, &mut random);
        assert_eq!(set[key].try_read(&mut [0; 9]), Ok(1));
        pause(&mut random);
        back[key].write_all(&[8]).unwrap();
    }
}

#[test]
fn no_wake_of_a_blocking_wait_is_lost() {
    alone("lost_wakes::no_wake_of_a_blocking_wait_is_lost", || {
        set_slice(SLICE);
        let rounds = rounds();
        let (mut there, mut back) = (rings(), rings());
        let mut child = partner(&mut there, &mut back, 2, rounds);
        let mut set: WaitSet = consumers(&mut there).into_iter().collect();
        let mut answers = producers(&mut back);
        answer(&mut set, &mut answers, rounds, |set, random| {
            let spins = random.u64(..5_000);
            set.set_wait_policy(match spins % 4 {
                0 => WaitPolicy::SpinThenPark(Duration::from_nanos(spins)),
                _ => WaitPolicy::Park,
            });
            let start = Instant::now();
            let key = set.wait_deadline(start + STUCK).unwrap().unwrap();
            assert!(start.elapsed() < STUCK, "a wake is lost");
            key
        });
        assert_eq!(child.wait(), End::Exit(0));
        println!("{rounds} wakes of a blocking wait, none lost");
    });
}

#[test]
fn no_wake_through_the_descriptor_is_lost() {
    alone("lost_wakes::no_wake_through_the_descriptor_is_lost", || {
        set_slice(SLICE);
        let rounds = rounds();
        let (mut there, mut back) = (rings(), rings());
        let mut child = partner(&mut there, &mut back, 3, rounds);
        let mut set: WaitSet = consumers(&mut there).into_iter().collect();
        let mut answers = producers(&mut back);
        let descriptor = set.poll_fd().unwrap();
        answer(&mut set, &mut answers, rounds, |set, random| {
            loop {
                // Now and then a borrow, or a blocking wait, disarms in between.
                match random.u32(..20) {
                    0 => drop(set[random.usize(..MEMBERS)].available()),
                    1 => {
                        // Some of these waits come to sleep on the words.
                        let soon = Duration::from_micros(random.u64(..200));
                        if let Ok(Some(key)) = set.wait_deadline(Instant::now() + soon) {
                            return key;
                        }
                    }
                    _ => {}
                }
                if let Some(key) = set.try_wait().unwrap() {
                    return key;
                }
                let stuck = STUCK.as_millis() as i32;
                assert!(is_readable_within(&descriptor, stuck), "a wake is lost");
            }
        });
        assert_eq!(child.wait(), End::Exit(0));
        println!("{rounds} wakes through the descriptor, none lost");
    });
}

/// Without FUTEX_WAITV a wait sleeps on one word at a time, and so for a millisecond at most.
#[test]
fn a_few_members_are_looked_at_without_waitv() {
    alone(
        "lost_wakes::a_few_members_are_looked_at_without_waitv",
        || {
            set_slice(SLICE);
            filter::lack(libc::SYS_futex_waitv);
            for members in 2..=9 {
                let rings = (0..members).map(|_| ring(4096).split().unwrap());
                let (mut producers, consumers): (Vec<_>, Vec<_>) = rings.unzip();
                let mut set: WaitSet = consumers.into_iter().collect();
                set.set_wait_policy(WaitPolicy::Park);
                for (number, producer) in producers.iter_mut().enumerate() {
                    let start = Instant::now();
                    let (found, ()) = once_asleep(
                        || set.wait().unwrap().unwrap(),
                        |_| producer.write_all(b"x").unwrap(),
                    );
                    assert_eq!(found, number);
                    set[found].try_read(&mut [0; 9]).unwrap();
                    let late = start.elapsed();
                    assert!(late < SLICE / 12, "{late:?} with {members} members");
                }
            }
        },
    );
}
