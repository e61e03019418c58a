//! Streams that go on, and ends that are delivered once.

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use shmpipe::sysv;
use shmpipe::{Consumer, OpenError};

use super::{persistent, read, read_on, reader, write, writer};
use crate::common::{PATIENCE, TempPath, check, once_asleep, options, page, stream, until};

#[track_caller]
fn assert_nothing_comes(consumer: &mut Consumer) {
    consumer.set_timeout(Some(Duration::from_millis(30)));
    let error = consumer.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    consumer.set_timeout(Some(PATIENCE));
}

#[test]
fn a_reader_that_comes_after_the_writer_has_gone_reads_it_all() {
    let path = TempPath::new();
    write(&path, b"in shared memory");
    let id = path.segment().unwrap();
    until(|| sysv::stat(id).unwrap().attached == 0); // somebody may just look at it
    assert_eq!(read(&path), b"in shared memory");
    assert_eq!(path.segment(), Some(id), "it stays");
}

#[test]
fn writers_and_readers_take_turns() {
    let path = TempPath::new();
    let mut position = 0;
    for round in 0..50 {
        let len = 1 + round * 997 % page();
        write(&path, &stream(1, position, len));
        let bytes = read(&path);
        assert_eq!(bytes.len(), len);
        check(1, position, &bytes);
        position += len as u64;
        assert_eq!(writer(&path).position(), position);
        assert_eq!(reader(&path).position(), position);
        assert_eq!(read(&path), b"", "of the writer who wrote nothing");
    }
}

#[test]
fn a_reader_may_come_first() {
    let path = TempPath::new();
    let mut consumer = reader(&path);
    let (read, ()) = once_asleep(|| read_on(&mut consumer), |_| write(&path, b"late"));
    assert_eq!(read, b"late");
}

#[test]
fn two_writers_before_one_reader_are_two_streams() {
    let path = TempPath::new();
    write(&path, b"first, ");
    write(&path, b"second");
    let mut consumer = reader(&path);
    assert_eq!(read_on(&mut consumer), b"first, ");
    assert_eq!(consumer.position(), 7);
    assert!(consumer.next_stream().unwrap());
    assert_eq!(read_on(&mut consumer), b"second");
    assert_eq!(consumer.position(), 13);
}

#[test]
fn a_reader_that_stays_reads_one_writer_after_the_other() {
    let path = TempPath::new();
    let mut consumer = reader(&path);
    for text in ["one", "two", "three"] {
        write(&path, text.as_bytes());
        assert_eq!(read_on(&mut consumer), text.as_bytes());
        assert!(consumer.next_stream().unwrap());
    }
}

#[test]
fn a_reader_goes_on_where_the_last_one_stopped() {
    let path = TempPath::new();
    write(&path, &stream(2, 0, 3000));
    let mut position = 0;
    for len in [1, 500, 7, 1492] {
        let mut consumer = reader(&path);
        assert_eq!(consumer.position(), position);
        let mut bytes = vec![0; len];
        consumer.read_exact(&mut bytes).unwrap();
        check(2, position, &bytes);
        position += len as u64;
    }
    let rest = read(&path);
    assert_eq!(rest.len(), 1000);
    check(2, 2000, &rest);
}

#[test]
fn a_writer_that_stays_outlasts_its_readers() {
    let path = TempPath::new();
    let mut producer = (persistent().require_consumer(true))
        .open_producer(&path)
        .unwrap();
    for position in (0..1000).step_by(100) {
        let mut consumer = reader(&path);
        producer.write_all(&stream(3, position, 100)).unwrap();
        let mut bytes = [0; 100];
        consumer.read_exact(&mut bytes).unwrap();
        check(3, position, &bytes);
        drop(consumer);
        // Until the next one comes, as it asked to be told.
        let error = producer.write(b"x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert_eq!(producer.position(), position + 100);
    }
}

#[test]
fn an_end_is_delivered_once() {
    let path = TempPath::new();
    write(&path, b"1");
    assert_eq!(read(&path), b"1");
    let mut consumer = reader(&path);
    assert_nothing_comes(&mut consumer);
    write(&path, b"2");
    assert_eq!(read_on(&mut consumer), b"2");
}

#[test]
fn an_end_that_nobody_saw_is_delivered_to_the_next_reader() {
    let path = TempPath::new();
    write(&path, b"1");
    reader(&path).read_exact(&mut [0]).unwrap();
    assert_eq!(read(&path), b"");
    assert_nothing_comes(&mut reader(&path));
}

#[test]
fn an_end_that_came_after_the_one_a_reader_saw_is_delivered_to_the_next() {
    let path = TempPath::new();
    write(&path, b"1");
    let mut consumer = reader(&path);
    assert_eq!(read_on(&mut consumer), b"1");
    write(&path, b"2");
    drop(consumer); // it has seen the first end, not the second
    assert_eq!(read(&path), b"2");
}

#[test]
fn a_stream_broken_off_does_not_look_whole_to_a_later_reader() {
    let path = TempPath::new();
    let mut producer = writer(&path);
    producer.write_all(b"half").unwrap();
    producer.abort();
    drop(producer);
    let mut consumer = reader(&path);
    let mut bytes = Vec::new();
    let error = consumer.read_to_end(&mut bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    assert_eq!(bytes, b"half");
    drop(consumer);
    write(&path, b"whole");
    assert_eq!(read(&path), b"whole");
}

#[test]
fn a_full_ring_without_a_reader_times_out_and_keeps_what_it_took() {
    let path = TempPath::new();
    let bytes = stream(4, 0, page() + 1);
    let mut producer = writer(&path);
    producer.set_timeout(Some(Duration::from_millis(30)));
    assert_eq!(producer.write(&bytes).unwrap(), page());
    let error = producer.write(&bytes[page()..]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    drop(producer);
    let read = read(&path);
    assert_eq!(read.len(), page());
    check(4, 0, &read);
}

#[test]
fn a_capacity_asked_for_must_be_that_of_the_ring() {
    let path = TempPath::new();
    drop(writer(&path));
    let opened = persistent().capacity(2 * page()).open_consumer(&path);
    assert!(matches!(opened, Err(OpenError::CapacityMismatch { .. })));
    let consumer = options().persistent(true).open_consumer(&path).unwrap();
    assert_eq!(consumer.capacity(), page());
}
