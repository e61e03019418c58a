//! The one thread of a process that waits for all its async handles.
//!
//! It sleeps on the `sleeping` words of the handles on its list and on a word
//! of its own, all in one `FUTEX_WAITV`. When it wakes it looks at each of
//! them, and calls the wakers of those whose word the peer has cleared.
//!
//! # No wake is lost (R1)
//!
//! The list takes a system call to change, so a handle stays on it from one
//! wait to the next: its word is slept on with the value 0, too. What a handle
//! that arms must rule out is this: the reactor reads 0, the handle sets 1, the
//! peer clears it to 0 and wakes nobody, the reactor sleeps with the 0 that it
//! expected.
//!
//! ```text
//! handle, its lock held          reactor
//! stir += 1                      seen = stir
//! sleeping = 1 (P5)              for each handle: lock, read sleeping, unlock
//! armed = true                   FUTEX_WAITV(each sleeping, ..., stir == seen)
//! ```
//!
//! The kernel takes the words in their order, and `stir` comes last. If the
//! handle's lock came before the reactor's, the reactor sees that it is armed.
//! If it came after, and the kernel finds `stir` changed, it does not sleep. If
//! it finds it unchanged, the reactor is in the queue of every word by then,
//! and the handle had not yet set its own: the peer's wake, which comes later
//! still, finds it there.
//!
//! # How many, and how old a kernel
//!
//! `FUTEX_WAITV` takes 128 words, of which one is our own. Of more handles than
//! fit, the reactor sleeps on some in turn, for the shorter the more there are,
//! and looks at all when it wakes. Without the call (before Linux 5.16) it
//! sleeps a millisecond at a time and looks at all.
//!
//! # A peer that wakes for nothing
//!
//! A handle that is woken again and again without anything to do is left alone
//! for the rest of the slice. Where it is not to be told who it was that kept
//! the reactor from sleeping, it sleeps a millisecond at a time where no peer
//! reaches it, for the rest of the slice.
//!
//! # Fork
//!
//! A fork leaves the thread behind. The child finds that the reactor is another
//! process's, touches none of its locks, and makes its own.
//!
//! # Code that is not ours
//!
//! A waker is code of an executor, which may panic, and which may come back to
//! us: no lock is held while it runs, and a panic ends nothing (`foreign.rs`).
//! One that blocks holds up all handles, as one that blocks an executor does.
#![allow(unsafe_code)] // the reactor is reached through a pointer

use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Instant;
use std::{io, ptr};

use super::foreign::{self, contained};
use super::slot::{Look, Waiter, lock};
use super::thread;
use crate::sys::fork::Epoch;
use crate::sys::futex::{self, Expected, MOST_WORDS, Woken};
use crate::tuning::{ASKED_PER_SLICE, FALSE_WAKES, LINGER, NAP, SLICE};

/// The reactor of this process, or of one that it was forked from.
static REACTOR: AtomicPtr<Reactor> = AtomicPtr::new(ptr::null_mut());

/// What the thread and the handles share.
#[derive(Debug)]
pub(super) struct Reactor {
    epoch: Epoch,
    /// Changes when a handle arms. The thread sleeps on it.
    stir: AtomicU32,
    door: Mutex<Door>,
}

#[derive(Debug, Default)]
struct Door {
    /// Those that the thread has not yet put on its list.
    arrivals: Vec<Arc<Waiter>>,
    /// Whether there is a thread.
    open: bool,
}

impl Reactor {
    /// That of this process.
    pub(super) fn current() -> &'static Reactor {
        let mut found = REACTOR.load(Ordering::Acquire); // pairs with the exchange below
        loop {
            // SAFETY: null, or a reactor that was leaked below: it is never
            // freed, and only shared references to it are made.
            if let Some(reactor) = unsafe { found.as_ref() }
                && reactor.epoch.is_current()
            {
                return reactor;
            }
            let fresh = Box::into_raw(Box::new(Reactor {
                epoch: Epoch::current(),
                stir: AtomicU32::new(0),
                door: Mutex::default(),
            }));
            // Release: the reactor is whole before its address is seen.
            let exchange = REACTOR.compare_exchange(
                found,
                fresh,
                Ordering::Release, // pairs with both loads
                Ordering::Acquire, // the winner's is whole
            );
            if let Err(winner) = exchange {
                // SAFETY: it came from a box above, and nobody else has its
                // address.
                drop(unsafe { Box::from_raw(fresh) });
                found = winner;
            } else {
                found = fresh;
            }
        }
    }

    /// Says that a handle is about to arm. No system call.
    pub(super) fn stir(&self) {
        // Release: ordered before the word that the handle sets, which is
        // itself a Release. AcqRel only to be no weaker than either side needs.
        self.stir.fetch_add(1, Ordering::AcqRel); // R1
    }

    /// Puts a handle on the list.
    pub(super) fn enlist(&'static self, waiter: &Arc<Waiter>) -> io::Result<()> {
        let mut door = lock(&self.door);
        if !door.open {
            thread::start(c"shmpipe-async", move || Run::new(self).run_on())
                .map_err(|error| io::Error::other(format!("no thread to wait: {error}")))?;
            door.open = true;
        }
        door.arrivals.push(Arc::clone(waiter));
        drop(door);
        self.stir();
        futex::wake(&self.stir);
        Ok(())
    }
}

/// The thread's own.
struct Run {
    reactor: &'static Reactor,
    list: Vec<Arc<Waiter>>,
    /// Of the tasks to be woken.
    wakers: Vec<Waker>,
    /// The end of the slice.
    slice_ends: Instant,
    /// When the list was found empty.
    empty_since: Option<Instant>,
    /// Where on the list the next sleep begins.
    first: usize,
    /// Sleeps in this slice that ended early, with nobody to wake and nobody
    /// having armed.
    fruitless: u32,
    /// Whether the kernel has FUTEX_WAITV.
    has_waitv: bool,
}

impl Run {
    fn new(reactor: &'static Reactor) -> Run {
        Run {
            reactor,
            list: Vec::new(),
            wakers: Vec::new(),
            slice_ends: Instant::now() + SLICE,
            empty_since: None,
            first: 0,
            fruitless: 0,
            has_waitv: true,
        }
    }

    /// Runs to the end. A panic, which there is no cause for, would end the waiting of all: then
    /// the list and the wakers are still there, and it goes on.
    fn run_on(mut self) {
        while contained(|| self.run()).is_none() {}
    }

    fn run(&mut self) {
        let mut words = Vec::new();
        let mut last = (0, Woken::TimedOut);
        loop {
            let stir = self.reactor.stir.load(Ordering::Acquire); // R1
            self.list.append(&mut lock(&self.reactor.door).arrivals);
            let now = Instant::now();
            words.clear();
            self.look(now, &mut words);
            if last == (stir, Woken::Early) && self.wakers.is_empty() {
                self.fruitless += 1;
            }
            self.wakers.drain(..).for_each(foreign::wake);
            let woken = if self.list.is_empty() {
                let since = *self.empty_since.get_or_insert(now);
                let left = LINGER.saturating_sub(now - since);
                if left.is_zero() && self.leave() {
                    return;
                }
                futex::wait(&self.reactor.stir, stir, left);
                Woken::TimedOut
            } else {
                self.empty_since = None;
                self.sleep(stir, &mut words)
            };
            last = (stir, woken);
        }
    }

    /// Ends the thread, unless somebody is at the door.
    fn leave(&self) -> bool {
        let mut door = lock(&self.reactor.door);
        door.open = !door.arrivals.is_empty();
        !door.open
    }

    /// Looks at every handle. `words` are those to sleep on.
    fn look(&mut self, now: Instant, words: &mut Vec<Expected>) {
        let slice = now >= self.slice_ends;
        if slice {
            self.slice_ends = now + SLICE;
            self.fruitless = 0;
        }
        let mut index = 0;
        self.list.retain(|waiter| {
            let asks = index < ASKED_PER_SLICE;
            index += 1;
            match waiter.look(slice, asks, &mut self.wakers) {
                Look::Watch(word) => words.push(word),
                Look::Ignore => {}
                Look::Forget => return false,
            }
            true
        });
        if slice {
            // Those behind are asked after in the next one.
            let asked = ASKED_PER_SLICE.min(self.list.len());
            self.list.rotate_left(asked);
        }
    }

    /// Sleeps on `words` and on our own, up to the end of the slice at most.
    fn sleep(&mut self, stir: u32, words: &mut Vec<Expected>) -> Woken {
        const ROOM: usize = MOST_WORDS - 1;
        let mut time = self.slice_ends.saturating_duration_since(Instant::now());
        if !self.has_waitv || self.fruitless > FALSE_WAKES {
            futex::wait(&self.reactor.stir, stir, time.min(NAP));
            return Woken::TimedOut;
        }
        if words.len() > ROOM {
            let sleeps = words.len().div_ceil(ROOM) as u32; // as many as fit memory
            time = time.min(NAP.max(SLICE / sleeps));
            self.first = (self.first + ROOM) % words.len();
            words.rotate_left(self.first);
            words.truncate(ROOM);
        }
        words.push(Expected::new(&self.reactor.stir, stir)); // R1: the last one
        let woken = futex::wait_any(words, time);
        self.has_waitv = woken != Woken::Refused;
        woken
    }
}
