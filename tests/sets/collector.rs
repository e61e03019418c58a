//! One collector, and eight producers that are killed and restarted at random.

use std::path::Path;
use std::time::{Duration, Instant};

use fastrand::Rng;
use shmpipe::{Broken, Consumer, NextStreamError, Options, TryReadError, WaitSet};

use crate::common::{End, Fork, TempPath, alone, byte_at, kill_self, stream, unique, until};
use crate::{is_readable_within, until_readable};

const PRODUCERS: usize = 8;
/// Bytes of each stream.
const LEN: u64 = 40_000;
/// Deaths of each producer, before one that lives to the end.
const DEATHS: u64 = 6;

fn options() -> Options {
    let mut options = crate::common::options();
    options
        .persistent(true)
        .resume(true)
        .abort_on_drop(true)
        .capacity(4096);
    options
}

/// Continues the stream where its predecessor died, and dies at random, in the middle of a call or
/// between two. The last one finishes the stream.
fn produce(path: &Path, seed: u64, life: u64) {
    let mut random = Rng::with_seed(seed ^ life << 32);
    let mut producer = options().open_producer(path).unwrap();
    let dies = life < DEATHS;
    let share = LEN / (DEATHS + 1);
    let end = if dies { share * (life + 1) } else { LEN };
    while producer.stream_position() < end {
        let position = producer.stream_position();
        let len = random.u64(1..=3000).min(end - position) as usize;
        std::io::Write::write_all(&mut producer, &stream(seed, position, len)).unwrap();
        if dies && random.u32(..20) == 0 {
            kill_self();
        }
        if random.u32(..4) == 0 {
            std::thread::sleep(Duration::from_micros(random.u64(..300)));
        }
    }
    if dies {
        kill_self();
    }
    producer.close().unwrap();
}

/// What has come of a stream.
#[derive(Default)]
struct Received {
    bytes: u64,
    deaths: u64,
    is_whole: bool,
}

/// Reads what there is of a member. Returns `false` at the end.
fn serve(consumer: &mut Consumer, seed: u64, received: &mut Received) -> bool {
    let mut bytes = [0; 5000];
    match consumer.try_read(&mut bytes) {
        Ok(0) => {
            assert!(matches!(consumer.next_stream(), Ok(true)));
            received.is_whole = true;
            return false;
        }
        Ok(len) => {
            for &byte in &bytes[..len] {
                assert_eq!(
                    byte,
                    byte_at(seed, received.bytes),
                    "byte {}",
                    received.bytes
                );
                received.bytes += 1;
            }
        }
        Err(TryReadError::Empty) => {}
        Err(TryReadError::Broken(Broken::Died { .. })) => received.deaths += 1,
        Err(error) => panic!("{error}"),
    }
    true
}

/// Runs the producers, and restarts the dead, in a process of its own.
fn supervise(paths: &[TempPath], seed: u64) {
    let mut lives = [0; PRODUCERS];
    let start =
        |number: usize, life| Fork::new(|| produce(&paths[number], seed + number as u64, life));
    let mut running: Vec<_> = (0..PRODUCERS)
        .map(|number| Some(start(number, 0)))
        .collect();
    let mut random = Rng::with_seed(seed);
    until(|| {
        for (number, producer) in running.iter_mut().enumerate() {
            if producer.as_mut().is_none_or(Fork::is_running) {
                if producer.is_some() && lives[number] < DEATHS && random.u32(..30) == 0 {
                    // In the middle of whatever it does.
                    producer.as_ref().unwrap().kill();
                }
                continue;
            }
            let end = producer.as_mut().unwrap().wait();
            *producer = match end {
                End::Signal(libc::SIGKILL) => {
                    lives[number] += 1;
                    Some(start(number, lives[number]))
                }
                end => {
                    assert_eq!(end, End::Exit(0));
                    None
                }
            };
        }
        running.iter().all(Option::is_none)
    });
}

/// Collects by `wait`, which gives the key of the next member.
fn collects(
    mut wait: impl FnMut(&mut WaitSet) -> Option<usize>,
    mut begin: impl FnMut(&mut WaitSet),
) {
    let paths: Vec<TempPath> = (0..PRODUCERS).map(|_| TempPath::new()).collect();
    let seed = unique() >> 1;
    let open = |path: &TempPath| options().open_consumer(path).unwrap();
    let mut supervisor = Fork::new(|| supervise(&paths, seed));
    let mut set: WaitSet = paths.iter().map(open).collect();
    begin(&mut set);
    let mut received: Vec<Received> = (0..PRODUCERS).map(|_| Received::default()).collect();
    let start = Instant::now();
    while let Some(key) = wait(&mut set) {
        let goes_on = serve(&mut set[key], seed + key as u64, &mut received[key]);
        if !goes_on {
            assert!(matches!(
                set[key].next_stream(),
                Err(NextStreamError::NotEnded { available: 0 })
            ));
            set.remove(key);
        }
    }
    assert_eq!(supervisor.wait(), End::Exit(0));
    let deaths: u64 = received.iter().map(|one| one.deaths).sum();
    println!("{deaths} deaths returned in {:?}", start.elapsed());
    for one in received {
        assert!(one.is_whole && one.bytes == LEN, "{} bytes", one.bytes);
        assert!(one.deaths <= 3 * DEATHS, "{} deaths", one.deaths);
    }
}

#[test]
fn every_byte_of_producers_that_are_killed_arrives() {
    alone(
        "collector::every_byte_of_producers_that_are_killed_arrives",
        || {
            collects(|set| set.wait().unwrap(), |_| ());
        },
    );
}

#[test]
fn every_byte_of_producers_that_are_killed_arrives_through_the_descriptor() {
    alone(
        "collector::every_byte_of_producers_that_are_killed_arrives_through_the_descriptor",
        || {
            let descriptor = std::cell::RefCell::new(None);
            collects(
                |set| {
                    while !set.is_empty() {
                        if let Some(key) = set.try_wait().unwrap() {
                            assert!(is_readable_within(descriptor.borrow().as_ref().unwrap(), 0));
                            return Some(key);
                        }
                        until_readable(descriptor.borrow().as_ref().unwrap());
                    }
                    None
                },
                |set| drop(descriptor.replace(Some(set.poll_fd().unwrap()))),
            );
        },
    );
}
