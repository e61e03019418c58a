//! SIGKILL at random and at every named point: what the survivor gets, and
//! what is left behind.
//!
//! `cargo test --release --all-features --test deaths kills:: -- --nocapture`
//! shows the figures. `SHMPIPE_KILLS=1000000` sets how many processes are killed
//! in all, 10,000 unless said.
#![cfg(feature = "__failpoints")]

mod ends;
mod opening;
mod random;
mod streaming;
mod survivors;

use shmpipe::failpoint::Point;
use shmpipe::{Ring, Role};

use crate::common::Fork;
use crate::common::kill::{Opened, SHARDS, kills};

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

/// How often each process is killed at each point.
fn rounds_at_each_point() -> u64 {
    (kills() / 200).max(4)
}

/// Kills at every point of `when`, on both sides, with `round` for one death;
/// it says whether the victim died there. Prints how often that was.
fn at_every_point(when: When, round: impl FnMut(Point, Role, u64) -> bool) {
    at_some_points(when, 0, 1, round);
}

/// As [`at_every_point`], for the share `shard` of [`in_shards`](crate::common::kill::in_shards).
fn at_points_of_shard(shard: u64, when: When, round: impl FnMut(Point, Role, u64) -> bool) {
    at_some_points(when, shard as usize, SHARDS as usize, round);
}

fn at_some_points(
    when: When,
    first: usize,
    step: usize,
    mut round: impl FnMut(Point, Role, u64) -> bool,
) {
    let mut deaths = 0;
    let both = |&point| [(point, Role::Producer), (point, Role::Consumer)];
    let victims = points(when).iter().flat_map(both);
    for (point, role) in victims.skip(first).step_by(step) {
        let died = (0..rounds_at_each_point())
            .filter(|&number| round(point, role, number))
            .count();
        assert!(
            died > 0 || is_for_the_other(point, role),
            "no {role} died at {point:?}"
        );
        deaths += died;
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
