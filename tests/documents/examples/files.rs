//! Examples that send files, logs and several streams.

use std::io::Write;

use super::Example;
use crate::common::{TempPath, is_waited_for, remove_unused, stream, unique, until};

/// Both ends are killed again and again, and the file arrives whole, once.
#[test]
fn a_log_arrives_whole_though_both_ends_are_killed() {
    let (path, source, spool) = (TempPath::new(), TempPath::new(), TempPath::new());
    std::fs::remove_file(&spool).unwrap(); // the relay makes a folder
    let bytes = stream(unique(), 0, 3 << 20);
    std::fs::write(&source, &bytes).unwrap();
    let write = || Example::start("log_writer", &[path.as_os_str(), source.as_os_str()]);
    let relay = |seconds: &str| {
        Example::start(
            "relay",
            &[path.as_os_str(), spool.as_os_str(), seconds.as_ref()],
        )
    };

    let part = spool.join("0.part");
    for round in 1..=4 {
        let (writer, relay) = (write(), relay("60")); // it is killed
        until(|| std::fs::metadata(&part).is_ok_and(|part| part.len() >= round * (300 << 10)));
        // The one first, then the other.
        if round % 2 == 0 {
            drop(relay);
            drop(writer);
        } else {
            drop(writer);
            drop(relay);
        }
    }
    let (mut writer, mut relay) = (write(), relay("60"));
    assert!(writer.child.wait().unwrap().success());
    assert_eq!(relay.line(), "0.whole\n");
    drop(relay);
    assert!(std::fs::read(spool.join("0.whole")).unwrap() == bytes);
    assert_eq!(std::fs::read_dir(&spool).unwrap().count(), 1);
    std::fs::remove_dir_all(&spool).unwrap();
    remove_unused(|| shmpipe::Options::new().remove(&path));
}

#[test]
fn a_relay_tells_streams_and_their_ends_apart() {
    let (path, spool) = (TempPath::new(), TempPath::new());
    std::fs::remove_file(&spool).unwrap();
    let mut options = shmpipe::Options::new();
    options.persistent(true).capacity(1 << 16); // as the relay
    for (text, is_whole) in [("one", true), ("", true), ("tw", false), ("three", true)] {
        let mut producer = options.open_producer(&path).unwrap();
        producer.write_all(text.as_bytes()).unwrap();
        match is_whole {
            true => producer.close().unwrap(),
            false => producer.abort(),
        }
    }
    let relay = Example::start("relay", &[path.as_os_str(), spool.as_os_str()]);
    let names = "0.whole\n3.whole\n3.broken\n5.whole\n";
    assert_eq!(relay.end().printed(), names);
    for (name, text) in [("0.whole", "one"), ("3.broken", "tw"), ("5.whole", "three")] {
        assert_eq!(std::fs::read_to_string(spool.join(name)).unwrap(), text);
    }
    std::fs::remove_dir_all(&spool).unwrap();
    remove_unused(|| shmpipe::Options::new().remove(&path));
}

/// Sends `len` bytes from file to file, the sender first or last.
fn a_file_arrives(len: usize, sender_first: bool) {
    let (path, file, copy) = (TempPath::new(), TempPath::new(), TempPath::new());
    std::fs::remove_file(&path).unwrap(); // whoever comes first makes it
    let bytes = stream(unique(), 0, len);
    std::fs::write(&file, &bytes).unwrap();

    let send = || Example::start("send_file", &[path.as_ref(), file.as_ref()]);
    let receive = || Example::start("receive_file", &[path.as_ref(), copy.as_ref()]);
    let (sender, receiver) = if sender_first {
        let sender = send();
        until(|| is_waited_for(&path));
        (sender, receive())
    } else {
        let receiver = receive();
        until(|| is_waited_for(&path));
        (send(), receiver)
    };
    let (sender, receiver) = (sender.end(), receiver.end());

    assert_eq!(sender.printed(), format!("{len} bytes sent\n"));
    assert_eq!(receiver.printed(), format!("{len} bytes received\n"));
    assert!(std::fs::read(&copy).unwrap() == bytes);
    assert!(!path.leads_to_a_segment());
    sender.leaves_no_segment();
    receiver.leaves_no_segment();
}

#[test]
fn a_file_arrives_when_the_sender_comes_first() {
    a_file_arrives(10_000_019, true);
}

#[test]
fn a_file_arrives_when_the_receiver_comes_first() {
    a_file_arrives(10_000_019, false);
}

#[test]
fn an_empty_file_arrives() {
    a_file_arrives(0, true);
}

#[test]
fn a_file_that_cannot_be_read_is_not_taken_for_empty() {
    let (path, copy) = (TempPath::new(), TempPath::new());
    let sender = Example::start("send_file", &[path.as_ref(), "/does/not/exist".as_ref()]);
    let receiver = Example::start("receive_file", &[path.as_ref(), copy.as_ref()]);
    let (sender, receiver) = (sender.end(), receiver.end());
    assert!(sender.complaint().contains("NotFound"), "{sender:?}");
    let complaint = receiver.complaint();
    assert!(complaint.contains("broke the stream off"), "{complaint}");
    assert!(!path.leads_to_a_segment());
}

#[test]
fn a_killed_sender_is_not_taken_for_done() {
    const SENT: usize = 100_000;
    let (path, copy) = (TempPath::new(), TempPath::new());
    let bytes = stream(unique(), 0, SENT);

    let receiver = Example::start("receive_file", &[path.as_ref(), copy.as_ref()]);
    let mut sender = Example::start("send_file", &[path.as_ref(), "/dev/stdin".as_ref()]);
    let mut stdin = sender.child.stdin.take().unwrap();
    stdin.write_all(&bytes).unwrap();
    until(|| std::fs::metadata(&copy).unwrap().len() >= SENT as u64);
    drop(sender); // by SIGKILL

    let receiver = receiver.end();
    let complaint = receiver.complaint();
    assert!(complaint.contains("the producer died"), "{complaint}");
    assert!(std::fs::read(&copy).unwrap() == bytes);
    assert!(!path.leads_to_a_segment());
    drop(stdin);
}
