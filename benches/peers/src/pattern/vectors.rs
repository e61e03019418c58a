//! Whole words of the pattern, by the widest vectors that the processor has.

use super::{Words, word};

/// The fastest functions of this processor.
pub(super) fn fastest() -> Words {
    all().pop().expect("the portable ones at least")
}

/// Those that this processor can run, the fastest last.
fn all() -> Vec<Words> {
    #[allow(unused_mut)] // where there are no vectors
    let mut all = vec![Words {
        equal: equal_portable,
        make: make_portable,
    }];
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        all.push(Words {
            // SAFETY: the processor has AVX2.
            equal: |bytes, first| unsafe { avx2::equal(bytes, first) },
            // SAFETY: the processor has AVX2.
            make: |bytes, first| unsafe { avx2::make(bytes, first) },
        });
    }
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        all.push(Words {
            // SAFETY: the processor has AVX-512.
            equal: |bytes, first| unsafe { avx512::equal(bytes, first) },
            // SAFETY: the processor has AVX-512.
            make: |bytes, first| unsafe { avx512::make(bytes, first) },
        });
    }
    all
}

fn equal_portable(bytes: &[u8], first: u32) -> bool {
    let mut differ = 0;
    for (at, bytes) in bytes.as_chunks::<4>().0.iter().enumerate() {
        differ |= u32::from_le_bytes(*bytes) ^ word(first.wrapping_add(at as u32));
    }
    differ == 0
}

fn make_portable(bytes: &mut [u8], first: u32) {
    for (at, bytes) in bytes.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        *bytes = word(first.wrapping_add(at as u32)).to_le_bytes();
    }
}

/// Defines a module with the check, and the making, by vectors of that many words.
#[cfg(target_arch = "x86_64")]
macro_rules! by_vectors {
    ($module:ident, $features:literal, $vector:ident, $lanes:literal, $load:ident,
     $store:ident, $set:ident, $add:ident,
     |$differ:ident, $found:ident, $expected:ident| $note:expr, |$all:ident| $zero:expr) => {
        mod $module {
            use core::arch::x86_64::*;

            use crate::pattern::{STEP, word};

            const LANES: usize = $lanes;
            const BYTES: usize = 4 * LANES;
            const VECTORS: usize = 4;
            /// The differences of the first vector's words from the first word.
            const LANE: &[i32; LANES] = &{
                let mut lane = [0; LANES];
                let mut at = 0;
                while at < LANES {
                    lane[at] = STEP.wrapping_mul(at as u32).cast_signed();
                    at += 1;
                }
                lane
            };

            /// The difference of a word from that of as many vectors before.
            #[target_feature(enable = $features)]
            #[inline]
            fn step(vectors: usize) -> $vector {
                $set(((vectors * LANES) as u32).wrapping_mul(STEP).cast_signed())
            }

            /// The first vectors of words.
            #[target_feature(enable = $features)]
            #[inline]
            fn start(first: u32) -> [$vector; VECTORS] {
                // SAFETY: a whole vector, which need not be aligned.
                let lanes = unsafe { $load(LANE.as_ptr().cast()) };
                let start = $add($set(word(first).cast_signed()), lanes);
                let mut words = [start; VECTORS];
                for (vector, words) in words.iter_mut().enumerate() {
                    *words = $add(start, step(vector));
                }
                words
            }

            #[target_feature(enable = $features)]
            pub(super) fn equal(bytes: &[u8], first: u32) -> bool {
                let mut expected = start(first);
                let far = step(VECTORS);
                let mut differ = [$set(0); VECTORS];
                let (parts, rest) = bytes.as_chunks::<{ BYTES * VECTORS }>();
                for part in parts {
                    let (vectors, _) = part.as_chunks::<BYTES>();
                    for at in 0..VECTORS {
                        // SAFETY: a whole vector, which need not be aligned.
                        let $found = unsafe { $load(vectors[at].as_ptr().cast()) };
                        let ($differ, $expected) = (differ[at], expected[at]);
                        differ[at] = $note;
                        expected[at] = $add(expected[at], far);
                    }
                }
                let (vectors, rest) = rest.as_chunks::<BYTES>();
                for vector in vectors {
                    // SAFETY: a whole vector, which need not be aligned.
                    let $found = unsafe { $load(vector.as_ptr().cast()) };
                    let ($differ, $expected) = (differ[0], expected[0]);
                    differ[0] = $note;
                    expected[0] = $add(expected[0], step(1));
                }
                let good = differ.iter().all(|$all| $zero);
                let done = (bytes.len() - rest.len()) / 4;
                good && super::equal_portable(rest, first.wrapping_add(done as u32))
            }

            #[target_feature(enable = $features)]
            pub(super) fn make(bytes: &mut [u8], first: u32) {
                let len = bytes.len();
                let mut words = start(first);
                let far = step(VECTORS);
                let (parts, rest) = bytes.as_chunks_mut::<{ BYTES * VECTORS }>();
                for part in parts {
                    let (vectors, _) = part.as_chunks_mut::<BYTES>();
                    for at in 0..VECTORS {
                        // SAFETY: a whole vector, which need not be aligned.
                        unsafe { $store(vectors[at].as_mut_ptr().cast(), words[at]) };
                        words[at] = $add(words[at], far);
                    }
                }
                let (vectors, rest) = rest.as_chunks_mut::<BYTES>();
                for vector in vectors {
                    // SAFETY: a whole vector, which need not be aligned.
                    unsafe { $store(vector.as_mut_ptr().cast(), words[0]) };
                    words[0] = $add(words[0], step(1));
                }
                let done = (len - rest.len()) / 4;
                super::make_portable(rest, first.wrapping_add(done as u32));
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
by_vectors!(
    avx2,
    "avx2",
    __m256i,
    8,
    _mm256_loadu_si256,
    _mm256_storeu_si256,
    _mm256_set1_epi32,
    _mm256_add_epi32,
    |differ, found, expected| _mm256_or_si256(differ, _mm256_xor_si256(found, expected)),
    |all| _mm256_testz_si256(*all, *all) == 1
);
#[cfg(target_arch = "x86_64")]
by_vectors!(
    avx512,
    "avx512f",
    __m512i,
    16,
    _mm512_loadu_si512,
    _mm512_storeu_si512,
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
    fn all_vectors_make_and_check_the_same_words() {
        for words in all() {
            for len in (0..2100).step_by(4) {
                let mut bytes = vec![0; len];
                (words.make)(&mut bytes, 7);
                let mut expected = vec![0; len];
                make_portable(&mut expected, 7);
                assert_eq!(bytes, expected);
                assert!((words.equal)(&bytes, 7));
                if let Some(last) = bytes.last_mut() {
                    *last ^= 1;
                    assert!(!(words.equal)(&bytes, 7), "{len}");
                }
            }
        }
    }
}
