//! The end of the stream: close, drop, abort, panic.

use std::io::{ErrorKind, Read, Write};
use std::thread;

use shmpipe::{Broken, CloseError, Consumer, Producer};

use super::{CAPACITY, broken, split};
use crate::common::{TempPath, check, once_asleep, options, stream};

#[test]
fn close_and_drop_finish_the_stream() {
    let finish: [fn(Producer); 2] = [|mut producer| producer.close().unwrap(), drop];
    for finish in finish {
        let (mut producer, mut consumer) = split();
        producer.write_all(b"the last bytes").unwrap();
        finish(producer);
        let mut bytes = [0; 8];
        assert_eq!(consumer.read(&mut bytes).unwrap(), 8);
        assert_eq!(consumer.read(&mut bytes).unwrap(), 6);
        for _ in 0..3 {
            assert_eq!(consumer.read(&mut bytes).unwrap(), 0);
            assert_eq!(consumer.try_read(&mut bytes), Ok(0));
        }
    }
}

#[test]
fn abort_and_a_panic_break_the_stream_off() {
    let break_off: [fn(Producer); 2] = [
        |mut producer| producer.abort(),
        |producer| {
            let panicking = thread::spawn(move || {
                let _producer = producer;
                std::panic::resume_unwind(Box::new("without a message"));
            });
            panicking.join().unwrap_err();
        },
    ];
    for break_off in break_off {
        let (mut producer, mut consumer) = split();
        producer.write_all(b"published").unwrap();
        break_off(producer);
        let mut bytes = Vec::new();
        for _ in 0..2 {
            let result = consumer.read_to_end(&mut bytes);
            let broken = broken(result, ErrorKind::ConnectionAborted);
            assert_eq!(broken, Broken::ProducerAborted);
            let again = consumer.try_read(&mut [0]);
            assert_eq!(again, Err(Broken::ProducerAborted.into()));
        }
        assert_eq!(bytes, b"published");
    }
}

#[test]
fn abort_after_close_changes_nothing() {
    let (mut producer, mut consumer) = split();
    producer.close().unwrap();
    producer.abort();
    assert_eq!(consumer.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_writer_learns_that_the_reader_has_left() {
    let leave: [fn(Consumer); 2] = [|mut consumer| consumer.close().unwrap(), drop];
    for leave in leave {
        let (mut producer, consumer) = split();
        producer.write_all(b"unread").unwrap();
        leave(consumer);
        for _ in 0..2 {
            let result = producer.write(b"x");
            assert_eq!(
                broken(result, ErrorKind::BrokenPipe),
                Broken::ConsumerClosed
            );
            let result = producer.try_write(b"x");
            assert_eq!(result, Err(Broken::ConsumerClosed.into()));
            assert_eq!(producer.check_peer(), Err(Broken::ConsumerClosed));
        }
        assert_eq!(producer.position(), 6);
        producer.close().unwrap();
    }
}

#[test]
fn a_writer_that_waits_learns_that_the_reader_has_left() {
    let (mut producer, consumer) = split();
    assert_eq!(producer.try_write(&[1; CAPACITY]), Ok(CAPACITY));
    let (result, ()) = once_asleep(|| producer.write(b"x"), |_| drop(consumer));
    assert_eq!(
        broken(result, ErrorKind::BrokenPipe),
        Broken::ConsumerClosed
    );
}

#[test]
fn a_large_write_ends_when_the_reader_leaves_and_says_how_much() {
    // Small rings block in between; in large ones the reader leaves while the
    // bytes are copied in.
    for capacity in [CAPACITY, 16 << 20] {
        let bytes = stream(4, 0, 16 << 20);
        for _ in 0..5 {
            let ring = options().capacity(capacity).create_anonymous().unwrap();
            let (mut producer, mut consumer) = ring.split().unwrap();
            let reading = thread::spawn(move || {
                let mut bytes = vec![0; 10_000];
                consumer.read_exact(&mut bytes).unwrap();
                check(4, 0, &bytes);
            });
            let written = producer.write(&bytes).unwrap();
            let possible = 10_000..=10_000 + capacity;
            assert!(possible.contains(&written), "{written} bytes");
            assert_eq!(producer.position(), written as u64);
            reading.join().unwrap();
            let result = producer.write(b"x");
            assert_eq!(
                broken(result, ErrorKind::BrokenPipe),
                Broken::ConsumerClosed
            );
        }
    }
}

#[test]
fn a_reader_that_waits_is_woken_by_the_end() {
    for aborted in [false, true] {
        let (mut producer, mut consumer) = split();
        let (result, ()) = once_asleep(
            || consumer.read(&mut [0]),
            |_| match aborted {
                true => producer.abort(),
                false => producer.close().unwrap(),
            },
        );
        if aborted {
            broken(result, ErrorKind::ConnectionAborted);
        } else {
            assert_eq!(result.unwrap(), 0);
        }
    }
}

#[test]
fn a_closed_handle_says_so() {
    let closed = || Broken::Closed;
    let (mut producer, mut consumer) = split();
    producer.close().unwrap();
    assert_eq!(producer.try_write(b"x"), Err(closed().into()));
    assert_eq!(producer.try_write(b""), Err(closed().into()));
    assert_eq!(producer.check_peer(), Err(closed()));
    assert_eq!(producer.close(), Ok(()));
    for result in [
        producer.write(b"x").map(drop),
        producer.write(b"").map(drop),
        producer.flush(),
    ] {
        assert_eq!(broken(result, ErrorKind::NotConnected), closed());
    }
    consumer.close().unwrap();
    assert_eq!(consumer.try_read(&mut [0]), Err(closed().into()));
    assert_eq!(consumer.check_peer(), Err(closed()));
    assert_eq!(consumer.close(), Ok(()));
    let result = consumer.read(&mut [0]);
    assert_eq!(broken(result, ErrorKind::NotConnected), closed());
}

#[test]
fn a_producer_that_did_not_wait_reports_what_nobody_will_read() {
    let path = TempPath::new();
    let mut options = options();
    options.wait_for_peer(false);
    let mut producer = options.open_producer(&path).unwrap();
    producer.write_all(b"12345").unwrap();
    assert_eq!(producer.close(), Err(CloseError::NeverCame { unread: 5 }));
    assert!(!path.leads_to_a_segment());
    // Nothing written, nothing lost; and with a reader all is well.
    options.open_producer(&path).unwrap().close().unwrap();
    let mut producer = options.open_producer(&path).unwrap();
    producer.write_all(b"12345").unwrap();
    let mut consumer = options.open_consumer(&path).unwrap();
    producer.close().unwrap();
    assert_eq!(consumer.read(&mut [0; 9]).unwrap(), 5);
    assert_eq!(consumer.read(&mut [0; 9]).unwrap(), 0);
    assert!(!path.leads_to_a_segment());
}
