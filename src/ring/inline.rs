//! A short message on the line of the tail that publishes it.
//!
//! A reader that waits for a reply looks at the tail; what it has to fetch after
//! that, the line of the ring with the message, costs as much again. So while
//! a reader asks for it ([`Signals::delivery_hint`]), a short message is put beside
//! the tail too, where the look that finds the new tail finds the message.
//!
//! The ring remains the stream: the echo is a copy of bytes that are in it, the
//! last ones before a tail. Whoever reads later, or more, reads the ring.
//!
//! # Order (P7)
//!
//! ```text
//! writer                               reader
//! end = none, Relaxed                  tail, Acquire (P1)
//! fence(Release)                       end, Relaxed: is it the tail?
//! start, words, Relaxed                start, words, Relaxed
//! end = tail to be, Relaxed            fence(Acquire)
//! tail, Release (P1)                   end, Relaxed: is it still?
//! ```
//!
//! No word of an earlier echo is copied: whoever looks for an `end` has loaded
//! that tail, which carries all that was stored before it (P1). A reader that
//! copies a word of a later echo has, by the two fences, seen the
//! `end` that was stored before it, which is not the one it looks for. No two
//! publications have one end, but for a writer that died between the last two
//! stores and its successor; the successor starts with an `end` of none.
//!
//! # A peer that lies
//!
//! The reader copies at most what the words hold and what it asked for, so a
//! lie is a wrong byte, which a lying peer could as well have put in the ring.
//!
//! [`Signals::delivery_hint`]: crate::segment::layout::Signals

use crate::segment::copy;
use crate::segment::layout::{INLINE_WORDS, InlineMessage};
use crate::sync::{Ordering, fence};

/// Bytes of the longest message that is echoed.
pub(crate) const MOST: usize = INLINE_WORDS * WORD;

/// Bytes of an echo that lie on the line of the tail, where lines have 64.
pub(crate) const NEAR: usize = 40;

const WORD: usize = size_of::<u64>();

impl InlineMessage {
    /// Makes the echo nobody's, for a writer that goes on at `tail`.
    pub(crate) fn clear(&self, tail: u64) {
        self.end.store(none(tail), Ordering::Relaxed); // P7: published by the next tail, P1
    }

    /// Gets the lines of an echo of `len` bytes, and of the tail, ready to be
    /// written: a hint.
    #[inline]
    pub(crate) fn prefetch_write(&self, len: usize) {
        copy::prefetch_write(std::ptr::from_ref(self).cast());
        if len > NEAR {
            copy::prefetch_write(std::ptr::from_ref(&self.words[NEAR / WORD]).cast());
        }
    }

    /// Gets what an echo of more than [`NEAR`] bytes has beyond the line of the
    /// tail ready to be read: a hint.
    #[inline]
    pub(crate) fn prefetch_far(&self) {
        copy::prefetch_read(std::ptr::from_ref(&self.words[NEAR / WORD]).cast());
    }

    /// Echoes `bytes`, at most [`MOST`], which begin at `start` and are about to
    /// be published.
    #[inline]
    pub(crate) fn put(&self, start: u64, bytes: &[u8]) {
        let end = start.wrapping_add(bytes.len() as u64);
        self.end.store(none(end), Ordering::Relaxed); // P7
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

    /// Fills `bytes`, which are wanted from `start` on up to the tail, if they
    /// are echoed. `false` if not; `bytes` hold anything then. The caller has
    /// loaded the tail with Acquire.
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

/// Less than a word of bytes in one, without a call.
#[inline]
fn packed(bytes: &[u8]) -> u64 {
    let bytes = bytes.iter().rev();
    bytes.fold(0, |word, &byte| word << 8 | u64::from(byte))
}

/// What [`packed`] has packed.
#[inline]
fn unpack(mut word: u64, bytes: &mut [u8]) {
    for byte in bytes {
        *byte = word as u8; // the lowest
        word >>= 8;
    }
}

/// An end that no reader near `end` looks for: half the range away.
fn none(end: u64) -> u64 {
    end ^ 1 << 63
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_echoed() {
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
    fn what_is_not_the_whole_echo_is_not_got() {
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
