//! Peers that change the ring and wake nobody: they die or stop between the two.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use shmpipe::failpoint::{self, Point};
use shmpipe::set::End;
use shmpipe::{Broken, TryReadError, TryWriteError, WaitPolicy, WaitSet};

use crate::common::{Fork, TempPath, alone, kill_self, options, until};
use crate::{is_readable_within, pair};

/// What is to come comes within a slice. So many milliseconds without it are a hang.
const STUCK: i32 = 10_000;

/// Waits for a member as an event loop does.
#[track_caller]
fn found<H: shmpipe::set::AsEnd>(set: &mut WaitSet<H>, descriptor: &std::os::fd::OwnedFd) -> usize {
    loop {
        if let Some(key) = set.try_wait().unwrap() {
            return key;
        }
        assert!(is_readable_within(descriptor, STUCK), "no wake came");
    }
}

/// How a peer of an armed member ends.
#[derive(Clone, Copy, Debug)]
struct Case {
    point: Point,
    /// Whether the peer stops there, and lives on. Otherwise the peer is killed.
    stops: bool,
    persistent: bool,
    /// Whether the member is the producer.
    writes: bool,
}

fn notices(case: Case) {
    let path = TempPath::new();
    let mut options = options();
    options.capacity(4096).persistent(case.persistent);
    options.wait_for_peer(false);
    let mut end = if case.writes {
        let mut producer = options.open_producer(&path).unwrap();
        producer.try_write(&[7; 4096]).unwrap();
        End::from(producer)
    } else {
        End::from(options.open_consumer(&path).unwrap())
    };
    let (mut told, mut tell) = std::io::pipe().unwrap();
    let mut child = Fork::new(|| {
        let (mut producer, mut consumer) = (None, None);
        match case.writes {
            true => drop(consumer.insert(options.open_consumer(&path).unwrap())),
            false => drop(producer.insert(options.open_producer(&path).unwrap())),
        }
        told.read_exact(&mut [0]).unwrap();
        match case.stops {
            true => failpoint::stop_at(case.point),
            false => failpoint::kill_at(case.point, 0),
        }
        if let Some(producer) = &mut producer {
            producer.close().unwrap();
        }
        if let Some(consumer) = &mut consumer {
            consumer.close().unwrap();
        }
    });
    match &mut end {
        End::Producer(producer) => producer.wait_for_peer().unwrap(),
        End::Consumer(consumer) => consumer.wait_for_peer().unwrap(),
    }
    let mut set = WaitSet::from(end);
    let descriptor = set.poll_fd().unwrap();
    assert_eq!(set.try_wait(), Ok(None));
    tell.write_all(&[0]).unwrap();
    assert_eq!(found(&mut set, &descriptor), 0);
    match &mut set[0] {
        End::Consumer(consumer) => assert_eq!(consumer.try_read(&mut [0; 9]), Ok(0), "{case:?}"),
        End::Producer(producer) => {
            let written = producer.try_write(b"x");
            let closed = Err(TryWriteError::Broken(Broken::ConsumerClosed));
            assert_eq!(written, closed, "{case:?}");
        }
    }
    child.kill();
    child.wait();
}

#[test]
fn an_end_makes_it_readable_though_the_peer_wakes_nobody() {
    alone(
        "quiet_peers::an_end_makes_it_readable_though_the_peer_wakes_nobody",
        || {
            for stops in [false, true] {
                for (point, persistent, writes) in [
                    (Point::RoleLeft, false, false),
                    (Point::RoleLeft, false, true),
                    (Point::RoleLeft, true, false),
                    (Point::OwnerFreed, true, false),
                ] {
                    notices(Case {
                        point,
                        stops,
                        persistent,
                        writes,
                    });
                }
            }
        },
    );
}

/// The mark that breaks the stream of a dead producer off comes from a successor, which dies, too.
#[test]
fn the_mark_of_a_successor_that_dies_makes_it_readable() {
    alone(
        "quiet_peers::the_mark_of_a_successor_that_dies_makes_it_readable",
        || {
            let path = TempPath::new();
            let mut options = options();
            options.capacity(4096).persistent(true);
            options.wait_for_peer(false);
            let consumer = options.open_consumer(&path).unwrap();
            let mut child = Fork::new(|| {
                let mut producer = options.open_producer(&path).unwrap();
                producer.write_all(b"abc").unwrap();
                kill_self();
            });
            child.wait();
            let mut set = WaitSet::from(consumer);
            let descriptor = set.poll_fd().unwrap();
            let mut deaths = 0;
            while deaths == 0 {
                found(&mut set, &descriptor);
                match set[0].try_read(&mut [0; 9]) {
                    Ok(3) | Err(TryReadError::Empty) => {}
                    Err(TryReadError::Broken(Broken::Died { .. })) => deaths += 1,
                    other => panic!("{other:?}"),
                }
            }
            until(|| set.try_wait() == Ok(None) && !is_readable_within(&descriptor, 100));
            let mut child = Fork::new(|| {
                failpoint::kill_at(Point::MarkCounted, 0);
                drop(options.open_producer(&path));
            });
            child.wait();
            assert!(is_readable_within(&descriptor, STUCK), "no wake came");
            assert_eq!(found(&mut set, &descriptor), 0);
            let read = set[0].try_read(&mut [0; 9]);
            let Err(TryReadError::Broken(Broken::Died { .. })) = read else {
                panic!("{read:?}");
            };
        },
    );
}

/// The reactor looks at a handle of the set while a blocking wait sleeps on the handle's word. The
/// set arms the handle afterwards.
#[test]
fn a_wake_after_a_blocking_wait_is_not_lost() {
    alone(
        "quiet_peers::a_wake_after_a_blocking_wait_is_not_lost",
        || {
            failpoint::set_slice(Duration::from_secs(60));
            let (mut producer, consumer) = pair();
            let (mut second, from_second) = pair();
            let (mut set, mut other) = (WaitSet::from(consumer), WaitSet::from(from_second));
            let (descriptor, of_other) = (set.poll_fd().unwrap(), other.poll_fd().unwrap());
            assert_eq!(set.try_wait(), Ok(None));
            assert_eq!(other.try_wait(), Ok(None));
            set.set_wait_policy(WaitPolicy::Park);
            let writing = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(100)); // the set sleeps meanwhile
                second.try_write(b"x").unwrap(); // has the reactor look at all
                second
            });
            let soon = Instant::now() + Duration::from_millis(300);
            set.wait_deadline(soon).unwrap_err();
            assert!(is_readable_within(&of_other, STUCK));
            assert_eq!(set.try_wait(), Ok(None));
            until(|| !is_readable_within(&descriptor, 50));
            producer.try_write(b"x").unwrap();
            assert!(is_readable_within(&descriptor, STUCK), "a wake is lost");
            assert_eq!(set.try_wait(), Ok(Some(0)));
            drop(writing.join().unwrap());
        },
    );
}
