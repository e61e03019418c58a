//! Waits that have to do with the ring's end come to an end themselves.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use shmpipe::{Broken, PeekError, ReserveError, WaitPolicy};

use super::{options, room_for};
use crate::common::memory::Mapping;
use crate::common::{PATIENCE, check, once_asleep, once_waiting, stream, unique};

const CAPACITY: usize = 64;

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(30)
}

fn late() -> Instant {
    Instant::now() + PATIENCE
}

#[test]
fn a_grant_that_wraps_is_not_waited_for() {
    let memory = Mapping::new(room_for(CAPACITY));
    let (mut producer, mut consumer) = memory.init(&options(CAPACITY)).unwrap().split().unwrap();
    producer.write_all(&[1; 60]).unwrap();
    consumer.read_exact(&mut [0; 60]).unwrap();

    let since = Instant::now();
    let wraps = producer.reserve_deadline(5, late()).unwrap_err();
    assert_eq!(
        wraps,
        ReserveError::Wraps {
            wanted: 5,
            contiguous: 4
        }
    );
    producer.write_all(&[2; 5]).unwrap();
    let wraps = consumer.peek_deadline(5, late()).unwrap_err();
    assert_eq!(
        wraps,
        PeekError::Wraps {
            wanted: 5,
            contiguous: 4
        }
    );
    assert!(since.elapsed() < PATIENCE);
    let error = std::io::Error::from(wraps);
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);

    // What is short is told first, since it can change.
    let (wanted, available, room) = (6, 5, 59);
    let short = consumer.try_peek(6).unwrap_err();
    assert_eq!(short, PeekError::Empty { wanted, available });
    let short = consumer.peek_deadline(6, soon()).unwrap_err();
    assert_eq!(short, PeekError::TimedOut { wanted, available });
    assert_eq!(
        producer.try_reserve(60).unwrap_err(),
        ReserveError::Full { wanted: 60, room }
    );
    let short = producer.reserve_deadline(60, soon()).unwrap_err();
    assert_eq!(short, ReserveError::TimedOut { wanted: 60, room });
    producer.close().unwrap();
    let short = consumer.peek_deadline(6, late()).unwrap_err();
    assert_eq!(short, PeekError::Ended { wanted, available });
    consumer.read_exact(&mut [0; 5]).unwrap();
}

/// What is waited for comes, and is then found not to be in one piece.
#[test]
fn a_wait_ends_once_the_bytes_or_the_room_are_there() {
    for policy in [WaitPolicy::Spin, WaitPolicy::default(), WaitPolicy::Park] {
        let memory = Mapping::new(room_for(CAPACITY));
        let ring = memory.init(options(CAPACITY).wait_policy(policy)).unwrap();
        let (mut producer, mut consumer) = ring.split().unwrap();
        producer.write_all(&[1; 60]).unwrap();
        consumer.read_exact(&mut [0; 60]).unwrap();
        let (wraps, ()) = once_waiting(
            || consumer.peek_deadline(10, late()).map(|_| ()),
            |waiting| {
                producer.write_all(&[2; 9]).unwrap();
                waiting.until_it_waits();
                producer.write_all(&[2; 1]).unwrap();
            },
        );
        assert_eq!(
            wraps,
            Err(PeekError::Wraps {
                wanted: 10,
                contiguous: 4
            })
        );
        consumer.read_exact(&mut [0; 10]).unwrap();

        producer.write_all(&[3; 50]).unwrap(); // to four before the end
        let (wraps, ()) = once_waiting(
            || producer.reserve_deadline(30, late()).map(|_| ()),
            |waiting| {
                consumer.read_exact(&mut [0; 15]).unwrap();
                waiting.until_it_waits();
                consumer.read_exact(&mut [0; 1]).unwrap();
            },
        );
        assert_eq!(
            wraps,
            Err(ReserveError::Wraps {
                wanted: 30,
                contiguous: 8
            })
        );
    }
}

/// Records of up to the capacity, by grants where they are in one piece, and
/// by copies where they are not.
#[test]
fn records_by_grants_and_by_copies() {
    const RECORDS: usize = 3000;
    let memory = Mapping::new(room_for(CAPACITY));
    let (mut producer, mut consumer) = memory.init(&options(CAPACITY)).unwrap().split().unwrap();
    let seed = unique();
    let len_of = |record: usize| record * 7 % CAPACITY + 1;
    thread::scope(|scope| {
        scope.spawn(move || {
            for record in 0..RECORDS {
                let bytes = stream(seed, producer.position(), len_of(record));
                match producer.reserve_deadline(bytes.len(), late()) {
                    Ok(mut grant) => {
                        grant.write_at(&bytes, 0);
                        grant.commit_all();
                    }
                    // There is room, so this does not wait.
                    Err(ReserveError::Wraps { contiguous, .. }) => {
                        assert!(contiguous < bytes.len());
                        assert_eq!(producer.try_write(&bytes), Ok(bytes.len()));
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            producer.close().unwrap();
        });
        let mut wrapped = 0;
        for record in 0..RECORDS {
            let (position, mut bytes) = (consumer.position(), vec![0; len_of(record)]);
            match consumer.peek_deadline(bytes.len(), late()) {
                Ok(grant) => {
                    grant.read_at(&mut bytes, 0);
                    grant.consume_all();
                }
                Err(PeekError::Wraps { .. }) => {
                    assert_eq!(consumer.try_read(&mut bytes), Ok(bytes.len()));
                    wrapped += 1;
                }
                Err(error) => panic!("{error}"),
            }
            check(seed, position, &bytes);
        }
        assert!(wrapped > RECORDS / 10, "{wrapped}");
        let end = consumer.read_deadline(&mut [0], late()); // may be a moment away
        assert_eq!(end, Ok(0));
    });
}

/// The smallest rings, in which every byte is waited for.
#[test]
fn a_stream_through_rings_of_few_bytes() {
    for capacity in [1, 2, 4] {
        let memory = Mapping::new(room_for(capacity));
        let ring = memory.init(&options(capacity)).unwrap();
        let (mut producer, mut consumer) = ring.split().unwrap();
        let seed = unique();
        thread::scope(|scope| {
            scope.spawn(move || {
                producer.write_all(&stream(seed, 0, 2000)).unwrap();
                producer.close().unwrap();
            });
            let mut bytes = Vec::new();
            consumer.read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes.len(), 2000);
            check(seed, 0, &bytes);
        });
    }
}

#[test]
fn a_peer_that_leaves_ends_a_wait() {
    let memory = Mapping::new(room_for(CAPACITY));
    let (mut producer, consumer) = memory.init(&options(CAPACITY)).unwrap().split().unwrap();
    producer.write_all(&[1; CAPACITY]).unwrap();
    let (gone, ()) = once_asleep(
        || producer.reserve_deadline(1, late()).map(|_| ()),
        |_| drop(consumer),
    );
    assert_eq!(gone, Err(ReserveError::Broken(Broken::ConsumerClosed)));
    // Another consumer can come, and finds what is there.
    let mut next = memory
        .attach(&crate::common::options())
        .unwrap()
        .into_consumer()
        .unwrap();
    let mut bytes = [0; CAPACITY];
    next.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, [1; CAPACITY]);
}
