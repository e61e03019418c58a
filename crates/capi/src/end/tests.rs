//! The limits of calls.

use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use ring::{Handover, Options};

use super::{End, FREE_LIMIT};
use crate::options::Timeout;

/// Regression: each read of the loop had the whole timeout, so a writer that went on byte by byte
/// prolonged the call until the buffer was full.
#[test]
fn a_writer_that_goes_on_does_not_prolong_read_full() {
    const LIMIT: Duration = Duration::from_millis(50);
    const BYTES: usize = 8000; // far more than a ring and what comes within the limit
    let mut options = Options::new();
    let (mut producer, consumer) = options.capacity(4096).pair().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..BYTES {
                if producer.write(b"x").is_err() {
                    return; // the reader has what it wants
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let mut end = End::from(consumer);
        let read = end.read_full(&mut [0; 2 * BYTES], Timeout::For(LIMIT));
        // At most a byte a millisecond, and after the limit one look at a full ring.
        let most = 4096 + LIMIT.as_millis() as usize + 1;
        assert!(read.unwrap() <= most);
    });
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
