//! Kills processes between two steps of making an end, or of taking one. Exactly the right
//! ends are there, whichever process is killed at whichever step.

use std::io::{Read, Write};

use shmpipe::failpoint::{Point, kill_at, stop_at};
use shmpipe::{Broken, NextStreamError, Occupant, Role, WaitError};

use crate::common::{End, Fork, PATIENCE, Task, alone, exit_now, not_run, unshare, until};
use crate::{Persistent, Told, assert_nothing_comes, assert_streams, later, soon, take};

/// Where a producer that opens the ring is killed.
const OPENING: [Point; 7] = [
    Point::OwnerTaken,
    Point::MarkWritten,
    Point::MarkCounted,
    Point::ClaimCounted,
    Point::RecordComplete,
    Point::SideCleared,
    Point::RoleHeld,
];

/// What became of the stream before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    Finished,
    Aborted,
    Died,
    DiedWithoutAByte,
}

/// Has a process open the ring as producer, which does not outlive it.
fn killed_opener(ring: &Persistent, point: Point, resumes: bool) {
    let mut child = Fork::new(|| {
        kill_at(point, 0);
        let producer = if resumes {
            ring.resumer()
        } else {
            ring.producer()
        };
        // There was no mark to make: it dies as one that has the role.
        std::mem::forget(producer);
        exit_now(1);
    });
    let end = child.wait();
    let makes_marks = matches!(point, Point::MarkWritten | Point::MarkCounted);
    assert!(
        end == End::Signal(libc::SIGKILL) || makes_marks && end == End::Exit(1),
        "{point:?}: {end:?}"
    );
}

#[test]
fn a_claimer_killed_anywhere_leaves_neither_two_ends_nor_none() {
    alone(
        "killed::a_claimer_killed_anywhere_leaves_neither_two_ends_nor_none",
        || {
            use Before::*;
            for before in [Nothing, Finished, Aborted, Died, DiedWithoutAByte] {
                for first in OPENING {
                    for second in [None, Some(Point::OwnerTaken), Some(Point::MarkCounted)]
                        .into_iter()
                        .chain([Some(Point::MarkWritten), Some(Point::ClaimCounted)])
                    {
                        for consumer_first in [false, true] {
                            one_end(before, first, second, consumer_first);
                        }
                    }
                }
            }
        },
    );
}

fn one_end(before: Before, first: Point, second: Option<Point>, consumer_first: bool) {
    let ring = Persistent::new();
    let early = consumer_first.then(|| ring.consumer());
    let mut streams: Vec<(&[u8], Told)> = Vec::new();
    match before {
        Before::Nothing => {}
        Before::Finished => {
            ring.finish(b"before");
            streams.push((b"before", Told::Finished));
        }
        Before::Aborted => {
            ring.abort(b"before");
            streams.push((b"before", Told::Aborted));
        }
        Before::Died => {
            let pid = ring.die(b"before");
            streams.push((b"before", Told::Died(pid)));
        }
        Before::DiedWithoutAByte => drop(ring.die(b"")),
    }
    killed_opener(&ring, first, false);
    if let Some(second) = second {
        killed_opener(&ring, second, false);
    }
    ring.finish(b"behind");
    streams.push((b"behind", Told::Finished));
    let mut consumer = early.unwrap_or_else(|| ring.consumer());
    println!("{before:?}, {first:?}, {second:?}, {consumer_first}");
    assert_streams(&mut consumer, &streams);
}

#[test]
fn a_claimer_that_resumes_and_is_killed_anywhere_ends_no_stream() {
    alone(
        "killed::a_claimer_that_resumes_and_is_killed_anywhere_ends_no_stream",
        || {
            for first in OPENING {
                for second in OPENING {
                    let ring = Persistent::new();
                    ring.die(b"half, ");
                    killed_opener(&ring, first, true);
                    killed_opener(&ring, second, true);
                    let mut producer = ring.resumer();
                    assert_eq!(producer.stream_position(), 6);
                    producer.write_all(b"whole").unwrap();
                    drop(producer);
                    let streams: [(&[u8], _); 1] = [(b"half, whole", Told::Finished)];
                    assert_streams(&mut ring.consumer(), &streams);
                }
            }
        },
    );
}

#[test]
fn a_producer_killed_while_it_leaves_ends_its_stream_once() {
    alone(
        "killed::a_producer_killed_while_it_leaves_ends_its_stream_once",
        || {
            let points = [
                (Point::MarkWritten, false),
                (Point::MarkCounted, true),
                (Point::ClosedStored, false),
                (Point::RoleLeft, true),
                (Point::OwnerFreed, true),
                (Point::LeftTold, true),
            ];
            for (point, is_marked) in points {
                for aborts in [false, true] {
                    for bytes in [&b"stream"[..], b""] {
                        let ring = Persistent::new();
                        let mut child = Fork::new(|| {
                            let mut producer = ring.producer();
                            producer.write_all(bytes).unwrap();
                            kill_at(point, 0);
                            if aborts {
                                producer.abort();
                            } else {
                                producer.close().unwrap();
                            }
                        });
                        assert_eq!(child.wait(), End::Signal(libc::SIGKILL), "{point:?}");
                        ring.finish(b"behind");
                        let how = match (is_marked, aborts) {
                            (true, true) => Told::Aborted,
                            (true, false) => Told::Finished,
                            (false, _) => Told::Died(child.pid()),
                        };
                        let mut streams = vec![(bytes, how), (b"behind", Told::Finished)];
                        if !is_marked && bytes.is_empty() {
                            streams.remove(0);
                        }
                        println!("{point:?} {aborts} {bytes:?}");
                        assert_streams(&mut ring.consumer(), &streams);
                    }
                }
            }
        },
    );
}

#[test]
fn a_consumer_killed_while_it_acknowledges_has_or_has_not() {
    alone(
        "killed::a_consumer_killed_while_it_acknowledges_has_or_has_not",
        || {
            for leaves in [false, true] {
                for (point, has) in [(Point::Acknowledged, true), (Point::ClosedStored, false)] {
                    if !leaves && point == Point::ClosedStored {
                        continue;
                    }
                    let ring = Persistent::new();
                    ring.abort(b"one");
                    ring.finish(b"two");
                    let mut child = Fork::new(|| {
                        let mut consumer = ring.consumer();
                        assert_eq!(take(&mut consumer), (b"one".to_vec(), Told::Aborted));
                        kill_at(point, 0);
                        if leaves {
                            consumer.close().unwrap();
                        } else {
                            consumer.next_stream().unwrap();
                        }
                    });
                    assert_eq!(child.wait(), End::Signal(libc::SIGKILL));
                    let mut consumer = ring.consumer();
                    if !has {
                        assert_eq!(take(&mut consumer), (vec![], Told::Aborted));
                        consumer.next_stream().unwrap();
                    }
                    assert_eq!(take(&mut consumer), (b"two".to_vec(), Told::Finished));
                    consumer.next_stream().unwrap();
                    assert_nothing_comes(&mut consumer);
                }
            }
        },
    );
}

/// Found in review: a producer whose end had been told passed for the next one,
/// until it had given its role up.
#[test]
fn a_producer_that_leaves_does_not_pass_for_the_next_one() {
    alone(
        "killed::a_producer_that_leaves_does_not_pass_for_the_next_one",
        || {
            for point in [Point::MarkCounted, Point::RoleLeft, Point::OwnerFreed] {
                let ring = Persistent::new();
                let mut consumer = ring.consumer();
                let mut leaver = Fork::new(|| {
                    let mut producer = ring.producer();
                    producer.write_all(b"one").unwrap();
                    stop_at(point);
                    drop(producer);
                });
                assert_eq!(take(&mut consumer), (b"one".to_vec(), Told::Finished));
                let next = consumer.next_stream_deadline(soon());
                assert_eq!(next, Err(NextStreamError::TimedOut), "{point:?}");
                let next = consumer.wait_for_peer_deadline(soon());
                assert_eq!(next, Err(WaitError::TimedOut), "{point:?}");
                leaver.signal(libc::SIGCONT);
                assert_eq!(leaver.wait(), End::Exit(0));
                ring.finish(b"two");
                assert_eq!(consumer.next_stream_deadline(later()), Ok(true));
                assert_eq!(take(&mut consumer), (b"two".to_vec(), Told::Finished));
            }
        },
    );
}

/// Has a process of a pid namespace of its own do something and die by SIGKILL.
/// `false` if there can be no such namespace.
fn killed_elsewhere(act: impl Fn()) -> bool {
    const NO_NAMESPACE: i32 = 3;
    let mut outer = Fork::new(|| {
        if !unshare(libc::CLONE_NEWPID) {
            exit_now(NO_NAMESPACE);
        }
        let mut first = Fork::new(|| {
            assert_eq!(Fork::new(&act).wait(), End::Signal(libc::SIGKILL));
        });
        assert_eq!(first.wait(), End::Exit(0));
    });
    match outer.wait() {
        End::Exit(NO_NAMESPACE) => false,
        end => {
            assert_eq!(end, End::Exit(0));
            true
        }
    }
}

/// Found in review: one that died half way through a claim, or through leaving,
/// kept others out while the peer had the segment attached. Nobody asked that
/// peer, whose count of attachments is the only proof.
#[test]
fn a_half_done_claim_from_elsewhere_is_in_nobodys_way() {
    alone(
        "killed::a_half_done_claim_from_elsewhere_is_in_nobodys_way",
        || {
            let points = [
                Point::OwnerTaken,
                Point::ClaimCounted,
                Point::RecordComplete,
                Point::SideCleared,
                Point::RoleHeld,
                Point::ClosedStored,
                Point::RoleLeft,
            ];
            for role in [Role::Producer, Role::Consumer] {
                for point in points {
                    let ring = Persistent::new();
                    let mut options = ring.options.clone();
                    options.timeout(Some(PATIENCE));
                    let open = |role| match role {
                        Role::Producer => options.open_producer(&ring.path).map(drop),
                        Role::Consumer => options.open_consumer(&ring.path).map(drop),
                    };
                    let mut producer = (role == Role::Consumer).then(|| ring.producer());
                    let mut consumer = (role == Role::Producer).then(|| ring.consumer());
                    let was_killed = killed_elsewhere(|| {
                        kill_at(point, 0);
                        open(role).unwrap();
                    });
                    if !was_killed {
                        return not_run("no pid namespace can be had");
                    }
                    let mut check = || match (&mut producer, &mut consumer) {
                        (Some(producer), _) => producer.check_peer(),
                        (_, Some(consumer)) => consumer.check_peer(),
                        _ => unreachable!("one of them is here"),
                    };
                    // A half-done claim is no peer yet; one that had the role is
                    // dead, unless it had left: then the ring is closed, or waits.
                    let had_it = matches!(point, Point::RoleHeld | Point::ClosedStored)
                        || role == Role::Consumer && point == Point::RoleLeft; // closed
                    let first = check();
                    assert_eq!(first.is_err(), had_it, "{role} {point:?}: {first:?}");
                    let opened = open(role);
                    assert!(opened.is_ok(), "{role} {point:?}: {opened:?}");
                }
            }
        },
    );
}

/// Found in review: the pid that was told was that of a claimer who lived.
#[test]
fn one_that_is_about_to_resume_is_not_told_as_dead() {
    alone(
        "killed::one_that_is_about_to_resume_is_not_told_as_dead",
        || {
            for point in [
                Point::OwnerTaken,
                Point::ClaimCounted,
                Point::RecordComplete,
                Point::SideCleared,
            ] {
                for declared in [false, true] {
                    let ring = Persistent::new();
                    let mut consumer = ring.consumer();
                    let dead = ring.die(b"abc");
                    consumer.read_exact(&mut [0; 3]).unwrap();
                    if declared {
                        assert!(consumer.check_peer().is_err());
                    }
                    let mut resumer = Fork::new(|| {
                        stop_at(point);
                        drop(ring.resumer());
                    });
                    until(|| Task::of(resumer.pid()).is_stopped());
                    let alive = resumer.pid();
                    let told = match consumer.check_peer() {
                        Ok(()) => 0,
                        Err(Broken::Died { pid, .. }) => pid,
                        Err(other) => panic!("{other}"),
                    };
                    assert!([0, dead].contains(&told), "{point:?}: {told}, not {alive}");
                    let occupant = consumer.peer();
                    assert_ne!(occupant, Occupant::Dead(alive), "{point:?}");
                    resumer.signal(libc::SIGCONT);
                    assert_eq!(resumer.wait(), End::Exit(0));
                    assert_eq!(take(&mut consumer), (vec![], Told::Finished));
                }
            }
        },
    );
}
