//! Raw grants: grants without a borrow of the handle.
#![allow(unsafe_code)] // bytes of a span

use shmpipe::{Broken, PeekError, ReserveError};

use crate::common::{check, stream};
use crate::small::{CAPACITY, split};

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
