//! Processes that are killed between two steps of what makes an end, or takes
//! one: there is one end where there is to be one, whoever is killed where.

use std::io::Write;

use shmpipe::steps::{Point, kill_at};

use crate::common::{End, Fork, alone, exit_now};
use crate::{Persistent, Told, assert_nothing_comes, assert_streams, take};

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
                (Point::ClosedStored, true),
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
                for (point, has) in [(Point::Acknowledged, true), (Point::ClosedStored, true)] {
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
