//! The command as a child, which gets one end of its parent's ring.

use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};
use std::thread;

use shmpipe::{Producer, Ring};

use crate::common::{check, options, page, stream};

const SEED: u64 = 0x5eed;
const LEN: usize = 1_000_003;

/// The smallest ring.
fn ring() -> Ring {
    options().capacity(page()).create_anonymous().unwrap()
}

#[track_caller]
fn send(mut producer: Producer, len: usize) {
    producer.write_all(&stream(SEED, 0, len)).unwrap();
    producer.close().unwrap();
}

fn shmpipe(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shmpipe"));
    command
        .args(args)
        .env_remove("SHMPIPE_RING")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What a child printed, while its parent wrote to it.
fn written_to(command: &mut Command) -> Output {
    let (producer, child) = ring().spawn_consumer(command).unwrap();
    let printed = thread::spawn(move || child.wait_with_output().unwrap());
    send(producer, LEN);
    printed.join().unwrap()
}

#[test]
fn recv_prints_what_its_parent_writes() {
    let printed = written_to(&mut shmpipe(&["recv", "--from-parent"]));
    assert!(printed.status.success(), "{printed:?}");
    assert!(printed.stderr.is_empty());
    assert_eq!(printed.stdout.len(), LEN);
    check(SEED, 0, &printed.stdout);
}

#[test]
fn a_shell_may_pass_its_end_on() {
    let mut shell = Command::new("sh");
    // More than one command, so that it does not become the first.
    shell.args(["-c", "\"$0\" recv --from-parent && echo end"]);
    shell
        .arg(env!("CARGO_BIN_EXE_shmpipe"))
        .stdout(Stdio::piped());
    let printed = written_to(&mut shell);
    assert!(printed.status.success(), "{printed:?}");
    check(SEED, 0, printed.stdout.strip_suffix(b"end\n").unwrap());
}

#[test]
fn send_gives_its_stdin_to_its_parent() {
    let mut command = shmpipe(&["send", "--from-parent", "--timeout", "60s"]);
    let (mut consumer, mut child) = ring()
        .spawn_producer(command.stdin(Stdio::piped()))
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feeder = thread::spawn(move || stdin.write_all(&stream(SEED, 0, LEN)).unwrap());
    let mut bytes = Vec::new();
    consumer.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), LEN);
    check(SEED, 0, &bytes);
    feeder.join().unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_shell_with_both_ends_is_a_filter() {
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        "\"$0\" recv --from-parent | tr a-z A-Z | \"$0\" send --from-parent",
    ]);
    shell.arg(env!("CARGO_BIN_EXE_shmpipe"));
    let (mut producer, mut consumer, mut child) = options().spawn_duplex(&mut shell).unwrap();
    producer.write_all(b"hello").unwrap();
    producer.close().unwrap();
    let mut text = String::new();
    consumer.read_to_string(&mut text).unwrap();
    assert_eq!(text, "HELLO");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_parent_that_breaks_off_fails_it() {
    let mut command = shmpipe(&["recv", "--from-parent"]);
    let (mut producer, mut child) = ring().spawn_consumer(&mut command).unwrap();
    producer.write_all(b"cut").unwrap();
    // It prints them once it has the role.
    let mut bytes = [0; 3];
    child.stdout.take().unwrap().read_exact(&mut bytes).unwrap();
    producer.abort();
    assert_eq!(&bytes, b"cut");
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

#[test]
fn what_cannot_be_is_a_usage_error() {
    for args in [
        &["recv", "--from-parent"][..], // nobody has handed it anything
        &["send", "--from-parent"],
        &["recv"],
        &["recv", "--from-parent", "/tmp/path"],
        &["recv", "--from-parent", "--capacity", "4KiB"],
        &["recv", "--from-parent", "--project", "1"],
        &["send", "--from-parent", "--persist"],
    ] {
        let ended = shmpipe(args).output().unwrap();
        assert_eq!(ended.status.code(), Some(2), "{args:?}: {ended:?}");
        assert_eq!(ended.stderr.iter().filter(|b| **b == b'\n').count(), 1);
    }
}
