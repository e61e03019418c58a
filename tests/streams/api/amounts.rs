//! How much each call moves, and how large a ring is.

use std::io::{Read, Write};

use shmpipe::sysv;
use shmpipe::{Consumer, Producer, TryReadError, TryWriteError};

use super::{CAPACITY, split};
use crate::common::{check, options, stream};

#[test]
fn try_write_takes_what_fits_and_says_how_much() {
    let (mut producer, mut consumer) = split();
    assert_eq!(producer.try_write(&[1; 4000]), Ok(4000));
    assert_eq!(producer.try_write(&[2; 4000]), Ok(96));
    assert_eq!(producer.try_write(&[3]), Err(TryWriteError::Full));
    assert_eq!(consumer.try_read(&mut [0; 10]), Ok(10));
    assert_eq!(producer.try_write(&[4; 11]), Ok(10));
    assert_eq!(producer.try_write(&[5]), Err(TryWriteError::Full));
}

#[test]
fn try_read_gives_what_is_there_and_says_how_much() {
    let (mut producer, mut consumer) = split();
    let mut bytes = [0; 8];
    assert_eq!(consumer.try_read(&mut bytes), Err(TryReadError::Empty));
    producer.try_write(b"abcde").unwrap();
    assert_eq!(consumer.try_read(&mut bytes[..2]), Ok(2));
    assert_eq!(consumer.try_read(&mut bytes[2..]), Ok(3));
    assert_eq!(&bytes, b"abcde\0\0\0");
    assert_eq!(consumer.try_read(&mut bytes), Err(TryReadError::Empty));
}

#[test]
fn a_ring_is_filled_to_the_last_byte() {
    let (mut producer, mut consumer) = split();
    let full = stream(1, 0, CAPACITY);
    for _ in 0..3 {
        assert_eq!(producer.try_write(&full), Ok(CAPACITY));
        assert_eq!(producer.try_write(&[0]), Err(TryWriteError::Full));
        let mut bytes = vec![0; CAPACITY];
        assert_eq!(consumer.try_read(&mut bytes), Ok(CAPACITY));
        assert_eq!(bytes, full);
        assert_eq!(consumer.try_read(&mut [0]), Err(TryReadError::Empty));
    }
}

#[test]
fn a_span_over_the_end_of_the_ring_is_one_read() {
    let (mut producer, mut consumer) = split();
    let mut bytes = vec![0; CAPACITY];
    for position in (0..200_000).step_by(1999) {
        assert_eq!(producer.position(), position);
        producer.try_write(&stream(2, position, 1999)).unwrap();
        assert_eq!(consumer.try_read(&mut bytes), Ok(1999));
        check(2, position, &bytes[..1999]);
    }
}

#[test]
fn a_large_try_write_fills_a_large_ring_at_once() {
    let ring = options().capacity(1 << 20).create_anonymous().unwrap();
    let (mut producer, mut consumer) = ring.split().unwrap();
    let bytes = stream(3, 0, (1 << 20) + 1);
    assert_eq!(producer.try_write(&bytes), Ok(1 << 20));
    let mut read = vec![0; 1 << 20];
    assert_eq!(consumer.try_read(&mut read), Ok(1 << 20));
    check(3, 0, &read);
}

#[test]
fn capacities_are_rounded_up_to_a_power_of_two_of_at_least_a_page() {
    let page = sysv::page_size().max(4096);
    let capacity = |asked| {
        options()
            .capacity(asked)
            .create_anonymous()
            .unwrap()
            .capacity()
    };
    assert_eq!(capacity(1), page);
    assert_eq!(capacity(page), page);
    assert_eq!(capacity(page + 1), 2 * page);
    assert_eq!(capacity(3 * page), 4 * page);
    let default = options().create_anonymous().unwrap();
    assert_eq!(default.capacity(), shmpipe::DEFAULT_CAPACITY);
    assert_eq!(shmpipe::DEFAULT_CAPACITY, 4 << 20);
}

#[test]
fn nothing_to_write_or_read_is_zero_and_changes_nothing() {
    let (mut producer, mut consumer) = split();
    let nothing = |producer: &mut Producer, consumer: &mut Consumer, position| {
        assert_eq!(producer.try_write(&[]), Ok(0));
        assert_eq!(producer.write(&[]).unwrap(), 0);
        assert_eq!(consumer.try_read(&mut []), Ok(0));
        assert_eq!(consumer.read(&mut []).unwrap(), 0);
        assert_eq!((producer.position(), consumer.position()), position);
        let stats = (producer.stats(), consumer.stats());
        assert_eq!(stats, Default::default(), "no system call");
    };
    nothing(&mut producer, &mut consumer, (0, 0)); // empty
    producer.try_write(&[1; CAPACITY]).unwrap();
    nothing(&mut producer, &mut consumer, (4096, 0)); // full
    consumer.close().unwrap();
    // The peer has left: still no bytes, so still no error.
    assert_eq!(producer.try_write(&[]), Ok(0));
    assert_eq!(producer.write(&[]).unwrap(), 0);

    let (mut producer, mut consumer) = split();
    producer.try_write(b"x").unwrap();
    producer.abort();
    assert_eq!(consumer.try_read(&mut []), Ok(0));
    assert_eq!(consumer.try_read(&mut [0; 2]), Ok(1));
    assert_eq!(consumer.try_read(&mut []), Ok(0)); // not the end of the stream
    assert!(consumer.try_read(&mut [0]).is_err());
}

#[test]
fn positions_count_the_bytes_since_the_ring_was_made() {
    let (mut producer, mut consumer) = split();
    assert_eq!((producer.position(), consumer.position()), (0, 0));
    for turn in 1..=20 {
        producer.write_all(&[0; 3000]).unwrap();
        assert_eq!(producer.position(), 3000 * turn);
        consumer.read_exact(&mut [0; 3000]).unwrap();
        assert_eq!(consumer.position(), 3000 * turn);
    }
}
