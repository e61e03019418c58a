//! Messages of one type of plain data, with the feature `zerocopy`.
//!
//! This module uses zerocopy, not bytemuck. zerocopy has a trait for each need, so a type promises
//! no more than it must. `IntoBytes` excludes padding, and `FromBytes` invalid patterns. bytemuck's
//! `Pod` asks for both, and for `Copy`. The derives of both crates check at compile time.
//!
//! A stream begins with a *preamble* of 16 bytes. The preamble has the size of a message in 4
//! bytes, the text `msg1`, and a hash in 8 bytes. The hash is the FNV-1a of the messages' name in
//! UTF-8. Integers are little-endian. A side writes, or checks, the preamble at position 0 of the
//! stream. In a persistent ring, a side that comes later finds the preamble gone. That side checks
//! only that its position is between two messages.

/// Defines what `MessageReader` and `MessageWriter` have in common. Both own a handle, in the field
/// `$handle`, and have a field `kind`.
macro_rules! owner {
    ($owner:ident, $handle:ident: $type:ident, $whole:literal) => {
        impl<T> $owner<T> {
            #[doc = concat!("Returns the ", stringify!($handle), ", to be looked at.")]
            #[must_use]
            pub fn get_ref(&self) -> &$type {
                &self.$handle
            }

            #[doc = concat!("Returns the ", stringify!($handle), ", for settings, waits, ", $whole)]
            #[must_use]
            pub fn get_mut(&mut self) -> &mut $type {
                &mut self.$handle
            }

            #[doc = concat!("Returns the ", stringify!($handle), ".")]
            #[must_use]
            pub fn into_inner(self) -> $type {
                self.$handle
            }
        }

        impl<T> std::fmt::Debug for $owner<T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($owner))
                    .field(stringify!($handle), &self.$handle)
                    .field("kind", &self.kind)
                    .finish()
            }
        }
    };
}

mod reader;
mod writer;

use super::HEADER;
use crate::error::RecordError;

pub use self::reader::MessageReader;
pub use self::writer::MessageWriter;

/// Bytes of the preamble.
const PREAMBLE: usize = 16;

/// What the middle of the preamble says.
const MARK: [u8; 4] = *b"msg1";

/// What the preamble says of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    size: u32,
    name: u64,
}

impl Kind {
    fn of<T>(name: &str) -> Kind {
        const {
            assert!(size_of::<T>() > 0, "a message has at least one byte");
            assert!(size_of::<T>() <= u32::MAX as usize);
        }
        Kind {
            size: size_of::<T>() as u32,
            name: hash(name),
        }
    }

    fn to_bytes(self) -> [u8; PREAMBLE] {
        let mut bytes = [0; PREAMBLE];
        bytes[..HEADER].copy_from_slice(&self.size.to_le_bytes());
        bytes[HEADER..8].copy_from_slice(&MARK);
        bytes[8..].copy_from_slice(&self.name.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: [u8; PREAMBLE]) -> Option<Kind> {
        let [a, b, c, d, mark @ .., _, _, _, _, _, _, _, _] = bytes;
        let (_, name) = bytes.split_last_chunk().expect("8 of 16");
        (mark == MARK).then_some(Kind {
            size: u32::from_le_bytes([a, b, c, d]),
            name: u64::from_le_bytes(*name),
        })
    }

    /// Fails unless `position`, counted after the preamble, is a multiple of the message size.
    fn check_position(self, position: u64) -> Result<(), RecordError> {
        let behind = position.checked_sub(PREAMBLE as u64);
        let size = u64::from(self.size);
        match behind {
            Some(behind) if behind % size == 0 => Ok(()),
            _ => Err(RecordError::Misplaced {
                position,
                size: self.size as usize,
            }),
        }
    }
}

/// The 64-bit FNV-1a hash. <http://www.isthe.com/chongo/tech/comp/fnv/>
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_known_one() {
        assert_eq!(hash(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_preamble_says_what_it_was_made_of() {
        let kind = Kind::of::<[u8; 24]>("x");
        let bytes = kind.to_bytes();
        assert_eq!(bytes[..8], *b"\x18\0\0\0msg1");
        assert_eq!(Kind::from_bytes(bytes), Some(kind));
        let mut other = bytes;
        other[4] = b'M';
        assert_eq!(Kind::from_bytes(other), None);
    }
}
