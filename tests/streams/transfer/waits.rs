//! Transfers that wait, and their deadlines.

use std::io::{self, ErrorKind, Read, Seek, Write};
use std::thread;
use std::time::{Duration, Instant};

use super::{CAPACITY, check_file, file_of, nameless, set_nonblocking, split};
use crate::common::{PATIENCE, check, once_asleep, stream};

/// That `moved` timed out, within the deadline or not long after.
#[track_caller]
fn assert_timed_out(moved: io::Result<usize>) {
    assert_eq!(moved.unwrap_err().kind(), ErrorKind::TimedOut);
}

#[test]
fn a_deadline_ends_the_wait_for_the_ring_and_for_the_file() {
    let (mut producer, mut consumer) = split();
    let (pipe_out, pipe_in) = io::pipe().unwrap();
    let start = Instant::now();
    let soon = start + Duration::from_millis(20);
    // Nothing in the pipe; nothing in the ring.
    assert_timed_out(producer.fill_from_deadline(&pipe_out, 100, soon));
    assert!(Instant::now() >= soon);
    assert_timed_out(consumer.drain_to_deadline(&pipe_in, 100, soon));
    // No room in the ring, whatever the file has.
    let (input, all) = (file_of(9, 100), stream(9, 0, CAPACITY));
    producer.write_all(&all).unwrap();
    assert_timed_out(producer.fill_from_deadline(&input, 100, soon));
    assert_eq!((&input).stream_position().unwrap(), 0);
    // No room in the pipe, which blocks: whatever it took is in it, in order.
    let mut moved = 0;
    let mut sent = CAPACITY;
    loop {
        match consumer.drain_to_deadline(&pipe_in, usize::MAX, soon) {
            Ok(len) => moved += len,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::TimedOut);
                break;
            }
        }
        let room = producer.room().unwrap();
        producer.write_all(&stream(9, sent as u64, room)).unwrap();
        sent += room;
    }
    assert!(start.elapsed() < PATIENCE);
    assert_eq!(consumer.position(), moved as u64);
    let mut read = vec![0; moved];
    (&pipe_out).read_exact(&mut read).unwrap();
    check(9, 0, &read);
}

#[test]
fn a_deadline_that_has_passed_moves_what_is_ready() {
    let (mut producer, mut consumer) = split();
    let passed = Instant::now();
    let (pipe_out, pipe_in) = io::pipe().unwrap();
    (&pipe_in).write_all(b"abc").unwrap();
    let filled = producer.fill_from_deadline(&pipe_out, 100, passed);
    assert_eq!(filled.unwrap(), 3);
    assert_eq!(consumer.drain_to_deadline(&pipe_in, 2, passed).unwrap(), 2);
    assert_eq!(consumer.drain_to_deadline(&pipe_in, 0, passed).unwrap(), 0);
    assert_eq!(
        producer.fill_from_deadline(&pipe_out, 0, passed).unwrap(),
        0
    );
    // More than a pipe is sure to take, to one that says so and to a file.
    producer.write_all(&stream(10, 0, CAPACITY - 1)).unwrap();
    set_nonblocking(&pipe_in);
    let drained = consumer.drain_to_deadline(&pipe_in, CAPACITY, passed);
    assert_eq!(drained.unwrap(), CAPACITY);
    producer.write_all(&stream(11, 0, CAPACITY)).unwrap();
    let output = nameless();
    let drained = consumer.drain_to_deadline(&output, CAPACITY, passed);
    assert_eq!(drained.unwrap(), CAPACITY);
    check_file(output, 11, CAPACITY);
    // The ends of both.
    drop(pipe_in);
    io::copy(&mut &pipe_out, &mut io::sink()).unwrap();
    let filled = producer.fill_from_deadline(&pipe_out, 100, passed);
    assert_eq!(filled.unwrap(), 0);
    producer.close().unwrap();
    let drained = consumer.drain_to_deadline(nameless(), 100, passed);
    assert_eq!(drained.unwrap(), 0);
}

#[test]
fn a_deadline_waits_for_what_comes_in_time() {
    let (mut producer, mut consumer) = split();
    let far = Instant::now() + PATIENCE;
    let (pipe_out, mut pipe_in) = io::pipe().unwrap();
    let (filled, ()) = once_asleep(
        || producer.fill_from_deadline(&pipe_out, 100, far),
        |_| pipe_in.write_all(b"late").unwrap(),
    );
    assert_eq!(filled.unwrap(), 4);
    set_nonblocking(&pipe_in);
    while pipe_in.write(&[7; 4096]).is_ok() {}
    let (drained, ()) = once_asleep(
        || consumer.drain_to_deadline(&pipe_in, 100, far),
        |_| (&pipe_out).read_exact(&mut [0; 8192]).unwrap(),
    );
    assert_eq!(drained.unwrap(), 4);
}

#[test]
fn both_wait_for_the_other_side() {
    let (mut producer, mut consumer) = split();
    let len = 200_000;
    let (input, output) = (file_of(8, len), nameless());
    let file = &output;
    thread::scope(|scope| {
        scope.spawn(
            move || {
                while producer.fill_from(&input, usize::MAX).unwrap() > 0 {}
            },
        );
        scope.spawn(move || while consumer.drain_to(file, 999).unwrap() > 0 {});
    });
    check_file(output, 8, len);
}
