//! Who meets whom: unrelated processes, parent and child, threads.

use std::io::{self, Read, Write};
use std::thread;

use super::{SEED, anonymous, receive, send};
use crate::common::{End, Exec, Fork, TempPath, alone, options, part, stream, until, until_gone};

/// A child that is exec'ed and shares nothing with this process but the path.
/// It plays `role`: the other end of the ring that [`play`] plays.
fn stranger(test: &str, role: &str, path: &TempPath) -> Exec {
    Exec::new(test, &format!("{role} {}", path.display()))
}

/// Plays a part that [`stranger`] gave.
fn play(part: &str) {
    const LEN: usize = 1_000_003;
    let (role, path) = part.split_once(' ').unwrap();
    let mut options = options();
    options.capacity(16 << 10);
    match role {
        "producer" => send(&mut options.open_producer(path).unwrap(), SEED, LEN, 7_777),
        "consumer" => receive(&mut options.open_consumer(path).unwrap(), SEED, LEN, 5_003),
        _ => panic!("no role is called {role}"),
    }
}

/// Two strangers, the one with `first` waiting for the other.
fn meet(test: &str, first: &str, second: &str) {
    if let Some(part) = part() {
        return play(&part);
    }
    let path = TempPath::new();
    let mut waiting = stranger(test, first, &path);
    until(|| path.leads_to_a_segment());
    let mut joining = stranger(test, second, &path);
    assert!(joining.wait().success());
    assert!(waiting.wait().success());
    assert!(!path.leads_to_a_segment());
}

#[test]
fn unrelated_processes_meet_by_path_writer_first() {
    let test = "pairs::meeting::unrelated_processes_meet_by_path_writer_first";
    meet(test, "producer", "consumer");
}

#[test]
fn unrelated_processes_meet_by_path_reader_first() {
    let test = "pairs::meeting::unrelated_processes_meet_by_path_reader_first";
    meet(test, "consumer", "producer");
}

#[test]
fn unrelated_processes_that_start_at_once_meet_by_path() {
    let test = "pairs::meeting::unrelated_processes_that_start_at_once_meet_by_path";
    if let Some(part) = part() {
        return play(&part);
    }
    let path = TempPath::new();
    for _ in 0..10 {
        let mut both = ["producer", "consumer"].map(|role| stranger(test, role, &path));
        for process in &mut both {
            assert!(process.wait().success());
        }
        assert!(!path.leads_to_a_segment());
    }
}

#[test]
fn a_forked_child_writes_to_its_parent() {
    alone(
        "pairs::meeting::a_forked_child_writes_to_its_parent",
        || {
            let ring = anonymous(8 << 10);
            let id = ring.id().unwrap();
            let mut ring = Some(ring);
            let mut child = Fork::new(|| {
                let mut producer = ring.take().unwrap().into_producer().unwrap();
                send(&mut producer, SEED, 500_000, 1_234);
            });
            let mut consumer = ring.take().unwrap().into_consumer().unwrap();
            receive(&mut consumer, SEED, 500_000, 10_000);
            assert_eq!(child.wait(), End::Exit(0));
            drop(consumer);
            until_gone(id);
        },
    );
}

#[test]
fn a_parent_writes_to_its_forked_child() {
    alone(
        "pairs::meeting::a_parent_writes_to_its_forked_child",
        || {
            let mut ring = Some(anonymous(8 << 10));
            let mut child = Fork::new(|| {
                let mut consumer = ring.take().unwrap().into_consumer().unwrap();
                receive(&mut consumer, SEED, 500_000, 999);
            });
            let mut producer = ring.take().unwrap().into_producer().unwrap();
            send(&mut producer, SEED, 500_000, 20_000);
            producer.close().unwrap();
            assert_eq!(child.wait(), End::Exit(0));
        },
    );
}

#[test]
fn parent_and_child_talk_over_two_rings() {
    alone(
        "pairs::meeting::parent_and_child_talk_over_two_rings",
        || {
            let mut rings = Some((anonymous(4096), anonymous(4096)));
            let mut child = Fork::new(|| {
                let (there, back) = rings.take().unwrap();
                let mut from = there.into_consumer().unwrap();
                let mut to = back.into_producer().unwrap();
                assert_eq!(io::copy(&mut from, &mut to).unwrap(), 200 * 100);
            });
            let (there, back) = rings.take().unwrap();
            let mut to = there.into_producer().unwrap();
            let mut from = back.into_consumer().unwrap();
            for round in 0..200 {
                let question = stream(SEED, round * 100, 100);
                to.write_all(&question).unwrap();
                let mut answer = [0; 100];
                from.read_exact(&mut answer).unwrap();
                assert_eq!(answer, question[..]);
            }
            to.close().unwrap();
            assert_eq!(from.read(&mut [0]).unwrap(), 0);
            assert_eq!(child.wait(), End::Exit(0));
        },
    );
}

#[test]
fn a_child_started_by_exec_is_given_the_id() {
    let test = "pairs::meeting::a_child_started_by_exec_is_given_the_id";
    if let Some(part) = part() {
        let (role, id) = part.split_once(' ').unwrap();
        let ring = options().attach(id.parse().unwrap()).unwrap();
        match role {
            "producer" => send(&mut ring.into_producer().unwrap(), SEED, 300_000, 50),
            _ => receive(&mut ring.into_consumer().unwrap(), SEED, 300_000, 50),
        }
        return;
    }
    let ring = anonymous(4096);
    let mut child = Exec::new(test, &format!("producer {}", ring.id().unwrap()));
    receive(&mut ring.into_consumer().unwrap(), SEED, 300_000, 4096);
    assert!(child.wait().success());

    let ring = anonymous(4096);
    let mut child = Exec::new(test, &format!("consumer {}", ring.id().unwrap()));
    send(&mut ring.into_producer().unwrap(), SEED, 300_000, 4096);
    assert!(child.wait().success());
}

#[test]
fn two_threads_share_a_split_ring() {
    let (mut producer, mut consumer) = anonymous(32 << 10).split().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || send(&mut producer, SEED, 5_000_000, 30_011));
        scope.spawn(move || receive(&mut consumer, SEED, 5_000_000, 12_345));
    });
}
