//! Transfers with each kind of descriptor.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::net::UnixStream;

use super::{CAPACITY, check_file, file_of, nameless, split, split_at};
use crate::common::{End, Fork, alone, options, stream};

#[test]
fn a_file_goes_through_a_ring_into_a_file() {
    let len = 100_003;
    for most in [1000, CAPACITY - 1, CAPACITY, usize::MAX] {
        let (mut producer, mut consumer) = split_at(4001);
        let (input, output) = (file_of(1, len), nameless());
        loop {
            let filled = producer.fill_from(&input, most).unwrap();
            assert!(filled <= most.min(CAPACITY));
            if filled == 0 {
                break;
            }
            assert_eq!(consumer.available(), Ok(filled));
            let mut drained = 0;
            while drained < filled {
                drained += consumer.drain_to(&output, most / 2 + 1).unwrap();
            }
        }
        producer.close().unwrap();
        assert_eq!(consumer.drain_to(&output, most).unwrap(), 0);
        check_file(output, 1, len);
    }
}

#[test]
fn one_span_from_every_offset() {
    let (mut producer, mut consumer) = split();
    let (input, output) = (file_of(2, CAPACITY * 300), nameless());
    for position in 0..290 {
        // To another offset each time, across the wrap, in one call.
        assert_eq!(producer.fill_from(&input, 4001).unwrap(), 4001);
        assert_eq!(consumer.drain_to(&output, usize::MAX).unwrap(), 4001);
        assert_eq!(consumer.position(), (position + 1) * 4001);
    }
    check_file(output, 2, 290 * 4001);
}

#[test]
fn pipes_and_sockets_move_what_they_have() {
    let (mut producer, mut consumer) = split_at(4090);
    let (mut pipe_out, pipe_in) = io::pipe().unwrap();
    let (mut socket, other) = UnixStream::pair().unwrap();
    let sent = stream(3, 0, 3000);
    for part in sent.chunks(300) {
        (&pipe_in).write_all(part).unwrap();
        assert_eq!(producer.fill_from(&pipe_out, usize::MAX).unwrap(), 300);
        assert_eq!(consumer.drain_to(&other, usize::MAX).unwrap(), 300);
        let mut bytes = [0; 300];
        socket.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, part);

        socket.write_all(part).unwrap();
        assert_eq!(producer.fill_from(&other, 200).unwrap(), 200);
        assert_eq!(producer.fill_from(&other, 200).unwrap(), 100);
        assert_eq!(consumer.drain_to(&pipe_in, 299).unwrap(), 299);
        assert_eq!(consumer.drain_to(&pipe_in, 299).unwrap(), 1);
        pipe_out.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, part);
    }
    drop(pipe_in);
    drop(socket);
    assert_eq!(producer.fill_from(&pipe_out, usize::MAX).unwrap(), 0);
    assert_eq!(producer.fill_from(&other, usize::MAX).unwrap(), 0);
}

#[test]
fn devices_without_an_end_move_as_much_as_the_ring_takes() {
    let (mut producer, mut consumer) = split_at(1234);
    let zero = File::open("/dev/zero").unwrap();
    let null = OpenOptions::new().write(true).open("/dev/null").unwrap();
    for _ in 0..5 {
        assert_eq!(producer.fill_from(&zero, usize::MAX).unwrap(), CAPACITY);
        assert_eq!(producer.room(), Ok(0));
        let mut bytes = [9; 96];
        consumer.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, [0; 96]);
        assert_eq!(producer.fill_from(&zero, usize::MAX).unwrap(), 96);
        assert_eq!(consumer.drain_to(&null, usize::MAX).unwrap(), CAPACITY);
    }
}

#[test]
fn at_most_nothing_is_nothing() {
    let (mut producer, mut consumer) = split();
    let file = file_of(4, 10);
    let output = nameless();
    assert_eq!(consumer.drain_to(&output, 0).unwrap(), 0); // empty: does not wait
    assert_eq!(producer.fill_from(&file, 0).unwrap(), 0);
    producer.write_all(&[7; CAPACITY]).unwrap();
    assert_eq!(producer.fill_from(&file, 0).unwrap(), 0); // full: does not wait
    assert_eq!(consumer.drain_to(&output, 0).unwrap(), 0);
    assert_eq!((&file).stream_position().unwrap(), 0);
    let positions = (producer.position(), consumer.position());
    assert_eq!(positions, (CAPACITY as u64, 0));
    assert_eq!(producer.stats().sleeps + consumer.stats().sleeps, 0);
}

#[test]
fn a_fill_publishes_what_a_batch_held_back() {
    let (mut producer, mut consumer) = split();
    producer.set_batch(CAPACITY);
    producer.write_all(&stream(9, 0, 10)).unwrap();
    let mut input = file_of(9, 50);
    input.seek(SeekFrom::Start(10)).unwrap();
    assert_eq!(producer.fill_from(&input, 1000).unwrap(), 40);
    assert_eq!(consumer.available(), Ok(50));
    let output = nameless();
    assert_eq!(consumer.drain_to(&output, 1000).unwrap(), 50);
    check_file(output, 9, 50);
}

#[test]
fn a_large_file_goes_from_process_to_process() {
    alone(
        "transfer::kinds::a_large_file_goes_from_process_to_process",
        || {
            let len = 100_000_000;
            let (input, output) = (file_of(10, len), nameless());
            let ring = options().capacity(256 << 10).create_anonymous().unwrap();
            let other = options().attach(ring.id().unwrap()).unwrap();
            let mut child = Fork::new(move || {
                let mut producer = other.into_producer().unwrap();
                let mut sent = 0;
                loop {
                    match producer.fill_from(&input, usize::MAX).unwrap() {
                        0 => break,
                        filled => sent += filled,
                    }
                }
                assert_eq!(sent, len);
            });
            let mut consumer = ring.into_consumer().unwrap();
            let mut received = 0;
            loop {
                match consumer.drain_to(&output, usize::MAX).unwrap() {
                    0 => break,
                    drained => received += drained,
                }
            }
            assert_eq!(received, len);
            assert_eq!(child.wait(), End::Exit(0));
            check_file(output, 10, len);
        },
    );
}
