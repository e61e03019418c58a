//! Every call at every place relative to the ring's end, against a queue.

use std::fs::File;
use std::io::{self, Read, Write};

use proptest::prelude::*;
use shmpipe::{Consumer, Options, Producer};

use super::{options, room_for};
use crate::bodies::calls::Call;
use crate::bodies::model::{self, Modelled};
use crate::common::memory::{Mapping, memfd};
use crate::common::page;

/// The first bytes behind the ring, which nobody writes to.
const CANARY: [u8; 16] = [0xc5; 16];

/// Memory for a ring, and a file.
struct Place {
    memory: Mapping,
    options: Options,
    file: File,
}

impl Place {
    fn new(capacity: usize) -> Place {
        let memory = Mapping::new(room_for(capacity + CANARY.len()));
        memory.poke(page() + capacity, &CANARY);
        let options = options(capacity);
        let ring = memory.init(&options).unwrap();
        assert_eq!(ring.capacity(), capacity);
        drop(ring);
        let file = memfd(0);
        Place {
            memory,
            options,
            file,
        }
    }

    /// Runs `work` on a ring of so many bytes, which nothing is written beside,
    /// and from which all comes that was written.
    fn with(capacity: usize, work: impl FnOnce(&mut Modelled<&Place>)) {
        let place = Place::new(capacity);
        let mut model = Modelled::new(&place, 0);
        work(&mut model);
        model.finish();
        let behind = page() + capacity;
        assert_eq!(place.memory.bytes()[behind..behind + CANARY.len()], CANARY);
    }
}

impl model::Place for &Place {
    fn producer(&self) -> Producer {
        let ring = self.memory.attach(&self.options).unwrap();
        ring.into_producer().unwrap()
    }

    fn consumer(&self) -> Consumer {
        let ring = self.memory.attach(&self.options).unwrap();
        ring.into_consumer().unwrap()
    }

    fn file(&self) -> Option<&File> {
        Some(&self.file)
    }

    const ENDS: bool = true;
}

/// Each call of each length, from each index, with each fill.
#[test]
fn every_place_of_a_ring_of_eight_bytes() {
    const CAPACITY: usize = 8;
    let filling: [fn(usize) -> Call; 5] = [
        Call::Write,
        |len| Call::WriteParts(vec![len / 2, len - len / 2, 0]),
        |len| Call::Reserve(len, len),
        |len| Call::ReserveUpTo(len, len),
        Call::Fill,
    ];
    let emptying: [fn(usize) -> Call; 5] = [
        Call::Read,
        |len| Call::ReadParts(vec![len / 3, 0, len - len / 3]),
        |len| Call::Peek(len, len),
        |len| Call::PeekUpTo(len, len),
        Call::Drain,
    ];
    Place::with(CAPACITY, |model| {
        for index in 0..CAPACITY {
            for fill in 0..=CAPACITY {
                for len in 0..=CAPACITY + 1 {
                    for (write, read) in filling
                        .iter()
                        .flat_map(|w| emptying.iter().map(move |r| (w, r)))
                    {
                        // To the index, empty, then to the fill.
                        let position = model.producer.position() as usize;
                        model.apply(Call::Write(
                            (index + CAPACITY - position % CAPACITY) % CAPACITY,
                        ));
                        model.apply(Call::Read(CAPACITY));
                        model.apply(Call::Write(fill));
                        model.apply(write(len));
                        model.apply(read(len));
                        model.apply(Call::Read(CAPACITY));
                    }
                }
            }
        }
    });
}

#[test]
fn a_ring_of_one_byte() {
    Place::with(1, |model| {
        for _ in 0..3 {
            model.apply(Call::Reserve(1, 1));
            model.apply(Call::Peek(1, 1));
            model.apply(Call::Fill(2));
            model.apply(Call::Write(1));
            model.apply(Call::Drain(2));
        }
    });
}

fn call(most: usize) -> impl Strategy<Value = Call> {
    let len = 0..=most;
    let two = (0..=most, 0..=most);
    let three = prop::collection::vec(0..=most / 2, 3);
    prop_oneof![
        len.clone().prop_map(Call::Write),
        three.clone().prop_map(Call::WriteParts),
        two.clone().prop_map(|(len, part)| Call::Reserve(len, part)),
        len.clone().prop_map(|len| Call::ReserveUpTo(len, len)),
        len.clone().prop_map(Call::Fill),
        len.clone().prop_map(Call::Read),
        three.prop_map(Call::ReadParts),
        two.prop_map(|(len, part)| Call::Peek(len, part)),
        len.clone().prop_map(|len| Call::PeekUpTo(len, len)),
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
        Place::with(capacity, |model| calls.into_iter().for_each(|call| model.apply(call)));
    }
}

/// A copy longer than one publication crosses the end too.
#[test]
fn long_copies_cross_the_end() {
    const CAPACITY: usize = 1 << 16;
    let place = Place::new(CAPACITY);
    let mut model = Modelled::new(&place, 0);
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
    Place::with(64, |model| {
        model.apply(Call::Write(50));
        model.apply(Call::Read(50));
        model.apply(Call::Write(40)); // 14 up to the end, and 26
        let (mut out, pipe) = io::pipe().unwrap();
        assert_eq!(model.consumer.drain_to(&pipe, 39).unwrap(), 39);
        let mut bytes = [0; 39];
        out.read_exact(&mut bytes).unwrap();
        model.took(&bytes);
        let (out, mut pipe) = io::pipe().unwrap();
        pipe.write_all(&model.next(60)).unwrap();
        assert_eq!(model.producer.fill_from(&out, 60).unwrap(), 60);
        model.wrote(60, 60);
    });
}
