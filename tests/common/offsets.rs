//! Where the words of a segment lie, for tests that write them as no peer may.
//! tests/memory/layout.rs compares them with the bytes of real rings.

use super::{SegmentId, poke};

/// The features without which a segment must not be used, 32 bits.
pub(crate) const REQUIRED: usize = 76;
/// The life-cycle word, 64 bits as all that follow unless said.
pub(crate) const STATE: usize = 128;
/// The owner words of the two roles, the producer's first.
pub(crate) const OWNERS: [usize; 2] = [136, 176];
/// What the holder of a role can do, 32 bits.
pub(crate) const CAPABILITIES: [usize; 2] = [172, 212];
pub(crate) const TAIL: usize = 256;
pub(crate) const HEAD: usize = 512;
/// The signals of the two sides, the producer's first.
pub(crate) const SIGNALS: [usize; 2] = [384, 640];
/// How each side has left.
pub(crate) const CLOSED: [usize; 2] = SIGNALS;
/// From the signals of a side to the word that it sleeps on, 32 bits.
pub(crate) const SLEEPING: usize = 8;
/// The same, to what the consumer asks for; 32 bits.
pub(crate) const WANTS: usize = 12;
/// The same, to the position that a sleeper waits for.
pub(crate) const WANTED: usize = 16;
/// The same, to the count of claims.
pub(crate) const CLAIMS: usize = 24;
/// Marks made, and marks acknowledged.
pub(crate) const MARKS_MADE: usize = SIGNALS[0] + 32;
pub(crate) const MARKS_ACKNOWLEDGED: usize = SIGNALS[1] + 32;
/// How many marks there is room for, and bytes of the header.
pub(crate) const MARKS: u64 = 128;
pub(crate) const HEADER: usize = 4096;

/// Where mark `number` lies: its position, then its ending.
pub(crate) fn mark(number: u64) -> usize {
    1024 + 16 * (number % MARKS) as usize
}

/// Has a ring, of which nobody holds an end, be empty at this position, and
/// its next stream begin there.
pub(crate) fn set_start(id: SegmentId, position: u64) {
    let made = read(id, MARKS_MADE);
    assert_eq!(made, read(id, MARKS_ACKNOWLEDGED), "an end is unread");
    for word in [TAIL, HEAD, mark(made.wrapping_sub(1))] {
        poke(id, word, &position.to_ne_bytes());
    }
}

/// A word of a segment.
pub(crate) fn read(id: SegmentId, offset: usize) -> u64 {
    let bytes = super::bytes_of(id);
    u64::from_ne_bytes(bytes[offset..offset + 8].try_into().unwrap())
}
