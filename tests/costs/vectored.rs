//! Checks that vectored calls move all parts with one publication. The last part lies in
//! memory whose first touch stops the call. The test then looks at the ring.
#![allow(unsafe_code)] // a signal handler, and memory of another kind

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use shmpipe::{Consumer, Producer, sysv};

use crate::common::offsets::{HEAD, TAIL};
use crate::common::{TempPath, alone, check, exit_now, options, page, stream};

/// Bytes of a part.
const PART: usize = 500;

/// The page that is watched.
static WATCHED: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
/// The word of the ring that is looked at.
static WORD: AtomicPtr<u64> = AtomicPtr::new(ptr::null_mut());
/// What it was when the page was touched.
static SEEN: AtomicU64 = AtomicU64::new(NOTHING);
const NOTHING: u64 = u64::MAX;

/// The watched page was touched: notes the word and opens the page.
extern "C" fn touched(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let watched = WATCHED.load(Ordering::Relaxed);
    // SAFETY: the kernel gives a valid siginfo.
    let info = unsafe { &*info };
    // SAFETY: SIGSEGV is a signal with an address.
    let address = unsafe { info.si_addr() } as usize;
    if address.wrapping_sub(watched as usize) >= page() {
        exit_now(3); // a fault of another kind
    }
    // SAFETY: aligned, and in an attachment that outlives the call.
    let word = unsafe { WORD.load(Ordering::Relaxed).read_volatile() };
    SEEN.store(word, Ordering::Relaxed);
    protect(libc::PROT_READ | libc::PROT_WRITE);
}

fn protect(how: i32) {
    let watched = WATCHED.load(Ordering::Relaxed);
    // SAFETY: a page of our own, of which no reference is in use.
    if unsafe { libc::mprotect(watched.cast(), page(), how) } != 0 {
        exit_now(4);
    }
}

/// Closes the page; the next touch of it looks at the word.
fn watch() {
    SEEN.store(NOTHING, Ordering::Relaxed);
    protect(libc::PROT_NONE);
}

/// A new page with its watch.
fn watched_page() -> &'static mut [u8] {
    let how = libc::PROT_READ | libc::PROT_WRITE;
    let what = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping, of which nobody else knows.
    let place = unsafe { libc::mmap(ptr::null_mut(), page(), how, what, -1, 0) };
    assert_ne!(place, libc::MAP_FAILED);
    WATCHED.store(place.cast(), Ordering::Relaxed);
    // SAFETY: all zero is a valid sigaction.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = touched as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: a valid action; the handler touches atomics, one word and mprotect.
    let set = unsafe { libc::sigaction(libc::SIGSEGV, &raw const action, ptr::null_mut()) };
    assert_eq!(set, 0);
    // SAFETY: a mapping of that length, zeroed, for the life of the process.
    unsafe { std::slice::from_raw_parts_mut(place.cast(), page()) }
}

/// A ring, and a look at one word of it.
fn ring(path: &TempPath, offset: usize) -> (Producer, Consumer, sysv::Attachment) {
    let mut options = options();
    options.capacity(page()).persistent(true);
    let producer = options.open_producer(path).unwrap();
    let consumer = options.open_consumer(path).unwrap();
    let looked = sysv::attach_read_only(path.segment().unwrap()).unwrap();
    let word = looked.as_ptr().wrapping_add(offset).cast();
    WORD.store(word, Ordering::Relaxed);
    (producer, consumer, looked)
}

#[test]
fn parts_are_written_with_one_publication() {
    alone("vectored::parts_are_written_with_one_publication", || {
        let path = TempPath::new();
        let last = watched_page();
        let (mut producer, mut consumer, _looked) = ring(&path, TAIL);
        let bytes = stream(1, 0, 2 * PART);
        last[..PART].copy_from_slice(&bytes[PART..]);

        watch();
        let parts = [IoSlice::new(&bytes[..PART]), IoSlice::new(&last[..PART])];
        assert_eq!(producer.write_vectored(&parts).unwrap(), 2 * PART);
        assert_eq!(SEEN.load(Ordering::Relaxed), 0, "a part was published");
        assert_eq!(consumer.available(), Ok(2 * PART));
        let mut read = [0; 2 * PART];
        consumer.read_exact(&mut read).unwrap();
        check(1, 0, &read);

        // Of two writes the first is seen.
        watch();
        producer.write_all(&bytes[..PART]).unwrap();
        producer.write_all(&last[..PART]).unwrap();
        assert_eq!(SEEN.load(Ordering::Relaxed), 3 * PART as u64);
    });
}

#[test]
fn parts_are_read_with_one_release() {
    alone("vectored::parts_are_read_with_one_release", || {
        let path = TempPath::new();
        let last = watched_page();
        let (mut producer, mut consumer, _looked) = ring(&path, HEAD);
        let mut first = [0; PART];
        producer.write_all(&stream(2, 0, 4 * PART)).unwrap();

        watch();
        let mut parts = [
            IoSliceMut::new(&mut first),
            IoSliceMut::new(&mut last[..PART]),
        ];
        assert_eq!(consumer.read_vectored(&mut parts).unwrap(), 2 * PART);
        assert_eq!(SEEN.load(Ordering::Relaxed), 0, "a part was released");
        assert_eq!(consumer.position(), 2 * PART as u64);
        check(2, 0, &first);
        check(2, PART as u64, &last[..PART]);

        // Of two reads the first is seen.
        watch();
        consumer.read_exact(&mut first).unwrap();
        consumer.read_exact(&mut last[..PART]).unwrap();
        assert_eq!(SEEN.load(Ordering::Relaxed), 3 * PART as u64);
    });
}
