//! The errors, as types that can be matched.
//!
//! Opening a ring fails with [`OpenError`]. Using a ring fails with
//! [`TryWriteError`], [`TryReadError`] or, if the stream cannot continue,
//! [`Broken`]. Each error converts into [`io::Error`] with a fitting
//! [`io::ErrorKind`]. The error stays inside the `io::Error`, where
//! [`io::Error::get_ref`] or [`Broken::find`] finds it.
//!
//! Each error but [`InvalidRole`] has a `kind`, and an `errno` for C callers. The
//! errors that calls return are also at the root of the crate; their details are
//! only here. Errors that can be compared keep the fields of their variants, so that
//! a test can write down an expected error. Struct variants of the others may get
//! more fields (`#[non_exhaustive]`).
//!
//! A message is one line without a full stop. A message names the ring and the role
//! if the call knew them, the wanted and the found value, and what to do.
//! `error/tests.rs` prints and checks all messages.

mod amount;
mod broken;
mod incompatible;
mod memory;
mod open;
mod record;
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
pub use record::RecordError;
pub use stream::{CloseError, TryReadError, TryWriteError};
pub use wait::{NextStreamError, PartialError, WaitError};

pub use crate::role::InvalidRole;

/// Finds the `T` inside `error`, or inside an error that `error` wraps at any
/// depth.
fn find<T: Error + 'static>(error: &io::Error) -> Option<&T> {
    let mut next = inside(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // `io::Error::source` skips the wrapped error and returns the source of
        // that error.
        next = match error.downcast_ref() {
            Some(wrapper) => inside(wrapper),
            None => error.source(),
        };
    }
    None
}

/// The error that an `io::Error` wraps.
fn inside(error: &io::Error) -> Option<&(dyn Error + 'static)> {
    error.get_ref().map(|inner| inner as _)
}

/// The message of each error about a cancelled call.
pub(crate) const CANCELLED: &str = "cancelled by the caller";

/// The error of a blocking call whose time limit has passed.
pub(crate) fn timed_out(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("timed out: {what}"))
}

#[cfg(test)]
mod tests;
