//! What a peer writes that means harm.

use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use shmpipe::error::Rule;
use shmpipe::sysv;
use shmpipe::{Broken, OpenError, PeekError, ReserveError};

use crate::broken;
use crate::common::kill::options;
use crate::common::offsets::{self, CLOSED, HEAD, OWNERS, STATE, TAIL};
use crate::common::{Fork, PATIENCE, Segment, TempPath, alone, bytes_of, page, poke, until};

/// Found by tests/hostile: the numbers were the owner word, twice, where the
/// life-cycle word had been overwritten.
#[test]
fn a_role_lost_from_the_life_cycle_word_is_told_by_two_numbers() {
    for nonsense in [0_u64, 1, 2, u64::MAX, 0x0002_0001_1102] {
        let (_producer, mut consumer) = options(4096).create_anonymous().unwrap().split().unwrap();
        poke(consumer.id().unwrap(), STATE, &nonsense.to_ne_bytes());
        let error = consumer.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
        let Broken::Corrupted(corruption) = broken(&error) else {
            panic!("{error}");
        };
        assert_eq!(corruption.rule(), Rule::OwnRole);
        assert_eq!(corruption.found(), nonsense);
        assert_ne!(corruption.against(), nonsense);
    }
}

/// Found in review: removing by force went by the life-cycle word that it had
/// seen, again and again, for as long as somebody kept changing it.
#[test]
fn removing_by_force_ends_while_the_word_keeps_changing() {
    alone(
        "lies::removing_by_force_ends_while_the_word_keeps_changing",
        || {
            let path = TempPath::new();
            let mut options = options(4096);
            options.persistent(true);
            let producer = options.open_producer(&path).unwrap();
            let id = producer.id().unwrap();
            let attached = sysv::attach(id).unwrap();
            let _attacker = Fork::new(|| {
                // SAFETY: aligned, and inside the attachment.
                let word =
                    unsafe { AtomicU64::from_ptr(attached.as_ptr().wrapping_add(STATE).cast()) };
                for round in 0.. {
                    // Open, with one generation of the producer after the other.
                    word.store(1 | (round & 0xffff) << 16, Ordering::Relaxed);
                }
            });
            let seen = offsets::read(id, STATE);
            until(|| offsets::read(id, STATE) != seen); // it has begun
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(50) {
                assert!(shmpipe::remove(id).is_err(), "somebody has it");
            }
            shmpipe::force_remove(id).unwrap();
            assert!(start.elapsed() < PATIENCE, "that is a hang");
            assert!(!path.leads_to_a_segment());
        },
    );
}

/// Found in review: attaching a ring that is being made took a second, whatever
/// its limit, and did not look at the flag.
#[test]
fn attaching_what_is_half_made_keeps_to_its_limit() {
    let half_made = Segment::new(None, 2 * page(), 0o600);
    let mut options = options(4096);
    let error = (options.timeout(Some(Duration::from_millis(20))))
        .attach(half_made.id)
        .unwrap_err();
    assert!(matches!(error, OpenError::TimedOut { .. }), "{error}");
    options.timeout(Some(PATIENCE));
    let error = (options.cancel_on(Arc::new(AtomicBool::new(true))))
        .attach(half_made.id)
        .unwrap_err();
    assert!(matches!(error, OpenError::Cancelled), "{error}");
}

/// Found by fuzzing: a role whose claim was never completed was waited for 100
/// milliseconds, whatever the time limit.
#[test]
fn a_claim_that_is_never_completed_is_waited_for_no_longer_than_said() {
    const CLAIMS: u32 = 50;
    let mut options = options(4096);
    options.timeout(Some(Duration::ZERO));
    let producer = options.create_anonymous().unwrap().into_producer().unwrap();
    let id = producer.id().unwrap();
    // Ours, and so of a process that lives; its record is not there.
    let owner = &bytes_of(id)[OWNERS[0]..][..8];
    poke(id, OWNERS[1], owner);
    let took = (0..CLAIMS).map(|_| {
        let ring = options.attach(id).unwrap();
        let start = Instant::now();
        let error = ring.into_consumer().unwrap_err();
        assert!(matches!(error, OpenError::RoleTaken { .. }), "{error}");
        start.elapsed()
    });
    // A wait would be in each of them; a busy machine may hold up all but a few.
    assert!(took.min().unwrap() < Duration::from_millis(100));
}

/// Found by fuzzing: a grant beyond the capacity was refused for its length by a
/// handle that was of no use any more.
#[test]
fn a_grant_too_long_is_refused_for_the_corruption_first() {
    let ring = options(4096).create_anonymous().unwrap();
    let id = ring.id().unwrap();
    let (mut producer, mut consumer) = ring.split().unwrap();
    producer.try_write(&[1]).unwrap(); // so that room is looked for
    poke(id, TAIL, &5000_u64.to_ne_bytes());
    poke(id, HEAD, &5000_u64.to_ne_bytes());
    let rule = |broken| match broken {
        Broken::Corrupted(corruption) => corruption.rule(),
        other => panic!("{other}"),
    };
    assert_eq!(
        rule(consumer.available().unwrap_err()),
        Rule::TailOutOfRange
    );
    assert_eq!(rule(producer.room().unwrap_err()), Rule::HeadOutOfRange);
    match consumer.try_peek(page() + 1) {
        Err(PeekError::Broken(broken)) => assert_eq!(rule(broken), Rule::TailOutOfRange),
        other => panic!("{other:?}"),
    }
    match producer.try_reserve(page() + 1) {
        Err(ReserveError::Broken(broken)) => assert_eq!(rule(broken), Rule::HeadOutOfRange),
        other => panic!("{other:?}"),
    }
}

/// Found in review: a wait that saw the end of one producer, and then that
/// another had followed, gave up as one that does not wait.
#[test]
fn a_producer_that_follows_at_once_does_not_end_a_wait() {
    let (_producer, mut consumer) = options(4096).create_anonymous().unwrap().split().unwrap();
    let attached = sysv::attach(consumer.id().unwrap()).unwrap();
    // SAFETY: aligned, and inside the attachment, which outlives the threads.
    let closed = unsafe { AtomicU64::from_ptr(attached.as_ptr().wrapping_add(CLOSED[0]).cast()) };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0_u64.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                closed.store(round / 8 % 2 * 0x101, Ordering::Relaxed);
                std::hint::spin_loop();
            }
        });
        let start = Instant::now();
        let mut wrong = None;
        while wrong.is_none() && start.elapsed() < Duration::from_millis(500) {
            let error = consumer.peek_deadline(1, Instant::now() + PATIENCE).err();
            wrong = error.filter(|error| !matches!(error, PeekError::Ended { .. }));
        }
        done.store(true, Ordering::Relaxed);
        assert_eq!(wrong, None);
    });
}
