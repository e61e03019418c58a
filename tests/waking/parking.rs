//! No wake is lost. Two sides park and wake each other as often as they can, on one
//! processor and on two, after random short spins. A sleep lasts 60 seconds, so that
//! nothing makes up for a lost wake.
//!
//! `SHMPIPE_PARKS=100000000` sets the number of wakes in all, 200,000 by default. `--
//! --nocapture` shows the figures.
#![cfg(feature = "__failpoints")] // for the length of a slice
#![allow(unsafe_code)] // mmap, sched_setaffinity

mod closing;
mod full;
mod to_and_fro;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use shmpipe::{Options, WaitPolicy};

use crate::common::pin::{allowed_cpus, pin_to};
use crate::common::random::{any, dawdle};
use crate::common::{End, Fork, asked_for};

/// Nobody looks by itself before this has passed.
const SLICE: Duration = Duration::from_secs(60);

/// No progress for so long is a wake that went missing.
const STUCK: Duration = Duration::from_secs(30);

const CAPACITY: usize = 4096;

/// Wakes in all.
fn parks() -> u64 {
    asked_for("SHMPIPE_PARKS").unwrap_or(200_000)
}

/// A moment, so that the other side is met at every point of its way to
/// sleep.
fn pause(random: &mut Rng) {
    let most = any(random, &[1, 30, 300, 1_000]);
    dawdle(random, most);
}

/// Mostly parks at once.
fn policy(random: &mut Rng) -> WaitPolicy {
    match random.u64(..4) {
        0 => WaitPolicy::SpinThenPark(Duration::from_nanos(random.u64(..5_000))),
        _ => WaitPolicy::Park,
    }
}

/// What the two sides have done, seen by the process that watches them.
struct Tally(*const AtomicU64);

impl Tally {
    const LEN: usize = 4096;
    const WORDS: usize = 4;

    fn new() -> Tally {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), Self::LEN, access, kind, -1, 0) };
        assert_ne!(page, libc::MAP_FAILED);
        Tally(page.cast())
    }

    fn word(&self, number: usize) -> &AtomicU64 {
        assert!(number < Self::WORDS);
        let word = self.0.wrapping_add(number);
        // SAFETY: a word of the page, which is zeroed and mapped while `self`
        // lives; a fork shares it.
        unsafe { &*word }
    }

    /// Side `number` has woken its peer so often. Stands for itself.
    fn set(&self, number: usize, count: u64) {
        self.word(number).store(count, Ordering::Relaxed);
    }

    fn sum(&self) -> u64 {
        let load = |number| self.word(number).load(Ordering::Relaxed);
        (0..Self::WORDS).map(load).sum()
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and no reference to it is left.
        unsafe { libc::munmap(self.0.cast_mut().cast(), Self::LEN) };
    }
}

/// Where the sides run: on one processor, on two, or where the kernel likes;
/// each for a while.
struct Places {
    all: Vec<usize>,
    side: usize,
    last: u64,
}

impl Places {
    fn new(side: usize) -> Places {
        let (all, last) = (allowed_cpus(), u64::MAX);
        Places { all, side, last }
    }

    fn at(&mut self, round: u64) {
        let phase = round >> 11;
        if phase == self.last {
            return;
        }
        self.last = phase;
        let len = self.all.len();
        let one = |number: usize| &self.all[number % len..=number % len];
        // A refusal changes nothing.
        let _ = match phase % 3 {
            0 => pin_to(one(phase as usize / 3)),
            1 => pin_to(one(phase as usize / 3 + self.side)),
            _ => pin_to(&self.all),
        };
    }
}

fn options() -> Options {
    let mut options = Options::new();
    options.capacity(CAPACITY).wait_policy(WaitPolicy::Park);
    options
}

/// Watches two children until both are done, and panics when nothing moves.
fn watch(what: &str, tally: &Tally, mut sides: [Fork; 2]) {
    let start = Instant::now();
    let (mut seen, mut since) = (0, start);
    while sides.iter_mut().any(|side| side.is_running()) {
        let now = tally.sum();
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
        assert!(
            since.elapsed() < STUCK,
            "{what}: a wake was lost after {now}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    for side in &mut sides {
        assert_eq!(side.wait(), End::Exit(0), "{what}");
    }
    let took = start.elapsed();
    let each = took.as_secs_f64() * 1e6 / tally.sum().max(1) as f64;
    let count = tally.sum();
    println!("{what}: {count}, none lost, in {took:.1?}: {each:.1} us each");
}
