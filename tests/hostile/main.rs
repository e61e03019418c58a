//! A hostile process has the ring attached. It writes any values anywhere, wakes, stops,
//! and makes system calls on the segment. Our process must stream on, or report an error.
//! It must not fault or panic, write outside the ring, or return later than its limit.
//!
//! `SHMPIPE_HOSTILE=600` sets the duration in seconds, 10 by default. `-- --nocapture`
//! shows the results of the calls.
#![cfg(feature = "__failpoints")] // for the harness of the kill tests
#![allow(unsafe_code)] // writes to segments, maps pages

#[path = "../common/mod.rs"]
mod common;

mod attacker;
#[path = "../../fuzz/bodies/mod.rs"]
mod bodies;
mod ends;
mod memory;
mod model;
mod opening;
mod outcomes;
mod victim;

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use attacker::{Attack, attack_to_order};
use common::kill::own_namespace;
use common::maps::attachments;
use common::random::any;
use common::{End, Fork, TempPath, alone, asked_for, check, stream};
use fastrand::Rng;
use memory::Canaries;
use outcomes::{Outcomes, goes_on, timed};
use shmpipe::error::Rule;
use shmpipe::{Consumer, Options, Producer, sysv};

/// How long a stream is attacked. Other attacks take a part of it.
fn duration() -> Duration {
    Duration::from_secs(asked_for("SHMPIPE_HOSTILE").unwrap_or(10))
}

/// An attacker and the way to tell it what to attack.
struct Attacker {
    orders: io::PipeWriter,
    ready: io::PipeReader,
    process: Fork,
}

impl Attacker {
    fn new() -> Attacker {
        let (orders_in, orders) = io::pipe().unwrap();
        let (ready, ready_in) = io::pipe().unwrap();
        let process = Fork::new(|| attack_to_order(orders_in, ready_in));
        Attacker {
            orders,
            ready,
            process,
        }
    }

    /// Attacks `id` from now on.
    fn attack(&mut self, id: shmpipe::sysv::SegmentId, attack: usize, pause: i32) {
        let order = [id.raw(), attack as i32, pause].map(i32::to_ne_bytes);
        self.orders.write_all(&order.concat()).unwrap();
        self.ready.read_exact(&mut [0]).unwrap();
    }
}

/// Both ends of a ring, with a path if it is to outlive its streams, which end in it.
fn both_ends(options: &mut Options, path: Option<&TempPath>) -> (Producer, Consumer) {
    match path {
        Some(path) => {
            options.persistent(true);
            (
                options.open_producer(path).unwrap(),
                options.open_consumer(path).unwrap(),
            )
        }
        None => options.create_anonymous().unwrap().split().unwrap(),
    }
}

/// Streams until `stop` in two threads; says what came of it, each.
fn stream_until(
    stop: Instant,
    (producer, consumer): (Producer, Consumer),
    seeds: [u64; 2],
) -> [Outcomes; 2] {
    std::thread::scope(|scope| {
        let side = |seed| (Rng::with_seed(seed), Outcomes::default());
        let writing = scope.spawn(move || {
            let (mut random, mut outcomes) = side(seeds[0]);
            victim::write(producer, stop, &mut random, &mut outcomes);
            outcomes
        });
        let reading = scope.spawn(move || {
            let (mut random, mut outcomes) = side(seeds[1]);
            victim::read(consumer, stop, &mut random, &mut outcomes);
            outcomes
        });
        [writing.join().unwrap(), reading.join().unwrap()]
    })
}

/// Streams until `until` through one ring after the other, each attacked in
/// one way, the ends in two threads.
fn be_attacked(until: Instant, attacker: &mut Attacker) -> Outcomes {
    let mut random = Rng::with_seed(1);
    let mut outcomes = Outcomes::default();
    let mut round = 0;
    while goes_on(until, || missing(&outcomes).is_some()) {
        round += 1;
        let attack = round % Attack::ALL.len();
        let capacity = any(&mut random, &[4096, 65_536]);
        let pause = any(&mut random, &[0, 0, 20, 1000]);
        let path = (random.u64(..3) == 0).then(TempPath::new); // one in three
        let (mut producer, consumer) = both_ends(Options::new().capacity(capacity), path.as_ref());
        let id = producer.id().unwrap();
        let inside = producer.try_reserve_up_to(1).unwrap().as_mut_ptr();
        let canaries = Canaries::around(inside, round as u8 | 1);
        outcomes.add("rounds");
        *outcomes
            .0
            .entry("pages beside a ring".to_owned())
            .or_default() += canaries.pages();

        attacker.attack(id, attack, pause);
        let stop = Instant::now() + Duration::from_millis(20 + random.u64(..40));
        let seeds = [random.u64(..), random.u64(..)];
        let sides = stream_until(stop, (producer, consumer), seeds);
        canaries.check();
        if path.is_some() {
            // Whatever it has become; it may have been removed.
            let _ = sysv::remove(id);
        }
        for side in sides {
            if matches!(Attack::ALL[attack], Attack::Nothing | Attack::Payload) {
                let lies = side.0.keys().find(|what| what.starts_with("corrupted"));
                assert_eq!(lies, None, "nobody lied");
                assert_eq!(side.of("dead"), 0, "nobody died");
            }
            outcomes.merge(side);
        }
    }
    assert_eq!(attachments(), [], "attachments left behind");
    outcomes
}

/// What no call has come to, of what some are to come to.
fn missing(outcomes: &Outcomes) -> Option<String> {
    let corrupted = |rule: Rule| format!("corrupted: {rule:?}");
    let good = [
        "data",
        "would block",
        "timed out",
        "closed",
        "nothing",
        "looked",
    ];
    let lies = [
        Rule::TailOutOfRange,
        Rule::HeadOutOfRange,
        Rule::ClosedWord,
        Rule::OwnRole,
    ]
    .map(corrupted);
    let marks = [Rule::MarkCount, Rule::MarkOutOfRange, Rule::MarkEnding].map(corrupted);
    if marks.iter().all(|mark| outcomes.of(mark) == 0) {
        return Some("a mark that was lied about".to_owned());
    }
    let missing = outcomes.lack(&good).or(outcomes.lack(&lies));
    missing.map(str::to_owned)
}

#[test]
fn a_hostile_peer_harms_nobody() {
    alone("a_hostile_peer_harms_nobody", || {
        let isolated = own_namespace();
        let mut attacker = Attacker::new();
        let until = Instant::now() + duration();
        let mut victim = Fork::new(|| {
            let outcomes = be_attacked(until, &mut attacker);
            println!("under attack: {outcomes:#?}");
            assert_eq!(missing(&outcomes), None, "never");
            let (rounds, pages) = (outcomes.of("rounds"), outcomes.of("pages beside a ring"));
            assert!(pages >= rounds / 2, "{pages} pages beside {rounds} rings");
        });
        assert_eq!(victim.wait(), End::Exit(0), "the victim's end");
        assert!(attacker.process.is_running(), "nobody attacked");
        drop(attacker);
        common::kill::assert_no_segments(isolated);
    });
}

/// A peer that is stopped at any point holds nobody up for longer than asked,
/// and goes on where it was.
#[test]
fn a_stopped_peer_holds_nobody_up() {
    alone("a_stopped_peer_holds_nobody_up", || {
        let limit = Duration::from_millis(20);
        let until = Instant::now() + duration() / 10;
        let mut random = Rng::with_seed(2);
        let (mut moved, mut late) = (0_u64, 0_u64);
        let mut ring = Some(Options::new().capacity(4096).create_anonymous().unwrap());
        let peer = Fork::new(|| {
            let mut producer = ring.take().unwrap().into_producer().unwrap();
            loop {
                let bytes = stream(3, producer.position(), 1000);
                producer.write_all(&bytes).unwrap();
            }
        });
        let mut consumer = ring.take().unwrap().into_consumer().unwrap();
        consumer.set_timeout(Some(limit));
        let mut bytes = vec![0; 3000];
        while goes_on(until, || moved == 0 || late == 0) {
            let is_stopped = random.bool();
            if is_stopped {
                peer.signal(libc::SIGSTOP);
            }
            let calls = 1 + random.u64(..4);
            for _ in 0..calls {
                let position = consumer.position();
                match timed("a read", limit, || consumer.read(&mut bytes)) {
                    Ok(len) => {
                        check(3, position, &bytes[..len]);
                        moved += len as u64;
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
                        late += 1;
                    }
                }
                timed("a check", Duration::ZERO, || consumer.check_peer()).unwrap();
            }
            if is_stopped {
                peer.signal(libc::SIGCONT);
            }
        }
        println!("beside a stopped peer: {moved} bytes, {late} calls timed out");
        assert!(moved > 0 && late > 0, "{moved} bytes, {late} late");
        peer.signal(libc::SIGSTOP); // and leaving does not wait for it either
        timed("a drop", Duration::ZERO, || drop(consumer));
    });
}
