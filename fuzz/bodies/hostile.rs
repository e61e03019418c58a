//! Calls on both ends of a ring, interleaved with a stranger's stores to it.

use std::time::{Duration, Instant};

use shmpipe::error::Corruption;
use shmpipe::{Broken, Consumer, Options, Producer, Role, WaitPolicy};

use super::calls::{Call, Files, Means, consume, produce};
use super::memory::{CLAIMS, COUNTS, HEAD, HEADER, MARKS, Memory, RING, SLOTS, TAIL};
use super::tape::Tape;

/// The most calls and stores of one input, so that no input takes long.
const MOST_STEPS: usize = 200;
/// The longest transfer: four parts, each a little longer than the largest ring here.
const MOST: usize = 4 * (4096 + 3);

/// Tape: a ring, stores before the roles are taken, then calls and stores in turns.
pub(crate) fn run(bytes: &[u8]) {
    let _ = try_run(&mut Tape::new(bytes));
}

fn try_run(tape: &mut Tape<'_>) -> Option<()> {
    let mut options = Options::new();
    options
        .wait_policy(WaitPolicy::Park)
        .timeout(Some(Duration::ZERO));
    let (memory, _) = Memory::with_ring(tape, &options)?;
    let capacity = memory.len() - RING;
    for _ in 0..tape.byte()? % 4 {
        Store::read(tape)?.apply(&memory);
    }
    let ring = memory.attach(&options).ok()?;
    assert!(ring.capacity() <= capacity); // a smaller one is a ring too
    let (producer, consumer) = ring.split().ok()?;
    let mut ends = Ends {
        producer,
        consumer,
        broken: [None, None],
        bytes: vec![7; MOST],
    };
    for _ in 0..MOST_STEPS {
        match tape.byte() {
            None => break,
            Some(0..128) => match Store::read(tape) {
                None => break,
                Some(store) => store.apply(&memory),
            },
            Some(_) => match Call::read(tape, capacity) {
                None => break,
                Some(call) => ends.apply(call),
            },
        }
        memory.check();
    }
    drop(ends);
    memory.check();
    Some(())
}

/// A store of the stranger.
#[derive(Debug)]
enum Store {
    /// Any value, anywhere.
    Any(usize, u8, u64),
    /// A word of the header that is close to the value of another word, as positions are.
    Near(usize, usize, i8),
    /// A forged mark: its place, its distance from the head, how it ends, and the number of
    /// ends that are added to the count.
    Mark(usize, i8, u64, u8),
}

impl Store {
    fn read(tape: &mut Tape<'_>) -> Option<Store> {
        let word = |short: u16| usize::from(short) % HEADER / 8 * 8;
        Some(match tape.byte()? % 6 {
            0 => Store::Any(usize::from(tape.short()?), tape.byte()? % 9, tape.long()?),
            1 => Store::Any(word(tape.short()?), 8, tape.long()?),
            2 => Store::Near(word(tape.short()?), word(tape.short()?), tape.byte()? as i8),
            3 => {
                let (to, from) = if tape.byte()? & 1 == 0 {
                    (TAIL, HEAD)
                } else {
                    (HEAD, TAIL)
                };
                Store::Near(to, from, tape.byte()? as i8)
            }
            4 => {
                let words = [CLAIMS, COUNTS].concat();
                let word = words[usize::from(tape.byte()?) % words.len()];
                Store::Near(word, word, tape.byte()? as i8)
            }
            _ => {
                let slot = usize::from(tape.byte()?) % SLOTS;
                let ending = u64::from(tape.short()?);
                Store::Mark(slot, tape.byte()? as i8, ending, tape.byte()?)
            }
        })
    }

    fn apply(&self, memory: &Memory) {
        match *self {
            Store::Any(offset, size, word) => memory.store(offset, size, word),
            Store::Near(to, from, by) => {
                let near = memory.load(from).wrapping_add_signed(i64::from(by));
                memory.store(to, 8, near);
            }
            Store::Mark(slot, by, ending, more) => {
                let near = memory.load(HEAD).wrapping_add_signed(i64::from(by));
                memory.store(MARKS + 16 * slot, 8, near);
                memory.store(MARKS + 16 * slot + 8, 8, ending);
                let count = memory.load(COUNTS[0]).wrapping_add(u64::from(more));
                memory.store(COUNTS[0], 8, count);
            }
        }
    }
}

/// Both ends, and the corruption that each has reported.
struct Ends {
    producer: Producer,
    consumer: Consumer,
    broken: [Option<Corruption>; 2],
    bytes: Vec<u8>,
}

impl Ends {
    /// Makes a call whose deadline has passed, and checks that its result is a possible
    /// one.
    fn apply(&mut self, call: Call) {
        let policy = WaitPolicy::Park;
        match call {
            // No other producer comes here. The consumer looks at the header instead.
            Call::NewProducer(_) | Call::Resume(_) => {
                self.make(Role::Consumer, &Call::Look(Role::Consumer, policy));
                self.make(Role::Consumer, &Call::CheckPeer(Role::Consumer));
            }
            Call::NewConsumer | Call::AbortConsumer => {
                self.make(Role::Producer, &Call::Look(Role::Producer, policy));
                self.make(Role::Producer, &Call::CheckPeer(Role::Producer));
            }
            Call::Write(_)
            | Call::WriteDeadline(_)
            | Call::WriteParts(_)
            | Call::Reserve(..)
            | Call::ReserveUpTo(..)
            | Call::ReserveDeadline(..)
            | Call::Flush
            | Call::Batch(_)
            | Call::Room(_) => self.make(Role::Producer, &call),
            _ => self.make(Role::Consumer, &call),
        }
    }

    fn make(&mut self, side: Role, call: &Call) {
        let means = Means {
            deadline: Instant::now(),
            files: Files::None,
            is_alone: false,
        };
        let bytes = &mut self.bytes[..call.len()];
        let (answer, capacity) = match side {
            Role::Producer => {
                let answer = produce(&mut self.producer, call, bytes, means);
                (answer, self.producer.capacity())
            }
            Role::Consumer => {
                let answer = consume(&mut self.consumer, call, bytes, means);
                (answer, self.consumer.capacity())
            }
        };
        answer.check(call, capacity);
        // These calls do not look at the ring.
        if !matches!(call, Call::Look(..) | Call::Spin(_) | Call::Batch(_)) {
            self.judge(side, answer.broken());
        }
    }

    /// Once a handle is corrupt, it stays so, and always reports what it found first.
    fn judge(&mut self, side: Role, result: Option<Broken>) {
        let found = match result {
            Some(Broken::Corrupted(corruption)) => Some(corruption),
            _ => None,
        };
        let known = &mut self.broken[usize::from(side == Role::Consumer)];
        if known.is_some() {
            assert_eq!(*known, found);
        }
        *known = found;
    }
}
