//! Roles: who has them, also after fork and exec.
#![allow(unsafe_code)] // pre_exec

use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;

use shmpipe::sysv::{self, SegmentId};
use shmpipe::{Broken, CloseError, OpenError, Options, Role};

use super::{CAPACITY, anonymous, broken, split};
use crate::common::{End, Fork, TempPath, alone, options, until, until_gone};

fn attached(id: SegmentId) -> u64 {
    sysv::stat(id).map_or(0, |stat| stat.attached)
}

#[test]
fn a_ring_dropped_without_a_role_leaves_nothing() {
    let ring = anonymous();
    let id = ring.id().unwrap();
    assert!(sysv::stat(id).is_ok_and(|stat| stat.marked_for_removal && stat.key_raw == 0));
    drop(ring);
    until_gone(id);
}

#[test]
fn a_role_is_had_once() {
    let ring = anonymous();
    let id = ring.id().unwrap();
    let again = || options().attach(id).unwrap();
    let me = std::process::id();
    let taken = |result: Result<(), OpenError>, wanted| match result {
        Err(OpenError::RoleTaken { role, pid, .. }) => assert_eq!((role, pid), (wanted, me)),
        other => panic!("{other:?}"),
    };
    let (third, fourth) = (again(), again());
    let producer = ring.into_producer().unwrap();
    taken(third.into_producer().map(drop), Role::Producer);
    let consumer = fourth.into_consumer().unwrap();
    let (sixth, seventh, eighth) = (again(), again(), again());
    taken(again().into_consumer().map(drop), Role::Consumer);
    taken(again().split().map(drop), Role::Producer);
    // Nor after its holder has left.
    drop(producer);
    taken(sixth.into_producer().map(drop), Role::Producer);
    drop(consumer);
    taken(seventh.into_consumer().map(drop), Role::Consumer);
    drop(eighth);
    assert!(matches!(options().attach(id), Err(OpenError::Removed { id: gone, .. }) if gone == id));
}

#[test]
fn who_comes_after_the_end_reads_it_all() {
    let ring = anonymous();
    let late = options().attach(ring.id().unwrap()).unwrap();
    let mut producer = ring.into_producer().unwrap();
    producer.write_all(b"early").unwrap();
    producer.close().unwrap();
    drop(producer);
    let mut text = String::new();
    let mut consumer = late.into_consumer().unwrap();
    consumer.read_to_string(&mut text).unwrap();
    assert_eq!(text, "early");
}

#[test]
fn a_peer_that_lives_or_finished_is_no_error() {
    let (mut producer, mut consumer) = split();
    assert_eq!(producer.check_peer(), Ok(()));
    assert_eq!(consumer.check_peer(), Ok(()));
    producer.close().unwrap();
    assert_eq!(consumer.check_peer(), Ok(()));

    // One that may still come is none either.
    let ring = anonymous();
    let other = options().attach(ring.id().unwrap()).unwrap();
    let mut producer = ring.into_producer().unwrap();
    assert_eq!(producer.check_peer(), Ok(()));
    drop(other);
}

#[test]
fn nobody_else_can_come_to_a_ring_that_was_not_handed_on() {
    alone(
        "api::roles::nobody_else_can_come_to_a_ring_that_was_not_handed_on",
        || {
            let never = |role| Broken::NeverCame { role };
            let mut consumer = anonymous().into_consumer().unwrap();
            let result = consumer.read(&mut [0]);
            assert_eq!(broken(result, ErrorKind::BrokenPipe), never(Role::Producer));
            assert_eq!(consumer.check_peer(), Err(never(Role::Producer)));

            let mut producer = anonymous().into_producer().unwrap();
            assert_eq!(producer.write(&[1; 5000]).unwrap(), CAPACITY);
            let result = producer.write(&[1]);
            assert_eq!(broken(result, ErrorKind::BrokenPipe), never(Role::Consumer));
        },
    );
}

#[test]
fn a_forked_copy_of_a_handle_is_inert() {
    alone("api::roles::a_forked_copy_of_a_handle_is_inert", || {
        let (mut producer, mut consumer) = split();
        let id = producer.id().unwrap();
        producer.write_all(b"before").unwrap();
        assert_eq!(attached(id), 2);
        let mut handles = Some((producer, consumer));
        let mut child = Fork::new(|| {
            let (mut producer, mut consumer) = handles.take().unwrap();
            let inherited = || Broken::Inherited;
            assert_eq!(producer.try_write(b"x"), Err(inherited().into()));
            assert_eq!(producer.try_write(b""), Err(inherited().into()));
            assert_eq!(consumer.try_read(&mut [0]), Err(inherited().into()));
            assert_eq!(producer.check_peer(), Err(inherited()));
            assert_eq!(consumer.check_peer(), Err(inherited()));
            assert_eq!(producer.close(), Err(CloseError::Broken(inherited())));
            assert_eq!(consumer.close(), Err(CloseError::Broken(inherited())));
            let result = producer.write(b"x");
            assert_eq!(broken(result, ErrorKind::NotConnected), inherited());
            let result = consumer.read(&mut [0]);
            assert_eq!(broken(result, ErrorKind::NotConnected), inherited());
            producer.abort();
            drop((producer, consumer));
        });
        (producer, consumer) = handles.take().unwrap();
        assert_eq!(child.wait(), End::Exit(0));
        assert_eq!(attached(id), 2);

        producer.write_all(b" and after").unwrap();
        producer.close().unwrap();
        let mut text = String::new();
        consumer.read_to_string(&mut text).unwrap();
        assert_eq!(text, "before and after");
        drop((producer, consumer));
        assert_eq!(attached(id), 0);
    });
}

#[test]
fn commands_run_while_handles_live() {
    alone("api::roles::commands_run_while_handles_live", || {
        let path = TempPath::new();
        let (mut producer, mut consumer) = split();
        let mut waiting = Options::new();
        waiting.wait_for_peer(false).capacity(CAPACITY);
        let named = waiting.open_producer(&path).unwrap();
        let ids = [producer.id().unwrap(), named.id().unwrap()];
        let run = |command: &mut Command| assert!(command.status().unwrap().success());
        run(&mut Command::new("true"));
        let mut forking = Command::new("true");
        // SAFETY: the closure does nothing; that it is there makes std fork,
        // rather than spawn.
        unsafe { forking.pre_exec(|| Ok(())) };
        run(&mut forking);
        let mut sleeping = Command::new("sleep").arg("60").spawn().unwrap();
        until(|| ids.map(attached) == [2, 2]);
        sleeping.kill().unwrap();
        sleeping.wait().unwrap();

        assert_eq!(ids.map(attached), [2, 2]);
        producer.write_all(b"still here").unwrap();
        assert_eq!(consumer.read(&mut [0; 20]).unwrap(), 10);
        assert_eq!(consumer.check_peer(), Ok(()));
        assert_eq!(producer.check_peer(), Ok(()));
        assert!(path.leads_to_a_segment());
        drop(named);
        assert!(!path.leads_to_a_segment());
    });
}
