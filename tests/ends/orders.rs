//! Every order of the actions of three producers and two consumers, up to a length,
//! compared with a queue with ends. `SHMPIPE_ORDERS` sets the length, 6 by default.
//!
//! A kill is simulated: the words that say who has a role get the process id of a dead
//! process. A claimer that is killed half way has written only its first words.

use shmpipe::{Broken, Consumer, NextStreamError, Options, Producer, Role, TryReadError};

use crate::common::memory::Mapping;
use crate::common::offsets::{CLAIMS, MARKS_MADE, OWNERS, SIGNALS, STATE, TAIL, mark};
use crate::common::{End, Fork, alone, asked_for, exit_now, options};
use crate::queue::{Found, Queue};
use crate::{Told, room_for};

const PRODUCERS: usize = 3;
const CONSUMERS: usize = 2;

/// Where a claimer of the producer's role was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Step {
    OwnerTaken,
    MarkWritten,
    MarkCounted,
    ClaimCounted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Open,
    Resume,
    Claim(Step),
    Write,
    Finish,
    Abort,
    KillProducer,
    Come,
    Read,
    NextStream,
    Look,
    Close,
    Leave,
    KillConsumer,
}

/// A real ring beside a queue.
struct World<'a> {
    memory: &'a Mapping,
    options: &'a Options,
    /// What the owner words of this process have in common.
    own: u64,
    /// Process ids of the dead, one for each producer and consumer.
    dead: &'a [u32],
    producer: Option<Producer>,
    consumer: Option<Consumer>,
    producers: usize,
    consumers: usize,
    queue: Queue,
}

/// The words of an owner that do not name the process, or the claim.
const REST: u64 = (1 << 42) - 4;

impl<'a> World<'a> {
    fn new(memory: &'a Mapping, options: &'a Options, own: u64, dead: &'a [u32]) -> World<'a> {
        drop(memory.init(options).unwrap());
        World {
            memory,
            options,
            own,
            dead,
            producer: None,
            consumer: None,
            producers: 0,
            consumers: 0,
            queue: Queue::default(),
        }
    }

    /// What can be done now.
    fn possible(&self) -> Vec<Act> {
        let mut acts = Vec::new();
        if self.producer.is_some() {
            acts.extend([Act::Write, Act::Finish, Act::Abort, Act::KillProducer]);
        } else if self.producers < PRODUCERS {
            acts.extend([Act::Open, Act::Resume, Act::Claim(Step::OwnerTaken)]);
            acts.push(Act::Claim(Step::ClaimCounted));
            if self.queue.is_broken_off() {
                acts.push(Act::Claim(Step::MarkWritten));
                acts.push(Act::Claim(Step::MarkCounted));
            }
        }
        if self.consumer.is_some() {
            acts.extend([Act::Read, Act::NextStream, Act::Look]);
            acts.extend([Act::Close, Act::Leave, Act::KillConsumer]);
        } else if self.consumers < CONSUMERS {
            acts.push(Act::Come);
        }
        acts
    }

    fn word(&self, offset: usize) -> u64 {
        let word = self.memory.at(offset).cast::<u64>();
        // SAFETY: a word of the header, which nobody else uses now.
        unsafe { word.read_volatile() }
    }

    fn set(&self, offset: usize, word: u64) {
        let place = self.memory.at(offset).cast::<u64>();
        // SAFETY: as above.
        unsafe { place.write_volatile(word) };
    }

    /// Has the holder of a role be one that is dead.
    fn kill(&self, role: usize, pid: u32) {
        for word in [OWNERS[role], OWNERS[role] + 8] {
            let rest = self.word(word) & ((1 << 42) - 1);
            self.set(word, u64::from(pid) << 42 | rest);
        }
    }

    fn claim(&mut self, step: Step) {
        let pid = self.dead[self.producers];
        self.producers += 1;
        let generation = (self.word(STATE) >> 16).wrapping_add(1) & 3;
        self.set(OWNERS[0], u64::from(pid) << 42 | self.own | generation);
        if let Some(died) = self.queue.dead
            && self.queue.is_broken_off()
            && step >= Step::MarkWritten
        {
            let made = self.word(MARKS_MADE);
            self.set(mark(made), self.word(TAIL));
            self.set(mark(made) + 8, u64::from(died) << 8 | 3);
            if step >= Step::MarkCounted {
                self.set(MARKS_MADE, made + 1);
                self.queue.break_off();
            }
        }
        if step >= Step::ClaimCounted {
            let claims = SIGNALS[0] + CLAIMS;
            self.set(claims, self.word(claims) + 1);
        }
    }

    fn open(&mut self, resumes: bool) {
        let ring = self.memory.attach(self.options.clone().resume(resumes));
        let producer = ring.unwrap().into_producer().unwrap();
        assert_eq!(producer.stream_position(), self.queue.open(resumes));
        self.producers += 1;
        self.producer = Some(producer);
    }

    fn come(&mut self) {
        let ring = self.memory.attach(self.options).unwrap();
        let consumer = ring.into_consumer().unwrap();
        assert_eq!(consumer.stream_position(), self.queue.come());
        self.consumers += 1;
        self.consumer = Some(consumer);
    }

    /// The consumer is told of the producer's death, and of nothing else.
    fn look(&mut self) {
        let verdict = self.consumer.as_mut().unwrap().check_peer();
        let is_told = matches!(
            verdict,
            Err(Broken::Died {
                role: Role::Producer,
                ..
            })
        );
        assert_eq!(is_told, self.queue.dead.is_some());
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Open => self.open(false),
            Act::Resume => self.open(true),
            Act::Claim(step) => self.claim(step),
            Act::Write => {
                let byte = self.queue.write();
                assert_eq!(self.producer.as_mut().unwrap().try_write(&[byte]), Ok(1));
            }
            Act::Finish => {
                self.producer.take().unwrap().close().unwrap();
                self.queue.end(Told::Finished);
            }
            Act::Abort => {
                self.producer.take().unwrap().abort();
                self.queue.end(Told::Aborted);
            }
            Act::KillProducer => {
                let pid = self.dead[self.producers - 1];
                self.kill(0, pid);
                self.queue.dead = Some(pid);
                self.producer = None; // not its role any more: the drop does nothing
            }
            Act::Come => self.come(),
            Act::Read => {
                read(self.consumer.as_mut().unwrap(), &mut self.queue);
            }
            Act::NextStream => next_stream(self.consumer.as_mut().unwrap(), &mut self.queue),
            Act::Look => self.look(),
            Act::Close => {
                self.consumer.take().unwrap().close().unwrap();
                let _acknowledged = self.queue.close();
            }
            Act::Leave => self.consumer.take().unwrap().abort(),
            Act::KillConsumer => {
                self.kill(1, self.dead[PRODUCERS + self.consumers - 1]);
                self.consumer = None;
            }
        }
    }

    /// All that is left comes, each end once.
    fn finish(mut self) {
        if let Some(mut consumer) = self.consumer.take() {
            consumer.abort();
        }
        if let Some(mut producer) = self.producer.take() {
            producer.abort();
            self.queue.end(Told::Aborted);
        }
        self.consumers = 0;
        self.act(Act::Come);
        let consumer = self.consumer.as_mut().unwrap();
        while read(consumer, &mut self.queue) != Found::Nothing {
            next_stream(consumer, &mut self.queue);
        }
    }
}

/// Reads from both; what both found.
#[track_caller]
pub(crate) fn read(consumer: &mut Consumer, queue: &mut Queue) -> Found {
    let mut bytes = [0; 64];
    let found = match consumer.try_read(&mut bytes) {
        Ok(0) => Found::End(Told::Finished),
        Ok(len) => Found::Bytes(bytes[..len].to_vec()),
        Err(TryReadError::Empty) => Found::Nothing,
        Err(TryReadError::Broken(Broken::ProducerAborted)) => Found::End(Told::Aborted),
        Err(TryReadError::Broken(Broken::Died { pid, .. })) => Found::End(Told::Died(pid)),
        Err(other) => panic!("{other}"),
    };
    assert_eq!(found, queue.read(bytes.len()));
    assert_eq!(consumer.stream_position(), queue.read_so_far());
    found
}

#[track_caller]
pub(crate) fn next_stream(consumer: &mut Consumer, queue: &mut Queue) {
    let available = queue.available();
    let next = match queue.next_stream() {
        Ok(true) => Ok(true),
        Ok(false) => Err(NextStreamError::NotEnded { available }),
        Err(Told::Aborted) => Err(Broken::ProducerAborted.into()),
        Err(Told::Died(pid)) => {
            let role = Role::Producer;
            Err(Broken::Died { role, pid }.into())
        }
        Err(Told::Finished) => unreachable!("a whole stream goes on"),
    };
    assert_eq!(consumer.next_stream(), next);
    assert_eq!(consumer.stream_position(), queue.read_so_far());
}

/// Does the acts in `order`, then each that is possible, to its end.
struct Orders<'a> {
    memory: &'a Mapping,
    options: &'a Options,
    own: u64,
    dead: &'a [u32],
    most: usize,
    done: u64,
}

impl Orders<'_> {
    fn all_from(&mut self, order: &mut Vec<Act>) {
        let mut world = World::new(self.memory, self.options, self.own, self.dead);
        let shown = Shown(order);
        for &act in order.iter() {
            world.act(act);
        }
        let possible = world.possible();
        world.finish();
        std::mem::forget(shown);
        self.done += 1;
        if order.len() == self.most {
            return;
        }
        for act in possible {
            order.push(act);
            self.all_from(order);
            order.pop();
        }
    }
}

/// Shows the order that fails.
struct Shown<'a>(&'a [Act]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        eprintln!("in this order: {:?}", self.0);
    }
}

#[test]
fn every_order_gives_each_end_once_and_in_order() {
    alone(
        "orders::every_order_gives_each_end_once_and_in_order",
        || {
            let dead: Vec<u32> = (0..PRODUCERS + CONSUMERS)
                .map(|_| {
                    let mut child = Fork::new(|| exit_now(0));
                    assert_eq!(child.wait(), End::Exit(0));
                    child.pid()
                })
                .collect();
            let memory = room_for(64);
            let mut options = options();
            // So that bytes queue without a consumer.
            options.capacity(64).require_consumer(false);
            let producer = memory.init(&options).unwrap().into_producer().unwrap();
            let owner = memory.bytes()[OWNERS[0]..][..8].try_into().unwrap();
            drop(producer);
            let mut orders = Orders {
                memory: &memory,
                options: &options,
                own: u64::from_ne_bytes(owner) & REST,
                dead: &dead,
                most: asked_for("SHMPIPE_ORDERS").unwrap_or(6) as usize,
                done: 0,
            };
            orders.all_from(&mut Vec::new());
            println!("{} orders of up to {} acts", orders.done, orders.most);
            assert!(orders.done > 10_000, "too few to be all");
        },
    );
}
