//! The reading side.

use super::{Departure, adopt, corrupt};
use crate::echo;
use crate::error::Corruption;
use crate::layout::{ECHO, HAND_ON, NOTHING, Signals};
use crate::position;
use crate::region::Region;
use crate::region::window::Window;
use crate::state::Role;
use crate::steps::step;
use crate::sync::{Ordering, spin_loop};

/// Messages, one at a time, after which a reader asks for what suits them.
const MESSAGES: u32 = 8;

/// Looks for a message before other ways of waiting: some microseconds. Few
/// under loom, which has other threads go on after each.
const HEARING: u32 = if cfg!(loom) { 2 } else { 96 };

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
    /// At the own position, the head: bytes read so far.
    window: Window<R>,
    capacity: u64,
    /// The last tail accepted.
    known_tail: u64,
    /// See [`Departure::of`].
    forgotten: u32,
    /// The `closed` word of the writer whose end was delivered last.
    ended: Option<u32>,
    /// How many messages in a row have come one at a time for which the writer is
    /// not asked for what suits them.
    unasked: u32,
    /// What the writer is asked for, as in [`Signals::wants_echo`].
    asked: u32,
    /// Whether the last message was of a length whose echo is on more than the line
    /// of the tail.
    far: bool,
}

impl<R: Region> Reader<R> {
    /// Takes up reading where the segment says that it stopped.
    pub(crate) fn new(region: R, forgotten: u32) -> Result<Reader<R>, Corruption> {
        let capacity = region.capacity();
        let (head, tail) = adopt(&region, Role::Consumer);
        let readable = position::readable(head, head, tail, capacity)
            .map_err(|fault| corrupt(fault, Role::Producer, head, tail, tail))?;
        let mut window = Window::new(region, head);
        window.open(readable);
        Ok(Reader {
            window,
            capacity,
            known_tail: tail,
            forgotten,
            ended: None,
            unasked: 0,
            asked: NOTHING,
            far: false,
        })
    }

    #[inline]
    pub(crate) fn region(&self) -> &R {
        self.window.region()
    }

    #[inline]
    pub(crate) fn head(&self) -> u64 {
        self.window.position()
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
        let side = self.region().header().side(Role::Producer);
        let tail = side.position.load(Ordering::Acquire); // P1
        self.accept(tail)
    }

    /// Believes a tail that was loaded, if it can be true; and says how many
    /// bytes there are before it.
    #[inline]
    fn accept(&mut self, tail: u64) -> Result<u64, Corruption> {
        let head = self.head();
        let readable = position::readable(head, self.known_tail, tail, self.capacity)
            .map_err(|fault| corrupt(fault, Role::Producer, head, self.known_tail, tail))?;
        self.known_tail = tail;
        self.window.open(readable);
        Ok(readable)
    }

    /// Fills all of `bytes` if so many are known to be there, in one run, and gives
    /// their room back to the writer. `false` if not; nothing has happened then.
    #[inline(always)]
    pub(crate) fn get_known(&mut self, bytes: &mut [u8]) -> bool {
        let start = self.head();
        if !self.window.take(bytes) {
            return false;
        }
        step!(CopiedOut);
        self.release_from(start, bytes.len() as u64);
        true
    }

    /// Bytes known to be there.
    #[inline]
    pub(crate) fn known(&self) -> u64 {
        self.known_tail.wrapping_sub(self.head())
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
                let beyond = available - bytes.len() as u64;
                self.region().copy_out(self.head(), bytes, beyond);
            }
            step!(CopiedOut);
        }
        Ok(len)
    }

    /// Fills `bytes` from beside the tail, if they are all of the `available`
    /// ones, and there.
    #[inline]
    fn hear(&self, available: u64, bytes: &mut [u8]) -> bool {
        self.asked == ECHO
            && available == bytes.len() as u64
            && self
                .region()
                .header()
                .side(Role::Producer)
                .echo
                .get(self.head(), bytes) // P7
    }

    /// Whether a message may come by itself next: the writer is asked for what suits
    /// such ones, and nothing is known to be there to read.
    #[inline]
    pub(crate) fn may_hear(&self) -> bool {
        self.asked != NOTHING && self.known() == 0
    }

    /// Looks for a message for a moment, a short one beside the tail, where one
    /// [may come](Self::may_hear). Takes it out of the stream; its length is at
    /// most that of `bytes`. 0 if there is none, or a long one.
    ///
    /// What is done from the look that finds a message to the reply is what a
    /// round trip consists of, but for the way of the lines.
    #[inline]
    pub(crate) fn hear_next(&mut self, bytes: &mut [u8]) -> usize {
        let head = self.head();
        let side = self.region().header().side(Role::Producer);
        let most = self.capacity.min(bytes.len().min(echo::HANDED_ON) as u64);
        for _ in 0..HEARING {
            let tail = side.position.load(Ordering::Acquire); // P1
            if tail != head {
                let len = tail.wrapping_sub(head);
                if len > most {
                    return 0; // a tail too far, or behind, is for `available` to judge
                }
                let bytes = &mut bytes[..len as usize];
                if len > echo::MOST as u64 || !side.echo.get(head, bytes) {
                    self.region().copy_out_alone(head, bytes);
                }
                step!(CopiedOut);
                self.far = (echo::NEAR + 1..=echo::MOST).contains(&(len as usize));
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

    /// Notes how many bytes a look at the tail has found after a wait, and whether
    /// nothing ever comes soon after. Short messages one at a time are asked to
    /// come beside the tail, too, and longer ones to be handed on; a stream is
    /// not.
    #[inline]
    pub(crate) fn note(&mut self, found: u64, alone: bool) {
        let suits = match found as usize {
            0..=echo::MOST => ECHO,
            0..=echo::HANDED_ON if alone => HAND_ON,
            _ => NOTHING,
        };
        if suits == self.asked {
            self.unasked = 0;
        } else if suits == NOTHING {
            self.stop_listening();
        } else {
            self.unasked += 1;
            if self.unasked == MESSAGES {
                self.ask_for(suits);
            }
        }
    }

    /// Has the writer spare itself the trouble.
    #[inline]
    pub(crate) fn stop_listening(&mut self) {
        self.unasked = 0;
        if self.asked != NOTHING {
            self.ask_for(NOTHING);
        }
    }

    fn ask_for(&mut self, what: u32) {
        self.unasked = 0;
        self.asked = what;
        let own = &self.region().header().side(Role::Consumer).signals;
        own.wants_echo.store(what, Ordering::Relaxed); // a hint
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
        self.region().hand_back(start, len);
        let side = self.region().header().side(Role::Consumer);
        side.position.store(self.head(), Ordering::Release); // P2
        step!(HeadStored);
    }

    /// Whether there are `least` bytes to read, and if not, whether more can
    /// come.
    #[inline]
    pub(crate) fn readiness(&mut self, least: u64) -> Result<Readiness, Corruption> {
        if self.known() >= least {
            return Ok(Readiness::Ready);
        }
        let side = self.region().header().side(Role::Producer);
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
        &self.region().header().side(Role::Producer).signals
    }

    /// Records that the end of the writer's stream was delivered, if it was,
    /// for the consumer that comes after this one.
    pub(crate) fn acknowledge_end(&self) {
        if let Some(word) = self.ended {
            let own = &self.region().header().side(Role::Consumer).signals;
            own.acknowledged.store(word, Ordering::Relaxed); // published by leaving, P6
        }
    }

    /// How the writer has left. Bytes may still be there to read.
    pub(crate) fn peer_departure(&self) -> Result<Departure, Corruption> {
        let closed = self.peer_signals().closed.load(Ordering::Acquire); // P4
        Departure::of(closed, self.forgotten)
    }
}
