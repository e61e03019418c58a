//! Random sessions of producers and consumers in processes of their own, killed
//! at named points, on a real segment, against a queue with ends.
//! `SHMPIPE_KILLS` sets how many.

use std::io::Write;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use shmpipe::steps::{Point, kill_at};

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
    Producer {
        resumes: bool,
        writes: usize,
        parting: Parting,
        /// Armed before the ring is opened, or when it is left.
        opening: Option<Point>,
        leaving: Option<Point>,
    },
    Consumer {
        /// Reads, or asks for the next stream.
        reads: Vec<bool>,
        parting: Parting,
        point: Option<Point>,
    },
}

/// Bytes of a read: all that there are.
const MOST: usize = 64;

/// What the queue says of a producer's session; whether a point was met.
fn produced(queue: &mut Queue, session: &Session, pid: u32) -> bool {
    let &Session::Producer {
        resumes,
        writes,
        parting,
        opening,
        leaving,
    } = session
    else {
        unreachable!("a consumer's");
    };
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
fn produce(ring: &Persistent, queue: &Queue, session: &Session) -> ! {
    let &Session::Producer {
        resumes,
        writes,
        parting,
        opening,
        leaving,
    } = session
    else {
        unreachable!("a consumer's");
    };
    if let Some(point) = opening {
        kill_at(point, 0);
    }
    let mut producer = if resumes {
        ring.resumer()
    } else {
        ring.producer()
    };
    let mut queue = queue.clone();
    assert_eq!(producer.stream_position(), queue.open(resumes));
    for _ in 0..writes {
        producer.write_all(&[queue.write()]).unwrap();
    }
    if let Some(point) = leaving {
        kill_at(point, 0);
    }
    match parting {
        Parting::Close => producer.close().unwrap(),
        Parting::Abort => producer.abort(),
        Parting::Exit => {}
    }
    exit_now(0);
}

/// The same of a consumer's.
fn consumed(queue: &mut Queue, session: &Session) -> bool {
    let Session::Consumer {
        reads,
        parting,
        point,
    } = session
    else {
        unreachable!("a producer's");
    };
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

fn consume(ring: &Persistent, queue: &Queue, session: &Session) -> ! {
    let Session::Consumer {
        reads,
        parting,
        point,
    } = session
    else {
        unreachable!("a producer's");
    };
    let (mut consumer, mut queue) = (ring.consumer(), queue.clone());
    assert_eq!(consumer.stream_position(), queue.come());
    if let Some(point) = point {
        kill_at(*point, 0);
    }
    for &reads in reads {
        if reads {
            read(&mut consumer, &mut queue);
        } else {
            next_stream(&mut consumer, &mut queue);
        }
    }
    match parting {
        Parting::Close => consumer.close().unwrap(),
        Parting::Abort => consumer.abort(),
        Parting::Exit => {}
    }
    exit_now(0);
}

fn run(sessions: &[Session], killed: &mut u64) {
    let (ring, mut queue) = (Persistent::new(), Queue::default());
    for session in sessions {
        let is_producer = matches!(session, Session::Producer { .. });
        let mut child = Fork::new(|| {
            if is_producer {
                produce(&ring, &queue, session)
            } else {
                consume(&ring, &queue, session)
            }
        });
        let end = child.wait();
        let meets_its_point = if is_producer {
            produced(&mut queue, session, child.pid())
        } else {
            consumed(&mut queue, session)
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
        .prop_map(
            |(resumes, writes, parting, opening, leaving)| Session::Producer {
                resumes,
                writes,
                parting,
                opening,
                leaving,
            },
        );
    let consumer = (vec(any::<bool>(), 0..6), parting(), may(points.to_vec())).prop_map(
        |(reads, parting, point)| Session::Consumer {
            reads,
            parting,
            point,
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
