//! A hostile peer as a sequence that can be repeated, by proptest: any words in the header,
//! before a ring is attached and between any two calls.

use std::cell::RefCell;
use std::sync::atomic::Ordering;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use shmpipe::Options;
use shmpipe::error::Rule;

use crate::attacker::{HEADER, OWNERS, POSITIONS, Prey, SIGNALS, STATE};
use crate::bodies::calls::Call;
use crate::opening::judge;
use crate::outcomes::Outcomes;
use crate::victim::{CONSUMERS, LIMIT, MOST, PRODUCERS, call_consumer, call_producer};

/// A word to be stored.
#[derive(Clone, Copy, Debug)]
enum Value {
    Is(u64),
    /// The word that is there, moved.
    Plus(u64),
    /// A position, so far behind or before the other side's.
    Apart(u64),
}

#[derive(Clone, Debug)]
enum Act {
    Store { offset: usize, value: Value },
    StoreHalf { offset: usize, value: u32 },
    Produce(Call),
    Consume(Call),
}

fn edge() -> impl Strategy<Value = u64> {
    let edges = vec![0, 4096, 1 << 16, 1 << 32, 1 << 63, u64::MAX];
    (prop::sample::select(edges), 0..5_u64)
        .prop_map(|(edge, by)| edge.wrapping_add(by).wrapping_sub(2))
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u64>().prop_map(Value::Is),
        edge().prop_map(Value::Is),
        edge().prop_map(Value::Plus),
        (0..5_u64).prop_map(|by| Value::Plus(by.wrapping_sub(2))),
        (0..4097_u64).prop_map(Value::Apart),
    ]
}

fn store() -> impl Strategy<Value = Act> {
    let words = [POSITIONS, OWNERS, [STATE; 2]].concat();
    let halves = SIGNALS.map(|signals| [0, 4, 8, 12, 16, 24, 32, 40].map(|at| signals + at));
    let closed = prop_oneof![0..4_u32, 0x100..0x104_u32, any::<u32>()];
    prop_oneof![
        (prop::sample::select(words), value())
            .prop_map(|(offset, value)| Act::Store { offset, value }),
        (prop::sample::select(halves.concat()), closed)
            .prop_map(|(offset, value)| Act::StoreHalf { offset, value }),
        (0..HEADER / 8, value()).prop_map(|(word, value)| Act::Store {
            offset: 8 * word,
            value
        }),
    ]
}

fn call(calls: &'static [fn(usize, usize) -> Call]) -> impl Strategy<Value = Call> {
    let len = || prop_oneof![0..300_usize, 0..=MOST];
    (prop::sample::select(calls), len(), len()).prop_map(|(call, len, part)| call(len, part))
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        1 => store(),
        3 => call(&PRODUCERS).prop_map(Act::Produce),
        3 => call(&CONSUMERS).prop_map(Act::Consume),
    ]
}

fn apply(prey: &Prey, act: &Act) {
    match *act {
        Act::Store { offset, value } => {
            let word = prey.word(offset);
            let of = |offset| prey.word(offset).load(Ordering::Relaxed);
            let value = match value {
                Value::Is(value) => value,
                Value::Plus(by) => of(offset).wrapping_add(by),
                Value::Apart(by) if offset == POSITIONS[0] => of(POSITIONS[1]).wrapping_add(by),
                Value::Apart(by) => of(POSITIONS[0]).wrapping_sub(by),
            };
            word.store(value, Ordering::Relaxed);
        }
        Act::StoreHalf { offset, value } => prey.half(offset).store(value, Ordering::Relaxed),
        Act::Produce(_) | Act::Consume(_) => unreachable!("no store"),
    }
}

fn run(before: &[Act], acts: &[Act], seen: &mut Outcomes) {
    let mut options = Options::new();
    options.capacity(4096).timeout(Some(LIMIT / 10));
    let ring = options.create_anonymous().unwrap();
    let id = ring.id().unwrap();
    let prey = Prey::new(id).unwrap();
    before.iter().for_each(|store| apply(&prey, store));
    let mut producer = match options.attach(id).and_then(|ring| ring.into_producer()) {
        Ok(producer) => Some(producer),
        Err(error) => return judge(seen, "attach", Err(error)),
    };
    let mut consumer = match options.attach(id).and_then(|ring| ring.into_consumer()) {
        Ok(consumer) => Some(consumer),
        Err(error) => return judge(seen, "attach", Err(error)),
    };
    judge(seen, "attach", Ok(()));
    for act in acts {
        match act {
            Act::Produce(call) => {
                let verdict = producer.as_mut().map(|end| call_producer(end, call, seen));
                if let Some(Some(_)) = verdict {
                    producer = None;
                }
            }
            Act::Consume(call) => {
                let verdict = consumer.as_mut().map(|end| call_consumer(end, call, seen));
                if let Some(Some(_)) = verdict {
                    consumer = None;
                }
            }
            store => apply(&prey, store),
        }
    }
}

#[test]
fn any_words_at_any_time() {
    let seen = RefCell::new(Outcomes::default());
    let config = ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let sequence = (vec(store(), 0..3), vec(act(), 1..60));
    TestRunner::new(config)
        .run(&sequence, |(before, acts)| {
            run(&before, &acts, &mut seen.borrow_mut());
            Ok(())
        })
        .unwrap();
    let seen = seen.into_inner();
    println!("any words at any time: {seen:#?}");
    for what in [
        "attach: opened",
        "attach: not a ring",
        "data",
        "would block",
        "timed out",
    ] {
        assert!(seen.of(what) > 0, "{what}: never");
    }
    let rules = |rules: &[Rule]| -> u64 {
        let named = rules.iter().map(|rule| format!("corrupted: {rule:?}"));
        named.map(|what| seen.of(&what)).sum()
    };
    for some in [
        [Rule::TailOutOfRange, Rule::HeadOutOfRange].as_slice(),
        &[Rule::TailMovedBack, Rule::HeadMovedBack],
        &[Rule::ClosedWord],
        &[Rule::OwnRole],
    ] {
        assert!(rules(some) > 0, "{some:?}: never");
    }
}
