//! Requests that are refused: the caller's mistakes, too few bytes, time limits.

use std::io::{ErrorKind, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use shmpipe::{Broken, PeekError, ReserveError};

use super::{CAPACITY, soon, split, split_at};
use crate::common::{PATIENCE, check, stream};

/// Whether `call` panics, and with what.
fn panic_of(call: impl FnOnce()) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(call)).err()?;
    Some(*panic.downcast::<String>().expect("a message"))
}

#[test]
fn beyond_the_end_of_a_grant_is_a_panic_that_changes_nothing() {
    let (mut producer, mut consumer) = split_at(4000);
    producer.write_all(b"abcdef").unwrap();
    let room = producer.room().unwrap();

    let message = panic_of(|| producer.try_reserve(10).unwrap().commit(11)).unwrap();
    assert_eq!(message, "bytes 0 to 11 of a grant of 10 bytes");
    let places: [(usize, &[u8]); 4] = [
        (11, b""),
        (10, b"x"),
        (5, b"sixsix"),
        (usize::MAX, b"wraps around"),
    ];
    for (offset, bytes) in places {
        let mut grant = producer.try_reserve(10).unwrap();
        let message = panic_of(|| grant.write_at(bytes, offset)).unwrap();
        assert!(message.ends_with("of a grant of 10 bytes"), "{message}");
    }
    assert_eq!(producer.room(), Ok(room));

    let message = panic_of(|| consumer.try_peek(3).unwrap().consume(4)).unwrap();
    assert_eq!(message, "bytes 0 to 4 of a grant of 3 bytes");
    for (offset, len) in [(4, 0), (3, 1), (1, 3), (usize::MAX, 2)] {
        let grant = consumer.try_peek(3).unwrap();
        let message = panic_of(|| grant.read_at(&mut vec![0; len], offset)).unwrap();
        assert!(message.ends_with("of a grant of 3 bytes"), "{message}");
    }
    assert_eq!((producer.position(), consumer.position()), (4006, 4000));
    producer.close().unwrap();
    let mut bytes = Vec::new();
    consumer.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"abcdef");
}

#[test]
fn more_than_the_capacity_is_never_granted() {
    let (mut producer, mut consumer) = split();
    let capacity = producer.capacity();
    for len in [capacity + 1, usize::MAX] {
        let too_long = ReserveError::TooLong {
            wanted: len,
            capacity,
        };
        assert_eq!(producer.try_reserve(len).unwrap_err(), too_long);
        let error = producer.reserve_deadline(len, soon()).unwrap_err();
        assert_eq!(error, too_long);
        let too_long = PeekError::TooLong {
            wanted: len,
            capacity,
        };
        assert_eq!(consumer.try_peek(len).unwrap_err(), too_long);
        assert_eq!(consumer.peek_deadline(len, soon()).unwrap_err(), too_long);
        assert_eq!(producer.try_reserve_up_to(len).unwrap().len(), capacity);
        assert_eq!(
            consumer.try_peek_up_to(len).unwrap_err(),
            PeekError::Empty {
                wanted: 1,
                available: 0
            }
        );
    }
    assert_eq!(producer.stats().sleeps, 0);
}

#[test]
fn refusals_say_how_much_there_is() {
    let (mut producer, mut consumer) = split_at(3000);
    producer.try_reserve(4000).unwrap().commit_all();
    let room = CAPACITY - 4000;
    assert_eq!(
        producer.try_reserve(room + 1).unwrap_err(),
        ReserveError::Full {
            wanted: room + 1,
            room
        }
    );
    let error = producer.reserve_deadline(room + 1, soon()).unwrap_err();
    let wanted = room + 1;
    assert_eq!(error, ReserveError::TimedOut { wanted, room });
    assert_eq!(producer.try_reserve_up_to(CAPACITY).unwrap().len(), room);
    producer.try_reserve(room).unwrap().commit_all();
    assert_eq!(
        producer.try_reserve_up_to(1).unwrap_err(),
        ReserveError::Full { wanted: 1, room: 0 }
    );

    consumer.try_peek(4093).unwrap().consume_all();
    let (wanted, available) = (4, 3);
    assert_eq!(
        consumer.try_peek(4).unwrap_err(),
        PeekError::Empty { wanted, available }
    );
    let error = consumer.peek_deadline(4, soon()).unwrap_err();
    assert_eq!(error, PeekError::TimedOut { wanted, available });
    producer.close().unwrap();
    let ended = PeekError::Ended { wanted, available };
    assert_eq!(consumer.try_peek(4).unwrap_err(), ended);
    assert_eq!(consumer.peek_deadline(4, soon()).unwrap_err(), ended);
    assert_eq!(consumer.try_peek_up_to(4).unwrap().len(), 3);
    consumer.try_peek(3).unwrap().consume_all();
    let ended = PeekError::Ended {
        wanted: 1,
        available: 0,
    };
    assert_eq!(consumer.try_peek_up_to(1).unwrap_err(), ended);
}

#[test]
fn the_errors_of_grants_have_fitting_kinds() {
    let kind = |error: ReserveError| {
        assert!(!error.to_string().is_empty());
        std::io::Error::from(error).kind()
    };
    assert_eq!(
        kind(ReserveError::Full { wanted: 2, room: 1 }),
        ErrorKind::WouldBlock
    );
    assert_eq!(
        kind(ReserveError::TimedOut { wanted: 2, room: 1 }),
        ErrorKind::TimedOut
    );
    let too_long = ReserveError::TooLong {
        wanted: 2,
        capacity: 1,
    };
    assert_eq!(kind(too_long), ErrorKind::InvalidInput);
    assert_eq!(kind(Broken::ConsumerClosed.into()), ErrorKind::BrokenPipe);

    let kind = |error: PeekError| {
        assert!(!error.to_string().is_empty());
        std::io::Error::from(error).kind()
    };
    let (wanted, available) = (2, 1);
    assert_eq!(
        kind(PeekError::Empty { wanted, available }),
        ErrorKind::WouldBlock
    );
    assert_eq!(
        kind(PeekError::TimedOut { wanted, available }),
        ErrorKind::TimedOut
    );
    assert_eq!(
        kind(PeekError::Ended { wanted, available }),
        ErrorKind::UnexpectedEof
    );
    let too_long = PeekError::TooLong {
        wanted: 2,
        capacity: 1,
    };
    assert_eq!(kind(too_long), ErrorKind::InvalidInput);
    assert_eq!(kind(Broken::Closed.into()), ErrorKind::NotConnected);
}

#[test]
fn a_deadline_that_passed_does_not_refuse_what_is_there() {
    let (mut producer, mut consumer) = split();
    let passed = Instant::now();
    producer
        .reserve_deadline(CAPACITY, passed)
        .unwrap()
        .commit(9);
    consumer.peek_deadline(9, passed).unwrap().consume_all();
    let error = consumer.peek_deadline(1, passed).unwrap_err();
    assert_eq!(
        error,
        PeekError::TimedOut {
            wanted: 1,
            available: 0
        }
    );
}

/// A deadline that has passed leaves nothing but the look before the wait and
/// the one after it, so what comes does so between the two again and again.
/// The second look once found enough and was not believed; found by reading.
#[test]
fn a_timeout_never_says_that_there_is_enough() {
    const ROUNDS: usize = 20_000;
    // Two threads that share a processor take milliseconds for a round.
    const TIME: Duration = Duration::from_secs(10);
    let (mut producer, mut consumer) = split();
    let start = Instant::now();
    let written = thread::scope(|scope| {
        let writing = scope.spawn(|| {
            for _ in (0..ROUNDS).take_while(|_| start.elapsed() < TIME) {
                let grant = loop {
                    match producer.reserve_deadline(CAPACITY, start) {
                        Ok(grant) => break grant,
                        Err(ReserveError::TimedOut { room, .. }) => assert!(room < CAPACITY),
                        Err(error) => panic!("{error}"),
                    }
                    assert!(start.elapsed() < TIME + PATIENCE);
                };
                grant.commit_all();
            }
            producer.close().unwrap();
            producer.position()
        });
        loop {
            match consumer.peek_deadline(CAPACITY, start) {
                Ok(grant) => grant.consume_all(),
                Err(PeekError::TimedOut { available, .. }) => assert!(available < CAPACITY),
                Err(PeekError::Ended { available: 0, .. }) => break,
                Err(error) => panic!("{error}"),
            }
            assert!(start.elapsed() < TIME + PATIENCE);
        }
        writing.join().unwrap()
    });
    assert!(written > 0);
    assert_eq!(consumer.position(), written);
}

#[test]
fn a_grant_that_waits_gets_what_comes_in_pieces() {
    let (mut producer, mut consumer) = split();
    let far = Instant::now() + PATIENCE;
    thread::scope(|scope| {
        scope.spawn(move || {
            for turn in 0..50 {
                let position = turn * 3000;
                let mut grant = producer.reserve_deadline(3000, far).unwrap();
                grant.write_at(&stream(4, position, 3000), 0);
                grant.commit(1);
                producer.write_all(&stream(4, position + 1, 2999)).unwrap();
            }
        });
        for turn in 0..50 {
            let grant = consumer.peek_deadline(3000, far).unwrap();
            let mut bytes = [0; 3000];
            grant.read_at(&mut bytes, 0);
            check(4, turn * 3000, &bytes);
            grant.consume(1500);
            consumer.read_exact(&mut bytes[..1500]).unwrap();
        }
        let error = consumer.peek_deadline(1, far).unwrap_err();
        assert_eq!(
            error,
            PeekError::Ended {
                wanted: 1,
                available: 0
            }
        );
    });
}
