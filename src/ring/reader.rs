//! The reading side.

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

/// What a reader finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// As much as is wanted.
    Ready,
    /// Not as much yet.
    Empty,
    /// Not as much, and the stream has no more: how it ended.
    Ended(Ending),
}

/// The reading side.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    /// At the own position, the head: bytes read so far.
    window: Window<R>,
    capacity: u64,
    /// The last tail accepted.
    known_tail: u64,
    /// What can be read ends here: at the tail, or at a mark before it.
    limit: u64,
    /// How the stream ends at the limit, once that is known.
    ending: Option<Ending>,
    /// The writer's count of claims when the last tail was accepted.
    claims: u64,
    /// Which mark comes next, in a ring that has any.
    marks: Option<Acknowledged>,
    /// How many messages in a row have come one at a time for which the writer is
    /// not asked for what suits them.
    other_hints: u32,
    /// What the writer is asked for, as in [`Signals::delivery_hint`].
    hint: u32,
    /// The tail when the writer was found to know inline messages: up to here one
    /// that does not may have written.
    unverified_tail: u64,
    /// Whether the last message was of a length whose echo is on more than the line
    /// of the tail.
    far: bool,
}

impl<R: Region> Reader<R> {
    /// Takes up reading where the segment says that it stopped. `persists` says
    /// that the ring outlives its writers, which leave marks in it.
    pub(crate) fn new(region: R, persists: bool) -> Result<Reader<R>, Corruption> {
        let capacity = region.capacity();
        let (head, tail) = adopt(&region, Role::Consumer);
        let marks = persists.then(|| Acknowledged::adopt(region.header()));
        let mut reader = Reader {
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

    /// Bytes of the stream that can be read now; looks at `tail` only if fewer
    /// than `wanted` are known to be there.
    #[inline]
    pub(crate) fn available(&mut self, wanted: u64) -> Result<u64, Corruption> {
        let known = self.known();
        if known >= wanted || self.ending.is_some() {
            return Ok(known);
        }
        // Possibly empty: refresh.
        let side = self.region().header().side(Role::Producer);
        let tail = side.position.load(Ordering::Acquire); // P1
        self.accept(tail)
    }

    /// Believes a tail that was loaded, if it can be true; and says how many
    /// bytes of the stream there are before it.
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

    /// Bytes up to a tail that was loaded, if it can be true.
    #[inline]
    fn check(&mut self, tail: u64) -> Result<u64, Corruption> {
        let head = self.head();
        let readable = position::readable(head, self.known_tail, tail, self.capacity)
            .map_err(|fault| corrupt(fault, Role::Producer, head, self.known_tail, tail))?;
        self.known_tail = tail;
        Ok(readable)
    }

    /// The same where a writer has come since the last look, or a mark: bytes up
    /// to the next mark, if there is one.
    #[cold]
    #[inline(never)]
    fn accept_anew(&mut self, mut tail: u64) -> Result<u64, Corruption> {
        // Once more, so that a writer that came meanwhile is noticed next time.
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
            // A mark lies before the tail that its count carries.
            let side = header.side(Role::Producer);
            tail = side.position.load(Ordering::Acquire); // P1, P8
        }
        let mut readable = self.check(tail)?;
        self.limit = tail;
        if let Some(mark) = next {
            let before = mark.position.wrapping_sub(self.head());
            if before > readable {
                return Err(Corruption::new(Rule::MarkOutOfRange, mark.position, tail));
            }
            readable = before;
            self.limit = mark.position;
            self.ending = Some(mark.ending);
        }
        self.window.open(readable);
        Ok(readable)
    }

    /// Whether the writer that last claimed its role says with each tail if
    /// there is an inline message. Then one is believed from the next tail on: a
    /// writer that knows nothing of them may have come and gone before, with the
    /// message of one before it still there.
    fn believes_inline(&mut self) -> bool {
        let side = self.region().header().side(Role::Producer);
        let holder = Holder::read(self.region().header().record(Role::Producer));
        let capabilities = holder.map_or(0, |holder| holder.capabilities());
        // A claim is counted before its record is complete. So if no claim was
        // counted meanwhile, the record is not one of a later claimer.
        let claims = side.signals.claims.load(Ordering::Relaxed); // P6, with the fence of the read
        // The claim that was counted carries all tails of writers before it.
        let tail = side.position.load(Ordering::Relaxed); // P6
        let believes = claims == self.claims && capabilities & KNOWS_INLINE != 0;
        self.unverified_tail = tail;
        believes
    }

    /// Fills all of `bytes` if so many are known to be there, in one run, and gives
    /// their room back to the writer. `false` if not; nothing has happened then.
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

    /// Bytes of the stream known to be there.
    #[inline]
    pub(crate) fn known(&self) -> u64 {
        self.limit.wrapping_sub(self.head())
    }

    /// Copies what is there, as much as `bytes` holds, and releases nothing.
    #[inline]
    pub(crate) fn get(&mut self, bytes: &mut [u8]) -> Result<usize, Corruption> {
        let available = self.available(bytes.len() as u64)?;
        // No loss: what is taken is at most `bytes.len()`.
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

    /// Fills `bytes` from beside the tail, if they are all of the `available`
    /// ones, and there.
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

    /// Whether a message may come by itself next: the writer is asked for what suits
    /// such ones, and nothing is known to be there to read, nor the end of the stream.
    #[inline]
    pub(crate) fn expects_message(&self) -> bool {
        self.hint != HINT_NONE && self.known() == 0 && self.ending.is_none()
    }

    /// Looks for a message for a moment, a short one beside the tail, where one
    /// [may come](Self::expects_message). Takes it out of the stream; its length is at
    /// most that of `bytes`. 0 if there is none, or a long one.
    ///
    /// What is done from the look that finds a message to the reply is what a
    /// round trip consists of, but for the way of the lines.
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
                    return 0; // a tail too far, or behind, is for `available` to judge
                }
                let bytes = &mut bytes[..len as usize];
                if len > inline::MOST as u64 || !side.inline.get(head, bytes) {
                    self.region().copy_out_alone(head, bytes);
                }
                failpoint!(CopiedOut);
                self.far = (inline::NEAR + 1..=inline::MOST).contains(&(len as usize));
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

    /// Notes how many bytes a look at the tail has found after a wait, and whether
    /// nothing ever comes soon after. Short messages one at a time are asked to
    /// come beside the tail, too, and longer ones to be handed on; a stream is
    /// not.
    #[inline]
    pub(crate) fn note_arrival(&mut self, found: u64, alone: bool) {
        let suits = match found as usize {
            0..=inline::MOST => HINT_INLINE,
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

    /// Has the writer spare itself the trouble.
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

    /// Gives the room of the first `len` bytes, which are there, back to the
    /// writer.
    #[inline]
    pub(crate) fn release(&mut self, len: u64) {
        let start = self.head();
        let rest = self.known() - len;
        self.window.go_on(len, rest);
        self.release_from(start, len);
    }

    /// Gives the room from `start` up to the own position back, `len` bytes.
    #[inline(always)]
    fn release_from(&mut self, start: u64, len: u64) {
        self.region().return_lines(start, len);
        let side = self.region().header().side(Role::Consumer);
        side.position.store(self.head(), Ordering::Release); // P2
        failpoint!(HeadStored);
    }

    /// Whether there are `least` bytes to read, and if not, whether more can
    /// come in this stream.
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
            return Ok(Readiness::Empty); // what a waiter sees most of the time
        }
        self.judge(tail, end, least)
    }

    /// What a tail of the writer makes of it; and what says that the end has
    /// come, unless that is 0.
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

    /// Bytes up to the end of the stream, if it has come; else up to the tail.
    /// `closed` is the writer's word, where it counts.
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

    /// How the stream ended, if its last byte was read.
    pub(crate) fn at_the_end(&self) -> Option<Ending> {
        self.ending.filter(|_| self.known() == 0)
    }

    /// Acknowledges the end that was come to. `false` if no stream can follow.
    pub(crate) fn acknowledge(&mut self) -> bool {
        let (header, position) = (self.window.region().header(), self.limit);
        let Some(marks) = &mut self.marks else {
            return false;
        };
        marks.acknowledge(header, position);
        true
    }

    /// Acknowledges the end that was come to, and goes on with the next stream.
    /// `false` if none can follow: then the end stays.
    pub(crate) fn next_stream(&mut self) -> Result<bool, Corruption> {
        if !self.acknowledge() {
            return Ok(false);
        }
        self.ending = None;
        let tail = self.known_tail;
        self.accept_anew(tail)?;
        Ok(true)
    }

    /// Where the stream that is being read began.
    pub(crate) fn began(&self) -> u64 {
        self.marks.as_ref().map_or(0, Acknowledged::began)
    }

    /// What the writer says that is no position.
    #[inline]
    pub(crate) fn peer_signals(&self) -> &Signals {
        &self.region().header().side(Role::Producer).signals
    }

    /// Whether the end of the stream has come. Bytes may still be there to read.
    pub(crate) fn has_ended(&self) -> bool {
        match &self.marks {
            Some(marks) => marks.is_behind(self.region().header()),
            None => self.peer_departure() != Ok(Departure::Open),
        }
    }

    /// How the writer of a ring with one stream has left. Bytes may still be
    /// there to read.
    pub(crate) fn peer_departure(&self) -> Result<Departure, Corruption> {
        if self.marks.is_some() {
            return Ok(Departure::Open);
        }
        let closed = self.peer_signals().closed.load(Ordering::Acquire); // P4
        Departure::from_word(closed)
    }
}
