//! What the survivor of a SIGKILL learns, and where a successor goes on.
#![allow(unsafe_code)] // pause

use std::time::Duration;

use fastrand::Rng;
use shmpipe::Role;
use shmpipe::failpoint::{Point, kill_at};

use super::{fork_victim, role_of, take};
use crate::common::kill::{
    Habits, Killer, Opened, Outcome, Pattern, SHARDS, assert_no_segments, in_shards, kills,
    monotonic, open, options, own_namespace,
};
use crate::common::random::any;
use crate::common::{End, Fork, PATIENCE, TempPath, alone};

#[test]
fn a_blocked_survivor_learns_of_a_death_in_milliseconds() {
    alone(
        "kills::survivors::a_blocked_survivor_learns_of_a_death_in_milliseconds",
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

/// Kills a side of one ring in each round of the shard.
fn restart_again_and_again(role: Role, shard: u64) {
    let (pattern, mut killer) = (Pattern::new(), Killer::new());
    let path = TempPath::new();
    let mut options = options(65_536);
    options.persistent(true).resume(true);
    let mut survivor = open(&options, &path, role.peer()).unwrap();
    // The victim may die before it comes.
    survivor.set_timeout(Duration::from_millis(5));
    let (rounds, mut deaths) = ((kills() / 20).div_ceil(SHARDS), 0);
    for number in 0..rounds {
        let round = number * SHARDS + shard;
        let mut random = Rng::with_seed(round << 8 | 2);
        let (theirs, ours) = (Habits::any(&mut random), Habits::any(&mut random));
        // Every other one at a point; one in four of those closes.
        let point = any(&mut random, Point::ALL);
        let close_after = any(&mut random, &[u64::MAX, 3]);
        let mut victim = Fork::new(|| {
            if number % 2 == 0 {
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
        "takeovers of the {role}: {rounds}, {deaths} of them after a kill; {} bytes published",
        survivor.published()
    );
    drop(survivor);
    shmpipe::Options::new().force_remove(&path).unwrap();
}

#[test]
fn a_restarted_side_goes_on_at_the_exact_position() {
    alone(
        "kills::survivors::a_restarted_side_goes_on_at_the_exact_position",
        || {
            let isolated = own_namespace();
            in_shards(|shard| {
                for role in [Role::Producer, Role::Consumer] {
                    restart_again_and_again(role, shard);
                }
            });
            assert_no_segments(isolated);
        },
    );
}
