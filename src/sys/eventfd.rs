//! A descriptor that other code polls, while only this crate reads and writes it: an eventfd.
//!
//! A fork shares the eventfd's counter with the child. So a child neither reads nor writes it.
//! <https://man7.org/linux/man-pages/man2/eventfd.2.html>
#![allow(unsafe_code)] // eventfd, read and write

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::sys::fork::Epoch;

/// An eventfd, closed on exec.
#[derive(Debug)]
pub(crate) struct EventFd {
    file: OwnedFd,
    epoch: Epoch,
}

impl EventFd {
    /// Makes an eventfd that is readable.
    pub(crate) fn new() -> io::Result<EventFd> {
        // SAFETY: integers only.
        let fd = unsafe { libc::eventfd(1, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(EventFd {
            // SAFETY: the call above made the descriptor, and nobody else has it.
            file: unsafe { OwnedFd::from_raw_fd(fd) },
            epoch: Epoch::current(),
        })
    }

    /// Another descriptor of the same eventfd, closed on exec.
    pub(crate) fn lend(&self) -> io::Result<OwnedFd> {
        self.file.try_clone()
    }

    /// Makes the descriptor readable. Does nothing in a forked child.
    pub(crate) fn signal(&self) {
        if !self.epoch.is_current() {
            return;
        }
        let one = 1_u64;
        // SAFETY: reads the eight bytes of `one`. A failure means that the sum would exceed the
        // largest count (EAGAIN): the descriptor is readable then, too.
        unsafe { libc::write(self.file.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    /// Makes the descriptor unreadable. Does nothing in a forked child.
    pub(crate) fn clear(&self) {
        if !self.epoch.is_current() {
            return;
        }
        let mut count = 0_u64;
        // SAFETY: writes at most the eight bytes of `count`. A failure means that the count is zero
        // already (EAGAIN).
        unsafe { libc::read(self.file.as_raw_fd(), (&raw mut count).cast(), 8) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_readable(file: &OwnedFd) -> bool {
        let mut asked = libc::pollfd {
            fd: file.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one `pollfd`, which outlives the call.
        unsafe { libc::poll(&raw mut asked, 1, 0) == 1 }
    }

    #[test]
    fn signals_and_clears_are_seen_by_each_descriptor() {
        let event = EventFd::new().unwrap();
        let lent = event.lend().unwrap();
        assert!(is_readable(&lent));
        event.clear();
        assert!(!is_readable(&lent));
        event.clear();
        event.signal();
        event.signal();
        assert!(is_readable(&lent));
        event.clear();
        assert!(!is_readable(&lent));
        // SAFETY: an integer.
        let flags = unsafe { libc::fcntl(lent.as_raw_fd(), libc::F_GETFD) };
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    }
}
