//! The layout of a segment: every offset.
//!
//! ```text
//! 0                      ring_offset               ring_offset + capacity
//! | header | zero        | ring: capacity bytes    |
//!
//! header, in lines of 128 bytes:
//!    0  identity   magic, version, byte order, line size, kind, capacity, ...
//!  128  state      life-cycle word; who holds each role
//!  256  producer   tail, inline message
//!  384             closed, sleeping, wanted, claims, marks
//!  512  consumer   head
//!  640             closed, sleeping, delivery hint, wanted, claims, acknowledged, places
//!  768  zero       two lines
//! 1024  marks      128 of 16 bytes: where streams ended, and how
//! 3072  path       of the file, as its creator named it; ends at 4096
//! ```
//!
//! The caller's memory may have more bytes after the ring. Bytes that are not listed are zero when
//! the ring is made, and ignored when read.
//!
//! | words | written by | read by | order |
//! |---|---|---|---|
//! | identity, path | creator, before the state leaves `Unborn` | openers, once, copied out | P3 |
//! | state | whoever wins its compare-and-swap | everybody | P3, P6 |
//! | a role's `owner` | the claimer's compare-and-swap | everybody | P6 |
//! | a role's other words | the owner | everybody, if `complete == owner` | P6 |
//! | `tail`, `head` | producer, consumer | the other | P1, P2 |
//! | `closed` | own side | the other | P4 |
//! | `sleeping`, `wanted` | own side sets, the other clears `sleeping` | both | P5 |
//! | `claims` | the claimer | the other | P6, P8 |
//! | marks, their count | producer | consumer | P8 |
//! | `acknowledged` | consumer | the next producer, the next consumer | P9 |
//! | inline message | producer | consumer | P7 |
//! | `places` | opener sets its low bit, consumer clears it | both | P5 |
//! | `delivery_hint` | consumer | producer, as a hint | none |
//!
//! P1 to P5 are explained in `ring/mod.rs` and `wait/mod.rs`, P6 in `peer/claim.rs`, P7 in
//! `ring/inline.rs`, P8 and P9 in `ring/marks.rs`. A segment holds only integers of fixed width.
//! Another process, which is not trusted, may have written every word read here. Code loads a word
//! once, checks the local copy, and uses that copy.
//!
//! Counters that can wrap, and why wrapping is harmless:
//!
//! | count | bits | why harmless |
//! |---|---|---|
//! | positions | 64 | only differences of at most the capacity are used |
//! | generations in the life-cycle word | 16 | a side compares its own together with its owner word, which the next claim replaces. A side forgets a peer's once another process has claimed that role |
//! | generation in an owner word | 2 | the word also holds the process and its start time. An equal word is a later claim by the same process, which has given up the earlier claim |
//! | `claims` | 64; the low 56 also in `closed` | 56 bits wrap after 2,000 years of one claim per microsecond |
//! | marks, acknowledged | 64 | only differences of at most 127 are used |
//!
//! A position changes with every operation. The signals beside it change only when a side sleeps,
//! comes or leaves, and the peer reads them in every operation. If they shared the position's line,
//! each of those reads would fetch the line again.

use std::ops::Deref;

use crate::role::Role;
use crate::segment::identity::{Identity, IdentityImage};
use crate::segment::state::State;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// In [`Signals::delivery_hint`]: no preference.
pub(crate) const HINT_NONE: u32 = 0;
/// In [`Signals::delivery_hint`]: deliver short messages inline, and demote longer ones.
pub(crate) const HINT_INLINE: u32 = 1;
/// In [`Signals::delivery_hint`]: demote longer messages; short ones as without a hint.
pub(crate) const HINT_DEMOTE: u32 = 2;

/// In [`Record::capabilities`]: the holder wakes a sleeping peer by futex(2).
pub(crate) const WAKES: u32 = 1;
/// In [`Record::capabilities`]: the holder knows inline messages. Such a producer sets the inline
/// message's `end` so that each tail has its own message or none.
pub(crate) const KNOWS_INLINE: u32 = 2;
/// In [`Record::capabilities`]: the holder is registered, so membarrier(2) reaches it.
pub(crate) const HEARS_BARRIERS: u32 = 4;

/// Places for marks in a segment. Few under loom, where each word costs time.
pub(crate) const MARKS: usize = if cfg!(loom) { 4 } else { 128 };
/// Words of [`Header::path`].
pub(crate) const PATH_WORDS: usize = if cfg!(loom) { 0 } else { 128 };

/// A value on a line of its own.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub(crate) struct Line<T>(T);

impl<T> Deref for Line<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

/// Who holds a role.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Process id, generation and start time of the holder, packed; zero when free. The
    /// compare-and-swap of this word is the claim.
    pub(crate) owner: AtomicU64,
    /// Equals `owner` once the words below are the owner's.
    pub(crate) complete: AtomicU64,
    /// Start time of the holder in clock ticks since boot; 0 when unknown.
    pub(crate) start: AtomicU64,
    /// Inode number of the holder's pid namespace; 0 when unknown.
    pub(crate) pid_namespace: AtomicU32,
    /// Inode number of the holder's time namespace; 0 when unknown.
    pub(crate) time_namespace: AtomicU32,
    /// What the holder's mapping adds to the attach count of the segment. Two roles of one process
    /// may share a mapping.
    pub(crate) views: AtomicU32,
    /// The holder's abilities: [`WAKES`], [`KNOWS_INLINE`], [`HEARS_BARRIERS`].
    pub(crate) capabilities: AtomicU32,
}

/// The life-cycle word and the records of the holders.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct StateLine {
    pub(crate) word: AtomicU64,
    producer: Record,
    consumer: Record,
}

/// The lines that one side writes.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Side {
    /// The producer's tail or the consumer's head: bytes since the ring was made.
    pub(crate) position: AtomicU64,
    /// The inline message, on the line of the position. Unused on the consumer's side.
    pub(crate) inline: InlineMessage,
    pub(crate) signals: Line<Signals>,
}

/// Words of an inline message. With a position, the message fills a line.
pub(crate) const INLINE_WORDS: usize = 13;

/// A copy of a short message beside the tail; see `ring/inline.rs`.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct InlineMessage {
    /// The position after the last byte, or an invalid position half the range away.
    pub(crate) end: AtomicU64,
    /// The position of the first byte.
    pub(crate) start: AtomicU64,
    pub(crate) words: [AtomicU64; INLINE_WORDS],
}

/// A side's words other than its position. Written by that side, except that the peer clears
/// `sleeping`.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// How the side has left; see `Departure`.
    pub(crate) closed: AtomicU64,
    /// The futex word that the side sleeps on; values in `wait/mod.rs`.
    pub(crate) sleeping: AtomicU32,
    /// How the consumer wants single messages delivered: [`HINT_NONE`], [`HINT_INLINE`] or
    /// [`HINT_DEMOTE`].
    pub(crate) delivery_hint: AtomicU32,
    /// The position of the peer that the sleeper waits for.
    pub(crate) wanted: AtomicU64,
    /// How often the role has been claimed.
    pub(crate) claims: AtomicU64,
    /// Of the producer: how many marks were ever made. Of the consumer: how many marks are
    /// acknowledged.
    pub(crate) marks: AtomicU64,
    /// Of the consumer: the futex word of a producer's opener that waits for free places for marks.
    /// Odd while an opener may wait; an acknowledgement then adds one.
    pub(crate) places: AtomicU32,
}

/// A mark: where a stream ended, and how; see `ring/marks.rs`.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct MarkSlot {
    /// The position after the last byte of the stream.
    pub(crate) position: AtomicU64,
    /// How the stream ended: 1 finished, 2 aborted, 3 its producer died. From bit 8 on, the process
    /// id of a producer that died; 0 when unknown.
    pub(crate) ending: AtomicU64,
}

/// The header at the start of every segment.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) identity: Line<Identity>,
    pub(crate) state: Line<StateLine>,
    producer: Side,
    consumer: Side,
    zero: [Line<AtomicU64>; 2],
    pub(crate) marks: [MarkSlot; MARKS],
    /// The path of the file, as the creator named it, padded with zeros. For people; never trusted.
    pub(crate) path: [AtomicU64; PATH_WORDS],
}

#[cfg(not(loom))]
mod pinned {
    use super::*;
    use crate::segment::identity::{LINE, MIN_RING_OFFSET};
    use memoffset::offset_of;

    const _: () = assert!(LINE == size_of::<Line<u8>>());
    const _: () = assert!(size_of::<Header>() == MIN_RING_OFFSET);
    const _: () = assert!(offset_of!(Header, identity) == 0);
    const _: () = assert!(offset_of!(Header, state) == 128);
    const _: () = assert!(offset_of!(Header, producer) == 256);
    const _: () = assert!(offset_of!(Header, consumer) == 512);
    const _: () = assert!(offset_of!(Header, zero) == 768);
    const _: () = assert!(offset_of!(Header, marks) == 1024);
    const _: () = assert!(offset_of!(Header, path) == 3072);
    const _: () = assert!(size_of::<Line<Identity>>() == LINE);
    const _: () = assert!(size_of::<Line<StateLine>>() == LINE);
    const _: () = assert!(size_of::<Line<Signals>>() == LINE);
    const _: () = assert!(size_of::<MarkSlot>() == 16);

    const _: () = assert!(offset_of!(StateLine, word) == 0);
    const _: () = assert!(offset_of!(StateLine, producer) == 8);
    const _: () = assert!(offset_of!(StateLine, consumer) == 48);
    const _: () = assert!(offset_of!(Record, owner) == 0);
    const _: () = assert!(offset_of!(Record, complete) == 8);
    const _: () = assert!(offset_of!(Record, start) == 16);
    const _: () = assert!(offset_of!(Record, pid_namespace) == 24);
    const _: () = assert!(offset_of!(Record, time_namespace) == 28);
    const _: () = assert!(offset_of!(Record, views) == 32);
    const _: () = assert!(offset_of!(Record, capabilities) == 36);
    const _: () = assert!(size_of::<Record>() == 40);

    const _: () = assert!(offset_of!(Side, position) == 0);
    const _: () = assert!(offset_of!(Side, inline) == 8);
    const _: () = assert!(offset_of!(Side, signals) == 128);
    const _: () = assert!(offset_of!(Signals, closed) == 0);
    const _: () = assert!(offset_of!(Signals, sleeping) == 8);
    const _: () = assert!(offset_of!(Signals, delivery_hint) == 12);
    const _: () = assert!(offset_of!(Signals, wanted) == 16);
    const _: () = assert!(offset_of!(Signals, claims) == 24);
    const _: () = assert!(offset_of!(Signals, marks) == 32);
    const _: () = assert!(offset_of!(Signals, places) == 40);
    const _: () = assert!(offset_of!(InlineMessage, end) == 0);
    const _: () = assert!(offset_of!(InlineMessage, start) == 8);
    const _: () = assert!(offset_of!(InlineMessage, words) == 16);
    const _: () = assert!(size_of::<InlineMessage>() == 120);
    const _: () = assert!(offset_of!(MarkSlot, position) == 0);
    const _: () = assert!(offset_of!(MarkSlot, ending) == 8);
}

impl Default for Header {
    fn default() -> Header {
        Header {
            identity: Line::default(),
            state: Line::default(),
            producer: Side::default(),
            consumer: Side::default(),
            zero: Default::default(),
            marks: std::array::from_fn(|_| MarkSlot::default()),
            path: std::array::from_fn(|_| AtomicU64::default()),
        }
    }
}

impl Header {
    /// The lines that `role` writes.
    #[inline]
    pub(crate) fn side(&self, role: Role) -> &Side {
        match role {
            Role::Producer => &self.producer,
            Role::Consumer => &self.consumer,
        }
    }

    /// Who holds `role`.
    pub(crate) fn record(&self, role: Role) -> &Record {
        match role {
            Role::Producer => &self.state.producer,
            Role::Consumer => &self.state.consumer,
        }
    }

    /// The current life-cycle word.
    pub(crate) fn state(&self) -> State {
        State(self.state.word.load(Ordering::Acquire)) // P3, P6
    }

    /// Applies `next` to the life-cycle word by compare-and-swap until one succeeds. Returns the
    /// word before and after, or the error of `next`.
    pub(crate) fn transition<E>(
        &self,
        mut next: impl FnMut(State) -> Result<State, E>,
    ) -> Result<(State, State), E> {
        let word = &self.state.word;
        let mut before = self.state();
        loop {
            let after = next(before)?;
            // Release: publishes the words that the winner has written before. Acquire: makes
            // visible what the last winner published. Relaxed on failure: only the loaded word is
            // used. P3, P6
            match word.compare_exchange(before.0, after.0, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Ok((before, after)),
                Err(now) => before = State(now),
            }
        }
    }

    /// Clears the life-cycle word and the identity of an old ring, before all other words are
    /// zeroed. A creator that dies in between leaves nothing that looks like a ring.
    pub(crate) fn invalidate(&self) {
        // Relaxed: published by the state word, P3. The store of the magic may become visible
        // before this one. No later store may, since a fence follows the magic.
        self.state.word.store(0, Ordering::Relaxed); // P3
        self.identity.store(&IdentityImage::default());
    }

    /// Records the path, truncated to the available room.
    pub(crate) fn store_path(&self, path: &[u8]) {
        let mut chunks = path.chunks(size_of::<u64>());
        for word in &self.path {
            let mut bytes = [0; size_of::<u64>()];
            if let Some(chunk) = chunks.next() {
                bytes[..chunk.len()].copy_from_slice(chunk);
            }
            word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed); // P3
        }
    }

    /// The recorded path, up to the first zero.
    pub(crate) fn load_path(&self) -> Vec<u8> {
        let words = self.path.iter();
        let bytes = words.flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()); // P3
        bytes.take_while(|&byte| byte != 0).collect()
    }
}
