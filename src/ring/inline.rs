//! Inline messages: a short message copied beside the tail that publishes it, on the same line.
//!
//! A reader that waits for a reply polls the tail. Fetching the message's own line of the ring
//! afterwards costs as much again. The reader can ask for inline messages by its delivery hint
//! ([`Signals::delivery_hint`]). While the hint is set, the writer also copies a short message
//! beside the tail. The cache line that brings the new tail then brings the message too, or, on
//! processors with lines of 64 bytes, its first [`NEAR_BYTES`] bytes.
//!
//! The ring remains the stream. An inline message is a copy of the last bytes before a tail, which
//! lie in the ring too. A reader that comes later, or wants more bytes, reads the ring.
//!
//! # Order: a seqlock (P7)
//!
//! ```text
//! writer                               reader
//! end = invalid, Relaxed               tail, Acquire (P1)
//! fence(Release)                       end, Relaxed: is it the tail?
//! start, words, Relaxed                start, words, Relaxed
//! end = tail to be, Relaxed            fence(Acquire)
//! tail, Release (P1)                   end, Relaxed: is it still the tail?
//! ```
//!
//! The message is read like a seqlock: copied, and used only if `end` is the same before and after.
//!
//! The reader never copies a word of an earlier message: it has loaded the tail with Acquire, and
//! the tail carries every earlier store (P1).
//!
//! A reader that copies a word of a later message discards the copy. By the two fences, the reader
//! then also sees the invalid `end` stored before that word, or a later `end`. Neither is the tail.
//!
//! Each publication has its own `end`, with one exception. A writer may die after its last store of
//! `end` and before that of the tail. Its successor may then publish other bytes with the same
//! `end`. The successor therefore starts with an invalid `end`.
//!
//! # A peer that lies
//!
//! The reader copies at most what the words hold and what its caller asked for. A lie amounts to
//! wrong bytes, which a lying peer could as well have put in the ring.
//!
//! [`Signals::delivery_hint`]: crate::segment::layout::Signals

use crate::segment::copy;
use crate::segment::layout::{INLINE_WORDS, InlineMessage};
use crate::sync::{Ordering, fence};

/// Bytes of the longest inline message.
pub(crate) const MOST: usize = INLINE_WORDS * WORD;

/// Bytes of an inline message that share the tail's line, on processors with lines of 64 bytes.
pub(crate) const NEAR_BYTES: usize = 40;

const WORD: usize = size_of::<u64>();

impl InlineMessage {
    /// Invalidates the message for a writer that starts at `tail`.
    pub(crate) fn clear(&self, tail: u64) {
        self.end.store(invalid_end(tail), Ordering::Relaxed); // P7: published by the next tail, P1
    }

    /// Prefetches the lines of the tail and of a message of `len` bytes for writing. A hint.
    #[inline]
    pub(crate) fn prefetch_write(&self, len: usize) {
        copy::prefetch_write(std::ptr::from_ref(self).cast());
        if len > NEAR_BYTES {
            copy::prefetch_write(std::ptr::from_ref(&self.words[NEAR_BYTES / WORD]).cast());
        }
    }

    /// Prefetches the second line of a message of more than [`NEAR_BYTES`] for reading. A hint.
    /// Without it, round trips of 100 bytes came to 0.79 to 0.90 of the speed with it (interleaved,
    /// Zen 3).
    #[inline]
    pub(crate) fn prefetch_far(&self) {
        copy::prefetch_read(std::ptr::from_ref(&self.words[NEAR_BYTES / WORD]).cast());
    }

    /// Stores `bytes`, at most [`MOST`], as the inline message. They begin at `start` and are about
    /// to be published.
    #[inline]
    pub(crate) fn put(&self, start: u64, bytes: &[u8]) {
        let end = start.wrapping_add(bytes.len() as u64);
        self.end.store(invalid_end(end), Ordering::Relaxed); // P7
        fence(Ordering::Release); // P7
        self.start.store(start, Ordering::Relaxed); // P7
        if let Ok(word) = bytes.try_into() {
            self.words[0].store(u64::from_ne_bytes(word), Ordering::Relaxed); // P7
        } else {
            self.put_words(bytes);
        }
        self.end.store(end, Ordering::Relaxed); // P7: published by the tail, P1
    }

    #[inline(never)]
    fn put_words(&self, bytes: &[u8]) {
        let (whole, rest) = bytes.as_chunks::<WORD>();
        for (word, chunk) in self.words.iter().zip(whole) {
            word.store(u64::from_ne_bytes(*chunk), Ordering::Relaxed); // P7
        }
        if !rest.is_empty()
            && let Some(word) = self.words.get(whole.len())
        {
            word.store(packed(rest), Ordering::Relaxed); // P7
        }
    }

    /// Fills `bytes` with the inline message if that is exactly the bytes from `start` to the tail.
    /// Otherwise returns `false`, and the content of `bytes` is unspecified. The caller has loaded
    /// the tail with Acquire.
    #[inline]
    pub(crate) fn get(&self, start: u64, bytes: &mut [u8]) -> bool {
        let end = start.wrapping_add(bytes.len() as u64);
        if self.end.load(Ordering::Relaxed) != end // P7
            || self.start.load(Ordering::Relaxed) != start // P7
            || bytes.len() > MOST
        {
            return false;
        }
        if let Ok(word) = <&mut [u8; WORD]>::try_from(&mut *bytes) {
            *word = self.words[0].load(Ordering::Relaxed).to_ne_bytes(); // P7
        } else {
            self.get_words(bytes);
        }
        fence(Ordering::Acquire); // P7
        self.end.load(Ordering::Relaxed) == end // P7
    }

    #[inline(never)]
    fn get_words(&self, bytes: &mut [u8]) {
        let (whole, rest) = bytes.as_chunks_mut::<WORD>();
        let last = self.words.get(whole.len());
        for (word, chunk) in self.words.iter().zip(whole) {
            *chunk = word.load(Ordering::Relaxed).to_ne_bytes(); // P7
        }
        if !rest.is_empty()
            && let Some(word) = last
        {
            unpack(word.load(Ordering::Relaxed), rest); // P7
        }
    }
}

/// Packs fewer than eight bytes into a word without a call to `memcpy`.
#[inline]
fn packed(bytes: &[u8]) -> u64 {
    let bytes = bytes.iter().rev();
    bytes.fold(0, |word, &byte| word << 8 | u64::from(byte))
}

/// Unpacks the bytes that [`packed`] has packed.
#[inline]
fn unpack(mut word: u64, bytes: &mut [u8]) {
    for byte in bytes {
        *byte = word as u8; // the lowest
        word >>= 8;
    }
}

/// An invalid end: half the range away, so that no reader near `end` looks for it.
fn invalid_end(end: u64) -> u64 {
    end ^ 1 << 63
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_stored_and_found() {
        let message = InlineMessage::default();
        let source: Vec<u8> = (1..=MOST as u8).collect();
        let step = if cfg!(miri) { 7 } else { 1 }; // Miri is slow
        for start in [0, 5, u64::MAX - 3] {
            for len in (1..=MOST).step_by(step) {
                let mut bytes = vec![0; len];
                message.put(start, &source[..len]);
                assert!(message.get(start, &mut bytes));
                assert_eq!(bytes, source[..len]);
            }
        }
    }

    #[test]
    fn what_is_not_the_whole_message_is_not_found() {
        let message = InlineMessage::default();
        message.put(100, &[7; 20]);
        assert!(!message.get(100, &mut [0; 19]));
        assert!(!message.get(100, &mut [0; 21]));
        assert!(!message.get(101, &mut [0; 19]));
        assert!(!message.get(99, &mut [0; 21]));
        assert!(message.get(100, &mut [0; 20]));
        message.clear(120);
        assert!(!message.get(100, &mut [0; 20]));
    }

    #[test]
    fn a_lie_about_the_start_is_bounded() {
        let message = InlineMessage::default();
        let end = 1000u64;
        message.end.store(end, Ordering::Relaxed); // one thread
        for len in [MOST + 1, 500] {
            let start = end - len as u64;
            message.start.store(start, Ordering::Relaxed); // one thread
            assert!(!message.get(start, &mut vec![0; len]));
        }
    }
}
