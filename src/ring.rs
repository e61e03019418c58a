//! The algorithm: one writer, one reader, two positions.
//!
//! # Who owns what
//!
//! - `tail` is written by the writer alone, `head` by the reader alone. Each
//!   keeps its own in private memory and never reads it back.
//! - The bytes from `head` to `tail` belong to the reader; the others to the
//!   writer. Neither touches the other's.
//! - Each side also keeps the last word of the other that it accepted, and
//!   loads a new one only when that one does not do.
//!
//! # Ordering
//!
//! | pair | store | load | what it carries |
//! |---|---|---|---|
//! | P1 | `tail`, Release | `tail`, Acquire | the bytes before `tail` |
//! | P2 | `head`, Release | `head`, Acquire | the reader has done with the bytes before `head` |
//! | P3 | state word, Release | state word, Acquire | the identity line |
//! | P4 | `closed`, Release | `closed`, Acquire | the last `tail` (or `head`) before it |
//! | P5 | position or `closed`, then `sleeping` | `sleeping`, then position or `closed` | no wake-up is lost; see `wait.rs` |
//! | P6 | `owner`, `complete`, state word | the same | who holds a role; see `roles.rs` |
//! | P7 | `end`, then the echo | the echo, then `end` | the echo that was copied is the one before this tail; see `echo.rs` |
//!
//! A reader that finds the ring empty and `closed` set loads `tail` once more
//! before it believes in the end: by P4 that load sees the last one.
//!
//! # A peer that lies
//!
//! Every word of the peer is loaded once into a local and checked by
//! `position.rs`; what fails the check is an error, and the caller gives the
//! ring up. A lie that passes can do no more than a slow or a wrong peer: the
//! spans that are copied are bounded by the capacity and by what this side
//! holds in private memory.

use crate::echo;
use crate::error::{Corruption, Rule};
use crate::layout::Signals;
use crate::position::{self, Fault};
use crate::region::Region;
use crate::state::Role;
use crate::steps::step;
use crate::sync::{Ordering, spin_loop};

/// The most that a write publishes, or a read releases, at once, so that the
/// reader copies out while the writer copies in.
pub(crate) const PUBLICATION: usize = 16 << 10;

/// Short messages, one at a time, after which a reader asks for echoes.
const SHORT_MESSAGES: u32 = 8;

/// Looks for an echo before other ways of waiting: about a microsecond. Few
/// under loom, which has other threads go on after each.
const HEARING: u32 = if cfg!(loom) { 2 } else { 32 };

/// How a side has left the ring, as its `closed` word says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// It has not.
    Open,
    /// It has done: the stream is whole.
    Finished,
    /// It broke off.
    Aborted,
}

impl Departure {
    /// The word of a side of this generation; zero while it is open.
    pub(crate) fn to_word(self, generation: u16) -> u32 {
        let how = match self {
            Departure::Open => return 0,
            Departure::Finished => 1,
            Departure::Aborted => 2,
        };
        u32::from(generation) << 8 | how
    }

    /// What a `closed` word says, past a word that no longer counts.
    ///
    /// `forgotten` is a `closed` word of the past: with a persistent ring, that
    /// of a holder before this side came. Zero forgets nothing.
    #[inline]
    fn of(word: u32, forgotten: u32) -> Result<Departure, Corruption> {
        if word == forgotten {
            return Ok(Departure::Open);
        }
        Departure::from_word(word)
    }

    fn from_word(word: u32) -> Result<Departure, Corruption> {
        match word & 0xff {
            0 if word == 0 => Ok(Departure::Open),
            1 => Ok(Departure::Finished),
            2 => Ok(Departure::Aborted),
            _ => Err(Corruption::new(Rule::ClosedWord, u64::from(word), 2)),
        }
    }
}

/// The positions that a side finds when it takes its role: own, then peer.
fn adopt<R: Region>(region: &R, role: Role) -> (u64, u64) {
    let header = region.header();
    // Acquire on both: a later holder goes on where a dead or departed one
    // stopped, so its own word is another process's store too.
    let own = header.side(role).position.load(Ordering::Acquire); // P1, P2
    let peer = header.side(role.peer()).position.load(Ordering::Acquire); // P1, P2
    (own, peer)
}

fn corrupt(fault: Fault, role: Role, own: u64, known: u64, found: u64) -> Corruption {
    match (fault, role) {
        (Fault::OutOfRange, Role::Producer) => Corruption::new(Rule::TailOutOfRange, found, own),
        (Fault::OutOfRange, Role::Consumer) => Corruption::new(Rule::HeadOutOfRange, found, own),
        (Fault::MovedBack, Role::Producer) => Corruption::new(Rule::TailMovedBack, found, known),
        (Fault::MovedBack, Role::Consumer) => Corruption::new(Rule::HeadMovedBack, found, known),
    }
}

/// The writing side.
#[derive(Debug)]
pub(crate) struct Writer<R> {
    region: R,
    capacity: u64,
    /// Own position: bytes written so far, published or not.
    tail: u64,
    /// The tail that the reader knows.
    published: u64,
    /// The last head accepted.
    known_head: u64,
    /// See [`Departure::of`].
    forgotten: u32,
}

impl<R: Region> Writer<R> {
    /// Takes up writing where the segment says that it stopped.
    pub(crate) fn new(region: R, forgotten: u32) -> Result<Writer<R>, Corruption> {
        let capacity = region.capacity();
        let (tail, head) = adopt(&region, Role::Producer);
        position::occupied(tail, tail.wrapping_sub(capacity), head, capacity)
            .map_err(|fault| corrupt(fault, Role::Consumer, tail, head, head))?;
        // The last writer may have died between an echo and its publication.
        region.header().side(Role::Producer).echo.clear(tail); // P7
        Ok(Writer {
            region,
            capacity,
            tail,
            published: tail,
            known_head: head,
            forgotten,
        })
    }

    pub(crate) fn region(&self) -> &R {
        &self.region
    }

    pub(crate) fn tail(&self) -> u64 {
        self.tail
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
        let side = self.region.header().side(Role::Consumer);
        let head = side.position.load(Ordering::Acquire); // P2
        let occupied = position::occupied(self.tail, self.known_head, head, self.capacity)
            .map_err(|fault| corrupt(fault, Role::Consumer, self.tail, self.known_head, head))?;
        self.known_head = head;
        Ok(self.capacity - occupied)
    }

    /// Copies all of `bytes` if there is a reader and room that is known of, in
    /// one run, and publishes nothing. `false` if not; nothing has happened
    /// then.
    #[inline]
    pub(crate) fn put_known(&mut self, bytes: &[u8]) -> bool {
        // Relaxed: a hint.
        if self.peer_signals().wants_echo.load(Ordering::Relaxed) != 0 {
            return self.put_echoed(bytes);
        }
        self.put_if_known(bytes)
    }

    /// As [`put_known`](Self::put_known) for a reader that asks for echoes: puts
    /// the bytes beside the tail too, if it is they alone that are published
    /// next.
    #[inline(never)]
    fn put_echoed(&mut self, bytes: &[u8]) -> bool {
        let start = self.tail;
        // An echo ends at a tail.
        let echoed = bytes.len() <= echo::MOST && self.pending() == 0;
        if echoed {
            // The reader looks at that line all the time: have it come while
            // the rest is done.
            let side = self.region.header().side(Role::Producer);
            side.echo.prepare(bytes.len());
        }
        let put = self.put_if_known(bytes);
        if put && echoed {
            let side = self.region.header().side(Role::Producer);
            side.echo.put(start, bytes); // P7
        }
        put
    }

    #[inline(always)]
    fn put_if_known(&mut self, bytes: &[u8]) -> bool {
        let len = bytes.len() as u64;
        // Relaxed: whoever takes the slow way then looks again.
        let closed = self.peer_signals().closed.load(Ordering::Relaxed); // compared only
        if closed != self.forgotten
            || self.capacity - self.occupied() < len
            || !self.region.is_one_run(self.tail, bytes.len())
        {
            return false;
        }
        self.region.copy_in(self.tail, bytes);
        step!(CopiedIn);
        self.advance(len);
        true
    }

    /// Bytes that the reader is not known to have released: at most the
    /// capacity.
    #[inline]
    fn occupied(&self) -> u64 {
        self.tail.wrapping_sub(self.known_head)
    }

    /// Copies as much of `bytes` as there is room for, and publishes nothing.
    #[inline]
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<usize, Corruption> {
        let room = self.room(bytes.len() as u64)?;
        // No loss: what is taken is at most `bytes.len()`.
        let len = room.min(bytes.len() as u64) as usize;
        if len > 0 {
            self.region.copy_in(self.tail, &bytes[..len]);
            step!(CopiedIn);
            self.advance(len as u64);
        }
        Ok(len)
    }

    /// Counts `len` bytes as written that were put behind the tail, in room
    /// that was there.
    #[inline]
    pub(crate) fn advance(&mut self, len: u64) {
        self.tail = self.tail.wrapping_add(len);
    }

    /// Bytes written and not yet published.
    #[inline]
    pub(crate) fn pending(&self) -> u64 {
        self.tail.wrapping_sub(self.published)
    }

    /// Publishes what was written.
    #[inline]
    pub(crate) fn publish(&mut self) {
        self.published = self.tail;
        let side = self.region.header().side(Role::Producer);
        side.position.store(self.tail, Ordering::Release); // P1
        step!(TailStored);
    }

    /// What the reader says that is no position.
    #[inline]
    pub(crate) fn peer_signals(&self) -> &Signals {
        &self.region.header().side(Role::Consumer).signals
    }

    /// How the reader has left.
    #[inline]
    pub(crate) fn peer_departure(&self) -> Result<Departure, Corruption> {
        let closed = self.peer_signals().closed.load(Ordering::Acquire); // P4
        Departure::of(closed, self.forgotten)
    }

    /// Bytes written and not yet released by the reader.
    pub(crate) fn unread(&mut self) -> Result<u64, Corruption> {
        Ok(self.capacity - self.room(self.capacity)?)
    }
}

/// What a reader finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// As much as is wanted.
    Ready,
    /// Not as much yet.
    Empty,
    /// Not as much, and no more will come: the writer finished.
    Finished,
    /// Not as much, and no more will come: the writer broke off.
    Aborted,
}

/// The reading side.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    region: R,
    capacity: u64,
    /// Own position: bytes released so far.
    head: u64,
    /// The last tail accepted.
    known_tail: u64,
    /// See [`Departure::of`].
    forgotten: u32,
    /// The `closed` word of the writer whose end was delivered last.
    ended: Option<u32>,
    /// How many short messages have come one at a time.
    short: u32,
    /// Whether the writer is asked for echoes.
    listening: bool,
    /// Whether the last echo was on more than the line of the tail.
    far: bool,
}

impl<R: Region> Reader<R> {
    /// Takes up reading where the segment says that it stopped.
    pub(crate) fn new(region: R, forgotten: u32) -> Result<Reader<R>, Corruption> {
        let capacity = region.capacity();
        let (head, tail) = adopt(&region, Role::Consumer);
        position::readable(head, head, tail, capacity)
            .map_err(|fault| corrupt(fault, Role::Producer, head, tail, tail))?;
        Ok(Reader {
            region,
            capacity,
            head,
            known_tail: tail,
            forgotten,
            ended: None,
            short: 0,
            listening: false,
            far: false,
        })
    }

    pub(crate) fn region(&self) -> &R {
        &self.region
    }

    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    /// Bytes that can be read now; looks at `tail` only if fewer than
    /// `wanted` are known to be there.
    #[inline]
    pub(crate) fn available(&mut self, wanted: u64) -> Result<u64, Corruption> {
        let known = self.known();
        if known >= wanted {
            return Ok(known);
        }
        // Possibly empty: refresh.
        let side = self.region.header().side(Role::Producer);
        let tail = side.position.load(Ordering::Acquire); // P1
        self.accept(tail)
    }

    /// Believes a tail that was loaded, if it can be true; and says how many
    /// bytes there are before it.
    #[inline]
    fn accept(&mut self, tail: u64) -> Result<u64, Corruption> {
        let readable = position::readable(self.head, self.known_tail, tail, self.capacity)
            .map_err(|fault| corrupt(fault, Role::Producer, self.head, self.known_tail, tail))?;
        self.known_tail = tail;
        Ok(readable)
    }

    /// Fills all of `bytes` if so many are known to be there, in one run, and
    /// releases nothing. `false` if not; nothing has happened then.
    #[inline]
    pub(crate) fn get_known(&self, bytes: &mut [u8]) -> bool {
        if self.known() < bytes.len() as u64 || !self.region.is_one_run(self.head, bytes.len()) {
            return false;
        }
        self.region.copy_out(self.head, bytes);
        step!(CopiedOut);
        true
    }

    /// Bytes known to be there.
    #[inline]
    pub(crate) fn known(&self) -> u64 {
        self.known_tail.wrapping_sub(self.head)
    }

    /// Copies what is there, as much as `bytes` holds, and releases nothing.
    #[inline]
    pub(crate) fn get(&mut self, bytes: &mut [u8]) -> Result<usize, Corruption> {
        let available = self.available(bytes.len() as u64)?;
        // No loss: what is taken is at most `bytes.len()`.
        let len = available.min(bytes.len() as u64) as usize;
        if len > 0 {
            let bytes = &mut bytes[..len];
            if !self.hear(available, bytes) {
                self.region.copy_out(self.head, bytes);
            }
            step!(CopiedOut);
        }
        Ok(len)
    }

    /// Fills `bytes` from beside the tail, if they are all of the `available`
    /// ones, and there.
    #[inline]
    fn hear(&self, available: u64, bytes: &mut [u8]) -> bool {
        self.listening
            && available == bytes.len() as u64
            && self
                .region
                .header()
                .side(Role::Producer)
                .echo
                .get(self.head, bytes) // P7
    }

    /// Whether a short message may come beside the tail next: the writer is asked
    /// for echoes, and nothing is known to be there to read.
    #[inline]
    pub(crate) fn may_hear(&self) -> bool {
        self.listening && self.known() == 0
    }

    /// Looks for a short message beside the tail for a moment, where one
    /// [may come](Self::may_hear). Takes it out of the stream; its length is at
    /// most that of `bytes`. 0 if there is none.
    ///
    /// What is done from the look that finds a message to the reply is what a
    /// round trip consists of, but for the way of the lines.
    #[inline]
    pub(crate) fn hear_next(&mut self, bytes: &mut [u8]) -> usize {
        let head = self.head;
        let side = self.region.header().side(Role::Producer);
        let most = self.capacity.min(bytes.len().min(echo::MOST) as u64);
        for _ in 0..HEARING {
            let tail = side.position.load(Ordering::Acquire); // P1
            if tail != head {
                let len = tail.wrapping_sub(head);
                // A tail too far, or behind, is for `available` to judge.
                if len > most || !side.echo.get(head, &mut bytes[..len as usize]) {
                    return 0;
                }
                step!(CopiedOut);
                self.far = len > echo::NEAR as u64;
                self.known_tail = tail;
                self.release(len);
                return len as usize;
            }
            if self.far {
                side.echo.fetch_far();
            }
            spin_loop();
        }
        0
    }

    /// Notes how many bytes a look at the tail has found after a wait. Short
    /// messages one at a time are asked to come beside the tail, too; a stream
    /// is not.
    #[inline]
    pub(crate) fn note(&mut self, found: u64) {
        if found > echo::MOST as u64 {
            self.stop_listening();
        } else if !self.listening {
            self.short += 1;
            if self.short == SHORT_MESSAGES {
                self.ask_for_echoes(true);
            }
        }
    }

    /// Has the writer spare itself the echoes.
    #[inline]
    pub(crate) fn stop_listening(&mut self) {
        self.short = 0;
        if self.listening {
            self.ask_for_echoes(false);
        }
    }

    fn ask_for_echoes(&mut self, listening: bool) {
        self.listening = listening;
        let own = &self.region.header().side(Role::Consumer).signals;
        own.wants_echo
            .store(u32::from(listening), Ordering::Relaxed); // a hint
    }

    /// Gives the room of the first `len` bytes, which are there, back to the
    /// writer.
    #[inline]
    pub(crate) fn release(&mut self, len: u64) {
        self.region.hand_back(self.head, len);
        self.head = self.head.wrapping_add(len);
        let side = self.region.header().side(Role::Consumer);
        side.position.store(self.head, Ordering::Release); // P2
        step!(HeadStored);
    }

    /// Whether there are `least` bytes to read, and if not, whether more can
    /// come.
    #[inline]
    pub(crate) fn readiness(&mut self, least: u64) -> Result<Readiness, Corruption> {
        if self.known() >= least {
            return Ok(Readiness::Ready);
        }
        let side = self.region.header().side(Role::Producer);
        let tail = side.position.load(Ordering::Acquire); // P1
        let closed = side.signals.closed.load(Ordering::Acquire); // P4
        if tail == self.known_tail && closed == self.forgotten {
            return Ok(Readiness::Empty); // what a waiter sees most of the time
        }
        self.judge(tail, closed, least)
    }

    /// What these two words of the writer make of it.
    fn judge(&mut self, tail: u64, closed: u32, least: u64) -> Result<Readiness, Corruption> {
        if self.accept(tail)? >= least {
            return Ok(Readiness::Ready);
        }
        let departure = Departure::of(closed, self.forgotten)?;
        if departure == Departure::Open {
            return Ok(Readiness::Empty);
        }
        // It has left: its last bytes are visible by P4. Look once more.
        let available = self.available(least)?;
        Ok(match departure {
            _ if available >= least => Readiness::Ready,
            Departure::Aborted => Readiness::Aborted,
            Departure::Finished | Departure::Open => {
                if available == 0 {
                    self.ended = Some(closed);
                }
                Readiness::Finished
            }
        })
    }

    /// What the writer says that is no position.
    #[inline]
    pub(crate) fn peer_signals(&self) -> &Signals {
        &self.region.header().side(Role::Producer).signals
    }

    /// Records that the end of the writer's stream was delivered, if it was,
    /// for the consumer that comes after this one.
    pub(crate) fn acknowledge_end(&self) {
        if let Some(word) = self.ended {
            let own = &self.region.header().side(Role::Consumer).signals;
            own.acknowledged.store(word, Ordering::Relaxed); // published by leaving, P6
        }
    }

    /// How the writer has left. Bytes may still be there to read.
    pub(crate) fn peer_departure(&self) -> Result<Departure, Corruption> {
        let closed = self.peer_signals().closed.load(Ordering::Acquire); // P4
        Departure::of(closed, self.forgotten)
    }
}

#[cfg(all(test, not(loom)))]
mod order;
#[cfg(all(test, not(loom)))]
mod tests;
