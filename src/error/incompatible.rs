//! Why a segment, or memory of the caller's, is not a usable ring.

use std::fmt;

use super::Bytes;

/// Why a segment, or memory of the caller's, is not a ring that this build can
/// use.
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
    /// It does not start with the magic: another program's segment.
    NoMagic,
    /// It is too small to hold a header.
    TooSmall {
        /// Its size in bytes.
        segment: usize,
    },
    /// It was made by a build of another layout version.
    Version {
        /// Its version.
        found: u32,
        /// The version of this build.
        supported: u32,
    },
    /// It was made on a machine of the other byte order.
    ByteOrder,
    /// It was made by a build that keeps hot words another distance apart.
    LineSize {
        /// Its line size in bytes.
        found: u32,
        /// The line size of this build.
        supported: u32,
    },
    /// It needs features that this build does not know.
    Features {
        /// The bits of those features.
        unknown: u32,
    },
    /// Its life cycle is none that this build knows.
    Kind {
        /// The value found.
        found: u32,
    },
    /// Its header does not describe what fits the size that it has.
    Size {
        /// The capacity in its header, in bytes.
        capacity: u64,
        /// The offset of the ring in its header, in bytes.
        ring_offset: u64,
        /// The size of the segment by the kernel, or of the memory by the
        /// caller, in bytes.
        segment: usize,
    },
    /// Its life-cycle word is none that its life cycle leads to.
    State {
        /// The value found.
        found: u64,
    },
    /// Its creator has not finished it, and may be dead.
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
                "line size {}, and this build has {supported}: both sides need like builds",
                Bytes(*found)
            ),
            Incompatible::Kind { found } => write!(f, "life cycle {found} has no use here"),
            Incompatible::Size {
                capacity,
                ring_offset,
                segment,
            } => write!(
                f,
                "its header says {} from offset {ring_offset}, and there are {segment} in all",
                Bytes(*capacity)
            ),
            Incompatible::State { found } => write!(
                f,
                "life-cycle word {found:#x} is none that its life cycle leads to"
            ),
            Incompatible::HalfMade => f.write_str(
                "its creator has not finished it: try again, or remove it once its creator is dead",
            ),
        }
    }
}
