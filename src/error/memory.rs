//! Why the caller's memory cannot be used for a ring.

use std::fmt;
use std::io;

use super::{Bytes, Incompatible, numbered};

/// Why [`Options::create_in`](crate::Options::create_in) made no ring, or
/// [`Options::attach_in`](crate::Options::attach_in) found none. Nothing was
/// written to the memory.
///
/// # Examples
///
/// ```
/// use std::ptr::NonNull;
/// use shmpipe::error::MemoryError;
/// use shmpipe::{OpenError, Options};
///
/// let mut bytes = [0_u64; 2];
/// // SAFETY: the array outlives the call, which makes no ring in so few bytes.
/// let made = unsafe { Options::new().create_in(NonNull::from(&mut bytes).cast(), 16) };
/// let Err(OpenError::Memory(reason)) = made else { panic!("{made:?}") };
/// assert!(matches!(reason, MemoryError::TooSmall { .. } | MemoryError::Misaligned { .. }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemoryError {
    /// The memory is too small for the header and a ring of the capacity asked for.
    /// Without a capacity, the ring needs one byte.
    TooSmall {
        /// Size of the memory in bytes.
        len: usize,
        /// The least size in bytes that is enough.
        least: usize,
    },
    /// The memory's address is not aligned for the words of the header.
    Misaligned {
        /// The address.
        address: usize,
        /// The required alignment in bytes.
        alignment: usize,
    },
    /// The memory holds no ring that this build can use.
    NotARing(Incompatible),
}

impl MemoryError {
    fn io_kind(&self) -> io::ErrorKind {
        match self {
            MemoryError::TooSmall { .. } | MemoryError::Misaligned { .. } => {
                io::ErrorKind::InvalidInput
            }
            MemoryError::NotARing(_) => io::ErrorKind::InvalidData,
        }
    }

    fn own_errno(&self) -> Option<i32> {
        None
    }
}

numbered!(MemoryError);

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MemoryError::TooSmall { len, least } => {
                write!(
                    f,
                    "{} of memory are too few for the ring: at least {least} are needed",
                    Bytes(*len)
                )
            }
            MemoryError::Misaligned { address, alignment } => write!(
                f,
                "memory at {address:#x} cannot hold a ring: not a multiple of {alignment}"
            ),
            MemoryError::NotARing(reason) => write!(f, "the memory is not usable: {reason}"),
        }
    }
}

impl std::error::Error for MemoryError {}
