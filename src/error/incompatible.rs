//! Why a segment, or the caller's memory, is not a usable ring.

use std::fmt;

use super::Bytes;

/// Why a segment, or the caller's memory, is not a ring that this build can use.
///
/// # Examples
///
/// ```
/// use shmpipe::error::Incompatible;
/// use shmpipe::{OpenError, Options, sysv};
///
/// let foreign = sysv::create(None, 100, sysv::Mode::OWNER_ONLY)?;
/// let attached = Options::new().attach(foreign);
/// let Err(OpenError::NotARing { reason, .. }) = attached else { panic!() };
/// assert!(matches!(reason, Incompatible::TooSmall { segment: 100 }));
/// sysv::remove(foreign)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incompatible {
    /// The segment does not start with the magic: it belongs to another program.
    NoMagic,
    /// The segment is too small to hold a header.
    TooSmall {
        /// Size of the segment in bytes.
        segment: usize,
    },
    /// A build of another layout version made the ring.
    Version {
        /// The ring's layout version.
        found: u32,
        /// The layout version of this build.
        supported: u32,
    },
    /// A machine of the other byte order made the ring.
    ByteOrder,
    /// A build with another line size made the ring. The line size is the distance
    /// that keeps two hot words apart.
    LineSize {
        /// The ring's line size in bytes.
        found: u32,
        /// The line size of this build in bytes.
        supported: u32,
    },
    /// The ring needs features that this build does not know.
    Features {
        /// The bits of those features.
        unknown: u32,
    },
    /// The ring has a life cycle that this build does not know.
    Kind {
        /// The value found.
        found: u32,
    },
    /// The header does not match the size of the segment or memory.
    Size {
        /// The capacity in bytes, according to the header.
        capacity: u64,
        /// The offset of the ring in bytes, according to the header.
        ring_offset: u64,
        /// Size in bytes: the segment's according to the kernel, or the memory's
        /// according to the caller.
        segment: usize,
    },
    /// The life-cycle word has a value that is impossible for the ring's life
    /// cycle.
    State {
        /// The value found.
        found: u64,
    },
    /// The creator has not finished the ring, and may be dead.
    HalfMade,
}

impl fmt::Display for Incompatible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Incompatible::NoMagic => f.write_str("not a ring: no magic at its start"),
            Incompatible::TooSmall { segment } => {
                write!(f, "not a ring: {} hold no header", Bytes(*segment))
            }
            Incompatible::Features { unknown } => write!(
                f,
                "it needs features that this build does not know: bits {unknown:#x}"
            ),
            Incompatible::Version { found, supported } => write!(
                f,
                "layout version {found}, and this build has {supported}: \
                 both sides need builds of one version"
            ),
            Incompatible::ByteOrder => f.write_str("made with the other byte order"),
            Incompatible::LineSize { found, supported } => write!(
                f,
                "line size {}, and this build has {supported}: the builds of both sides need the same",
                Bytes(*found)
            ),
            Incompatible::Kind { found } => write!(
                f,
                "life cycle {found} is unknown, or cannot be in this memory"
            ),
            Incompatible::Size {
                capacity,
                ring_offset,
                segment,
            } => write!(
                f,
                "its header says {} from offset {ring_offset}, and there are {segment} in all",
                Bytes(*capacity)
            ),
            Incompatible::State { found } => {
                write!(f, "life-cycle word {found:#x} is not a valid state")
            }
            Incompatible::HalfMade => f.write_str(
                "its creator has not finished it: try again, or remove it once its creator is dead",
            ),
        }
    }
}
