//! Whose a role is, and whose a segment.

use std::fs::File;
use std::io::{Read, Write};

use shmpipe::{Role, WaitPolicy};

use crate::common::kill::{Opened, assert_no_segments, open, options, own_namespace};
use crate::common::{
    End, Fork, Segment, TempPath, alone, bytes_of, exit_now, is_root, move_to_own_ipc_namespace,
    page, poke, until,
};
use crate::{ROLES, skipped, stream};

/// Found in review: the opener counted its own look at the segment, and so
/// took a dead holder that it cannot ask the kernel about for one that lives.
#[test]
fn a_holder_dead_in_another_pid_namespace_is_followed() {
    alone(
        "roles::a_holder_dead_in_another_pid_namespace_is_followed",
        || {
            // SAFETY: flags only; the process has one thread.
            if unsafe { libc::unshare(libc::CLONE_NEWPID) } != 0 {
                return skipped("a pid namespace");
            }
            let path = TempPath::new();
            let mut options = options(4096);
            options.persistent(true);
            // The first child is process 1 of the new namespace.
            let mut child = Fork::new(|| {
                let mut producer = options.producer(&path).unwrap();
                let _consumer = options.consumer(&path).unwrap();
                producer.write_all(b"one").unwrap();
                exit_now(1);
            });
            assert_eq!(child.wait(), End::Exit(1));
            let mut producer = options.producer(&path).unwrap();
            assert_eq!(producer.position(), 3);
            producer.write_all(b"two").unwrap();
            producer.close().unwrap();
            drop(producer);
            let mut bytes = Vec::new();
            let mut consumer = options.consumer(&path).unwrap();
            consumer.read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, b"onetwo");
        },
    );
}

/// Found in review: the side that joins removes the key, which only the owner
/// of the segment may.
#[test]
fn a_side_that_does_not_own_the_segment_can_join() {
    alone(
        "roles::a_side_that_does_not_own_the_segment_can_join",
        || {
            if !is_root() {
                return skipped("another user");
            }
            let isolated = own_namespace();
            for role in ROLES {
                let path = TempPath::new();
                // SAFETY: an integer.
                let become_nobody = || assert_eq!(unsafe { libc::setuid(65534) }, 0);
                let mut probe = Fork::new(|| {
                    become_nobody();
                    File::open(&path).unwrap();
                });
                if probe.wait() != End::Exit(0) {
                    return skipped("another user who reads our files");
                }
                let mut options = options(4096);
                options.owner(0).mode(0o666);
                let mut child = Fork::new(|| {
                    until(|| path.leads_to_a_segment());
                    become_nobody();
                    stream(open(&options, &path, role.peer()).unwrap());
                });
                stream(open(&options, &path, role).unwrap());
                assert_eq!(child.wait(), End::Exit(0));
                assert!(!path.leads_to_a_segment());
            }
            assert_no_segments(isolated);
        },
    );
}

/// Found in review: a process that has moved to another IPC namespace asked
/// there after the id, and removed what it found under it.
#[test]
fn an_id_means_nothing_in_another_ipc_namespace() {
    alone(
        "roles::an_id_means_nothing_in_another_ipc_namespace",
        || {
            let path = TempPath::new();
            let mut options = options(4096);
            options.no_wait(true);
            for is_paired in [true, false] {
                if !move_to_own_ipc_namespace() {
                    return skipped("an IPC namespace");
                }
                let mut producer = options.producer(&path).unwrap();
                let mut consumer = is_paired.then(|| options.consumer(&path).unwrap());
                let id = producer.id().unwrap();
                assert!(move_to_own_ipc_namespace());
                let mut strangers = (0..10_000).map(|_| Segment::new(None, page(), 0o600));
                let Some(stranger) = strangers.find(|segment| segment.id == id) else {
                    return skipped("a segment of the same id");
                };
                producer.check_peer().unwrap();
                if let Some(consumer) = &mut consumer {
                    consumer.check_peer().unwrap();
                    producer.write_all(b"on").unwrap();
                    consumer.read_exact(&mut [0; 2]).unwrap();
                }
                drop(producer);
                drop(consumer);
                assert!(stranger.is_there());
            }
        },
    );
}

/// Found in review: a handle left the role whoever had it by then.
#[test]
fn a_role_that_is_another_holders_is_not_left() {
    for (role, owner, closed) in [(Role::Producer, 136, 384), (Role::Consumer, 176, 640)] {
        let (producer, consumer) = options(4096).anonymous().unwrap().split().unwrap();
        let id = producer.id().unwrap();
        poke(id, owner, &(7_u64 << 42 | 1).to_ne_bytes());
        let other = match role {
            Role::Producer => {
                drop(producer);
                Opened::Consumer(consumer)
            }
            Role::Consumer => {
                drop(consumer);
                Opened::Producer(producer)
            }
        };
        assert_eq!(bytes_of(id)[closed..][..4], [0; 4], "{role}");
        drop(other);
    }
}

/// Found in review: setting how a closed consumer waits took back what its
/// successor had asked of the producer.
#[test]
fn a_consumer_that_has_left_changes_nothing_of_its_successors() {
    const WANTS_ECHO: usize = 640 + 20; // see tests/layout.rs
    let path = TempPath::new();
    let mut options = options(4096);
    options.persistent(true).no_wait(true);
    let mut producer = options.producer(&path).unwrap();
    let id = producer.id().unwrap();
    let wants_echo = || bytes_of(id)[WANTS_ECHO];
    let mut first = options.consumer(&path).unwrap();
    // Short messages, one at a time.
    for _ in 0..8 {
        producer.write_all(b"short").unwrap();
        first.read_exact(&mut [0; 5]).unwrap();
    }
    if wants_echo() == 0 {
        return skipped("a second processor");
    }
    first.close().unwrap();
    let second = options.consumer(&path).unwrap();
    assert_eq!(wants_echo(), 0);
    poke(id, WANTS_ECHO, &1_u32.to_ne_bytes()); // as the second would
    first.set_wait_policy(WaitPolicy::Park);
    assert_eq!(wants_echo(), 1);
    drop((producer, second));
    shmpipe::remove(id, true).unwrap();
}
