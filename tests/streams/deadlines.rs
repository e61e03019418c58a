//! Limits on waiting, in every call that has one, and the ways to wait. No
//! test here asserts how long something takes, but that it ends.

mod ended;
mod passed;
mod policies;

use std::time::Duration;

use shmpipe::{PartialError, WaitError, WaitPolicy};

const POLICIES: [WaitPolicy; 6] = [
    WaitPolicy::Spin,
    WaitPolicy::SpinThenPark(Duration::ZERO),
    WaitPolicy::SpinThenPark(Duration::from_micros(30)),
    WaitPolicy::SpinThenPark(Duration::from_millis(1)),
    WaitPolicy::SpinThenPark(Duration::MAX),
    WaitPolicy::Park,
];

#[track_caller]
fn assert_stops<T: std::fmt::Debug>(
    result: Result<T, PartialError>,
    moved: usize,
    cause: WaitError,
) {
    let partial = result.unwrap_err();
    assert_eq!((partial.moved, partial.cause), (moved, cause));
}
