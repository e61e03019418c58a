//! Grants: room that is filled and then committed, bytes that are looked at
//! and then consumed. What each verb shows, refuses, and leaves as it was.
#![allow(unsafe_code)] // slices of grants

use std::io::{ErrorKind, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::offsets::{CLOSED, HEAD, TAIL, set_start};
use crate::common::{
    End, Fork, PATIENCE, TempPath, alone, check, kill_self, once_asleep, options, page, poke,
    stream,
};
use shmpipe::error::Rule;
use shmpipe::{
    Broken, Consumer, PeekError, Producer, ReserveError, Role, TryReadError, TryWriteError,
};

/// Bytes of the rings here, on pages of 4 KiB.
const CAPACITY: usize = 4096;

fn split() -> (Producer, Consumer) {
    let ring = options().capacity(CAPACITY).create_anonymous().unwrap();
    assert_eq!(ring.capacity(), CAPACITY.max(page()));
    ring.split().unwrap()
}

/// A ring whose producer and consumer stand at `position`.
fn split_at(position: usize) -> (Producer, Consumer) {
    let (mut producer, mut consumer) = split();
    producer.try_reserve(position).unwrap().commit_all();
    consumer.try_peek(position).unwrap().consume_all();
    (producer, consumer)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(20)
}

/// Whether `call` panics, and with what.
fn panic_of(call: impl FnOnce()) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(call)).err()?;
    Some(*panic.downcast::<String>().expect("a message"))
}

// ---- What is visible when ----

#[test]
fn a_record_is_visible_when_it_is_committed_and_not_before() {
    let (mut producer, mut consumer) = split();
    let mut grant = producer.try_reserve(100).unwrap();
    assert_eq!(grant.len(), 100);
    grant.write_at(&stream(1, 50, 50), 50);
    grant.write_at(&stream(1, 0, 50), 0);
    assert_eq!(consumer.available(), Ok(0));
    assert_eq!(consumer.try_read(&mut [0]), Err(TryReadError::Empty));
    grant.commit(70);
    assert_eq!(producer.position(), 70);
    assert_eq!(consumer.available(), Ok(70));
    let mut bytes = [0; 100];
    assert_eq!(consumer.try_read(&mut bytes), Ok(70));
    check(1, 0, &bytes[..70]);
}

#[test]
fn a_write_grant_that_is_dropped_was_never_there() {
    let (mut producer, mut consumer) = split();
    let mut grant = producer.try_reserve(10).unwrap();
    grant.write_at(b"never read", 0);
    drop(grant);
    producer.try_reserve(10).unwrap().commit(0);
    assert_eq!(producer.position(), 0);
    assert_eq!(producer.room(), Ok(CAPACITY));
    assert_eq!(consumer.available(), Ok(0));
    producer.write_all(b"read").unwrap();
    let mut bytes = [0; 10];
    assert_eq!(consumer.try_read(&mut bytes), Ok(4));
    assert_eq!(&bytes[..4], b"read");
}

#[test]
fn a_read_grant_that_is_dropped_has_consumed_nothing() {
    let (mut producer, mut consumer) = split();
    producer.write_all(b"abc").unwrap();
    drop(consumer.try_peek(3).unwrap());
    consumer.try_peek(3).unwrap().consume(0);
    assert_eq!((consumer.position(), consumer.available()), (0, Ok(3)));
    consumer.try_peek(2).unwrap().consume_all();
    assert_eq!(consumer.position(), 2);
    let mut byte = [0];
    consumer.try_peek(1).unwrap().read_at(&mut byte, 0);
    assert_eq!(&byte, b"c");
}

#[test]
fn room_is_given_back_when_it_is_consumed_and_not_before() {
    let (mut producer, mut consumer) = split();
    producer.try_reserve(CAPACITY).unwrap().commit_all();
    let grant = consumer.try_peek(CAPACITY).unwrap();
    assert_eq!(producer.try_write(b"x"), Err(TryWriteError::Full));
    grant.consume(5);
    assert_eq!(producer.room(), Ok(5));
    assert_eq!(producer.try_reserve_up_to(10).unwrap().len(), 5);
}

#[test]
fn one_span_of_any_length_from_any_offset() {
    let capacity = CAPACITY.max(page());
    let (mut producer, mut consumer) = split();
    let mut seen = vec![0; capacity];
    // Odd, so that every offset of the ring comes up in turn.
    let step = 61;
    for turn in 0..capacity {
        let position = producer.position();
        // Lengths around the ends of the range and across all of it.
        let len = [1, capacity, capacity - 1, turn.max(1)][turn % 4];
        let mut grant = producer.try_reserve(len).unwrap();
        let start = grant.as_mut_ptr();
        grant.write_at(&stream(2, position, len), 0);
        grant.commit_all();

        let grant = consumer.try_peek(len).unwrap();
        assert!(!start.is_null() && !grant.as_ptr().is_null());
        grant.read_at(&mut seen[..len], 0);
        check(2, position, &seen[..len]);
        // The same bytes from the middle on.
        grant.read_at(&mut seen[..len - len / 2], len / 2);
        check(2, position + len as u64 / 2, &seen[..len - len / 2]);
        grant.consume_all();

        // To the next offset.
        let odd = (capacity + step - len) % capacity;
        producer.try_reserve(odd).unwrap().commit_all();
        consumer.try_peek(odd).unwrap().consume_all();
    }
}

#[test]
fn slices_and_pointers_show_the_same_bytes_as_the_copies() {
    for position in (1..CAPACITY).step_by(409) {
        let (mut producer, mut consumer) = split_at(position);
        let bytes = stream(3, 0, CAPACITY);
        let mut grant = producer.try_reserve(CAPACITY).unwrap();
        // SAFETY: the peer is this thread, which touches nothing meanwhile.
        let room = unsafe { grant.as_mut_slice() };
        assert_eq!(room.len(), CAPACITY);
        room.copy_from_slice(&bytes);
        let place = grant.as_mut_ptr();
        let last = place.wrapping_add(CAPACITY - 1);
        // SAFETY: the last byte of the grant, which is not shared meanwhile.
        unsafe { last.write(7) };
        grant.commit_all();

        let grant = consumer.try_peek(CAPACITY).unwrap();
        // SAFETY: the peer is this thread, which touches nothing meanwhile.
        let seen = unsafe { grant.as_slice() };
        assert_eq!(seen[..CAPACITY - 1], bytes[..CAPACITY - 1]);
        let last = grant.as_ptr().wrapping_add(CAPACITY - 1);
        // SAFETY: the last byte of the grant, which is not shared meanwhile.
        assert_eq!(unsafe { last.read() }, 7);
        grant.consume_all();
    }
}

#[test]
fn grants_of_no_bytes_change_nothing() {
    let (mut producer, mut consumer) = split();
    for full in [false, true] {
        if full {
            producer.try_reserve(CAPACITY).unwrap().commit_all();
        }
        let before = producer.position();
        let mut grant = producer.try_reserve(0).unwrap();
        grant.write_at(b"", 0);
        // SAFETY: no bytes.
        assert!(unsafe { grant.as_mut_slice() }.is_empty());
        grant.commit(0);
        producer.try_reserve_up_to(0).unwrap().commit_all();
        producer.reserve_deadline(0, soon()).unwrap().commit_all();
        let grant = consumer.try_peek(0).unwrap();
        grant.read_at(&mut [], 0);
        // SAFETY: no bytes.
        assert!(unsafe { grant.as_slice() }.is_empty());
        grant.consume(0);
        consumer.try_peek_up_to(0).unwrap().consume_all();
        consumer.peek_deadline(0, soon()).unwrap().consume_all();
        assert_eq!((producer.position(), consumer.position()), (before, 0));
    }
    producer.close().unwrap();
    consumer.try_peek_up_to(CAPACITY).unwrap().consume_all();
    consumer.try_peek(0).unwrap().consume_all(); // no bytes are there even at the end
    assert_eq!(producer.stats().sleeps + consumer.stats().sleeps, 0);
}

// ---- The caller's own mistakes ----

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

// ---- How much there is ----

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

// ---- Batches ----

#[test]
fn a_batch_holds_grants_back_like_writes() {
    let (mut producer, mut consumer) = split();
    producer.set_batch(10);
    producer.write_all(b"held").unwrap();
    let mut grant = producer.try_reserve(4).unwrap();
    grant.write_at(b"back", 0);
    assert_eq!(consumer.available(), Ok(0));
    grant.commit_all();
    assert_eq!(consumer.available(), Ok(0));
    drop(producer.try_reserve(4).unwrap());
    assert_eq!(consumer.available(), Ok(0));
    // The batch is full.
    let mut grant = producer.reserve(2).unwrap();
    grant.write_at(b"++", 0);
    grant.commit_all();
    assert_eq!(consumer.available(), Ok(10));
    producer.try_reserve(4).unwrap().commit(1);
    producer.flush().unwrap();
    assert_eq!(consumer.available(), Ok(11));
    // An empty commit publishes nothing.
    producer.write_all(b"last").unwrap();
    producer.try_reserve(4).unwrap().commit(0);
    assert_eq!(consumer.available(), Ok(11));
    drop(producer);
    let mut text = String::new();
    consumer.read_to_string(&mut text).unwrap();
    assert_eq!(&text[..10], "heldback++");
    assert_eq!(&text[11..], "last");
}

#[test]
fn a_grant_without_room_publishes_what_a_batch_held_back() {
    for waits in [false, true] {
        let (mut producer, mut consumer) = split();
        producer.set_batch(usize::MAX);
        let capacity = producer.capacity();
        producer.try_reserve(10).unwrap().commit_all();
        assert_eq!(consumer.available(), Ok(0));
        // The consumer has to make room first, so it gets to see what there is.
        let error = if waits {
            producer.reserve_deadline(capacity, Instant::now())
        } else {
            producer.try_reserve(capacity)
        };
        let (wanted, room) = (capacity, capacity - 10);
        let expected = if waits {
            ReserveError::TimedOut { wanted, room }
        } else {
            ReserveError::Full { wanted, room }
        };
        assert_eq!(error.unwrap_err(), expected);
        assert_eq!(consumer.available(), Ok(10));
    }
}

// ---- A peer that leaves, dies or lies ----

#[test]
fn grants_of_a_closed_handle_say_so() {
    let (mut producer, mut consumer) = split();
    producer.close().unwrap();
    consumer.close().unwrap();
    let closed = ReserveError::Broken(Broken::Closed);
    assert_eq!(producer.try_reserve(1).unwrap_err(), closed);
    assert_eq!(producer.try_reserve(0).unwrap_err(), closed);
    assert_eq!(producer.try_reserve_up_to(1).unwrap_err(), closed);
    assert_eq!(producer.reserve_deadline(1, soon()).unwrap_err(), closed);
    let closed = PeekError::Broken(Broken::Closed);
    assert_eq!(consumer.try_peek(1).unwrap_err(), closed);
    assert_eq!(consumer.try_peek(0).unwrap_err(), closed);
    assert_eq!(consumer.try_peek_up_to(1).unwrap_err(), closed);
    assert_eq!(consumer.peek_deadline(1, soon()).unwrap_err(), closed);
}

#[test]
fn a_producer_gets_no_room_when_the_consumer_has_left() {
    let (mut producer, mut consumer) = split();
    let grant = producer.try_reserve(10).unwrap();
    consumer.close().unwrap();
    grant.commit_all(); // what was granted can be committed, for nobody
    let left = ReserveError::Broken(Broken::ConsumerClosed);
    assert_eq!(producer.try_reserve(1).unwrap_err(), left);
    assert_eq!(producer.try_reserve_up_to(1).unwrap_err(), left);
    assert_eq!(producer.reserve_deadline(1, soon()).unwrap_err(), left);
}

#[test]
fn what_a_producer_left_can_be_peeked_at() {
    let (mut producer, mut consumer) = split();
    producer.write_all(b"abc").unwrap();
    let mut grant = producer.try_reserve(3).unwrap();
    grant.write_at(b"not", 0);
    drop(grant);
    producer.abort();
    let aborted = PeekError::Broken(Broken::ProducerAborted);
    assert_eq!(consumer.try_peek(4).unwrap_err(), aborted);
    assert_eq!(consumer.try_peek_up_to(9).unwrap().len(), 3);
    consumer.peek_deadline(3, soon()).unwrap().consume_all();
    assert_eq!(consumer.try_peek_up_to(1).unwrap_err(), aborted);
    assert_eq!(consumer.peek_deadline(1, soon()).unwrap_err(), aborted);
}

#[test]
fn grants_that_wait_learn_that_the_peer_has_left() {
    let far = Instant::now() + PATIENCE;
    let (mut producer, consumer) = split();
    producer.try_reserve(CAPACITY).unwrap().commit_all();
    let (room, ()) = once_asleep(
        || producer.reserve_deadline(1, far).map(drop),
        |_| drop(consumer),
    );
    assert_eq!(room, Err(Broken::ConsumerClosed.into()));

    let (mut producer, mut consumer) = split();
    producer.write_all(b"abc").unwrap();
    let (bytes, ()) = once_asleep(
        || consumer.peek_deadline(4, far).map(drop),
        |_| drop(producer),
    );
    let (wanted, available) = (4, 3);
    assert_eq!(bytes, Err(PeekError::Ended { wanted, available }));
}

#[test]
fn a_record_of_a_killed_producer_is_whole_or_not_there() {
    alone(
        "grants::a_record_of_a_killed_producer_is_whole_or_not_there",
        || {
            for committed in [false, true] {
                let ring = options().capacity(CAPACITY).create_anonymous().unwrap();
                let other = options().attach(ring.id().unwrap()).unwrap();
                let mut producing = Fork::new(move || {
                    let mut producer = other.into_producer().unwrap();
                    producer.write_all(b"before").unwrap();
                    let mut grant = producer.try_reserve(1000).unwrap();
                    grant.write_at(&stream(5, 0, 1000), 0);
                    if committed {
                        grant.commit_all();
                    }
                    kill_self();
                });
                let mut consumer = ring.into_consumer().unwrap();
                assert_eq!(producing.wait(), End::Signal(libc::SIGKILL));
                let pid = producing.pid();
                let role = Role::Producer;
                let mut bytes = Vec::new();
                let error = consumer.read_to_end(&mut bytes).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::BrokenPipe);
                assert_eq!(&bytes[..6], b"before");
                check(5, 0, &bytes[6..]);
                assert_eq!(bytes.len(), if committed { 1006 } else { 6 });
                let died = PeekError::Broken(Broken::Died { role, pid });
                assert_eq!(consumer.try_peek(1).unwrap_err(), died);
            }
        },
    );
}

#[test]
fn a_grant_that_a_fork_copied_is_inert() {
    alone("grants::a_grant_that_a_fork_copied_is_inert", || {
        let (mut producer, mut consumer) = split();
        producer.write_all(b"abc").unwrap();
        let mut writing = producer.try_reserve(4).unwrap();
        let reading = consumer.try_peek(3).unwrap();
        writing.write_at(b"mine", 0);
        let (mut writing, reading) = (Some(writing), Some(reading));
        let mut child = Fork::new(|| {
            let mut grant = writing.take().unwrap();
            grant.write_at(b"HERS", 0);
            grant.commit_all();
            reading.unwrap().consume_all();
        });
        assert_eq!(child.wait(), End::Exit(0));
        // Nothing that the child did to its copies counts.
        writing.unwrap().commit_all();
        let mut text = String::new();
        drop(producer);
        consumer.read_to_string(&mut text).unwrap();
        assert_eq!(text, "abcmine");
    });
}

#[test]
fn positions_that_cannot_be_break_grants_for_good() {
    let (mut producer, mut consumer) = split();
    poke(producer.id().unwrap(), HEAD, &(u64::MAX / 2).to_ne_bytes()); // head
    producer.try_reserve(CAPACITY).unwrap().commit_all(); // known to be free
    for _ in 0..2 {
        let ReserveError::Broken(Broken::Corrupted(found)) = producer.try_reserve(1).unwrap_err()
        else {
            panic!("not corrupted");
        };
        assert_eq!(found.rule(), Rule::HeadOutOfRange);
        assert_eq!(found.found(), u64::MAX / 2);
        let broken = Broken::Corrupted(found);
        let error = producer.try_reserve_up_to(1).unwrap_err();
        assert_eq!(error, broken.clone().into());
        let error = producer.reserve_deadline(1, soon()).unwrap_err();
        assert_eq!(error, broken.clone().into());
        assert_eq!(producer.try_write(b"x"), Err(broken.into()));
        // Mended is not unbroken.
        poke(producer.id().unwrap(), HEAD, &0_u64.to_ne_bytes());
    }

    poke(
        consumer.id().unwrap(),
        256,
        &(CAPACITY as u64 + 1).to_ne_bytes(),
    ); // tail
    for _ in 0..2 {
        let PeekError::Broken(Broken::Corrupted(found)) = consumer.try_peek(1).unwrap_err() else {
            panic!("not corrupted");
        };
        assert_eq!(found.rule(), Rule::TailOutOfRange);
        let broken = Broken::Corrupted(found);
        let error = consumer.try_peek_up_to(1).unwrap_err();
        assert_eq!(error, broken.clone().into());
        let error = consumer.peek_deadline(1, soon()).unwrap_err();
        assert_eq!(error, broken.clone().into());
        assert_eq!(consumer.available(), Err(broken));
        poke(consumer.id().unwrap(), TAIL, &1_u64.to_ne_bytes());
    }
}

#[test]
fn a_closed_word_that_cannot_be_breaks_grants_for_good() {
    let (mut producer, mut consumer) = split();
    poke(producer.id().unwrap(), CLOSED[1], &0x1ff_u64.to_ne_bytes()); // of the consumer
    for _ in 0..2 {
        match producer.try_reserve(1).unwrap_err() {
            ReserveError::Broken(Broken::Corrupted(found)) => {
                assert_eq!(found.rule(), Rule::ClosedWord);
            }
            other => panic!("{other:?}"),
        }
        poke(producer.id().unwrap(), CLOSED[1], &0_u64.to_ne_bytes());
    }
    poke(consumer.id().unwrap(), CLOSED[0], &3_u64.to_ne_bytes()); // of the producer
    for _ in 0..2 {
        match consumer.try_peek(1).unwrap_err() {
            PeekError::Broken(Broken::Corrupted(found)) => {
                assert_eq!(found.rule(), Rule::ClosedWord);
            }
            other => panic!("{other:?}"),
        }
        poke(consumer.id().unwrap(), CLOSED[0], &0_u64.to_ne_bytes());
    }
}

#[test]
fn grants_work_wherever_the_positions_stand() {
    for start in [0, 1 << 32, (1 << 63) - 1, u64::MAX - 100, u64::MAX] {
        let path = TempPath::new();
        let mut options = options();
        options.persistent(true).capacity(CAPACITY);
        drop(options.open_consumer(&path).unwrap());
        set_start(path.segment().unwrap(), start);
        let mut producer = options.open_producer(&path).unwrap();
        let mut consumer = options.open_consumer(&path).unwrap();
        assert_eq!((producer.position(), consumer.position()), (start, start));
        for turn in 0..5 {
            let position = turn * CAPACITY as u64;
            let mut grant = producer.try_reserve(CAPACITY).unwrap();
            grant.write_at(&stream(6, position, CAPACITY), 0);
            grant.commit_all();
            let full = ReserveError::Full { wanted: 1, room: 0 };
            assert_eq!(producer.try_reserve(1).unwrap_err(), full);
            let mut bytes = vec![0; CAPACITY];
            let grant = consumer.try_peek(CAPACITY).unwrap();
            grant.read_at(&mut bytes, 0);
            grant.consume_all();
            check(6, position, &bytes);
        }
        let end = start.wrapping_add(5 * CAPACITY as u64);
        assert_eq!((producer.position(), consumer.position()), (end, end));
    }
}
