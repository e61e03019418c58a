//! `shmpipe::sysv` against the real kernel.
//!
//! Most tests run in a process of their own ([`alone`]). A fork elsewhere in the process
//! would double their attachments. The umask, the user and the namespaces belong to the
//! whole process.
#![allow(unsafe_code)] // forks, and looks at raw memory

mod attachments;
mod double;
mod keys;
mod limits;
mod segments;

use std::ptr;

use shmpipe::sysv::{self, Key, Mode, SysvError, SysvErrorKind};

use crate::common::maps::mappings;
use crate::common::{Segment, unique};

fn private(size: usize) -> Segment {
    Segment::new(None, size, 0o600)
}

/// One under a key that was free.
fn keyed(size: usize) -> (Key, Segment) {
    loop {
        let Ok(key) = Key::from_raw(unique() as i32) else {
            continue;
        };
        match sysv::create(Some(key), size, Mode::OWNER_ONLY) {
            Ok(id) => return (key, Segment { id }),
            Err(error) if error.kind() == SysvErrorKind::AlreadyExists => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Writes one byte of a segment that nobody else in the test is using.
fn poke(base: *mut u8, offset: usize, value: u8) {
    // SAFETY: the tests pass attached segments and offsets inside.
    unsafe { base.wrapping_add(offset).write_volatile(value) };
}

fn peek(base: *mut u8, offset: usize) -> u8 {
    // SAFETY: as for poke.
    unsafe { base.wrapping_add(offset).read_volatile() }
}

fn page() -> usize {
    sysv::page_size()
}

fn mode(bits: u32) -> Mode {
    Mode::new(bits).unwrap()
}

#[track_caller]
fn kind<T: std::fmt::Debug>(result: Result<T, SysvError>) -> SysvErrorKind {
    result.unwrap_err().kind()
}

/// Whether any mapping of this process touches these bytes.
fn is_mapped(start: usize, len: usize) -> bool {
    mappings(|range, _| range.start < start + len && start < range.end).contains(&true)
}

/// An address where `len` bytes were free a moment ago, at a multiple of the page size.
fn free_address(len: usize) -> *mut u8 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping, where the kernel likes.
    let start = unsafe { libc::mmap(ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0) };
    assert_ne!(start, libc::MAP_FAILED);
    // SAFETY: the mapping just made.
    assert_eq!(unsafe { libc::munmap(start, len) }, 0);
    start.cast()
}
