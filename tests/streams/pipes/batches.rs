//! Flush and batches.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::thread;

use shmpipe::{Broken, Producer};

use super::{CAPACITY, split, tail_of};
use crate::common::{check, options, stream};

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
