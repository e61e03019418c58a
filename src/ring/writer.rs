//! The writing side.

use super::distance::Distance;
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
    /// Its position is the tail: bytes written so far, published or not.
    window: Window<R>,
    capacity: u64,
    /// The tail that the reader can see.
    published: u64,
    /// The last accepted head.
    known_head: u64,
    /// A value of the reader's `closed` word that does not end this writer's calls. The fast path
    /// continues while the word has this value.
    passed_over: u64,
    /// What the reader's departure means; see [`Departures`].
    departures: Departures,
    /// The `closed` word that an earlier reader left behind; 0 in a ring with one reader.
    closed_before: u64,
    /// Number of marks before the stream being written, in a ring that has marks.
    marks: Option<u64>,
    /// How far the reader's cache is, which decides about prefetches in place.
    distance: Distance,
}

/// What the departure of its reader means to a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departures {
    /// A departure ends the writer's calls, until the next reader comes.
    End,
    /// Another reader will come, so the writer carries on.
    Pass,
}

impl<R: Region> Writer<R> {
    /// Continues writing where the segment says that writing stopped. `persists` means that the
    /// ring outlives its writers, which leave marks in it.
    pub(crate) fn new(
        region: R,
        persists: bool,
        departures: Departures,
    ) -> Result<Writer<R>, Corruption> {
        let capacity = region.capacity() as u64;
        let (tail, head) = adopt(&region, Role::Producer);
        let occupied = position::occupied(tail, tail.wrapping_sub(capacity), head, capacity)
            .map_err(|fault| corrupt(fault, Role::Consumer, tail, head, head))?;
        // The departure of a reader before this writer came says nothing about the next reader.
        let closed = &region.header().side(Role::Consumer).signals.closed;
        let closed_before = if persists {
            closed.load(Ordering::Relaxed) // compared only
        } else {
            0
        };
        let own = region.header().side(Role::Producer);
        // The last writer may have died between an inline message and its publication.
        own.inline.clear(tail); // P7
        let marks = persists.then(|| own.signals.marks.load(Ordering::Relaxed)); // P6
        let distance = Distance::new(region.prefetching());
        let mut window = Window::new(region, tail);
        window.open(capacity - occupied);
        Ok(Writer {
            window,
            capacity,
            published: tail,
            known_head: head,
            passed_over: closed_before,
            departures,
            closed_before,
            marks,
            distance,
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

    /// Bytes that can be written now. Loads `head` only if fewer than `wanted` are known to be
    /// free.
    #[inline]
    pub(crate) fn room(&mut self, wanted: u64) -> Result<u64, Corruption> {
        let known = self.capacity - self.occupied();
        if known >= wanted {
            return Ok(known);
        }
        // The ring may be full by the last known head: load a new one.
        let side = self.window.region().header().side(Role::Consumer);
        let load = || side.position.load(Ordering::Acquire); // P2
        let head = self.distance.sample(self.known_head, load);
        let tail = self.tail();
        let occupied = position::occupied(tail, self.known_head, head, self.capacity)
            .map_err(|fault| corrupt(fault, Role::Consumer, tail, self.known_head, head))?;
        self.known_head = head;
        let room = self.capacity - occupied;
        self.window.open(room);
        Ok(room)
    }

    /// Whether the reader's delivery hint asks for inline messages.
    #[inline(always)]
    pub(crate) fn wants_inline(&self) -> bool {
        self.peer_signals().delivery_hint.load(Ordering::Relaxed) == HINT_INLINE // a hint
    }

    /// Whether the reader has set a delivery hint.
    #[inline(always)]
    pub(crate) fn has_hint(&self) -> bool {
        self.peer_signals().delivery_hint.load(Ordering::Relaxed) != HINT_NONE // a hint
    }

    /// Copies all of `bytes` as the delivery hint says, and publishes nothing. Needs a reader, and
    /// known room in one run of addresses; otherwise returns `false` and does nothing.
    pub(crate) fn put_hinted(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() <= inline::MOST && self.wants_inline() {
            self.put_inline(bytes)
        } else {
            self.put_demoted(bytes)
        }
    }

    /// Copies `bytes`, and stores them as the inline message if nothing else is published with
    /// them.
    fn put_inline(&mut self, bytes: &[u8]) -> bool {
        let start = self.tail();
        // Unpublished bytes before the message would be published with it, by one tail. An inline
        // message is published alone.
        let alone = self.pending() == 0;
        if alone {
            // The reader polls the line of the tail, so this cache lacks the line. The prefetch
            // runs while the bytes are copied into the ring.
            let side = self.region().header().side(Role::Producer);
            side.inline.prefetch_write(bytes.len());
        }
        let put = self.put_in_window(bytes, false);
        if put && alone {
            let side = self.region().header().side(Role::Producer);
            side.inline.put(start, bytes); // P7
        }
        put
    }

    /// Copies `bytes`, and demotes a single message's lines to the cache that the reader shares.
    fn put_demoted(&mut self, bytes: &[u8]) -> bool {
        let start = self.tail();
        let alone = self.pending() == 0; // not part of a batch that is published later
        let put = self.put_in_window(bytes, false);
        if put && alone && bytes.len() <= DEMOTED {
            self.region().demote(start, bytes.len());
        }
        put
    }

    /// Prefetches the place of the next single message, after one of `len` bytes. The next one may
    /// be as long.
    pub(crate) fn prefetch_write(&self, len: usize) {
        let room = self.capacity - self.occupied();
        if len > inline::MOST && len <= DEMOTED && len as u64 <= room {
            self.region().prefetch_write(self.tail(), len);
        }
    }

    /// Copies all of `bytes` as [`put_hinted`](Self::put_hinted) does, for a reader without a
    /// delivery hint.
    #[inline(always)]
    pub(crate) fn put_known(&mut self, bytes: &[u8]) -> bool {
        self.put_in_window(bytes, true)
    }

    /// Copies all of `bytes` if they fit the window and the reader is there. If more bytes follow,
    /// their lines may be prefetched now, before these bytes are published.
    #[inline(always)]
    fn put_in_window(&mut self, bytes: &[u8], more_follows: bool) -> bool {
        if !self.has_reader() || !self.window.put(bytes, more_follows) {
            return false;
        }
        failpoint!(CopiedIn);
        true
    }

    /// Whether the reader is there, as far as its word says. Otherwise the slow path judges.
    #[inline(always)]
    fn has_reader(&self) -> bool {
        // Relaxed: the slow path loads the word again.
        let closed = self.peer_signals().closed.load(Ordering::Relaxed); // compared only
        closed == self.passed_over
    }

    /// Whether `len` bytes of room are known in one run of addresses, and the reader is there.
    #[inline(always)]
    pub(crate) fn has_known(&self, len: usize) -> bool {
        self.has_reader() && self.window.holds(len)
    }

    /// Counts `len` bytes that the caller has written in place. If the window has fewer, or the
    /// reader has set a delivery hint, returns `false` and does nothing.
    #[inline(always)]
    pub(crate) fn advance_known(&mut self, len: usize) -> bool {
        if self.has_hint() || !self.window.skip(Role::Producer, len, self.distance.pays()) {
            return false;
        }
        failpoint!(CopiedIn);
        true
    }

    /// Counts `len` bytes as written, which the caller has written in place, in known room. Demotes
    /// a single message's lines if the reader has set a delivery hint.
    pub(crate) fn advance_hinted(&mut self, len: usize) {
        let start = self.tail();
        let alone = self.pending() == 0;
        self.advance(len as u64);
        failpoint!(CopiedIn);
        if alone && len <= DEMOTED && self.has_hint() {
            self.region().demote(start, len);
        }
    }

    /// Bytes that the reader is not known to have released: at most the capacity.
    #[inline]
    fn occupied(&self) -> u64 {
        self.tail().wrapping_sub(self.known_head)
    }

    /// Copies as much of `bytes` as there is room for, and publishes nothing.
    #[inline]
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<usize, Corruption> {
        let room = self.room(bytes.len() as u64)?;
        // The cast loses nothing: the length is at most `bytes.len()`.
        let len = room.min(bytes.len() as u64) as usize;
        if len > 0 {
            let beyond = room - len as u64;
            self.region().copy_in(self.tail(), &bytes[..len], beyond);
            failpoint!(CopiedIn);
            self.advance(len as u64);
        }
        Ok(len)
    }

    /// Counts `len` bytes as written, which the caller put after the tail in known room.
    #[inline]
    pub(crate) fn advance(&mut self, len: u64) {
        let room = self.capacity - self.occupied();
        self.window.go_on(len, room - len);
    }

    /// Bytes written and not yet published.
    #[inline]
    pub(crate) fn pending(&self) -> usize {
        self.tail().wrapping_sub(self.published) as usize // at most the capacity
    }

    /// Publishes the written bytes.
    #[inline]
    pub(crate) fn publish(&mut self) {
        self.published = self.tail();
        let side = self.region().header().side(Role::Producer);
        side.position.store(self.tail(), Ordering::Release); // P1
        failpoint!(TailStored);
    }

    /// The reader's words other than its position.
    #[inline]
    pub(crate) fn peer_signals(&self) -> &Signals {
        &self.region().header().side(Role::Consumer).signals
    }

    /// Whether the reader has left and the writer has nobody to write for.
    #[inline]
    pub(crate) fn is_left_alone(&mut self) -> Result<bool, Corruption> {
        let closed = self.peer_signals().closed.load(Ordering::Acquire); // P4
        if closed == self.passed_over {
            return Ok(false);
        }
        let departure = Departure::from_word(closed)?;
        Ok(match self.departures {
            Departures::End if departure != Departure::Open => true,
            // The next reader has come, or every departure is passed over.
            Departures::End | Departures::Pass => {
                self.passed_over = closed;
                false
            }
        })
    }

    /// How the last reader has left, even where that departure does not end this writer's calls. A
    /// reader that had left before this writer came does not count.
    pub(crate) fn peer_departure(&self) -> Result<Departure, Corruption> {
        let closed = self.peer_signals().closed.load(Ordering::Acquire); // P4
        if closed == self.closed_before {
            return Ok(Departure::Open);
        }
        Departure::from_word(closed)
    }

    /// Leaves a mark at the published tail, in a ring that has marks. Unpublished bytes are lost.
    pub(crate) fn leave_mark(&mut self, ending: Ending) {
        if let Some(number) = self.marks {
            marks::leave(self.region().header(), number, self.published, ending);
            self.marks = Some(number.wrapping_add(1));
        }
    }

    /// Number of marks before the stream being written. Zero in a ring without marks.
    pub(crate) fn stream_number(&self) -> u64 {
        self.marks.unwrap_or(0)
    }

    /// Where the stream being written began.
    pub(crate) fn began(&self) -> u64 {
        let began = |number| marks::beginning(self.region().header(), number);
        self.marks.map_or(0, began)
    }

    /// The position up to which the reader has released.
    pub(crate) fn consumed(&mut self) -> Result<u64, Corruption> {
        self.room(u64::MAX)?;
        Ok(self.known_head)
    }

    /// Bytes written and not yet released by the reader.
    pub(crate) fn unread(&mut self) -> Result<usize, Corruption> {
        Ok((self.capacity - self.room(self.capacity)?) as usize) // at most the capacity
    }
}
