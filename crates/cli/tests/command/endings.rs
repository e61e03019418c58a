//! Streams that end before they are whole: nothing is left of them, and nobody
//! takes them for whole.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use shmpipe::{Occupant, sysv};

use crate::common::{Task, TempPath, check, stream, unique};
use crate::running::{
    CORRUPT, DONE, FAILURE, PEER_DIED, RECEIVER_LEFT, Running, SENDER_BROKE_OFF, collect, is_gone,
    take_signals, until, until_read, until_stuck,
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
    until_stuck(ring, &sender, &receiver);
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
        sender.end().by(signal);
        let received = receiver
            .end()
            .with(SENDER_BROKE_OFF, "broke the stream off");
        assert_eq!(received.stdout, b"so far");
        is_gone(ring, &path);
    }
}

/// A time in which nothing is to happen.
const A_WHILE: Duration = Duration::from_millis(300);

/// As `nohup`, `trap ''` or, of SIGINT, `&` in a script has it.
#[test]
fn a_signal_is_ignored_where_it_was() {
    for (name, signal) in [
        ("HUP", Signal::HUP),
        ("INT", Signal::INT),
        ("QUIT", Signal::QUIT),
        ("TERM", Signal::TERM),
    ] {
        for verb in ["send", "recv"] {
            let path = TempPath::new();
            let script = format!("trap '' {name}; exec \"$@\"");
            let run = |of: &str| match of == verb {
                true => Running::by_shell(&script, [OsStr::new(of), path.as_ref()]),
                false => Running::verb(of, &path, &[]),
            };
            let (mut sender, receiver) = (run("send"), run("recv"));
            sender.feed(b"before");
            let ring = receiver.paired();
            let it = if verb == "send" { &sender } else { &receiver };
            it.signal(signal);
            thread::sleep(A_WHILE); // it would end, if it were going to
            sender.feed(b" and after");
            drop(sender.stdin());
            sender.end().with(DONE, "");
            let received = receiver.end().with(DONE, "");
            assert_eq!(received.stdout, b"before and after");
            is_gone(ring, &path);
        }
    }
}

/// A child that leads a process group, killed with the test.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
            let _ = self.0.wait();
        }
    }
}

/// A shell goes on with a loop whose command only exits.
#[test]
fn an_interrupt_ends_a_shells_loop() {
    take_signals();
    let path = TempPath::new();
    let script = "exec 3>&1; while :; do \"$@\"; echo \"$?\" >&3; done";
    let mut shell = Command::new("bash");
    shell.args(["-c", script, "bash", env!("CARGO_BIN_EXE_shmpipe"), "recv"]);
    shell.arg(&path).stdin(Stdio::null()).stdout(Stdio::piped());
    let shell = shell.stderr(Stdio::null()).process_group(0).spawn();
    let mut shell = Group(shell.unwrap());
    let has_consumer = || {
        let found = shmpipe::Options::new().snapshot(&path).ok();
        found.filter(|ring| matches!(ring.consumer, Occupant::Process(_)))
    };
    let ring = until("it waits", has_consumer).id;
    // As a terminal does: to the shell and its command at once.
    kill_process_group(Pid::from_child(&shell.0), Signal::INT).unwrap();
    let status = until("the loop ends", || shell.0.try_wait().unwrap());
    assert_eq!(status.signal(), Some(Signal::INT.as_raw()));
    let mut said = String::new();
    let mut stdout = shell.0.stdout.take().unwrap();
    stdout.read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
    is_gone(ring, &path);
}

#[test]
fn a_signal_breaks_a_stream_off_that_waits_for_room() {
    let path = TempPath::new();
    let mut receiver = Running::unread(["recv".as_ref(), path.as_os_str()]);
    let mut sender = Running::verb("send", &path, &["--capacity", "4KiB"]);
    sender.feed_all(vec![7; 4 << 20]);
    let ring = sender.paired();
    until_stuck(ring, &sender, &receiver);
    sender.signal(Signal::TERM);
    sender.end().by(Signal::TERM);
    receiver.stdout = receiver.child.stdout.take().map(collect);
    receiver
        .end()
        .with(SENDER_BROKE_OFF, "broke the stream off");
    is_gone(ring, &path);
}

#[test]
fn a_signal_ends_a_receiver_and_its_sender() {
    let path = TempPath::new();
    let receiver = Running::verb("recv", &path, &[]);
    let sender = Running::verb("send", &path, &[]);
    let ring = sender.paired();
    receiver.signal(Signal::INT);
    receiver.end().by(Signal::INT);
    sender.end().with(RECEIVER_LEFT, "consumer has closed");
    is_gone(ring, &path);
}

#[test]
fn a_signal_ends_a_receiver_whose_stdout_is_full() {
    let path = TempPath::new();
    let receiver = Running::unread(["recv".as_ref(), path.as_os_str()]);
    let mut sender = Running::verb("send", &path, &["--capacity", "4KiB"]);
    sender.feed_all(vec![7; 4 << 20]);
    let ring = sender.paired();
    until_stuck(ring, &sender, &receiver);
    receiver.signal(Signal::TERM);
    receiver.end().by(Signal::TERM);
    sender.end().with(RECEIVER_LEFT, "consumer has closed");
    is_gone(ring, &path);
}

#[test]
fn a_signal_ends_waiting_for_the_peer() {
    for verb in ["send", "recv"] {
        let path = TempPath::new();
        let alone = Running::verb(verb, &path, &[]);
        let ring = alone.ring();
        alone.signal(Signal::TERM);
        alone.end().by(Signal::TERM);
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
    receiver.end().of_sigpipe();
    sender.end().with(RECEIVER_LEFT, "consumer has closed");
    is_gone(ring, &path);
}

#[test]
fn a_closed_stdout_ends_both_even_if_nothing_is_sent() {
    let path = TempPath::new();
    let mut receiver = Running::unread(["recv".as_ref(), path.as_os_str()]);
    let sender = Running::verb("send", &path, &[]);
    let ring = sender.paired();
    drop(receiver.child.stdout.take());
    receiver.end().of_sigpipe();
    sender.end().with(RECEIVER_LEFT, "consumer has closed");
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
    receiver
        .end()
        .with(SENDER_BROKE_OFF, "broke the stream off");
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
    sender.end().with(RECEIVER_LEFT, "consumer has closed");
    drop(segment);
    is_gone(ring, &path);
}

/// A persistent ring with a whole stream in it.
fn filled(bytes: &[u8]) -> TempPath {
    let path = TempPath::new();
    let mut sender = Running::verb("send", &path, &["--persist"]);
    sender.feed_all(bytes.to_vec());
    sender.end().with(DONE, "");
    path
}

/// Receives to `stdout`, from a ring that persists.
fn receive_to(path: &TempPath, stdout: impl Into<Stdio>) -> Child {
    Command::new(env!("CARGO_BIN_EXE_shmpipe"))
        .args([OsStr::new("recv"), path.as_os_str()])
        .arg("--persist")
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What is left goes to the next receiver.
fn receive_rest(path: &TempPath) -> Vec<u8> {
    let rest = Running::verb("recv", path, &["--persist"]);
    rest.end().with(DONE, "").stdout
}

#[track_caller]
fn says(ended: Child, words: &str) {
    let ended = ended.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(
        (ended.status.code(), said.contains(words)),
        (FAILURE, true),
        "{said}"
    );
}

#[track_caller]
fn dies_of_sigpipe(ended: Child) {
    let ended = ended.wait_with_output().unwrap();
    assert_eq!(ended.status.signal(), Some(Signal::PIPE.as_raw()));
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "");
}

/// A filter says something only where its parent ignores SIGPIPE.
#[test]
fn a_closed_stdout_is_told_where_sigpipe_is_ignored() {
    let path = filled(&[7; 100_000]);
    let args = [OsStr::new("recv"), path.as_ref(), OsStr::new("--persist")];
    for (script, code, words) in [
        (
            "trap '' PIPE; { \"$@\"; echo $? >&2; } | true",
            "1",
            "stdout: closed by its reader",
        ),
        ("{ \"$@\"; echo $? >&2; } | true", "141", ""),
    ] {
        let ended = Running::by_shell(script, args).end();
        let mut lines: Vec<&str> = ended.stderr.lines().collect();
        assert_eq!(lines.pop(), Some(code), "{}", ended.stderr);
        assert_eq!(lines.len(), usize::from(!words.is_empty()), "{lines:?}");
        assert!(lines.iter().all(|line| line.contains(words)), "{lines:?}");
    }
}

/// Interrupts a receiver whose `stdout` nobody reads any more for a while.
#[track_caller]
fn goes_on_after(signal: Signal, stdout: impl Into<Stdio>, mut read: impl Read) {
    const LEN: usize = 2_000_000;
    let seed = unique();
    let path = filled(&stream(seed, 0, LEN));
    let receiver = receive_to(&path, stdout);
    let mut taken = vec![0; 10_000];
    read.read_exact(&mut taken).unwrap();
    // It sleeps beside bytes that it could take.
    let options = shmpipe::Options::new();
    let has_bytes = || options.snapshot(&path).is_ok_and(|ring| ring.fill > 0);
    let is_stuck = || Task::of(receiver.id()).is_asleep() && has_bytes();
    until("its stdout is full", || is_stuck().then_some(()));
    kill_process(Pid::from_child(&receiver), signal).unwrap();
    let ended = receiver.wait_with_output().unwrap();
    assert_eq!(ended.status.signal(), Some(signal.as_raw()));
    read.read_to_end(&mut taken).unwrap();
    assert!(taken.len() < LEN);
    taken.extend(receive_rest(&path));
    assert_eq!(taken.len(), LEN);
    check(seed, 0, &taken);
}

#[test]
fn an_interrupted_receiver_of_a_persistent_ring_loses_nothing() {
    take_signals();
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        let (read, written) = std::io::pipe().unwrap();
        goes_on_after(signal, written, read);
        let (read, written) = UnixStream::pair().unwrap();
        goes_on_after(signal, OwnedFd::from(written), read);
    }
}

#[test]
fn a_receiver_of_a_persistent_ring_that_cannot_write_loses_nothing() {
    let seed = unique();
    let path = filled(&stream(seed, 0, 100_000));
    let full = File::options().write(true).open("/dev/full").unwrap();
    says(receive_to(&path, full), "stdout: No space left");
    let (read, written) = std::io::pipe().unwrap();
    drop(read);
    dies_of_sigpipe(receive_to(&path, written));
    let (read, written) = UnixStream::pair().unwrap();
    drop(read);
    dies_of_sigpipe(receive_to(&path, OwnedFd::from(written)));
    let rest = receive_rest(&path);
    assert_eq!(rest.len(), 100_000);
    check(seed, 0, &rest);
}

/// A sender need not wait for room to see that it has sent everything.
#[test]
fn a_stream_that_just_fills_a_persistent_ring_is_whole() {
    let bytes = stream(5, 0, 4096);
    for from_a_file in [true, false] {
        let path = TempPath::new();
        let named = TempPath::new();
        let options = ["--persist", "--capacity", "4KiB"];
        if from_a_file {
            std::fs::write(&named, &bytes).unwrap();
            let sender = Command::new(env!("CARGO_BIN_EXE_shmpipe"))
                .args([OsStr::new("send"), path.as_os_str()])
                .args(options)
                .stdin(File::open(&named).unwrap())
                .output()
                .unwrap();
            assert_eq!(sender.status.code(), DONE);
        } else {
            let mut sender = Running::verb("send", &path, &options);
            sender.feed_all(bytes.clone());
            sender.end().with(DONE, "");
        }
        let received = Running::verb("recv", &path, &["--persist"])
            .end()
            .with(DONE, "");
        assert_eq!(received.stdout, bytes);
    }
}
