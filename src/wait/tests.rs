//! The asymmetric fence and the spin budget, with one thread as both sides in turn.

use std::io::{Read, Write};

use super::*;
use crate::role::Role;
use crate::segment::layout::Signals;
use crate::segment::region::Region;
use crate::tuning::{
    FENCES_AWAKE, IDLE, IDLE_SLICE, LONG_SPIN, MOST_CREDIT, MOST_PARKS, SHORT_SLEEPS, SHORT_SLICE,
    SPARED, SPIN, WAITS_AWAKE,
};

fn word(signals: &Signals) -> u32 {
    signals.sleeping.load(Ordering::Relaxed) // one thread
}

/// An effort that has waited this often without a sleep.
fn awake(own: &Signals, waits: u32) -> Effort {
    let mut effort = Effort::with_barriers();
    for _ in 0..waits {
        effort.stayed_awake(own, 0);
    }
    effort
}

/// Sleeps for a moment, since nothing comes. Returns the value of `sleeping` at the last look.
fn sleep(own: &Signals, effort: &mut Effort) -> u32 {
    let mut seen = Vec::new();
    let deadline = Some(Instant::now() + Duration::from_millis(1));
    let waited = wait(
        own,
        0,
        SpinBudget::None,
        deadline,
        effort,
        || {
            seen.push(word(own));
            Ok::<_, ()>(None::<()>)
        },
        || Ok(Sleep::Slice),
    );
    assert_eq!(waited, Ok(Waited::TimedOut));
    assert_eq!(word(own), AWAKE);
    seen[0]
}

#[test]
fn a_deadline_that_has_passed_leaves_one_look() {
    let own = Signals::default();
    for slice_is_over in [false, true] {
        let mut effort = Effort::new();
        if slice_is_over {
            effort.last_slice = Instant::now() - 2 * SLICE;
        }
        for found in [None, Some(7)] {
            let mut looks = 0;
            let waited = wait(
                &own,
                0,
                SpinBudget::None,
                Some(Instant::now()),
                &mut effort,
                || {
                    looks += 1;
                    Ok::<_, ()>(found)
                },
                || Ok(Sleep::Slice),
            );
            assert_eq!(waited, Ok(found.map_or(Waited::TimedOut, Waited::Ready)));
            assert_eq!(looks, 1);
        }
    }
}

#[test]
fn a_promise_comes_with_waits_awake_and_ends_with_a_sleep() {
    let own = Signals::default();
    let mut effort = awake(&own, WAITS_AWAKE - 1);
    assert_eq!(word(&own), AWAKE);
    effort.stayed_awake(&own, 0);
    if !membarrier::register() {
        assert_eq!(word(&own), AWAKE, "nothing to promise");
        return;
    }
    assert_eq!(word(&own), PROMISED);
    assert_eq!(sleep(&own, &mut effort), ASLEEP);
    // The next promise takes as many waits again.
    for _ in 1..WAITS_AWAKE {
        effort.stayed_awake(&own, 0);
        assert_eq!(word(&own), AWAKE);
    }
    effort.stayed_awake(&own, 0);
    assert_eq!(word(&own), PROMISED);
}

#[test]
fn without_membarriers_no_promise_is_made_or_believed() {
    let own = Signals::default();
    let mut effort = Effort::new();
    for _ in 0..2 * WAITS_AWAKE {
        effort.stayed_awake(&own, 0);
    }
    assert_eq!(word(&own), AWAKE);
    assert_ne!(effort.fenceless, PROMISED);
}

#[test]
fn a_sleeper_is_woken_whoever_wakes_it_and_a_promise_is_left_alone() {
    let (own, peer) = (Signals::default(), Signals::default());
    for mut effort in [Effort::new(), awake(&Signals::default(), WAITS_AWAKE)] {
        peer.sleeping.store(ASLEEP, Ordering::Relaxed); // one thread
        peer.wanted.store(10, Ordering::Relaxed); // one thread
        effort.wake(&own, &peer, 9);
        assert_eq!((word(&peer), effort.stats.wakes), (ASLEEP, 0), "too early");
        effort.wake(&own, &peer, 10);
        assert_eq!((word(&peer), effort.stats.wakes), (AWAKE, 1));
        peer.sleeping.store(PROMISED, Ordering::Relaxed); // one thread
        effort.wake(&own, &peer, 11);
        effort.wake_if_seen(&peer);
        assert!(!wake_always(&peer));
        assert_eq!((word(&peer), effort.stats.wakes), (PROMISED, 1));
    }
}

#[test]
fn short_sleeps_lengthen_the_spin_and_a_long_one_shortens_it() {
    let mut effort = Effort::new();
    let soon = LONG_SPIN - Duration::from_nanos(1);
    for _ in 0..2 {
        for _ in 0..SHORT_SLEEPS {
            assert_ne!(effort.spin_budget(), SpinBudget::For(LONG_SPIN));
            effort.slept(Duration::ZERO, soon);
        }
        assert_eq!(effort.spin_budget(), SpinBudget::For(LONG_SPIN));
        effort.slept(Duration::ZERO, LONG_SPIN); // not avoided by the longer spin
    }
    for _ in 1..SHORT_SLEEPS {
        effort.slept(Duration::ZERO, soon);
    }
    effort.slept(Duration::ZERO, soon * 2);
    effort.slept(Duration::ZERO, soon);
    assert_eq!(effort.spin_budget(), SpinBudget::For(SPIN), "not in a row");
}

#[test]
fn only_a_sleeper_that_has_been_idle_sleeps_long() {
    let own = Signals::default();
    let mut effort = Effort::new();
    let now = Instant::now();
    for sleep in [Sleep::Slice, Sleep::Long] {
        assert_eq!(effort.slice(sleep, now), SLICE);
    }
    assert_eq!(effort.slice(Sleep::Long, now + IDLE), IDLE_SLICE);
    assert_eq!(effort.slice(Sleep::Slice, now + IDLE), SLICE);
    effort.stayed_awake(&own, 0); // something came
    assert_eq!(effort.slice(Sleep::Long, now + IDLE), SLICE);
    assert_eq!(effort.slice(Sleep::Long, now + 2 * IDLE), IDLE_SLICE);
    effort.refused = true;
    assert_eq!(effort.slice(Sleep::Long, now + 2 * IDLE), SHORT_SLICE);
}

/// Lets a wait spin and fail if it is to spin. Returns whether it did.
fn fail(effort: &mut Effort) -> bool {
    let spun = match effort.spin_budget() {
        SpinBudget::For(spun) => spun,
        _ => Duration::ZERO,
    };
    effort.slept(spun, spun + LONG_SPIN);
    !spun.is_zero()
}

#[test]
fn failing_spins_become_rare_and_return_once_they_pay() {
    let mut effort = Effort::new();
    for expected in [1, 3, 7, 15, 31, MOST_PARKS, MOST_PARKS] {
        assert!(fail(&mut effort), "a trial");
        for _ in 0..expected {
            assert!(!fail(&mut effort), "no trial yet");
        }
    }
    // The next trials pay.
    while effort.spin_budget() == SpinBudget::None {
        fail(&mut effort);
    }
    for _ in 0..MOST_CREDIT {
        assert_ne!(effort.spin_budget(), SpinBudget::None);
        effort.spin_paid();
    }
    // Some failures are forgiven, and the first that is not costs one wait.
    let forgiven = MOST_CREDIT / (SPIN.as_nanos() / SPARED.as_nanos()) as u32;
    for _ in 0..forgiven {
        assert!(fail(&mut effort));
    }
    assert!(fail(&mut effort));
    assert!(!fail(&mut effort));
    assert!(fail(&mut effort));
}

#[test]
fn a_long_spin_that_fails_is_not_repeated() {
    let mut effort = Effort::new();
    while effort.spin_budget() != SpinBudget::For(LONG_SPIN) {
        effort.slept(Duration::ZERO, SPIN);
    }
    effort.slept(LONG_SPIN, LONG_SPIN - Duration::from_nanos(1));
    assert_eq!(effort.spin_budget(), SpinBudget::None);
    fail(&mut effort);
    assert_eq!(effort.spin_budget(), SpinBudget::For(SPIN));
}

#[test]
fn fences_lead_to_a_promise_but_not_during_a_park() {
    let (own, peer) = (Signals::default(), Signals::default());
    let fence_so_often = |effort: &mut Effort, times: u32| {
        for _ in 0..times {
            effort.wake(&own, &peer, 0);
        }
    };
    let mut effort = Effort::with_barriers();
    fence_so_often(&mut effort, FENCES_AWAKE - 1);
    assert_eq!(word(&own), AWAKE);
    fence_so_often(&mut effort, 1);
    if !membarrier::register() {
        assert_eq!(word(&own), AWAKE, "nothing to promise");
        return;
    }
    assert_eq!(word(&own), PROMISED);
    assert_eq!(sleep(&own, &mut effort), ASLEEP);
    // The next promise takes as many fences again, and a side that is awake.
    fence_so_often(&mut effort, FENCES_AWAKE - 1);
    assert_eq!(word(&own), AWAKE);
    prepare_park(&own, 0, true);
    fence_so_often(&mut effort, 1);
    assert_eq!(word(&own), ASLEEP);
}

/// Regression: while neither side had to wait, the writer fenced for ever. A reader that
/// had slept and then stayed behind never promised.
#[test]
fn a_reader_that_slept_promises_once_it_finds_plenty() {
    let (mut producer, mut consumer) = crate::pair().unwrap();
    if !crate::sys::membarrier::register() {
        return; // without membarriers nobody promises
    }
    let sleeping = |producer: &crate::Producer| word(producer.writer().peer_signals());
    assert_eq!(sleeping(&producer), PROMISED);
    consumer.set_wait_policy(WaitPolicy::Park);
    // Long enough to come to sleep, on a slow machine too.
    consumer.set_timeout(Some(Duration::from_millis(50)));
    consumer.read(&mut [0; 8]).unwrap_err(); // slept
    assert_eq!(sleeping(&producer), AWAKE);

    producer.write_all(&vec![7; 1 << 20]).unwrap();
    consumer.read_exact(&mut [0; 8]).unwrap();
    assert_eq!(sleeping(&producer), PROMISED);
}

/// A writer that slept promises again, like a reader.
#[test]
fn a_writer_that_slept_promises_once_it_goes_on() {
    let (mut producer, mut consumer) = crate::pair().unwrap();
    if !crate::sys::membarrier::register() {
        return; // without membarriers nobody promises
    }
    producer.set_wait_policy(WaitPolicy::Park);
    // Long enough to reach the sleep, on a slow machine too.
    producer.set_timeout(Some(Duration::from_millis(50)));
    let capacity = producer.capacity();
    let mut bytes = vec![7; capacity];
    producer.write_all(&bytes).unwrap();
    producer.write(&[8]).unwrap_err(); // slept
    let sleeping = |producer: &crate::Producer| {
        let header = producer.writer().region().header();
        word(&header.side(Role::Producer).signals)
    };
    assert_eq!(sleeping(&producer), AWAKE);
    for _ in 0..WAITS_AWAKE {
        consumer.read_exact(&mut bytes).unwrap();
        producer.write_all(&bytes).unwrap();
    }
    assert_eq!(sleeping(&producer), PROMISED);
}

/// Found in review: a peer that stores 2 again and again made each park run a barrier on all
/// processors of this process.
#[test]
fn only_a_promise_of_this_side_is_believed() {
    let own = Signals::default();
    own.sleeping.store(PROMISED, Ordering::Relaxed); // one thread
    assert!(!announce_park(&own, 0, false));
    let mut effort = Effort::of_new_holder(&own);
    assert!(effort.sleep_begins(), "a new holder promises");
    assert!(!effort.sleep_begins(), "a park ends the promise");
    for _ in 0..WAITS_AWAKE {
        effort.stayed_awake(&own, 0);
    }
    assert!(effort.sleep_begins());
    for _ in 0..FENCES_AWAKE {
        effort.fenced(&own);
    }
    assert!(effort.sleep_begins());
    assert!(!effort.sleep_begins());
}
