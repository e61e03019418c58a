//! Detects a fork without a system call: tells whether this process is the one that made a handle.
//!
//! Each process has a *token*, one word that a child does not inherit. Invariants:
//!
//! 1. A token is not zero, and is stored only over zero: a process keeps its token for life.
//! 2. After a fork the child's word is zero until the child asks for an epoch of its own.
//! 3. The token that a process takes differs from every token that it could have inherited in an
//!    [`Epoch`].
//! 4. The word, once made, is never moved or freed.
//!
//! Invariant 2 holds in two ways, each of which is enough. The word lies in a page that the kernel
//! wipes in the child (`MADV_WIPEONFORK`, madvise(2)). A handler in the child (`pthread_atfork(3)`)
//! stores zero as well. The page fails where the advice is refused or ignored, as in user-mode
//! emulation. The handler misses a raw `clone(2)` and `_Fork(3)`.
//!
//! Invariant 3: tokens come from [`NEXT`], which lies in ordinary memory, so a fork copies it. A
//! child runs only the thread that forked. Each epoch that this thread holds was taken before the
//! fork, so `NEXT` is past its token. Siblings may take equal tokens, since no sibling inherits
//! from the other.
//!
//! Invariant 4: a page is mapped before its address is stored. So a fork that copies the address
//! also copies the page. No lock is held while the word is made, so a fork in the middle leaves no
//! lock held in the child.
//!
//! Limits:
//! * A child that shares our memory (`vfork(2)`, `CLONE_VM`, until it execs) shares the word. Such a
//!   child must not touch handles.
//! * A child handler that was registered before ours runs before ours. An epoch that it takes is no
//!   longer current once ours has run.
//! * Without the page, a child of a raw `clone(2)` is taken for its parent. Without the handler too
//!   (no memory for both), no fork is detected.

// The page and the handler are made by C calls, and the word is reached through a pointer.
#![allow(unsafe_code)]

pub(crate) mod held;

use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{
    AtomicPtr, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

#[cfg(test)]
mod tests;

/// A process, from the time it took the epoch up to the next fork.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epoch {
    word: &'static AtomicU64,
    token: u64,
}

impl PartialEq for Epoch {
    fn eq(&self, other: &Epoch) -> bool {
        self.token == other.token
    }
}

impl Eq for Epoch {}

/// Where the word is: at first `UNMADE`, then for good in the page or at `FALLBACK`.
static WORD: AtomicPtr<AtomicU64> = AtomicPtr::new(UNMADE_ADDRESS);

/// Read before a word is made: zero, which is no process's token.
static UNMADE: AtomicU64 = AtomicU64::new(0);
const UNMADE_ADDRESS: *mut AtomicU64 = (&raw const UNMADE).cast_mut();

/// The word where the page cannot be had. Only the handler clears this one.
static FALLBACK: AtomicU64 = AtomicU64::new(0);

/// The next token. A `u64` does not run out.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The used length of the page. mmap(2), madvise(2) and munmap(2) round it up to a page of any
/// size.
const PAGE_LEN: usize = size_of::<AtomicU64>();

impl Epoch {
    /// The epoch of this process. The first call in a process makes a few system calls, later calls
    /// make none.
    pub(crate) fn current() -> Epoch {
        let mut address = WORD.load(Acquire); // pairs with make_word: the page is mapped
        if address == UNMADE_ADDRESS {
            address = make_word();
        }
        // SAFETY: `address` came from WORD or from make_word, and is not `UNMADE`, so it is the
        // page or FALLBACK. Both are aligned, hold an AtomicU64 (zero bytes are valid), and are
        // never freed (invariant 4).
        let word = unsafe { &*address };
        let token = word.load(Relaxed); // publishes nothing but itself
        if token != 0 {
            return Epoch { word, token };
        }
        let fresh = NEXT.fetch_add(1, Relaxed); // only needs to be unique
        // Relaxed: the token publishes nothing but itself.
        let token = match word.compare_exchange(0, fresh, Relaxed, Relaxed) {
            Ok(_) => fresh,
            Err(token) => token, // another thread was first
        };
        Epoch { word, token }
    }

    /// An epoch that no process has.
    pub(crate) fn never() -> Epoch {
        Epoch {
            word: &UNMADE, // zero for good
            token: u64::MAX,
        }
    }

    /// Whether this process took the epoch. False in a child made by fork, at any depth.
    #[inline]
    pub(crate) fn is_current(self) -> bool {
        self.word.load(Relaxed) == self.token // publishes nothing but itself
    }
}

/// Makes the word, or finds that another thread has made it.
#[cold]
fn make_word() -> *mut AtomicU64 {
    // The handler is registered before the word can be seen. Two racing threads may both register,
    // since clearing twice does no harm. On failure (ENOMEM) the page alone does the work.
    //
    // SAFETY: `clear` may be called at any time in a child. It makes atomic stores to words that
    // are never freed, and closes files of threads that the child lacks. When a shared object is
    // unloaded, glibc forgets its handlers.
    unsafe { libc::pthread_atfork(None, None, Some(clear)) };
    let page = wiped_page().ok();
    let made = page.map_or((&raw const FALLBACK).cast_mut(), NonNull::as_ptr);
    let exchange = WORD.compare_exchange(
        UNMADE_ADDRESS,
        made,
        Release, // the page is mapped before its address is seen
        Acquire, // and so is the winner's
    );
    let Err(winner) = exchange else {
        return made;
    };
    if let Some(page) = page {
        // SAFETY: this call of wiped_page mapped the page and lost the race, so nobody else has its
        // address.
        unsafe { libc::munmap(page.as_ptr().cast(), PAGE_LEN) };
    }
    winner
}

/// Runs in the child of fork(3). Async-signal-safe: uses only atomics and close(2).
extern "C" fn clear() {
    held::close_in_child();
    let address = WORD.load(Relaxed); // what the fork copied; this thread is alone
    // SAFETY: WORD holds the address of UNMADE, of FALLBACK or of the page. All are aligned, hold
    // an AtomicU64 and are never freed (invariant 4). UNMADE is zero already.
    let word = unsafe { &*address };
    word.store(0, Relaxed); // publishes nothing but itself
}

/// Maps a private page of zeros that a child of fork gets as zeros again.
fn wiped_page() -> io::Result<NonNull<AtomicU64>> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at an address of the kernel's choice replaces nothing.
    let page = unsafe { libc::mmap(ptr::null_mut(), PAGE_LEN, access, kind, -1, 0) };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the page was mapped here and nobody else has its address. The advice changes only
    // what a child sees.
    if unsafe { libc::madvise(page, PAGE_LEN, libc::MADV_WIPEONFORK) } != 0 {
        let error = io::Error::last_os_error();
        // SAFETY: the page was mapped here, and its address is not used again.
        unsafe { libc::munmap(page, PAGE_LEN) };
        return Err(error);
    }
    NonNull::new(page.cast()).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}
