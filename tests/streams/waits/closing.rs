//! Handles that are closed twice.

use std::io::Write;
use std::time::Instant;

use shmpipe::{Broken, CloseError};

use crate::common::{End, Fork, TempPath, alone};
use crate::small::{small, split};

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
        "waits::closing::a_handle_that_a_fork_copied_cannot_be_closed_though_it_was_before",
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
