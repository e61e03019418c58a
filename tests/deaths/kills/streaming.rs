//! SIGKILL at each named point of streaming and closing.

use std::time::Duration;

use shmpipe::failpoint::{Point, kill_at};

use super::{
    When, at_every_point, at_points_of_shard, fork_victim, is_for_the_other, points, take,
};
use crate::common::kill::{
    Habits, Killer, Outcome, Pattern, assert_gone, assert_no_segments, in_shards, options,
    own_namespace,
};
use crate::common::{End, alone};

#[test]
fn every_point_is_on_the_list() {
    for &point in Point::ALL {
        let listed = When::ALL.iter().any(|&when| points(when).contains(&point));
        assert!(listed, "{point:?} is killed at by no test");
    }
}

#[test]
fn kills_while_streaming_lose_nothing() {
    alone(
        "kills::streaming::kills_while_streaming_lose_nothing",
        || {
            let isolated = own_namespace();
            in_shards(|shard| {
                let (pattern, mut killer) = (Pattern::new(), Killer::new());
                let mut passed_by = 0_u32; // victims, one after the other: the next gets more time
                at_points_of_shard(shard, When::Streaming, |point, role, number| {
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
            });
            assert_no_segments(isolated);
        },
    );
}

#[test]
fn kills_while_closing_lose_nothing() {
    alone("kills::streaming::kills_while_closing_lose_nothing", || {
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
