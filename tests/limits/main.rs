//! Every limit holds: opening, each wait for the peer, whole calls, and
//! descriptors that others use. No test here asserts how long something takes,
//! but that it ends, and that it gives the right answer in the time it has.
#![cfg(feature = "__failpoints")] // for the harness of the kill tests
#![allow(unsafe_code)] // terminals, and system calls that are slowed down

mod calls;
#[path = "../common/mod.rs"]
mod common;
mod descriptors;
mod leftovers;
mod points;
mod prefault;
mod zero;

use std::time::{Duration, Instant};

use shmpipe::{Consumer, Options, Producer, WaitPolicy};

const CAPACITY: usize = 4096;

/// Each spins, or sleeps, in its own way before it looks again.
const POLICIES: [WaitPolicy; 4] = [
    WaitPolicy::Spin,
    WaitPolicy::SpinThenPark(Duration::from_millis(1)),
    WaitPolicy::Adaptive,
    WaitPolicy::Park,
];

fn small() -> Options {
    let mut options = common::options();
    options.capacity(CAPACITY);
    options
}

fn split(policy: WaitPolicy) -> (Producer, Consumer) {
    let mut options = small();
    options.wait_policy(policy);
    options.create_anonymous().unwrap().split().unwrap()
}

fn in_millis(millis: u64) -> Instant {
    Instant::now() + Duration::from_millis(millis)
}

/// A deadline that has passed.
fn passed() -> Instant {
    Instant::now()
}
