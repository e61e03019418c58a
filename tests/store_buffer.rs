//! The handshake of a sleeper and a publisher (`src/wait.rs`, P5) on a machine
//! with store buffers, in every order: with a fence on both sides, and with a
//! `membarrier(2)` on the sleeper's side in place of the publisher's fence. The
//! model checker of `tests/loom.rs` knows no such barrier.
//!
//! The machine: each processor keeps its stores in a buffer, its own loads see
//! them, and each store reaches the memory some time later; those to one word
//! in order, those to two words in order too (x86-64) or not. A fence empties
//! the own buffer, a swap too. A `membarrier` empties the own buffer, then that
//! of every other processor, one at a time, then the own. A sleeper sleeps if
//! the word has the value it expects, in one step, as the kernel does. Loads
//! are not reordered here: that the acquire loads keep.

use std::collections::HashSet;

/// The words of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Word {
    Tail,
    Sleeping,
}

/// What a processor does. Jumps go by the last value that was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Store(Word, u8),
    Load(Word),
    Swap(Word, u8),
    Fence,
    /// The part of a `membarrier` that the other processor notices.
    Interrupt,
    JumpIfAtLeast(u8, usize),
    JumpIfZero(usize),
    Jump(usize),
    /// Sleeps if `Sleeping` is 1.
    FutexWait,
    FutexWake,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Processor {
    at: usize,
    value: u8,
    asleep: bool,
    buffer: Vec<(Word, u8)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Machine {
    memory: [u8; 2],
    processors: [Processor; 2],
}

/// In which order the stores of one processor reach the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stores {
    /// That of the program.
    InOrder,
    /// That of the program for each word.
    InOrderByWord,
}

impl Machine {
    fn drain(&mut self, who: usize) {
        for (word, value) in std::mem::take(&mut self.processors[who].buffer) {
            self.memory[word as usize] = value;
        }
    }

    /// What `who` sees in `word`.
    fn load(&self, who: usize, word: Word) -> u8 {
        let own = self.processors[who].buffer.iter().rev();
        let newest = own.clone().find(|(stored, _)| *stored == word);
        newest.map_or(self.memory[word as usize], |(_, value)| *value)
    }

    /// Does the next thing that `who` has to do.
    fn step(&mut self, who: usize, op: Op) {
        self.processors[who].at += 1;
        let value = self.processors[who].value;
        match op {
            Op::Store(word, value) => self.processors[who].buffer.push((word, value)),
            Op::Load(word) => self.processors[who].value = self.load(who, word),
            Op::Swap(word, value) => {
                self.drain(who);
                let before = std::mem::replace(&mut self.memory[word as usize], value);
                self.processors[who].value = before;
            }
            Op::Fence => self.drain(who),
            Op::Interrupt => self.drain(1 - who),
            Op::JumpIfAtLeast(least, to) if value >= least => self.processors[who].at = to,
            Op::JumpIfZero(to) if value == 0 => self.processors[who].at = to,
            Op::JumpIfAtLeast(..) | Op::JumpIfZero(_) => {}
            Op::Jump(to) => self.processors[who].at = to,
            Op::FutexWait => {
                // The kernel orders the compare after what the caller stored.
                self.drain(who);
                self.processors[who].asleep = self.memory[Word::Sleeping as usize] == 1;
            }
            Op::FutexWake => {
                self.drain(who);
                self.processors[1 - who].asleep = false;
            }
        }
    }

    /// Everything that can happen next.
    fn successors(&self, programs: [&[Op]; 2], stores: Stores) -> Vec<Machine> {
        let mut all = Vec::new();
        for (who, program) in programs.iter().enumerate() {
            let processor = &self.processors[who];
            if !processor.asleep && processor.at < program.len() {
                let mut next = self.clone();
                next.step(who, program[processor.at]);
                all.push(next);
            }
            for (nth, (word, value)) in processor.buffer.iter().enumerate() {
                let before = &processor.buffer[..nth];
                let must_wait = match stores {
                    Stores::InOrder => nth > 0,
                    Stores::InOrderByWord => before.iter().any(|(other, _)| other == word),
                };
                if !must_wait {
                    let mut next = self.clone();
                    next.memory[*word as usize] = *value;
                    next.processors[who].buffer.remove(nth);
                    all.push(next);
                }
            }
        }
        all
    }
}

/// What exploring has found.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    states: usize,
    ends: usize,
    /// A sleeper that nobody will wake.
    lost: bool,
}

/// Visits every state that the machine can be in.
fn explore(sleeper: &[Op], publisher: &[Op], stores: Stores) -> Found {
    let programs = [sleeper, publisher];
    let mut seen = HashSet::from([Machine::default()]);
    let mut rest = vec![Machine::default()];
    let mut found = Found {
        states: 0,
        ends: 0,
        lost: false,
    };
    while let Some(machine) = rest.pop() {
        found.states += 1;
        let next = machine.successors(programs, stores);
        if next.is_empty() {
            let done = |who: usize| machine.processors[who].at == programs[who].len();
            match machine.processors[0].asleep {
                true => found.lost = true,
                false => assert!(done(0) && done(1), "stuck: {machine:?}"),
            }
            found.ends += 1;
        }
        rest.extend(next.into_iter().filter(|next| seen.insert(next.clone())));
    }
    found
}

/// Bytes that are waited for, one after the other.
const ROUNDS: u8 = 3;

/// What stands between the store and the load of a side.
type Between = &'static [Op];
const NOTHING: Between = &[];
const FENCE: Between = &[Op::Fence];
const MEMBARRIER: Between = &[Op::Fence, Op::Interrupt, Op::Fence];

/// `wait::wait`, for each of the bytes.
fn sleeper(between: Between) -> Vec<Op> {
    let mut program = Vec::new();
    for byte in 1..=ROUNDS {
        let top = program.len();
        let awake = top + 1 + between.len() + 3;
        program.push(Op::Store(Word::Sleeping, 1));
        program.extend(between);
        program.push(Op::Load(Word::Tail));
        program.push(Op::JumpIfAtLeast(byte, awake));
        program.push(Op::FutexWait);
        program.push(Op::Swap(Word::Sleeping, 0));
        program.push(Op::Load(Word::Tail));
        program.push(Op::JumpIfAtLeast(byte, awake + 4));
        program.push(Op::Jump(top));
    }
    program
}

/// `Writer::publish` and `wait::wake`, for each of the bytes.
fn publisher(between: Between) -> Vec<Op> {
    let mut program = Vec::new();
    for byte in 1..=ROUNDS {
        program.push(Op::Store(Word::Tail, byte));
        program.extend(between);
        look_and_wake(&mut program);
    }
    program
}

fn look_and_wake(program: &mut Vec<Op>) {
    let next = program.len() + 5;
    program.push(Op::Load(Word::Sleeping));
    program.push(Op::JumpIfZero(next));
    program.push(Op::Swap(Word::Sleeping, 0));
    program.push(Op::JumpIfZero(next));
    program.push(Op::FutexWake);
}

/// What is found with this between the store and the load of either side, the
/// same on both machines.
fn loses(sleeps: Between, publishes: Between) -> bool {
    let [one, other] = [Stores::InOrder, Stores::InOrderByWord].map(|stores| {
        let found = explore(&sleeper(sleeps), &publisher(publishes), stores);
        println!("{sleeps:?}, {publishes:?}, {stores:?}: {found:?}");
        assert!(
            found.states > 100 && found.ends > 0,
            "{found:?} is no exploration"
        );
        found.lost
    });
    assert_eq!(one, other);
    one
}

#[test]
fn two_fences_lose_no_wake_up() {
    assert!(!loses(FENCE, FENCE));
}

#[test]
fn a_membarrier_stands_for_the_fence_of_the_publisher() {
    assert!(!loses(MEMBARRIER, NOTHING));
}

/// A publisher that has not learnt yet that the sleeper calls `membarrier`.
#[test]
fn a_membarrier_and_a_fence_lose_no_wake_up() {
    assert!(!loses(MEMBARRIER, FENCE));
}

#[test]
fn without_either_fence_a_wake_up_is_lost() {
    assert!(loses(NOTHING, NOTHING));
    assert!(loses(FENCE, NOTHING));
    assert!(loses(NOTHING, FENCE));
}

/// Each of the two fences that the call is, for its caller, and the interrupt
/// in between, alone.
#[test]
fn half_a_membarrier_loses_a_wake_up() {
    assert!(loses(&[Op::Interrupt, Op::Fence], NOTHING));
    assert!(loses(&[Op::Interrupt], NOTHING));
    // The second fence orders loads, which this machine does not reorder.
    assert!(!loses(&[Op::Fence, Op::Interrupt], NOTHING));
}

/// The compiler must not move the publisher's load before its store: no
/// barrier of the sleeper's makes up for that.
#[test]
fn a_publisher_that_looks_before_it_publishes_loses_a_wake_up() {
    let mut program = Vec::new();
    for byte in 1..=ROUNDS {
        // The load is done, and its value is used only after the store.
        program.push(Op::Load(Word::Sleeping));
        program.push(Op::Store(Word::Tail, byte));
        let mut rest = Vec::new();
        look_and_wake(&mut rest);
        let first = program.len();
        program.extend(rest[1..].iter().map(|op| match op {
            Op::JumpIfZero(to) => Op::JumpIfZero(to - 1 + first),
            other => *other,
        }));
    }
    let found = explore(&sleeper(MEMBARRIER), &program, Stores::InOrder);
    assert!(found.lost, "{found:?}");
}
