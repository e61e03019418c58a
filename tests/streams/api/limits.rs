//! Limits on waiting: timeouts and cancel flags.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use shmpipe::{Broken, WaitError};

use super::{CAPACITY, split};
use crate::common::{PATIENCE, check, once_asleep, options, stream};

#[test]
fn a_read_times_out_and_loses_nothing() {
    let (mut producer, mut consumer) = split();
    assert_eq!(consumer.timeout(), Some(PATIENCE));
    consumer.set_timeout(Some(Duration::from_millis(20)));
    let error = consumer.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    producer.write_all(b"abc").unwrap();
    let mut bytes = [0; 4];
    let error = consumer.read_exact(&mut bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!((&bytes, consumer.position()), (b"abc\0", 3));
    consumer.set_timeout(None);
    assert_eq!(consumer.timeout(), None);
    producer.write_all(b"d").unwrap();
    assert_eq!(consumer.read(&mut bytes).unwrap(), 1);
}

#[test]
fn a_write_times_out_says_how_much_and_loses_nothing() {
    let (mut producer, mut consumer) = split();
    producer.set_timeout(Some(Duration::from_millis(20)));
    let bytes = stream(5, 0, 5000);
    assert_eq!(producer.write(&bytes).unwrap(), CAPACITY);
    let error = producer.write(&bytes[CAPACITY..]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(producer.position(), CAPACITY as u64);
    consumer.read_exact(&mut [0; 1000]).unwrap();
    producer.write_all(&bytes[CAPACITY..]).unwrap();
    producer.close().unwrap();
    let mut rest = Vec::new();
    consumer.read_to_end(&mut rest).unwrap();
    assert_eq!(rest.len(), 4000);
    check(5, 1000, &rest);
}

#[track_caller]
fn assert_cancelled(error: &io::Error) {
    assert_eq!(WaitError::find(error), Some(&WaitError::Cancelled));
    assert_eq!(Broken::find(error), None, "it is not final");
    assert_eq!(error.kind(), ErrorKind::Other); // an `Interrupted` would be tried again
}

#[test]
fn a_cancel_flag_ends_waiting_but_not_the_stream() {
    let flag = Arc::new(AtomicBool::new(false));
    let mut options = options();
    options.capacity(CAPACITY).cancel_on(flag.clone());
    let (mut producer, mut consumer) = options.create_anonymous().unwrap().split().unwrap();
    let (read, ()) = once_asleep(
        || consumer.read(&mut [0]),
        |_| flag.store(true, Ordering::Relaxed),
    );
    assert_cancelled(&read.unwrap_err());
    // What does not wait goes on.
    assert_eq!(producer.write(&[1; CAPACITY + 1]).unwrap(), CAPACITY);
    assert_cancelled(&producer.write(&[1]).unwrap_err());
    assert_eq!(consumer.read(&mut [0; CAPACITY]).unwrap(), CAPACITY);
    flag.store(false, Ordering::Relaxed);
    producer.write_all(b"x").unwrap();
    assert_eq!(consumer.read(&mut [0]).unwrap(), 1);
}
