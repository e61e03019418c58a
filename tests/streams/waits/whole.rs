//! Reads and writes that are whole or nothing.

use std::io::Write;

use shmpipe::{PeekError, ReserveError};

use crate::common::{TempPath, check, remove_unused, stream};
use crate::small::{CAPACITY, small, split};

#[test]
fn a_write_is_whole_or_nothing() {
    for len in [1, 7, 64, 65, 1000, CAPACITY] {
        let (mut producer, mut consumer) = split();
        let mut at = 0;
        // Also across the ring's end, from each offset that comes of it.
        for _ in 0..3 {
            let mut written = 0;
            let room = loop {
                match producer.try_write_all(&stream(4, at + written, len)) {
                    Ok(()) => written += len as u64,
                    Err(ReserveError::Full { wanted, room }) => {
                        assert_eq!(wanted, len);
                        break room;
                    }
                    Err(error) => panic!("{error}"),
                }
            };
            assert!(room < len);
            assert_eq!(written as usize, CAPACITY - room);
            let mut bytes = vec![0; len];
            let mut read = 0;
            while read < written {
                consumer.try_read_exact(&mut bytes).unwrap();
                check(4, at + read, &bytes);
                read += len as u64;
            }
            let (wanted, available) = (len, 0);
            let empty = PeekError::Empty { wanted, available };
            assert_eq!(consumer.try_read_exact(&mut bytes), Err(empty));
            at += written;
        }
    }
}

#[test]
fn a_read_is_whole_or_nothing() {
    let (mut producer, mut consumer) = split();
    producer.write_all(b"abc").unwrap();
    let mut bytes = *b"....";
    let (wanted, available) = (4, 3);
    let empty = PeekError::Empty { wanted, available };
    assert_eq!(consumer.try_read_exact(&mut bytes), Err(empty));
    assert_eq!((&bytes, consumer.position()), (b"....", 0));
    producer.write_all(b"d").unwrap();
    assert_eq!(consumer.try_read_exact(&mut bytes), Ok(()));
    assert_eq!((&bytes, consumer.position()), (b"abcd", 4));
    // An end that it gave was given by a reading call.
    drop(producer);
    let (wanted, available) = (1, 0);
    let ended = PeekError::Ended { wanted, available };
    assert_eq!(consumer.try_read_exact(&mut bytes[..1]), Err(ended));
    assert!(consumer.is_at_end());
}

#[test]
fn a_whole_write_is_held_back_with_the_rest_of_its_batch() {
    let (mut producer, mut consumer) = split();
    producer.set_batch(1000);
    producer.try_write_all(&[1; 300]).unwrap();
    producer.try_write_all(&[1; 300]).unwrap();
    assert_eq!(consumer.available(), Ok(0));
    producer.try_write_all(&[1; 400]).unwrap();
    assert_eq!(consumer.available(), Ok(1000));
    // What is held back is published where it is in the way.
    producer.try_write_all(&[1; 500]).unwrap();
    assert_eq!(consumer.available(), Ok(1000));
    let (wanted, room) = (CAPACITY, CAPACITY - 1500);
    let full = Err(ReserveError::Full { wanted, room });
    assert_eq!(producer.try_write_all(&[1; CAPACITY]), full);
    assert_eq!(consumer.available(), Ok(1500));
}

#[test]
fn an_end_that_a_whole_read_gave_is_acknowledged_by_a_close() {
    let path = TempPath::new();
    let mut options = small();
    options.persistent(true);
    for text in [b"one", b"two"] {
        let mut producer = options.open_producer(&path).unwrap();
        producer.write_all(text).unwrap();
        producer.close().unwrap();
    }
    for text in [b"one", b"two"] {
        let mut consumer = options.open_consumer(&path).unwrap();
        let mut bytes = [0; 3];
        consumer.try_read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, text);
        let error = consumer.try_read_exact(&mut bytes).unwrap_err();
        assert!(matches!(
            error,
            PeekError::Ended {
                wanted: 3,
                available: 0
            }
        ));
        consumer.close().unwrap();
    }
    remove_unused(|| shmpipe::Options::new().remove(&path));
}
