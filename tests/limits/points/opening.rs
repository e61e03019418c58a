//! Opens and removals against a peer that stopped while opening or elsewhere.

use std::io::Read;
use std::time::Duration;

use shmpipe::failpoint::{Point, kill_at, stop_at};
use shmpipe::{Options, Role, Snapshot};

use super::{
    ELSEWHERE, LIMIT, OPENING, ROLES, Worst, time_all, time_consumer, time_producer, until_stopped,
};
use crate::common::kill::{SHARDS, assert_no_segments, in_shards, open, own_namespace};
use crate::common::{Fork, TempPath, alone, until};

fn limited() -> Options {
    let mut options = crate::small();
    options.timeout(Some(LIMIT));
    options
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
        "points::opening::opening_against_a_peer_that_stopped_while_opening",
        || {
            in_shards(|shard| {
                let isolated = own_namespace();
                let worst = Worst::new();
                for &point in OPENING.iter().skip(shard as usize).step_by(SHARDS as usize) {
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
            });
        },
    );
}

#[test]
fn opening_against_a_peer_that_stopped_elsewhere() {
    alone(
        "points::opening::opening_against_a_peer_that_stopped_elsewhere",
        || {
            in_shards(|shard| {
                let isolated = own_namespace();
                let worst = Worst::new();
                for &point in ELSEWHERE
                    .iter()
                    .skip(shard as usize)
                    .step_by(SHARDS as usize)
                {
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
            });
        },
    );
}

/// The one call that has a limit of its own, five seconds.
#[test]
fn a_removal_by_path_does_not_wait_for_ever_for_the_lock() {
    alone(
        "points::opening::a_removal_by_path_does_not_wait_for_ever_for_the_lock",
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
