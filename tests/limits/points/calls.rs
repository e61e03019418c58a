//! Calls against a peer that stopped while claiming, streaming or closing.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use shmpipe::Role;
use shmpipe::failpoint::{Point, stop_at};

use super::{CLOSING, ROLES, STREAMING, Worst, take, time_all, until_stopped};
use crate::common::kill::{Opened, SHARDS, assert_no_segments, in_shards, own_namespace};
use crate::common::{Fork, PATIENCE, alone};

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

const CLAIMING: [Point; 5] = [
    Point::OwnerTaken,
    Point::ClaimCounted,
    Point::RecordComplete,
    Point::SideCleared,
    Point::RoleHeld,
];

/// Makes each call against a peer that stopped at `point` in `role`. Says whether it did stop.
fn time_calls(worst: &Worst, point: Point, role: Role) -> bool {
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
    time_all(worst, point, own);
    has_stopped
}

#[test]
fn calls_against_a_peer_that_stopped_while_claiming_streaming_or_closing() {
    alone(
        "points::calls::calls_against_a_peer_that_stopped_while_claiming_streaming_or_closing",
        || {
            let isolated = own_namespace();
            let points = CLAIMING.into_iter().chain(STREAMING).chain(CLOSING);
            let points: Vec<Point> = points.collect();
            in_shards(|shard| {
                let worst = Worst::new();
                for &point in points.iter().skip(shard as usize).step_by(SHARDS as usize) {
                    let stopped = ROLES.map(|role| time_calls(&worst, point, role));
                    assert!(stopped.contains(&true), "nobody stopped at {point:?}");
                }
                worst.report("claiming, streaming and closing");
            });
            assert_no_segments(isolated);
        },
    );
}
