//! SIGKILL at each named point of opening and reclaiming.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shmpipe::failpoint::{Point, kill_at};
use shmpipe::{OpenError, Role};

use super::{When, at_every_point, at_points_of_shard, rounds_at_each_point};
use crate::common::kill::{
    Habits, Outcome, Pattern, assert_no_segments, in_shards, open, options, own_namespace,
};
use crate::common::{End, Fork, TempPath, alone, until};

/// A child that opens `path` as `role`, is killed at `point`, or plays on.
fn fork_opener(path: &TempPath, role: Role, point: Option<Point>, pattern: &Pattern) -> Fork {
    Fork::new(|| {
        if let Some(point) = point {
            kill_at(point, 0);
        }
        let habits = Habits {
            close_after: if point.is_some() { u64::MAX } else { 5 },
            ..Habits::STREAMING
        };
        open(&options(65_536), path, role)
            .unwrap()
            .play(pattern, habits);
    })
}

/// Pairs with a healthy child on `path`, and streams with it to its end.
fn a_fresh_pair_works(path: &TempPath, pattern: &Pattern) {
    let mut child = fork_opener(path, Role::Producer, None, pattern);
    let mut consumer = open(&options(65_536), path, Role::Consumer).unwrap();
    assert_eq!(
        consumer.outlive(pattern, Habits::STREAMING),
        Outcome::Finished
    );
    assert_eq!(consumer.published(), 15_000);
    assert_eq!(child.wait(), End::Exit(0));
    assert!(!path.leads_to_a_segment());
}

#[test]
fn kills_while_opening_first_leave_what_the_next_open_reclaims() {
    alone(
        "kills::opening::kills_while_opening_first_leave_what_the_next_open_reclaims",
        || {
            let isolated = own_namespace();
            let pattern = Pattern::new();
            at_every_point(When::OpeningFirst, |point, role, _| {
                let path = TempPath::new();
                let mut victim = fork_opener(&path, role, Some(point), &pattern);
                assert_eq!(
                    victim.wait(),
                    End::Signal(libc::SIGKILL),
                    "{point:?} {role}"
                );
                assert!(
                    path.leads_to_a_segment(),
                    "{point:?}: a leftover to reclaim"
                );
                a_fresh_pair_works(&path, &pattern);
                true
            });
            assert_no_segments(isolated);
        },
    );
}

#[test]
fn kills_while_opening_second_are_survived() {
    /// From a death on, for a survivor that has a peer to notice it.
    const GRACE: Duration = Duration::from_millis(20);
    alone(
        "kills::opening::kills_while_opening_second_are_survived",
        || {
            let isolated = own_namespace();
            in_shards(|shard| {
                let pattern = Pattern::new();
                at_points_of_shard(shard, When::OpeningSecond, |point, role, number| {
                    let path = TempPath::new();
                    // The victim finds this process waiting, or the other way round.
                    let mut victim = Fork::new(|| {
                        until(|| path.leads_to_a_segment());
                        kill_at(point, 0);
                        let opened = open(&options(65_536), &path, role).unwrap();
                        opened.play(&pattern, Habits::STREAMING);
                    });
                    // A victim that died before it had joined leaves this process waiting.
                    let gives_up = Arc::new(AtomicBool::new(false));
                    let has_joined = Mutex::new(false);
                    std::thread::scope(|scope| {
                        scope.spawn(|| {
                            victim.wait_unreaped();
                            std::thread::sleep(GRACE);
                            let has_joined = has_joined.lock().unwrap();
                            gives_up.store(!*has_joined, Ordering::Relaxed);
                        });
                        let mut options = options(65_536);
                        options.cancel_on(gives_up.clone());
                        match open(&options, &path, role.peer()) {
                            Ok(mut survivor) => {
                                *has_joined.lock().unwrap() = true;
                                gives_up.store(false, Ordering::Relaxed);
                                let outcome = survivor.outlive(&pattern, Habits::STREAMING);
                                assert_eq!(outcome, Outcome::Died, "{point:?} {role} {number}");
                            }
                            Err(OpenError::Cancelled) => {}
                            Err(error) => panic!("{point:?} {role} {number}: {error}"),
                        }
                    });
                    assert_eq!(
                        victim.wait(),
                        End::Signal(libc::SIGKILL),
                        "{point:?} {role}"
                    );
                    assert!(!path.leads_to_a_segment(), "{point:?} {role}");
                    a_fresh_pair_works(&path, &pattern);
                    true
                });
            });
            assert_no_segments(isolated);
        },
    );
}

#[test]
fn kills_while_reclaiming_leave_what_the_next_open_reclaims() {
    alone(
        "kills::opening::kills_while_reclaiming_leave_what_the_next_open_reclaims",
        || {
            let isolated = own_namespace();
            let pattern = Pattern::new();
            at_every_point(When::Reclaiming, |point, role, _| {
                let path = TempPath::new();
                for point in [Point::Announced, point] {
                    let mut victim = fork_opener(&path, role, Some(point), &pattern);
                    assert_eq!(
                        victim.wait(),
                        End::Signal(libc::SIGKILL),
                        "{point:?} {role}"
                    );
                }
                a_fresh_pair_works(&path, &pattern);
                true
            });
            assert_no_segments(isolated);
        },
    );
}

#[test]
fn an_anonymous_ring_killed_at_birth_is_stale() {
    alone(
        "kills::opening::an_anonymous_ring_killed_at_birth_is_stale",
        || {
            let isolated = own_namespace();
            if !isolated {
                return; // what is stale elsewhere is not ours to remove
            }
            let mut stale = 0;
            at_every_point(When::Anonymous, |point, _, _| {
                let mut victim = Fork::new(|| {
                    kill_at(point, 0);
                    let _ring = options(4096).create_anonymous().unwrap();
                });
                assert_eq!(victim.wait(), End::Signal(libc::SIGKILL), "{point:?}");
                stale += shmpipe::remove_stale().unwrap().len();
                assert_no_segments(isolated);
                true
            });
            assert_eq!(
                stale as u64,
                4 * rounds_at_each_point(),
                "Created and Attached, twice"
            );
            println!("of these, {stale} left a segment without a key; `rm --stale` took them all");
        },
    );
}
