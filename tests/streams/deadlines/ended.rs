//! Waits that the peer or the caller ends before the deadline.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use shmpipe::{Broken, PeekError, ReserveError, WaitError};

use super::{POLICIES, assert_stops};
use crate::common::{PATIENCE, once_waiting};
use crate::small::{CAPACITY, small, soon, split};

#[test]
fn calls_with_deadlines_on_a_closed_handle_say_so_whatever_there_is_to_move() {
    let (mut producer, mut consumer) = split();
    producer.close().unwrap();
    consumer.close().unwrap();
    let closed = || WaitError::Broken(Broken::Closed);
    for len in [0, 1] {
        let mut bytes = vec![0; len];
        assert_stops(producer.write_all_deadline(&bytes, soon()), 0, closed());
        assert_stops(consumer.read_deadline(&mut bytes, soon()), 0, closed());
        assert_stops(
            consumer.read_exact_deadline(&mut bytes, soon()),
            0,
            closed(),
        );
    }
}

#[test]
fn a_peer_that_leaves_during_the_wait_ends_it() {
    for policy in POLICIES {
        let far = Instant::now() + PATIENCE;
        let (mut producer, mut consumer) = split();
        producer.set_wait_policy(policy);
        consumer.set_wait_policy(policy);
        let (written, ()) = once_waiting(
            || producer.write_all_deadline(&[7; CAPACITY + 6], far),
            |_| {
                consumer.read_exact(&mut [0; 5]).unwrap();
                drop(consumer);
            },
        );
        let partial = written.unwrap_err();
        assert_eq!(partial.cause, WaitError::Broken(Broken::ConsumerClosed));
        // The five are written or not, as the two come to it.
        assert!((CAPACITY..=CAPACITY + 5).contains(&partial.moved));

        for aborted in [false, true] {
            let (mut producer, mut consumer) = split();
            consumer.set_wait_policy(policy);
            let mut bytes = [0; 9];
            producer.write_all(b"abc").unwrap();
            let (read, ()) = once_waiting(
                || consumer.read_exact_deadline(&mut bytes, far),
                |_| match aborted {
                    true => producer.abort(),
                    false => producer.close().unwrap(),
                },
            );
            let cause = match aborted {
                true => WaitError::Broken(Broken::ProducerAborted),
                false => WaitError::Ended,
            };
            assert_stops(read, 3, cause);
            assert_eq!(&bytes[..3], b"abc");
        }
    }
}

#[test]
fn a_cancel_flag_ends_every_wait_and_nothing_else() {
    for policy in POLICIES {
        let flag = Arc::new(AtomicBool::new(true));
        let mut options = small();
        options.cancel_on(flag.clone()).wait_policy(policy);
        let (mut producer, mut consumer) = options.create_anonymous().unwrap().split().unwrap();
        assert_eq!(consumer.wait_policy(), policy);
        let far = Instant::now() + PATIENCE;
        let cancelled = || WaitError::Cancelled;
        let mut bytes = [0; 9];
        assert_stops(consumer.read_deadline(&mut bytes, far), 0, cancelled());
        producer.write_all_deadline(b"abc", far).unwrap(); // does not wait
        assert_stops(
            consumer.read_exact_deadline(&mut bytes, far),
            3,
            cancelled(),
        );
        let error = consumer.peek_deadline(1, far).unwrap_err();
        assert_eq!(error, PeekError::Cancelled);
        let result = producer.write_all_deadline(&[7; CAPACITY + 9], far);
        assert_stops(result, CAPACITY, cancelled());
        let error = producer.reserve_deadline(1, far).unwrap_err();
        assert_eq!(error, ReserveError::Cancelled);
        // The stream goes on.
        flag.store(false, Ordering::Relaxed);
        consumer.read_exact(&mut [0; CAPACITY]).unwrap();
        producer.write_all_deadline(b"x", far).unwrap();
        consumer.peek_deadline(1, far).unwrap().consume_all();
    }
}
