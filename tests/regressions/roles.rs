//! Whose a role is, and whose a segment.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::time::Duration;

use shmpipe::{Broken, OpenError, Options, Role, WaitPolicy, sysv};

use crate::common::kill::{Opened, assert_no_segments, open, options, own_namespace};
use crate::common::offsets::{CLOSED, OWNERS, SIGNALS, WANTS};
use crate::common::{
    End, Fork, Segment, TempPath, alone, bytes_of, exit_now, is_root, move_to_own_ipc_namespace,
    page, poke, unshare, until,
};
use crate::{ROLES, broken, skipped, stream};

/// Found in review: the opener counted its own look at the segment, and so
/// took a dead holder that it cannot ask the kernel about for one that lives.
#[test]
fn a_holder_dead_in_another_pid_namespace_is_followed() {
    alone(
        "roles::a_holder_dead_in_another_pid_namespace_is_followed",
        || {
            if !unshare(libc::CLONE_NEWPID) {
                return skipped("a pid namespace");
            }
            let path = TempPath::new();
            let mut options = options(4096);
            options.persistent(true).resume(true);
            // The first child is process 1 of the new namespace.
            let mut child = Fork::new(|| {
                let mut producer = options.open_producer(&path).unwrap();
                let _consumer = options.open_consumer(&path).unwrap();
                producer.write_all(b"one").unwrap();
                exit_now(1);
            });
            assert_eq!(child.wait(), End::Exit(1));
            let mut producer = options.open_producer(&path).unwrap();
            assert_eq!(producer.position(), 3);
            producer.write_all(b"two").unwrap();
            producer.close().unwrap();
            drop(producer);
            let mut bytes = Vec::new();
            let mut consumer = options.open_consumer(&path).unwrap();
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
            options.wait_for_peer(false);
            for is_paired in [true, false] {
                if !move_to_own_ipc_namespace() {
                    return skipped("an IPC namespace");
                }
                let mut producer = options.open_producer(&path).unwrap();
                let mut consumer = is_paired.then(|| options.open_consumer(&path).unwrap());
                let id = producer.id().unwrap();
                assert!(move_to_own_ipc_namespace());
                let Some(stranger) = Segment::with_id(id, page(), 0o600) else {
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
    for (role, owner, closed) in [
        (Role::Producer, OWNERS[0], CLOSED[0]),
        (Role::Consumer, OWNERS[1], CLOSED[1]),
    ] {
        let (producer, consumer) = options(4096).create_anonymous().unwrap().split().unwrap();
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
        assert_eq!(bytes_of(id)[closed..][..8], [0; 8], "{role}");
        drop(other);
    }
}

/// Found in review: setting how a closed consumer waits took back what its
/// successor had asked of the producer.
#[test]
fn a_consumer_that_has_left_changes_nothing_of_its_successors() {
    const DELIVERY_HINT: usize = SIGNALS[1] + WANTS;
    let path = TempPath::new();
    let mut options = options(4096);
    options.persistent(true).wait_for_peer(false);
    let mut producer = options.open_producer(&path).unwrap();
    let id = producer.id().unwrap();
    let delivery_hint = || bytes_of(id)[DELIVERY_HINT];
    let mut first = options.open_consumer(&path).unwrap();
    // Short messages, one at a time.
    for _ in 0..8 {
        producer.write_all(b"short").unwrap();
        first.read_exact(&mut [0; 5]).unwrap();
    }
    if delivery_hint() == 0 {
        return skipped("a second processor");
    }
    first.close().unwrap();
    let second = options.open_consumer(&path).unwrap();
    assert_eq!(delivery_hint(), 0);
    poke(id, DELIVERY_HINT, &1_u32.to_ne_bytes()); // as the second would
    first.set_wait_policy(WaitPolicy::Park);
    assert_eq!(delivery_hint(), 1);
    drop((producer, second));
    shmpipe::force_remove(id).unwrap();
}

/// A side that waits tells within this time, or never, that its peer is dead.
const SOON: Duration = Duration::from_secs(10);

/// Options for a persistent ring, and both ends of it in one mapping.
fn split(path: &TempPath) -> (shmpipe::Producer, shmpipe::Consumer) {
    let options = persistent();
    let id = options.open_producer(path).unwrap().id().unwrap();
    options.attach(id).unwrap().split().unwrap()
}

fn persistent() -> Options {
    let mut options = options(4096);
    options.persistent(true).timeout(Some(SOON));
    options
}

/// Found by reading: one half of a split counted no attachments, so that the
/// death of a stranger that had the other role, and of which only the count
/// tells, went unnoticed.
#[test]
fn half_of_a_split_notices_the_death_of_a_stranger() {
    alone(
        "roles::half_of_a_split_notices_the_death_of_a_stranger",
        || {
            if !unshare(libc::CLONE_NEWPID) {
                return skipped("a pid namespace");
            }
            let path = TempPath::new();
            let (mut producer, mut consumer) = split(&path);
            producer.close().unwrap();
            drop(producer);
            let mut stranger = Fork::new(|| {
                let mut producer = persistent().open_producer(&path).unwrap();
                producer.write_all(b"x").unwrap();
                exit_now(1);
            });
            assert_eq!(stranger.wait(), End::Exit(1));
            // The ends of the two producers before it, then its death.
            let mut bytes = Vec::new();
            for _ in 0..2 {
                assert_eq!(consumer.read_to_end(&mut bytes).unwrap(), 0);
                assert!(consumer.next_stream().unwrap());
            }
            let error = consumer.read_to_end(&mut bytes).unwrap_err();
            assert_eq!(bytes, b"x");
            assert!(matches!(broken(&error), Broken::Died { .. }), "{error}");
        },
    );
}

/// The same the other way round.
#[test]
fn a_stranger_notices_the_death_of_half_of_a_split() {
    alone(
        "roles::a_stranger_notices_the_death_of_half_of_a_split",
        || {
            if !unshare(libc::CLONE_NEWPID) {
                return skipped("a pid namespace");
            }
            let path = TempPath::new();
            let mut child = Fork::new(|| {
                let (mut producer, _consumer) = split(&path);
                producer.close().unwrap();
                drop(producer);
                std::thread::sleep(crate::common::PATIENCE);
            });
            let is_left = || {
                let ring = shmpipe::Options::new().snapshot(&path);
                ring.is_ok_and(|ring| {
                    ring.producer == shmpipe::Occupant::Nobody
                        && matches!(ring.consumer, shmpipe::Occupant::Process(_))
                })
            };
            until(is_left);
            let mut options = persistent();
            let mut producer = options.require_consumer(true).open_producer(&path).unwrap();
            producer.check_peer().unwrap();
            child.kill();
            assert_eq!(child.wait(), End::Signal(libc::SIGKILL));
            let error = producer.write_all(&[0; 10_000]).unwrap_err();
            assert!(matches!(broken(&error), Broken::Died { .. }), "{error}");
        },
    );
}

/// Two halves of a split are one mapping, and no proof of a death.
#[test]
fn the_halves_of_a_split_live() {
    let path = TempPath::new();
    let (mut producer, mut consumer) = split(&path);
    producer.check_peer().unwrap();
    consumer.check_peer().unwrap();
}

/// The end of the start time of a process, as an owner word has it.
fn start_end(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let start: u64 = rest.split_whitespace().nth(19).unwrap().parse().unwrap();
    start & 0x3f_ffff
}

/// The owner word of a claim of ours, see src/peer/claim.rs.
fn owner_word(pid: u32, start_end: u64) -> u64 {
    let link = fs::read_link("/proc/self/ns/pid").unwrap();
    let namespace = link
        .to_str()
        .unwrap()
        .trim_matches(|c: char| !c.is_ascii_digit());
    let namespace: u64 = namespace.parse().unwrap();
    u64::from(pid) << 42 | (namespace & 0x3_ffff) << 24 | start_end << 2 | 1
}

/// What an opener says of a role that this owner word is half way to, while
/// somebody else is attached.
fn claim_over(path: &TempPath, word: u64) -> Result<(), OpenError> {
    const PRODUCER: usize = 136; // see tests/memory/layout.rs
    let consumer = persistent().open_consumer(path).unwrap();
    let id = consumer.id().unwrap();
    poke(id, PRODUCER, &word.to_ne_bytes());
    let opened = persistent().open_producer(path).map(drop);
    drop(consumer);
    shmpipe::force_remove(id).unwrap();
    opened
}

/// Found by reading: a claimer killed half way, whose pid another process has
/// by now, was taken for alive for as long as that one lives.
#[test]
fn a_half_done_claim_of_one_whose_pid_is_anothers_is_followed() {
    alone(
        "roles::a_half_done_claim_of_one_whose_pid_is_anothers_is_followed",
        || {
            let path = TempPath::new();
            let child = Fork::new(|| std::thread::sleep(crate::common::PATIENCE));
            for pid in [child.pid(), std::process::id()] {
                let end = start_end(pid);
                claim_over(&path, owner_word(pid, (end + 1) & 0x3f_ffff)).unwrap();
                for kept in [end, 0] {
                    let refused = claim_over(&path, owner_word(pid, kept));
                    assert!(
                        matches!(refused, Err(OpenError::RoleTaken { pid: taken, .. }) if taken == pid),
                        "{refused:?}"
                    );
                }
            }
        },
    );
}

/// Start times of two time namespaces prove nothing.
#[test]
fn a_half_done_claim_in_another_time_namespace_is_left() {
    const CLONE_NEWTIME: i32 = 0x80;
    alone(
        "roles::a_half_done_claim_in_another_time_namespace_is_left",
        || {
            let path = TempPath::new();
            let mut elsewhere = None;
            let mut starter = Fork::new(|| {
                let is_there = unshare(CLONE_NEWTIME)
                    && fs::write("/proc/self/timens_offsets", "boottime 1000 0").is_ok();
                if !is_there {
                    exit_now(2);
                }
                // Its child is there.
                let child = Fork::new(|| std::thread::sleep(crate::common::PATIENCE));
                fs::write(&path, child.pid().to_string()).unwrap();
                std::thread::sleep(crate::common::PATIENCE);
            });
            until(|| {
                let pid = fs::read_to_string(&path).unwrap();
                elsewhere = pid.parse().ok();
                elsewhere.is_some() || !starter.is_running()
            });
            let Some(pid) = elsewhere else {
                return skipped("a time namespace");
            };
            // As it would have read it itself.
            let end = (start_end(pid) + 100_000) & 0x3f_ffff;
            let refused = claim_over(&path, owner_word(pid, end));
            assert!(
                matches!(refused, Err(OpenError::RoleTaken { .. })),
                "{refused:?}"
            );
        },
    );
}

/// Found in a last reading: a death was declared, and whoever declared it died
/// before it freed the owner word. Nobody freed the word of a process that
/// cannot be proven dead.
#[test]
fn the_owner_word_of_a_declared_death_is_freed() {
    alone("roles::the_owner_word_of_a_declared_death_is_freed", || {
        let path = TempPath::new();
        let mut options = options(4096);
        options.persistent(true);
        let mut consumer = options.open_consumer(&path).unwrap();
        let mut child = Fork::new(|| {
            std::mem::forget(options.open_producer(&path).unwrap());
            exit_now(1);
        });
        assert_eq!(child.wait(), End::Exit(1));
        consumer.check_peer().unwrap_err(); // declares the death, and frees the word

        // The word again, of a pid namespace that nobody is in; and attachments
        // that might be those of its process.
        let id = consumer.id().unwrap();
        let _others = [sysv::attach(id).unwrap(), sysv::attach(id).unwrap()];
        let header = bytes_of(id);
        let complete = header[OWNERS[0] + 8..][..8].try_into().unwrap();
        let owner = u64::from_ne_bytes(complete) ^ 0x3_ffff << 24;
        poke(id, OWNERS[0], &owner.to_ne_bytes());
        options.timeout(Some(Duration::ZERO));
        let taken = options.open_producer(&path).unwrap_err();
        assert!(matches!(taken, OpenError::RoleTaken { .. }), "{taken}");

        consumer.check_peer().unwrap_err();
        drop(options.open_producer(&path).unwrap());
        options.force_remove(&path).unwrap();
    });
}
