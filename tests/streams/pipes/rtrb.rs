//! What the test suite of `rtrb` checks: partial reads and writes, and chunks.
#![allow(unsafe_code)] // slices of grants

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};

use shmpipe::{PeekError, ReserveError, TryReadError, TryWriteError};

use super::{CAPACITY, split, split_with_room};
use crate::common::{check, stream};

#[test]
fn short_writes_and_reads_say_how_much() {
    let (mut producer, mut consumer) = split_with_room(2);
    assert_eq!(producer.try_write(&[10, 11, 99]), Ok(2));
    consumer.read_exact(&mut [0; CAPACITY - 2]).unwrap();
    let mut bytes = [0; 1];
    assert_eq!(consumer.read(&mut bytes).unwrap(), 1);
    assert_eq!(bytes, [10]);
    let mut bytes = [20, 21];
    assert_eq!(consumer.read(&mut bytes).unwrap(), 1);
    assert_eq!(bytes, [11, 21]);
    for turn in 0..CAPACITY {
        let value = turn as u8;
        assert_eq!(producer.write(&[value, !value]).unwrap(), 2);
        assert_eq!(consumer.read(&mut bytes).unwrap(), 2);
        assert_eq!(bytes, [value, !value]);
    }
}

#[test]
fn nothing_to_move_is_zero() {
    let (mut producer, mut consumer) = split_with_room(1);
    assert_eq!(producer.write(&[]).unwrap(), 0);
    assert_eq!(consumer.read(&mut []).unwrap(), 0);
    let empty = [IoSlice::new(&[]), IoSlice::new(&[])];
    assert_eq!(producer.write_vectored(&empty).unwrap(), 0);
    assert_eq!(producer.write_vectored(&[]).unwrap(), 0);
    let (mut first, mut second) = ([], []);
    let mut empty = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
    assert_eq!(consumer.read_vectored(&mut empty).unwrap(), 0);
    assert_eq!(consumer.read_vectored(&mut []).unwrap(), 0);
}

#[test]
fn full_and_empty_would_block() {
    let (mut producer, mut consumer) = split();
    let kind = io::Error::from(consumer.try_read(&mut [0]).unwrap_err()).kind();
    assert_eq!(kind, ErrorKind::WouldBlock);
    assert_eq!(producer.try_write(&[1; CAPACITY]), Ok(CAPACITY));
    let kind = io::Error::from(producer.try_write(&[1]).unwrap_err()).kind();
    assert_eq!(kind, ErrorKind::WouldBlock);
}

#[test]
fn partial_slices_in_turns() {
    let (mut producer, mut consumer) = split_with_room(8);
    consumer.read_exact(&mut [0; CAPACITY - 8]).unwrap();
    producer.write_all(&[1, 2, 3]).unwrap();
    producer.write_all(&[4, 5]).unwrap();
    let mut bytes = [0; 2 * CAPACITY];
    assert_eq!(consumer.try_read(&mut bytes), Ok(5));
    assert_eq!(bytes[..6], [1, 2, 3, 4, 5, 0]);
    let filling = stream(1, 0, CAPACITY + 3);
    assert_eq!(producer.try_write(&filling), Ok(CAPACITY));
    assert_eq!(
        producer.try_write(&filling[CAPACITY..]),
        Err(TryWriteError::Full)
    );
    assert_eq!(consumer.try_read(&mut bytes[..3]), Ok(3));
    assert_eq!(producer.try_write(&filling[CAPACITY..]), Ok(3));
    assert_eq!(consumer.try_read(&mut bytes[3..]), Ok(CAPACITY));
    check(1, 0, &bytes[..CAPACITY + 3]);
    assert_eq!(consumer.try_read(&mut bytes), Err(TryReadError::Empty));
}

#[test]
fn a_chunk_may_be_used_in_part() {
    let (mut producer, mut consumer) = split();
    let mut chunk = producer.try_reserve(3).unwrap();
    chunk.write_at(&[10, 11], 0);
    chunk.commit(2);
    assert_eq!(consumer.available(), Ok(2));
    consumer.try_peek(2).unwrap().consume(1);
    assert_eq!(consumer.available(), Ok(1));
    let mut chunk = producer.try_reserve_up_to(usize::MAX).unwrap();
    assert_eq!(chunk.len(), CAPACITY - 1);
    chunk.write_at(&[20, 21], 0);
    chunk.commit(2);
    let chunk = consumer.try_peek_up_to(usize::MAX).unwrap();
    let mut bytes = [0; 3];
    assert_eq!(chunk.len(), 3);
    chunk.read_at(&mut bytes, 0);
    chunk.consume_all();
    assert_eq!(bytes, [11, 20, 21]);
}

#[test]
fn chunks_of_nothing_and_of_too_much() {
    let (mut producer, mut consumer) = split_with_room(0);
    assert_eq!(producer.try_reserve(0).unwrap().len(), 0);
    assert_eq!(
        producer.try_reserve(1).unwrap_err(),
        ReserveError::Full { wanted: 1, room: 0 }
    );
    consumer.read_exact(&mut [0; CAPACITY]).unwrap();
    assert_eq!(consumer.try_peek(0).unwrap().len(), 0);
    assert_eq!(
        consumer.try_peek(1).unwrap_err(),
        PeekError::Empty {
            wanted: 1,
            available: 0
        }
    );
}

#[test]
fn a_chunk_of_one_byte() {
    let (mut producer, mut consumer) = split_with_room(1);
    let mut chunk = producer.try_reserve(1).unwrap();
    // SAFETY: the peer is this thread, which touches nothing meanwhile.
    let room = unsafe { chunk.as_mut_slice() };
    room[0] = 2;
    room[0] *= 2;
    chunk.commit_all();
    consumer.read_exact(&mut [0; CAPACITY - 1]).unwrap();
    let chunk = consumer.try_peek(1).unwrap();
    // SAFETY: as above.
    assert_eq!(unsafe { chunk.as_slice() }, [4]);
    chunk.consume_all();
    assert_eq!(consumer.available(), Ok(0));
}

#[test]
fn a_chunk_that_is_dropped_is_not_written() {
    let (mut producer, mut consumer) = split();
    let mut chunk = producer.try_reserve(3).unwrap();
    chunk.write_at(b"abc", 0);
    chunk.commit(1);
    consumer.try_peek(1).unwrap().consume_all();
    let mut chunk = producer.try_reserve(3).unwrap();
    chunk.write_at(b"def", 0);
    drop(chunk);
    drop(producer);
    assert_eq!(consumer.try_read(&mut [0; 9]), Ok(0));
}

#[test]
fn chunks_and_their_errors_can_be_shown() {
    let (mut producer, mut consumer) = split();
    let shown = format!("{:?}", producer.try_reserve(5).unwrap());
    assert!(shown.starts_with("WriteGrant { len: 5"), "{shown}");
    producer.write_all(b"abc").unwrap();
    let shown = format!("{:?}", consumer.try_peek(2).unwrap());
    assert!(shown.starts_with("ReadGrant { len: 2"), "{shown}");
    let error = consumer.try_peek(100).unwrap_err();
    assert_eq!(format!("{error:?}"), "Empty { wanted: 100, available: 3 }");
    let short = "100 bytes to read were wanted, and 3 are there: the producer has written no more";
    assert_eq!(error.to_string(), short);
    let error = producer.try_reserve(CAPACITY).unwrap_err();
    let short = "room for 4096 bytes was wanted, and there is room for 4093: \
                 the consumer has released no more";
    assert_eq!(error.to_string(), short);
}
