//! The order of memory accesses that the algorithm makes, checked over a region that records them.

use std::cell::RefCell;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::ring::marks::Ending;
use crate::segment::closed::Departure;
use crate::segment::layout::Header;
use crate::segment::region::Pays;
use crate::segment::region::heap::HeapRegion;
use crate::sync::recording::{self, Access};
use crate::wait::Effort;

/// An access to a word of the header, or a copy to or from the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Load(&'static str),
    Store(&'static str),
    Swap(&'static str),
    /// Position and length.
    CopyIn(u64, usize),
    CopyOut(u64, usize),
    ReturnLines(u64, u64),
    Capacity,
}

use Event::{Capacity, CopyIn, CopyOut, Load, ReturnLines, Store, Swap};

/// A ring on the heap that records what one handle does with it.
#[derive(Clone, Debug)]
struct Recorder {
    region: HeapRegion,
    events: Rc<RefCell<Vec<Event>>>,
}

impl Recorder {
    fn new(region: &HeapRegion) -> Recorder {
        recording::take();
        Recorder {
            region: region.clone(),
            events: Rc::default(),
        }
    }

    fn name(&self, address: usize) -> &'static str {
        let header = self.region.header();
        let producer = header.side(Role::Producer);
        let consumer = header.side(Role::Consumer);
        fn at<T>(word: &T) -> usize {
            std::ptr::from_ref(word).addr()
        }
        let words = [
            (at(&producer.position), "tail"),
            (at(&producer.inline.end), "inline message end"),
            (at(&producer.signals.closed), "producer closed"),
            (at(&producer.signals.sleeping), "producer sleeping"),
            (at(&producer.signals.wanted), "producer wanted"),
            (at(&producer.signals.claims), "producer claims"),
            (at(&consumer.position), "head"),
            (at(&consumer.signals.closed), "consumer closed"),
            (at(&consumer.signals.sleeping), "consumer sleeping"),
            (at(&consumer.signals.wanted), "consumer wanted"),
            (
                at(&consumer.signals.delivery_hint),
                "consumer delivery hint",
            ),
        ];
        let found = words.iter().find(|(word, _)| *word == address);
        found.expect("one of these words").1
    }

    /// Appends the accesses to words since the last event, then `event`.
    fn log(&self, event: Option<Event>) {
        let mut events = self.events.borrow_mut();
        events.extend(recording::take().into_iter().map(|access| match access {
            Access::Load(word) => Load(self.name(word)),
            Access::Store(word) => Store(self.name(word)),
            Access::Swap(word) => Swap(self.name(word)),
        }));
        events.extend(event);
    }

    /// The events since the last call.
    fn take(&self) -> Vec<Event> {
        self.log(None);
        self.events.take()
    }
}

#[allow(unsafe_code)] // as the trait asks
// SAFETY: passes on what `HeapRegion` answers.
unsafe impl Region for Recorder {
    fn header(&self) -> &Header {
        self.region.header()
    }

    fn capacity(&self) -> usize {
        self.log(Some(Capacity));
        self.region.capacity()
    }

    fn contiguous(&self, position: u64) -> usize {
        self.region.contiguous(position)
    }

    fn copy_in(&self, position: u64, bytes: &[u8], beyond: u64) {
        self.log(Some(CopyIn(position, bytes.len())));
        self.region.copy_in(position, bytes, beyond);
    }

    const SHORTEST_RETURNED: u64 = 1;

    fn returning(&self) -> Pays {
        Pays::Always
    }

    fn return_lines(&self, position: u64, len: u64) {
        self.log(Some(ReturnLines(position, len)));
    }

    fn copy_out(&self, position: u64, bytes: &mut [u8], beyond: u64) {
        self.log(Some(CopyOut(position, bytes.len())));
        self.region.copy_out(position, bytes, beyond);
    }
}

/// The load that a reader makes with each new tail.
const CLAIMS: Event = Load("producer claims");

struct Recorded {
    writer: Writer<Recorder>,
    reader: Reader<Recorder>,
    region: HeapRegion,
}

fn ring(capacity: usize) -> Recorded {
    let region = HeapRegion::new(capacity, 0);
    let writer = Writer::new(Recorder::new(&region), false, Departures::End).unwrap();
    let events = writer.region().take();
    let clear = Store("inline message end");
    assert_eq!(events, [Capacity, Load("tail"), Load("head"), clear]);
    let reader = Reader::new(Recorder::new(&region), false).unwrap();
    assert_eq!(
        reader.region().take(),
        [Capacity, Load("head"), Load("tail"), CLAIMS]
    );
    Recorded {
        writer,
        reader,
        region,
    }
}

impl Recorded {
    /// Stores the producer's `closed` word, as `peer::leave` does.
    fn finish(&self) {
        let side = self.region.header().side(Role::Producer);
        let word = Departure::Finished.to_word(1);
        side.signals.closed.store(word, Ordering::Relaxed); // one thread
        recording::take();
    }
}

#[test]
fn the_payload_comes_before_its_publication() {
    let Recorded { mut writer, .. } = ring(8);
    writer.put(b"abc").unwrap();
    writer.publish();
    assert_eq!(writer.region().take(), [CopyIn(0, 3), Store("tail")]);
    // Several parts, one publication.
    writer.put(b"d").unwrap();
    writer.put(b"ef").unwrap();
    writer.publish();
    let events = writer.region().take();
    assert_eq!(events, [CopyIn(3, 1), CopyIn(4, 2), Store("tail")]);
}

#[test]
fn the_bytes_are_copied_out_before_their_room_is_released() {
    let mut ring = ring(8);
    ring.writer.put(b"abc").unwrap();
    ring.writer.publish();
    ring.writer.region().take();
    ring.reader.get(&mut [0; 3]).unwrap();
    ring.reader.release(3);
    let events = ring.reader.region().take();
    let (copy, lines) = (CopyOut(0, 3), ReturnLines(0, 3));
    assert_eq!(events, [Load("tail"), CLAIMS, copy, lines, Store("head")]);
}

#[test]
fn nothing_is_stored_in_a_full_ring() {
    let Recorded { mut writer, .. } = ring(4);
    assert_eq!(writer.put(b"abcd"), Ok(4));
    writer.publish();
    writer.region().take();
    assert_eq!(writer.put(b"e"), Ok(0));
    assert_eq!(writer.region().take(), [Load("head")]);
}

#[test]
fn nothing_is_stored_for_an_empty_ring() {
    let Recorded { mut reader, .. } = ring(4);
    assert_eq!(reader.get(&mut [0]), Ok(0));
    assert_eq!(reader.region().take(), [Load("tail"), CLAIMS]);
    assert_eq!(reader.readiness(1), Ok(Readiness::Empty));
    let events = reader.region().take();
    assert_eq!(events, [Load("tail"), Load("producer closed")]);
}

/// In a ring without marks, this is the only operation that loads the peer's position twice. The
/// load of `closed` in between makes the second load see the last tail. In a ring with marks, a
/// look that finds a mark loads the tail again, too (P8).
#[test]
fn the_tail_is_loaded_once_more_after_the_writer_has_left() {
    let mut ring = ring(4);
    ring.finish();
    assert_eq!(
        ring.reader.readiness(1),
        Ok(Readiness::Ended(Ending::Finished))
    );
    let events = ring.reader.region().take();
    assert_eq!(
        events,
        [
            Load("tail"),
            Load("producer closed"),
            CLAIMS,
            Load("tail"),
            CLAIMS
        ]
    );
}

#[test]
fn a_waker_looks_and_touches_nothing_while_nobody_sleeps() {
    let Recorded { writer, region, .. } = ring(4);
    let consumer = &region.header().side(Role::Consumer).signals;
    let producer = &region.header().side(Role::Producer).signals;
    let (looked, wanted) = (Load("consumer sleeping"), Load("consumer wanted"));
    let mut effort = Effort::new();
    effort.wake(producer, consumer, 1);
    assert_eq!(writer.region().take(), [looked, looked]); // before and after the fence
    consumer.wanted.store(2, Ordering::Relaxed); // one thread
    consumer.sleeping.store(1, Ordering::Relaxed); // as above
    writer.region().take();
    effort.wake(producer, consumer, 1);
    assert_eq!(writer.region().take(), [looked, looked, wanted]);
    assert_eq!(effort.stats.wakes, 0);
    // The word changes before the wake.
    effort.wake(producer, consumer, 2);
    let swap = Swap("consumer sleeping");
    assert_eq!(writer.region().take(), [looked, looked, wanted, swap]);
    assert_eq!(effort.stats.wakes, 1);
}

#[derive(Clone, Debug)]
enum Op {
    Put(usize),
    Publish,
    Room(u64),
    Get(usize),
    Release,
    Available(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        (0usize..20).prop_map(Op::Put),
        Just(Op::Publish),
        (0u64..20).prop_map(Op::Room),
        (0usize..20).prop_map(Op::Get),
        Just(Op::Release),
        (0u64..20).prop_map(Op::Available),
    ];
    prop::collection::vec(op, 1..if cfg!(miri) { 12 } else { 100 })
}

fn count(events: &[Event], event: Event) -> usize {
    events.iter().filter(|found| **found == event).count()
}

proptest! {
    /// Invariants of every operation. A side never loads its own position or asks for the capacity
    /// again. It loads the peer's position at most once, and stores nothing but its own words.
    #[test]
    fn each_word_is_touched_by_its_own_rules(shift in 0u32..5, ops in ops()) {
        let Recorded { mut writer, mut reader, .. } = ring(1 << shift);
        let mut read = 0;
        for op in ops {
            match op {
                Op::Put(len) => { writer.put(&vec![0; len]).unwrap(); }
                Op::Publish => writer.publish(),
                Op::Room(wanted) => { writer.room(wanted).unwrap(); }
                Op::Get(len) => read = reader.get(&mut vec![0; len]).unwrap(),
                Op::Release => reader.release(std::mem::take(&mut read) as u64),
                Op::Available(wanted) => { reader.available(wanted).unwrap(); }
            }
            let (events, own, peer) = match op {
                Op::Put(_) | Op::Publish | Op::Room(_) => (writer.region().take(), "tail", "head"),
                _ => (reader.region().take(), "head", "tail"),
            };
            let publishes = matches!(op, Op::Publish | Op::Release);
            prop_assert_eq!(count(&events, Load(own)), 0);
            prop_assert_eq!(count(&events, Capacity), 0);
            prop_assert!(count(&events, Load(peer)) <= 1);
            prop_assert_eq!(count(&events, Store(own)), usize::from(publishes));
            let copies = |event: &&Event| matches!(event, CopyIn(..) | CopyOut(..));
            prop_assert!(events.iter().filter(copies).count() <= 1);
            let others = events.iter().filter(|event| match event {
                Load(word) => *word != peer && **event != CLAIMS,
                Store(word) => *word != own,
                Swap(_) => true,
                _ => false,
            });
            prop_assert_eq!(others.count(), 0, "{:?}", events);
        }
    }
}
