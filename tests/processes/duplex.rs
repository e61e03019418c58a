//! Both directions to a child, several rings by name, and what a child hands on.

use std::env;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread;

use crate::common::{
    Exec, PATIENCE, broken, check, once_asleep, options, page, part, stream, until,
};
use shmpipe::{Broken, Consumer, Handover, Occupant, OpenError, Producer, Role, Snapshot};

const SEED: u64 = 0x5eed;
const LEN: usize = 1_000_003;
const VARIABLE: &str = "SHMPIPE_RING";

fn writer() -> Producer {
    let ring = options().capacity(page()).create_anonymous().unwrap();
    ring.into_producer().unwrap()
}

fn reader() -> Consumer {
    let ring = options().capacity(page()).create_anonymous().unwrap();
    ring.into_consumer().unwrap()
}

fn duplex(command: &mut Command) -> (Producer, Consumer, Exec) {
    let spawned = options().capacity(page()).spawn_duplex(command);
    let (producer, consumer, child) = spawned.unwrap();
    (producer, consumer, child.into())
}

/// Sends the stream to the child, and gets it back.
fn exchange(mut producer: Producer, mut consumer: Consumer) {
    let sender = thread::spawn(move || {
        producer.write_all(&stream(SEED, 0, LEN)).unwrap();
        producer.close().unwrap();
    });
    let mut bytes = Vec::new();
    consumer.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), LEN);
    check(SEED, 0, &bytes);
    sender.join().unwrap();
}

/// Sends back what it gets.
fn echo(mut producer: Producer, mut consumer: Consumer) {
    std::io::copy(&mut consumer, &mut producer).unwrap();
    producer.close().unwrap();
}

/// Whether a process that this one starts finds the variable.
fn grandchild_has_the_variable() -> bool {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("test -n \"${{{VARIABLE}+set}}\"")]);
    let inherits = command.status().unwrap().success();
    // The same, with the environment as std passes it on after a change.
    let changed = command.env("SHMPIPE_TEST_CHANGED", "").status().unwrap();
    assert_eq!(changed.success(), inherits);
    assert_eq!(env::var_os(VARIABLE).is_some(), inherits);
    inherits
}

#[track_caller]
fn assert_never_came<T: std::fmt::Debug>(done: std::io::Result<T>, role: Role) {
    assert_eq!(broken(&done.unwrap_err()), Broken::NeverCame { role });
}

#[test]
fn a_child_answers_its_parent() {
    if part().is_some() {
        let (producer, consumer) = options().duplex_from_parent().unwrap();
        return echo(producer, consumer);
    }
    let mut command = Exec::command("duplex::a_child_answers_its_parent", "child");
    let (producer, consumer, mut child) = duplex(&mut command);
    exchange(producer, consumer);
    assert!(child.wait().success());
}

#[test]
fn a_duplex_child_that_takes_nothing_is_noticed_on_each_end() {
    let (mut producer, mut consumer, mut child) = duplex(&mut Command::new("true"));
    assert!(child.wait().success());
    assert_never_came(consumer.read(&mut [0]), Role::Producer);
    assert_never_came(producer.write_all(&vec![7; 2 * page()]), Role::Consumer);

    // In the middle of a call on either end.
    for reads in [true, false] {
        let mut sleeper = Command::new("sleep");
        let (mut producer, mut consumer, mut child) = duplex(sleeper.arg("600"));
        producer.write_all(&vec![7; page()]).unwrap();
        if reads {
            let (read, ()) = once_asleep(|| consumer.read(&mut [0]), |_| child.kill());
            assert_never_came(read, Role::Producer);
            assert_never_came(producer.write(&[7]), Role::Consumer);
        } else {
            let (written, ()) = once_asleep(|| producer.write(&[7]), |_| child.kill());
            assert_never_came(written, Role::Consumer);
            assert_never_came(consumer.read(&mut [0]), Role::Producer);
        }
    }
}

#[test]
fn a_duplex_child_that_is_killed_has_died_on_each_end() {
    let test = "duplex::a_duplex_child_that_is_killed_has_died_on_each_end";
    if part().is_some() {
        let (mut producer, _consumer) = options().duplex_from_parent().unwrap();
        producer.write_all(b"here").unwrap();
        thread::sleep(PATIENCE);
        return;
    }
    let (mut producer, mut consumer, mut child) = duplex(&mut Exec::command(test, "child"));
    let mut here = [0; 4];
    consumer.read_exact(&mut here).unwrap();
    producer.write_all(&vec![7; page()]).unwrap();
    let (read, ()) = once_asleep(|| consumer.read(&mut here), |_| child.kill());
    let pid = child.pid();
    let died = |role| Broken::Died { role, pid };
    assert_eq!(broken(&read.unwrap_err()), died(Role::Producer));
    let written = producer.write(&[7]).unwrap_err();
    assert_eq!(broken(&written), died(Role::Consumer));
}

#[test]
fn an_end_is_taken_once_and_reaches_no_grandchild() {
    let test = "duplex::an_end_is_taken_once_and_reaches_no_grandchild";
    if part().is_some() {
        let (producer, consumer) = options().duplex_from_parent().unwrap();
        assert!(!grandchild_has_the_variable());
        let again = [
            options().duplex_from_parent().map(drop),
            Producer::from_parent().map(drop),
            Consumer::from_parent().map(drop),
        ];
        for again in again {
            assert!(matches!(again, Err(OpenError::NotHandedOver)), "{again:?}");
        }
        return echo(producer, consumer);
    }
    let (producer, consumer, mut child) = duplex(&mut Exec::command(test, "child"));
    exchange(producer, consumer);
    assert!(child.wait().success());
}

#[test]
fn ends_are_taken_one_by_one_by_name() {
    let test = "duplex::ends_are_taken_one_by_one_by_name";
    if part().is_some() {
        let options = options();
        let wrong = options
            .producer_from_parent_by_name("requests")
            .unwrap_err();
        assert!(matches!(wrong, OpenError::WrongRole { .. }), "{wrong:?}");
        let none = options.consumer_from_parent_by_name("other").unwrap_err();
        assert!(matches!(none, OpenError::NoSuchEnd { .. }), "{none:?}");
        let unnamed = Consumer::from_parent().unwrap_err();
        assert!(matches!(unnamed, OpenError::NotHandedOver), "{unnamed:?}");

        let mut log = options.producer_from_parent_by_name("log").unwrap();
        assert!(grandchild_has_the_variable(), "two ends are left");
        let again = options.producer_from_parent_by_name("log").unwrap_err();
        assert!(matches!(again, OpenError::NoSuchEnd { .. }), "{again:?}");
        let consumer = options.consumer_from_parent_by_name("requests").unwrap();
        let producer = options.producer_from_parent_by_name("answers").unwrap();
        assert!(!grandchild_has_the_variable());
        log.write_all(b"begun").unwrap();
        return echo(producer, consumer);
    }
    let (mut log, requests, answers) = (reader(), writer(), reader());
    let (mut requests, mut answers) = (requests, answers);
    let mut child: Exec = Handover::new()
        .give_producer("log", &mut log)
        .give_consumer("requests", &mut requests)
        .give_producer("answers", &mut answers)
        .spawn(&mut Exec::command(test, "child"))
        .unwrap()
        .into();
    exchange(requests, answers);
    let mut text = String::new();
    log.read_to_string(&mut text).unwrap();
    assert_eq!(text, "begun");
    assert!(child.wait().success());
}

#[test]
fn a_child_may_take_one_end_and_leave_the_other_to_its_child() {
    let test = "duplex::a_child_may_take_one_end_and_leave_the_other_to_its_child";
    match part().as_deref() {
        Some("child") => {
            let mut consumer = Consumer::from_parent().unwrap();
            let mut writer = Exec::new(test, "writer");
            assert!(writer.wait().success());
            // The entry is still in this process's environment, but the role is taken.
            let taken = Producer::from_parent().unwrap_err();
            assert!(matches!(taken, OpenError::RoleTaken { .. }), "{taken:?}");
            consumer.read_exact(&mut [0; 4]).unwrap();
        }
        Some(_) => {
            let mut producer = Producer::from_parent().unwrap();
            assert!(!grandchild_has_the_variable());
            let none = Consumer::from_parent().unwrap_err();
            assert!(matches!(none, OpenError::NotHandedOver), "{none:?}");
            producer.write_all(b"from a grandchild").unwrap();
        }
        None => {
            let (mut producer, mut consumer, mut child) = duplex(&mut Exec::command(test, "child"));
            producer.write_all(b"stay").unwrap();
            let mut text = String::new();
            consumer.read_to_string(&mut text).unwrap();
            assert_eq!(text, "from a grandchild");
            assert!(child.wait().success());
        }
    }
}

#[test]
fn one_end_is_no_duplex_and_stays_to_be_taken() {
    let test = "duplex::one_end_is_no_duplex_and_stays_to_be_taken";
    if part().is_some() {
        let error = options().duplex_from_parent().unwrap_err();
        assert!(matches!(error, OpenError::WrongRole { .. }), "{error:?}");
        let mut text = String::new();
        let mut consumer = Consumer::from_parent().unwrap();
        consumer.read_to_string(&mut text).unwrap();
        assert_eq!(text, "nothing lost");
        return;
    }
    let ring = options().create_anonymous().unwrap();
    let (mut producer, child) = ring
        .spawn_consumer(&mut Exec::command(test, "child"))
        .unwrap();
    let mut child = Exec::from(child);
    producer.write_all(b"nothing lost").unwrap();
    producer.close().unwrap();
    assert!(child.wait().success());
}

/// A duplex of which somebody has one end is refused, and the other end stays free.
#[test]
fn a_duplex_that_is_half_taken_is_refused_and_the_rest_stays_to_be_taken() {
    let test = "duplex::a_duplex_that_is_half_taken_is_refused_and_the_rest_stays_to_be_taken";
    match part().as_deref() {
        Some("child") => {
            let mut reader = Exec::new(test, "reader");
            let value = env::var(VARIABLE).unwrap();
            let entry = value.split(',').find(|entry| entry.ends_with("consumer"));
            let id = entry.unwrap().split(':').next().unwrap().parse().unwrap();
            until(|| matches!(Snapshot::of(id).unwrap().consumer, Occupant::Process(_)));
            let refused = || {
                let taken = options().duplex_from_parent();
                let role = Role::Consumer;
                matches!(taken, Err(OpenError::RoleTaken { role: found, .. }) if found == role)
            };
            assert!(refused());
            reader.kill();
            reader.wait();
            assert!(refused(), "dead, it has the role nevertheless");
            let mut producer = Producer::from_parent().unwrap();
            producer.write_all(b"nothing lost").unwrap();
        }
        Some(_) => {
            let _consumer = Consumer::from_parent().unwrap();
            thread::sleep(PATIENCE);
        }
        None => {
            let (_producer, mut consumer, mut child) = duplex(&mut Exec::command(test, "child"));
            let mut text = String::new();
            consumer.read_to_string(&mut text).unwrap();
            assert_eq!(text, "nothing lost");
            assert!(child.wait().success());
        }
    }
}

#[test]
fn names_that_cannot_be_are_refused_before_a_child_starts() {
    let long = "x".repeat(65);
    for name in ["a:b", "a,b", "a b", "\u{e4}", "-\n", &long] {
        let mut producer = writer();
        let given = Handover::new().give_consumer(name, &mut producer);
        let error = given.spawn(&mut Command::new("true")).unwrap_err();
        assert!(matches!(error, OpenError::EndName { .. }), "{error:?}");
    }
    for name in ["", "twice"] {
        let (mut one, mut other) = (writer(), writer());
        let given = Handover::new()
            .give_consumer(name, &mut one)
            .give_consumer(name, &mut other);
        let error = given.spawn(&mut Command::new("true")).unwrap_err();
        assert!(matches!(error, OpenError::EndName { .. }), "{error:?}");
    }
}

#[test]
fn an_end_that_somebody_has_cannot_be_given() {
    let (mut producer, consumer) = shmpipe::pair().unwrap();
    let given = Handover::new().give_consumer("x", &mut producer);
    let error = given.spawn(&mut Command::new("true")).unwrap_err();
    let own = std::process::id();
    assert!(
        matches!(error, OpenError::RoleTaken { role: Role::Consumer, pid, .. } if pid == own),
        "{error:?}"
    );
    drop(consumer);
}

#[test]
fn a_child_without_ends_gets_no_variable() {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("test -z \"${{{VARIABLE}+set}}\"")])
        .env(VARIABLE, "of somebody else's")
        .stdout(Stdio::null());
    let mut child = Handover::new().spawn(&mut command).unwrap();
    assert!(child.wait().unwrap().success());
}
