//! Peers that change the ring and wake nobody: they die or stop between the two.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use futures::io::{AsyncReadExt, AsyncWriteExt};
use shmpipe::Broken;
use shmpipe::asynchronous::{AsyncConsumer, AsyncProducer};
use shmpipe::failpoint::{Point, kill_at, stop_at};

use crate::common::{Fork, TempPath, alone, broken, options};

/// What is to come comes within a slice. So long without it is a hang.
const STUCK: Duration = Duration::from_secs(10);

/// Runs a future to its end.
#[track_caller]
fn run<F: Future>(future: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().build().unwrap();
    let start = Instant::now();
    let done = runtime.block_on(async { tokio::time::timeout(STUCK, future).await });
    // The limit polls the future, too, which may then find what nobody woke it for.
    assert!(start.elapsed() < STUCK, "no wake came");
    done.unwrap()
}

/// Where the peer stops or is killed.
#[derive(Clone, Copy, Debug)]
struct Case {
    point: Point,
    stops: bool,
    persistent: bool,
}

impl Case {
    fn halt(self) {
        match self.stops {
            true => stop_at(self.point),
            false => kill_at(self.point, 0),
        }
    }
}

fn cases(points: [Point; 2]) -> impl Iterator<Item = Case> {
    points.into_iter().flat_map(|point| {
        [(false, false), (false, true), (true, false), (true, true)].map(|(stops, persistent)| {
            Case {
                point,
                stops,
                persistent,
            }
        })
    })
}

/// A read is pending. The producer writes "abc" and closes, and halts on its way.
fn reads(case: Case) {
    let path = TempPath::new();
    let mut options = options();
    options.capacity(4096).persistent(case.persistent);
    options.wait_for_peer(false);
    let mut consumer = options.open_consumer(&path).unwrap();
    let (mut told, mut tell) = std::io::pipe().unwrap();
    let mut child = Fork::new(|| {
        let mut producer = options.open_producer(&path).unwrap();
        told.read_exact(&mut [0]).unwrap();
        case.halt();
        if case.point == Point::TailStored {
            producer.write_all(b"abc").unwrap();
        }
        producer.close().unwrap();
    });
    consumer.wait_for_peer().unwrap();
    let mut consumer = AsyncConsumer::new(consumer);
    let (mut bytes, mut pending) = ([0; 9], true);
    let len = run(std::future::poll_fn(|context| {
        let read = std::pin::pin!(consumer.read(&mut bytes)).poll(context);
        if std::mem::take(&mut pending) {
            assert!(read.is_pending());
            tell.write_all(&[0]).unwrap();
        }
        read
    }));
    let expected = if case.point == Point::TailStored {
        3
    } else {
        0
    };
    assert_eq!(len.unwrap(), expected, "{case:?}");
    child.kill();
    child.wait();
}

#[test]
fn a_read_ends_though_the_producer_wakes_nobody() {
    alone(
        "quiet_peers::a_read_ends_though_the_producer_wakes_nobody",
        || cases([Point::TailStored, Point::RoleLeft]).for_each(reads),
    );
}

/// A write is pending. The consumer reads all and closes, and halts on its way.
fn writes(case: Case) {
    let path = TempPath::new();
    let mut options = options();
    options.capacity(4096).persistent(case.persistent);
    options.wait_for_peer(false);
    let mut producer = options.open_producer(&path).unwrap();
    let (mut told, mut tell) = std::io::pipe().unwrap();
    let mut child = Fork::new(|| {
        let mut consumer = options.open_consumer(&path).unwrap();
        told.read_exact(&mut [0]).unwrap();
        case.halt();
        if case.point == Point::HeadStored {
            consumer.read_exact(&mut [0; 4096]).unwrap();
        }
        consumer.close().unwrap();
    });
    producer.wait_for_peer().unwrap();
    producer.try_write(&[7; 4096]).unwrap();
    let mut producer = AsyncProducer::new(producer);
    let mut pending = true;
    let written = run(std::future::poll_fn(|context| {
        let write = std::pin::pin!(producer.write(b"x")).poll(context);
        if std::mem::take(&mut pending) {
            assert!(write.is_pending());
            tell.write_all(&[0]).unwrap();
        }
        write
    }));
    match case.point {
        Point::HeadStored => assert_eq!(written.unwrap(), 1, "{case:?}"),
        _ => assert_eq!(broken(&written.unwrap_err()), Broken::ConsumerClosed),
    }
    child.kill();
    child.wait();
}

#[test]
fn a_write_ends_though_the_consumer_wakes_nobody() {
    alone(
        "quiet_peers::a_write_ends_though_the_consumer_wakes_nobody",
        || {
            let cases = cases([Point::HeadStored, Point::RoleLeft]);
            // A consumer that leaves a persistent ring ends no write.
            let ends = |case: &Case| case.point == Point::HeadStored || !case.persistent;
            cases.filter(ends).for_each(writes);
        },
    );
}
