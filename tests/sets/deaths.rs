//! Deaths in persistent rings: each is returned once, by whichever call.

use std::io::Write;
use std::time::{Duration, Instant};

use shmpipe::{Broken, Consumer, Options, PeekError, WaitError, WaitSet};

use crate::common::{Fork, PATIENCE, TempPath, alone, kill_self};

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
