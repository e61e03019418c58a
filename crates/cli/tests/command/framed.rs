//! Streams that carry their length and digest, over ways that lose failures.

use crate::common::{TempPath, check, stream, unique};
use crate::running::{DONE, FAILURE, Running, SENDER_BROKE_OFF};

/// A framed stream of `bytes`, as `recv --framed` writes it.
fn framed(bytes: &[u8]) -> Vec<u8> {
    let path = TempPath::new();
    let receiver = Running::verb("recv", &path, &["--framed"]);
    let mut sender = Running::verb("send", &path, &["-c", "64K"]);
    sender.feed_all(bytes.to_vec());
    sender.end().with(DONE, "");
    receiver.end().with(DONE, "").stdout
}

/// Two rings, as on two hosts, and a file between them.
#[test]
fn a_framed_stream_arrives() {
    for len in [0, 1, 3_000_001] {
        let seed = unique();
        let between = framed(&stream(seed, 0, len));
        assert_eq!(between.len(), len + 40);
        let path = TempPath::new();
        let receiver = Running::verb("recv", &path, &[]);
        let mut sender = Running::verb("send", &path, &["--framed"]);
        sender.feed_all(between);
        sender.end().with(DONE, "");
        let received = receiver.end().with(DONE, "").stdout;
        assert_eq!(received.len(), len);
        check(seed, 0, &received);
    }
}

/// Found in use: a stream over ssh looked whole although its sender had died.
#[test]
fn a_framed_stream_that_ends_early_is_broken_off() {
    let whole = framed(&[7; 100_000]);
    let mut other = whole.clone();
    other[50_000] ^= 1;
    for (between, words) in [
        (&whole[..60_000], "not whole"),
        (&whole[..whole.len() - 1], "not whole"),
        (&whole[..8], "not whole"),
        (&[], "not whole"),
        (&other, "digest"),
    ] {
        let path = TempPath::new();
        let receiver = Running::verb("recv", &path, &[]);
        let mut sender = Running::verb("send", &path, &["--framed"]);
        sender.feed_all(between.to_vec());
        sender.end().with(SENDER_BROKE_OFF, words);
        receiver
            .end()
            .with(SENDER_BROKE_OFF, "broke the stream off");
    }
    let path = TempPath::new();
    let receiver = Running::verb("recv", &path, &[]);
    let mut sender = Running::verb("send", &path, &["--framed"]);
    sender.feed_all(b"a plain stream".to_vec());
    sender.end().with(FAILURE, "no stream of `recv --framed`");
    receiver
        .end()
        .with(SENDER_BROKE_OFF, "broke the stream off");
}

/// A sender that dies leaves its stream without an end, so the far side breaks off.
#[test]
fn a_death_on_one_host_is_a_broken_stream_on_the_other() {
    let (near, far) = (TempPath::new(), TempPath::new());
    let script = format!("\"$@\" | \"$1\" send --framed {}", far.display());
    let joined = Running::by_shell(
        &script,
        ["recv".as_ref(), "--framed".as_ref(), near.as_os_str()],
    );
    let mut sender = Running::verb("send", &near, &[]);
    sender.feed(&[7; 1000]);
    let receiver = Running::verb("recv", &far, &[]);
    receiver.paired();
    drop(sender); // by SIGKILL
    let received = receiver
        .end()
        .with(SENDER_BROKE_OFF, "broke the stream off");
    assert!(received.stdout.len() < 1001);
    let said = joined.end().stderr;
    assert!(
        said.contains("the producer died") && said.contains("not whole"),
        "{said}"
    );
}
