//! Memory of every kind, and what it takes to map it.
#![allow(dead_code)] // each test binary uses a part

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr::{self, NonNull};

use shmpipe::{OpenError, Options, Ring};

/// Pages mapped between two that nobody may touch.
#[derive(Debug)]
pub(crate) struct Mapping {
    reserved: NonNull<u8>,
    len: usize,
}

// SAFETY: an address and a length; the mapping belongs to the process.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// The first `len` bytes, whole pages, of `file`.
    pub(crate) fn of(file: &File, len: usize) -> Mapping {
        let page = shmpipe::sysv::page_size();
        assert!(len > 0 && len.is_multiple_of(page));
        let total = len + 2 * page;
        let private = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at a place of the kernel's choice.
        let start = unsafe { libc::mmap(ptr::null_mut(), total, libc::PROT_NONE, private, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED, "{}", io::Error::last_os_error());
        let reserved = NonNull::new(start.cast::<u8>()).unwrap();
        // SAFETY: inside the reservation.
        let middle = unsafe { reserved.add(page) };
        // SAFETY: replaces what was just reserved, which nobody else knows.
        let mapped = unsafe {
            libc::mmap(
                middle.as_ptr().cast(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_FIXED,
                file.as_raw_fd(),
                0,
            )
        };
        assert_ne!(mapped, libc::MAP_FAILED, "{}", io::Error::last_os_error());
        Mapping { reserved, len }
    }

    /// A memfd of its own, of `len` bytes in whole pages.
    pub(crate) fn new(len: usize) -> Mapping {
        Mapping::of(&memfd(len), len)
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        // SAFETY: one page into the reservation.
        unsafe { self.reserved.add(shmpipe::sysv::page_size()) }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn at(&self, offset: usize) -> NonNull<u8> {
        assert!(offset < self.len);
        // SAFETY: inside the mapping.
        unsafe { self.start().add(offset) }
    }

    /// Makes a ring at `offset`, with all that follows.
    pub(crate) fn init_at(&self, offset: usize, options: &Options) -> Result<Ring, OpenError> {
        // SAFETY: the tests keep the mapping longer than what is made in it,
        // and make one ring at a time.
        unsafe { options.create_in(self.at(offset), self.len - offset) }
    }

    pub(crate) fn init(&self, options: &Options) -> Result<Ring, OpenError> {
        self.init_at(0, options)
    }

    pub(crate) fn attach(&self, options: &Options) -> Result<Ring, OpenError> {
        // SAFETY: as above.
        unsafe { options.attach_in(self.start(), self.len) }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        (0..self.len)
            // SAFETY: inside the mapping; others may write the byte meanwhile,
            // so it is read as a volatile one.
            .map(|offset| unsafe { self.at(offset).read_volatile() })
            .collect()
    }

    pub(crate) fn poke(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.len);
        for (place, &byte) in (offset..).zip(bytes) {
            // SAFETY: as in `bytes`.
            unsafe { self.at(place).write_volatile(byte) };
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let total = self.len + 2 * shmpipe::sysv::page_size();
        // SAFETY: the reservation is the test's own, and no longer used.
        unsafe { libc::munmap(self.reserved.as_ptr().cast(), total) };
    }
}

/// A file of `len` zeros in memory, which cannot shrink.
pub(crate) fn memfd(len: usize) -> File {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: a string that ends with zero.
    let fd = unsafe { libc::memfd_create(c"shmpipe-test".as_ptr(), flags) };
    assert!(fd >= 0, "{}", io::Error::last_os_error());
    // SAFETY: open, new, and nobody else's.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(len as u64).unwrap();
    // SAFETY: integers.
    let sealed = unsafe { libc::fcntl(fd, libc::F_ADD_SEALS, libc::F_SEAL_SHRINK) };
    assert_eq!(sealed, 0, "{}", io::Error::last_os_error());
    file
}
