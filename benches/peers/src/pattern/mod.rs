//! The bytes that are sent, and the check of each of them.
//!
//! Word `i` of 32 bits is `(i + 1) * STEP`. The pattern repeats after [`PERIOD`] bytes,
//! which divide the size of no ring. So bytes of another lap are wrong bytes.
//!
//! The writer sends from memory that holds the pattern. The reader makes the expected words
//! in registers, so its check reads each received byte once, and no other memory.
#![allow(unsafe_code)] // vectors

/// Bytes after which the pattern repeats: 1021 lines, a prime.
pub(crate) const PERIOD: usize = 1021 * 64;
const STEP: u32 = 0x9e37_79b1;
/// The largest number of bytes that are compared with memory. Making the words of so few
/// takes longer.
const SHORT: usize = 128;

/// Memory that holds the pattern, and starts `skew` bytes after the start of a page.
pub(crate) struct Source {
    bytes: Vec<u8>,
    start: usize,
    words_equal: fn(&[u8], u32) -> bool,
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
            words_equal: kernel(),
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
            return (self.words_equal)(bytes, (at / 4) as u32);
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
            good &= (self.words_equal)(words, (cursor.0 / 4) as u32);
            cursor.pass(words.len());
            good &= few_equal(tail, self.next(cursor, tail.len()));
            bytes = later;
        }
        good
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

/// The fastest check of whole words against the pattern that this processor has.
fn kernel() -> fn(&[u8], u32) -> bool {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has AVX-512.
        return |bytes, first| unsafe { words_equal_avx512(bytes, first) };
    }
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return |bytes, first| unsafe { words_equal_avx2(bytes, first) };
    }
    words_equal_portable
}

fn words_equal_portable(bytes: &[u8], first: u32) -> bool {
    let mut differ = 0;
    for (at, bytes) in bytes.as_chunks::<4>().0.iter().enumerate() {
        differ |= u32::from_le_bytes(*bytes) ^ word(first.wrapping_add(at as u32));
    }
    differ == 0
}

/// Defines the check by vectors of that many words.
#[cfg(target_arch = "x86_64")]
macro_rules! words_equal {
    ($name:ident, $features:literal, $lanes:literal, $load:ident, $set:ident, $add:ident,
     |$differ:ident, $found:ident, $expected:ident| $note:expr, |$all:ident| $zero:expr) => {
        #[target_feature(enable = $features)]
        fn $name(bytes: &[u8], first: u32) -> bool {
            use core::arch::x86_64::*;
            const LANES: usize = $lanes;
            const VECTORS: usize = 4;
            // The differences of the first vector's words from `first`.
            const LANE: &[i32; LANES] = &{
                let mut lane = [0; LANES];
                let mut at = 0;
                while at < LANES {
                    lane[at] = STEP.wrapping_mul(at as u32).cast_signed();
                    at += 1;
                }
                lane
            };
            // SAFETY: a whole vector, which need not be aligned.
            let lanes = unsafe { $load(LANE.as_ptr().cast()) };
            let step =
                |vectors: usize| $set(((vectors * LANES) as u32).wrapping_mul(STEP).cast_signed());
            let start = $add($set(word(first).cast_signed()), lanes);
            let mut expected = [start; VECTORS];
            for (vector, expected) in expected.iter_mut().enumerate() {
                *expected = $add(start, step(vector));
            }
            let far = step(VECTORS);
            let mut differ = [$set(0); VECTORS];
            let (parts, rest) = bytes.as_chunks::<{ 4 * LANES * VECTORS }>();
            for part in parts {
                let (vectors, _) = part.as_chunks::<{ 4 * LANES }>();
                for at in 0..VECTORS {
                    // SAFETY: a whole vector, which need not be aligned.
                    let $found = unsafe { $load(vectors[at].as_ptr().cast()) };
                    let ($differ, $expected) = (differ[at], expected[at]);
                    differ[at] = $note;
                    expected[at] = $add(expected[at], far);
                }
            }
            let (vectors, rest) = rest.as_chunks::<{ 4 * LANES }>();
            for vector in vectors {
                // SAFETY: a whole vector, which need not be aligned.
                let $found = unsafe { $load(vector.as_ptr().cast()) };
                let ($differ, $expected) = (differ[0], expected[0]);
                differ[0] = $note;
                expected[0] = $add(expected[0], step(1));
            }
            let good = differ.iter().all(|$all| $zero);
            let done = (bytes.len() - rest.len()) / 4;
            good && words_equal_portable(rest, first.wrapping_add(done as u32))
        }
    };
}

#[cfg(target_arch = "x86_64")]
words_equal!(
    words_equal_avx2,
    "avx2",
    8,
    _mm256_loadu_si256,
    _mm256_set1_epi32,
    _mm256_add_epi32,
    |differ, found, expected| _mm256_or_si256(differ, _mm256_xor_si256(found, expected)),
    |all| _mm256_testz_si256(*all, *all) == 1
);
#[cfg(target_arch = "x86_64")]
words_equal!(
    words_equal_avx512,
    "avx512f",
    16,
    _mm512_loadu_si512,
    _mm512_set1_epi32,
    _mm512_add_epi32,
    // differ |= found ^ expected
    |differ, found, expected| _mm512_ternarylogic_epi32::<0xf6>(differ, found, expected),
    |all| _mm512_test_epi32_mask(*all, *all) == 0
);

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
