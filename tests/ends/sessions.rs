//! Random sessions of producers and consumers in processes of their own, killed
//! at named points, on a real segment, against a queue with ends.
//! `SHMPIPE_KILLS` sets how many.

use std::io::Write;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use shmpipe::failpoint::{Point, kill_at};

use crate::common::kill::kills;
use crate::common::{End, Fork, alone, exit_now};
use crate::orders::{next_stream, read};
use crate::queue::{Found, Queue};
use crate::{Persistent, Told};

/// How a session ends, unless it is killed at a point before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parting {
    Close,
    Abort,
    Exit,
}

#[derive(Clone, Debug)]
enum Session {
    Producer(Produces),
    Consumer(Consumes),
}

#[derive(Clone, Copy, Debug)]
struct Produces {
    resumes: bool,
    writes: usize,
    parting: Parting,
    /// Armed before the ring is opened, or when it is left.
    opening: Option<Point>,
    leaving: Option<Point>,
}

#[derive(Clone, Debug)]
struct Consumes {
    /// Reads, or asks for the next stream.
    reads: Vec<bool>,
    parting: Parting,
    point: Option<Point>,
}

/// Bytes of a read: all that there are.
const MOST: usize = 64;

/// What the queue says of a producer's session; whether a point was met.
fn produced(queue: &mut Queue, session: Produces, pid: u32) -> bool {
    let Produces {
        resumes,
        writes,
        parting,
        opening,
        leaving,
    } = session;
    let breaks_off = !resumes && queue.is_broken_off();
    match opening {
        Some(Point::OwnerTaken) => return true,
        Some(Point::MarkWritten) if breaks_off => return true,
        Some(Point::MarkCounted) if breaks_off => {
            queue.break_off();
            return true;
        }
        Some(Point::ClaimCounted) => {
            if breaks_off {
                queue.break_off();
            }
            return true;
        }
        Some(Point::RecordComplete | Point::SideCleared | Point::RoleHeld) => {
            queue.open(resumes);
            queue.dead = Some(pid);
            return true;
        }
        _ => {}
    }
    queue.open(resumes);
    for _ in 0..writes {
        queue.write();
    }
    let how = match parting {
        Parting::Exit => {
            queue.dead = Some(pid);
            return false;
        }
        Parting::Close => Told::Finished,
        Parting::Abort => Told::Aborted,
    };
    // What was armed first is armed still, unless something else is.
    match leaving.or(opening) {
        Some(Point::ClosedStored | Point::MarkWritten) => {
            queue.dead = Some(pid);
            true
        }
        Some(_) => {
            queue.end(how);
            true
        }
        None => {
            queue.end(how);
            false
        }
    }
}

/// A producer's session, in a process of its own.
fn produce(ring: &Persistent, queue: &Queue, session: Produces) -> ! {
    if let Some(point) = session.opening {
        kill_at(point, 0);
    }
    let mut producer = if session.resumes {
        ring.resumer()
    } else {
        ring.producer()
    };
    let mut queue = queue.clone();
    assert_eq!(producer.stream_position(), queue.open(session.resumes));
    for _ in 0..session.writes {
        producer.write_all(&[queue.write()]).unwrap();
    }
    if let Some(point) = session.leaving {
        kill_at(point, 0);
    }
    match session.parting {
        Parting::Close => producer.close().unwrap(),
        Parting::Abort => producer.abort(),
        Parting::Exit => {}
    }
    exit_now(0);
}

/// The same of a consumer's.
fn consumed(queue: &mut Queue, session: &Consumes) -> bool {
    let Consumes {
        reads,
        parting,
        point,
    } = session;
    queue.come();
    for &reads in reads {
        if !reads {
            if queue.next_stream() == Ok(true) && *point == Some(Point::Acknowledged) {
                return true;
            }
            continue;
        }
        if queue.available() > 0 && *point == Some(Point::CopiedOut) {
            return true; // what was copied out comes again
        }
        let found = queue.read(MOST);
        if matches!(found, Found::Bytes(_)) && *point == Some(Point::HeadStored) {
            return true;
        }
    }
    match parting {
        Parting::Close => {
            if *point == Some(Point::ClosedStored) {
                return true;
            }
            let acknowledges = queue.close();
            match point {
                Some(Point::Acknowledged) => acknowledges,
                Some(Point::RoleLeft | Point::OwnerFreed) => true,
                _ => false,
            }
        }
        Parting::Abort => matches!(
            point,
            Some(Point::ClosedStored | Point::RoleLeft | Point::OwnerFreed)
        ),
        Parting::Exit => false,
    }
}

fn consume(ring: &Persistent, queue: &Queue, session: &Consumes) -> ! {
    let (mut consumer, mut queue) = (ring.consumer(), queue.clone());
    assert_eq!(consumer.stream_position(), queue.come());
    if let Some(point) = session.point {
        kill_at(point, 0);
    }
    for &reads in &session.reads {
        if reads {
            read(&mut consumer, &mut queue);
        } else {
            next_stream(&mut consumer, &mut queue);
        }
    }
    match session.parting {
        Parting::Close => consumer.close().unwrap(),
        Parting::Abort => consumer.abort(),
        Parting::Exit => {}
    }
    exit_now(0);
}

fn run(sessions: &[Session], killed: &mut u64) {
    let (ring, mut queue) = (Persistent::new(), Queue::default());
    for session in sessions {
        let mut child = Fork::new(|| match session {
            Session::Producer(producer) => produce(&ring, &queue, *producer),
            Session::Consumer(consumer) => consume(&ring, &queue, consumer),
        });
        let end = child.wait();
        let meets_its_point = match session {
            Session::Producer(producer) => produced(&mut queue, *producer, child.pid()),
            Session::Consumer(consumer) => consumed(&mut queue, consumer),
        };
        let expected = if meets_its_point {
            *killed += 1;
            End::Signal(libc::SIGKILL)
        } else {
            End::Exit(0)
        };
        assert_eq!(end, expected, "{session:?}");
    }
    // All that is left comes, each end once.
    let mut consumer = ring.consumer();
    assert_eq!(consumer.stream_position(), queue.come());
    while read(&mut consumer, &mut queue) != Found::Nothing {
        next_stream(&mut consumer, &mut queue);
    }
}

fn session() -> impl Strategy<Value = Session> {
    use Point::*;
    let parting = || select(vec![Parting::Close, Parting::Abort, Parting::Exit]);
    let opening = [OwnerTaken, MarkWritten, MarkCounted, ClaimCounted];
    let opening = [&opening[..], &[RecordComplete, SideCleared, RoleHeld]].concat();
    let leaving = [MarkWritten, MarkCounted, ClosedStored, RoleLeft, OwnerFreed];
    let points = [CopiedOut, HeadStored, Acknowledged, ClosedStored, RoleLeft];
    let may = |points: Vec<Point>| prop_oneof![Just(None), select(points).prop_map(Some)];
    let producer = (
        any::<bool>(),
        0..4_usize,
        parting(),
        may(opening),
        may(leaving.to_vec()),
    )
        .prop_map(|(resumes, writes, parting, opening, leaving)| {
            Session::Producer(Produces {
                resumes,
                writes,
                parting,
                opening,
                leaving,
            })
        });
    let consumer = (vec(any::<bool>(), 0..6), parting(), may(points.to_vec())).prop_map(
        |(reads, parting, point)| {
            Session::Consumer(Consumes {
                reads,
                parting,
                point,
            })
        },
    );
    prop_oneof![3 => producer, 2 => consumer]
}

#[test]
fn sessions_killed_at_named_points_give_each_end_once_and_in_order() {
    alone(
        "sessions::sessions_killed_at_named_points_give_each_end_once_and_in_order",
        || {
            let config = ProptestConfig {
                cases: (kills() / 60) as u32,
                failure_persistence: None,
                ..ProptestConfig::default()
            };
            let killed = std::cell::Cell::new(0);
            TestRunner::new(config)
                .run(&vec(session(), 1..16), |sessions| {
                    let mut count = killed.get();
                    run(&sessions, &mut count);
                    killed.set(count);
                    Ok(())
                })
                .unwrap();
            println!("{} processes killed at named points", killed.get());
            assert!(killed.get() > 0);
        },
    );
}
