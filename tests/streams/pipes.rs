//! The handles as `std`'s readers and writers, and as users of other channels
//! expect them.
//!
//! What the test suites of two of those check, and where it is checked here:
//!
//! | suite, test | behaviour | here |
//! |---|---|---|
//! | rtrb, `write_and_read` | a write longer than the room is a short one; a read gives what is there and leaves the rest of the buffer; bytes cross the wrap in order | `short_writes_and_reads_say_how_much` |
//! | rtrb, `write_empty_buf`, `read_empty_buf` | nothing to move is 0 | `nothing_to_move_is_zero` |
//! | rtrb, `write_error`, `read_error` | full and empty are `WouldBlock` | `full_and_empty_would_block` |
//! | rtrb, `push_pop_partial_slice` | partial slices in turns, filled to the last byte | `partial_slices_in_turns` |
//! | rtrb chunks, `iterators` | fewer filled than reserved, fewer consumed than there are; the rest comes next | `a_chunk_may_be_used_in_part` |
//! | rtrb chunks, `zero_capacity` | a chunk of nothing, and too large a one says how much there is | `chunks_of_nothing_and_of_too_much` |
//! | rtrb chunks, `single_capacity` | the least that there is, filled in place | `a_chunk_of_one_byte` |
//! | rtrb chunks, `drop_write_chunk` | what was not committed is gone, what was committed and not read goes with the ring | `a_chunk_that_is_dropped_is_not_written` |
//! | rtrb chunks, `trait_impls` | chunks and errors can be shown, with numbers | `chunks_and_their_errors_can_be_shown` |
//! | `std::io::pipe`, `pipe_creation_clone_and_rw` | what was written is read after the writer has gone, then comes the end; handles cannot be cloned here, but moved | `a_pipe_is_read_to_its_end_after_the_writer_has_gone` |
#![allow(unsafe_code)] // slices of grants

use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{
    End, Fork, PATIENCE, alone, bytes_of, check, once_asleep, options, stream, until,
};
use shmpipe::{
    Broken, Consumer, PeekError, Producer, ReserveError, TryReadError, TryWriteError, pair,
};

const CAPACITY: usize = 4096;

fn split() -> (Producer, Consumer) {
    crate::common::split(CAPACITY)
}

/// A ring with `room` bytes of room, which a consumer of what is there would
/// have to cross the wrap for.
fn split_with_room(room: usize) -> (Producer, Consumer) {
    let (mut producer, mut consumer) = split();
    let capacity = producer.capacity();
    producer.write_all(&vec![0; capacity - room]).unwrap();
    consumer.read_exact(&mut vec![0; capacity - room]).unwrap();
    producer.write_all(&vec![0; capacity - room]).unwrap();
    (producer, consumer)
}

/// The tail that the segment shows.
fn tail_of(consumer: &Consumer) -> u64 {
    let bytes = bytes_of(consumer.id().unwrap());
    u64::from_ne_bytes(bytes[256..264].try_into().unwrap()) // see tests/memory/layout.rs
}

// ---- As with rtrb ----

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

// ---- As with a pipe of std's ----

#[test]
fn a_pipe_is_read_to_its_end_after_the_writer_has_gone() {
    let (producer, consumer) = pair().unwrap();
    let writing = thread::spawn(move || {
        let mut moved = producer;
        moved.write_all(b"12345").unwrap();
    });
    writing.join().unwrap();
    let mut moved = consumer;
    let mut text = String::new();
    moved.read_to_string(&mut text).unwrap();
    assert_eq!(text, "12345");
    assert_eq!(moved.read_to_string(&mut text).unwrap(), 0); // still the end
}

#[test]
fn a_pipe_between_parent_and_child() {
    alone("pipes::a_pipe_between_parent_and_child", || {
        let ring = options().capacity(CAPACITY).create_anonymous().unwrap();
        let other = options().attach(ring.id().unwrap()).unwrap();
        let mut child = Fork::new(move || {
            let mut producer = other.into_producer().unwrap();
            for line in 0..2000 {
                writeln!(producer, "line {line}").unwrap();
            }
        });
        let consumer = ring.into_consumer().unwrap();
        let lines = BufReader::new(consumer).lines();
        let mut count = 0;
        for (wanted, line) in (0..).zip(lines) {
            assert_eq!(line.unwrap(), format!("line {wanted}"));
            count += 1;
        }
        assert_eq!(count, 2000);
        assert_eq!(child.wait(), End::Exit(0));
    });
}

// ---- The tools of std, and one on top of it ----

#[test]
fn read_exact_waits_for_all_of_it_and_says_when_it_cannot_come() {
    let (mut producer, mut consumer) = split();
    let mut bytes = vec![0; 10_000];
    thread::scope(|scope| {
        scope.spawn(|| {
            for part in stream(2, 0, 10_005).chunks(777) {
                producer.write_all(part).unwrap();
            }
        });
        consumer.read_exact(&mut bytes).unwrap();
    });
    check(2, 0, &bytes);
    producer.close().unwrap();
    let error = consumer.read_exact(&mut [0; 6]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn io_copy_joins_two_rings() {
    let (mut first, mut between) = split();
    let (mut onward, mut last) = split();
    let len = 300_000;
    thread::scope(|scope| {
        scope.spawn(move || {
            first.write_all(&stream(3, 0, len)).unwrap();
            first.close().unwrap();
        });
        scope.spawn(move || {
            assert_eq!(io::copy(&mut between, &mut onward).unwrap(), len as u64);
        });
        let mut bytes = Vec::new();
        assert_eq!(last.read_to_end(&mut bytes).unwrap(), len);
        check(3, 0, &bytes);
    });
}

#[test]
fn by_ref_take_and_chain_share_one_stream() {
    let (mut producer, mut consumer) = split();
    producer.write_all(b"head:bodytail").unwrap();
    drop(producer);
    let mut text = String::new();
    let mut head = consumer.by_ref().take(5);
    head.read_to_string(&mut text).unwrap();
    assert_eq!(text, "head:");
    text.clear();
    consumer.by_ref().take(4).read_to_string(&mut text).unwrap();
    assert_eq!(text, "body");
    text.clear();
    let mut chained = b"<".chain(consumer).chain(&b">"[..]);
    chained.read_to_string(&mut text).unwrap();
    assert_eq!(text, "<tail>");
}

#[test]
fn buffered_readers_and_writers() {
    let (producer, consumer) = split();
    let mut reader = BufReader::with_capacity(64, consumer);
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut writer = BufWriter::with_capacity(100, producer);
            for number in 0..3000 {
                write!(writer, "{number};").unwrap();
            }
            writer.into_inner().unwrap().close().unwrap();
        });
        let mut field = Vec::new();
        for number in 0..3000 {
            field.clear();
            reader.read_until(b';', &mut field).unwrap();
            assert_eq!(field, format!("{number};").as_bytes());
        }
        assert!(reader.fill_buf().unwrap().is_empty());
    });
}

#[test]
fn a_stream_of_json_values_is_read_as_they_come() {
    let (mut producer, consumer) = split();
    let (answer, answered) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            for number in 0..200_u32 {
                writeln!(
                    producer,
                    r#"{{"number":{number},"text":"a\nb","list":[1,2]}}"#
                )
                .unwrap();
                // The value is out before the next is in.
                let answer: u32 = answered.recv_timeout(PATIENCE).unwrap();
                assert_eq!(answer, number);
            }
        });
        let reader = BufReader::new(consumer);
        let values = serde_json::Deserializer::from_reader(reader).into_iter();
        let mut count = 0;
        for value in values {
            let value: serde_json::Value = value.unwrap();
            assert_eq!(value["number"], count);
            assert_eq!(value["list"][1], 2);
            answer.send(count).unwrap();
            count += 1;
        }
        assert_eq!(count, 200);
    });
}

#[test]
fn a_stream_cut_short_is_an_error_for_the_tools_too() {
    let (mut producer, consumer) = split();
    producer.write_all(b"whole\nhalf a li").unwrap();
    producer.abort();
    let mut lines = BufReader::new(consumer).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "whole");
    let error = lines.next().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
}

// ---- Vectored ----

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

// ---- Flush and batches ----

#[test]
fn flush_publishes_and_waits_for_nobody() {
    let (mut producer, mut consumer) = split();
    producer.write_all(b"published").unwrap();
    assert_eq!(tail_of(&consumer), 9); // without a flush
    producer.flush().unwrap();
    producer.set_batch(100);
    producer.write_all(b"held").unwrap();
    assert_eq!(tail_of(&consumer), 9);
    producer.flush().unwrap();
    assert_eq!(tail_of(&consumer), 13);
    assert_eq!(consumer.available(), Ok(13)); // nobody has read it
    producer.write_all(b"held").unwrap();
    drop(consumer);
    // There is nobody to publish it to.
    let error = producer.flush().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[test]
fn many_tiny_writes_cost_one_publication() {
    let (mut producer, consumer) = split();
    producer.set_batch(100);
    let mut tails = vec![tail_of(&consumer)];
    for _ in 0..250 {
        producer.write_all(&[7]).unwrap();
        let tail = tail_of(&consumer);
        if tails.last() != Some(&tail) {
            tails.push(tail);
        }
    }
    assert_eq!(tails, [0, 100, 200]);
    let part = [7; 10];
    let parts = [IoSlice::new(&part); 6];
    assert_eq!(producer.write_vectored(&parts).unwrap(), 60);
    assert_eq!(tail_of(&consumer), 310);
    producer.write_all(&[7; 99]).unwrap();
    assert_eq!(tail_of(&consumer), 310);
    producer.set_batch(99);
    assert_eq!(tail_of(&consumer), 409);
}

#[test]
fn a_batch_longer_than_the_ring_is_published_when_the_ring_is_full() {
    let (mut producer, mut consumer) = split();
    producer.set_batch(usize::MAX);
    let len = 100_000;
    thread::scope(|scope| {
        // Waits for room again and again; what it holds back is the room.
        scope.spawn(move || {
            for part in stream(6, 0, len).chunks(999) {
                producer.write_all(part).unwrap();
            }
        });
        let mut bytes = Vec::new();
        consumer.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), len);
        check(6, 0, &bytes);
    });
}

#[test]
fn what_a_batch_holds_back_comes_with_every_way_to_finish() {
    let finish: [fn(Producer); 4] = [
        |mut producer| producer.close().unwrap(),
        drop,
        |mut producer| producer.flush().unwrap(),
        |mut producer| producer.set_batch(0),
    ];
    for finish in finish {
        let (mut producer, mut consumer) = split();
        producer.set_batch(CAPACITY);
        producer.write_all(b"held back").unwrap();
        assert_eq!(consumer.available(), Ok(0));
        finish(producer);
        let mut text = String::new();
        consumer.read_to_string(&mut text).unwrap();
        assert_eq!(text, "held back");
    }
}

#[test]
fn what_a_batch_holds_back_goes_with_an_abort() {
    let (mut producer, mut consumer) = split();
    producer.set_batch(CAPACITY);
    producer.write_all(b"published").unwrap();
    producer.flush().unwrap();
    producer.write_all(b"held back").unwrap();
    producer.abort();
    drop(producer);
    let mut bytes = Vec::new();
    let error = consumer.read_to_end(&mut bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    let inside = error.get_ref().unwrap().downcast_ref::<Broken>().unwrap();
    assert_eq!(inside, &Broken::ProducerAborted);
    assert_eq!(bytes, b"published");
}

#[test]
fn a_batch_is_an_option_too() {
    let mut options = options();
    let ring = options
        .capacity(CAPACITY)
        .batch(10)
        .create_anonymous()
        .unwrap();
    let (mut producer, mut consumer) = ring.split().unwrap();
    assert_eq!(producer.batch(), 10);
    producer.write_all(b"123456789").unwrap();
    assert_eq!(consumer.available(), Ok(0));
    producer.write_all(b"0").unwrap();
    assert_eq!(consumer.available(), Ok(10));
}
