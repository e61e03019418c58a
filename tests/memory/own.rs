//! Rings in the caller's memory.
#![allow(unsafe_code)] // maps memory, and vouches for it

mod kinds;
mod refused;
mod waiting;
mod wraps;

use crate::common::page;

/// Bytes of the header and of a ring of `capacity`, in whole pages.
fn room_for(capacity: usize) -> usize {
    page() + capacity.next_multiple_of(page())
}

/// The smallest of those options that hang no test.
fn options(capacity: usize) -> shmpipe::Options {
    let mut options = crate::common::options();
    options.capacity(capacity);
    options
}
