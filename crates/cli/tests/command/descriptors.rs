//! What stdin and stdout can be, other than files and pipes that are there.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::net::{
    AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType, send, shutdown, socketpair,
};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use rustix::process::Signal;
use shmpipe::Role;

use crate::common::{TempPath, check, sleeps, stream, unique};
use crate::running::{
    DONE, FAILURE, Running, SENDER_BROKE_OFF, is_full, is_gone, until, until_read,
};

const SMALL: [&str; 2] = ["--capacity", "4KiB"];

/// All of `bytes` comes from `stdin`, through a small ring, and then the end.
#[track_caller]
fn arrives(stdin: impl Into<Stdio>, bytes: &[u8]) {
    let path = TempPath::new();
    let receiver = Running::verb("recv", &path, &SMALL);
    Running::fed_by(stdin, "send", &path, &SMALL)
        .end()
        .with(DONE, "");
    let received = receiver.end().with(DONE, "").stdout;
    assert_eq!(received.len(), bytes.len());
    assert!(received == bytes);
}

/// Found in use: a FIFO is opened again, which hides from poll(2) that its
/// writers have gone, and the sender waited for ever.
#[test]
fn a_fifo_whose_writer_has_gone_ends() {
    for bytes in [&stream(unique(), 0, 50_000)[..], b""] {
        let path = TempPath::new();
        fs::remove_file(&path).unwrap();
        mknodat(CWD, &*path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let both = File::options().read(true).write(true).open(&path);
        let mut both = both.unwrap();
        let reader = File::open(&path).unwrap();
        both.write_all(bytes).unwrap();
        drop(both);
        arrives(reader, bytes);
    }
}

/// Found in use: Rust's start-up opens `/dev/null` in place of a closed stdout,
/// which took the bytes of a ring for good, and the command ended with 0.
#[test]
fn a_closed_stdin_or_stdout_is_refused_before_the_ring_is_opened() {
    let path = TempPath::new();
    let mut sender = Running::verb("send", &path, &["--persist"]);
    sender.feed_all(b"kept".to_vec());
    sender.end().with(DONE, "");
    let path_of = path.to_str().unwrap();
    for (close, word) in [(">&-", "stdout"), ("<&-", "stdin"), ("<&- >&-", "stdin")] {
        let script = format!("exec \"$@\" {close}");
        for args in [
            &["recv", path_of, "--persist"][..],
            &["send", path_of, "--persist"],
            &["demo", "--bytes", "1"],
            &["ls"],
            &["stat", path_of],
            &["top", "-b"],
            &["doctor"],
            &["bench"],
            &["run", "--", "true", "--", "true"],
            &["rm", path_of],
            &["rm", "--stale"],
        ] {
            let ended = Running::by_shell(&script, args).end();
            ended.with(FAILURE, &format!("{word}: was closed"));
        }
    }
    let unmade = TempPath::new();
    fs::remove_file(&unmade).unwrap();
    let args = [OsStr::new("recv"), unmade.as_ref()];
    let ended = Running::by_shell("exec \"$@\" >&-", args).end();
    ended.with(FAILURE, "stdout: was closed");
    assert!(!unmade.exists());
    let rest = Running::verb("recv", &path, &["--persist"]).end();
    assert_eq!(rest.with(DONE, "").stdout, b"kept");
}

/// A disk that is full is told, and so is a reader that has gone.
#[test]
fn what_is_shown_is_shown_whole_or_fails() {
    let path = TempPath::new();
    let mut sender = Running::verb("send", &path, &["--persist"]);
    sender.feed_all(b"kept".to_vec());
    sender.end().with(DONE, "");
    let path_of = path.to_str().unwrap();
    for args in [
        &["recv", path_of, "--persist"][..],
        &["recv", path_of, "--persist", "--framed"],
        &["ls"],
        &["ls", "--json"],
        &["stat", path_of],
        &["top", "-b", "-n", "1"],
        &["doctor"],
        &["rm", path_of, "--dry-run"],
        &["demo", "--bytes", "1", "--rounds", "1"],
        &["completions", "bash"],
        &["help"],
        &["--version"],
    ] {
        let ended = Running::by_shell("exec \"$@\" > /dev/full", args).end();
        ended.with(FAILURE, "stdout: No space left on device");
        Running::with_broken_stdout(args).end().of_sigpipe();
    }
    let rest = Running::verb("recv", &path, &["--persist"]).end();
    assert_eq!(rest.with(DONE, "").stdout, b"kept");
}

/// Found in use: help went to the `/dev/null` that stands in place of a closed stdout.
#[test]
fn help_needs_a_stdout_and_no_stdin() {
    for args in [&["help"][..], &["--version"], &["send", "--help"]] {
        let ended = Running::by_shell("exec \"$@\" >&-", args).end();
        ended.with(FAILURE, "stdout: was closed");
        let shown = Running::by_shell("exec \"$@\" <&-", args).end();
        assert!(!shown.with(DONE, "").text().is_empty());
    }
}

/// A daemon opens it itself.
#[test]
fn dev_null_is_not_taken_for_closed() {
    let path = TempPath::new();
    let args = |verb| [OsStr::new(verb), path.as_ref()];
    let null = "exec \"$@\" < /dev/null > /dev/null";
    let receiver = Running::by_shell(null, args("recv"));
    Running::by_shell(null, args("send")).end().with(DONE, "");
    receiver.end().with(DONE, "");
}

/// Found on review: a pipe was opened again for the other direction, and the
/// command waited for itself.
#[test]
fn a_descriptor_for_the_other_direction_is_refused() {
    let path = TempPath::new();
    let (_reader, writer) = std::io::pipe().unwrap();
    Running::fed_by(writer, "send", &path, &[])
        .end()
        .with(FAILURE, "stdin: is not open for reading");
    let args = [OsStr::new("recv"), path.as_ref()];
    for script in ["exec \"$@\" 1<&0", "exec \"$@\" 1< /dev/null"] {
        let ended = Running::by_shell(script, args).end();
        ended.with(FAILURE, "stdout: is not open for writing");
    }
    assert!(!path.leads_to_a_segment());
}

fn sockets(kind: SocketType) -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap()
}

/// Found in use: what a read had no room for of a packet was gone, and both
/// sides ended with 0. One of no bytes was taken for the end.
#[test]
fn packets_in_sequence_arrive_whole() {
    let (ours, stdin) = sockets(SocketType::SEQPACKET);
    let bytes = stream(unique(), 0, 103_000);
    for packet in [&bytes[..100_000], b"", &bytes[100_000..], b""] {
        let sent = send(&ours, packet, SendFlags::empty()).unwrap();
        assert_eq!(sent, packet.len());
    }
    drop(ours);
    arrives(stdin, &bytes);
}

#[test]
fn datagrams_arrive_whole() {
    let bytes = stream(unique(), 0, 103_000);
    for by_shutdown in [false, true] {
        let (ours, stdin) = sockets(SocketType::DGRAM);
        for packet in [&bytes[..100_000], &bytes[100_000..]] {
            let sent = send(&ours, packet, SendFlags::empty()).unwrap();
            assert_eq!(sent, packet.len());
        }
        match by_shutdown {
            true => shutdown(&stdin, Shutdown::Read).unwrap(),
            // The only end that the sender of datagrams can give.
            false => _ = send(&ours, b"", SendFlags::empty()).unwrap(),
        }
        arrives(stdin, &bytes);
    }
}

#[test]
fn packets_of_a_pipe_arrive_whole() {
    let (stdin, writer) = pipe_with(PipeFlags::DIRECT | PipeFlags::CLOEXEC).unwrap();
    fcntl_setpipe_size(&writer, 64 << 10).unwrap();
    let bytes = stream(unique(), 0, 4 * 4096 + 100);
    for packet in bytes.chunks(4096) {
        assert_eq!(rustix::io::write(&writer, packet).unwrap(), packet.len());
    }
    drop(writer);
    arrives(stdin, &bytes);
}

/// A ring that persists, small, with room for `room` bytes more.
fn nearly_full(seed: u64, room: usize) -> TempPath {
    let path = TempPath::new();
    let options = ["--persist", "--capacity", "4KiB"];
    let mut sender = Running::verb("send", &path, &options);
    sender.feed_all(stream(seed, 0, 4096 - room));
    sender.end().with(DONE, "");
    path
}

/// Takes what [`nearly_full`] has left in a ring, which makes room.
fn takes_the_first_stream(seed: u64, path: &TempPath, len: usize) {
    let receiver = Running::verb("recv", path, &["--persist"]);
    let received = receiver.end().with(DONE, "").stdout;
    assert_eq!(received.len(), len);
    check(seed, 0, &received);
}

#[test]
fn a_packet_waits_for_room() {
    let seed = unique();
    let path = nearly_full(seed, 100);
    let (stdin, writer) = pipe_with(PipeFlags::DIRECT | PipeFlags::CLOEXEC).unwrap();
    let packet = stream(seed, 3996, 1000);
    assert_eq!(rustix::io::write(&writer, &packet).unwrap(), 1000);
    drop(writer);
    let sender = Running::fed_by(stdin, "send", &path, &["--persist"]);
    let ring = sender.ring();
    until("the packet has come in part", || {
        is_full(ring).then_some(())
    });
    sender.task().until_asleep();
    takes_the_first_stream(seed, &path, 3996);
    sender.end().with(DONE, "");
    let receiver = Running::verb("recv", &path, &["--persist"]);
    let received = receiver.end().with(DONE, "").stdout;
    assert_eq!(received.len(), 1000);
    check(seed, 3996, &received);
}

/// Found in use: it can seek, was taken for a file, and blocked the read.
#[test]
fn a_signal_ends_a_sender_whose_stdin_can_seek_and_blocks() {
    for signal in [Signal::TERM, Signal::INT] {
        let path = TempPath::new();
        let receiver = Running::verb("recv", &path, &[]);
        let stdin = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let sender = Running::fed_by(stdin, "send", &path, &[]);
        let ring = sender.paired();
        // In a call of its own, not of the ring's.
        let waits = || sender.task().is_asleep() && !sleeps(ring, Role::Producer);
        until("it waits for its stdin", || waits().then_some(()));
        sender.signal(signal);
        sender.end().by(signal);
        receiver
            .end()
            .with(SENDER_BROKE_OFF, "broke the stream off");
        is_gone(ring, &path);
    }
}

/// An eventfd refuses a read that has no room for its 8 bytes.
#[test]
fn a_number_of_an_eventfd_waits_for_room() {
    let seed = unique();
    let path = nearly_full(seed, 4);
    let stdin = eventfd(7, EventfdFlags::CLOEXEC).unwrap();
    let sender = Running::fed_by(stdin, "send", &path, &["--persist"]);
    let ring = sender.ring();
    until("the number has come in part", || {
        is_full(ring).then_some(())
    });
    sender.task().until_asleep();
    takes_the_first_stream(seed, &path, 4092);
    let receiver = Running::verb("recv", &path, &["--persist"]);
    until_read(ring, 4100);
    sender.signal(Signal::TERM);
    sender.end().by(Signal::TERM);
    let received = receiver.end().with(SENDER_BROKE_OFF, "").stdout;
    assert_eq!(received, 7_u64.to_ne_bytes());
}
