//! One grammar of waiting: the plain verb blocks within the handle's timeout,
//! `try_` never waits, `_deadline` waits until then. No test here asserts how
//! long something takes, but that it ends.
#![allow(unsafe_code)] // bytes of a span

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{
    End, Fork, PATIENCE, Task, TempPath, alone, check, kill_self, once_asleep, sleeps, stream,
    until,
};
use crate::small::{CAPACITY, small, soon, split};
use shmpipe::{
    Broken, CloseError, Consumer, Occupant, OpenError, PeekError, Producer, ReserveError, Role,
};

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
    alone("waits::a_death_ends_a_wait", || {
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

// ---- Whole or nothing ----

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
    shmpipe::Options::new().remove(&path).unwrap();
}

// ---- Without a borrow ----

#[test]
fn raw_grants_move_what_grants_would() {
    let (mut producer, mut consumer) = split();
    let mut at = 0;
    for _ in 0..20 {
        let room = producer.try_reserve_raw(1000).unwrap();
        assert_eq!(room.len(), 1000);
        for (offset, byte) in stream(6, at, 700).into_iter().enumerate() {
            // SAFETY: inside the room.
            let place = unsafe { room.cast::<u8>().add(offset) };
            // SAFETY: as above, and volatile, whoever the peer is.
            unsafe { place.write_volatile(byte) };
        }
        producer.commit_raw(700).unwrap();
        let found = consumer.try_peek_raw(usize::MAX).unwrap();
        let bytes: Vec<u8> = (0..found.len())
            .map(|offset| {
                // SAFETY: inside what was found.
                let place = unsafe { found.cast::<u8>().add(offset) };
                // SAFETY: as above, and volatile, whoever the peer is.
                unsafe { place.read_volatile() }
            })
            .collect();
        assert_eq!(bytes.len(), 700);
        check(6, at, &bytes);
        assert_eq!(consumer.try_peek(700).unwrap().to_vec(), bytes);
        consumer.consume_raw(700).unwrap();
        at += 700;
    }
    assert_eq!((producer.position(), consumer.position()), (at, at));
}

#[test]
fn raw_grants_are_held_to_what_is_there() {
    let (mut producer, mut consumer) = split();
    let (wanted, capacity) = (CAPACITY + 1, CAPACITY);
    let too_long = Err(ReserveError::TooLong { wanted, capacity });
    assert_eq!(producer.commit_raw(wanted), too_long);
    producer.commit_raw(CAPACITY).unwrap();
    producer.commit_raw(0).unwrap();
    let full = ReserveError::Full { wanted: 1, room: 0 };
    assert_eq!(producer.try_reserve_raw(9), Err(full.clone()));
    assert_eq!(producer.commit_raw(1), Err(full));
    consumer.consume_raw(CAPACITY - 1).unwrap();
    let (wanted, available) = (2, 1);
    let empty = Err(PeekError::Empty { wanted, available });
    assert_eq!(consumer.consume_raw(2), empty);
    assert_eq!(consumer.position(), CAPACITY as u64 - 1);
    drop(producer);
    let ended = Err(PeekError::Ended { wanted, available });
    assert_eq!(consumer.consume_raw(2), ended);
    consumer.consume_raw(1).unwrap();
    consumer.close().unwrap();
    assert_eq!(consumer.consume_raw(0), Err(Broken::Closed.into()));
    let closed = consumer.try_peek_raw(1).unwrap_err();
    assert_eq!(closed, Broken::Closed.into());
}

// ---- Closing twice ----

#[test]
fn closing_twice_is_no_error_and_closing_what_was_aborted_is() {
    let (mut producer, mut consumer) = split();
    for _ in 0..2 {
        assert_eq!(producer.close(), Ok(()));
        assert_eq!(producer.close_deadline(Instant::now()), Ok(()));
        assert_eq!(consumer.close(), Ok(()));
    }
    let aborted = Err(CloseError::Broken(Broken::Closed));
    let (mut producer, mut consumer) = split();
    producer.abort();
    consumer.abort();
    for _ in 0..2 {
        assert_eq!(producer.close(), aborted);
        assert_eq!(consumer.close(), aborted);
    }
}

#[test]
fn closing_twice_tells_once_what_nobody_will_read() {
    let path = TempPath::new();
    let mut options = small();
    let mut producer = options.wait_for_peer(false).open_producer(&path).unwrap();
    producer.write_all(b"12345").unwrap();
    assert_eq!(producer.close(), Err(CloseError::NeverCame { unread: 5 }));
    assert_eq!(producer.close(), Ok(()));
}

#[test]
fn a_handle_that_a_fork_copied_cannot_be_closed_though_it_was_before() {
    alone(
        "waits::a_handle_that_a_fork_copied_cannot_be_closed_though_it_was_before",
        || {
            let (mut producer, mut consumer) = split();
            producer.close().unwrap();
            consumer.close().unwrap();
            let mut child = Fork::new(|| {
                let inherited = || Err(CloseError::Broken(Broken::Inherited));
                assert_eq!(producer.close(), inherited());
                assert_eq!(consumer.close(), inherited());
            });
            assert_eq!(child.wait(), End::Exit(0));
        },
    );
}

// ---- Waiting for the peer in opening ----

#[test]
fn a_persistent_open_waits_where_it_is_told_to() {
    let path = TempPath::new();
    let mut options = small();
    options.persistent(true).wait_for_peer(true);
    thread::scope(|scope| {
        let producing = scope.spawn(|| options.open_producer(&path).unwrap());
        until(|| (path.segment()).is_some_and(|id| sleeps(id, Role::Producer)));
        assert!(!producing.is_finished());
        let consumer = options.open_consumer(&path).unwrap();
        let producer = producing.join().unwrap();
        assert_eq!(producer.peer(), Occupant::Process(std::process::id()));
        drop(consumer);
    });
    shmpipe::Options::new().force_remove(&path).unwrap();
}

#[test]
fn a_persistent_open_that_waited_in_vain_leaves_the_stream_as_it_was() {
    let path = TempPath::new();
    let mut options = small();
    options.persistent(true);
    let mut waiting = options.clone();
    waiting
        .wait_for_peer(true)
        .timeout(Some(Duration::from_millis(20)));
    for _ in 0..3 {
        let error = waiting.open_producer(&path).unwrap_err();
        assert!(matches!(error, OpenError::TimedOut { .. }), "{error}");
        let error = waiting.open_consumer(&path).unwrap_err();
        assert!(matches!(error, OpenError::TimedOut { .. }), "{error}");
    }
    // No stream has begun, so none has ended.
    options
        .open_producer(&path)
        .unwrap()
        .write_all(b"abc")
        .unwrap();
    let mut consumer = waiting.open_consumer(&path).unwrap(); // there is something to read
    let mut text = String::new();
    consumer.read_to_string(&mut text).unwrap();
    assert_eq!(text, "abc");
    drop(consumer);
    shmpipe::Options::new().force_remove(&path).unwrap();
}

#[test]
fn a_resumed_stream_is_still_to_be_resumed_after_an_open_that_waited_in_vain() {
    alone(
        "waits::a_resumed_stream_is_still_to_be_resumed_after_an_open_that_waited_in_vain",
        || {
            let path = TempPath::new();
            let mut options = small();
            options.persistent(true).resume(true);
            let mut child = Fork::new(|| {
                let mut producer = options.open_producer(&path).unwrap();
                producer.write_all(b"abc").unwrap();
                kill_self();
            });
            assert_eq!(child.wait(), End::Signal(libc::SIGKILL));
            let mut waiting = options.clone();
            let limit = Some(Duration::from_millis(20));
            waiting.wait_for_peer(true).timeout(limit);
            let error = waiting.open_producer(&path).unwrap_err();
            assert!(matches!(error, OpenError::TimedOut { .. }), "{error}");
            let mut producer = options.open_producer(&path).unwrap();
            assert_eq!(producer.stream_position(), 3);
            producer.write_all(b"def").unwrap();
            drop(producer);
            let mut text = String::new();
            let mut consumer = options.open_consumer(&path).unwrap();
            consumer.read_to_string(&mut text).unwrap();
            assert_eq!(text, "abcdef");
            drop(consumer);
            shmpipe::Options::new().force_remove(&path).unwrap();
        },
    );
}
