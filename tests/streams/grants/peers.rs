//! Grants beside a peer that leaves, dies or lies.

use std::io::{ErrorKind, Read, Write};
use std::time::Instant;

use shmpipe::error::Rule;
use shmpipe::{Broken, PeekError, ReserveError, Role};

use super::{CAPACITY, soon, split};
use crate::common::offsets::{CLOSED, HEAD, TAIL, set_start};
use crate::common::{
    End, Fork, PATIENCE, TempPath, alone, check, kill_self, once_asleep, options, poke, stream,
};

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
        "grants::peers::a_record_of_a_killed_producer_is_whole_or_not_there",
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
    alone("grants::peers::a_grant_that_a_fork_copied_is_inert", || {
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
