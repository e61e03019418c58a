//! A model of the handshake between a sleeper and a waker (`src/wait/mod.rs`, P5), with the
//! sleeper's promise of a `membarrier(2)` instead of the waker's fence. The machine has
//! store buffers, and the test visits every state. The model checker of `tests/loom.rs`
//! knows no such barrier.
//!
//! Each processor keeps its stores in a buffer. Its own loads see them, and each store
//! reaches the memory some time later. A fence empties the own buffer. A `membarrier`
//! empties the own buffer, then that of the other processor if it has registered, then the
//! own again. A sleeper sleeps if the word has the expected value, in one step, as in the
//! kernel. It may return for no reason. Loads are not reordered, since they are acquire
//! loads.
//!
//! The test has two such machines: see [`Stores`].
//!
//! This file has more than 450 lines because it is one model: machine, sleeper, waker, and the
//! faults that it must find.

use std::collections::HashSet;

/// The words of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Word {
    Tail,
    Sleeping,
}

/// What `Sleeping` says.
const AWAKE: u8 = 0;
const ASLEEP: u8 = 1;
const PROMISED: u8 = 2;

/// What a processor does. Jumps go by the last value that was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Store(Word, u8),
    Load(Word),
    Swap(Word, u8),
    /// Stores the second value if the first one is there.
    CompareSwap(Word, u8, u8),
    Fence,
    /// The part of a `membarrier` that the other processor notices.
    Interrupt,
    JumpIfAtLeast(u8, usize),
    JumpIf(u8, usize),
    JumpUnless(u8, usize),
    /// Jumps or not.
    Either(usize),
    Jump(usize),
    /// Sleeps if `Sleeping` has this value, or returns.
    FutexWait(u8),
    FutexWake,
}

/// A store that has not reached the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Stored {
    word: Word,
    value: u8,
    /// Part of a swap: nobody else changes the word before it is there.
    exclusive: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Processor {
    at: usize,
    value: u8,
    asleep: bool,
    buffer: Vec<Stored>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Machine {
    memory: [u8; 2],
    processors: [Processor; 2],
}

/// The two machines: how the stores of one processor reach the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stores {
    /// In the order of the program, and a swap empties the buffer: x86-64.
    InOrder,
    /// For each word in the order of the program; what a swap stores goes
    /// through the buffer, and later loads overtake it.
    InOrderByWord,
}

impl Machine {
    fn drain(&mut self, who: usize) {
        for stored in std::mem::take(&mut self.processors[who].buffer) {
            self.memory[stored.word as usize] = stored.value;
        }
    }

    /// What `who` sees in `word`.
    fn load(&self, who: usize, word: Word) -> u8 {
        let mut newest = self.processors[who].buffer.iter().rev();
        let own = newest.find(|stored| stored.word == word);
        own.map_or(self.memory[word as usize], |stored| stored.value)
    }

    /// Whether the other one is in the middle of a swap of `word`.
    fn is_taken(&self, who: usize, word: Word) -> bool {
        let mut others = self.processors[1 - who].buffer.iter();
        others.any(|stored| stored.exclusive && stored.word == word)
    }

    /// Swaps `word`; `false` if that has to wait.
    fn swap(&mut self, who: usize, word: Word, value: u8, stores: Stores) -> bool {
        if stores == Stores::InOrder {
            self.drain(who);
            self.memory[word as usize] = value;
            return true;
        }
        let own = &mut self.processors[who].buffer;
        let is_first = own.iter().all(|stored| stored.word != word);
        own.push(Stored {
            word,
            value,
            exclusive: true,
        });
        is_first && !self.is_taken(who, word)
    }

    /// The machines after the next thing that `who` does: none if that has to
    /// wait.
    fn step(mut self, who: usize, op: Op, registered: bool, stores: Stores) -> Vec<Machine> {
        let value = self.processors[who].value;
        self.processors[who].at += 1;
        match op {
            Op::Store(word, value) => self.processors[who].buffer.push(Stored {
                word,
                value,
                exclusive: false,
            }),
            Op::Load(word) => self.processors[who].value = self.load(who, word),
            Op::Swap(word, value) => {
                self.processors[who].value = self.load(who, word);
                if !self.swap(who, word, value, stores) {
                    return Vec::new();
                }
            }
            Op::CompareSwap(word, old, new) => {
                let found = self.load(who, word);
                self.processors[who].value = found;
                if found == old && !self.swap(who, word, new, stores) {
                    return Vec::new();
                }
            }
            Op::Fence => self.drain(who),
            Op::Interrupt if registered => self.drain(1 - who),
            Op::Interrupt => {}
            Op::JumpIfAtLeast(least, to) if value >= least => self.processors[who].at = to,
            Op::JumpIf(wanted, to) if value == wanted => self.processors[who].at = to,
            Op::JumpUnless(wanted, to) if value != wanted => self.processors[who].at = to,
            Op::JumpIfAtLeast(..) | Op::JumpIf(..) | Op::JumpUnless(..) => {}
            Op::Jump(to) => self.processors[who].at = to,
            Op::Either(to) => {
                let mut other = self.clone();
                other.processors[who].at = to;
                return vec![self, other];
            }
            Op::FutexWait(expected) => {
                // The kernel orders the compare after what the caller stored.
                self.drain(who);
                let mut other = self.clone();
                other.processors[who].asleep = self.memory[Word::Sleeping as usize] == expected;
                return vec![self, other];
            }
            Op::FutexWake => {
                self.drain(who);
                self.processors[1 - who].asleep = false;
            }
        }
        vec![self]
    }

    /// Everything that can happen next.
    fn successors(&self, pair: &Pair, stores: Stores) -> Vec<Machine> {
        let mut all = Vec::new();
        for (who, program) in [&pair.sleeper, &pair.waker].into_iter().enumerate() {
            let processor = &self.processors[who];
            if !processor.asleep && processor.at < program.len() {
                let op = program[processor.at];
                all.extend(self.clone().step(who, op, pair.registered, stores));
            }
            for (nth, stored) in processor.buffer.iter().enumerate() {
                let before = &processor.buffer[..nth];
                let must_wait = match stores {
                    Stores::InOrder => nth > 0,
                    Stores::InOrderByWord => {
                        before.iter().any(|other| other.word == stored.word)
                            || self.is_taken(who, stored.word)
                    }
                };
                if !must_wait {
                    let mut next = self.clone();
                    next.memory[stored.word as usize] = stored.value;
                    next.processors[who].buffer.remove(nth);
                    all.push(next);
                }
            }
        }
        all
    }
}

/// What the two sides do.
#[derive(Clone, Debug)]
struct Pair {
    /// What `Sleeping` says at first.
    sleeping: u8,
    sleeper: Vec<Op>,
    waker: Vec<Op>,
    /// Whether the barriers of others reach the waker.
    registered: bool,
}

/// What exploring has found.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    states: usize,
    ends: usize,
    /// States in which the sleeper sleeps: a wait that never does loses nothing.
    asleep: usize,
    /// A sleeper that nobody will wake.
    lost: bool,
}

/// Visits every state that the machine can be in.
fn explore(pair: &Pair, stores: Stores) -> Found {
    let mut start = Machine::default();
    start.memory[Word::Sleeping as usize] = pair.sleeping;
    let mut seen = HashSet::from([start.clone()]);
    let mut rest = vec![start];
    let mut found = Found {
        states: 0,
        ends: 0,
        asleep: 0,
        lost: false,
    };
    while let Some(machine) = rest.pop() {
        let [sleeper, waker] = &machine.processors;
        found.states += 1;
        found.asleep += usize::from(sleeper.asleep);
        let next = machine.successors(pair, stores);
        if next.is_empty() {
            let is_done = sleeper.at == pair.sleeper.len() && waker.at == pair.waker.len();
            assert!(sleeper.asleep || is_done, "stuck: {machine:?}");
            found.lost |= sleeper.asleep;
            found.ends += 1;
        }
        rest.extend(next.into_iter().filter(|next| seen.insert(next.clone())));
    }
    found
}

/// Which machine loses a wake-up: that of [`Stores::InOrder`], the other one.
fn loses(pair: &Pair) -> [bool; 2] {
    [Stores::InOrder, Stores::InOrderByWord].map(|stores| {
        let found = explore(pair, stores);
        println!("{stores:?}: {found:?}");
        assert!(
            found.states > 1000 && found.ends > 0 && found.asleep > 0,
            "{found:?} is no exploration"
        );
        found.lost
    })
}

const NEITHER: [bool; 2] = [false, false];
const BOTH: [bool; 2] = [true, true];
/// A swap is a fence on the other.
const BY_WORD: [bool; 2] = [false, true];

/// Bytes that are waited for, one after the other.
const ROUNDS: u8 = 3;

const MEMBARRIER: &[Op] = &[Op::Fence, Op::Interrupt, Op::Fence];

/// `wait::wait`, its parts to be left out.
#[derive(Clone, Copy, Debug)]
struct Sleeper<'a> {
    /// Whether it promises, at any time or never: `Effort::stayed_awake`.
    promises: bool,
    /// What it does before it announces a sleep.
    first: &'a [Op],
    /// What it does when a promise stood.
    kept: &'a [Op],
    /// What it does in any case, before it looks.
    fence: &'a [Op],
}

/// As it is.
const SLEEPER: Sleeper<'_> = Sleeper {
    promises: true,
    first: &[],
    kept: MEMBARRIER,
    fence: &[Op::Fence],
};
const NO_PROMISE: Sleeper<'_> = Sleeper {
    promises: false,
    ..SLEEPER
};

impl Sleeper<'_> {
    fn program(self) -> Vec<Op> {
        let mut program = Vec::new();
        for byte in 1..=ROUNDS {
            if self.promises {
                program.push(Op::Either(program.len() + 2));
                program.push(Op::Store(Word::Sleeping, PROMISED));
            }
            let top = program.len();
            program.extend(self.first);
            program.push(Op::Swap(Word::Sleeping, ASLEEP));
            program.push(Op::JumpUnless(
                PROMISED,
                program.len() + 1 + self.kept.len(),
            ));
            program.extend(self.kept);
            program.extend(self.fence);
            program.push(Op::Load(Word::Tail));
            program.push(Op::JumpIfAtLeast(byte, program.len() + 2));
            program.push(Op::FutexWait(ASLEEP));
            program.push(Op::Swap(Word::Sleeping, AWAKE));
            program.push(Op::Load(Word::Tail));
            program.push(Op::JumpIfAtLeast(byte, program.len() + 2));
            program.push(Op::Jump(top));
        }
        program
    }

    /// Its program with another waker.
    fn with(self, waker: Vec<Op>, registered: bool) -> Pair {
        Pair {
            sleeping: AWAKE,
            sleeper: self.program(),
            waker,
            registered,
        }
    }
}

/// `Writer::publish` and `Effort::wake`, for each of the bytes. `trusts` is
/// that the waker takes a promise for its fence, which is `fence`.
fn waker(trusts: bool, fence: &[Op]) -> Vec<Op> {
    let mut program = Vec::new();
    for byte in 1..=ROUNDS {
        program.push(Op::Store(Word::Tail, byte));
        let next = program.len() + if trusts { 2 } else { 0 } + fence.len() + 4;
        if trusts {
            program.push(Op::Load(Word::Sleeping));
            program.push(Op::JumpIf(PROMISED, next));
        }
        program.extend(fence);
        program.push(Op::Load(Word::Sleeping));
        wake(&mut program, next);
    }
    program
}

/// The rest of it, once `Sleeping` is loaded.
fn wake(program: &mut Vec<Op>, next: usize) {
    program.push(Op::JumpUnless(ASLEEP, next));
    let swap = Op::CompareSwap(Word::Sleeping, ASLEEP, AWAKE);
    program.extend([swap, Op::JumpUnless(ASLEEP, next), Op::FutexWake]);
}

/// As they are.
fn registered_waker() -> Vec<Op> {
    waker(true, &[Op::Fence])
}
fn unregistered_waker() -> Vec<Op> {
    waker(false, &[Op::Fence])
}

#[test]
fn two_fences_lose_no_wake_up() {
    assert_eq!(
        loses(&NO_PROMISE.with(unregistered_waker(), false)),
        NEITHER
    );
    assert_eq!(loses(&NO_PROMISE.with(registered_waker(), true)), NEITHER);
}

#[test]
fn a_promise_stands_for_the_fence_of_a_registered_waker() {
    assert_eq!(loses(&SLEEPER.with(registered_waker(), true)), NEITHER);
}

#[test]
fn a_waker_that_is_not_registered_fences_whatever_it_reads() {
    assert_eq!(loses(&SLEEPER.with(unregistered_waker(), false)), NEITHER);
}

#[test]
fn a_waker_that_is_not_registered_must_not_trust_a_promise() {
    assert_eq!(loses(&SLEEPER.with(registered_waker(), false)), BOTH);
}

#[test]
fn without_the_fence_of_the_waker_a_wake_up_is_lost() {
    assert_eq!(loses(&NO_PROMISE.with(waker(false, &[]), false)), BOTH);
    assert_eq!(loses(&SLEEPER.with(waker(true, &[]), true)), BOTH);
}

#[test]
fn without_the_fence_of_the_sleeper_a_wake_up_is_lost() {
    for sleeper in [SLEEPER, NO_PROMISE] {
        let sleeper = Sleeper {
            fence: &[],
            ..sleeper
        };
        assert_eq!(loses(&sleeper.with(registered_waker(), true)), BY_WORD);
    }
}

/// Or with a refused barrier, for which slices are short.
#[test]
fn a_promise_that_is_not_kept_loses_a_wake_up() {
    let sleeper = Sleeper {
        kept: &[],
        ..SLEEPER
    };
    assert_eq!(loses(&sleeper.with(registered_waker(), true)), BOTH);
}

#[test]
fn half_a_membarrier_loses_a_wake_up() {
    let with = |kept| loses(&Sleeper { kept, ..SLEEPER }.with(registered_waker(), true));
    assert_eq!(with(&[Op::Fence]), BOTH);
    assert_eq!(with(&[Op::Interrupt]), BY_WORD);
    // The second fence orders loads, which these machines do not reorder.
    assert_eq!(with(&[Op::Fence, Op::Interrupt]), NEITHER);
}

/// The barrier must come after the word that ends the promise.
#[test]
fn a_barrier_before_the_promise_ends_loses_a_wake_up() {
    let sleeper = Sleeper {
        first: MEMBARRIER,
        kept: &[],
        ..SLEEPER
    };
    assert_eq!(loses(&sleeper.with(registered_waker(), true)), BOTH);
}

/// A sleeper that leaves its promise where it is and sleeps on it.
#[test]
fn a_promise_that_does_not_end_before_the_sleep_loses_a_wake_up() {
    let mut pair = SLEEPER.with(registered_waker(), true);
    for op in &mut pair.sleeper {
        *op = match *op {
            Op::Swap(word, ASLEEP) => Op::Swap(word, PROMISED),
            Op::FutexWait(ASLEEP) => Op::FutexWait(PROMISED),
            other => other,
        };
    }
    assert_eq!(loses(&pair), BOTH);
}

/// A waker that found no promise looks again behind its fence.
#[test]
fn a_waker_that_looks_once_loses_a_wake_up() {
    let mut pair = SLEEPER.with(registered_waker(), true);
    let is_behind = |at: &usize| pair.waker[at - 1] == Op::Fence;
    let behind: Vec<usize> = (1..pair.waker.len()).filter(is_behind).collect();
    assert_eq!(behind.len(), usize::from(ROUNDS));
    for at in behind {
        assert_eq!(pair.waker[at], Op::Load(Word::Sleeping));
        pair.waker[at] = Op::Jump(at + 1);
    }
    assert_eq!(loses(&pair), BOTH);
}

/// The compiler must not move the waker's load before its store: no barrier of
/// the sleeper's makes up for that.
#[test]
fn a_waker_that_looks_before_it_publishes_loses_a_wake_up() {
    let mut pair = SLEEPER.with(registered_waker(), true);
    for at in 1..pair.waker.len() {
        if matches!(pair.waker[at - 1], Op::Store(Word::Tail, _)) {
            pair.waker.swap(at - 1, at);
        }
    }
    assert_eq!(loses(&pair), BOTH);
}

/// A sleeper of no promise that comes after one who had promised, and takes
/// that back with `back` (`roles::claim_as`).
fn successor(back: &[Op]) -> Pair {
    let mut pair = NO_PROMISE.with(registered_waker(), true);
    let mut program = vec![Op::Swap(Word::Sleeping, AWAKE)];
    program.extend(back);
    let moved = program.len();
    program.extend(pair.sleeper.iter().map(|op| match *op {
        Op::JumpIfAtLeast(least, to) => Op::JumpIfAtLeast(least, to + moved),
        Op::JumpUnless(value, to) => Op::JumpUnless(value, to + moved),
        Op::Jump(to) => Op::Jump(to + moved),
        other => other,
    }));
    pair.sleeper = program;
    pair.sleeping = PROMISED;
    pair
}

#[test]
fn a_successor_takes_the_promise_back_by_a_barrier() {
    assert_eq!(loses(&successor(MEMBARRIER)), NEITHER);
    assert_eq!(loses(&successor(&[])), BOTH);
    assert_eq!(loses(&successor(&[Op::Fence])), BOTH);
}

/// A waker takes the role over from one who had registered, and has not itself.
#[test]
fn a_new_waker_fences_whatever_the_old_one_was_promised() {
    let mut pair = SLEEPER.with(unregistered_waker(), false);
    pair.sleeping = PROMISED;
    assert_eq!(loses(&pair), NEITHER);
}
