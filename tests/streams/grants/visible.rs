//! What is visible to the other side, and when; also in batches.
#![allow(unsafe_code)] // slices of grants

use std::io::{Read, Write};
use std::time::Instant;

use shmpipe::{ReserveError, TryReadError, TryWriteError};

use super::{CAPACITY, soon, split, split_at};
use crate::common::{check, page, stream};

#[test]
fn a_record_is_visible_when_it_is_committed_and_not_before() {
    let (mut producer, mut consumer) = split();
    let mut grant = producer.try_reserve(100).unwrap();
    assert_eq!(grant.len(), 100);
    grant.write_at(&stream(1, 50, 50), 50);
    grant.write_at(&stream(1, 0, 50), 0);
    assert_eq!(consumer.available(), Ok(0));
    assert_eq!(consumer.try_read(&mut [0]), Err(TryReadError::Empty));
    grant.commit(70);
    assert_eq!(producer.position(), 70);
    assert_eq!(consumer.available(), Ok(70));
    let mut bytes = [0; 100];
    assert_eq!(consumer.try_read(&mut bytes), Ok(70));
    check(1, 0, &bytes[..70]);
}

#[test]
fn a_write_grant_that_is_dropped_was_never_there() {
    let (mut producer, mut consumer) = split();
    let mut grant = producer.try_reserve(10).unwrap();
    grant.write_at(b"never read", 0);
    drop(grant);
    producer.try_reserve(10).unwrap().commit(0);
    assert_eq!(producer.position(), 0);
    assert_eq!(producer.room(), Ok(CAPACITY));
    assert_eq!(consumer.available(), Ok(0));
    producer.write_all(b"read").unwrap();
    let mut bytes = [0; 10];
    assert_eq!(consumer.try_read(&mut bytes), Ok(4));
    assert_eq!(&bytes[..4], b"read");
}

#[test]
fn a_read_grant_that_is_dropped_has_consumed_nothing() {
    let (mut producer, mut consumer) = split();
    producer.write_all(b"abc").unwrap();
    drop(consumer.try_peek(3).unwrap());
    consumer.try_peek(3).unwrap().consume(0);
    assert_eq!((consumer.position(), consumer.available()), (0, Ok(3)));
    consumer.try_peek(2).unwrap().consume_all();
    assert_eq!(consumer.position(), 2);
    let mut byte = [0];
    consumer.try_peek(1).unwrap().read_at(&mut byte, 0);
    assert_eq!(&byte, b"c");
}

#[test]
fn room_is_given_back_when_it_is_consumed_and_not_before() {
    let (mut producer, mut consumer) = split();
    producer.try_reserve(CAPACITY).unwrap().commit_all();
    let grant = consumer.try_peek(CAPACITY).unwrap();
    assert_eq!(producer.try_write(b"x"), Err(TryWriteError::Full));
    grant.consume(5);
    assert_eq!(producer.room(), Ok(5));
    assert_eq!(producer.try_reserve_up_to(10).unwrap().len(), 5);
}

#[test]
fn one_span_of_any_length_from_any_offset() {
    let capacity = CAPACITY.max(page());
    let (mut producer, mut consumer) = split();
    let mut seen = vec![0; capacity];
    // Odd, so that every offset of the ring comes up in turn.
    let step = 61;
    for turn in 0..capacity {
        let position = producer.position();
        // Lengths around the ends of the range and across all of it.
        let len = [1, capacity, capacity - 1, turn.max(1)][turn % 4];
        let mut grant = producer.try_reserve(len).unwrap();
        let start = grant.as_mut_ptr();
        grant.write_at(&stream(2, position, len), 0);
        grant.commit_all();

        let grant = consumer.try_peek(len).unwrap();
        assert!(!start.is_null() && !grant.as_ptr().is_null());
        grant.read_at(&mut seen[..len], 0);
        check(2, position, &seen[..len]);
        // The same bytes from the middle on.
        grant.read_at(&mut seen[..len - len / 2], len / 2);
        check(2, position + len as u64 / 2, &seen[..len - len / 2]);
        grant.consume_all();

        // To the next offset.
        let odd = (capacity + step - len) % capacity;
        producer.try_reserve(odd).unwrap().commit_all();
        consumer.try_peek(odd).unwrap().consume_all();
    }
}

#[test]
fn slices_and_pointers_show_the_same_bytes_as_the_copies() {
    for position in (1..CAPACITY).step_by(409) {
        let (mut producer, mut consumer) = split_at(position);
        let bytes = stream(3, 0, CAPACITY);
        let mut grant = producer.try_reserve(CAPACITY).unwrap();
        // SAFETY: the peer is this thread, which touches nothing meanwhile.
        let room = unsafe { grant.as_mut_slice() };
        assert_eq!(room.len(), CAPACITY);
        room.copy_from_slice(&bytes);
        let place = grant.as_mut_ptr();
        let last = place.wrapping_add(CAPACITY - 1);
        // SAFETY: the last byte of the grant, which is not shared meanwhile.
        unsafe { last.write(7) };
        grant.commit_all();

        let grant = consumer.try_peek(CAPACITY).unwrap();
        // SAFETY: the peer is this thread, which touches nothing meanwhile.
        let seen = unsafe { grant.as_slice() };
        assert_eq!(seen[..CAPACITY - 1], bytes[..CAPACITY - 1]);
        let last = grant.as_ptr().wrapping_add(CAPACITY - 1);
        // SAFETY: the last byte of the grant, which is not shared meanwhile.
        assert_eq!(unsafe { last.read() }, 7);
        grant.consume_all();
    }
}

#[test]
fn grants_of_no_bytes_change_nothing() {
    let (mut producer, mut consumer) = split();
    for full in [false, true] {
        if full {
            producer.try_reserve(CAPACITY).unwrap().commit_all();
        }
        let before = producer.position();
        let mut grant = producer.try_reserve(0).unwrap();
        grant.write_at(b"", 0);
        // SAFETY: no bytes.
        assert!(unsafe { grant.as_mut_slice() }.is_empty());
        grant.commit(0);
        producer.try_reserve_up_to(0).unwrap().commit_all();
        producer.reserve_deadline(0, soon()).unwrap().commit_all();
        let grant = consumer.try_peek(0).unwrap();
        grant.read_at(&mut [], 0);
        // SAFETY: no bytes.
        assert!(unsafe { grant.as_slice() }.is_empty());
        grant.consume(0);
        consumer.try_peek_up_to(0).unwrap().consume_all();
        consumer.peek_deadline(0, soon()).unwrap().consume_all();
        assert_eq!((producer.position(), consumer.position()), (before, 0));
    }
    producer.close().unwrap();
    consumer.try_peek_up_to(CAPACITY).unwrap().consume_all();
    consumer.try_peek(0).unwrap().consume_all(); // no bytes are there even at the end
    assert_eq!(producer.stats().sleeps + consumer.stats().sleeps, 0);
}

#[test]
fn a_batch_holds_grants_back_like_writes() {
    let (mut producer, mut consumer) = split();
    producer.set_batch(10);
    producer.write_all(b"held").unwrap();
    let mut grant = producer.try_reserve(4).unwrap();
    grant.write_at(b"back", 0);
    assert_eq!(consumer.available(), Ok(0));
    grant.commit_all();
    assert_eq!(consumer.available(), Ok(0));
    drop(producer.try_reserve(4).unwrap());
    assert_eq!(consumer.available(), Ok(0));
    // The batch is full.
    let mut grant = producer.reserve(2).unwrap();
    grant.write_at(b"++", 0);
    grant.commit_all();
    assert_eq!(consumer.available(), Ok(10));
    producer.try_reserve(4).unwrap().commit(1);
    producer.flush().unwrap();
    assert_eq!(consumer.available(), Ok(11));
    // An empty commit publishes nothing.
    producer.write_all(b"last").unwrap();
    producer.try_reserve(4).unwrap().commit(0);
    assert_eq!(consumer.available(), Ok(11));
    drop(producer);
    let mut text = String::new();
    consumer.read_to_string(&mut text).unwrap();
    assert_eq!(&text[..10], "heldback++");
    assert_eq!(&text[11..], "last");
}

#[test]
fn a_grant_without_room_publishes_what_a_batch_held_back() {
    for waits in [false, true] {
        let (mut producer, mut consumer) = split();
        producer.set_batch(usize::MAX);
        let capacity = producer.capacity();
        producer.try_reserve(10).unwrap().commit_all();
        assert_eq!(consumer.available(), Ok(0));
        // The consumer has to make room first, so it gets to see what there is.
        let error = if waits {
            producer.reserve_deadline(capacity, Instant::now())
        } else {
            producer.try_reserve(capacity)
        };
        let (wanted, room) = (capacity, capacity - 10);
        let expected = if waits {
            ReserveError::TimedOut { wanted, room }
        } else {
            ReserveError::Full { wanted, room }
        };
        assert_eq!(error.unwrap_err(), expected);
        assert_eq!(consumer.available(), Ok(10));
    }
}
