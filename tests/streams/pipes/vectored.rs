//! Vectored reads and writes.

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{CAPACITY, split, split_with_room, tail_of};
use crate::common::{PATIENCE, check, once_asleep, stream, until};

#[test]
fn parts_are_published_together() {
    let (mut producer, mut consumer) = split();
    let bytes = stream(4, 0, 600);
    let parts: Vec<IoSlice<'_>> = bytes.chunks(7).map(IoSlice::new).collect();
    let looks = AtomicBool::new(false);
    thread::scope(|scope| {
        let far = Instant::now() + PATIENCE;
        let (consumer, looks) = (&mut consumer, &looks);
        let reading = scope.spawn(move || {
            // One look that sees anything sees everything.
            loop {
                match consumer.available().unwrap() {
                    0 => assert!(Instant::now() < far),
                    there => return there,
                }
                looks.store(true, Ordering::Relaxed);
            }
        });
        until(|| looks.load(Ordering::Relaxed));
        assert_eq!(producer.write_vectored(&parts).unwrap(), 600);
        assert_eq!(reading.join().unwrap(), 600);
    });
    let mut bytes = [0; 600];
    let mut parts: Vec<IoSliceMut<'_>> = bytes.chunks_mut(11).map(IoSliceMut::new).collect();
    assert_eq!(consumer.read_vectored(&mut parts).unwrap(), 600);
    check(4, 0, &bytes);
}

#[test]
fn parts_longer_than_the_room_are_written_in_part() {
    let (mut producer, mut consumer) = split_with_room(1000);
    let bytes = stream(5, 0, 1500);
    let parts = [
        IoSlice::new(&bytes[..0]),
        IoSlice::new(&bytes[..700]),
        IoSlice::new(&bytes[700..]),
    ];
    assert_eq!(producer.write_vectored(&parts).unwrap(), 1000);
    assert_eq!(tail_of(&consumer), producer.position());
    consumer.read_exact(&mut [0; CAPACITY - 1000]).unwrap();
    let mut read = [0; 1200];
    let (first, second) = read.split_at_mut(900);
    let mut parts = [IoSliceMut::new(first), IoSliceMut::new(second)];
    assert_eq!(consumer.read_vectored(&mut parts).unwrap(), 1000);
    check(5, 0, &read[..1000]);
    assert_eq!(read[1000..], [0; 200]);
}

#[test]
fn vectored_calls_wait_end_and_fail_as_the_others_do() {
    let (mut producer, mut consumer) = split();
    let limit = Some(Duration::from_millis(20));
    consumer.set_timeout(limit);
    producer.set_timeout(limit);
    let mut byte = [0];
    let mut parts = [IoSliceMut::new(&mut byte)];
    let error = consumer.read_vectored(&mut parts).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    producer.write_all(&[7; CAPACITY]).unwrap();
    let error = producer.write_vectored(&[IoSlice::new(b"x")]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    consumer.set_timeout(Some(PATIENCE));
    producer.set_timeout(Some(PATIENCE));
    let (written, ()) = once_asleep(
        || producer.write_vectored(&[IoSlice::new(b"x")]),
        |_| {
            consumer.read_exact(&mut [0; CAPACITY]).unwrap();
            assert_eq!(consumer.read_vectored(&mut parts).unwrap(), 1);
        },
    );
    assert_eq!(written.unwrap(), 1);
    producer.abort();
    let error = consumer.read_vectored(&mut parts).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    let error = producer.write_vectored(&[IoSlice::new(b"x")]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected);

    let (mut producer, mut consumer) = split();
    producer.close().unwrap();
    assert_eq!(consumer.read_vectored(&mut parts).unwrap(), 0);
    let (mut producer, consumer) = split();
    drop(consumer);
    let error = producer.write_vectored(&[IoSlice::new(b"x")]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}
