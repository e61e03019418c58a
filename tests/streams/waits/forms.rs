//! Each form of each call that waits: for bytes or room, a time limit, an end, a death.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use shmpipe::{Broken, Consumer, PeekError, Producer, ReserveError, Role};

use crate::common::{End, Fork, PATIENCE, Task, alone, kill_self, once_asleep, stream};
use crate::small::{CAPACITY, small, soon, split};

fn far() -> Instant {
    Instant::now() + PATIENCE
}

/// A form of a call, by which limit it has.
#[derive(Clone, Copy, Debug)]
enum Form {
    Plain,
    Deadline(Instant),
}

type ForRoom = fn(&mut Producer, usize, Form) -> Result<(), ReserveError>;

type ForBytes = fn(&mut Consumer, usize, Form) -> Result<(), PeekError>;

/// What waits for room, without what it would give.
const FOR_ROOM: [ForRoom; 3] = [
    |producer, len, form| match form {
        Form::Plain => producer.wait_writable(len),
        Form::Deadline(at) => producer.wait_writable_deadline(len, at),
    },
    |producer, len, form| match form {
        Form::Plain => producer.reserve(len).map(drop),
        Form::Deadline(at) => producer.reserve_deadline(len, at).map(drop),
    },
    |producer, len, form| match form {
        Form::Plain => producer.reserve_up_to(len).map(drop),
        Form::Deadline(at) => producer.reserve_up_to_deadline(len, at).map(drop),
    },
];

/// What waits for bytes.
const FOR_BYTES: [ForBytes; 3] = [
    |consumer, len, form| match form {
        Form::Plain => consumer.wait_readable(len),
        Form::Deadline(at) => consumer.wait_readable_deadline(len, at),
    },
    |consumer, len, form| match form {
        Form::Plain => consumer.peek(len).map(drop),
        Form::Deadline(at) => consumer.peek_deadline(len, at).map(drop),
    },
    |consumer, len, form| match form {
        Form::Plain => consumer.peek_up_to(len).map(drop),
        Form::Deadline(at) => consumer.peek_up_to_deadline(len, at).map(drop),
    },
];

#[test]
fn waiting_calls_get_what_comes() {
    for wait in 0..3 {
        for deadline in [false, true] {
            let form = || match deadline {
                true => Form::Deadline(far()),
                false => Form::Plain,
            };
            let (mut producer, mut consumer) = split();
            producer.write_all(&stream(1, 0, CAPACITY)).unwrap();
            let (room, ()) = once_asleep(
                || FOR_ROOM[wait](&mut producer, CAPACITY, form()),
                |_| consumer.read_exact(&mut [0; CAPACITY]).unwrap(),
            );
            room.unwrap();
            let (bytes, ()) = once_asleep(
                || FOR_BYTES[wait](&mut consumer, 100, form()),
                |_| producer.write_all(&[7; 100]).unwrap(),
            );
            bytes.unwrap();
            assert_eq!(consumer.available(), Ok(100));
        }
    }
}

#[test]
fn a_plain_call_has_the_timeout_of_the_handle() {
    let (mut producer, mut consumer) = split();
    let limit = Some(Duration::from_millis(20));
    producer.set_timeout(limit);
    consumer.set_timeout(limit);
    let timed_out = |wanted, available| PeekError::TimedOut { wanted, available };
    for (wait, wanted) in FOR_BYTES.iter().zip([5, 5, 1]) {
        let error = wait(&mut consumer, 5, Form::Plain).unwrap_err();
        assert_eq!(error, timed_out(wanted, 0));
    }
    producer.write_all(&[7; CAPACITY]).unwrap();
    for (wait, wanted) in FOR_ROOM.iter().zip([5, 5, 1]) {
        let error = wait(&mut producer, 5, Form::Plain).unwrap_err();
        assert_eq!(error, ReserveError::TimedOut { wanted, room: 0 });
    }
    // And a limit of zero tries once.
    producer.set_timeout(Some(Duration::ZERO));
    consumer.set_timeout(Some(Duration::ZERO));
    assert_eq!(consumer.peek(5).unwrap().len(), 5);
    consumer.read_exact(&mut [0; 5]).unwrap();
    assert_eq!(producer.wait_writable(5), Ok(()));
    let error = producer.wait_writable(6).unwrap_err();
    assert_eq!(error, ReserveError::TimedOut { wanted: 6, room: 5 });
}

#[test]
fn a_peer_that_dribbles_does_not_prolong_a_wait() {
    const MOST: usize = CAPACITY - 1; // more would be what is waited for
    for is_plain in [true, false] {
        let form = || match is_plain {
            true => Form::Plain,
            false => Form::Deadline(soon()),
        };
        let (mut producer, mut consumer) = split();
        consumer.set_timeout(Some(Duration::from_millis(20)));
        let error = beside_a_dribbler(
            MOST,
            || producer.write_all(b"x").unwrap(),
            || FOR_BYTES[0](&mut consumer, CAPACITY, form()).unwrap_err(),
        );
        assert!(
            matches!(error, PeekError::TimedOut { wanted: CAPACITY, available } if available < MOST),
            "{error:?}"
        );
        let (mut producer, mut consumer) = split();
        producer.set_timeout(Some(Duration::from_millis(20)));
        producer.write_all(&[7; CAPACITY]).unwrap();
        let error = beside_a_dribbler(
            MOST,
            || consumer.read_exact(&mut [0]).unwrap(),
            || FOR_ROOM[0](&mut producer, CAPACITY, form()).unwrap_err(),
        );
        assert!(
            matches!(error, ReserveError::TimedOut { wanted: CAPACITY, room } if room < MOST),
            "{error:?}"
        );
    }
}

/// Makes a call while the peer moves a byte each two milliseconds, up to `most`.
fn beside_a_dribbler<T>(
    most: usize,
    mut dribble: impl FnMut() + Send,
    call: impl FnOnce() -> T,
) -> T {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..most {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                dribble();
                thread::sleep(Duration::from_millis(2));
            }
        });
        let result = call();
        done.store(true, Ordering::Relaxed);
        result
    })
}

#[test]
fn an_end_of_the_stream_ends_a_wait_for_bytes() {
    for wait in FOR_BYTES {
        for aborted in [false, true] {
            let (mut producer, mut consumer) = split();
            let (bytes, ()) = once_asleep(
                || wait(&mut consumer, 1, Form::Plain),
                |_| match aborted {
                    true => producer.abort(),
                    false => producer.close().unwrap(),
                },
            );
            let (wanted, available) = (1, 0);
            let expected = match aborted {
                true => PeekError::Broken(Broken::ProducerAborted),
                false => PeekError::Ended { wanted, available },
            };
            assert_eq!(bytes.unwrap_err(), expected);
        }
    }
    // What is left is less than was wanted.
    let (mut producer, mut consumer) = split();
    producer.write_all(b"abc").unwrap();
    drop(producer);
    let (wanted, available) = (4, 3);
    let ended = PeekError::Ended { wanted, available };
    assert_eq!(consumer.wait_readable(4), Err(ended.clone()));
    assert_eq!(consumer.peek(4).unwrap_err(), ended);
    assert_eq!(consumer.try_read_exact(&mut [0; 4]), Err(ended));
    assert_eq!(consumer.peek_up_to(4).unwrap().len(), 3);
}

#[test]
fn a_consumer_that_leaves_ends_a_wait_for_room() {
    for wait in FOR_ROOM {
        let (mut producer, mut consumer) = split();
        producer.write_all(&[7; CAPACITY]).unwrap();
        let (room, ()) = once_asleep(
            || wait(&mut producer, 1, Form::Plain),
            |_| consumer.close().unwrap(),
        );
        let error = room.unwrap_err();
        assert_eq!(error, ReserveError::Broken(Broken::ConsumerClosed));
        assert_eq!(
            producer.try_write_all(b"x"),
            Err(ReserveError::Broken(Broken::ConsumerClosed))
        );
    }
}

#[test]
fn a_death_ends_a_wait() {
    alone("waits::forms::a_death_ends_a_wait", || {
        for wait in 0..3 {
            let die = || {
                Task::parent().until_asleep();
                kill_self();
            };
            let ring = small().create_anonymous().unwrap();
            let other = small().attach(ring.id().unwrap()).unwrap();
            let mut child = Fork::new(move || {
                let mut producer = other.into_producer().unwrap();
                producer.write_all(b"last").unwrap();
                die();
            });
            let mut consumer = ring.into_consumer().unwrap();
            consumer.wait_readable(4).unwrap();
            consumer.read_exact(&mut [0; 4]).unwrap();
            let error = FOR_BYTES[wait](&mut consumer, 1, Form::Plain).unwrap_err();
            let (role, pid) = (Role::Producer, child.pid());
            assert_eq!(error, PeekError::Broken(Broken::Died { role, pid }));
            assert_eq!(child.wait(), End::Signal(libc::SIGKILL));

            let ring = small().create_anonymous().unwrap();
            let other = small().attach(ring.id().unwrap()).unwrap();
            let mut child = Fork::new(move || {
                let mut consumer = other.into_consumer().unwrap();
                consumer.read_exact(&mut [0; CAPACITY]).unwrap();
                consumer.wait_readable(CAPACITY).unwrap();
                die();
            });
            let mut producer = ring.into_producer().unwrap();
            producer.write_all(&[7; 2 * CAPACITY]).unwrap();
            let error = FOR_ROOM[wait](&mut producer, 1, Form::Plain).unwrap_err();
            let (role, pid) = (Role::Consumer, child.pid());
            assert_eq!(error, ReserveError::Broken(Broken::Died { role, pid }));
            assert_eq!(child.wait(), End::Signal(libc::SIGKILL));
        }
    });
}

#[test]
fn nothing_is_there_at_once_and_more_than_the_ring_never() {
    let (mut producer, mut consumer) = split();
    let (wanted, capacity) = (CAPACITY + 1, CAPACITY);
    let far = Form::Deadline(far());
    for wait in &FOR_ROOM[..2] {
        assert_eq!(wait(&mut producer, 0, far), Ok(()));
        let too_long = ReserveError::TooLong { wanted, capacity };
        assert_eq!(wait(&mut producer, wanted, far), Err(too_long));
    }
    for wait in &FOR_BYTES[..2] {
        assert_eq!(wait(&mut consumer, 0, far), Ok(()));
        let too_long = PeekError::TooLong { wanted, capacity };
        assert_eq!(wait(&mut consumer, wanted, far), Err(too_long));
    }
    assert_eq!(producer.reserve_up_to(0).unwrap().len(), 0);
    assert_eq!(producer.reserve_up_to(wanted).unwrap().len(), CAPACITY);
    assert_eq!(consumer.peek_up_to(0).unwrap().len(), 0);
    let too_long = ReserveError::TooLong { wanted, capacity };
    assert_eq!(producer.try_write_all(&[0; CAPACITY + 1]), Err(too_long));
    let too_long = PeekError::TooLong { wanted, capacity };
    let error = consumer.try_read_exact(&mut [0; CAPACITY + 1]).unwrap_err();
    assert_eq!(error, too_long);
    // A full ring has room for nothing, too.
    producer.write_all(&[7; CAPACITY]).unwrap();
    assert_eq!(producer.wait_writable(0), Ok(()));
    assert_eq!(producer.try_write_all(b""), Ok(()));
    assert_eq!(consumer.peek_up_to(wanted).unwrap().len(), CAPACITY);
}

#[test]
fn waiting_calls_on_a_closed_handle_say_so() {
    let (mut producer, mut consumer) = split();
    producer.close().unwrap();
    consumer.close().unwrap();
    for len in [0, 1, CAPACITY, CAPACITY + 1] {
        for (room, bytes) in FOR_ROOM.iter().zip(FOR_BYTES) {
            for form in [Form::Plain, Form::Deadline(soon())] {
                let error = room(&mut producer, len, form).unwrap_err();
                assert_eq!(error, ReserveError::Broken(Broken::Closed));
                let error = bytes(&mut consumer, len, form).unwrap_err();
                assert_eq!(error, PeekError::Broken(Broken::Closed));
            }
        }
        let mut bytes = vec![0; len];
        let closed = ReserveError::Broken(Broken::Closed);
        assert_eq!(producer.try_write_all(&bytes), Err(closed));
        let closed = PeekError::Broken(Broken::Closed);
        assert_eq!(consumer.try_read_exact(&mut bytes), Err(closed));
    }
    assert_eq!(producer.room(), Err(Broken::Closed));
}
