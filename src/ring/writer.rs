//! The writing side.

use super::{adopt, corrupt};
use crate::error::Corruption;
use crate::ring::inline;
use crate::ring::marks::{self, Ending};
use crate::role::Role;
use crate::segment::closed::Departure;
use crate::segment::layout::{HINT_INLINE, HINT_NONE, Signals};
use crate::segment::position;
use crate::segment::region::Region;
use crate::segment::region::window::Window;
use crate::sync::Ordering;
use crate::sync::failpoint::failpoint;
use crate::tuning::DEMOTED;

/// The writing side.
#[derive(Debug)]
pub(crate) struct Writer<R> {
    /// At the own position, the tail: bytes written so far, published or not.
    window: Window<R>,
    capacity: u64,
    /// The tail that the reader knows.
    published: u64,
    /// The last head accepted.
    known_head: u64,
    /// The reader's `closed` word that is passed over without a look.
    passed_over: u64,
    /// What the reader's leaving means; see [`Departures`].
    departures: Departures,
    /// The `closed` word that a reader before this writer left behind; 0 in a
    /// ring with one reader.
    before: u64,
    /// Marks before the stream that is being written, in a ring that has any.
    marks: Option<u64>,
}

/// What it means to a writer that its reader leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departures {
    /// There is nobody left to write for, until the next reader comes.
    End,
    /// Another one will come.
    Pass,
}

impl<R: Region> Writer<R> {
    /// Takes up writing where the segment says that it stopped. `persists` says
    /// that the ring outlives its writers, which leave marks in it.
    pub(crate) fn new(
        region: R,
        persists: bool,
        departures: Departures,
    ) -> Result<Writer<R>, Corruption> {
        let capacity = region.capacity();
        let (tail, head) = adopt(&region, Role::Producer);
        let occupied = position::occupied(tail, tail.wrapping_sub(capacity), head, capacity)
            .map_err(|fault| corrupt(fault, Role::Consumer, tail, head, head))?;
        // A reader that had left before this writer came says nothing about the
        // next one.
        let closed = &region.header().side(Role::Consumer).signals.closed;
        let before = if persists {
            closed.load(Ordering::Relaxed) // compared only
        } else {
            0
        };
        let own = region.header().side(Role::Producer);
        // The last writer may have died between an echo and its publication.
        own.inline.clear(tail); // P7
        let marks = persists.then(|| own.signals.marks.load(Ordering::Relaxed)); // P6
        let mut window = Window::new(region, tail);
        window.open(capacity - occupied);
        Ok(Writer {
            window,
            capacity,
            published: tail,
            known_head: head,
            passed_over: before,
            departures,
            before,
            marks,
        })
    }

    #[inline]
    pub(crate) fn region(&self) -> &R {
        self.window.region()
    }

    #[inline]
    pub(crate) fn tail(&self) -> u64 {
        self.window.position()
    }

    /// Bytes that can be written now; looks at `head` only if fewer than
    /// `wanted` are known to be free.
    #[inline]
    pub(crate) fn room(&mut self, wanted: u64) -> Result<u64, Corruption> {
        let known = self.capacity - self.occupied();
        if known >= wanted {
            return Ok(known);
        }
        // Possibly full: refresh.
        let side = self.region().header().side(Role::Consumer);
        let head = side.position.load(Ordering::Acquire); // P2
        let tail = self.tail();
        let occupied = position::occupied(tail, self.known_head, head, self.capacity)
            .map_err(|fault| corrupt(fault, Role::Consumer, tail, self.known_head, head))?;
        self.known_head = head;
        let room = self.capacity - occupied;
        self.window.open(room);
        Ok(room)
    }

    /// Whether the reader asks for echoes.
    #[inline(always)]
    pub(crate) fn wants_inline(&self) -> bool {
        self.peer_signals().delivery_hint.load(Ordering::Relaxed) == HINT_INLINE // a hint
    }

    /// Whether the reader asks for what suits messages one at a time.
    #[inline(always)]
    pub(crate) fn has_hint(&self) -> bool {
        self.peer_signals().delivery_hint.load(Ordering::Relaxed) != HINT_NONE // a hint
    }

    /// Copies all of `bytes` if there is a reader, who asks for something, and room
    /// that is known of, in one run, and publishes nothing. `false` if not; nothing
    /// has happened then.
    pub(crate) fn put_hinted(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() <= inline::MOST && self.wants_inline() {
            self.put_inline(bytes)
        } else {
            self.put_demoted(bytes)
        }
    }

    /// For a reader that asks for echoes: puts the bytes beside the tail too, if
    /// it is they alone that are published next.
    fn put_inline(&mut self, bytes: &[u8]) -> bool {
        let start = self.tail();
        // An echo ends at a tail.
        let echoed = self.pending() == 0;
        if echoed {
            // The reader looks at that line all the time: have it come while
            // the rest is done.
            let side = self.region().header().side(Role::Producer);
            side.inline.prefetch_write(bytes.len());
        }
        let put = self.put_in_window(bytes, false);
        if put && echoed {
            let side = self.region().header().side(Role::Producer);
            side.inline.put(start, bytes); // P7
        }
        put
    }

    /// For a reader that takes messages one at a time: has their lines where it
    /// finds them.
    fn put_demoted(&mut self, bytes: &[u8]) -> bool {
        let start = self.tail();
        let alone = self.pending() == 0; // not of a batch that is published later
        let put = self.put_in_window(bytes, false);
        if put && alone && bytes.len() <= DEMOTED {
            self.region().demote(start, bytes.len());
        }
        put
    }

    /// For a reader that takes messages one at a time, which has just been given one
    /// of `len` bytes: gets the place of the next one ready, which may be as long.
    pub(crate) fn prefetch_write(&self, len: usize) {
        let room = self.capacity - self.occupied();
        if len > inline::MOST && len <= DEMOTED && len as u64 <= room {
            self.region().prefetch_write(self.tail(), len);
        }
    }

    /// As [`put_hinted`](Self::put_hinted), where nothing is asked for.
    #[inline(always)]
    pub(crate) fn put_known(&mut self, bytes: &[u8]) -> bool {
        self.put_in_window(bytes, true)
    }

    /// The same; and whether more is to follow soon, so that its lines are worth
    /// asking for before these bytes are published.
    #[inline(always)]
    fn put_in_window(&mut self, bytes: &[u8], soon: bool) -> bool {
        // Relaxed: whoever takes the slow way then looks again.
        let closed = self.peer_signals().closed.load(Ordering::Relaxed); // compared only
        if closed != self.passed_over || !self.window.put(bytes, soon) {
            return false;
        }
        failpoint!(CopiedIn);
        true
    }

    /// Bytes that the reader is not known to have released: at most the
    /// capacity.
    #[inline]
    fn occupied(&self) -> u64 {
        self.tail().wrapping_sub(self.known_head)
    }

    /// Copies as much of `bytes` as there is room for, and publishes nothing.
    #[inline]
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<usize, Corruption> {
        let room = self.room(bytes.len() as u64)?;
        // No loss: what is taken is at most `bytes.len()`.
        let len = room.min(bytes.len() as u64) as usize;
        if len > 0 {
            let beyond = room - len as u64;
            self.region().copy_in(self.tail(), &bytes[..len], beyond);
            failpoint!(CopiedIn);
            self.advance(len as u64);
        }
        Ok(len)
    }

    /// Counts `len` bytes as written that were put behind the tail, in room
    /// that was there.
    #[inline]
    pub(crate) fn advance(&mut self, len: u64) {
        let room = self.capacity - self.occupied();
        self.window.go_on(len, room - len);
    }

    /// Bytes written and not yet published.
    #[inline]
    pub(crate) fn pending(&self) -> u64 {
        self.tail().wrapping_sub(self.published)
    }

    /// Publishes what was written.
    #[inline]
    pub(crate) fn publish(&mut self) {
        self.published = self.tail();
        let side = self.region().header().side(Role::Producer);
        side.position.store(self.tail(), Ordering::Release); // P1
        failpoint!(TailStored);
    }

    /// What the reader says that is no position.
    #[inline]
    pub(crate) fn peer_signals(&self) -> &Signals {
        &self.region().header().side(Role::Consumer).signals
    }

    /// Whether the reader has left, so that there is nobody to write for.
    #[inline]
    pub(crate) fn is_left_alone(&mut self) -> Result<bool, Corruption> {
        let closed = self.peer_signals().closed.load(Ordering::Acquire); // P4
        if closed == self.passed_over {
            return Ok(false);
        }
        let departure = Departure::from_word(closed)?;
        Ok(match self.departures {
            Departures::End => departure != Departure::Open,
            Departures::Pass => {
                self.passed_over = closed;
                false
            }
        })
    }

    /// How the last reader has left, whatever it means; one that had left before
    /// this writer came does not count.
    pub(crate) fn peer_departure(&self) -> Result<Departure, Corruption> {
        let closed = self.peer_signals().closed.load(Ordering::Acquire); // P4
        if closed == self.before {
            return Ok(Departure::Open);
        }
        Departure::from_word(closed)
    }

    /// Leaves a mark at the last byte that was published, in a ring that has
    /// marks. What was not published is lost.
    pub(crate) fn leave_mark(&mut self, ending: Ending) {
        if let Some(number) = self.marks {
            marks::leave(self.region().header(), number, self.published, ending);
            self.marks = Some(number.wrapping_add(1));
        }
    }

    /// Where the stream that is being written began.
    pub(crate) fn began(&self) -> u64 {
        let began = |number| marks::beginning(self.region().header(), number);
        self.marks.map_or(0, began)
    }

    /// The position up to which the reader has released what it read.
    pub(crate) fn consumed(&mut self) -> Result<u64, Corruption> {
        self.room(u64::MAX)?;
        Ok(self.known_head)
    }

    /// Bytes written and not yet released by the reader.
    pub(crate) fn unread(&mut self) -> Result<u64, Corruption> {
        Ok(self.capacity - self.room(self.capacity)?)
    }
}
