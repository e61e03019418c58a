//! The algorithm over the heap, compared with a `VecDeque`.

mod lies;
#[cfg(not(miri))] // needs serde_json, and reads words of atomics as bytes
mod vectors;

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::ring::marks::{self, Ending};
use crate::segment::closed::Departure;
use crate::segment::region::heap::HeapRegion;

/// A ring whose positions start at `position`.
fn ring(capacity: usize, position: u64) -> (HeapRegion, Writer<HeapRegion>, Reader<HeapRegion>) {
    let region = HeapRegion::new(capacity, position);
    let writer = Writer::new(region.clone(), false, Departures::End).unwrap();
    let reader = Reader::new(region.clone(), false).unwrap();
    (region, writer, reader)
}

impl Writer<HeapRegion> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Corruption> {
        let written = self.put(bytes)?;
        self.publish();
        Ok(written)
    }
}

impl Reader<HeapRegion> {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Corruption> {
        let read = self.get(bytes)?;
        self.release(read as u64);
        Ok(read)
    }
}

fn set_position(region: &HeapRegion, role: Role, position: u64) {
    let side = region.header().side(role);
    side.position.store(position, Ordering::Relaxed); // one thread
}

fn leave(region: &HeapRegion, role: Role, departure: Departure) {
    let side = region.header().side(role);
    side.signals
        .closed
        .store(departure.to_word(1), Ordering::Relaxed); // one thread
}

#[test]
fn what_is_written_is_read() {
    let (_, mut writer, mut reader) = ring(8, 0);
    assert_eq!(writer.write(b"abcde"), Ok(5));
    let mut bytes = [0; 3];
    assert_eq!(reader.read(&mut bytes), Ok(3));
    assert_eq!(&bytes, b"abc");
    assert_eq!(writer.write(b"fghijk"), Ok(6));
    assert_eq!(writer.write(b"l"), Ok(0), "full");
    let mut bytes = [0; 9];
    assert_eq!(reader.read(&mut bytes), Ok(8));
    assert_eq!(&bytes[..8], b"defghijk");
    assert_eq!(reader.read(&mut bytes), Ok(0), "empty");
}

#[test]
fn a_ring_of_one_byte_works() {
    let (_, mut writer, mut reader) = ring(1, u64::MAX);
    for byte in 0..10u8 {
        assert_eq!(writer.write(&[byte, 99]), Ok(1));
        assert_eq!(writer.write(&[99]), Ok(0));
        let mut bytes = [0; 2];
        assert_eq!(reader.read(&mut bytes), Ok(1));
        assert_eq!(bytes[0], byte);
    }
}

#[test]
fn what_is_not_published_is_not_there() {
    let (_, mut writer, mut reader) = ring(16, 0);
    assert_eq!(writer.put(b"abc"), Ok(3));
    assert_eq!(writer.put(b"def"), Ok(3));
    assert_eq!((writer.pending(), reader.available(1)), (6, Ok(0)));
    writer.publish();
    assert_eq!((writer.pending(), reader.available(1)), (0, Ok(6)));
}

#[test]
fn what_is_not_released_takes_room() {
    let (_, mut writer, mut reader) = ring(8, 0);
    writer.write(b"abcdefgh").unwrap();
    let mut bytes = [0; 8];
    assert_eq!(reader.get(&mut bytes), Ok(8));
    assert_eq!(writer.room(1), Ok(0));
    reader.release(3);
    assert_eq!(writer.room(1), Ok(3));
    assert_eq!(reader.get(&mut bytes), Ok(5));
    assert_eq!(&bytes[..5], b"defgh");
}

#[test]
fn the_last_bytes_come_before_the_end() {
    for (departure, end) in [
        (Departure::Finished, Readiness::Ended(Ending::Finished)),
        (Departure::Aborted, Readiness::Ended(Ending::Aborted)),
    ] {
        let (region, mut writer, mut reader) = ring(16, 5);
        assert_eq!(reader.readiness(1), Ok(Readiness::Empty));
        // The reader has loaded the tail before the last bytes came.
        writer.write(b"last").unwrap();
        leave(&region, Role::Producer, departure);
        assert_eq!(reader.readiness(1), Ok(Readiness::Ready));
        let mut bytes = [0; 4];
        assert_eq!(reader.read(&mut bytes), Ok(4));
        assert_eq!(reader.readiness(1), Ok(end));
    }
}

/// A ring with marks, whose positions start at `position`.
fn persistent(
    capacity: usize,
    position: u64,
) -> (HeapRegion, Writer<HeapRegion>, Reader<HeapRegion>) {
    let region = HeapRegion::new(capacity, position);
    let writer = Writer::new(region.clone(), true, Departures::Pass).unwrap();
    let reader = Reader::new(region.clone(), true).unwrap();
    (region, writer, reader)
}

/// The next writer, which counts its claim as `peer::claim` does.
fn follow(region: &HeapRegion) -> Writer<HeapRegion> {
    let claims = &region.header().side(Role::Producer).signals.claims;
    claims.fetch_add(1, Ordering::Relaxed); // one thread
    Writer::new(region.clone(), true, Departures::Pass).unwrap()
}

#[test]
fn a_departed_reader_is_passed_over_where_another_one_follows() {
    let (region, mut writer, _) = persistent(16, 0);
    leave(&region, Role::Consumer, Departure::Finished);
    assert_eq!(writer.is_left_alone(), Ok(false));
    assert_eq!(writer.peer_departure(), Ok(Departure::Finished));
    assert!(writer.put_known(b"queued"));
    // The next writer ignores the `closed` word that the earlier reader left.
    let mut writer = Writer::new(region.clone(), true, Departures::End).unwrap();
    assert_eq!(writer.is_left_alone(), Ok(false));
    let side = region.header().side(Role::Consumer);
    let next = Departure::Aborted.to_word(2);
    side.signals.closed.store(next, Ordering::Relaxed); // one thread
    assert_eq!(writer.is_left_alone(), Ok(true));
}

#[test]
fn nothing_is_read_from_behind_a_mark() {
    let (region, mut writer, mut reader) = persistent(16, u64::MAX - 2);
    writer.write(b"one").unwrap();
    writer.leave_mark(Ending::Finished);
    let mut writer = follow(&region);
    writer.write(b"two!").unwrap();
    writer.leave_mark(Ending::Aborted);
    let mut writer = follow(&region);
    writer.leave_mark(Ending::Finished);
    let mut bytes = [0; 16];
    for (text, ending) in [
        (&b"one"[..], Ending::Finished),
        (b"two!", Ending::Aborted),
        (b"", Ending::Finished),
    ] {
        if !text.is_empty() {
            assert_eq!(reader.readiness(1), Ok(Readiness::Ready));
        }
        assert_eq!(reader.available(16), Ok(text.len() as u64));
        assert_eq!(reader.read(&mut bytes), Ok(text.len()));
        assert_eq!(&bytes[..text.len()], text);
        for _ in 0..2 {
            assert_eq!(reader.read(&mut bytes), Ok(0));
            assert!(!reader.get_known(&mut bytes[..1]));
            assert_eq!(reader.readiness(1), Ok(Readiness::Ended(ending)));
        }
        assert_eq!(reader.next_stream(), Ok(true));
    }
    assert_eq!(reader.readiness(1), Ok(Readiness::Empty));
    assert_eq!(reader.began(), 4);
}

/// A mark that comes at an already known tail is still found.
#[test]
fn a_mark_at_a_known_tail_is_found() {
    let (_, mut writer, mut reader) = persistent(16, 0);
    writer.write(b"abc").unwrap();
    assert_eq!(reader.available(1), Ok(3));
    writer.leave_mark(Ending::Died(9));
    let mut bytes = [0; 3];
    assert!(reader.get_known(&mut bytes));
    let died = Readiness::Ended(Ending::Died(9));
    assert_eq!(reader.readiness(1), Ok(died));
    // The next reader gets the mark again, unless it was acknowledged.
    let region = reader.region().clone();
    let mut next = Reader::new(region.clone(), true).unwrap();
    assert_eq!(next.readiness(1), Ok(died));
    assert!(reader.acknowledge());
    let mut next = Reader::new(region, true).unwrap();
    assert_eq!(next.readiness(1), Ok(Readiness::Empty));
    assert_eq!(next.began(), 3);
}

/// Found by reading: after a reader that had left before, the writer took its slow path for good.
#[test]
fn a_reader_that_follows_one_that_left_is_written_to_fast() {
    let region = HeapRegion::new(16, 0);
    let closed = &region.header().side(Role::Consumer).signals.closed;
    closed.store(Departure::Finished.to_word(1), Ordering::Relaxed); // one thread
    let mut writer = Writer::new(region.clone(), true, Departures::End).unwrap();
    closed.store(0, Ordering::Relaxed); // the next reader has come
    assert_eq!(writer.is_left_alone(), Ok(false));
    assert!(writer.has_known(16) && writer.put_known(b"1"));
    closed.store(Departure::Finished.to_word(2), Ordering::Relaxed); // and has left
    assert!(!writer.has_known(1));
    assert_eq!(writer.is_left_alone(), Ok(true));
}

/// Found by reading: such a mark took bytes back that a reader had been told of, which the pace
/// did not expect.
#[test]
fn a_mark_inside_accepted_bytes_is_corruption() {
    for position in 100..=105 {
        let (region, mut writer, mut reader) = persistent(16, 100);
        writer.write(b"12345").unwrap();
        assert_eq!(reader.available(6), Ok(5));
        marks::leave(region.header(), 0, position, Ending::Finished);
        let side = region.header().side(Role::Producer);
        side.signals.claims.fetch_add(1, Ordering::Relaxed); // one thread
        let found = reader.available(6).map_err(|corruption| corruption.rule());
        let expected = if position < 105 {
            Err(Rule::MarkOutOfRange)
        } else {
            Ok(5)
        };
        assert_eq!(found, expected, "a mark at {position}");
    }
}

/// What a peer does to a ring, and the rule that it breaks.
type Forgery = (Rule, fn(&HeapRegion));

#[test]
fn a_lie_about_a_mark_is_corruption() {
    let lies: [Forgery; 5] = [
        (Rule::MarkOutOfRange, |region| {
            marks::leave(region.header(), 0, 106, Ending::Finished);
        }),
        (Rule::MarkOutOfRange, |region| {
            marks::leave(region.header(), 0, 99, Ending::Finished);
        }),
        (Rule::MarkEnding, |region| {
            marks::leave(region.header(), 0, 105, Ending::Finished);
            let ending = &region.header().marks[0].ending;
            ending.store(4, Ordering::Relaxed); // one thread
        }),
        (Rule::MarkCount, |region| {
            marks::leave(region.header(), marks::MOST_UNREAD, 105, Ending::Finished);
        }),
        (Rule::MarkCount, |region| {
            marks::leave(region.header(), u64::MAX - 1, 105, Ending::Finished);
        }),
    ];
    for (rule, lie) in lies {
        let (region, mut writer, mut reader) = persistent(16, 100);
        writer.write(b"12345").unwrap();
        lie(&region);
        let found = reader.readiness(6).unwrap_err().rule();
        assert_eq!(found, rule);
        let found = Reader::new(region.clone(), true).unwrap_err().rule();
        assert_eq!(found, rule);
        // After the next writer's claim, any look at the tail finds the mark.
        let (region, mut writer, mut reader) = persistent(16, 100);
        writer.write(b"12345").unwrap();
        lie(&region);
        follow(&region);
        assert_eq!(reader.available(6).unwrap_err().rule(), rule);
    }
}

#[test]
fn a_lying_writer_is_found_out() {
    let (region, mut writer, mut reader) = ring(16, 100);
    writer.write(b"12345").unwrap();
    assert_eq!(reader.available(1), Ok(5));
    for (tail, rule) in [
        (100, Rule::TailMovedBack),
        (104, Rule::TailMovedBack),
        (99, Rule::TailOutOfRange),
        (117, Rule::TailOutOfRange),
        (u64::MAX, Rule::TailOutOfRange),
    ] {
        set_position(&region, Role::Producer, tail);
        let corruption = reader.available(16).unwrap_err();
        assert_eq!((corruption.rule(), corruption.found()), (rule, tail));
    }
    set_position(&region, Role::Producer, 116);
    assert_eq!(reader.available(16), Ok(16));
}

#[test]
fn a_lying_reader_is_found_out() {
    let (region, mut writer, mut reader) = ring(16, 100);
    writer.write(b"12345").unwrap();
    reader.read(&mut [0; 2]).unwrap();
    assert_eq!(writer.room(16), Ok(13));
    for (head, rule) in [
        (101, Rule::HeadMovedBack),
        (106, Rule::HeadOutOfRange),
        (88, Rule::HeadOutOfRange),
        (0, Rule::HeadOutOfRange),
    ] {
        set_position(&region, Role::Consumer, head);
        let corruption = writer.room(16).unwrap_err();
        assert_eq!((corruption.rule(), corruption.found()), (rule, head));
    }
}

#[test]
fn positions_that_contradict_each_other_are_not_adopted() {
    let region = HeapRegion::new(16, 0);
    set_position(&region, Role::Producer, 17);
    assert_eq!(
        Writer::new(region.clone(), false, Departures::End)
            .unwrap_err()
            .rule(),
        Rule::HeadOutOfRange
    );
    assert_eq!(
        Reader::new(region, false).unwrap_err().rule(),
        Rule::TailOutOfRange
    );
}

#[test]
fn an_unknown_departure_is_corruption() {
    let (region, _, mut reader) = ring(16, 0);
    for word in [1, 2, 3, 0xff, 0x100, u64::MAX] {
        let side = region.header().side(Role::Producer);
        side.signals.closed.store(word, Ordering::Relaxed); // one thread
        let rule = reader.readiness(1).unwrap_err().rule();
        assert_eq!(rule, Rule::ClosedWord, "{word:#x}");
    }
}

/// Positions near zero, near a lap of the ring, near 2^32 and near 2^64.
fn starts() -> impl Strategy<Value = u64> {
    (
        0u64..300,
        prop::sample::select(vec![0u64, 1 << 12, 1 << 32, u64::MAX]),
    )
        .prop_map(|(back, edge)| edge.wrapping_sub(back))
}

#[derive(Clone, Debug)]
enum Op {
    Write(usize),
    Read(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        (0usize..100).prop_map(Op::Write),
        (0usize..100).prop_map(Op::Read),
    ];
    prop::collection::vec(op, 1..if cfg!(miri) { 12 } else { 200 })
}

proptest! {
    #[test]
    fn agrees_with_a_queue(start in starts(), shift in 0u32..8, ops in ops()) {
        let capacity = 1usize << shift;
        let (_, mut writer, mut reader) = ring(capacity, start);
        let mut queue = VecDeque::new();
        let mut next = 0u8;
        for op in ops {
            match op {
                Op::Write(len) => {
                    let bytes: Vec<u8> = (0..len).map(|i| next.wrapping_add(i as u8)).collect();
                    let written = writer.write(&bytes).unwrap();
                    prop_assert_eq!(written, len.min(capacity - queue.len()));
                    queue.extend(&bytes[..written]);
                    next = next.wrapping_add(written as u8);
                }
                Op::Read(len) => {
                    let mut bytes = vec![0; len];
                    let read = reader.read(&mut bytes).unwrap();
                    prop_assert_eq!(read, len.min(queue.len()));
                    let expected: Vec<u8> = queue.drain(..read).collect();
                    prop_assert_eq!(&bytes[..read], expected);
                }
            }
            prop_assert_eq!(writer.unread().unwrap(), queue.len());
        }
        prop_assert_eq!(writer.tail().wrapping_sub(reader.head()), queue.len() as u64);
    }
}
