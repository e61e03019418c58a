//! Rings that persist: one stream after the other, each with its end.

use std::fs::{self, File};

use rustix::process::Signal;
use shmpipe::{Occupant, Snapshot};

use crate::common::offsets::{self, OWNERS};
use crate::common::{TempPath, check, stream, unique};
use crate::running::{
    DONE, FAILURE, PEER_DIED, Running, SENDER_BROKE_OFF, TIMED_OUT, USAGE, is_full, until,
    until_read,
};

const PERSIST: [&str; 3] = ["--persist", "--capacity", "64KiB"];

fn send(path: &TempPath, text: &str) {
    let mut sender = Running::verb("send", path, &PERSIST);
    sender.feed_all(text.into());
    sender.end().with(DONE, "");
}

fn recv(path: &TempPath) -> Running {
    Running::verb("recv", path, &["--persist"])
}

fn remove(path: &TempPath) {
    // The tests beside this one look into all rings, which attaches them a moment.
    until("it is removed", || {
        shmpipe::Options::new().remove(path).ok()
    });
}

/// A sender that has written `bytes`, and waits for more of its stdin.
fn sender_in_mid_stream(path: &TempPath, bytes: &[u8], options: &[&str]) -> Running {
    let before = shmpipe::Options::new()
        .snapshot(path)
        .map_or(0, |ring| ring.written);
    let mut sender = Running::verb("send", path, &[&PERSIST[..], options].concat());
    sender.feed(bytes);
    let ring = sender.ring();
    let after = before + bytes.len() as u64;
    let written = || Snapshot::of(ring).is_ok_and(|ring| ring.written >= after);
    until("it has written", || written().then_some(()));
    sender
}

#[test]
fn each_receiver_takes_one_stream() {
    let path = TempPath::new();
    send(&path, "one");
    send(&path, "");
    send(&path, "three");
    for text in ["one", "", "three"] {
        assert_eq!(recv(&path).end().with(DONE, "").text(), text);
    }
    let none = Running::verb("recv", &path, &["--persist", "--timeout", "100ms"]);
    none.end().with(TIMED_OUT, "");
    remove(&path);
}

#[test]
fn a_stream_that_was_broken_off_is_told_once_and_the_next_one_follows() {
    let path = TempPath::new();
    let sender = sender_in_mid_stream(&path, b"half", &[]);
    sender.signal(Signal::TERM);
    sender.end().by(Signal::TERM);
    send(&path, "whole");
    let broken = recv(&path).end();
    assert_eq!(broken.text(), "half");
    broken.with(SENDER_BROKE_OFF, "broke the stream off");
    assert_eq!(recv(&path).end().with(DONE, "").text(), "whole");
    remove(&path);
}

#[test]
fn a_killed_senders_part_does_not_pass_for_the_whole_with_the_next_ones() {
    let path = TempPath::new();
    drop(sender_in_mid_stream(&path, b"half", &[])); // SIGKILL
    send(&path, "whole");
    let broken = recv(&path).end();
    assert_eq!(broken.text(), "half");
    broken.with(PEER_DIED, "died");
    assert_eq!(recv(&path).end().with(DONE, "").text(), "whole");
    remove(&path);
}

#[test]
fn a_killed_senders_file_is_sent_on_from_where_it_was() {
    let (path, file) = (TempPath::new(), TempPath::new());
    let seed = unique();
    fs::write(&file, stream(seed, 0, 300_000)).unwrap();
    let options = [&PERSIST[..], &["--resume"]].concat();
    let send = || Running::fed_by(File::open(&file).unwrap(), "send", &path, &options);
    for signal in [Signal::KILL, Signal::TERM] {
        let sender = send();
        let ring = sender.ring();
        until("the ring is full", || is_full(ring).then_some(()));
        sender.signal(signal);
        assert!(!sender.end().status.success());
    }
    let sender = send();
    // A receiver that comes first may find nobody but the dead one.
    let (ring, own) = (sender.ring(), Occupant::Process(sender.pid()));
    let resumes = || Snapshot::of(ring).is_ok_and(|ring| ring.producer == own);
    until("the sender has resumed", || resumes().then_some(()));
    let received = recv(&path).end().with(DONE, "").stdout;
    sender.end().with(DONE, "");
    assert_eq!(received.len(), 300_000);
    check(seed, 0, &received);

    // A file that cannot be the one that was sent.
    drop(sender_in_mid_stream(&path, b"more than one byte", &[]));
    fs::write(&file, "1").unwrap();
    send().end().with(FAILURE, "it has 1 only");
    remove(&path);
}

#[test]
fn a_sender_waits_for_the_receiver_that_follows_a_killed_one() {
    let path = TempPath::new();
    let seed = unique();
    let mut sender = Running::verb("send", &path, &PERSIST);
    let ring = sender.ring();
    let receiver = recv(&path);
    let has = Occupant::Process(receiver.pid());
    let is_there = || Snapshot::of(ring).is_ok_and(|ring| ring.consumer == has);
    until("the receiver is there", || is_there().then_some(()));
    drop(receiver); // SIGKILL
    sender.feed_all(stream(seed, 0, 1 << 20));
    until("the ring is full", || is_full(ring).then_some(()));
    let received = recv(&path).end().with(DONE, "").stdout;
    sender.end().with(DONE, "");
    assert_eq!(received.len(), 1 << 20);
    check(seed, 0, &received);

    let limit = [&PERSIST[..], &["--timeout", "100ms"]].concat();
    let mut sender = Running::verb("send", &path, &limit);
    sender.feed_all(vec![0; 1 << 20]);
    sender.end().with(TIMED_OUT, "");
    remove(&path);
}

#[test]
fn a_receiver_that_follows_takes_one_stream_after_the_other() {
    let path = TempPath::new();
    send(&path, "one, ");
    let follower = Running::verb("recv", &path, &["--persist", "--follow"]);
    let ring = follower.ring();
    until_read(ring, 5);
    let idle = || Snapshot::of(ring).is_ok_and(|ring| ring.unread_ends == 0);
    until("the end is acknowledged", || idle().then_some(()));
    follower.task().until_asleep(); // it waits for a sender
    send(&path, "two, ");
    send(&path, "three");
    until_read(ring, 15);
    until("all ends are acknowledged", || idle().then_some(()));
    follower.signal(Signal::INT);
    let ended = follower.end();
    assert_eq!(ended.text(), "one, two, three");
    ended.by(Signal::INT);

    // A part in the middle would look whole.
    let sender = sender_in_mid_stream(&path, b"half", &[]);
    sender.signal(Signal::TERM);
    sender.end().by(Signal::TERM);
    let follower = Running::verb("recv", &path, &["--persist", "--follow"]);
    follower
        .end()
        .with(SENDER_BROKE_OFF, "broke the stream off");
    let options = ["--persist", "--follow", "--timeout", "100ms"];
    let follower = Running::verb("recv", &path, &options);
    follower.end().with(TIMED_OUT, "");
    remove(&path);
}

/// A sender that dies has not ended its stream: another one may resume it.
#[test]
fn a_receiver_that_follows_outlasts_a_killed_sender() {
    let path = TempPath::new();
    let follower = Running::verb(
        "recv",
        &path,
        &["--persist", "--follow", "--capacity", "64KiB"],
    );
    let ring = follower.ring();
    drop(sender_in_mid_stream(&path, b"one half, ", &["--resume"])); // SIGKILL
    until_read(ring, 10);
    // Who declares a death frees the owner word.
    let noticed = || offsets::read(ring, OWNERS[0]) == 0;
    until("it has noticed", || noticed().then_some(()));
    let options = [&PERSIST[..], &["--resume"]].concat();
    // A pipe may give those bytes again, or have lost some.
    let sender = Running::verb("send", &path, &options);
    sender.end().with(FAILURE, "cannot seek behind them");
    let file = TempPath::new();
    fs::write(&file, "one half, and the other").unwrap();
    let sender = Running::fed_by(File::open(&file).unwrap(), "send", &path, &options);
    sender.end().with(DONE, "");
    let idle = || Snapshot::of(ring).is_ok_and(|ring| (ring.fill, ring.unread_ends) == (0, 0));
    until("the end is acknowledged", || idle().then_some(()));
    // One that is not resumed is broken off.
    drop(sender_in_mid_stream(&path, b"part", &[]));
    send(&path, "whole");
    let ended = follower.end();
    assert_eq!(ended.text(), "one half, and the otherpart");
    ended.with(PEER_DIED, "died");
    remove(&path);
}

/// What was read and not written is there for the next receiver, end and all.
#[test]
fn an_interrupted_receiver_acknowledges_nothing() {
    let path = TempPath::new();
    send(&path, "kept");
    let args = ["recv".as_ref(), path.as_os_str(), "--persist".as_ref()];
    let receiver = Running::with_broken_stdout(args);
    assert!(!receiver.end().status.success());
    assert_eq!(recv(&path).end().with(DONE, "").text(), "kept");
    remove(&path);
}

#[test]
fn resume_needs_a_ring_that_persists() {
    let path = TempPath::new();
    Running::verb("send", &path, &["--resume"])
        .end()
        .with(USAGE, "--persist");
}
