//! Opens of persistent rings that wait for the peer.

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use shmpipe::{Occupant, OpenError, Role};

use crate::common::{End, Fork, TempPath, alone, kill_self, sleeps, until};
use crate::small::small;

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
        "waits::opening::a_resumed_stream_is_still_to_be_resumed_after_an_open_that_waited_in_vain",
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
