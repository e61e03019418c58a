//! Deaths in persistent rings: each is returned once, by whichever call.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use shmpipe::{Broken, Consumer, Options, PeekError, TryReadError, WaitError, WaitSet};

use crate::common::{Fork, PATIENCE, TempPath, alone, broken, kill_self};

fn options() -> Options {
    let mut options = crate::common::options();
    options.capacity(4096).persistent(true).resume(true);
    options
}

/// A consumer whose producer has written "abc" and was killed.
fn bereaved(path: &TempPath) -> Consumer {
    let consumer = options().open_consumer(path).unwrap();
    let mut child = Fork::new(|| {
        let mut producer = options().open_producer(path).unwrap();
        producer.write_all(b"abc").unwrap();
        kill_self();
    });
    child.wait();
    consumer
}

/// Waits a few slices, in which nothing more is to come.
#[track_caller]
fn assert_quiet(set: &mut WaitSet) {
    let soon = Instant::now() + Duration::from_millis(100);
    assert_eq!(set.wait_deadline(soon), Err(WaitError::TimedOut));
}

/// A peek for more bytes than the dead producer has left returns the death. The bytes stay.
#[test]
fn a_death_before_a_part_of_a_record_is_returned_once() {
    alone(
        "deaths::a_death_before_a_part_of_a_record_is_returned_once",
        || {
            let path = TempPath::new();
            let mut set = WaitSet::from(bereaved(&path));
            set.set_low_water_mark(0, 8);
            assert_eq!(set.wait_deadline(Instant::now() + PATIENCE), Ok(Some(0)));
            let peeked = set[0].try_peek(8).map(drop);
            let Err(PeekError::Broken(Broken::Died { .. })) = peeked else {
                panic!("{peeked:?}");
            };
            assert_quiet(&mut set);
            let peeked = set[0].try_peek(8).map(drop);
            assert!(matches!(peeked, Err(PeekError::Empty { available: 3, .. })));
            // The next producer continues the record.
            let mut child = Fork::new(|| {
                let mut producer = options().open_producer(&path).unwrap();
                producer.write_all(b"defgh").unwrap();
            });
            assert_eq!(set.wait_deadline(Instant::now() + PATIENCE), Ok(Some(0)));
            assert_eq!(set[0].try_read(&mut [0; 9]), Ok(8));
            child.wait();
        },
    );
}

#[test]
fn a_death_that_a_blocking_read_returned_is_not_returned_again() {
    alone(
        "deaths::a_death_that_a_blocking_read_returned_is_not_returned_again",
        || {
            let path = TempPath::new();
            let mut consumer = bereaved(&path);
            assert_eq!(consumer.try_read(&mut [0; 9]), Ok(3));
            let error = consumer.read(&mut [0; 9]).unwrap_err();
            assert!(matches!(broken(&error), Broken::Died { .. }), "{error}");
            let mut set = WaitSet::from(consumer);
            assert_quiet(&mut set);
            assert_eq!(set[0].try_read(&mut [0; 9]), Err(TryReadError::Empty));
            // The death of the next one is another death.
            let mut child = Fork::new(|| {
                let _producer = options().open_producer(&path).unwrap();
                kill_self();
            });
            child.wait();
            assert_eq!(set.wait_deadline(Instant::now() + PATIENCE), Ok(Some(0)));
            let read = set[0].try_read(&mut [0; 9]);
            assert!(matches!(
                read,
                Err(TryReadError::Broken(Broken::Died { .. }))
            ));
            // A blocking read says it again and again: it has nothing else to say.
            let error = set[0].read(&mut [0; 9]).unwrap_err();
            assert!(matches!(broken(&error), Broken::Died { .. }), "{error}");
        },
    );
}
