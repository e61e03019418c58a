//! Streams that arrive, and streams that do not get started or on.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::common::{TempPath, check, is_waited_for, stream, unique};
use crate::running::{
    DONE, FAILURE, RECEIVER_LEFT, Running, SENDER_BROKE_OFF, TIMED_OUT, collect, is_gone, until,
};

/// Streams `len` bytes; the second to start does so once the first waits.
#[track_caller]
fn round_trip(len: usize, capacity: &str, sender_first: bool) {
    let path = TempPath::new();
    let seed = unique();
    let options = ["--capacity", capacity];
    let send = || Running::verb("send", &path, &options);
    let recv = || Running::verb("recv", &path, &options);
    let (mut sender, receiver) = if sender_first {
        let sender = send();
        sender.ring();
        (sender, recv())
    } else {
        let receiver = recv();
        receiver.ring();
        (send(), receiver)
    };
    sender.feed_all(stream(seed, 0, len));
    sender.end().with(DONE, "");
    let received = receiver.end().with(DONE, "").stdout;
    assert_eq!(received.len(), len);
    check(seed, 0, &received);
    assert!(!path.leads_to_a_segment());
}

#[test]
fn a_stream_arrives_through_a_small_ring_whoever_starts_first() {
    round_trip(24 << 20, "4KiB", true);
    round_trip(24 << 20, "4KiB", false);
}

#[test]
fn a_stream_arrives_through_a_large_ring_whoever_starts_first() {
    round_trip(80_000_001, "64MiB", true);
    round_trip(80_000_001, "64MiB", false);
}

#[test]
fn a_stream_of_no_bytes_is_whole() {
    round_trip(0, "4096", true);
    round_trip(0, "4096", false);
}

#[test]
fn a_ring_can_be_larger_than_its_stream() {
    round_trip(1_000_000, "1GiB", false);
}

#[test]
fn both_may_start_at_once_and_make_the_file() {
    let path = TempPath::new();
    fs::remove_file(&path).unwrap();
    let receiver = Running::verb("recv", &path, &[]);
    let mut sender = Running::verb("send", &path, &[]);
    sender.feed_all(b"hello".to_vec());
    sender.end().with(DONE, "");
    assert_eq!(receiver.end().with(DONE, "").stdout, b"hello");
    let made = fs::metadata(&path).unwrap();
    assert_eq!((made.len(), made.permissions().mode() & 0o777), (0, 0o600));
}

#[test]
fn the_contents_of_the_file_stay() {
    let path = TempPath::new();
    fs::write(&path, "contents").unwrap();
    let receiver = Running::verb("recv", &path, &["--project", "255"]);
    let mut sender = Running::verb("send", &path, &["--project", "255"]);
    sender.feed_all(b"hello".to_vec());
    sender.end().with(DONE, "");
    assert_eq!(receiver.end().with(DONE, "").stdout, b"hello");
    assert_eq!(fs::read(&path).unwrap(), b"contents");
}

#[test]
fn a_path_that_cannot_name_a_ring_is_1() {
    let directory = std::env::temp_dir();
    Running::verb("send", &directory, &[])
        .end()
        .with(FAILURE, "is a directory");
    let missing = directory.join(format!("{:x}/ring", unique()));
    Running::verb("recv", &missing, &[])
        .end()
        .with(FAILURE, "there is no folder");
}

#[test]
fn a_peer_that_does_not_come_is_5() {
    for verb in ["send", "recv"] {
        let path = TempPath::new();
        let alone = Running::verb(verb, &path, &["--timeout", "200ms"]);
        alone.end().with(TIMED_OUT, "timed out after 0.2 s");
        assert!(!path.leads_to_a_segment());
    }
}

#[test]
fn a_sender_that_gets_no_room_is_5() {
    let path = TempPath::new();
    let small = ["--capacity", "4KiB"].map(AsRef::as_ref);
    let args = ["recv".as_ref(), path.as_os_str()];
    let mut receiver = Running::unread(args.into_iter().chain(small));
    // So that the sender has not to wait for it.
    until("the receiver waits", || is_waited_for(&path).then_some(()));
    let ring = receiver.ring();
    let mut sender = Running::verb("send", &path, &["--capacity", "4KiB", "--timeout", "500ms"]);
    sender.feed_all(stream(1, 0, 4 << 20));
    sender.end().with(TIMED_OUT, "no room for a byte");
    // What was sent comes, and is not taken for all of it.
    receiver.stdout = receiver.child.stdout.take().map(collect);
    let received = receiver
        .end()
        .with(SENDER_BROKE_OFF, "broke the stream off");
    assert!(!received.stdout.is_empty());
    check(1, 0, &received.stdout);
    is_gone(ring, &path);
}

#[test]
fn a_receiver_that_gets_no_bytes_is_5() {
    let path = TempPath::new();
    let sender = Running::verb("send", &path, &[]);
    until("the sender waits", || is_waited_for(&path).then_some(()));
    let ring = sender.ring();
    let receiver = Running::verb("recv", &path, &["--timeout", "500ms"]);
    receiver.end().with(TIMED_OUT, "no byte to read");
    sender.end().with(RECEIVER_LEFT, "consumer has closed"); // while its stdin is idle
    is_gone(ring, &path);
}

/// The second of a kind is refused, whoever that is, and the first goes on.
#[test]
fn two_of_a_kind_at_once_are_one_too_many() {
    for (verb, other, persist) in [
        ("recv", "send", &[][..]),
        ("send", "recv", &[]),
        ("send", "recv", &["--persist"]),
        ("recv", "send", &["--persist"]),
    ] {
        let path = TempPath::new();
        let mut first = Running::verb(verb, &path, persist);
        first.ring();
        let seconds = [0, 1].map(|_| Running::verb(verb, &path, persist));
        for second in seconds {
            second.end().with(FAILURE, "already: process");
        }
        let mut peer = Running::verb(other, &path, persist);
        let sender = if verb == "send" {
            &mut first
        } else {
            &mut peer
        };
        sender.feed_all(b"for one".to_vec());
        let (first, peer) = (first.end().with(DONE, ""), peer.end().with(DONE, ""));
        let receiver = if verb == "send" { peer } else { first };
        assert_eq!(receiver.text(), "for one");
    }
}
