//! The reactor: one thread that waits for async handles, and for the members of sets with a
//! descriptor. These waits block no thread of the program.
//!
//! The thread sleeps on the `sleeping` words of all listed handles and on a word of
//! its own, in one `FUTEX_WAITV`. After waking, the thread looks at each handle,
//! and calls the wakers of those whose word the peer has cleared.
//!
//! # No wake is lost (R1)
//!
//! Changing the list takes a system call. So a handle stays listed between two waits, and the
//! thread then sleeps on its word, too. The word has any value that this side has stored: 0 or 2,
//! or 1 while a blocking call sleeps. A wake could be lost in two ways, which must be impossible:
//!
//! 1. The reactor reads 0, the handle sets 1, and the peer clears the word to 0
//!    without waking anybody. Then the reactor sleeps on the expected 0.
//! 2. The reactor sleeps without the word. The handle arms, which wakes nobody, and
//!    the peer's wake finds nobody in the queue of the word.
//!
//! ```text
//! handle, its lock held          reactor
//! changes += 1; fence(Release)   seen = changes
//! sleeping = 1 (P5)              for each handle: lock, read sleeping, unlock
//! armed = true                   FUTEX_WAITV(each sleeping, ..., changes == seen)
//! ```
//!
//! The kernel checks the words in their order, and `changes` is the last. If the handle took its
//! lock before the reactor did, the reactor sees that the handle is armed. Otherwise there are two
//! cases. If the kernel finds that `changes` is not `seen`, the reactor does not sleep. If they are
//! equal, the reactor is queued on every word, and the handle has not set its own word yet for this
//! wait. The peer's wake comes later still, and finds the reactor in the queue. So the reactor
//! sleeps on the word of every listed handle, armed or not (`wait::is_watched_unarmed`). Only the
//! words of peers that flood, or that store other values, are left out. Their handles are looked at
//! when the slice ends. The model is in `models/wait.rs`.
//!
//! # Limits of `FUTEX_WAITV`
//!
//! `FUTEX_WAITV` takes 128 words, one of which is `changes`. If more handles are
//! listed than fit, the reactor sleeps on some in turn, and looks at all after each
//! sleep. The more handles, the shorter the sleeps. Without the system call (before
//! Linux 5.16), the reactor sleeps for a millisecond at a time and looks at all
//! handles.
//!
//! # A peer that wakes for nothing
//!
//! A handle that is woken repeatedly without anything to do is ignored for the rest
//! of the slice. If the reactor cannot tell which peer keeps waking it, it sleeps
//! on no peer's word for the rest of the slice. These sleeps last a millisecond
//! each.
//!
//! # Fork
//!
//! The thread stays with the parent of a fork. The child finds that the reactor
//! belongs to another process, touches none of its locks, and creates its own.
//!
//! # Code that is not ours
//!
//! A waker is code of an executor, which may panic or call back into this crate. So
//! no lock is held while a waker runs, and its panic is caught (`foreign.rs`). A
//! waker that blocks delays all handles, as in an executor.
#![allow(unsafe_code)] // the reactor is reached through a pointer

mod foreign;
pub(crate) mod parking;
mod slot;
mod thread;

use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::Instant;
use std::{io, ptr};

use self::foreign::catch_panic;
use self::slot::{Look, Waiter, lock};
use crate::sys::fork::Epoch;
use crate::sys::futex::{self, FutexWait, MOST_WORDS, Woken};
use crate::tuning::{ASKED_PER_SLICE, FALSE_WAKES, LINGER, NAP};
use crate::wait::slice_len;

/// The reactor of this process, or of a process from which this one was forked.
static REACTOR: AtomicPtr<Reactor> = AtomicPtr::new(ptr::null_mut());

/// What the thread and the handles share.
#[derive(Debug)]
struct Reactor {
    epoch: Epoch,
    /// Counts handles that arm or arrive. The thread sleeps on this word.
    changes: AtomicU32,
    inbox: Mutex<Inbox>,
}

#[derive(Debug, Default)]
struct Inbox {
    /// Handles that the thread has not listed yet.
    arrivals: Vec<Arc<Waiter>>,
    thread_runs: bool,
}

impl Reactor {
    /// Returns the reactor of this process.
    fn current() -> &'static Reactor {
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
                changes: AtomicU32::new(0),
                inbox: Mutex::default(),
            }));
            // Release: the reactor is whole before its address is seen.
            let exchange = REACTOR.compare_exchange(
                found,
                fresh,
                Ordering::Release, // pairs with both loads
                Ordering::Acquire, // the winner's reactor is complete
            );
            if let Err(winner) = exchange {
                // SAFETY: `fresh` came from the box above, and its address was not
                // published.
                drop(unsafe { Box::from_raw(fresh) });
                found = winner;
            } else {
                found = fresh;
            }
        }
    }

    /// Announces that a handle is about to arm. Makes no system call.
    fn note_change(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel); // R1
        // The handle's store to its word follows, and is Relaxed. The fence orders the new count
        // before that store, and so before the peer's change of the stored word.
        fence(Ordering::Release); // R1
    }

    /// Adds a handle to the list.
    fn enlist(&'static self, waiter: &Arc<Waiter>) -> io::Result<()> {
        let mut inbox = self.with_thread()?;
        inbox.arrivals.push(Arc::clone(waiter));
        drop(inbox);
        self.note_change();
        futex::wake(&self.changes);
        Ok(())
    }

    /// Starts the thread, unless it runs. While the inbox is locked, the thread does not end.
    fn with_thread(&'static self) -> io::Result<MutexGuard<'static, Inbox>> {
        let mut inbox = lock(&self.inbox);
        if !inbox.thread_runs {
            thread::start(c"shmpipe-waiter", move || Run::new(self).run_on())
                .map_err(|error| io::Error::other(format!("no thread to wait: {error}")))?;
            inbox.thread_runs = true;
        }
        Ok(inbox)
    }
}

/// Starts the thread of this process, unless it runs. The thread ends again after [`LINGER`]
/// without a handle.
pub(crate) fn start_thread() -> io::Result<()> {
    Reactor::current().with_thread().map(drop)
}

/// The state of the reactor's thread.
struct Run {
    reactor: &'static Reactor,
    list: Vec<Arc<Waiter>>,
    /// The wakers of the tasks to be woken.
    wakers: Vec<Waker>,
    /// The end of the current slice.
    slice_ends: Instant,
    /// When the list became empty.
    empty_since: Option<Instant>,
    /// The position in the list at which the next sleep begins.
    first: usize,
    /// Sleeps of this slice that ended early although no task was to be woken and
    /// no handle had armed.
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
            slice_ends: Instant::now() + slice_len(),
            empty_since: None,
            first: 0,
            fruitless: 0,
            has_waitv: true,
        }
    }

    /// Runs until the thread ends. `run` should not panic. If `run` panics, the loop
    /// calls `run` again, with the list and the wakers, which are intact. Otherwise no
    /// handle would be woken after a panic.
    fn run_on(mut self) {
        while catch_panic(|| self.run()).is_none() {}
    }

    fn run(&mut self) {
        let mut words = Vec::new();
        let mut last = (0, Woken::TimedOut);
        loop {
            let changes = self.reactor.changes.load(Ordering::Acquire); // R1
            self.list.append(&mut lock(&self.reactor.inbox).arrivals);
            let now = Instant::now();
            words.clear();
            self.look(now, &mut words);
            if last.0 == changes && last.1.is_early() && self.wakers.is_empty() {
                self.fruitless += 1;
            }
            self.wakers.drain(..).for_each(foreign::wake);
            let woken = if self.list.is_empty() {
                let since = *self.empty_since.get_or_insert(now);
                let left = LINGER.saturating_sub(now - since);
                if left.is_zero() && self.leave() {
                    return;
                }
                futex::wait(&self.reactor.changes, changes, left);
                Woken::TimedOut
            } else {
                self.empty_since = None;
                self.sleep(changes, &mut words)
            };
            last = (changes, woken);
        }
    }

    /// Ends the thread unless a handle has just arrived.
    fn leave(&self) -> bool {
        let mut inbox = lock(&self.reactor.inbox);
        inbox.thread_runs = !inbox.arrivals.is_empty();
        !inbox.thread_runs
    }

    /// Looks at every handle. Adds the words to sleep on to `words`.
    fn look(&mut self, now: Instant, words: &mut Vec<FutexWait>) {
        let slice_is_over = now >= self.slice_ends;
        if slice_is_over {
            self.slice_ends = now + slice_len();
            self.fruitless = 0;
        }
        let mut index = 0;
        self.list.retain(|waiter| {
            let asks = index < ASKED_PER_SLICE;
            index += 1;
            match waiter.look(slice_is_over, asks, &mut self.wakers) {
                Look::Watch(word) => words.push(word),
                Look::Ignore => {}
                Look::Forget => return false,
            }
            true
        });
        if slice_is_over {
            // The next slice checks the peers of the handles further down the list.
            let asked = ASKED_PER_SLICE.min(self.list.len());
            self.list.rotate_left(asked);
        }
    }

    /// Sleeps on `words` and on `changes`, at most until the end of the slice.
    fn sleep(&mut self, changes: u32, words: &mut Vec<FutexWait>) -> Woken {
        const ROOM: usize = MOST_WORDS - 1;
        let mut time = self.slice_ends.saturating_duration_since(Instant::now());
        if !self.has_waitv || self.fruitless > FALSE_WAKES {
            futex::wait(&self.reactor.changes, changes, time.min(NAP));
            return Woken::TimedOut;
        }
        if words.len() > ROOM {
            let sleeps = words.len().div_ceil(ROOM) as u32; // fits: the list is in memory
            time = time.min(NAP.max(slice_len() / sleeps));
            self.first = (self.first + ROOM) % words.len();
            words.rotate_left(self.first);
            words.truncate(ROOM);
        }
        words.push(FutexWait::new(&self.reactor.changes, changes)); // R1: the last one
        let woken = futex::wait_any(words, time);
        self.has_waitv = woken != Woken::Refused;
        woken
    }
}
