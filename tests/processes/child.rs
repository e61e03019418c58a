//! One end of an anonymous ring for a child process: handing it over, taking
//! it, and what becomes of it when the child does not.

use std::env;
use std::ffi::OsStr;
use std::fmt::Debug;
use std::io::{Error, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{
    Exec, PATIENCE, check, once_asleep, options, page, part, sleeps, stream, until, until_gone,
};
use shmpipe::sysv::SegmentId;
use shmpipe::{Broken, CloseError, Consumer, OpenError, Options, Producer, Ring, Role, WaitError};

const SEED: u64 = 0x5eed;
const LEN: usize = 1_000_003;
const VARIABLE: &str = "SHMPIPE_RING";

/// The smallest ring.
fn small() -> Ring {
    options().capacity(page()).create_anonymous().unwrap()
}

/// A child that lives and knows nothing of its role.
fn sleeper() -> Command {
    let mut command = Command::new("sleep");
    command.arg("600");
    command
}

fn spawn_consumer(ring: Ring, command: &mut Command) -> (Producer, Exec) {
    let (producer, child) = ring.spawn_consumer(command).unwrap();
    (producer, child.into())
}

fn spawn_producer(ring: Ring, command: &mut Command) -> (Consumer, Exec) {
    let (consumer, child) = ring.spawn_producer(command).unwrap();
    (consumer, child.into())
}

/// Reads the stream to its end.
#[track_caller]
fn receive(mut consumer: Consumer, len: usize) {
    let mut bytes = Vec::new();
    consumer.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), len);
    check(SEED, 0, &bytes);
}

#[track_caller]
fn send(mut producer: Producer, len: usize) {
    producer.write_all(&stream(SEED, 0, len)).unwrap();
    producer.close().unwrap();
}

#[track_caller]
fn assert_gone(id: SegmentId) {
    // A process that another test forks has all attachments until it execs.
    until_gone(id);
}

/// The segment that the parent has handed to this process.
fn given() -> SegmentId {
    let value = env::var(VARIABLE).unwrap();
    value.split(':').next().unwrap().parse().unwrap()
}

#[track_caller]
fn assert_never_came<T: Debug>(done: Result<T, Error>, role: Role) {
    let error = done.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    let broken = error.get_ref().unwrap().downcast_ref::<Broken>();
    assert_eq!(broken, Some(&Broken::NeverCame { role }));
}

#[test]
fn a_child_reads_what_its_parent_writes() {
    if part().is_some() {
        return receive(Consumer::from_parent().unwrap(), LEN);
    }
    let mut command = Exec::command("child::a_child_reads_what_its_parent_writes", "child");
    let (producer, mut child) = spawn_consumer(small(), &mut command);
    let id = producer.id().unwrap();
    send(producer, LEN);
    assert!(child.wait().success());
    assert_gone(id);
}

#[test]
fn a_parent_reads_what_its_child_writes() {
    if part().is_some() {
        return send(Producer::from_parent().unwrap(), LEN);
    }
    let mut command = Exec::command("child::a_parent_reads_what_its_child_writes", "child");
    let (consumer, mut child) = spawn_producer(small(), &mut command);
    let id = consumer.id().unwrap();
    receive(consumer, LEN);
    assert!(child.wait().success());
    assert_gone(id);
}

#[test]
fn a_parent_that_is_done_first_loses_nothing() {
    const SHORT: usize = 100;
    if part().is_some() {
        // The parent has written all, and waits for this process to come.
        until(|| sleeps(given(), Role::Producer));
        return receive(Consumer::from_parent().unwrap(), SHORT);
    }
    for is_closed in [true, false] {
        let mut command =
            Exec::command("child::a_parent_that_is_done_first_loses_nothing", "child");
        let (mut producer, mut child) = spawn_consumer(small(), &mut command);
        let id = producer.id().unwrap();
        producer.set_batch(4096);
        producer.write_all(&stream(SEED, 0, SHORT)).unwrap();
        if is_closed {
            producer.close().unwrap();
        }
        drop(producer);
        assert!(child.wait().success());
        assert_gone(id);
    }
}

#[test]
fn a_stream_is_read_after_its_child_has_ended() {
    const LEN: usize = 1000; // less than the ring holds
    if part().is_some() {
        return send(Producer::from_parent().unwrap(), LEN);
    }
    let mut command = Exec::command("child::a_stream_is_read_after_its_child_has_ended", "child");
    let (consumer, mut child) = spawn_producer(small(), &mut command);
    assert!(child.wait().success());
    receive(consumer, LEN);
}

#[test]
fn a_child_that_lives_and_never_comes_is_waited_for_no_longer_than_said() {
    let start = Instant::now();
    let limit = Duration::from_millis(100);
    let (mut producer, _child) = spawn_consumer(small(), &mut sleeper());
    producer.write_all(b"lost").unwrap();
    let closed = producer.close_deadline(start + limit);
    assert_eq!(closed, Err(CloseError::NeverCame { unread: 4 }));
    assert!(start.elapsed() >= limit);
    drop(producer); // is closed

    let (mut producer, _child) = spawn_consumer(small(), &mut sleeper());
    let id = producer.id().unwrap();
    producer.write_all(b"lost").unwrap();
    producer.set_timeout(Some(limit));
    drop(producer);
    assert_gone(id);
    assert!(start.elapsed() >= 2 * limit);
    assert!(start.elapsed() < PATIENCE);
}

#[test]
fn an_abort_waits_for_no_child() {
    let (mut producer, mut child) = spawn_consumer(small(), &mut sleeper());
    let id = producer.id().unwrap();
    producer.write_all(b"lost").unwrap();
    producer.abort();
    drop(producer);
    assert_gone(id);
    child.kill();
    child.wait();
}

#[test]
fn a_child_comes_too_late_for_a_consumer_that_left() {
    if part().is_some() {
        assert_gone(given());
        let late = Producer::from_parent();
        assert!(matches!(late, Err(OpenError::Removed { .. })), "{late:?}");
        return;
    }
    let test = "child::a_child_comes_too_late_for_a_consumer_that_left";
    let (consumer, mut child) = spawn_producer(small(), &mut Exec::command(test, "child"));
    drop(consumer);
    assert!(child.wait().success());
}

#[test]
fn a_consumer_that_exits_without_its_role_is_noticed() {
    let (mut producer, mut child) = spawn_consumer(small(), &mut Command::new("true"));
    let id = producer.id().unwrap();
    let role = Role::Consumer;
    assert_never_came(producer.write_all(&vec![7; 2 * page()]), role);
    assert_eq!(producer.check_peer(), Err(Broken::NeverCame { role }));
    drop(producer);
    assert_gone(id);
    assert!(child.wait().success());
}

#[test]
fn bytes_for_a_consumer_that_never_comes_are_counted() {
    let (mut producer, _child) = spawn_consumer(small(), &mut Command::new("true"));
    producer.write_all(&[7; 100]).unwrap();
    let unread = CloseError::NeverCame { unread: 100 };
    assert_eq!(producer.close(), Err(unread));

    let (mut producer, _child) = spawn_consumer(small(), &mut Command::new("true"));
    assert_eq!(producer.close(), Ok(()), "nothing is lost");
}

#[test]
fn a_producer_that_exits_without_its_role_is_noticed() {
    let (mut consumer, mut child) = spawn_producer(small(), &mut Command::new("true"));
    let id = consumer.id().unwrap();
    // Reaped, so that its pid is free.
    assert!(child.wait().success());
    let role = Role::Producer;
    assert_never_came(consumer.read(&mut [0]), role);
    drop(consumer);
    assert_gone(id);
}

#[test]
fn a_child_that_is_killed_before_it_takes_its_role_is_noticed() {
    let (mut producer, mut child) = spawn_consumer(small(), &mut sleeper());
    assert_eq!(producer.check_peer(), Ok(()), "it may come yet");
    producer.write_all(&vec![7; page()]).unwrap();
    let (written, ()) = once_asleep(|| producer.write(&[7]), |_| child.kill());
    assert_never_came(written, Role::Consumer);
    child.wait();

    let (mut consumer, mut child) = spawn_producer(small(), &mut sleeper());
    assert_eq!(consumer.check_peer(), Ok(()), "it may come yet");
    let (read, ()) = once_asleep(|| consumer.read(&mut [0]), |_| child.kill());
    assert_never_came(read, Role::Producer);
    child.wait();
}

#[test]
fn a_child_that_is_killed_with_its_role_has_died() {
    if part().is_some() {
        let mut producer = Producer::from_parent().unwrap();
        producer.write_all(b"before").unwrap();
        thread::sleep(PATIENCE);
        return;
    }
    let mut command = Exec::command(
        "child::a_child_that_is_killed_with_its_role_has_died",
        "child",
    );
    let (mut consumer, mut child) = spawn_producer(small(), &mut command);
    let mut bytes = [0; 6];
    consumer.read_exact(&mut bytes).unwrap();
    child.kill();
    let error = consumer.read(&mut bytes).unwrap_err();
    let died = Broken::Died {
        role: Role::Producer,
        pid: child.pid(),
    };
    assert_eq!(error.get_ref().unwrap().downcast_ref(), Some(&died));
    child.wait();
}

#[test]
fn limits_of_the_parent_hold_while_no_child_comes() {
    let flag = Arc::new(AtomicBool::new(false));
    let mut options = Options::new();
    options
        .capacity(page())
        .timeout(Some(Duration::from_millis(100)))
        .cancel_on(Arc::clone(&flag));
    let start = Instant::now();

    let (mut consumer, _child) =
        spawn_producer(options.create_anonymous().unwrap(), &mut sleeper());
    let error = consumer.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);

    let (mut producer, _child) =
        spawn_consumer(options.create_anonymous().unwrap(), &mut sleeper());
    producer.write_all(&vec![7; page()]).unwrap();
    let error = producer.write(&[7]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let unread = page();
    assert_eq!(producer.close(), Err(CloseError::NeverCame { unread }));

    options.timeout(Some(PATIENCE));
    let (mut producer, _child) =
        spawn_consumer(options.create_anonymous().unwrap(), &mut sleeper());
    flag.store(true, Ordering::Relaxed);
    let later = Instant::now() + PATIENCE;
    let partial = producer.write_all_deadline(&vec![7; page() + 1], later);
    assert_eq!(partial.unwrap_err().cause, WaitError::Cancelled);
    drop(producer); // does not wait either
    assert!(start.elapsed() < PATIENCE);
}

#[test]
fn a_missing_program_leaves_nothing() {
    type Spawn = fn(Ring, &mut Command) -> Result<Child, OpenError>;
    let spawns: [Spawn; 2] = [
        |ring, command| ring.spawn_consumer(command).map(|(_, child)| child),
        |ring, command| ring.spawn_producer(command).map(|(_, child)| child),
    ];
    for spawn in spawns {
        let ring = small();
        let id = ring.id().unwrap();
        let mut command = Command::new("/does/not/exist");
        let error = spawn(ring, &mut command).unwrap_err();
        assert!(
            matches!(&error, OpenError::Spawn { program, .. } if program == "/does/not/exist"),
            "{error:?}"
        );
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(
            error
                .to_string()
                .starts_with("cannot start /does/not/exist: ")
        );
        assert_gone(id);
    }
}

#[test]
fn the_command_keeps_nothing_of_the_ring() {
    let mut command = Command::new("true");
    let (_producer, _child) = spawn_consumer(small(), &mut command);
    assert!(command.get_envs().eq([(OsStr::new(VARIABLE), None)]));
}

#[test]
fn the_other_role_is_refused() {
    let test = "child::the_other_role_is_refused";
    if part().is_some() {
        let error = Producer::from_parent().unwrap_err();
        let (given, asked) = (Role::Consumer, Role::Producer);
        assert!(
            matches!(error, OpenError::WrongRole { given: one, asked: other, .. }
                if (one, other) == (given, asked)),
            "{error:?}"
        );
        assert_eq!(
            error.to_string(),
            "the parent has handed the consumer's end to this process, not the producer's"
        );
        receive(Consumer::from_parent().unwrap(), 10); // nothing was taken
        return;
    }
    let (producer, mut child) = spawn_consumer(small(), &mut Exec::command(test, "child"));
    send(producer, 10);
    assert!(child.wait().success());
}

#[test]
fn a_process_that_was_given_nothing_says_so() {
    let test = "child::a_process_that_was_given_nothing_says_so";
    let values: [Option<&[u8]>; 4] = [None, Some(b""), Some(b"7:producer"), Some(b"\xff:0:0")];
    if let Some(index) = part() {
        let value = values[index.parse::<usize>().unwrap()].map(OsStr::from_bytes);
        let errors = [
            Producer::from_parent().unwrap_err(),
            Consumer::from_parent().unwrap_err(),
        ];
        for error in errors {
            match (&error, value) {
                (OpenError::NotHandedOver, None) => {}
                (OpenError::BadHandover { value: found, .. }, Some(value)) => {
                    assert_eq!(found, value)
                }
                _ => panic!("{error:?}"),
            }
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(VARIABLE), "{error}");
        }
        return;
    }
    for (index, value) in values.into_iter().enumerate() {
        let mut command = Exec::command(test, &index.to_string());
        match value {
            None => command.env_remove(VARIABLE),
            Some(value) => command.env(VARIABLE, OsStr::from_bytes(value)),
        };
        let mut child = Exec::from(command.spawn().unwrap());
        assert!(child.wait().success());
    }
}

#[test]
fn another_ring_with_the_same_id_is_refused() {
    let test = "child::another_ring_with_the_same_id_is_refused";
    match part().as_deref() {
        Some("child") => {
            // As if the ring had gone and another one had come to have its id.
            let value = env::var(VARIABLE).unwrap();
            let parts: Vec<_> = value.split(':').collect();
            let nonce = u64::from_str_radix(parts[1], 16).unwrap() ^ 1;
            let altered = format!("{}:{nonce:016x}:{}", parts[0], parts[2]);
            let mut command = Exec::command(test, "refused");
            let mut refused = Exec::from(command.env(VARIABLE, altered).spawn().unwrap());
            assert!(refused.wait().success());

            let consumer = Consumer::from_parent().unwrap();
            // A process of this one's does not inherit the variable.
            assert!(Exec::new(test, "too late").wait().success());
            receive(consumer, 10);
        }
        Some("refused") => {
            let error = Consumer::from_parent().unwrap_err();
            assert!(matches!(error, OpenError::Removed { .. }), "{error:?}");
        }
        Some(_) => {
            let error = Consumer::from_parent().unwrap_err();
            assert!(matches!(error, OpenError::NotHandedOver), "{error:?}");
        }
        None => {
            let mut command = Exec::command(test, "child");
            let (producer, mut child) = spawn_consumer(small(), &mut command);
            send(producer, 10);
            assert!(child.wait().success());
        }
    }
}
