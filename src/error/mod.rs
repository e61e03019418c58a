//! Every way to fail, as types that can be matched.
//!
//! Opening a ring fails with [`OpenError`]; using one with [`TryWriteError`],
//! [`TryReadError`] or, where the stream cannot go on, [`Broken`]. Each
//! converts into [`io::Error`] with a fitting [`io::ErrorKind`] and stays
//! inside it, to be found by [`io::Error::get_ref`], or by [`Broken::find`].
//!
//! Each has a `kind`, and an `errno` for C and the like. The errors that calls return
//! are at the root of the crate, too; what they say in detail is here alone. Struct
//! variants may grow, but for those of errors that compare equal: of them, what a
//! call is expected to say can be written down.
//!
//! A message is one line, without a full stop at its end. It names the ring
//! and the role where the call knew them, what was wanted beside what was
//! found, and what to do. `error/tests.rs` prints and checks them all.

mod amount;
mod broken;
mod incompatible;
mod memory;
mod open;
mod stream;
mod wait;

use std::error::Error;
use std::io;

use crate::sys::errno::numbered;
pub use crate::sys::place::Place;
pub(crate) use crate::sys::place::{Bytes, Span};
pub use amount::{PeekError, ReserveError};
pub use broken::{Broken, Corruption, Rule};
pub use incompatible::Incompatible;
pub use memory::MemoryError;
pub use open::OpenError;
pub use stream::{CloseError, TryReadError, TryWriteError};
pub use wait::{NextStreamError, PartialError, WaitError};

pub use crate::role::InvalidRole;

/// The `T` in `error`, or in whatever it wraps, at any depth.
fn find<T: Error + 'static>(error: &io::Error) -> Option<&T> {
    let mut next = inside(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // The source of an `io::Error` is that of what it wraps.
        next = match error.downcast_ref() {
            Some(wrapper) => inside(wrapper),
            None => error.source(),
        };
    }
    None
}

/// What an `io::Error` wraps.
fn inside(error: &io::Error) -> Option<&(dyn Error + 'static)> {
    error.get_ref().map(|inner| inner as _)
}

/// What each error says of a call that was cancelled.
pub(crate) const CANCELLED: &str = "cancelled by the caller";

/// The error of a blocking call whose time is over.
pub(crate) fn timed_out(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("timed out: {what}"))
}

#[cfg(test)]
mod tests;
