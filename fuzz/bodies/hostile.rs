//! Calls on both ends of a ring, interleaved with whatever a stranger stores
//! into it.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::time::{Duration, Instant};

use shmpipe::{
    Broken, Consumer, Corruption, NextStreamError, Options, Partial, PeekError, Producer,
    ReserveError, Stop, TryReadError, TryWriteError, WaitPolicy,
};

use super::memory::{CLAIMS, COUNTS, HEAD, HEADER, MARKS, Memory, RING, SLOTS, TAIL};
use super::model::{Call, policy};
use super::tape::Tape;

/// Calls and stores in one input, so that none takes long.
const MOST_STEPS: usize = 200;
/// The longest transfer: more than the largest ring here.
const MOST: usize = 4096 + 3;

/// Tape: a ring, stores before the roles are taken, then calls and stores in
/// turn.
pub(crate) fn run(bytes: &[u8]) {
    let _ = try_run(&mut Tape::new(bytes));
}

fn try_run(tape: &mut Tape<'_>) -> Option<()> {
    let mut options = Options::new();
    options
        .wait_policy(WaitPolicy::Park)
        .timeout(Duration::ZERO);
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
        bytes: [7; MOST],
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

/// What a stranger stores.
#[derive(Debug)]
enum Store {
    /// Anything, anywhere.
    Any(usize, u8, u64),
    /// A word of the header near what another one holds, as positions are.
    Near(usize, usize, i8),
    /// A mark that is forged: its place, how far from the head, how it ends;
    /// and so many ends that are counted more.
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
    bytes: [u8; MOST],
}

/// Which end a result came from.
#[derive(Clone, Copy, Debug)]
enum End {
    Producer,
    Consumer,
}

impl Ends {
    /// Makes a call whose time is over before it starts, and looks whether its
    /// result is one of those that there are.
    fn apply(&mut self, call: Call) {
        let passed = Instant::now();
        match call {
            Call::Write(len) => {
                let result = self.producer.try_write(&self.bytes[..len]);
                let broken = match result {
                    Ok(written) => {
                        assert!(written <= len);
                        Ok(())
                    }
                    Err(TryWriteError::Full) => Ok(()),
                    Err(TryWriteError::Broken(broken)) => Err(broken),
                };
                self.judge(End::Producer, broken);
            }
            Call::WriteDeadline(len) => {
                let result = self.producer.write_all_deadline(&self.bytes[..len], passed);
                let broken = partial(result, len);
                self.judge(End::Producer, broken);
            }
            Call::WriteParts(parts) => {
                let slices = parts.iter().map(|&len| IoSlice::new(&self.bytes[..len]));
                let slices: Vec<_> = slices.collect();
                let len = parts.iter().sum::<usize>();
                let broken = moved(self.producer.write_vectored(&slices), len);
                self.judge(End::Producer, broken);
            }
            Call::Reserve(len, part) => {
                let result = self.producer.reserve(len);
                let broken = reserved(result, part);
                self.judge(End::Producer, broken);
            }
            Call::ReserveUpTo(most, part) => {
                let result = self.producer.reserve_up_to(most);
                let broken = reserved(result, part);
                self.judge(End::Producer, broken);
            }
            Call::ReserveDeadline(len, part) => {
                let result = self.producer.reserve_deadline(len, passed);
                let broken = reserved(result, part);
                self.judge(End::Producer, broken);
            }
            Call::Flush => {
                let broken = moved(self.producer.flush().map(|()| 0), 0);
                self.judge(End::Producer, broken);
            }
            Call::Batch(bytes) => self.producer.set_batch(bytes),
            Call::Room(wanted) => {
                let capacity = self.producer.capacity();
                let room = self.producer.room(wanted);
                let broken = room.map(|room| assert!(room <= capacity));
                self.judge(End::Producer, broken);
            }
            Call::Read(len) => {
                let result = self.consumer.try_read(&mut self.bytes[..len]);
                let broken = match result {
                    Ok(read) => {
                        assert!(read <= len);
                        Ok(())
                    }
                    Err(TryReadError::Empty) => Ok(()),
                    Err(TryReadError::Broken(broken)) => Err(broken),
                };
                self.judge(End::Consumer, broken);
            }
            Call::Receive(len) => {
                let broken = moved(self.consumer.read(&mut self.bytes[..len]), len);
                self.judge(End::Consumer, broken);
            }
            Call::Spin(spins) => self.consumer.set_wait_policy(policy(spins)),
            Call::ReadParts(parts) => {
                let len = parts.iter().sum::<usize>();
                let mut buffers: Vec<_> = parts.iter().map(|&len| vec![0; len]).collect();
                let slices = buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer));
                let mut slices: Vec<_> = slices.collect();
                let broken = moved(self.consumer.read_vectored(&mut slices), len);
                self.judge(End::Consumer, broken);
            }
            Call::ReadExactDeadline(len) => {
                let result = self
                    .consumer
                    .read_exact_deadline(&mut self.bytes[..len], passed);
                let broken = partial(result, len);
                self.judge(End::Consumer, broken);
            }
            Call::Peek(len, part) => {
                let result = self.consumer.peek(len);
                let broken = peeked(result, part);
                self.judge(End::Consumer, broken);
            }
            Call::PeekUpTo(most, part) => {
                let result = self.consumer.peek_up_to(most);
                let broken = peeked(result, part);
                self.judge(End::Consumer, broken);
            }
            Call::PeekDeadline(len, part) => {
                let result = self.consumer.peek_deadline(len, passed);
                let broken = peeked(result, part);
                self.judge(End::Consumer, broken);
            }
            Call::Available => {
                let capacity = self.consumer.capacity();
                let available = self.consumer.available();
                let broken = available.map(|available| assert!(available <= capacity));
                self.judge(End::Consumer, broken);
            }
            Call::NextStream => {
                let broken = match self.consumer.next_stream() {
                    Ok(_) => Ok(()),
                    Err(NextStreamError::NotEnded { available }) => {
                        assert!(available <= self.consumer.capacity());
                        Ok(())
                    }
                    Err(NextStreamError::Broken(broken)) => Err(broken),
                    Err(error) => panic!("not an answer to this: {error:?}"),
                };
                self.judge(End::Consumer, broken);
            }
            // Nobody follows here: it is asked what the header says of whom.
            Call::NewProducer(_) | Call::Resume(_) => {
                let _ = (self.consumer.peer(), self.consumer.is_closed());
                let _ = self.consumer.stream_position();
                let broken = self.consumer.check_peer();
                self.judge(End::Consumer, broken);
            }
            Call::NewConsumer | Call::AbortConsumer => {
                let _ = (self.producer.peer(), self.producer.is_closed());
                let _ = self.producer.stream_position();
                let broken = self.producer.check_peer();
                self.judge(End::Producer, broken);
            }
        }
    }

    /// Corruption is for good, and says each time what was found first.
    fn judge(&mut self, end: End, result: Result<(), Broken>) {
        let found = match result {
            Err(Broken::Corrupted(corruption)) => Some(corruption),
            _ => None,
        };
        let known = &mut self.broken[end as usize];
        if known.is_some() {
            assert_eq!(*known, found);
        }
        *known = found;
    }
}

/// What an [`io::Error`] of ours stands for.
fn moved(result: io::Result<usize>, len: usize) -> Result<(), Broken> {
    match result {
        Ok(moved) => {
            assert!(moved <= len);
            Ok(())
        }
        Err(error) => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(broken) => Err(Broken::clone(broken)),
            None => Ok(()),
        },
    }
}

fn partial(result: Result<(), Partial>, len: usize) -> Result<(), Broken> {
    let Err(partial) = result else {
        return Ok(());
    };
    assert!(partial.moved <= len);
    match partial.stop {
        Stop::Broken(broken) => Err(broken),
        _ => Ok(()),
    }
}

fn reserved(
    result: Result<shmpipe::WriteGrant<'_>, ReserveError>,
    part: usize,
) -> Result<(), Broken> {
    match result {
        Ok(mut grant) => {
            let part = part.min(grant.len());
            grant.write_at(0, &vec![9; part]);
            grant.commit(part);
            Ok(())
        }
        Err(ReserveError::Broken(broken)) => Err(broken),
        Err(_) => Ok(()),
    }
}

fn peeked(result: Result<shmpipe::ReadGrant<'_>, PeekError>, part: usize) -> Result<(), Broken> {
    match result {
        Ok(grant) => {
            let part = part.min(grant.len());
            grant.read_at(0, &mut vec![0; part]);
            grant.consume(part);
            Ok(())
        }
        Err(PeekError::Broken(broken)) => Err(broken),
        Err(_) => Ok(()),
    }
}
