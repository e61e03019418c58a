//! Wake-ups in an exchange of single bytes, with and without the promised barrier.

use std::io::{Read, Write};
use std::time::Duration;

use fastrand::Rng;
use shmpipe::WaitPolicy;
use shmpipe::failpoint::set_slice;

use super::{Places, SLICE, Tally, options, parks, pause, policy, watch};
use crate::common::pin::{allowed_cpus, pin_to};
use crate::common::{Fork, alone};

/// Two rings, one byte to and fro: each side parks on an empty ring.
#[test]
fn one_byte_to_and_fro_loses_no_wake() {
    alone(
        "parking::to_and_fro::one_byte_to_and_fro_loses_no_wake",
        || {
            set_slice(SLICE);
            let (tally, quota) = (Tally::new(), parks() / 2);
            let mut rings = [0, 1].map(|_| Some(options().create_anonymous().unwrap()));
            let mut take = |number: usize| rings[number].take().unwrap();
            let lead = Fork::new(|| {
                let mut out = take(0).into_producer().unwrap();
                let mut back = take(1).into_consumer().unwrap();
                let (mut random, mut places) = (Rng::with_seed(1), Places::new(0));
                for round in 0.. {
                    places.at(round);
                    out.write_all(&[round as u8]).unwrap();
                    tally.set(0, out.stats().wakes);
                    pause(&mut random);
                    back.set_wait_policy(policy(&mut random));
                    let mut reply = [0];
                    back.read_exact(&mut reply).unwrap();
                    assert_eq!(reply, [round as u8]);
                    pause(&mut random);
                    if tally.sum() >= quota {
                        return;
                    }
                }
            });
            let follow = Fork::new(|| {
                let mut inward = take(0).into_consumer().unwrap();
                let mut out = take(1).into_producer().unwrap();
                let (mut random, mut places) = (Rng::with_seed(2), Places::new(1));
                for round in 0.. {
                    places.at(round);
                    let mut byte = [0];
                    inward.set_wait_policy(policy(&mut random));
                    if inward.read(&mut byte).unwrap() == 0 {
                        return;
                    }
                    pause(&mut random);
                    out.write_all(&byte).unwrap();
                    tally.set(1, out.stats().wakes);
                    pause(&mut random);
                }
            });
            watch("wakes, to and fro", &tally, [lead, follow]);
            assert!(tally.sum() >= quota);
        },
    );
}

/// Two rings, one byte to and fro: each side waits awake for long enough to
/// promise a barrier, so that its peer leaves out its fence, and parks then.
#[test]
fn a_promise_loses_no_wake() {
    /// Rounds from one park to the next: enough for a promise.
    const CYCLE: u64 = 24;
    const AWAKE: WaitPolicy = WaitPolicy::SpinThenPark(Duration::from_millis(1));
    let policy = |round: u64, parks: u64| match round % CYCLE == parks {
        true => WaitPolicy::Park,
        false => AWAKE,
    };
    alone("parking::to_and_fro::a_promise_loses_no_wake", || {
        set_slice(SLICE);
        let (tally, quota) = (Tally::new(), parks() / 10);
        let mut rings = [0, 1].map(|_| Some(options().create_anonymous().unwrap()));
        let mut take = |number: usize| rings[number].take().unwrap();
        let all = allowed_cpus();
        let lead = Fork::new(|| {
            let _ = pin_to(&all[..1]);
            let mut out = take(0).into_producer().unwrap();
            let mut back = take(1).into_consumer().unwrap();
            let mut random = Rng::with_seed(7);
            for round in 0.. {
                if round % CYCLE == CYCLE / 2 {
                    pause(&mut random); // the other parks
                }
                out.write_all(&[round as u8]).unwrap();
                tally.set(0, out.stats().wakes);
                back.set_wait_policy(policy(round, 0));
                let mut reply = [0];
                back.read_exact(&mut reply).unwrap();
                assert_eq!(reply, [round as u8]);
                if tally.sum() >= quota {
                    return;
                }
            }
        });
        let follow = Fork::new(|| {
            let _ = pin_to(&all[all.len() - 1..]);
            let mut inward = take(0).into_consumer().unwrap();
            let mut out = take(1).into_producer().unwrap();
            let mut random = Rng::with_seed(8);
            for round in 0.. {
                let mut byte = [0];
                inward.set_wait_policy(policy(round, CYCLE / 2));
                if inward.read(&mut byte).unwrap() == 0 {
                    return;
                }
                if round % CYCLE == 0 {
                    pause(&mut random); // as above
                }
                out.write_all(&byte).unwrap();
                tally.set(1, out.stats().wakes);
            }
        });
        watch("wakes after a promise", &tally, [lead, follow]);
        assert!(tally.sum() >= quota);
    });
}
