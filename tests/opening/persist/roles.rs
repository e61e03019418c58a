//! Roles of living and of killed processes.

use std::io::{ErrorKind, Read, Write};
use std::thread;

use shmpipe::{Broken, Occupant, OpenError, Role, Snapshot};

use super::{kill_when, persistent, read, read_on, reader, write, writer};
use crate::common::{Fork, PATIENCE, TempPath, alone, check, page, stream, until};

#[test]
fn a_role_is_never_taken_from_a_living_process() {
    alone(
        "persist::roles::a_role_is_never_taken_from_a_living_process",
        || {
            let path = TempPath::new();
            let child = Fork::new(|| {
                let _both = (writer(&path), reader(&path));
                thread::sleep(PATIENCE);
            });
            let held = Occupant::Process(child.pid());
            until(|| {
                path.segment()
                    .and_then(|id| Snapshot::of(id).ok())
                    .is_some_and(|ring| (ring.producer, ring.consumer) == (held, held))
            });
            for opened in [
                persistent().open_producer(&path).map(drop),
                persistent().open_consumer(&path).map(drop),
            ] {
                assert!(
                    matches!(opened, Err(OpenError::RoleTaken { pid, .. }) if pid == child.pid()),
                    "{opened:?}"
                );
            }
            child.kill();
        },
    );
}

#[test]
fn a_killed_writer_is_followed_at_its_position() {
    alone(
        "persist::roles::a_killed_writer_is_followed_at_its_position",
        || {
            let path = TempPath::new();
            let mut consumer = reader(&path);
            let mut position = 0;
            for _ in 0..10 {
                let mut child = Fork::new(|| {
                    let mut producer = persistent().resume(true).open_producer(&path).unwrap();
                    assert_eq!(producer.position(), position);
                    assert_eq!(producer.stream_position(), position);
                    producer.write_all(&stream(5, position, 333)).unwrap();
                    thread::sleep(PATIENCE);
                });
                kill_when(&mut child, &path, |ring| ring.written == position + 333);
                let mut bytes = [0; 333];
                consumer.read_exact(&mut bytes).unwrap();
                check(5, position, &bytes);
                position += 333;
                // Its death is told, and is not the end of the ring.
                let error = consumer.read(&mut bytes).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::BrokenPipe);
                let broken = error.get_ref().unwrap().downcast_ref::<Broken>();
                assert!(
                    matches!(broken, Some(&Broken::Died { role: Role::Producer, pid })
                if pid == child.pid())
                );
            }
            let mut producer = persistent().resume(true).open_producer(&path).unwrap();
            assert_eq!(producer.position(), position);
            producer.write_all(b"end").unwrap();
            producer.close().unwrap();
            assert_eq!(read_on(&mut consumer), b"end");
        },
    );
}

#[test]
fn a_killed_reader_is_followed_at_its_position() {
    alone(
        "persist::roles::a_killed_reader_is_followed_at_its_position",
        || {
            let path = TempPath::new();
            write(&path, &stream(6, 0, 3000));
            for round in 0..5 {
                let mut child = Fork::new(|| {
                    let mut consumer = reader(&path);
                    assert_eq!(consumer.position(), round * 500);
                    let mut bytes = [0; 500];
                    consumer.read_exact(&mut bytes).unwrap();
                    check(6, round * 500, &bytes);
                    thread::sleep(PATIENCE);
                });
                let left = 3000 - (round + 1) * 500;
                kill_when(&mut child, &path, |ring| ring.fill as u64 == left);
            }
            let rest = read(&path);
            assert_eq!(rest.len(), 500);
            check(6, 2500, &rest);
        },
    );
}

#[test]
fn a_writer_that_waits_is_told_of_a_killed_reader_and_served_by_the_next() {
    let test =
        "persist::roles::a_writer_that_waits_is_told_of_a_killed_reader_and_served_by_the_next";
    alone(test, || {
        let path = TempPath::new();
        let mut producer = (persistent().require_consumer(true))
            .open_producer(&path)
            .unwrap();
        let mut child = Fork::new(|| {
            let _consumer = reader(&path);
            thread::sleep(PATIENCE);
        });
        let held = Occupant::Process(child.pid());
        kill_when(&mut child, &path, |ring| ring.consumer == held);
        let bytes = stream(7, 0, 2 * page());
        assert_eq!(producer.write(&bytes).unwrap(), page());
        let error = producer.write(&bytes[page()..]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        let mut consumer = reader(&path);
        thread::scope(|scope| {
            scope.spawn(move || {
                producer.write_all(&bytes[page()..]).unwrap();
            });
            let read = read_on(&mut consumer);
            assert_eq!(read.len(), 2 * page());
            check(7, 0, &read);
        });
    });
}
