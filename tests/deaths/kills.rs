//! SIGKILL at random and at every named point: what the survivor gets, and
//! what is left behind.
//!
//! `cargo test --release --all-features --test deaths kills:: -- --nocapture`
//! shows the figures. `SHMPIPE_KILLS=1000000` sets how many processes are killed
//! in all, 10,000 unless said.
#![cfg(feature = "__failpoints")]
#![allow(unsafe_code)] // pause

mod ends;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::kill::{
    Habits, Killer, Opened, Outcome, Pattern, SHARDS, assert_gone, assert_no_segments, in_shards,
    kills, monotonic, open, options, own_namespace,
};
use crate::common::random::any;
use crate::common::{End, Fork, PATIENCE, TempPath, alone, until};
use fastrand::Rng;
use shmpipe::failpoint::{Point, kill_at};
use shmpipe::{OpenError, Ring, Role};

fn role_of(round: u64) -> Role {
    [Role::Producer, Role::Consumer][(round % 2) as usize]
}

fn take(ring: Ring, role: Role) -> Opened {
    match role {
        Role::Producer => Opened::Producer(ring.into_producer().unwrap()),
        Role::Consumer => Opened::Consumer(ring.into_consumer().unwrap()),
    }
}

/// A child that takes `role` of a ring it shares with this process and plays
/// it; and the ring.
fn fork_victim(ring: &mut Option<Ring>, role: Role, then: impl FnOnce(Opened)) -> Fork {
    Fork::new(|| then(take(ring.take().unwrap(), role)))
}

#[test]
fn random_kills_lose_nothing() {
    alone("kills::random_kills_lose_nothing", || {
        let isolated = own_namespace();
        let rounds = kills() * 6 / 10 / SHARDS;
        in_shards(|shard| {
            let (pattern, mut killer) = (Pattern::new(), Killer::new());
            for round in 0..rounds {
                kill_at_random(&pattern, &mut killer, round * SHARDS + shard);
            }
        });
        assert_no_segments(isolated);
        println!(
            "random kills: {}, half on each side; 0 bytes lost, repeated, reordered or corrupt; \
             0 hangs; 0 panics; 0 segments left",
            rounds * SHARDS
        );
    });
}

fn kill_at_random(pattern: &Pattern, killer: &mut Killer, round: u64) {
    let mut random = Rng::with_seed(round << 8);
    let role = role_of(round / SHARDS);
    let (theirs, ours) = (Habits::any(&mut random), Habits::any(&mut random));
    let reach = any(&mut random, &[200, 200, 2_000, 15_000]);
    let delay = Duration::from_micros(random.u64(..reach));
    let capacity = any(&mut random, &[4096, 65_536]);

    let mut ring = Some(options(capacity).create_anonymous().unwrap());
    let mut victim = fork_victim(&mut ring, role, |end| end.play(pattern, theirs));
    killer.order(&victim, libc::SIGKILL, delay);
    let mut survivor = take(ring.take().unwrap(), role.peer());
    let outcome = survivor.outlive(pattern, ours);
    assert_eq!(outcome, Outcome::Died, "round {round}");
    killer.killed_at();
    assert_eq!(victim.wait(), End::Signal(libc::SIGKILL), "round {round}");
    let id = survivor.id();
    drop(survivor);
    assert_gone(id);
}

#[test]
fn both_sides_killed_leave_nothing() {
    alone("kills::both_sides_killed_leave_nothing", || {
        let isolated = own_namespace();
        let (pattern, mut killer) = (Pattern::new(), Killer::new());
        let rounds = kills() / 20;
        for round in 0..rounds {
            let mut random = Rng::with_seed(round << 8 | 1);
            let mut ring = Some(options(4096).create_anonymous().unwrap());
            let id = ring.as_ref().unwrap().id().unwrap();
            let mut victims = [Role::Producer, Role::Consumer].map(|role| {
                let habits = Habits::any(&mut random);
                fork_victim(&mut ring, role, |end| end.play(&pattern, habits))
            });
            drop(ring);
            for victim in &victims {
                let delay = Duration::from_micros(random.u64(..500));
                killer.order(victim, libc::SIGKILL, delay);
            }
            for victim in &mut victims {
                killer.killed_at();
                victim.wait(); // the second may have seen the first die
            }
            assert_gone(id);
        }
        assert_no_segments(isolated);
        println!(
            "both sides killed: {} processes; 0 segments left",
            2 * rounds
        );
    });
}

/// The points that a victim passes while it streams, closes, or opens.
fn points(when: When) -> &'static [Point] {
    use Point::*;
    match when {
        When::Streaming => &[
            CopiedIn,
            TailStored,
            CopiedOut,
            HeadStored,
            SleepSet,
            SleepNow,
            Slept,
            WakeSeen,
            WakeCleared,
            Woken,
        ],
        When::Closing => &[ClosedStored, RoleLeft, LeftTold],
        When::OpeningFirst => &[
            Created,
            Attached,
            MagicStored,
            Formatted,
            Published,
            OwnerTaken,
            ClaimCounted,
            RecordComplete,
            SideCleared,
            RoleHeld,
            Announced,
        ],
        When::OpeningSecond => &[
            OwnerTaken,
            ClaimCounted,
            RecordComplete,
            SideCleared,
            RoleHeld,
            KeyRemoved,
        ],
        When::Reclaiming => &[OrphanTaken],
        When::Anonymous => &[Created, Attached, Unkeyed, Formatted, Published],
        // By tests/ends, and by chance here.
        When::Persistent => &[OwnerFreed, MarkWritten, MarkCounted, Acknowledged],
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Streaming,
    Closing,
    OpeningFirst,
    OpeningSecond,
    Reclaiming,
    Anonymous,
    Persistent,
}

impl When {
    const ALL: [When; 7] = [
        When::Streaming,
        When::Closing,
        When::OpeningFirst,
        When::OpeningSecond,
        When::Reclaiming,
        When::Anonymous,
        When::Persistent,
    ];
}

#[test]
fn every_point_is_on_the_list() {
    for &point in Point::ALL {
        let listed = When::ALL.iter().any(|&when| points(when).contains(&point));
        assert!(listed, "{point:?} is killed at by no test");
    }
}

/// How often each process is killed at each point.
fn rounds_at_each_point() -> u64 {
    (kills() / 200).max(4)
}

/// Kills at every point of `when`, on both sides, with `round` for one death;
/// it says whether the victim died there. Prints how often that was.
fn at_every_point(when: When, mut round: impl FnMut(Point, Role, u64) -> bool) {
    let mut deaths = 0;
    for &point in points(when) {
        for role in [Role::Producer, Role::Consumer] {
            let died = (0..rounds_at_each_point())
                .filter(|&number| round(point, role, number))
                .count();
            assert!(
                died > 0 || is_for_the_other(point, role),
                "no {role} died at {point:?}"
            );
            deaths += died;
        }
    }
    println!("kills at named points, {when:?}: {deaths} processes; 0 segments left");
}

/// Whether a process of this role never passes the point.
fn is_for_the_other(point: Point, role: Role) -> bool {
    match role {
        Role::Producer => matches!(point, Point::CopiedOut | Point::HeadStored),
        Role::Consumer => matches!(point, Point::CopiedIn | Point::TailStored),
    }
}

#[test]
fn kills_while_streaming_lose_nothing() {
    alone("kills::kills_while_streaming_lose_nothing", || {
        let isolated = own_namespace();
        let (pattern, mut killer) = (Pattern::new(), Killer::new());
        let mut passed_by = 0_u32; // victims, one after the other: the next gets more time
        at_every_point(When::Streaming, |point, role, number| {
            if is_for_the_other(point, role) {
                return false;
            }
            let mut ring = Some(options(4096).create_anonymous().unwrap());
            // Whoever pauses wakes the other, who has to sleep.
            let sleeps = matches!(point, Point::SleepSet | Point::SleepNow | Point::Slept);
            let pausing = |pauses| Habits {
                pause: Duration::from_micros(if pauses { 200 } else { 0 }),
                ..Habits::STREAMING
            };
            let mut victim = fork_victim(&mut ring, role, |end| {
                kill_at(point, (number % 5) as u32);
                end.play(&pattern, pausing(!sleeps));
            });
            // Ends a victim that does not come by the point, in another way.
            let time = Duration::from_millis(20 << passed_by.min(7));
            killer.order(&victim, libc::SIGTERM, time);
            let mut survivor = take(ring.take().unwrap(), role.peer());
            let outcome = survivor.outlive(&pattern, pausing(sleeps));
            assert_eq!(outcome, Outcome::Died, "{point:?} {role} {number}");
            let id = survivor.id();
            drop(survivor);
            killer.killed_at();
            let died = victim.wait() == End::Signal(libc::SIGKILL);
            assert_gone(id);
            passed_by = if died { 0 } else { passed_by + 1 };
            died
        });
        assert_no_segments(isolated);
    });
}

#[test]
fn kills_while_closing_lose_nothing() {
    alone("kills::kills_while_closing_lose_nothing", || {
        let isolated = own_namespace();
        let pattern = Pattern::new();
        at_every_point(When::Closing, |point, role, number| {
            let mut ring = Some(options(65_536).create_anonymous().unwrap());
            let closing = Habits {
                close_after: 1 + number % 7,
                ..Habits::STREAMING
            };
            let mut victim = fork_victim(&mut ring, role, |end| {
                kill_at(point, 0);
                end.play(&pattern, closing);
            });
            let mut survivor = take(ring.take().unwrap(), role.peer());
            // The closed word is stored before the first of these points: the
            // survivor sees a peer that has left in order.
            let outcome = survivor.outlive(&pattern, Habits::STREAMING);
            assert_eq!(outcome, Outcome::Finished, "{point:?} {role} {number}");
            let id = survivor.id();
            drop(survivor);
            assert_eq!(
                victim.wait(),
                End::Signal(libc::SIGKILL),
                "{point:?} {role}"
            );
            assert_gone(id);
            true
        });
        assert_no_segments(isolated);
    });
}

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
        "kills::kills_while_opening_first_leave_what_the_next_open_reclaims",
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
    alone("kills::kills_while_opening_second_are_survived", || {
        let isolated = own_namespace();
        let pattern = Pattern::new();
        at_every_point(When::OpeningSecond, |point, role, number| {
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
        assert_no_segments(isolated);
    });
}

#[test]
fn kills_while_reclaiming_leave_what_the_next_open_reclaims() {
    alone(
        "kills::kills_while_reclaiming_leave_what_the_next_open_reclaims",
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
    alone("kills::an_anonymous_ring_killed_at_birth_is_stale", || {
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
    });
}

#[test]
fn a_blocked_survivor_learns_of_a_death_in_milliseconds() {
    alone(
        "kills::a_blocked_survivor_learns_of_a_death_in_milliseconds",
        || {
            let isolated = own_namespace();
            let (pattern, mut killer) = (Pattern::new(), Killer::new());
            let mut took: Vec<u64> = (0..200)
                .map(|round| {
                    let role = role_of(round);
                    let mut ring = Some(options(4096).create_anonymous().unwrap());
                    let mut victim = fork_victim(&mut ring, role, |_end| {
                        loop {
                            // SAFETY: no arguments.
                            unsafe { libc::pause() };
                        }
                    });
                    let delay = Duration::from_micros(Rng::with_seed(round).u64(5_000..15_000));
                    killer.order(&victim, libc::SIGKILL, delay);
                    let mut survivor = take(ring.take().unwrap(), role.peer());
                    let outcome = survivor.outlive(&pattern, Habits::STREAMING);
                    let now = monotonic();
                    assert_eq!(outcome, Outcome::Died);
                    let took = now.saturating_sub(killer.killed_at());
                    victim.wait();
                    took
                })
                .collect();
            took.sort_unstable();
            let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize] as f64 / 1e6;
            println!(
                "from SIGKILL to the blocked survivor's return, {} kills: p50 {:.1} ms, p99 {:.1} ms, \
             max {:.1} ms",
                took.len(),
                at(0.5),
                at(0.99),
                at(1.0)
            );
            assert!(at(1.0) < PATIENCE.as_millis() as f64, "that is a hang");
            assert_no_segments(isolated);
        },
    );
}

/// Streams until nothing comes for a while, or a peer has died; one stream after
/// the other.
fn stream_on(end: &mut Opened, pattern: &Pattern, habits: Habits) {
    while end.stream(pattern, habits) == Outcome::Finished {
        match end {
            Opened::Consumer(consumer) => assert!(consumer.next_stream().unwrap()),
            Opened::Producer(_) => return,
        }
    }
}

#[test]
fn a_restarted_side_goes_on_at_the_exact_position() {
    alone(
        "kills::a_restarted_side_goes_on_at_the_exact_position",
        || {
            let isolated = own_namespace();
            let (pattern, mut killer) = (Pattern::new(), Killer::new());
            let mut deaths = 0;
            for role in [Role::Producer, Role::Consumer] {
                let path = TempPath::new();
                let mut options = options(65_536);
                options.persistent(true).resume(true);
                let mut survivor = open(&options, &path, role.peer()).unwrap();
                // The victim may die before it comes.
                survivor.set_timeout(Duration::from_millis(5));
                let rounds = kills() / 20;
                for round in 0..rounds {
                    let mut random = Rng::with_seed(round << 8 | 2);
                    let (theirs, ours) = (Habits::any(&mut random), Habits::any(&mut random));
                    // Every other one at a point; one in four of those closes.
                    let point = any(&mut random, Point::ALL);
                    let close_after = any(&mut random, &[u64::MAX, 3]);
                    let mut victim = Fork::new(|| {
                        if round % 2 == 0 {
                            kill_at(point, random.u32(..3));
                        }
                        let habits = Habits {
                            close_after,
                            ..theirs
                        };
                        open(&options, &path, role).unwrap().play(&pattern, habits);
                    });
                    let delay = Duration::from_micros(random.u64(..3_000));
                    killer.order(&victim, libc::SIGKILL, delay);
                    stream_on(&mut survivor, &pattern, ours);
                    killer.killed_at();
                    deaths += u64::from(victim.wait() == End::Signal(libc::SIGKILL));
                    // Goes on where it was, whatever it has been told.
                    stream_on(&mut survivor, &pattern, ours);
                    survivor.assert_drained();
                }
                println!(
                    "takeovers of the {role}: {rounds}; {} bytes published",
                    survivor.published()
                );
                drop(survivor);
                shmpipe::Options::new().force_remove(&path).unwrap();
            }
            println!("of these, {deaths} after a kill");
            assert_no_segments(isolated);
        },
    );
}
