//! Counts that wrap, or were as long as they could be.

use std::io::{Read, Write};

use shmpipe::{Broken, NextStreamError, TryReadError};

use crate::common::offsets::{
    CLAIMS, MARKS_ACKNOWLEDGED, MARKS_MADE, SIGNALS, STATE, read, set_start,
};
use crate::common::{options, poke};
use crate::{Persistent, Told, assert_nothing_comes, assert_streams, room_for, take};

/// More than a generation in the life-cycle word can count.
const MANY: u32 = 65_536 + 3;

#[test]
fn a_consumer_outlasts_more_producers_than_a_generation_counts() {
    let memory = room_for(4096);
    let options = options();
    let mut consumer = memory.init(&options).unwrap().into_consumer().unwrap();
    for session in 0..MANY {
        let ring = memory.attach(&options).unwrap();
        let mut producer = ring.into_producer().unwrap();
        producer.write_all(&session.to_ne_bytes()).unwrap();
        if session % 3 == 0 {
            producer.abort();
        }
        drop(producer);
        let mut bytes = [0; 4];
        assert_eq!(consumer.try_read(&mut bytes), Ok(4));
        assert_eq!(u32::from_ne_bytes(bytes), session);
        let end = match session % 3 {
            0 => Err(TryReadError::Broken(Broken::ProducerAborted)),
            _ => Ok(0),
        };
        assert_eq!(consumer.try_read(&mut bytes), end, "session {session}");
        assert_eq!(consumer.next_stream(), Ok(true), "session {session}");
        assert_eq!(consumer.try_read(&mut bytes), Err(TryReadError::Empty));
    }
}

#[test]
fn a_producer_outlasts_more_consumers_than_a_generation_counts() {
    let memory = room_for(4096);
    let options = options();
    let mut producer = memory.init(&options).unwrap().into_producer().unwrap();
    for session in 0..MANY {
        let ring = memory.attach(&options).unwrap();
        let mut consumer = ring.into_consumer().unwrap();
        assert_eq!(producer.try_write(b"x"), Ok(1), "session {session}");
        assert_eq!(consumer.try_read(&mut [0; 2]), Ok(1));
        drop(consumer);
        let left = producer.try_write(b"y").unwrap_err();
        assert_eq!(left, Broken::ConsumerClosed.into(), "session {session}");
    }
}

#[test]
fn an_end_is_told_after_65536_claims_that_were_counted_meanwhile() {
    let ring = Persistent::new();
    let mut consumer = ring.consumer();
    ring.finish(b"one");
    assert_eq!(take(&mut consumer), (b"one".to_vec(), Told::Finished));
    assert!(consumer.next_stream().unwrap());
    let id = ring.path.segment().unwrap();
    // As if so many had come and gone.
    for by in [1_u64 << 16, 1 << 32, (1 << 56) - (1 << 32) - (1 << 16)] {
        let claims = SIGNALS[0] + CLAIMS;
        poke(id, claims, &read(id, claims).wrapping_add(by).to_ne_bytes());
        ring.finish(b"two");
        ring.abort(b"three");
        let streams: [(&[u8], _); 2] = [(b"two", Told::Finished), (b"three", Told::Aborted)];
        assert_streams(&mut consumer, &streams);
    }
}

#[test]
fn a_generation_that_wraps_is_the_next_one() {
    let ring = Persistent::new();
    drop((ring.producer(), ring.consumer()));
    let id = ring.path.segment().unwrap();
    let state = read(id, STATE) & 0xffff | 0xffff << 16 | 0xffff << 32;
    poke(id, STATE, &state.to_ne_bytes());
    let mut consumer = ring.consumer();
    let streams: [(&[u8], _); 1] = [(b"", Told::Finished)];
    assert_streams(&mut consumer, &streams);
    for _ in 0..3 {
        ring.finish(b"one");
        let streams: [(&[u8], _); 1] = [(b"one", Told::Finished)];
        assert_streams(&mut consumer, &streams);
        drop(consumer);
        consumer = ring.consumer();
    }
}

#[test]
fn marks_are_counted_past_the_end_of_the_count() {
    let ring = Persistent::new();
    drop(ring.consumer());
    let id = ring.path.segment().unwrap();
    for word in [MARKS_MADE, MARKS_ACKNOWLEDGED] {
        poke(id, word, &(u64::MAX - 1).to_ne_bytes());
    }
    set_start(id, u64::MAX - 4);
    let mut consumer = ring.consumer();
    assert_eq!(consumer.stream_position(), 0);
    let text: [&[u8]; 5] = [b"one", b"", b"three", b"four", b"five"];
    for bytes in text {
        ring.finish(bytes);
    }
    assert_streams(&mut consumer, &text.map(|bytes| (bytes, Told::Finished)));
    assert_eq!(read(id, MARKS_MADE), 3);
    assert_eq!(consumer.position(), 11);
}

#[test]
fn places_are_used_again_and_again() {
    let ring = Persistent::new();
    let mut consumer = ring.consumer();
    for lap in 0..40_u8 {
        for number in 0..13_u8 {
            ring.finish(&[lap, number][..usize::from(number % 3)]);
        }
        for number in 0..13_u8 {
            let bytes = [lap, number][..usize::from(number % 3)].to_vec();
            assert_eq!(take(&mut consumer), (bytes, Told::Finished));
            assert_eq!(consumer.next_stream(), Ok(true));
        }
    }
    assert_nothing_comes(&mut consumer);
}

// ---- Memory that was something else before ----

#[test]
fn nothing_of_what_memory_held_before_is_in_a_new_ring() {
    let memory = room_for(4096);
    for before in [0xff_u8, 0x01, 0xa5] {
        memory.poke(0, &vec![before; memory.len()]);
        let ring = memory.init(&options()).unwrap();
        let (mut producer, mut consumer) = ring.split().unwrap();
        let header = &memory.bytes()[..4096];
        // No mark, no path, nothing that is not listed.
        for (from, to) in [
            (88, 128),
            (216, 256),
            (768, 1024),
            (1024, 3072),
            (3072, 4096),
        ] {
            assert!(header[from..to].iter().all(|&byte| byte == 0), "{from}");
        }
        assert_eq!(
            (producer.stream_position(), consumer.stream_position()),
            (0, 0)
        );
        assert_eq!(producer.consumed(), Ok(0));
        assert_eq!(consumer.try_read(&mut [0]), Err(TryReadError::Empty));
        let not_ended = Err(NextStreamError::NotEnded { available: 0 });
        assert_eq!(consumer.next_stream(), not_ended);
        producer.write_all(b"new").unwrap();
        producer.close().unwrap();
        assert_eq!(take(&mut consumer), (b"new".to_vec(), Told::Finished));
    }
}

#[test]
fn a_ring_made_over_another_one_has_none_of_its_ends() {
    let memory = room_for(4096);
    for lap in 0..3 {
        let (mut producer, mut consumer) = memory.init(&options()).unwrap().split().unwrap();
        assert_eq!(consumer.try_read(&mut [0]), Err(TryReadError::Empty));
        producer.write_all(b"of a ring before").unwrap();
        producer.abort();
        for _ in 0..5 + lap {
            drop(memory.attach(&options()).unwrap().into_producer().unwrap());
        }
        consumer.read_exact(&mut [0; 4]).unwrap();
        assert_eq!(take(&mut consumer).1, Told::Aborted);
    }
}
