//! Every call that has a limit, against a peer that is stopped at each named
//! point: none outlives its limit. The figure is printed; only a hang fails.

mod calls;
mod opening;

use std::cell::Cell;
use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::time::{Duration, Instant};

use shmpipe::failpoint::Point;
use shmpipe::{Consumer, Producer, Role};

use crate::common::kill::Opened;
use crate::common::{Fork, PATIENCE, Task};

const LIMIT: Duration = Duration::from_millis(30);

const ROLES: [Role; 2] = [Role::Producer, Role::Consumer];

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
