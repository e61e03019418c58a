//! Every call that has a limit, against a peer that is stopped at each named
//! point: none outlives its limit. The figure is printed; only a hang fails.

use std::cell::Cell;
use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::time::{Duration, Instant};

use shmpipe::failpoint::{Point, kill_at, stop_at};
use shmpipe::{Consumer, Options, Producer, Role, Snapshot};

use crate::common::kill::{Opened, assert_no_segments, open, own_namespace};
use crate::common::{Fork, PATIENCE, Task, TempPath, alone, until};

const LIMIT: Duration = Duration::from_millis(30);
const ROLES: [Role; 2] = [Role::Producer, Role::Consumer];

fn limited() -> Options {
    let mut options = crate::small();
    options.timeout(Some(LIMIT));
    options
}

/// By how much a call has outlived its limit at most, and which one.
struct Worst(Cell<(Duration, String)>);

impl Worst {
    fn new() -> Worst {
        Worst(Cell::default())
    }

    /// Makes a call that may wait for `limit`.
    fn time<T>(&self, what: &str, point: Point, limit: Duration, call: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = call();
        let over = start.elapsed().saturating_sub(limit);
        assert!(
            over < PATIENCE,
            "{what} against {point:?}: {over:?} too long"
        );
        let (worst, by) = self.0.take();
        self.0.set(if over > worst {
            (over, format!("{what}, against a peer at {point:?}"))
        } else {
            (worst, by)
        });
        result
    }

    fn report(&self, calls: &str) {
        let (over, by) = self.0.take();
        println!("{calls}: at most {over:?} after the limit ({by})");
    }
}

/// Whether the child has stopped; `None` once it has ended.
fn has_stopped(child: &mut Fork) -> Option<bool> {
    if !child.is_running() {
        return None;
    }
    Some(Task::of(child.pid()).is_stopped())
}

/// Goes on with `meanwhile` until the child has stopped or ended; says whether
/// it has stopped.
fn until_stopped(child: &mut Fork, mut meanwhile: impl FnMut()) -> bool {
    let start = Instant::now();
    loop {
        match has_stopped(child) {
            Some(true) => return true,
            None => return false,
            Some(false) if start.elapsed() > PATIENCE => panic!("it neither stops nor ends"),
            Some(false) => meanwhile(),
        }
    }
}

fn time_producer(worst: &Worst, point: Point, mut producer: Producer) {
    let file = File::open("/dev/zero").unwrap();
    let soon = || Instant::now() + LIMIT;
    let bytes = [7; 2 * crate::CAPACITY];
    producer.set_timeout(Some(LIMIT));
    let time = |what, producer: &mut Producer, call: &dyn Fn(&mut Producer)| {
        worst.time(what, point, LIMIT, || call(producer));
    };
    let this = &mut producer;
    time("write_all_deadline", this, &|this| {
        let _ = this.write_all_deadline(&bytes, soon());
    });
    time("write_deadline", this, &|this| {
        let _ = this.write_deadline(&bytes, soon());
    });
    time("reserve_deadline", this, &|this| {
        let _ = this.reserve_deadline(crate::CAPACITY, soon());
    });
    time("fill_from", this, &|this| {
        let _ = this.fill_from(&file, 100);
    });
    time("fill_from_deadline", this, &|this| {
        let _ = this.fill_from_deadline(&file, 100, soon());
    });
    time("write", this, &|this| {
        let _ = this.write(&bytes);
    });
    time("write_vectored", this, &|this| {
        let _ = this.write_vectored(&[IoSlice::new(&bytes)]);
    });
    time("flush", this, &|this| {
        let _ = this.flush();
    });
    time("check_peer", this, &|this| {
        let _ = this.check_peer();
    });
    time("close", this, &|this| {
        let _ = this.close();
    });
    worst.time("drop", point, LIMIT, || drop(producer));
}

fn time_consumer(worst: &Worst, point: Point, mut consumer: Consumer) {
    let null = File::options().write(true).open("/dev/null").unwrap();
    let soon = || Instant::now() + LIMIT;
    consumer.set_timeout(Some(LIMIT));
    let time = |what, consumer: &mut Consumer, call: &dyn Fn(&mut Consumer)| {
        worst.time(what, point, LIMIT, || call(consumer));
    };
    let this = &mut consumer;
    let len = 2 * crate::CAPACITY;
    time("read_exact_deadline", this, &|this| {
        let _ = this.read_exact_deadline(&mut vec![0; len], soon());
    });
    time("read_deadline", this, &|this| {
        let _ = this.read_deadline(&mut vec![0; len], soon());
    });
    time("peek_deadline", this, &|this| {
        let _ = this.peek_deadline(crate::CAPACITY, soon());
    });
    time("drain_to", this, &|this| {
        let _ = this.drain_to(&null, 100);
    });
    time("drain_to_deadline", this, &|this| {
        let _ = this.drain_to_deadline(&null, 100, soon());
    });
    time("read", this, &|this| {
        let _ = this.read(&mut vec![0; len]);
    });
    time("read_vectored", this, &|this| {
        let _ = this.read_vectored(&mut [IoSliceMut::new(&mut vec![0; len])]);
    });
    time("check_peer", this, &|this| {
        let _ = this.check_peer();
    });
    time("close", this, &|this| {
        let _ = this.close();
    });
    worst.time("drop", point, LIMIT, || drop(consumer));
}

fn time_all(worst: &Worst, point: Point, opened: Opened) {
    match opened {
        Opened::Producer(producer) => time_producer(worst, point, producer),
        Opened::Consumer(consumer) => time_consumer(worst, point, consumer),
    }
}

/// Moves a little, so that the peer comes by its point.
fn nudge(opened: &mut Opened) {
    let soon = Instant::now() + Duration::from_millis(2);
    match opened {
        Opened::Producer(producer) => {
            let _ = producer.write_deadline(&[7; 3000], soon);
        }
        Opened::Consumer(consumer) => {
            let _ = consumer.read_deadline(&mut [0; 3000], soon);
        }
    }
    std::thread::sleep(Duration::from_micros(500));
}

/// What the child does that is to be stopped while it streams or closes.
fn stream_on(mut opened: Opened, closes: bool) {
    for operation in 0_u64.. {
        let ended = match &mut opened {
            Opened::Producer(producer) => producer.write_all(&[7; 1000]).is_err(),
            Opened::Consumer(consumer) => consumer.read_exact(&mut [0; 1000]).is_err(),
        };
        if ended || closes && operation == 3 {
            return;
        }
    }
}

fn take(ring: shmpipe::Ring, role: Role) -> Opened {
    match role {
        Role::Producer => Opened::Producer(ring.into_producer().unwrap()),
        Role::Consumer => Opened::Consumer(ring.into_consumer().unwrap()),
    }
}

const STREAMING: [Point; 10] = [
    Point::CopiedIn,
    Point::TailStored,
    Point::CopiedOut,
    Point::HeadStored,
    Point::SleepSet,
    Point::SleepNow,
    Point::Slept,
    Point::WakeSeen,
    Point::WakeCleared,
    Point::Woken,
];
const CLAIMING: [Point; 5] = [
    Point::OwnerTaken,
    Point::ClaimCounted,
    Point::RecordComplete,
    Point::SideCleared,
    Point::RoleHeld,
];
const CLOSING: [Point; 3] = [Point::ClosedStored, Point::RoleLeft, Point::LeftTold];
const OPENING: [Point; 12] = [
    Point::Created,
    Point::Attached,
    Point::MagicStored,
    Point::Formatted,
    Point::Published,
    Point::OwnerTaken,
    Point::ClaimCounted,
    Point::RecordComplete,
    Point::SideCleared,
    Point::RoleHeld,
    Point::Announced,
    Point::KeyRemoved,
];
const ELSEWHERE: [Point; 6] = [
    Point::Unkeyed,
    Point::OwnerFreed,
    Point::OrphanTaken,
    Point::MarkWritten,
    Point::MarkCounted,
    Point::Acknowledged,
];

#[test]
fn every_point_is_stopped_at() {
    for point in Point::ALL {
        let listed = [&STREAMING[..], &CLOSING, &OPENING, &ELSEWHERE];
        assert!(listed.iter().any(|list| list.contains(point)), "{point:?}");
    }
}

#[test]
fn calls_against_a_peer_that_stopped_while_claiming_streaming_or_closing() {
    alone(
        "points::calls_against_a_peer_that_stopped_while_claiming_streaming_or_closing",
        || {
            let isolated = own_namespace();
            let worst = Worst::new();
            for point in CLAIMING.into_iter().chain(STREAMING).chain(CLOSING) {
                let mut stopped = 0;
                for role in ROLES {
                    let mut ring = Some(crate::small().create_anonymous().unwrap());
                    let mut peer = Fork::new(|| {
                        stop_at(point);
                        let opened = take(ring.take().unwrap(), role);
                        stream_on(opened, CLOSING.contains(&point));
                    });
                    let mut own = take(ring.take().unwrap(), role.peer());
                    let start = Instant::now();
                    let passes_by = matches!(
                        (point, role),
                        (Point::CopiedIn | Point::TailStored, Role::Consumer)
                            | (Point::CopiedOut | Point::HeadStored, Role::Producer)
                    );
                    let has_stopped = !passes_by
                        && until_stopped(&mut peer, || {
                            assert!(start.elapsed() < PATIENCE, "{point:?} {role}");
                            nudge(&mut own);
                        });
                    stopped += u32::from(has_stopped);
                    time_all(&worst, point, own);
                }
                assert!(stopped > 0, "nobody stopped at {point:?}");
            }
            worst.report("claiming, streaming and closing");
            assert_no_segments(isolated);
        },
    );
}

/// Everything that looks for a ring, while an opener of `path` is stopped.
fn time_openings(worst: &Worst, point: Point, path: &TempPath, isolated: bool) {
    for role in ROLES {
        let opened = worst.time("an open by path", point, LIMIT, || {
            open(&limited(), path, role)
        });
        if let Ok(opened) = opened {
            time_all(worst, point, opened);
        }
        let key = path.key();
        let _ = worst.time("an open by key", point, LIMIT, || match role {
            Role::Producer => limited().open_producer_by_key(key).map(drop),
            Role::Consumer => limited().open_consumer_by_key(key).map(drop),
        });
    }
    let none = Duration::ZERO;
    let _ = worst.time("a snapshot by path", point, none, || {
        shmpipe::Options::new().snapshot(path)
    });
    let _ = worst.time("all snapshots", point, none, Snapshot::all);
    if let Some(id) = path.segment() {
        let ring = worst.time("an attach", point, LIMIT, || limited().attach(id));
        if let Ok(ring) = ring {
            let _ = worst.time("a role", point, LIMIT, || ring.split().map(drop));
        }
        let _ = worst.time("a removal", point, none, || shmpipe::remove(id));
    }
    if isolated {
        let _ = worst.time("a clearing", point, none, shmpipe::remove_stale);
    }
}

#[test]
fn opening_against_a_peer_that_stopped_while_opening() {
    alone(
        "points::opening_against_a_peer_that_stopped_while_opening",
        || {
            let isolated = own_namespace();
            let worst = Worst::new();
            for point in OPENING {
                // Only who joins a ring that does not persist passes this one.
                let joins = point == Point::KeyRemoved;
                for persistent in [false, true] {
                    if joins && persistent {
                        continue;
                    }
                    let path = TempPath::new();
                    let mut options = crate::small();
                    options.persistent(persistent);
                    let mut peer = Fork::new(|| {
                        stop_at(point);
                        if joins {
                            loop {
                                until(|| path.leads_to_a_segment());
                                drop(open(&limited(), &path, Role::Producer));
                            }
                        }
                        drop(open(&options, &path, Role::Producer));
                        let _ = options.open_consumer(&path);
                    });
                    // Now the one is first, and now the other.
                    let stopped = until_stopped(&mut peer, || {
                        if joins {
                            drop(open(&limited(), &path, Role::Consumer));
                        }
                        std::thread::sleep(Duration::from_millis(1));
                    });
                    assert!(stopped || persistent, "nobody stopped at {point:?}");
                    time_openings(&worst, point, &path, isolated);
                    drop(peer);
                    let _ = shmpipe::Options::new().force_remove(&path);
                }
            }
            worst.report("opening");
            if isolated {
                shmpipe::remove_stale().unwrap(); // of those whose key was gone
            }
            assert_no_segments(isolated);
        },
    );
}

#[test]
fn opening_against_a_peer_that_stopped_elsewhere() {
    alone(
        "points::opening_against_a_peer_that_stopped_elsewhere",
        || {
            let isolated = own_namespace();
            let worst = Worst::new();
            for point in ELSEWHERE {
                let path = TempPath::new();
                if point == Point::OrphanTaken {
                    let mut dead = Fork::new(|| {
                        kill_at(Point::Announced, 0);
                        drop(open(&crate::small(), &path, Role::Producer));
                    });
                    dead.wait();
                }
                let mut persistent = crate::small();
                persistent.persistent(true);
                let mut peer = Fork::new(|| {
                    stop_at(point);
                    match point {
                        Point::Unkeyed => drop(crate::small().create_anonymous()),
                        Point::OwnerFreed | Point::MarkWritten | Point::MarkCounted => {
                            drop(persistent.open_producer(&path));
                        }
                        Point::Acknowledged => {
                            drop(persistent.open_producer(&path));
                            let mut consumer = persistent.open_consumer(&path).unwrap();
                            assert_eq!(consumer.read(&mut [0]).unwrap(), 0);
                        }
                        _ => drop(open(&crate::small(), &path, Role::Producer)),
                    }
                });
                assert!(until_stopped(&mut peer, || {}), "{point:?}");
                let mut options = persistent.clone();
                options.timeout(Some(LIMIT));
                match point {
                    Point::OwnerFreed | Point::MarkWritten | Point::MarkCounted => {
                        let consumer = options.open_consumer(&path).unwrap();
                        time_consumer(&worst, point, consumer);
                    }
                    Point::Acknowledged => {
                        let producer = options.open_producer(&path).unwrap();
                        time_producer(&worst, point, producer);
                    }
                    _ => {}
                }
                time_openings(&worst, point, &path, isolated);
                drop(peer);
                let _ = shmpipe::Options::new().force_remove(&path);
            }
            worst.report("elsewhere");
            if isolated {
                shmpipe::remove_stale().unwrap();
            }
            assert_no_segments(isolated);
        },
    );
}

/// The one call that has a limit of its own, five seconds.
#[test]
fn a_removal_by_path_does_not_wait_for_ever_for_the_lock() {
    alone(
        "points::a_removal_by_path_does_not_wait_for_ever_for_the_lock",
        || {
            let path = TempPath::new();
            let mut peer = Fork::new(|| {
                stop_at(Point::Created);
                drop(open(&crate::small(), &path, Role::Producer));
            });
            assert!(until_stopped(&mut peer, || {}));
            let worst = Worst::new();
            let limit = Duration::from_secs(5);
            let removed = worst.time("a removal by path", Point::Created, limit, || {
                shmpipe::Options::new().force_remove(&path)
            });
            assert!(removed.is_err());
            worst.report("removal");
            drop(peer);
            shmpipe::Options::new().force_remove(&path).unwrap();
        },
    );
}
