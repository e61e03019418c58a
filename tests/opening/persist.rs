//! Rings that stay until they are removed: who comes later goes on where the
//! last one stopped. And removing, of these and of others.

use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::Duration;

use crate::common::{
    End, Fork, PATIENCE, Segment, TempPath, alone, check, move_to_own_ipc_namespace, once_asleep,
    options, page, stream, until,
};
use shmpipe::sysv::{self, SegmentId};
use shmpipe::{
    Broken, Consumer, LifeCycle, Occupant, OpenError, Options, Producer, RemoveError, Role,
    Snapshot,
};

fn persistent() -> Options {
    let mut options = options();
    options.persistent(true).capacity(page());
    options
}

fn writer(path: &TempPath) -> Producer {
    persistent().open_producer(path).unwrap()
}

fn reader(path: &TempPath) -> Consumer {
    persistent().open_consumer(path).unwrap()
}

/// One writer's stay.
fn write(path: &TempPath, bytes: &[u8]) {
    let mut producer = writer(path);
    producer.write_all(bytes).unwrap();
    producer.close().unwrap();
}

/// One reader's stay, up to the end of the stream.
#[track_caller]
fn read(path: &TempPath) -> Vec<u8> {
    read_on(&mut reader(path))
}

#[track_caller]
fn read_on(consumer: &mut Consumer) -> Vec<u8> {
    // No test waits for more than is there.
    consumer.set_timeout(Some(PATIENCE));
    let mut bytes = Vec::new();
    consumer.read_to_end(&mut bytes).unwrap();
    bytes
}

#[track_caller]
fn assert_nothing_comes(consumer: &mut Consumer) {
    consumer.set_timeout(Some(Duration::from_millis(30)));
    let error = consumer.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    consumer.set_timeout(Some(PATIENCE));
}

// ---- Streams ----

#[test]
fn a_reader_that_comes_after_the_writer_has_gone_reads_it_all() {
    let path = TempPath::new();
    write(&path, b"in shared memory");
    let id = path.segment().unwrap();
    assert_eq!(sysv::stat(id).unwrap().attached, 0);
    assert_eq!(read(&path), b"in shared memory");
    assert_eq!(path.segment(), Some(id), "it stays");
}

#[test]
fn writers_and_readers_take_turns() {
    let path = TempPath::new();
    let mut position = 0;
    for round in 0..50 {
        let len = 1 + round * 997 % page();
        write(&path, &stream(1, position, len));
        let bytes = read(&path);
        assert_eq!(bytes.len(), len);
        check(1, position, &bytes);
        position += len as u64;
        assert_eq!(writer(&path).position(), position);
        assert_eq!(reader(&path).position(), position);
        assert_eq!(read(&path), b"", "of the writer who wrote nothing");
    }
}

#[test]
fn a_reader_may_come_first() {
    let path = TempPath::new();
    let mut consumer = reader(&path);
    let (read, ()) = once_asleep(|| read_on(&mut consumer), |_| write(&path, b"late"));
    assert_eq!(read, b"late");
}

#[test]
fn two_writers_before_one_reader_are_two_streams() {
    let path = TempPath::new();
    write(&path, b"first, ");
    write(&path, b"second");
    let mut consumer = reader(&path);
    assert_eq!(read_on(&mut consumer), b"first, ");
    assert_eq!(consumer.position(), 7);
    assert!(consumer.next_stream().unwrap());
    assert_eq!(read_on(&mut consumer), b"second");
    assert_eq!(consumer.position(), 13);
}

#[test]
fn a_reader_that_stays_reads_one_writer_after_the_other() {
    let path = TempPath::new();
    let mut consumer = reader(&path);
    for text in ["one", "two", "three"] {
        write(&path, text.as_bytes());
        assert_eq!(read_on(&mut consumer), text.as_bytes());
        assert!(consumer.next_stream().unwrap());
    }
}

#[test]
fn a_reader_goes_on_where_the_last_one_stopped() {
    let path = TempPath::new();
    write(&path, &stream(2, 0, 3000));
    let mut position = 0;
    for len in [1, 500, 7, 1492] {
        let mut consumer = reader(&path);
        assert_eq!(consumer.position(), position);
        let mut bytes = vec![0; len];
        consumer.read_exact(&mut bytes).unwrap();
        check(2, position, &bytes);
        position += len as u64;
    }
    let rest = read(&path);
    assert_eq!(rest.len(), 1000);
    check(2, 2000, &rest);
}

#[test]
fn a_writer_that_stays_outlasts_its_readers() {
    let path = TempPath::new();
    let mut producer = (persistent().require_consumer(true))
        .open_producer(&path)
        .unwrap();
    for position in (0..1000).step_by(100) {
        let mut consumer = reader(&path);
        producer.write_all(&stream(3, position, 100)).unwrap();
        let mut bytes = [0; 100];
        consumer.read_exact(&mut bytes).unwrap();
        check(3, position, &bytes);
        drop(consumer);
        // Until the next one comes, as it asked to be told.
        let error = producer.write(b"x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert_eq!(producer.position(), position + 100);
    }
}

#[test]
fn an_end_is_delivered_once() {
    let path = TempPath::new();
    write(&path, b"1");
    assert_eq!(read(&path), b"1");
    let mut consumer = reader(&path);
    assert_nothing_comes(&mut consumer);
    write(&path, b"2");
    assert_eq!(read_on(&mut consumer), b"2");
}

#[test]
fn an_end_that_nobody_saw_is_delivered_to_the_next_reader() {
    let path = TempPath::new();
    write(&path, b"1");
    reader(&path).read_exact(&mut [0]).unwrap();
    assert_eq!(read(&path), b"");
    assert_nothing_comes(&mut reader(&path));
}

#[test]
fn an_end_that_came_after_the_one_a_reader_saw_is_delivered_to_the_next() {
    let path = TempPath::new();
    write(&path, b"1");
    let mut consumer = reader(&path);
    assert_eq!(read_on(&mut consumer), b"1");
    write(&path, b"2");
    drop(consumer); // it has seen the first end, not the second
    assert_eq!(read(&path), b"2");
}

#[test]
fn a_stream_broken_off_does_not_look_whole_to_a_later_reader() {
    let path = TempPath::new();
    let mut producer = writer(&path);
    producer.write_all(b"half").unwrap();
    producer.abort();
    drop(producer);
    let mut consumer = reader(&path);
    let mut bytes = Vec::new();
    let error = consumer.read_to_end(&mut bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    assert_eq!(bytes, b"half");
    drop(consumer);
    write(&path, b"whole");
    assert_eq!(read(&path), b"whole");
}

#[test]
fn a_full_ring_without_a_reader_times_out_and_keeps_what_it_took() {
    let path = TempPath::new();
    let bytes = stream(4, 0, page() + 1);
    let mut producer = writer(&path);
    producer.set_timeout(Some(Duration::from_millis(30)));
    assert_eq!(producer.write(&bytes).unwrap(), page());
    let error = producer.write(&bytes[page()..]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    drop(producer);
    let read = read(&path);
    assert_eq!(read.len(), page());
    check(4, 0, &read);
}

#[test]
fn a_capacity_asked_for_must_be_that_of_the_ring() {
    let path = TempPath::new();
    drop(writer(&path));
    let opened = persistent().capacity(2 * page()).open_consumer(&path);
    assert!(matches!(opened, Err(OpenError::CapacityMismatch { .. })));
    let consumer = options().persistent(true).open_consumer(&path).unwrap();
    assert_eq!(consumer.capacity(), page());
}

// ---- Roles ----

#[test]
fn a_role_is_never_taken_from_a_living_process() {
    alone(
        "persist::a_role_is_never_taken_from_a_living_process",
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

/// Kills `child` once the ring of `path` is as wanted.
fn kill_when(child: &mut Fork, path: &TempPath, is_so: impl Fn(Snapshot) -> bool) {
    until(|| {
        path.segment()
            .and_then(|id| Snapshot::of(id).ok())
            .is_some_and(&is_so)
    });
    child.kill();
    assert_eq!(child.wait(), End::Signal(libc::SIGKILL));
}

#[test]
fn a_killed_writer_is_followed_at_its_position() {
    alone(
        "persist::a_killed_writer_is_followed_at_its_position",
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
        "persist::a_killed_reader_is_followed_at_its_position",
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
    let test = "persist::a_writer_that_waits_is_told_of_a_killed_reader_and_served_by_the_next";
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

// ---- Removing ----

#[test]
fn a_persistent_ring_is_removed_by_its_path() {
    let path = TempPath::new();
    write(&path, b"gone with it");
    let id = path.segment().unwrap();
    shmpipe::Options::new().remove(&path).unwrap();
    assert!(!path.leads_to_a_segment());
    assert!(sysv::stat(id).is_err());
    let again = shmpipe::Options::new().remove(&path);
    assert!(matches!(
        again,
        Err(RemoveError::Open(OpenError::NoRing { .. }))
    ));
    assert_eq!(reader(&path).position(), 0, "a new ring");
}

#[test]
fn a_ring_in_use_is_removed_by_force_only_and_goes_on() {
    let path = TempPath::new();
    let (mut producer, mut consumer) = (writer(&path), reader(&path));
    let id = producer.id().unwrap();
    for refused in [shmpipe::Options::new().remove(&path), shmpipe::remove(id)] {
        assert!(matches!(refused, Err(RemoveError::InUse { id: named, .. }) if named == id));
    }
    shmpipe::Options::new().force_remove(&path).unwrap();
    assert!(!path.leads_to_a_segment());
    producer.write_all(b"still").unwrap();
    producer.close().unwrap();
    assert_eq!(read_on(&mut consumer), b"still");
    drop((producer, consumer));
    assert!(sysv::stat(id).is_err());
}

#[test]
fn removing_by_a_path_that_is_missing_names_it() {
    let missing = shmpipe::Options::new()
        .force_remove("/nonexistent/ring")
        .unwrap_err();
    assert!(missing.to_string().contains("/nonexistent/ring"));
    let path = TempPath::new();
    assert!(
        shmpipe::Options::new()
            .project(0)
            .force_remove(&path)
            .is_err()
    );
    assert!(
        shmpipe::Options::new()
            .project(256)
            .force_remove(&path)
            .is_err()
    );
}

fn is_there(id: SegmentId) -> bool {
    sysv::stat(id).is_ok_and(|stat| !stat.marked_for_removal)
}

#[test]
fn only_what_the_dead_left_behind_is_stale() {
    alone("persist::only_what_the_dead_left_behind_is_stale", || {
        if !move_to_own_ipc_namespace() {
            return eprintln!("skipped: only_what_the_dead_left_behind_is_stale");
        }
        assert_eq!(shmpipe::remove_stale().unwrap(), []);
        // Left behind: a ring that nobody joined, and two half-made ones.
        let [path, other_path, kept, used, foreign_path] = [(); 5].map(|()| TempPath::new());
        let mut child = Fork::new(|| drop(options().open_producer(&path)));
        let held = Occupant::Process(child.pid());
        kill_when(&mut child, &path, |ring| ring.producer == held);
        let orphan = path.segment().unwrap();
        let stillborn = Segment::by_the_dead(other_path.key(), 2 * page(), 0o600);
        let before: Vec<_> = sysv::list().unwrap().iter().map(|stat| stat.id).collect();
        let mut creator = Fork::new(|| {
            std::mem::forget(Segment::new(None, 2 * page(), 0o600));
        });
        assert_eq!(creator.wait(), End::Exit(0));
        let now = sysv::list().unwrap();
        let keyless = now.iter().find(|stat| !before.contains(&stat.id));
        let keyless = keyless.unwrap().id;
        // Not: a persistent ring, one in use, another program's.
        write(&kept, b"kept");
        let _in_use = options().wait_for_peer(false).open_producer(&used).unwrap();
        let refused = shmpipe::Options::new().remove(&used);
        assert!(matches!(refused, Err(RemoveError::InUse { .. })));
        let pair = shmpipe::pair().unwrap();
        let foreign = Segment::by_the_dead(foreign_path.key(), 5000, 0o600);

        let mut removed = shmpipe::remove_stale().unwrap();
        removed.sort();
        let mut expected = [orphan, stillborn.id, keyless];
        expected.sort();
        assert_eq!(removed, expected);
        assert!(!expected.into_iter().any(is_there));
        assert!(foreign.is_there());
        assert!(sysv::stat(pair.0.id().unwrap()).is_ok());
        assert!(used.leads_to_a_segment());
        assert_eq!(read(&kept), b"kept");
        assert_eq!(shmpipe::remove_stale().unwrap(), []);
    });
}

// ---- Looking ----

#[test]
fn a_snapshot_tells_what_the_ring_is() {
    let me = Occupant::Process(std::process::id());
    let path = TempPath::new();
    let mut producer = writer(&path);
    producer.write_all(&[0; 100]).unwrap();
    let id = producer.id().unwrap();
    let ring = Snapshot::of(id).unwrap();
    assert_eq!((ring.id, ring.key), (id, Some(path.key())));
    assert_eq!(ring.size, 2 * page());
    assert_eq!(ring.attached, 2, "before the look");
    assert_eq!(ring.capacity, page());
    assert_eq!((ring.fill, ring.written), (100, 100));
    assert_eq!(ring.life_cycle, LifeCycle::Persistent);
    assert_eq!((ring.producer, ring.consumer), (me, Occupant::Nobody));
    assert!(Snapshot::all().unwrap().contains(&ring));

    let mut consumer = reader(&path);
    consumer.read_exact(&mut [0; 40]).unwrap();
    drop(producer);
    let ring = Snapshot::of(id).unwrap();
    assert_eq!((ring.fill, ring.written), (60, 100));
    assert_eq!((ring.producer, ring.consumer), (Occupant::Nobody, me));
    assert_eq!(sysv::stat(id).unwrap().attached, 2, "the look is over");

    let (mut producer, consumer) = shmpipe::pair().unwrap();
    producer.close().unwrap();
    let ring = Snapshot::of(consumer.id().unwrap()).unwrap();
    assert_eq!((ring.key, ring.life_cycle), (None, LifeCycle::Anonymous));
    assert_eq!((ring.producer, ring.consumer), (Occupant::Left, me));

    let named = options()
        .wait_for_peer(false)
        .open_consumer(TempPath::new())
        .unwrap();
    let ring = Snapshot::of(named.id().unwrap()).unwrap();
    assert_eq!(ring.life_cycle, LifeCycle::Named);
}

#[test]
fn what_is_no_ring_is_not_listed() {
    let foreign = Segment::new(None, 3 * page(), 0o600);
    crate::common::poke(foreign.id, 0, b"another program's");
    let all = Snapshot::all().unwrap();
    assert!(all.iter().all(|ring| ring.id != foreign.id));
    let looked = Snapshot::of(foreign.id);
    assert!(matches!(looked, Err(OpenError::NotARing { .. })));
}

#[test]
fn what_has_no_shape_of_a_ring_is_not_even_attached() {
    alone(
        "persist::what_has_no_shape_of_a_ring_is_not_even_attached",
        || {
            // Its own program may go by how often it is attached: PostgreSQL does.
            move_to_own_ipc_namespace();
            let path = TempPath::new();
            let sizes = [56, page(), page() + 1000, 3 * page() + 1, 100 * page()];
            for size in sizes {
                let foreign = Segment::new(Some(path.key()), size, 0o600);
                Snapshot::all().unwrap();
                shmpipe::remove_stale().unwrap();
                assert!(persistent().open_producer(&path).is_err());
                assert!(shmpipe::Options::new().force_remove(&path).is_err());
                assert!(shmpipe::force_remove(foreign.id).is_err());
                let stat = sysv::stat(foreign.id).unwrap();
                assert_eq!((stat.attach_time, stat.last_pid), (0, 0), "{size} bytes");
            }
        },
    );
}
