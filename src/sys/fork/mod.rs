//! Detects a fork without a system call: tells whether this process is the one that made a handle.
//!
//! Each process has a *token*, one word that a child does not inherit. Invariants:
//!
//! 1. A token is not zero, and is stored only over zero: a process keeps its token for life.
//! 2. After a fork the child's word is zero until the child asks for an epoch of its own.
//! 3. The token that a process takes differs from every token that it could have inherited in an
//!    [`Epoch`].
//!
//! Invariant 2 holds in two ways, each of which is enough. The kernel wipes the word's page in the
//! child (`MADV_WIPEONFORK`, madvise(2)). A handler in the child (`pthread_atfork(3)`) stores zero
//! as well. The page fails where the advice is refused or ignored, as in user-mode emulation. The
//! handler misses a raw `clone(2)` and `_Fork(3)`. Both are prepared before the first token is
//! stored. A child inherits both, and prepares them again if the fork came in between. No lock of
//! ours is held meanwhile, so a fork leaves none held in the child.
//!
//! The page is a static variable without an initial value, since the kernel accepts the advice for
//! anonymous private memory alone. The loader maps such variables so. With a word behind a pointer,
//! records of 64 bytes in place came to 0.71 and 0.91 of the speed (interleaved, Zen 3).
//!
//! All is one variable. Where two shared objects embed this crate, the loader may let them share a
//! variable. With several variables, they could share some and not others.
//!
//! Invariant 3: tokens are counted in ordinary memory, so a fork copies the count. A child runs only
//! the thread that forked. Each epoch that this thread holds was taken before the fork, so the count
//! is at or past its token. Siblings may take equal tokens, since no sibling inherits
//! from the other.
//!
//! Limits:
//! * A child that shares our memory (`vfork(2)`, `CLONE_VM`, until it execs) shares the word. Such a
//!   child must not touch handles.
//! * A child handler that was registered before ours runs before ours. An epoch that it takes is no
//!   longer current once ours has run.
//! * Without the page, a child of a raw `clone(2)` is taken for its parent. A linker script can cause
//!   that, by a place for such variables that is not anonymous. Without the handler too (no memory
//!   for it), no fork is detected.

// The advice and the handler are given by C calls.
#![allow(unsafe_code)]

pub(crate) mod held;

use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

#[cfg(test)]
mod tests;

/// A process, from the time it took the epoch up to the next fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epoch {
    token: u64,
}

/// Whole pages, so that nothing else is wiped. On x86-64 a page has 4 KiB, elsewhere up to 64 KiB. An
/// old loader may align to the system's pages alone, which is enough for madvise(2).
#[cfg_attr(target_arch = "x86_64", repr(C, align(4096)))]
#[cfg_attr(not(target_arch = "x86_64"), repr(C, align(65536)))]
struct Page {
    /// The token of this process, or zero.
    token: AtomicU64,
}

/// All that this module knows.
#[repr(C)] // the page first, and the rest behind it
struct State {
    page: Page,
    /// Whether the page and the handler are prepared.
    prepared: AtomicBool,
    /// The last token that was given out. A `u64` does not run out.
    last: AtomicU64,
    held: [held::Entry; 64],
}

static STATE: State = State {
    page: Page {
        token: AtomicU64::new(0),
    },
    prepared: AtomicBool::new(false),
    last: AtomicU64::new(0),
    held: [const { held::Entry::free() }; 64],
};

impl Epoch {
    /// The epoch of this process. The first call in a process prepares, by a system call; later
    /// calls make none.
    pub(crate) fn current() -> Epoch {
        let word = &STATE.page.token;
        let token = word.load(Relaxed); // publishes nothing but itself
        if token != 0 {
            return Epoch { token };
        }
        // Acquire pairs with the Release below: the preparation comes before the first token.
        if !STATE.prepared.load(Acquire) {
            prepare();
            STATE.prepared.store(true, Release); // pairs with the Acquire above
        }
        let fresh = 1 + STATE.last.fetch_add(1, Relaxed); // only needs to be unique
        // Relaxed: the token publishes nothing but itself.
        let exchange = word.compare_exchange(0, fresh, Relaxed, Relaxed);
        Epoch {
            token: exchange.map_or_else(|token| token, |_| fresh), // another thread was first
        }
    }

    /// An epoch that no process has.
    pub(crate) fn never() -> Epoch {
        Epoch { token: u64::MAX }
    }

    /// Whether this process took the epoch. False in a child made by fork, at any depth.
    #[inline]
    pub(crate) fn is_current(self) -> bool {
        STATE.page.token.load(Relaxed) == self.token // publishes nothing but itself
    }
}

/// Has the kernel wipe the page in a child, and registers the handler. Two racing threads may both
/// do so, which does no harm. Where either fails, the other does the work.
#[cold]
fn prepare() {
    let page = (&raw const STATE.page).cast_mut().cast();
    // SAFETY: the advice changes only what a child sees. It reaches whole pages, which have this
    // one variable. A child finds a zero there, which is valid.
    unsafe { libc::madvise(page, size_of::<Page>(), libc::MADV_WIPEONFORK) };
    // SAFETY: `clear` may be called at any time in a child. It makes an atomic store, and closes
    // files of threads that the child lacks. When a shared object is unloaded, glibc forgets its
    // handlers.
    unsafe { libc::pthread_atfork(None, None, Some(clear)) };
}

/// Runs in the child of fork(3). Async-signal-safe: uses only atomics and close(2).
extern "C" fn clear() {
    held::close_in_child();
    STATE.page.token.store(0, Relaxed); // publishes nothing but itself
}
