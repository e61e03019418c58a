//! Streams that end before they are whole: nothing is left of them, and nobody
//! takes them for whole.

use std::fs::File;
use std::io::Read;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use rustix::process::Signal;
use shmpipe::sysv;

use crate::common::TempPath;
use crate::running::{
    A_WHILE, CORRUPT, DONE, FAILURE, PEER_DIED, Running, collect, is_gone, until_read,
};

#[test]
fn a_dead_sender_is_3_after_its_bytes() {
    let path = TempPath::new();
    let receiver = Running::verb("recv", &path, &[]);
    let mut sender = Running::verb("send", &path, &[]);
    sender.feed(b"last words");
    let ring = receiver.paired();
    until_read(ring, 10);
    sender.signal(Signal::KILL);
    let received = receiver.end().with(PEER_DIED, "the producer died");
    assert_eq!(received.stdout, b"last words");
    is_gone(ring, &path);
}

#[test]
fn a_dead_receiver_is_3_for_a_busy_sender() {
    let path = TempPath::new();
    let receiver = Running::unread(["recv".as_ref(), path.as_os_str()]);
    let mut sender = Running::verb("send", &path, &["--capacity", "4KiB"]);
    sender.feed_all(vec![7; 4 << 20]);
    let ring = sender.paired();
    thread::sleep(A_WHILE);
    receiver.signal(Signal::KILL);
    sender.end().with(PEER_DIED, "the consumer died");
    drop(receiver);
    is_gone(ring, &path);
}

#[test]
fn a_dead_receiver_is_3_for_an_idle_sender() {
    let path = TempPath::new();
    let receiver = Running::verb("recv", &path, &[]);
    let sender = Running::verb("send", &path, &[]);
    let ring = sender.paired();
    receiver.signal(Signal::KILL);
    sender.end().with(PEER_DIED, "the consumer died");
    drop(receiver);
    is_gone(ring, &path);
}

#[test]
fn a_signal_breaks_an_idle_stream_off() {
    for signal in [Signal::TERM, Signal::INT] {
        let path = TempPath::new();
        let receiver = Running::verb("recv", &path, &[]);
        let mut sender = Running::verb("send", &path, &[]);
        sender.feed(b"so far");
        let ring = sender.paired();
        until_read(ring, 6);
        sender.signal(signal);
        sender.end().with(FAILURE, "interrupted");
        let received = receiver.end().with(FAILURE, "broke the stream off");
        assert_eq!(received.stdout, b"so far");
        is_gone(ring, &path);
    }
}

#[test]
fn a_hangup_is_ignored_where_it_was() {
    let path = TempPath::new();
    let receiver = Running::verb("recv", &path, &[]);
    let mut sender = Running::without_hangup("send", &path);
    sender.feed(b"before");
    let ring = receiver.paired();
    sender.signal(Signal::HUP);
    thread::sleep(A_WHILE);
    sender.feed(b" and after");
    drop(sender.stdin());
    sender.end().with(DONE, "");
    let received = receiver.end().with(DONE, "");
    assert_eq!(received.stdout, b"before and after");
    is_gone(ring, &path);
}

#[test]
fn a_signal_breaks_a_stream_off_that_waits_for_room() {
    let path = TempPath::new();
    let mut receiver = Running::unread(["recv".as_ref(), path.as_os_str()]);
    let mut sender = Running::verb("send", &path, &["--capacity", "4KiB"]);
    sender.feed_all(vec![7; 4 << 20]);
    let ring = sender.paired();
    thread::sleep(A_WHILE);
    sender.signal(Signal::TERM);
    sender.end().with(FAILURE, "interrupted");
    receiver.stdout = receiver.child.stdout.take().map(collect);
    receiver.end().with(FAILURE, "broke the stream off");
    is_gone(ring, &path);
}

#[test]
fn a_signal_ends_a_receiver_and_its_sender() {
    let path = TempPath::new();
    let receiver = Running::verb("recv", &path, &[]);
    let sender = Running::verb("send", &path, &[]);
    let ring = sender.paired();
    receiver.signal(Signal::INT);
    receiver.end().with(FAILURE, "interrupted");
    sender.end().with(FAILURE, "consumer has closed");
    is_gone(ring, &path);
}

#[test]
fn a_signal_ends_a_receiver_whose_stdout_is_full() {
    let path = TempPath::new();
    let receiver = Running::unread(["recv".as_ref(), path.as_os_str()]);
    let mut sender = Running::verb("send", &path, &["--capacity", "4KiB"]);
    sender.feed_all(vec![7; 4 << 20]);
    let ring = sender.paired();
    thread::sleep(A_WHILE);
    receiver.signal(Signal::TERM);
    receiver.end().with(FAILURE, "interrupted");
    sender.end().with(FAILURE, "consumer has closed");
    is_gone(ring, &path);
}

#[test]
fn a_signal_ends_waiting_for_the_peer() {
    for verb in ["send", "recv"] {
        let path = TempPath::new();
        let alone = Running::verb(verb, &path, &[]);
        let ring = alone.ring();
        alone.signal(Signal::TERM);
        alone.end().with(FAILURE, "interrupted");
        is_gone(ring, &path);
    }
}

#[test]
fn a_closed_stdout_ends_both() {
    let path = TempPath::new();
    let mut receiver = Running::unread(["recv".as_ref(), path.as_os_str()]);
    let mut sender = Running::verb("send", &path, &[]);
    sender.feed_all(vec![7; 64 << 20]);
    let ring = sender.paired();
    let mut stdout = receiver.child.stdout.take().unwrap();
    stdout.read_exact(&mut [0]).unwrap();
    drop(stdout);
    receiver.end().with(FAILURE, "stdout");
    sender.end().with(FAILURE, "consumer has closed");
    is_gone(ring, &path);
}

#[test]
fn a_closed_stdout_ends_both_even_if_nothing_is_sent() {
    let path = TempPath::new();
    let mut receiver = Running::unread(["recv".as_ref(), path.as_os_str()]);
    let sender = Running::verb("send", &path, &[]);
    let ring = sender.paired();
    drop(receiver.child.stdout.take());
    receiver.end().with(FAILURE, "stdout");
    sender.end().with(FAILURE, "consumer has closed");
    is_gone(ring, &path);
}

#[test]
fn an_unreadable_stdin_breaks_the_stream_off() {
    let path = TempPath::new();
    let receiver = Running::verb("recv", &path, &[]);
    let sender = Command::new(env!("CARGO_BIN_EXE_shmpipe"))
        .arg("send")
        .arg(&*path)
        .stdin(File::open(std::env::temp_dir()).unwrap())
        .output()
        .unwrap();
    assert_eq!(sender.status.code(), FAILURE);
    receiver.end().with(FAILURE, "broke the stream off");
    assert!(!path.leads_to_a_segment());
}

#[test]
#[allow(unsafe_code)] // writes where only the peer may
fn a_corrupt_segment_is_4() {
    let path = TempPath::new();
    let receiver = Running::verb("recv", &path, &[]);
    let mut sender = Running::verb("send", &path, &["--capacity", "4KiB"]);
    sender.feed(b"before");
    let ring = receiver.paired();
    until_read(ring, 6);
    let segment = sysv::attach(ring).unwrap();
    let tail: *mut u64 = segment.as_ptr().wrapping_add(256).cast();
    // SAFETY: the tail is aligned and lies in the segment, which stays
    // attached; whoever else uses it does so atomically.
    let tail = unsafe { AtomicU64::from_ptr(tail) };
    tail.store(6 + 4097, Ordering::Relaxed); // more than the ring holds
    let received = receiver.end().with(CORRUPT, "the segment is corrupt");
    assert_eq!(received.stdout, b"before");
    sender.end().with(FAILURE, "consumer has closed");
    drop(segment);
    is_gone(ring, &path);
}
