//! The limits of calls.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ring::{Handover, Options};

use super::{End, FREE_LIMIT};
use crate::options::Timeout;

#[test]
fn a_writer_that_goes_on_does_not_prolong_read_full() {
    let (mut producer, consumer) = ring::pair().unwrap();
    let mut end = End::from(consumer);
    let over = Arc::new(AtomicBool::new(false));
    let until = Arc::clone(&over);
    // Commits without a copy, and so is faster than the copies of the reader.
    let writing = std::thread::spawn(move || {
        let start = Instant::now();
        // Relaxed: the flag publishes no other data.
        while !until.load(Ordering::Relaxed) && start.elapsed() < Duration::from_secs(30) {
            if let Ok(room) = producer.try_reserve_raw(1 << 16) {
                producer.commit_raw(room.len()).unwrap();
            }
        }
    });
    let mut bytes = vec![0; 1 << 30]; // no page is touched before bytes come
    for _ in 0..5 {
        let read = end.read_full(&mut bytes, Timeout::For(Duration::from_millis(20)));
        assert!(read.unwrap_or(0) < bytes.len());
    }
    over.store(true, Ordering::Relaxed); // publishes no other data
    writing.join().unwrap();
}

#[test]
fn freeing_does_not_wait_for_a_child_for_ever() {
    let mut producer = Options::new()
        .create_anonymous()
        .unwrap()
        .into_producer()
        .unwrap();
    producer.try_write(b"unread").unwrap();
    let mut end = End::from(producer);
    let mut child = Command::new("sleep").arg("60").spawn().unwrap(); // it takes no end
    let handover = end.give("", Handover::new()).unwrap();
    handover.given_to(child.id());
    let start = Instant::now();
    drop(end);
    let waited = start.elapsed();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(waited >= FREE_LIMIT); // the child had its time
    assert!(waited < Duration::from_secs(40), "{waited:?}");
}
