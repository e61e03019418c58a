//! Tells, without a system call, whether this process is the one that made a handle.
//!
//! Guarded here: the *token* of the process, one word that a fork does not hand on.
//!
//! 1. A token is not zero, and is stored only over zero: a process keeps its token for life.
//! 2. After a fork the child's word is zero until the child asks for an epoch of its own.
//! 3. The token that a process takes differs from every token it could have inherited in an
//!    [`Epoch`].
//! 4. The word, once made, is never moved or freed.
//!
//! Of 2: the word lies in a page that the kernel wipes in the child (`MADV_WIPEONFORK`,
//! madvise(2)), and a handler in the child (`pthread_atfork(3)`) stores zero as well. Either is
//! enough. The page misses where the advice is refused or ignored (user-mode emulation); the
//! handler misses a raw `clone(2)` and `_Fork(3)`.
//!
//! Of 3: tokens come from [`NEXT`], which lies in ordinary memory, so that a fork copies it. A
//! child runs only the thread that forked, and what this thread holds was made before the fork,
//! after `NEXT` had passed its token. Siblings may take equal tokens; no sibling inherits from the
//! other.
//!
//! Of 4: a fork that copies the address of the page copies the page, as it was mapped before its
//! address was stored. No lock of ours is held while the word is made, so that a fork in the middle
//! leaves nothing locked in the child.
//!
//! Limits:
//! * A child that shares our memory (`vfork(2)`, `CLONE_VM`, until it execs) shares the word. It
//!   must not touch handles.
//! * A child handler registered before ours runs before ours, and an epoch it takes is not current
//!   once ours has run.
//! * Where the page cannot be had, a child of a raw `clone(2)` is taken for its parent. Where the
//!   handler cannot be registered either (no memory for both), no fork is detected.

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

/// The process that took it, up to the next fork.
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

/// Where the word is: at `UNMADE`, then for good in the page or at `FALLBACK`.
static WORD: AtomicPtr<AtomicU64> = AtomicPtr::new(UNMADE_ADDRESS);

/// What is read before a word is made: zero, the token of nobody.
static UNMADE: AtomicU64 = AtomicU64::new(0);
const UNMADE_ADDRESS: *mut AtomicU64 = (&raw const UNMADE).cast_mut();

/// The word where the page cannot be had. Only the handler clears it.
static FALLBACK: AtomicU64 = AtomicU64::new(0);

/// The next token. A `u64` does not run out.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The length of the page, as far as it is used. mmap(2), madvise(2) and munmap(2) round it up to a
/// page of any size.
const PAGE_LEN: usize = size_of::<AtomicU64>();

impl Epoch {
    /// The epoch of this process. The first call of a process makes one system call or a few; later
    /// ones make none.
    pub(crate) fn current() -> Epoch {
        let mut address = WORD.load(Acquire); // pairs with make_word: the page is mapped
        if address == UNMADE_ADDRESS {
            address = make_word();
        }
        // SAFETY: `address` came from WORD or from make_word, and is not `UNMADE`: it is the page
        // or FALLBACK. Both are aligned, hold an AtomicU64 (zero bytes are one) and are never freed
        // (invariant 4).
        let word = unsafe { &*address };
        let token = word.load(Relaxed); // the number itself is all that is carried
        if token != 0 {
            return Epoch { word, token };
        }
        let fresh = NEXT.fetch_add(1, Relaxed); // only needs to be unique
        // Relaxed: the token alone counts.
        let token = match word.compare_exchange(0, fresh, Relaxed, Relaxed) {
            Ok(_) => fresh,
            Err(token) => token, // another thread was first
        };
        Epoch { word, token }
    }

    /// The epoch of no process.
    pub(crate) fn never() -> Epoch {
        Epoch {
            word: &UNMADE, // zero for good
            token: u64::MAX,
        }
    }

    /// Whether this process took the epoch. False in a child made by fork, whatever its depth.
    #[inline]
    pub(crate) fn is_current(self) -> bool {
        self.word.load(Relaxed) == self.token // the number itself is all that is carried
    }
}

/// Makes the word, or finds that another thread did.
#[cold]
fn make_word() -> *mut AtomicU64 {
    // Before the word can be seen. Two racing threads may both register: clearing twice does no
    // harm. A failure (ENOMEM) leaves the page to do the work.
    // SAFETY: `clear` is safe to call at any time in a child: it makes atomic stores, to words that
    // are never freed, and closes what threads that are not there had open. The C library forgets the handlers of a shared object that is unloaded
    // (glibc).
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
        // SAFETY: the page was mapped by this call of wiped_page, and lost the race, so nobody else
        // has its address.
        unsafe { libc::munmap(page.as_ptr().cast(), PAGE_LEN) };
    }
    winner
}

/// Runs in the child of fork(3). Atomics and close(2), so that it is async-signal-safe.
extern "C" fn clear() {
    held::close_in_child();
    let address = WORD.load(Relaxed); // what the fork copied; this thread is alone
    // SAFETY: WORD holds the address of UNMADE, of FALLBACK or of the page. All are aligned, hold
    // an AtomicU64 and are never freed (invariant 4). UNMADE is zero already.
    let word = unsafe { &*address };
    word.store(0, Relaxed); // the number itself is all that is carried
}

/// Maps a private page of zeros that fork gives to the child as zeros.
fn wiped_page() -> io::Result<NonNull<AtomicU64>> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at an address of the kernel's choice replaces nothing.
    let page = unsafe { libc::mmap(ptr::null_mut(), PAGE_LEN, access, kind, -1, 0) };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the page was mapped above and nobody else has its address; the advice changes only
    // what a child sees.
    if unsafe { libc::madvise(page, PAGE_LEN, libc::MADV_WIPEONFORK) } != 0 {
        let error = io::Error::last_os_error();
        // SAFETY: as above; the address is not used again.
        unsafe { libc::munmap(page, PAGE_LEN) };
        return Err(error);
    }
    NonNull::new(page.cast()).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}
