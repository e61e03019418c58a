//! A small ring, and a deadline soon.

use std::time::{Duration, Instant};

use shmpipe::{Consumer, Options, Producer};

use crate::common::options;

pub(crate) const CAPACITY: usize = 4096;

pub(crate) fn small() -> Options {
    let mut options = options();
    options.capacity(CAPACITY);
    options
}

pub(crate) fn split() -> (Producer, Consumer) {
    small().create_anonymous().unwrap().split().unwrap()
}

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_millis(20)
}
