//! SIGKILL at random: of one side, and of both.

use std::time::Duration;

use fastrand::Rng;
use shmpipe::Role;

use super::{fork_victim, role_of, take};
use crate::common::kill::{
    Habits, Killer, Outcome, Pattern, SHARDS, assert_gone, assert_no_segments, in_shards, kills,
    options, own_namespace,
};
use crate::common::random::any;
use crate::common::{End, alone};

#[test]
fn random_kills_lose_nothing() {
    alone("kills::random::random_kills_lose_nothing", || {
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
    alone("kills::random::both_sides_killed_leave_nothing", || {
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
