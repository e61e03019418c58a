//! As a pipe of std, with the tools of std and a library on top of them.

use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::thread;

use shmpipe::pair;

use super::{CAPACITY, split};
use crate::common::{End, Fork, PATIENCE, alone, check, options, stream};

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
    alone("pipes::tools::a_pipe_between_parent_and_child", || {
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
