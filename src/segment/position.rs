//! Arithmetic on positions: how much is readable, how much is writable, and whether the peer's
//! position is possible.
//!
//! A *position* counts bytes since the ring was made. It only grows, and wraps at the width of its
//! word (2^64 in the segment). An *index* is a position modulo the capacity. Empty is `head ==
//! tail`; full is `tail - head == capacity`. The two differ, because a position has more bits than
//! an index.
//!
//! A position is a `u64`, and so is a difference of positions, such as the room or the readable
//! bytes. An index and the length of a slice are a `usize`. Targets have 64 bits, and a capacity is
//! checked to fit a `usize` (`segment/identity.rs`).
//!
//! All functions are pure. Those that judge a peer's word are generic over the word's width, so
//! that the tests can try every combination at eight bits.
//!
//! The functions require that `capacity` is a power of two, at most half the width's range. They
//! also require that the caller's private values are consistent: its own position, and the last
//! accepted position of the peer. The functions guarantee:
//!
//! 1. The result is at most `capacity`, whatever the peer wrote.
//! 2. A position that the protocol cannot produce is refused, never adjusted.
//! 3. Nothing overflows or panics.

/// An unsigned word that counts positions.
pub(crate) trait Width: Copy + Ord {
    /// `self - earlier`, modulo the width.
    fn since(self, earlier: Self) -> Self;
    /// `self & mask`.
    fn masked(self, mask: usize) -> usize;
}

macro_rules! width {
    ($($word:ty),*) => {$(
        impl Width for $word {
            #[inline]
            fn since(self, earlier: Self) -> Self {
                self.wrapping_sub(earlier)
            }

            #[inline]
            fn masked(self, mask: usize) -> usize {
                self as usize & mask // a narrower usize keeps all bits of the mask
            }
        }
    )*};
}

width!(u64);
#[cfg(test)]
width!(u8, u32);

/// How a position loaded from the segment contradicts the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The position is farther than the capacity from our own position.
    OutOfRange,
    /// The position is behind a value that was seen before.
    MovedBack,
}

/// The bytes that the consumer may read, given a freshly loaded `tail`.
///
/// `head` is the consumer's own position, and `known_tail` the last accepted tail.
#[inline]
pub(crate) fn readable<W: Width>(head: W, known_tail: W, tail: W, capacity: W) -> Result<W, Fault> {
    let readable = tail.since(head);
    if readable > capacity {
        return Err(Fault::OutOfRange);
    }
    if readable < known_tail.since(head) {
        return Err(Fault::MovedBack);
    }
    Ok(readable)
}

/// The bytes that the producer may not overwrite yet, given a freshly loaded `head`. The room is
/// the capacity less this number.
///
/// `tail` is the producer's own position, and `known_head` the last accepted head.
#[inline]
pub(crate) fn occupied<W: Width>(tail: W, known_head: W, head: W, capacity: W) -> Result<W, Fault> {
    let occupied = tail.since(head);
    if occupied > capacity {
        return Err(Fault::OutOfRange);
    }
    if occupied > tail.since(known_head) {
        return Err(Fault::MovedBack);
    }
    Ok(occupied)
}

/// The index of the byte at `position`.
#[inline]
#[cfg(any(test, loom))]
pub(crate) fn index<W: Width>(position: W, capacity: usize) -> usize {
    masked(position, capacity - 1)
}

/// The index of the byte at `position`, given the capacity less one.
#[inline(always)]
pub(crate) fn masked<W: Width>(position: W, mask: usize) -> usize {
    position.masked(mask)
}

/// The position `len` bytes after `position`.
#[inline(always)]
pub(crate) fn after(position: u64, len: usize) -> u64 {
    position.wrapping_add(len as u64)
}

/// The position `len` bytes before `position`.
#[inline]
pub(crate) fn before(position: u64, len: usize) -> u64 {
    position.wrapping_sub(len as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every value; every 37th under Miri, which is slow.
    const STEP: usize = if cfg!(miri) { 37 } else { 1 };

    /// Every own position, accepted word, peer's word and capacity at eight bits, compared with
    /// plain integers.
    #[test]
    fn every_combination_at_eight_bits_agrees_with_unbounded_integers() {
        for capacity in [1u8, 2, 4, 8, 16, 32, 64, 128] {
            for known in (0..=capacity).step_by(STEP) {
                for own in (0..=u8::MAX).step_by(STEP) {
                    for word in (0..=u8::MAX).step_by(STEP) {
                        check(own, known, word, capacity);
                    }
                }
            }
        }
    }

    fn check(own: u8, known: u8, word: u8, capacity: u8) {
        let [own_w, known_w, word_w, capacity_w] = [own, known, word, capacity].map(i128::from);
        let expected = |claimed| {
            let expected = consumer_expects(claimed, known_w, capacity_w);
            expected.map(|bytes| bytes as u8)
        };
        // The consumer at `own`, to which `known` bytes were readable.
        let claimed = (word_w - own_w).rem_euclid(256);
        let known_tail = own.wrapping_add(known);
        assert_eq!(readable(own, known_tail, word, capacity), expected(claimed));

        // The producer at `own`, to which `known` bytes were not yet released.
        let claimed = (own_w - word_w).rem_euclid(256);
        let expected = producer_expects(claimed, known_w, capacity_w);
        let known_head = own.wrapping_sub(known);
        assert_eq!(
            occupied(own, known_head, word, capacity),
            expected.map(|bytes| bytes as u8)
        );

        let place = usize::from(word % capacity);
        assert_eq!(index(word, usize::from(capacity)), place);
    }

    /// The expected answer to a consumer, when the peer claims that `claimed` bytes are readable.
    fn consumer_expects(claimed: i128, known: i128, capacity: i128) -> Result<i128, Fault> {
        match claimed {
            _ if claimed > capacity => Err(Fault::OutOfRange),
            _ if claimed < known => Err(Fault::MovedBack),
            _ => Ok(claimed),
        }
    }

    /// The expected answer to a producer, when the peer claims that `claimed` bytes are not
    /// released.
    fn producer_expects(claimed: i128, known: i128, capacity: i128) -> Result<i128, Fault> {
        match claimed {
            _ if claimed > capacity => Err(Fault::OutOfRange),
            _ if claimed > known => Err(Fault::MovedBack),
            _ => Ok(claimed),
        }
    }

    /// From every position, with every fill, for every length that fits: both sides compute the
    /// right fill after a write and after a read.
    #[test]
    fn every_length_at_eight_bits_keeps_the_bounds() {
        for capacity in [1u8, 2, 4, 8, 16, 32, 64, 128] {
            for head in (0..=u8::MAX).step_by(STEP) {
                for fill in (0..=capacity).step_by(STEP) {
                    let tail = head.wrapping_add(fill);
                    assert_eq!(fill == 0, head == tail);
                    for len in (0..=capacity - fill).step_by(STEP) {
                        // Written, then read.
                        let next = tail.wrapping_add(len);
                        assert_eq!(readable(head, tail, next, capacity), Ok(fill + len));
                        let next = head.wrapping_add(len.min(fill));
                        let left = fill - len.min(fill);
                        assert_eq!(occupied(tail, head, next, capacity), Ok(left));
                    }
                    // The first byte and the byte after the fill share a place only in an empty or
                    // a full ring.
                    let index = |position| index(position, usize::from(capacity));
                    let shares = index(head) == index(tail);
                    assert_eq!(shares, fill == 0 || fill == capacity);
                }
            }
        }
    }

    /// Every own position, word and last word near the places where a position wraps or changes its
    /// upper half. Every capacity, at both widths.
    #[test]
    fn every_combination_around_each_wrap_agrees_with_unbounded_integers() {
        macro_rules! around {
            ($word:ty, $edges:expr) => {
                for edge in $edges {
                    for capacity in (0..<$word>::BITS).step_by(STEP).map(|bit| 1 << bit) {
                        around_an_edge::<$word>(edge, capacity);
                    }
                }
            };
        }
        around!(u64, [0u64, 1 << 32, 1 << 63]);
        around!(u32, [0u32, 1 << 16, 1 << 31]);

        fn around_an_edge<W: Width + TryFrom<i128> + std::fmt::Debug>(edge: W, capacity: W)
        where
            i128: TryFrom<W>,
        {
            let wide = |word: W| i128::try_from(word).ok().unwrap();
            let range = 1i128 << (8 * size_of::<W>());
            let narrow = |value: i128| W::try_from(value.rem_euclid(range)).ok().unwrap();
            let (edge, capacity_w) = (wide(edge), wide(capacity));
            for own in (edge - 5..=edge + 5).step_by(STEP.min(5)) {
                for known in [0, 1, 2, capacity_w - 1, capacity_w] {
                    if !(0..=capacity_w).contains(&known) {
                        continue;
                    }
                    // Words near our position, and near a ring's length from it.
                    let near = [
                        own,
                        own + capacity_w,
                        own - capacity_w,
                        own + known,
                        own - known,
                    ];
                    for word in near
                        .into_iter()
                        .flat_map(|word| (word - 3..=word + 3).step_by(STEP.min(3)))
                    {
                        let claimed = (word - own).rem_euclid(range);
                        assert_eq!(
                            readable(narrow(own), narrow(own + known), narrow(word), capacity),
                            consumer_expects(claimed, known, capacity_w).map(narrow)
                        );
                        let claimed = (own - word).rem_euclid(range);
                        assert_eq!(
                            occupied(narrow(own), narrow(own - known), narrow(word), capacity),
                            producer_expects(claimed, known, capacity_w).map(narrow)
                        );
                        let place = word.rem_euclid(range) % capacity_w;
                        let bytes = usize::try_from(capacity_w).unwrap();
                        assert_eq!(index(narrow(word), bytes) as i128, place);
                    }
                }
            }
        }
    }

    #[test]
    fn full_and_empty_differ_around_each_wrap() {
        for edge in [0u64, 1 << 32, 1 << 63] {
            for capacity in [1u64, 2, 4096, 1 << 22] {
                for back in (0..=2 * capacity.min(64)).step_by(STEP) {
                    let head = edge.wrapping_sub(back);
                    let full = head.wrapping_add(capacity);
                    assert_eq!(readable(head, head, head, capacity), Ok(0));
                    assert_eq!(readable(head, head, full, capacity), Ok(capacity));
                    assert_eq!(
                        readable(head, head, full.wrapping_add(1), capacity),
                        Err(Fault::OutOfRange)
                    );
                    assert_eq!(occupied(head, head, head, capacity), Ok(0));
                    assert_eq!(occupied(full, head, head, capacity), Ok(capacity));
                }
            }
        }
    }

    #[test]
    fn thirty_two_bit_positions_wrap_too() {
        let head = u32::MAX - 3;
        assert_eq!(readable(head, head, 4, 8), Ok(8));
        assert_eq!(readable(head, head, 5, 8), Err(Fault::OutOfRange));
        assert_eq!(index(4u32, 8), 4);
    }
}
