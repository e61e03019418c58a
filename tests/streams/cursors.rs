//! Grants as streams, in place, and blocking: what their cursors move, and what they leave.
#![allow(unsafe_code)] // grants of a trusted peer

use std::io::{BufRead, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use crate::common::{
    End, Fork, PATIENCE, alone, broken, check, exit_now, kill_self, once_asleep, options, page,
    split, stream,
};
use shmpipe::{Broken, PeekError, ReserveError, Role};

#[test]
fn a_cursor_writes_up_to_the_end_of_its_grant() {
    let (mut producer, mut consumer) = split(page());
    let mut grant = producer.reserve(10).unwrap();
    grant.write_all(&stream(1, 0, 4)).unwrap();
    grant.write_all(&stream(1, 4, 3)).unwrap();
    assert_eq!((grant.written(), grant.len()), (7, 10));
    let error = grant.write_all(&stream(1, 7, 4)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WriteZero);
    assert_eq!(grant.written(), 10, "what fitted is written");
    grant.flush().unwrap();
    grant.commit_written();
    assert_eq!(consumer.available(), Ok(10));

    let mut grant = consumer.peek(10).unwrap();
    let mut bytes = Vec::new();
    grant.read_to_end(&mut bytes).unwrap();
    assert_eq!((bytes.len(), grant.bytes_read()), (10, 10));
    check(1, 0, &bytes);
    assert_eq!(grant.read(&mut [0]).unwrap(), 0);
    grant.consume_read();
    assert_eq!(consumer.available(), Ok(0));
}

#[test]
fn a_cursor_that_is_dropped_moves_nothing() {
    let (mut producer, mut consumer) = split(page());
    let mut grant = producer.reserve(10).unwrap();
    grant.write_all(b"never read").unwrap();
    drop(grant);
    assert_eq!(producer.position(), 0);
    // SAFETY: the peer is this thread.
    let mut room = unsafe { producer.reserve(10).unwrap().trusted() };
    room[..5].copy_from_slice(b"never");
    room.advance(5);
    drop(room);
    assert_eq!(consumer.available(), Ok(0));

    producer.write_all(b"read twice").unwrap();
    let mut bytes = [0; 10];
    consumer.peek(10).unwrap().read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"read twice");
    // SAFETY: the peer is this thread.
    let mut trusted = unsafe { consumer.peek(10).unwrap().trusted() };
    trusted.consume(10);
    drop(trusted);
    assert_eq!(consumer.available(), Ok(10));
}

#[test]
fn positioned_copies_do_not_move_a_cursor() {
    let (mut producer, mut consumer) = split(page());
    let mut grant = producer.reserve(6).unwrap();
    grant.write_all(b"....").unwrap();
    grant.write_at(b"ab", 0);
    grant.write_all(b"cd").unwrap();
    grant.commit_written();
    let mut grant = consumer.peek(6).unwrap();
    let mut bytes = [0; 2];
    grant.read_at(&mut bytes, 4);
    assert_eq!(&bytes, b"cd");
    grant.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"ab");
}

#[test]
fn a_trusted_grant_is_a_slice_of_the_rest() {
    let (mut producer, mut consumer) = split(page());
    // SAFETY: the peer is this thread.
    let mut room = unsafe { producer.reserve(12).unwrap().trusted() };
    assert_eq!(room.len(), 12);
    room.write_all(b"one\n").unwrap();
    room[..4].copy_from_slice(b"two\n");
    assert_eq!(&room[..4], b"two\n");
    room.advance(4);
    assert_eq!(room.len(), 4);
    room.commit_written();

    // SAFETY: the peer is this thread.
    let mut bytes = unsafe { consumer.peek_up_to(usize::MAX).unwrap().trusted() };
    assert_eq!(&*bytes, b"one\ntwo\n");
    let mut line = String::new();
    bytes.read_line(&mut line).unwrap();
    assert_eq!((line.as_str(), &*bytes), ("one\n", &b"two\n"[..]));
    bytes.consume_read();
    assert_eq!(consumer.available(), Ok(4));
}

#[test]
fn passing_more_than_there_is_panics_and_moves_nothing() {
    let (mut producer, mut consumer) = split(page());
    producer.write_all(b"abc").unwrap();
    let panics = |call: &mut dyn FnMut()| {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).is_err()
    };
    assert!(panics(&mut || {
        // SAFETY: the peer is this thread.
        unsafe { consumer.peek(3).unwrap().trusted() }.consume(4);
    }));
    assert!(panics(&mut || {
        // SAFETY: the peer is this thread.
        unsafe { producer.reserve(3).unwrap().trusted() }.advance(usize::MAX);
    }));
    assert_eq!((consumer.available(), producer.position()), (Ok(3), 3));
}

#[cfg(feature = "bytes")]
#[test]
fn the_traits_of_bytes_move_what_they_say() {
    use bytes::{Buf, BufMut};
    let (mut producer, mut consumer) = split(page());
    // SAFETY: the peer is this thread.
    let mut room = unsafe { producer.reserve(20).unwrap().trusted() };
    room.put_u32(7);
    room.put_slice(b"text");
    room.put_bytes(1, 2);
    assert_eq!(room.remaining_mut(), 10);
    room.commit_written();
    // SAFETY: the peer is this thread.
    let mut bytes = unsafe { consumer.peek_up_to(usize::MAX).unwrap().trusted() };
    assert_eq!(bytes.remaining(), 10);
    assert_eq!((bytes.get_u32(), bytes.chunk()), (7, &b"text\x01\x01"[..]));
    bytes.advance(4);
    bytes.consume_read();
    assert_eq!(consumer.available(), Ok(2));
}

#[test]
fn a_cursor_that_a_fork_copied_is_inert() {
    alone("cursors::a_cursor_that_a_fork_copied_is_inert", || {
        let (mut producer, mut consumer) = split(page());
        producer.write_all(b"abc").unwrap();
        let (mut room, mut bytes) = (producer.reserve(3).unwrap(), consumer.peek(3).unwrap());
        bytes.read_exact(&mut [0; 2]).unwrap();
        let mut child = Fork::new(|| {
            let error = room.write_all(b"bad").unwrap_err();
            assert_eq!(broken(&error), Broken::Inherited);
            room.commit_written();
            bytes.consume_read();
            exit_now(0);
        });
        assert_eq!(child.wait(), End::Exit(0));
        assert_eq!((producer.position(), consumer.available()), (3, Ok(3)));
    });
}

/// A process that is killed while it fills a grant has written nothing of it.
#[test]
fn a_cursor_of_a_killed_process_was_never_there() {
    alone(
        "cursors::a_cursor_of_a_killed_process_was_never_there",
        || {
            let ring = options().capacity(page()).create_anonymous().unwrap();
            let mut ring = Some(ring);
            let mut child = Fork::new(|| {
                let mut producer = ring.take().unwrap().into_producer().unwrap();
                producer.write_all(b"whole").unwrap();
                let mut grant = producer.reserve(100).unwrap();
                grant.write_all(b"half of a reco").unwrap();
                kill_self();
            });
            let mut consumer = ring.take().unwrap().into_consumer().unwrap();
            let mut bytes = Vec::new();
            let error = consumer.read_to_end(&mut bytes).unwrap_err();
            let died = Broken::Died {
                role: Role::Producer,
                pid: child.pid(),
            };
            assert_eq!((bytes.as_slice(), broken(&error)), (&b"whole"[..], died));
            child.wait();
        },
    );
}

/// Under a timeout, and for ever, a grant waits as long as it is told.
#[test]
fn a_grant_waits_under_a_timeout_and_for_ever() {
    let (mut producer, mut consumer) = split(page());
    let limit = Duration::from_millis(30);
    consumer.set_timeout(Some(limit));
    let start = Instant::now();
    let (wanted, available) = (1, 0);
    assert_eq!(
        consumer.peek(1).unwrap_err(),
        PeekError::TimedOut { wanted, available }
    );
    assert!(start.elapsed() >= limit);
    producer.reserve(page()).unwrap().commit_all();
    producer.set_timeout(Some(limit));
    let (wanted, room) = (1, 0);
    assert_eq!(
        producer.reserve(1).unwrap_err(),
        ReserveError::TimedOut { wanted, room }
    );
    assert!(start.elapsed() >= 2 * limit);

    producer.set_timeout(None);
    consumer.set_timeout(None);
    let consumed = |waiting: &crate::common::Waiting| {
        waiting.until_it_waits(); // still, after some slices
        consumer.peek(10).unwrap().consume_all();
        consumer
    };
    let (room, mut consumer) =
        once_asleep(|| producer.reserve(10).map(|grant| grant.len()), consumed);
    assert_eq!(room, Ok(10));
    let rest = page() - 10;
    consumer.peek(rest).unwrap().consume_all();
    let (len, ()) = once_asleep(
        || consumer.peek(5).map(|grant| grant.len()),
        |_| producer.reserve(5).unwrap().commit_all(),
    );
    assert_eq!(len, Ok(5));
    assert!(start.elapsed() < PATIENCE);
}
