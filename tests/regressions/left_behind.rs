//! What is left behind, and what only looks so.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use shmpipe::failpoint::{Point, kill_at};
use shmpipe::sysv::Key;
use shmpipe::{RemoveError, Role};

use crate::common::kill::{assert_no_segments, open, options, own_namespace};
use crate::common::{End, Fork, Segment, TempPath, alone, page};
use crate::shmat::before_each_shmat;
use crate::{ROLES, stream};

/// Found in review: with the first words of the identity stored and no magic,
/// a segment was taken for another program's, for ever.
#[test]
fn a_creator_killed_in_mid_identity_leaves_what_is_reclaimed() {
    alone(
        "left_behind::a_creator_killed_in_mid_identity_leaves_what_is_reclaimed",
        || {
            let isolated = own_namespace();
            for role in ROLES {
                let path = TempPath::new();
                let leave_half_made = || {
                    let mut creator = Fork::new(|| {
                        kill_at(Point::MagicStored, 0);
                        drop(open(&options(4096), &path, role));
                    });
                    assert_eq!(creator.wait(), End::Signal(libc::SIGKILL));
                    assert!(path.leads_to_a_segment());
                };
                leave_half_made();
                let mut child =
                    Fork::new(|| stream(open(&options(4096), &path, Role::Producer).unwrap()));
                stream(open(&options(4096), &path, Role::Consumer).unwrap());
                assert_eq!(child.wait(), End::Exit(0));
                assert!(!path.leads_to_a_segment());
                if isolated {
                    leave_half_made();
                    assert_eq!(shmpipe::remove_stale().unwrap().len(), 1);
                }
                assert_no_segments(isolated);
            }
        },
    );
}

/// How long a process is to take before each `shmat`, in microseconds.
static NAP: AtomicU64 = AtomicU64::new(0);

fn nap() {
    std::thread::sleep(Duration::from_micros(NAP.load(Ordering::Relaxed)));
}

fn nap_before_each_shmat(micros: u64) {
    NAP.store(micros, Ordering::Relaxed);
    before_each_shmat(nap);
}

/// Found in review: the attach count of a segment was read before the state
/// that it was held against, so that one just made looked left behind.
#[test]
fn a_ring_in_use_is_never_stale() {
    alone("left_behind::a_ring_in_use_is_never_stale", || {
        if !own_namespace() {
            return; // what is stale elsewhere is not ours to remove
        }
        let paths = [(); 4].map(|()| TempPath::new());
        let removers = [0, 300, 1_000, 5_000].map(|nap| {
            Fork::new(|| {
                nap_before_each_shmat(nap);
                loop {
                    shmpipe::remove_stale().unwrap();
                }
            })
        });
        let creators: Vec<Fork> = (0..8)
            .map(|number| {
                Fork::new(|| {
                    nap_before_each_shmat([0, 100, 300, 1_000][number % 4]);
                    let path = paths.get(number);
                    let key = Key::from_raw(1000 + number as i32).unwrap();
                    let mut random = Rng::with_seed(number as u64);
                    let start = Instant::now();
                    while start.elapsed() < Duration::from_secs(2) {
                        make_and_use(path, key, Duration::from_micros(random.u64(..10_000)));
                    }
                })
            })
            .collect();
        for mut creator in creators {
            assert_eq!(creator.wait(), End::Exit(0));
        }
        drop(removers);
        assert_no_segments(true);
    });
}

/// Makes a ring, writes to it, and expects to find it again after a `pause`.
fn make_and_use(path: Option<&TempPath>, key: Key, pause: Duration) {
    let mut options = options(4096);
    options.wait_for_peer(false);
    let mut producer = match path {
        Some(path) => options.open_producer(path).unwrap(),
        None => options.open_producer_by_key(key).unwrap(),
    };
    producer.write_all(b"here").unwrap();
    std::thread::sleep(pause);
    let mut consumer = match path {
        Some(path) => options.open_consumer(path).unwrap(),
        None => options.open_consumer_by_key(key).unwrap(),
    };
    assert_eq!(producer.id().unwrap(), consumer.id().unwrap());
    producer.close().unwrap();
    let mut bytes = Vec::new();
    consumer.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"here");
}

/// Found in review: forced, a removal took the segment that a living process
/// was just making.
#[test]
fn a_segment_being_made_is_not_removed_even_by_force() {
    let newborn = Segment::new(None, 2 * page(), 0o600);
    for force in [false, true] {
        let removed = match force {
            true => shmpipe::force_remove(newborn.id),
            false => shmpipe::remove(newborn.id),
        };
        assert!(
            matches!(removed, Err(RemoveError::InUse { id, .. }) if id == newborn.id),
            "{removed:?}"
        );
        assert!(newborn.is_there());
    }
}

/// Found in review: of a named ring, a removal said that it was done.
#[test]
fn a_running_pair_is_in_use() {
    let path = TempPath::new();
    let mut options = options(4096);
    options.wait_for_peer(false);
    let named = (
        options.open_producer(&path).unwrap(),
        options.open_consumer(&path).unwrap(),
    );
    let anonymous = options.create_anonymous().unwrap().split().unwrap();
    for (mut producer, mut consumer) in [named, anonymous] {
        let removed = shmpipe::remove(producer.id().unwrap());
        assert!(
            matches!(removed, Err(RemoveError::InUse { id, .. }) if id == producer.id().unwrap()),
            "{removed:?}"
        );
        producer.write_all(b"on").unwrap();
        consumer.read_exact(&mut [0; 2]).unwrap();
    }
}

/// Found by a user: an all-zero segment of a ring's size, made by a process
/// that had ended, was taken for a half-made ring though others could open it.
#[test]
fn what_others_can_open_is_no_half_made_ring() {
    alone(
        "left_behind::what_others_can_open_is_no_half_made_ring",
        || {
            if !own_namespace() {
                return;
            }
            let (ours, theirs) = (TempPath::new(), TempPath::new());
            let ours = Segment::by_the_dead(ours.key(), 2 * page(), 0o600);
            let theirs = Segment::by_the_dead(theirs.key(), 2 * page(), 0o644);
            assert_eq!(shmpipe::remove_stale().unwrap(), [ours.id]);
            assert!(theirs.is_there());
        },
    );
}
