//! Grants: room that is filled and then committed, bytes that are looked at
//! and then consumed. What each verb shows, refuses, and leaves as it was.

mod peers;
mod refusals;
mod visible;

use std::time::{Duration, Instant};

use shmpipe::{Consumer, Producer};

use crate::common::{options, page};

/// Bytes of the rings here, on pages of 4 KiB.
const CAPACITY: usize = 4096;

fn split() -> (Producer, Consumer) {
    let ring = options().capacity(CAPACITY).create_anonymous().unwrap();
    assert_eq!(ring.capacity(), CAPACITY.max(page()));
    ring.split().unwrap()
}

/// A ring whose producer and consumer stand at `position`.
fn split_at(position: usize) -> (Producer, Consumer) {
    let (mut producer, mut consumer) = split();
    producer.try_reserve(position).unwrap().commit_all();
    consumer.try_peek(position).unwrap().consume_all();
    (producer, consumer)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(20)
}
