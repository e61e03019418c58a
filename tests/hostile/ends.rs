//! Rings that persist under attack: producers and consumers come and go, and
//! somebody forges the ends of their streams.

use std::time::{Duration, Instant};

use shmpipe::Options;
use shmpipe::error::Rule;

use crate::attacker::Attack;
use crate::common::maps::attachments;
use crate::common::random::any;
use crate::common::{End, Fork, TempPath, alone, kill};
use crate::opening::judge;
use crate::outcomes::{Outcomes, goes_on, timed};
use crate::victim::{self, LIMIT};
use crate::{Attacker, duration, own_namespace};
use fastrand::Rng;

/// The attacks that have to do with ends, and none.
const ATTACKS: [Attack; 5] = [
    Attack::Nothing,
    Attack::Ends,
    Attack::Ends,
    Attack::Plausible,
    Attack::Flicker,
];

/// One producer after the other, or one consumer, for some calls each.
fn in_turn(
    what: &str,
    until: Instant,
    seed: u64,
    mut open: impl FnMut(Instant, &mut Rng, &mut Outcomes) -> Result<(), shmpipe::OpenError>,
) -> Outcomes {
    let mut random = Rng::with_seed(seed);
    let mut outcomes = Outcomes::default();
    while Instant::now() < until {
        let stop = Instant::now() + Duration::from_micros(random.u64(..3000));
        let opened = open(stop, &mut random, &mut outcomes);
        judge(&mut outcomes, what, opened);
    }
    outcomes
}

fn be_attacked(until: Instant, attacker: &mut Attacker) -> Outcomes {
    let wanted = wanted();
    let path = TempPath::new();
    let mut random = Rng::with_seed(4);
    let mut outcomes = Outcomes::default();
    let mut round = 0;
    while goes_on(until, || outcomes.lack(&wanted).is_some()) {
        round += 1;
        let attack = ATTACKS[round % ATTACKS.len()];
        let mut options = Options::new();
        options.persistent(true).capacity(4096).timeout(Some(LIMIT));
        options.resume(random.u64(..3) == 0);
        options.require_consumer(random.bool());
        drop(options.open_producer(&path).unwrap());
        let id = path.segment().unwrap();
        let number = Attack::ALL.iter().position(|&other| other == attack);
        let pause = any(&mut random, &[0, 0, 20, 300]);
        attacker.attack(id, number.unwrap(), pause);
        let stop = Instant::now() + Duration::from_millis(20 + random.u64(..60));
        let seeds = [random.u64(..), random.u64(..)];
        let (path, options) = (&path, &options);
        let sides = std::thread::scope(|scope| {
            let writing = scope.spawn(move || {
                in_turn("a producer", stop, seeds[0], |stop, random, outcomes| {
                    let producer = timed("opening", LIMIT, || options.open_producer(path))?;
                    victim::write(producer, stop, random, outcomes);
                    Ok(())
                })
            });
            let reading = scope.spawn(move || {
                in_turn("a consumer", stop, seeds[1], |stop, random, outcomes| {
                    let consumer = timed("opening", LIMIT, || options.open_consumer(path))?;
                    victim::read(consumer, stop, random, outcomes);
                    Ok(())
                })
            });
            [writing.join().unwrap(), reading.join().unwrap()]
        });
        for side in sides {
            if attack == Attack::Nothing {
                let lies = side.0.keys().find(|what| what.contains("corrupted"));
                assert_eq!(lies, None, "nobody lied");
                assert_eq!(side.of("dead"), 0, "nobody died");
            }
            outcomes.merge(side);
        }
        if let Some(id) = path.segment() {
            shmpipe::sysv::remove(id).unwrap();
        }
    }
    assert_eq!(attachments(), [], "attachments left behind");
    outcomes
}

/// What forged ends are found out by.
const LIES: [Rule; 3] = [Rule::MarkOutOfRange, Rule::MarkEnding, Rule::MarkCount];

/// What the calls are to come to.
fn wanted() -> Vec<String> {
    let good = [
        "a producer: opened",
        "a consumer: opened",
        "data",
        "closed",
        "nothing",
        "next stream",
    ];
    let lies = LIES.map(|rule| format!("corrupted: {rule:?}"));
    good.map(str::to_owned).into_iter().chain(lies).collect()
}

#[test]
fn forged_ends_harm_nobody() {
    alone("ends::forged_ends_harm_nobody", || {
        let isolated = own_namespace();
        let mut attacker = Attacker::new();
        let until = Instant::now() + duration() * 3 / 10;
        let mut victim = Fork::new(|| {
            let outcomes = be_attacked(until, &mut attacker);
            println!("under forged ends: {outcomes:#?}");
            assert_eq!(outcomes.lack(&wanted()), None, "never");
        });
        assert_eq!(victim.wait(), End::Exit(0), "the victim's end");
        assert!(attacker.process.is_running(), "nobody attacked");
        drop(attacker);
        kill::assert_no_segments(isolated);
    });
}
