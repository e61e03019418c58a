//! The bytes that are sent, and the check of each of them.
//!
//! Word `i` of 32 bits is `(i + 1) * STEP`. The pattern repeats after [`PERIOD`] bytes,
//! which divide the size of no ring. So bytes of another lap are wrong bytes.
//!
//! The writer sends from memory that holds the pattern. The reader makes the expected words
//! in registers, so its check reads each received byte once, and no other memory. A writer in
//! the channel's memory makes the words in registers, too.
#![allow(unsafe_code)] // an index without a check

mod vectors;

/// Bytes after which the pattern repeats: 1021 lines, a prime.
pub(crate) const PERIOD: usize = 1021 * 64;
const STEP: u32 = 0x9e37_79b1;
/// The largest number of bytes that are compared with memory, or made without a call. Calling
/// the vectors for so few takes longer.
const SHORT: usize = 128;

/// Memory that holds the pattern, and starts `skew` bytes after the start of a page.
pub(crate) struct Source {
    bytes: Vec<u8>,
    start: usize,
    words: Words,
}

/// What is done with whole words from a given one on.
#[derive(Clone, Copy)]
struct Words {
    equal: fn(&[u8], u32) -> bool,
    make: fn(&mut [u8], u32),
}

impl Source {
    /// A source for blocks of at most `block` bytes.
    pub(crate) fn new(block: usize, skew: usize) -> Source {
        let len = PERIOD + block;
        let mut bytes = vec![0; len + skew + 4096];
        let start = bytes.as_ptr().align_offset(4096) + skew;
        for (at, byte) in bytes[start..start + len].iter_mut().enumerate() {
            *byte = byte_at(at);
        }
        Source {
            bytes,
            start,
            words: vectors::fastest(),
        }
    }

    /// The next `len` bytes of the stream. Moves the cursor past them.
    #[inline(always)]
    pub(crate) fn next(&self, cursor: &mut Cursor, len: usize) -> &[u8] {
        let from = self.start + cursor.0;
        cursor.pass(len);
        debug_assert!(from + len <= self.bytes.len());
        // SAFETY: a cursor is below PERIOD. `len` is at most the block that the memory was
        // made for.
        unsafe { self.bytes.get_unchecked(from..from + len) }
    }

    /// Whether `bytes` are the next bytes of the stream. Moves the cursor past them.
    #[inline(always)]
    pub(crate) fn check(&self, cursor: &mut Cursor, bytes: &[u8]) -> bool {
        if bytes.len() <= SHORT {
            let expected = self.next(cursor, bytes.len());
            return short_equal(bytes, expected);
        }
        self.check_long(cursor, bytes)
    }

    fn check_long(&self, cursor: &mut Cursor, mut bytes: &[u8]) -> bool {
        let at = cursor.0;
        if at.is_multiple_of(4) && bytes.len().is_multiple_of(4) && at + bytes.len() <= PERIOD {
            cursor.pass(bytes.len());
            return (self.words.equal)(bytes, (at / 4) as u32);
        }
        let mut good = true;
        while !bytes.is_empty() {
            let piece = bytes.len().min(PERIOD - cursor.0);
            let (now, later) = bytes.split_at(piece);
            // First the bytes up to a whole word, then words, then the rest.
            let head = (cursor.0.next_multiple_of(4) - cursor.0).min(piece);
            let (head, rest) = now.split_at(head);
            let (words, tail) = rest.split_at(rest.len() & !3);
            good &= few_equal(head, self.next(cursor, head.len()));
            good &= (self.words.equal)(words, (cursor.0 / 4) as u32);
            cursor.pass(words.len());
            good &= few_equal(tail, self.next(cursor, tail.len()));
            bytes = later;
        }
        good
    }

    /// Writes the next bytes of the stream to all of `bytes`. Moves the cursor past them.
    #[inline(always)]
    pub(crate) fn make(&self, cursor: &mut Cursor, bytes: &mut [u8]) {
        let (at, len) = (cursor.0, bytes.len());
        let is_whole = at.is_multiple_of(4) && at + len <= PERIOD;
        if len <= SHORT && len.is_multiple_of(8) && is_whole {
            cursor.pass(len);
            make_short(bytes, (at / 4) as u32);
        } else {
            *cursor = self.make_long(*cursor, bytes);
        }
    }

    /// Returns the cursor, which stays in a register on the short path.
    #[inline(never)]
    fn make_long(&self, mut cursor: Cursor, mut bytes: &mut [u8]) -> Cursor {
        while !bytes.is_empty() {
            let piece = bytes.len().min(PERIOD - cursor.0);
            let (now, later) = bytes.split_at_mut(piece);
            // First the bytes up to a whole word, then words, then the rest.
            let head = (cursor.0.next_multiple_of(4) - cursor.0).min(piece);
            let (head, rest) = now.split_at_mut(head);
            let (words, tail) = rest.split_at_mut(rest.len() & !3);
            head.copy_from_slice(self.next(&mut cursor, head.len()));
            (self.words.make)(words, (cursor.0 / 4) as u32);
            cursor.pass(words.len());
            tail.copy_from_slice(self.next(&mut cursor, tail.len()));
            bytes = later;
        }
        cursor
    }
}

/// A position in the pattern.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cursor(usize);

impl Cursor {
    #[inline(always)]
    pub(crate) fn pass(&mut self, len: usize) {
        self.0 += len;
        if self.0 >= PERIOD {
            self.0 %= PERIOD;
        }
    }
}

fn byte_at(at: usize) -> u8 {
    let at = at % PERIOD;
    word(at as u32 / 4).to_le_bytes()[at % 4]
}

#[inline(always)]
fn word(index: u32) -> u32 {
    index.wrapping_add(1).wrapping_mul(STEP)
}

/// Makes words of eight bytes, without a call.
#[inline(always)]
fn make_short(bytes: &mut [u8], first: u32) {
    let mut low = word(first);
    for bytes in bytes.as_chunks_mut::<8>().0 {
        let high = low.wrapping_add(STEP);
        *bytes = (u64::from(high) << 32 | u64::from(low)).to_le_bytes();
        low = high.wrapping_add(STEP);
    }
}

/// Compares by words of eight bytes, since a load must not be longer than the store before
/// it.
#[inline(always)]
fn short_equal(bytes: &[u8], expected: &[u8]) -> bool {
    let (a, b) = (bytes.as_chunks::<8>(), expected.as_chunks::<8>());
    let mut differ = 0;
    for (a, b) in a.0.iter().zip(b.0) {
        differ |= u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b);
    }
    differ == 0 && few_equal(a.1, b.1)
}

/// Compares less than a word, without a call.
#[inline(always)]
fn few_equal(bytes: &[u8], expected: &[u8]) -> bool {
    let differ = bytes
        .iter()
        .zip(expected)
        .fold(0, |differ, (a, b)| differ | (a ^ b));
    differ == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wrong_byte_is_noticed() {
        for len in [
            1, 7, 8, 63, 64, 255, 256, 257, 300, 1021, 4096, 65_533, 70_000,
        ] {
            let source = Source::new(len, 13);
            for start in [0, 1, 2, 3, 60, PERIOD - 65, PERIOD - 1] {
                let mut cursor = Cursor(start);
                let sent = source.next(&mut cursor, len).to_vec();
                let mut received = sent.clone();
                let mut again = Cursor(start);
                assert!(source.check(&mut again, &received), "{len} from {start}");
                assert_eq!(again.0, cursor.0);
                for at in (0..len).step_by(1 + len / 200).chain([len - 1]) {
                    received[at] ^= 0x10;
                    assert!(!source.check(&mut Cursor(start), &received), "{len}, {at}");
                    received[at] ^= 0x10;
                }
            }
        }
    }

    #[test]
    fn what_is_made_is_the_stream() {
        for len in [
            0, 1, 7, 8, 63, 64, 128, 136, 255, 256, 257, 300, 1024, 4096, 65_533, 70_000,
        ] {
            let source = Source::new(len, 0);
            for start in [0, 1, 2, 4, 60, PERIOD - 68, PERIOD - 65, PERIOD - 1] {
                let mut cursor = Cursor(start);
                let expected = source.next(&mut cursor, len);
                let mut made = vec![0xee; len + 2];
                let mut again = Cursor(start);
                source.make(&mut again, &mut made[1..=len]);
                assert_eq!(&made[1..=len], expected, "{len} from {start}");
                assert_eq!((made[0], made[len + 1]), (0xee, 0xee));
                assert_eq!(again.0, cursor.0);
            }
        }
    }

    #[test]
    fn what_is_made_passes_the_check_in_pieces() {
        let source = Source::new(4096, 0);
        let (mut made, mut checked) = (Cursor::default(), Cursor::default());
        let mut bytes = vec![0; 3 * PERIOD];
        for piece in bytes.chunks_mut(1000) {
            source.make(&mut made, piece);
        }
        for piece in bytes.chunks(777) {
            assert!(source.check(&mut checked, piece));
        }
    }

    #[test]
    fn a_lap_of_a_ring_is_not_the_stream() {
        let source = Source::new(4096, 0);
        let mut bytes = vec![0; 4096];
        for lap in [4096, 65_536, 262_144, 4 << 20] {
            let old = source.next(&mut Cursor(lap % PERIOD), 4096);
            bytes.copy_from_slice(old);
            assert!(!source.check(&mut Cursor(0), &bytes));
        }
    }
}
