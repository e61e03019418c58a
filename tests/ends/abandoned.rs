//! A producer that leaves as a death would, and the numbers of streams.

use std::io::{Read, Write};
use std::process;

use shmpipe::{Broken, Occupant};

use crate::common::{broken, options};
use crate::{Persistent, Told, assert_nothing_comes, assert_streams, take};

#[test]
fn an_abandoned_stream_reads_like_that_of_a_dead_producer() {
    let ring = Persistent::new();
    let mut consumer = ring.consumer();
    let mut producer = ring.producer();
    producer.write_all(b"one half").unwrap();
    producer.abandon();
    let (bytes, how) = take(&mut consumer);
    assert_eq!(
        (&bytes[..], how),
        (&b"one half"[..], Told::Died(process::id()))
    );
    assert!(!consumer.is_at_end());
    assert!(consumer.next_stream().is_err(), "it has not ended");
    assert_eq!(consumer.peer(), Occupant::Dead(process::id()));
}

#[test]
fn an_abandoned_stream_is_resumed_or_broken_off() {
    let ring = Persistent::new();
    let mut producer = ring.producer();
    producer.write_all(b"one").unwrap();
    producer.abandon();
    let mut producer = ring.resumer();
    assert_eq!(producer.stream_position(), 3);
    producer.write_all(b"two").unwrap();
    producer.abandon();
    ring.finish(b"three");
    let died = Told::Died(process::id());
    let streams: [(&[u8], _); 2] = [(b"onetwo", died), (b"three", Told::Finished)];
    assert_streams(&mut ring.consumer(), &streams);
}

#[test]
fn an_abandoned_stream_without_a_byte_leaves_nothing() {
    let ring = Persistent::new();
    ring.producer().abandon();
    ring.finish(b"one");
    let streams: [(&[u8], _); 1] = [(b"one", Told::Finished)];
    assert_streams(&mut ring.consumer(), &streams);
}

#[test]
fn an_abandoned_batch_is_published() {
    let ring = Persistent::new();
    let mut producer = ring.producer();
    producer.set_batch(64);
    producer.write_all(b"abc").unwrap();
    producer.abandon();
    assert_eq!(take(&mut ring.consumer()).0, b"abc");
}

#[test]
fn abandoning_has_no_effect_on_a_handle_that_left() {
    let ring = Persistent::new();
    let mut producer = ring.producer();
    producer.close().unwrap();
    producer.abandon();
    drop(producer);
    let mut producer = ring.producer();
    producer.write_all(b"x").unwrap();
    producer.abandon();
    producer.abandon();
    assert!(producer.close().is_err(), "it was not closed in order");
    let mut successor = ring.resumer();
    producer.abandon(); // the role is another's
    drop(producer);
    successor.write_all(b"y").unwrap();
    drop(successor);
    let streams: [(&[u8], _); 2] = [(b"", Told::Finished), (b"xy", Told::Finished)];
    assert_streams(&mut ring.consumer(), &streams);
}

#[test]
fn abandoning_wakes_a_reader_and_the_next_producer_does_too() {
    let ring = Persistent::new();
    let mut consumer = ring.consumer();
    let mut producer = ring.producer();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let error = consumer.read(&mut [0]).unwrap_err();
            assert!(matches!(broken(&error), Broken::Died { .. }));
            tell.send(()).unwrap();
            consumer.wait_for_peer().unwrap();
            let mut bytes = [0; 3];
            consumer.read_exact(&mut bytes).unwrap();
            bytes
        });
        producer.abandon();
        told.recv().unwrap();
        ring.resumer().write_all(b"abc").unwrap();
        assert_eq!(&reader.join().unwrap(), b"abc");
    });
}

#[test]
fn abandoning_a_ring_of_one_stream_breaks_it_off() {
    let (mut producer, mut consumer) = options().create_anonymous().unwrap().split().unwrap();
    producer.write_all(b"abc").unwrap();
    producer.abandon();
    assert_eq!(take(&mut consumer), (b"abc".to_vec(), Told::Aborted));
    assert_eq!(consumer.stream_number(), 0);
}

#[test]
fn both_sides_count_the_same_streams() {
    let ring = Persistent::new();
    ring.finish(b"");
    ring.abort(b"one");
    ring.die(b"two"); // gets its end from the next producer
    ring.finish(b"three");
    ring.die(b"four");
    let resumer = ring.resumer();
    assert_eq!(resumer.stream_number(), 4);
    drop(resumer); // finishes
    assert_eq!(ring.producer().stream_number(), 5);

    for number in 0..6 {
        let mut consumer = ring.consumer(); // each goes on where the last one stopped
        assert_eq!(consumer.stream_number(), number);
        take(&mut consumer);
        assert!(consumer.next_stream().unwrap());
        assert_eq!(consumer.stream_number(), number + 1);
        consumer.abort();
    }
    let mut consumer = ring.consumer();
    assert_nothing_comes(&mut consumer);
    assert_eq!(consumer.stream_number(), ring.producer().stream_number());
}
