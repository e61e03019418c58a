//! The reading side.
//!
//! This file has more than 450 lines because all its functions share the window, its limit and the
//! ending.

use super::distance::Distance;
use super::{adopt, corrupt};
use crate::error::{Corruption, Rule};
use crate::ring::inline;
use crate::ring::marks::{Acknowledged, Ending};
use crate::role::Role;
use crate::segment::closed::Departure;
use crate::segment::layout::{HINT_DEMOTE, HINT_INLINE, HINT_NONE, KNOWS_INLINE, Signals};
use crate::segment::position;
use crate::segment::record::Holder;
use crate::segment::region::Region;
use crate::segment::region::window::Window;
use crate::sync::failpoint::failpoint;
use crate::sync::{Ordering, spin_loop};
use crate::tuning::{DEMOTED, MESSAGE_POLLS, MESSAGES};

/// What the reader finds in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// At least the wanted bytes.
    Ready,
    /// Fewer than the wanted bytes so far.
    Empty,
    /// Fewer than the wanted bytes, and the stream has ended in this way.
    Ended(Ending),
}

/// The reading side.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    /// Its position is the head: bytes read so far.
    window: Window<R>,
    capacity: u64,
    /// The last accepted tail.
    known_tail: u64,
    /// Where the readable bytes end: at the tail, or at a mark before the tail.
    limit: u64,
    /// How the stream ends at the limit, once that is known.
    ending: Option<Ending>,
    /// The writer's count of claims when the last tail was accepted.
    claims: u64,
    /// Which mark comes next, in a ring that has marks.
    marks: Option<Acknowledged>,
    /// Consecutive single messages that would prefer another delivery hint.
    other_hints: u32,
    /// The delivery hint that the writer is given: a value of [`Signals::delivery_hint`].
    hint: u32,
    /// The tail at the last check of the writer's capabilities. The inline message of this tail may
    /// be a predecessor's, so the message is ignored.
    unverified_tail: u64,
    /// Whether the last message was so long that its inline copy extends beyond the tail's line.
    far: bool,
    /// How far the writer's cache is, which decides whether lines are returned.
    distance: Distance,
}

impl<R: Region> Reader<R> {
    /// Continues reading where the segment says that reading stopped. `persists` means that the
    /// ring outlives its writers, which leave marks in it.
    pub(crate) fn new(region: R, persists: bool) -> Result<Reader<R>, Corruption> {
        let capacity = region.capacity() as u64;
        let (head, tail) = adopt(&region, Role::Consumer);
        let marks = persists.then(|| Acknowledged::adopt(region.header()));
        let mut reader = Reader {
            distance: Distance::new(region.returning()),
            window: Window::new(region, head),
            capacity,
            known_tail: head,
            limit: head,
            ending: None,
            claims: 0,
            marks,
            other_hints: 0,
            hint: HINT_NONE,
            unverified_tail: tail,
            far: false,
        };
        reader.accept_anew(tail)?;
        Ok(reader)
    }

    #[inline]
    pub(crate) fn region(&self) -> &R {
        self.window.region()
    }

    #[inline]
    pub(crate) fn head(&self) -> u64 {
        self.window.position()
    }

    /// Bytes of the stream that can be read now. Loads `tail` only if fewer than `wanted` are
    /// known.
    #[inline]
    pub(crate) fn available(&mut self, wanted: u64) -> Result<u64, Corruption> {
        let known = self.known();
        if known >= wanted || self.ending.is_some() {
            return Ok(known);
        }
        // The last known tail has too few bytes: load a new one.
        let side = self.window.region().header().side(Role::Producer);
        let load = || side.position.load(Ordering::Acquire); // P1
        let tail = self.distance.sample(self.known_tail, load);
        self.accept(tail)
    }

    /// Checks and accepts a loaded tail, and returns the bytes of the stream before it.
    #[inline]
    fn accept(&mut self, tail: u64) -> Result<u64, Corruption> {
        let claims = self.peer_signals().claims.load(Ordering::Relaxed); // carried by the tail: P1
        if claims != self.claims {
            return self.accept_anew(tail);
        }
        let readable = self.check(tail)?;
        self.limit = tail;
        self.window.open(readable);
        Ok(readable)
    }

    /// Checks a loaded tail, and returns the bytes before it.
    #[inline]
    fn check(&mut self, tail: u64) -> Result<u64, Corruption> {
        let head = self.head();
        let readable = position::readable(head, self.known_tail, tail, self.capacity)
            .map_err(|fault| corrupt(fault, Role::Producer, head, self.known_tail, tail))?;
        self.known_tail = tail;
        Ok(readable)
    }

    /// Accepts a tail as [`accept`](Self::accept) does, but also looks for a mark. Called when a
    /// writer or a mark has come since the last look. Returns the bytes up to the next mark, if
    /// there is one.
    #[cold]
    #[inline(never)]
    fn accept_anew(&mut self, mut tail: u64) -> Result<u64, Corruption> {
        // Load the count again: a writer that comes after this load is noticed next time.
        self.claims = self.peer_signals().claims.load(Ordering::Acquire); // P6
        if self.hint != HINT_NONE && !self.believes_inline() {
            self.drop_hint();
        }
        let header = self.window.region().header();
        let next = match &self.marks {
            Some(marks) => marks.next(header)?,
            None => None,
        };
        if next.is_some() {
            // A mark lies at or before the tail that its count carries.
            let side = header.side(Role::Producer);
            tail = side.position.load(Ordering::Acquire); // P1, P8
        }
        // Bytes accepted without a mark belong to one stream, so a later mark cannot lie inside
        // them.
        let known = self.known();
        let mut readable = self.check(tail)?;
        self.limit = tail;
        if let Some(mark) = next {
            let before = mark.position.wrapping_sub(self.head());
            if before > readable || before < known {
                return Err(Corruption::new(Rule::MarkOutOfRange, mark.position, tail));
            }
            readable = before;
            self.limit = mark.position;
            self.ending = Some(mark.ending);
        }
        self.window.open(readable);
        Ok(readable)
    }

    /// Whether the last writer to claim the role knows inline messages. If so, inline messages are
    /// trusted from the next tail on. The message of the present tail is not trusted. A writer that
    /// does not know inline messages may have left an older writer's message in place.
    fn believes_inline(&mut self) -> bool {
        let side = self.region().header().side(Role::Producer);
        let holder = Holder::read(self.region().header().record(Role::Producer));
        let capabilities = holder.map_or(0, |holder| holder.capabilities());
        // A claim is counted before its record is complete. If the count is unchanged, the record
        // is not a later claimer's. P6: after the Acquire fence in `Holder::read`.
        let claims = side.signals.claims.load(Ordering::Relaxed);
        // The count of claims was loaded with Acquire, so this load sees the last tail of every
        // earlier writer, or a later tail.
        let tail = side.position.load(Ordering::Relaxed); // P6
        let believes = claims == self.claims && capabilities & KNOWS_INLINE != 0;
        self.unverified_tail = tail;
        believes
    }

    /// Fills all of `bytes` and releases their room, if they are known to be readable and are one
    /// run of addresses. Otherwise returns `false` and does nothing.
    #[inline(always)]
    pub(crate) fn get_known(&mut self, bytes: &mut [u8]) -> bool {
        let start = self.head();
        if !self.window.take(bytes) {
            return false;
        }
        failpoint!(CopiedOut);
        self.release_from(start, bytes.len() as u64);
        true
    }

    /// Whether `len` bytes are known to be readable in one run of addresses.
    #[inline(always)]
    pub(crate) fn has_known(&self, len: usize) -> bool {
        self.window.holds(len)
    }

    /// Releases the room of the first `len` bytes if they are in the window. Otherwise returns
    /// `false` and does nothing.
    #[inline(always)]
    pub(crate) fn release_known(&mut self, len: usize) -> bool {
        let start = self.head();
        let skips = self.window.skip(Role::Consumer, len, true);
        if skips {
            self.release_from(start, len as u64);
        }
        skips
    }

    /// Bytes of the stream known to be readable.
    #[inline]
    pub(crate) fn known(&self) -> u64 {
        self.limit.wrapping_sub(self.head())
    }

    /// Copies the readable bytes, at most `bytes.len()`, and releases nothing.
    #[inline]
    pub(crate) fn get(&mut self, bytes: &mut [u8]) -> Result<usize, Corruption> {
        let available = self.available(bytes.len() as u64)?;
        // The cast loses nothing: the length is at most `bytes.len()`.
        let len = available.min(bytes.len() as u64) as usize;
        if len > 0 {
            let bytes = &mut bytes[..len];
            if !self.get_inline(available, bytes) {
                let beyond = available - bytes.len() as u64;
                self.region().copy_out(self.head(), bytes, beyond);
            }
            failpoint!(CopiedOut);
        }
        Ok(len)
    }

    /// Fills `bytes` from the inline message, if `bytes` wants all of the `available` bytes and the
    /// message holds them.
    #[inline]
    fn get_inline(&self, available: u64, bytes: &mut [u8]) -> bool {
        self.hint == HINT_INLINE
            && available == bytes.len() as u64
            && self.ending.is_none()
            && self.known_tail != self.unverified_tail
            && self
                .region()
                .header()
                .side(Role::Producer)
                .inline
                .get(self.head(), bytes) // P7
    }

    /// Whether a single message may come next. True if a delivery hint is set, nothing is known to
    /// be readable, and the end of the stream is not known either.
    #[inline]
    pub(crate) fn expects_message(&self) -> bool {
        self.hint != HINT_NONE && self.known() == 0 && self.ending.is_none()
    }

    /// Polls for a single message for a moment, when one is [expected](Self::expects_message).
    /// Reads and releases it if it is no longer than `bytes`, and returns its length. Returns 0 if
    /// there is no message, or a longer one.
    ///
    /// The code from the poll that finds a message to the reply is part of each round trip, so it
    /// is short.
    #[inline]
    pub(crate) fn poll_message(&mut self, bytes: &mut [u8]) -> usize {
        let head = self.head();
        let side = self.region().header().side(Role::Producer);
        let most = self.capacity.min(bytes.len().min(DEMOTED) as u64);
        for _ in 0..MESSAGE_POLLS {
            let tail = side.position.load(Ordering::Acquire); // P1
            if tail != head {
                let len = tail.wrapping_sub(head);
                let claims = side.signals.claims.load(Ordering::Relaxed); // carried by the tail: P1
                if len > most || claims != self.claims || tail == self.unverified_tail {
                    return 0; // `available` judges an impossible tail
                }
                let bytes = &mut bytes[..len as usize];
                if len > inline::MOST as u64 || !side.inline.get(head, bytes) {
                    self.region().copy_out_single(head, bytes);
                }
                failpoint!(CopiedOut);
                self.far = (inline::NEAR_BYTES + 1..=inline::MOST).contains(&(len as usize));
                self.known_tail = tail;
                self.limit = tail;
                self.release(len);
                return len as usize;
            }
            if self.far {
                side.inline.prefetch_far();
            }
            spin_loop();
        }
        0
    }

    /// Records how many bytes a look found after a wait. `alone` means that recent messages came
    /// one at a time, which matters only for the longer ones. `copies` means that the caller copies
    /// the bytes out, so that an inline message spares a copy. Single messages set a delivery hint:
    /// short ones are delivered inline too, longer ones demoted. A stream clears the hint.
    #[inline]
    pub(crate) fn note_arrival(&mut self, found: u64, alone: bool, copies: bool) {
        let suits = match found as usize {
            0..=inline::MOST if copies => HINT_INLINE,
            0..=DEMOTED if alone => HINT_DEMOTE,
            _ => HINT_NONE,
        };
        if suits == self.hint {
            self.other_hints = 0;
        } else if suits == HINT_NONE {
            self.drop_hint();
        } else {
            self.other_hints += 1;
            if self.other_hints == MESSAGES {
                self.set_hint(suits);
            }
        }
    }

    /// Clears the delivery hint, which spares the writer the extra work.
    #[inline]
    pub(crate) fn drop_hint(&mut self) {
        self.other_hints = 0;
        if self.hint != HINT_NONE {
            self.set_hint(HINT_NONE);
        }
    }

    fn set_hint(&mut self, what: u32) {
        self.other_hints = 0;
        if what != HINT_NONE && !self.believes_inline() {
            return;
        }
        self.hint = what;
        let own = &self.region().header().side(Role::Consumer).signals;
        own.delivery_hint.store(what, Ordering::Relaxed); // a hint
    }

    /// Releases the room of the first `len` readable bytes to the writer.
    #[inline]
    pub(crate) fn release(&mut self, len: u64) {
        let start = self.head();
        let rest = self.known() - len;
        self.window.go_on(len, rest);
        self.release_from(start, len);
    }

    /// Releases the `len` bytes from `start` up to the window's position.
    #[inline(always)]
    fn release_from(&mut self, start: u64, len: u64) {
        if len >= R::SHORTEST_RETURNED && self.distance.pays() {
            self.region().return_lines(start, len);
        }
        let side = self.region().header().side(Role::Consumer);
        side.position.store(self.head(), Ordering::Release); // P2
        failpoint!(HeadStored);
    }

    /// Whether `least` bytes can be read, and if not, whether the stream can still bring more.
    #[inline]
    pub(crate) fn readiness(&mut self, least: u64) -> Result<Readiness, Corruption> {
        if self.known() >= least {
            return Ok(Readiness::Ready);
        }
        if let Some(ending) = self.ending {
            return Ok(Readiness::Ended(ending));
        }
        let header = self.region().header();
        let side = header.side(Role::Producer);
        let tail = side.position.load(Ordering::Acquire); // P1
        let end = match &self.marks {
            Some(marks) => u64::from(marks.is_behind(header)),
            None => side.signals.closed.load(Ordering::Acquire), // P4
        };
        if tail == self.known_tail && end == 0 {
            return Ok(Readiness::Empty); // the usual case in a wait
        }
        self.judge(tail, end, least)
    }

    /// Turns a loaded tail into a [`Readiness`]. `end` is nonzero if the writer's words say that
    /// the stream has ended.
    fn judge(&mut self, tail: u64, end: u64, least: u64) -> Result<Readiness, Corruption> {
        let mut available = self.accept(tail)?;
        if end != 0 && self.ending.is_none() {
            available = self.look_for_the_end(end)?;
        }
        Ok(match self.ending {
            _ if available >= least => Readiness::Ready,
            Some(ending) => Readiness::Ended(ending),
            None => Readiness::Empty,
        })
    }

    /// Bytes up to the end of the stream if it has ended, otherwise up to the tail. `closed` is the
    /// writer's word, used in a ring without marks.
    fn look_for_the_end(&mut self, closed: u64) -> Result<u64, Corruption> {
        if self.marks.is_some() {
            let tail = self.known_tail;
            return self.accept_anew(tail);
        }
        let ending = match Departure::from_word(closed)? {
            Departure::Open => return Ok(self.known()),
            Departure::Finished => Ending::Finished,
            Departure::Aborted => Ending::Aborted,
        };
        // The writer has left: `closed` carries its last tail and bytes. Look once more.
        let side = self.region().header().side(Role::Producer);
        let tail = side.position.load(Ordering::Relaxed); // carried by `closed`: P4
        let available = self.accept(tail)?;
        self.ending = Some(ending);
        Ok(available)
    }

    /// How the stream ended, if its last byte has been read.
    pub(crate) fn at_the_end(&self) -> Option<Ending> {
        self.ending.filter(|_| self.known() == 0)
    }

    /// Acknowledges the end that was reached. Returns `false` if no stream can follow.
    pub(crate) fn acknowledge(&mut self) -> bool {
        let (header, position) = (self.window.region().header(), self.limit);
        let Some(marks) = &mut self.marks else {
            return false;
        };
        marks.acknowledge(header, position);
        true
    }

    /// Acknowledges the end that was reached, and continues with the next stream. Returns `false`
    /// if no stream can follow; the end then stays.
    pub(crate) fn next_stream(&mut self) -> Result<bool, Corruption> {
        if !self.acknowledge() {
            return Ok(false);
        }
        self.ending = None;
        let tail = self.known_tail;
        self.accept_anew(tail)?;
        Ok(true)
    }

    /// Number of acknowledged marks. Zero in a ring without marks.
    pub(crate) fn stream_number(&self) -> u64 {
        self.marks.as_ref().map_or(0, Acknowledged::count)
    }

    /// Where the stream being read began.
    pub(crate) fn began(&self) -> u64 {
        self.marks.as_ref().map_or(0, Acknowledged::began)
    }

    /// The writer's words other than its position.
    #[inline]
    pub(crate) fn peer_signals(&self) -> &Signals {
        &self.region().header().side(Role::Producer).signals
    }

    /// Whether the stream has ended. Bytes may still be readable.
    pub(crate) fn has_ended(&self) -> bool {
        match &self.marks {
            Some(marks) => marks.is_behind(self.region().header()),
            None => self.peer_departure() != Ok(Departure::Open),
        }
    }

    /// How the writer has left, in a ring with one stream. Bytes may still be readable.
    pub(crate) fn peer_departure(&self) -> Result<Departure, Corruption> {
        if self.marks.is_some() {
            return Ok(Departure::Open);
        }
        let closed = self.peer_signals().closed.load(Ordering::Acquire); // P4
        Departure::from_word(closed)
    }
}
