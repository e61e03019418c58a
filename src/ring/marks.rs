//! Marks: where streams ended, and how, in rings that outlive their producers.
//!
//! A persistent ring is a queue of bytes with marks in it. A producer that finishes or aborts
//! leaves a mark at its position. For a producer that died, the next producer leaves the mark,
//! unless it resumes the same stream. The consumer gets each mark in order, at its position, and
//! acknowledges it once. Marks have 64-bit numbers, from zero on. There are 128 places, and mark
//! `n` lies in place `n % 128`.
//!
//! ```text
//! acknowledged          count
//!      |                  |
//! ...  | mark mark mark   |  free places
//! ```
//!
//! # Places
//!
//! A producer finds two free places when it takes its role: one for a dead predecessor, one for
//! itself. So leaving never waits for a place.
//!
//! The place of the last acknowledged mark stays in use until the next acknowledgement, since it
//! tells where the consumer's stream began. In a new ring the mark before the first is all zero,
//! like the ring's first position.
//!
//! # Order
//!
//! ```text
//! P8  holder of the producer's role      consumer
//!     tail, Release (P1)                 tail, Acquire (P1)
//!     position, ending, Relaxed          count, Acquire: is there a mark?
//!     count, Release                     tail again; position, ending, Relaxed
//!
//! P9  consumer                           claimer of the producer's role
//!     position, ending, Relaxed          acknowledged, Acquire: are there places?
//!     acknowledged, Release              position, ending, Relaxed
//! ```
//!
//! A consumer looks at the count of marks when it finds no bytes. It also looks when the producer's
//! count of claims has changed since the last accepted tail. These two looks find every mark. Bytes
//! after a mark come from a later claim, which was counted after the mark and before those bytes
//! (P1).
//!
//! An opener that waits for places sleeps on `places`, by the handshake of `wait/mod.rs` (P5)
//! between `places` and `acknowledged`.
//!
//! # A peer that lies
//!
//! The consumer takes a mark only if these things hold. The mark lies between the head and the
//! accepted tail, and not inside bytes that were accepted before it. Its ending is known, and there
//! are no more marks than places. Everything else is [`Corruption`].

use std::time::Duration;

use crate::error::{Corruption, Rule};
use crate::role::Role;
use crate::segment::layout::{Header, MARKS, MarkSlot};
use crate::sync::failpoint::failpoint;
use crate::sync::{Ordering, fence};
use crate::sys::futex;

/// The most marks that may be unacknowledged.
pub(crate) const MOST_UNREAD: u64 = MARKS as u64 - 1;
/// Places that must be free for a producer to take its role.
const RESERVED: u64 = 2;

/// The lowest bit of `Signals::places`: an opener waits for places.
const WAITING: u32 = 1;

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The producer finished: the stream is whole.
    Finished,
    /// The producer aborted the stream.
    Aborted,
    /// The producer died. Holds its process id, 0 when unknown.
    Died(u32),
}

impl Ending {
    pub(crate) fn to_word(self) -> u64 {
        match self {
            Ending::Finished => 1,
            Ending::Aborted => 2,
            Ending::Died(pid) => u64::from(pid) << 8 | 3,
        }
    }

    fn from_word(word: u64) -> Option<Ending> {
        match word {
            1 => Some(Ending::Finished),
            2 => Some(Ending::Aborted),
            word if word & 0xff == 3 => u32::try_from(word >> 8).ok().map(Ending::Died),
            _ => None,
        }
    }
}

/// A mark as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) position: u64,
    pub(crate) ending: Ending,
}

fn slot(header: &Header, number: u64) -> &MarkSlot {
    &header.marks[(number % MARKS as u64) as usize]
}

/// Where the stream after the first `number` marks begins.
pub(crate) fn beginning(header: &Header, number: u64) -> u64 {
    let before = slot(header, number.wrapping_sub(1));
    // A producer's own mark or a predecessor's: P6. A consumer's predecessor has read it: P8, P6.
    before.position.load(Ordering::Relaxed) // P6, P8
}

/// Leaves mark `number` at `position`.
pub(crate) fn leave(header: &Header, number: u64, position: u64, ending: Ending) {
    let slot = slot(header, number);
    slot.position.store(position, Ordering::Relaxed); // P8
    slot.ending.store(ending.to_word(), Ordering::Relaxed); // P8
    failpoint!(MarkWritten);
    let count = &header.side(Role::Producer).signals.marks;
    count.store(number.wrapping_add(1), Ordering::Release); // P8
    failpoint!(MarkCounted);
}

/// How many of `count` marks the consumer has not acknowledged.
fn unread(count: u64, acknowledged: u64) -> Result<u64, Corruption> {
    let unread = count.wrapping_sub(acknowledged);
    if unread > MOST_UNREAD {
        return Err(Corruption::new(Rule::MarkCount, count, acknowledged));
    }
    Ok(unread)
}

/// Why the producer's role cannot be claimed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// Too many ends are not acknowledged: this many.
    TooMany(u64),
    /// The counts of marks contradict each other.
    Corrupt(Corruption),
}

/// How many ends are not acknowledged, for an observer.
pub(crate) fn unread_ends(header: &Header) -> u64 {
    let consumer = &header.side(Role::Consumer).signals;
    let acknowledged = consumer.marks.load(Ordering::Relaxed); // shown only
    let count = header
        .side(Role::Producer)
        .signals
        .marks
        .load(Ordering::Relaxed); // shown only
    unread(count, acknowledged).unwrap_or(0)
}

/// Checks that places are free for the marks of a producer whose role the caller is about to hold.
pub(crate) fn check_places(header: &Header) -> Result<(), NoPlace> {
    let count = header
        .side(Role::Producer)
        .signals
        .marks
        .load(Ordering::Relaxed); // P6
    let consumer = &header.side(Role::Consumer).signals;
    let acknowledged = consumer.marks.load(Ordering::Acquire); // P9
    match unread(count, acknowledged) {
        Ok(unread) if unread + RESERVED > MOST_UNREAD => Err(NoPlace::TooMany(unread)),
        Ok(_) => Ok(()),
        Err(corruption) => Err(NoPlace::Corrupt(corruption)),
    }
}

/// Marks the stream of a dead producer as broken off. `pid` is the process that last held the role,
/// which the caller is about to hold. A producer that wrote no byte gets no mark.
pub(crate) fn break_off(header: &Header, pid: u32) {
    let producer = header.side(Role::Producer);
    let count = producer.signals.marks.load(Ordering::Relaxed); // P6
    let tail = producer.position.load(Ordering::Relaxed); // P6
    if tail != beginning(header, count) {
        leave(header, count, tail, Ending::Died(pid));
    }
}

/// Sleeps until the consumer's next acknowledgement, for `limit` at most. The caller got `prepared`
/// from [`prepare_wait`], and has looked for places since.
pub(crate) fn wait(header: &Header, prepared: u32, limit: Duration) {
    let places = &header.side(Role::Consumer).signals.places;
    futex::wait(places, prepared, limit);
}

/// Announces that an opener waits for places, and returns the word that a sleep expects. An
/// acknowledgement changes the word for good: a later opener does not bring the old value back.
pub(crate) fn prepare_wait(header: &Header) -> u32 {
    let places = &header.side(Role::Consumer).signals.places;
    let before = places.fetch_or(WAITING, Ordering::Relaxed); // P5, with the fence
    fence(Ordering::SeqCst); // P5
    before | WAITING
}

/// The consumer's side: which mark comes next.
#[derive(Debug)]
pub(crate) struct Acknowledged {
    /// Marks acknowledged so far, which is the number of the next mark.
    count: u64,
    /// Where the stream after the acknowledged marks began.
    began: u64,
}

impl Acknowledged {
    /// Continues where the last consumer stopped.
    pub(crate) fn adopt(header: &Header) -> Acknowledged {
        let own = &header.side(Role::Consumer).signals;
        let count = own.marks.load(Ordering::Relaxed); // as the last holder left it: P6
        Acknowledged {
            count,
            began: beginning(header, count),
        }
    }

    /// Marks acknowledged so far, by this consumer and its predecessors.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Where the stream being read began.
    pub(crate) fn began(&self) -> u64 {
        self.began
    }

    /// Whether there are marks that this consumer has not acknowledged.
    #[inline]
    pub(crate) fn is_behind(&self, header: &Header) -> bool {
        let count = &header.side(Role::Producer).signals.marks;
        count.load(Ordering::Relaxed) != self.count // compared only; `next` loads the count again
    }

    /// The next mark, if there is one. The caller loads the tail afterwards, and compares the
    /// mark's position with the tail.
    pub(crate) fn next(&self, header: &Header) -> Result<Option<Mark>, Corruption> {
        let count = header
            .side(Role::Producer)
            .signals
            .marks
            .load(Ordering::Acquire); // P8
        if unread(count, self.count)? == 0 {
            return Ok(None);
        }
        let slot = slot(header, self.count);
        let position = slot.position.load(Ordering::Relaxed); // P8, P9
        let word = slot.ending.load(Ordering::Relaxed); // P8, P9
        match Ending::from_word(word) {
            Some(ending) => Ok(Some(Mark { position, ending })),
            None => Err(Corruption::new(Rule::MarkEnding, word, 3)),
        }
    }

    /// Acknowledges the next mark, which lies at `position`. From here on the consumer reads the
    /// stream after it.
    pub(crate) fn acknowledge(&mut self, header: &Header, position: u64) {
        self.count = self.count.wrapping_add(1);
        self.began = position;
        let own = &header.side(Role::Consumer).signals;
        own.marks.store(self.count, Ordering::Release); // P9
        failpoint!(Acknowledged);
        fence(Ordering::SeqCst); // P5
        // P5, with the fence
        if own.places.load(Ordering::Relaxed) & WAITING == 0 {
            return;
        }
        // Clears the waiting bit and changes the rest of the word.
        own.places.fetch_add(WAITING, Ordering::Relaxed); // P5
        futex::wake(&own.places);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn endings_are_told_apart() {
        for ending in [
            Ending::Finished,
            Ending::Aborted,
            Ending::Died(0),
            Ending::Died(u32::MAX),
        ] {
            assert_eq!(Ending::from_word(ending.to_word()), Some(ending));
        }
        for word in [0, 4, 0x101, 0x102, 1 << 40 | 3, u64::MAX] {
            assert_eq!(Ending::from_word(word), None, "{word:#x}");
        }
    }

    #[test]
    fn a_role_needs_two_places() {
        let header = Header::default();
        let consumer = &header.side(Role::Consumer).signals;
        for number in 0..MOST_UNREAD - 1 {
            assert_eq!(check_places(&header), Ok(()), "after {number} marks");
            leave(&header, number, number, Ending::Finished);
        }
        let full = Err(NoPlace::TooMany(MOST_UNREAD - 1));
        assert_eq!(check_places(&header), full);
        leave(&header, MOST_UNREAD - 1, MOST_UNREAD, Ending::Finished);
        assert_eq!(check_places(&header), Err(NoPlace::TooMany(MOST_UNREAD)));
        consumer.marks.store(2, Ordering::Relaxed); // one thread
        assert_eq!(check_places(&header), Ok(()));
        // More than there can be, and fewer than were acknowledged.
        for acknowledged in [u64::MAX, MOST_UNREAD + 1] {
            consumer.marks.store(acknowledged, Ordering::Relaxed); // one thread
            assert!(matches!(check_places(&header), Err(NoPlace::Corrupt(_))));
        }
    }

    #[test]
    fn the_dead_are_marked_once_and_only_if_they_wrote() {
        let header = Header::default();
        let producer = header.side(Role::Producer);
        let count = || producer.signals.marks.load(Ordering::Relaxed); // one thread
        break_off(&header, 7);
        assert_eq!(count(), 0, "the producer had not written");
        producer.position.store(5, Ordering::Relaxed); // one thread
        break_off(&header, 7);
        break_off(&header, 8);
        assert_eq!(count(), 1);
        let next = Acknowledged::adopt(&header).next(&header);
        let mark = Mark {
            position: 5,
            ending: Ending::Died(7),
        };
        assert_eq!(next, Ok(Some(mark)));
        assert_eq!(beginning(&header, 1), 5);
    }

    #[test]
    fn a_consumer_goes_on_where_the_last_one_stopped() {
        let header = Header::default();
        leave(&header, 0, 3, Ending::Finished);
        leave(&header, 1, 3, Ending::Aborted);
        let mut consumer = Acknowledged::adopt(&header);
        assert_eq!(consumer.began(), 0);
        assert!(consumer.is_behind(&header));
        consumer.acknowledge(&header, 3);
        let consumer = Acknowledged::adopt(&header);
        assert_eq!(consumer.began(), 3);
        let ending = consumer.next(&header).unwrap().unwrap().ending;
        assert_eq!(ending, Ending::Aborted);
    }
}
