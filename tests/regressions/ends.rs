//! What a side is told of the end of the stream.

use std::io::{Read, Write};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use shmpipe::{CloseError, OpenError, Ring, TryReadError};

use crate::common::kill::options;
use crate::common::{TempPath, remove_unused};

/// Found in review: a reader that left acknowledged the last end there was,
/// not the one that it had been given.
#[test]
fn an_end_that_was_not_delivered_is_not_acknowledged() {
    let path = TempPath::new();
    let mut options = options(4096);
    options.persistent(true);
    let write = |bytes| {
        let mut producer = options.open_producer(&path).unwrap();
        producer.write_all(bytes).unwrap();
        producer.close().unwrap();
    };
    write(b"one");
    let mut consumer = options.open_consumer(&path).unwrap();
    let mut bytes = Vec::new();
    consumer.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"one");
    write(b"two");
    drop(consumer);
    let mut consumer = options.open_consumer(&path).unwrap();
    bytes.clear();
    consumer.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"two");
}

/// Found in review: whether anybody had come was asked before the role was
/// left, and who came in between read bytes that were said to be lost.
#[test]
fn close_does_not_deny_a_consumer_that_came() {
    const ROUNDS: u64 = 3000;
    // Two threads that share a processor take milliseconds for a round.
    const TIME: Duration = Duration::from_secs(10);
    let path = TempPath::new();
    let mut options = options(4096);
    options.wait_for_peer(false);
    let started = AtomicU64::new(0);
    let (joining, rings) = mpsc::channel::<Ring>();
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        let started = &started;
        scope.spawn(move || {
            for (ring, round) in rings.into_iter().zip(1..) {
                tell.send(None).unwrap();
                while started.load(Ordering::Acquire) < round {
                    std::hint::spin_loop();
                }
                let read = ring.into_consumer().ok().map(|mut consumer| {
                    let mut bytes = Vec::new();
                    consumer.read_to_end(&mut bytes).unwrap();
                    bytes
                });
                tell.send(Some(read)).unwrap();
            }
        });
        let joining = joining; // goes when this thread panics
        let start = Instant::now();
        let (mut came, mut rounds) = (0, 0);
        for round in (1..=ROUNDS).take_while(|_| start.elapsed() < TIME) {
            rounds = round;
            let mut producer = options.open_producer(&path).unwrap();
            producer.write_all(b"here").unwrap();
            let ring = options.attach(producer.id().unwrap()).unwrap();
            joining.send(ring).unwrap();
            assert_eq!(told.recv().unwrap(), None);
            started.store(round, Ordering::Release);
            for _ in 0..round % 64 {
                std::hint::spin_loop(); // so that now one is first, now the other
            }
            let closed = producer.close();
            match told.recv().unwrap().unwrap() {
                Some(bytes) => {
                    assert_eq!(bytes, b"here");
                    closed.unwrap();
                    came += 1;
                }
                None => assert!(matches!(closed, Err(CloseError::NeverCame { unread: 4 }))),
            }
        }
        println!("came in time in {came} of {rounds} rounds");
    });
}

/// Found by reading: a producer that was taken for a pair, and given back since
/// there was to be no pair, left the end of a stream that nobody wrote.
#[test]
fn a_pair_that_does_not_come_about_leaves_no_end() {
    let path = TempPath::new();
    let mut options = options(4096);
    options.persistent(true).wait_for_peer(false);
    let mut consumer = options.open_consumer(&path).unwrap();
    let id = consumer.id().unwrap();
    let ring = || options.attach(id).unwrap();
    let error = ring().split().unwrap_err();
    assert!(matches!(error, OpenError::RoleTaken { .. }), "{error}");
    consumer.abort(); // a role that is taken is refused before the program is looked for
    drop(consumer);
    let missing = &mut Command::new("/nonexistent/program");
    let error = ring().spawn_consumer(missing).unwrap_err();
    assert!(matches!(error, OpenError::Spawn { .. }), "{error}");
    let mut consumer = options.open_consumer(&path).unwrap();
    assert_eq!(consumer.try_read(&mut [0]), Err(TryReadError::Empty));
    options
        .open_producer(&path)
        .unwrap()
        .write_all(b"the first stream")
        .unwrap();
    let mut text = String::new();
    consumer.read_to_string(&mut text).unwrap();
    assert_eq!(text, "the first stream");
    drop(consumer);
    remove_unused(|| options.remove(&path));
}
