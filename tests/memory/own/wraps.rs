//! Every call at every place relative to the ring's end, against a queue.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};

use proptest::prelude::*;
use shmpipe::{Consumer, PeekError, Producer, ReserveError, TryReadError, TryWriteError};

use super::{options, room_for};
use crate::common::memory::{Mapping, memfd};

/// A ring, and what has to be in it.
struct Model {
    producer: Producer,
    consumer: Consumer,
    queue: VecDeque<u8>,
    next: u8,
    capacity: usize,
    file: File,
    // Dropped last.
    memory: Mapping,
}

/// The first bytes behind the ring, which nobody writes to.
const CANARY: [u8; 16] = [0xc5; 16];

#[derive(Clone, Copy, Debug)]
enum Call {
    Write(usize),
    WriteParts([usize; 3]),
    Reserve(usize, usize),
    ReserveUpTo(usize),
    Fill(usize),
    Read(usize),
    ReadParts([usize; 3]),
    Peek(usize, usize),
    PeekUpTo(usize),
    Drain(usize),
}

impl Model {
    fn new(capacity: usize) -> Model {
        let memory = Mapping::new(room_for(capacity + CANARY.len()));
        memory.poke(crate::common::page() + capacity, &CANARY);
        let (producer, consumer) = memory.init(&options(capacity)).unwrap().split().unwrap();
        assert_eq!(
            (producer.capacity(), consumer.capacity()),
            (capacity, capacity)
        );
        Model {
            producer,
            consumer,
            queue: VecDeque::new(),
            next: 0,
            capacity,
            file: memfd(4096),
            memory,
        }
    }

    fn room(&self) -> usize {
        self.capacity - self.queue.len()
    }

    /// Bytes from a position to the ring's end.
    fn contiguous(&self, position: u64) -> usize {
        self.capacity - (position % self.capacity as u64) as usize
    }

    fn fresh(&self, len: usize) -> Vec<u8> {
        (0..len)
            .map(|offset| self.next.wrapping_add(offset as u8))
            .collect()
    }

    fn wrote(&mut self, len: usize) {
        self.queue.extend(self.fresh(len));
        self.next = self.next.wrapping_add(len as u8);
    }

    #[track_caller]
    fn has_read(&mut self, bytes: &[u8]) {
        let expected: Vec<u8> = self.queue.drain(..bytes.len()).collect();
        assert_eq!(bytes, expected);
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::Write(len) => {
                let written = self.producer.try_write(&self.fresh(len));
                match len.min(self.room()) {
                    0 if len > 0 => assert_eq!(written, Err(TryWriteError::Full)),
                    fitting => {
                        assert_eq!(written, Ok(fitting));
                        self.wrote(fitting);
                    }
                }
            }
            Call::WriteParts(lens) => {
                let len: usize = lens.iter().sum();
                if len > 0 && self.room() == 0 {
                    return; // it would wait
                }
                let bytes = self.fresh(len);
                let (first, rest) = bytes.split_at(lens[0]);
                let (second, third) = rest.split_at(lens[1]);
                let parts = [first, second, third].map(IoSlice::new);
                let written = self.producer.write_vectored(&parts).unwrap();
                assert_eq!(written, len.min(self.room()));
                self.wrote(written);
            }
            Call::Reserve(len, commit) => self.reserve(len, commit),
            Call::ReserveUpTo(most) => {
                let (room, contiguous) = (self.room(), self.contiguous(self.producer.position()));
                let bytes = self.fresh(most);
                match self.producer.reserve_up_to(most) {
                    Ok(mut grant) => {
                        let len = grant.len();
                        assert_eq!(len, most.min(room).min(contiguous));
                        grant.write_at(0, &bytes[..len]);
                        grant.commit_all();
                        self.wrote(len);
                    }
                    Err(error) => {
                        assert_eq!(error, ReserveError::Full { wanted: 1, room: 0 });
                        assert!(room == 0 && most > 0);
                    }
                }
            }
            Call::Fill(most) => {
                if most > 0 && self.room() == 0 {
                    return; // it would wait
                }
                let bytes = self.fresh(self.capacity + 1);
                self.file.rewind().unwrap();
                self.file.write_all(&bytes).unwrap();
                self.file.rewind().unwrap();
                let filled = self.producer.fill_from(&self.file, most).unwrap();
                assert_eq!(filled, most.min(self.room()));
                self.wrote(filled);
            }
            Call::Read(len) => {
                let mut bytes = vec![0; len];
                let read = self.consumer.try_read(&mut bytes);
                match len.min(self.queue.len()) {
                    0 if len > 0 => assert_eq!(read, Err(TryReadError::Empty)),
                    there => {
                        assert_eq!(read, Ok(there));
                        self.has_read(&bytes[..there]);
                    }
                }
            }
            Call::ReadParts(lens) => {
                let len: usize = lens.iter().sum();
                if len > 0 && self.queue.is_empty() {
                    return; // it would wait
                }
                let mut bytes = vec![0; len];
                let (first, rest) = bytes.split_at_mut(lens[0]);
                let (second, third) = rest.split_at_mut(lens[1]);
                let mut parts = [first, second, third].map(IoSliceMut::new);
                let read = self.consumer.read_vectored(&mut parts).unwrap();
                assert_eq!(read, len.min(self.queue.len()));
                self.has_read(&bytes[..read]);
            }
            Call::Peek(len, consume) => self.peek(len, consume),
            Call::PeekUpTo(most) => {
                let contiguous = self.contiguous(self.consumer.position());
                let there = self.queue.len();
                let mut bytes = vec![0; most];
                match self.consumer.peek_up_to(most) {
                    Ok(grant) => {
                        let len = grant.len();
                        assert_eq!(len, most.min(there).min(contiguous));
                        grant.read_at(0, &mut bytes[..len]);
                        grant.consume_all();
                        self.has_read(&bytes[..len]);
                    }
                    Err(error) => {
                        assert_eq!(
                            error,
                            PeekError::Empty {
                                wanted: 1,
                                available: 0
                            }
                        );
                        assert!(there == 0 && most > 0);
                    }
                }
            }
            Call::Drain(most) => {
                if most > 0 && self.queue.is_empty() {
                    return; // it would wait
                }
                self.file.rewind().unwrap();
                let drained = self.consumer.drain_to(&self.file, most).unwrap();
                assert_eq!(drained, most.min(self.queue.len()));
                let mut bytes = vec![0; drained];
                self.file.rewind().unwrap();
                self.file.read_exact(&mut bytes).unwrap();
                self.has_read(&bytes);
            }
        }
    }

    fn reserve(&mut self, len: usize, commit: usize) {
        let (room, capacity) = (self.room(), self.capacity);
        let contiguous = self.contiguous(self.producer.position());
        let bytes = self.fresh(len);
        let commit = commit.min(len);
        match self.producer.reserve(len) {
            Ok(mut grant) => {
                assert!(len <= room && len <= contiguous);
                assert_eq!(grant.len(), len);
                // SAFETY: the peer is this thread, which does not touch it.
                unsafe { grant.as_mut_slice() }.copy_from_slice(&bytes);
                grant.commit(commit);
                self.wrote(commit);
            }
            Err(error) => {
                let expected = if len > capacity {
                    ReserveError::TooLong {
                        wanted: len,
                        capacity,
                    }
                } else if len > room {
                    ReserveError::Full { wanted: len, room }
                } else {
                    assert!(len > contiguous);
                    ReserveError::Wraps {
                        wanted: len,
                        contiguous,
                    }
                };
                assert_eq!(error, expected);
            }
        }
    }

    fn peek(&mut self, len: usize, consume: usize) {
        let (available, capacity) = (self.queue.len(), self.capacity);
        let contiguous = self.contiguous(self.consumer.position());
        let expected: Vec<u8> = self.queue.iter().take(len).copied().collect();
        let consume = consume.min(len);
        match self.consumer.peek(len) {
            Ok(grant) => {
                assert!(len <= available && len <= contiguous);
                // SAFETY: the peer is this thread, which does not touch them.
                assert_eq!(unsafe { grant.as_slice() }, expected);
                grant.consume(consume);
                self.has_read(&expected[..consume]);
            }
            Err(error) => {
                let expected = if len > capacity {
                    PeekError::TooLong {
                        wanted: len,
                        capacity,
                    }
                } else if len > available {
                    PeekError::Empty {
                        wanted: len,
                        available,
                    }
                } else {
                    assert!(len > contiguous);
                    PeekError::Wraps {
                        wanted: len,
                        contiguous,
                    }
                };
                assert_eq!(error, expected);
            }
        }
    }

    /// Nothing else was written to, and all that was written is there.
    fn end(mut self) {
        let len = self.queue.len();
        self.call(Call::Read(len));
        let behind = crate::common::page() + self.capacity;
        assert_eq!(self.memory.bytes()[behind..behind + CANARY.len()], CANARY);
    }
}

/// Each call of each length, from each index, with each fill.
#[test]
fn every_place_of_a_ring_of_eight_bytes() {
    const CAPACITY: usize = 8;
    let mut model = Model::new(CAPACITY);
    let filling: [fn(usize) -> Call; 5] = [
        Call::Write,
        |len| Call::WriteParts([len / 2, len - len / 2, 0]),
        |len| Call::Reserve(len, len),
        Call::ReserveUpTo,
        Call::Fill,
    ];
    let emptying: [fn(usize) -> Call; 5] = [
        Call::Read,
        |len| Call::ReadParts([len / 3, 0, len - len / 3]),
        |len| Call::Peek(len, len),
        Call::PeekUpTo,
        Call::Drain,
    ];
    for index in 0..CAPACITY {
        for fill in 0..=CAPACITY {
            for len in 0..=CAPACITY + 1 {
                for (write, read) in filling
                    .iter()
                    .flat_map(|w| emptying.iter().map(move |r| (w, r)))
                {
                    // To the index, empty, then to the fill.
                    let position = model.producer.position() as usize;
                    model.call(Call::Write(
                        (index + CAPACITY - position % CAPACITY) % CAPACITY,
                    ));
                    model.call(Call::Read(CAPACITY));
                    model.call(Call::Write(fill));
                    model.call(write(len));
                    model.call(read(len));
                    model.call(Call::Read(CAPACITY));
                }
            }
        }
    }
    model.end();
}

#[test]
fn a_ring_of_one_byte() {
    let mut model = Model::new(1);
    for _ in 0..3 {
        model.call(Call::Reserve(1, 1));
        model.call(Call::Peek(1, 1));
        model.call(Call::Fill(2));
        model.call(Call::Write(1));
        model.call(Call::Drain(2));
    }
    model.end();
}

fn call(most: usize) -> impl Strategy<Value = Call> {
    let len = 0..=most;
    let two = (0..=most, 0..=most);
    let three = [0..=most / 2, 0..=most / 2, 0..=most / 2];
    prop_oneof![
        len.clone().prop_map(Call::Write),
        three.clone().prop_map(Call::WriteParts),
        two.clone().prop_map(|(len, part)| Call::Reserve(len, part)),
        len.clone().prop_map(Call::ReserveUpTo),
        len.clone().prop_map(Call::Fill),
        len.clone().prop_map(Call::Read),
        three.prop_map(Call::ReadParts),
        two.prop_map(|(len, part)| Call::Peek(len, part)),
        len.clone().prop_map(Call::PeekUpTo),
        len.prop_map(Call::Drain),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_calls_in_any_order(
        log in 0_u32..=7,
        calls in prop::collection::vec(call(140), 1..200),
    ) {
        let capacity = 1 << log;
        let mut model = Model::new(capacity);
        for call in calls {
            model.call(call);
        }
        model.end();
    }
}

/// A copy longer than one publication crosses the end too.
#[test]
fn long_copies_cross_the_end() {
    const CAPACITY: usize = 1 << 16;
    let mut model = Model::new(CAPACITY);
    let seed = crate::common::unique();
    let mut position = 0;
    for len in [1, 40_000, 65_535, 65_536, 30_001, 65_536, 65_537] {
        let len = len.min(CAPACITY);
        let bytes = crate::common::stream(seed, position, len);
        assert_eq!(model.producer.try_write(&bytes), Ok(len));
        let mut read = vec![0; len];
        assert_eq!(model.consumer.try_read(&mut read), Ok(len));
        crate::common::check(seed, position, &read);
        position += len as u64;
    }
}

/// Two parts go to the kernel as one call: a pipe that takes part of them.
#[test]
fn a_pipe_takes_both_parts() {
    let mut model = Model::new(64);
    model.call(Call::Write(50));
    model.call(Call::Read(50));
    model.call(Call::Write(40)); // 14 up to the end, and 26
    let (mut out, pipe) = io::pipe().unwrap();
    assert_eq!(model.consumer.drain_to(&pipe, 39).unwrap(), 39);
    let mut bytes = [0; 39];
    out.read_exact(&mut bytes).unwrap();
    model.has_read(&bytes);
    let (out, mut pipe) = io::pipe().unwrap();
    pipe.write_all(&model.fresh(60)).unwrap();
    assert_eq!(model.producer.fill_from(&out, 60).unwrap(), 60);
    model.wrote(60);
    model.end();
}
