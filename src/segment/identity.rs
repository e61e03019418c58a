//! What a segment says that it is, and how much of that is believed.

use crate::error::Incompatible;
use crate::segment::state::LifeCycleKind;
use crate::sync::failpoint::failpoint;
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};
use crate::sys::sysv::FileIdentity;
use crate::sys::sysv::page_size;

/// The first eight bytes of every segment of ours.
pub(crate) const MAGIC: u64 = u64::from_ne_bytes(*b"shmpipe\0");
/// The version of the layout; any change to an offset or a meaning adds one.
pub(crate) const VERSION: u32 = 2;
/// Reads differently on a machine of the other byte order.
pub(crate) const BYTE_ORDER: u32 = 0x0102_0304;

/// Set in [`Identity::flags`] when the creator was asked for this capacity.
pub(crate) const EXPLICIT_CAPACITY: u32 = 1;
/// Set in [`Identity::flags`] when the creator does not wait for its peer, so
/// that bytes may be in the ring at any time.
pub(crate) const UNWAITED: u32 = 2;

/// The bits of [`Identity::required`] that this build knows: none yet.
const KNOWN_FEATURES: u32 = 0;

/// What the segment is. Written once.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Identity {
    magic: AtomicU64,
    version: AtomicU32,
    byte_order: AtomicU32,
    line: AtomicU32,
    kind: AtomicU32,
    capacity: AtomicU64,
    ring_offset: AtomicU64,
    nonce: AtomicU64,
    device: AtomicU64,
    inode: AtomicU64,
    project: AtomicU32,
    flags: AtomicU32,
    /// Features that a reader of this segment may ignore.
    compatible: AtomicU32,
    /// Features without which this segment must not be used.
    required: AtomicU32,
    /// When the file was made, in nanoseconds since 1970; 0 when unknown.
    birth: AtomicU64,
}

#[cfg(not(loom))]
mod pinned {
    use super::Identity;
    use memoffset::offset_of;

    const _: () = assert!(offset_of!(Identity, magic) == 0);
    const _: () = assert!(offset_of!(Identity, version) == 8);
    const _: () = assert!(offset_of!(Identity, byte_order) == 12);
    const _: () = assert!(offset_of!(Identity, line) == 16);
    const _: () = assert!(offset_of!(Identity, kind) == 20);
    const _: () = assert!(offset_of!(Identity, capacity) == 24);
    const _: () = assert!(offset_of!(Identity, ring_offset) == 32);
    const _: () = assert!(offset_of!(Identity, nonce) == 40);
    const _: () = assert!(offset_of!(Identity, device) == 48);
    const _: () = assert!(offset_of!(Identity, inode) == 56);
    const _: () = assert!(offset_of!(Identity, project) == 64);
    const _: () = assert!(offset_of!(Identity, flags) == 68);
    const _: () = assert!(offset_of!(Identity, compatible) == 72);
    const _: () = assert!(offset_of!(Identity, required) == 76);
    const _: () = assert!(offset_of!(Identity, birth) == 80);
}

/// Bytes of a line: the distance that keeps two hot words from sharing a cache
/// line, or the line that the prefetcher fetches with it. The same on every
/// architecture.
pub(crate) const LINE: usize = 128;
/// The least distance from the start of the segment to the ring.
pub(crate) const MIN_RING_OFFSET: usize = 4096;

/// Where the ring begins: a page of its own for the header, so that the ring
/// can be mapped twice.
pub(crate) fn ring_offset() -> usize {
    page_size().max(MIN_RING_OFFSET)
}

/// The identity line, copied out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IdentityImage {
    pub(crate) magic: u64,
    pub(crate) version: u32,
    pub(crate) byte_order: u32,
    pub(crate) line: u32,
    pub(crate) kind: u32,
    pub(crate) capacity: u64,
    pub(crate) ring_offset: u64,
    pub(crate) nonce: u64,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) project: u32,
    pub(crate) flags: u32,
    pub(crate) compatible: u32,
    pub(crate) required: u32,
    pub(crate) birth: u64,
}

impl IdentityImage {
    pub(crate) fn has_our_version(&self) -> bool {
        self.version == VERSION
    }

    /// Whether this is, or is on the way to, an identity of this version: a
    /// creator stores the magic first.
    pub(crate) fn may_become_ours(&self) -> bool {
        self.magic == MAGIC && (self.version == 0 || self.has_our_version())
    }

    /// What it says does not fit memory of `len` bytes.
    fn misfit(&self, len: usize) -> Incompatible {
        Incompatible::Size {
            capacity: self.capacity,
            ring_offset: self.ring_offset,
            segment: len,
        }
    }
}

impl Identity {
    /// Copies the line out, each word once. If any of it is there, so is the
    /// magic, also while its creator is writing it.
    ///
    /// The caller has loaded the life-cycle word with Acquire (P3) when it
    /// means to believe what it reads.
    pub(crate) fn load(&self) -> IdentityImage {
        // Relaxed throughout: ordered by the state word, P3.
        let image = IdentityImage {
            magic: 0,
            version: self.version.load(Ordering::Relaxed), // P3
            byte_order: self.byte_order.load(Ordering::Relaxed), // P3
            line: self.line.load(Ordering::Relaxed),       // P3
            kind: self.kind.load(Ordering::Relaxed),       // P3
            capacity: self.capacity.load(Ordering::Relaxed), // P3
            ring_offset: self.ring_offset.load(Ordering::Relaxed), // P3
            nonce: self.nonce.load(Ordering::Relaxed),     // P3
            device: self.device.load(Ordering::Relaxed),   // P3
            inode: self.inode.load(Ordering::Relaxed),     // P3
            project: self.project.load(Ordering::Relaxed), // P3
            flags: self.flags.load(Ordering::Relaxed),     // P3
            compatible: self.compatible.load(Ordering::Relaxed), // P3
            required: self.required.load(Ordering::Relaxed), // P3
            birth: self.birth.load(Ordering::Relaxed),     // P3
        };
        // The magic, stored first, is loaded last.
        fence(Ordering::Acquire); // P3
        let magic = self.magic.load(Ordering::Relaxed); // P3
        IdentityImage { magic, ..image }
    }

    /// Fills the line of a segment that nobody believes yet: the life-cycle
    /// word is still `Unborn`. The magic comes first, so that a creator that
    /// dies here leaves a segment that is either all zero or told by its magic
    /// to be half made.
    pub(crate) fn store(&self, image: &IdentityImage) {
        self.magic.store(image.magic, Ordering::Relaxed); // P3
        // Release: the rest of the line does not overtake the magic, as seen
        // by `load`.
        fence(Ordering::Release); // P3
        failpoint!(MagicStored);
        // Relaxed: published by the state word, P3.
        self.version.store(image.version, Ordering::Relaxed); // P3
        self.byte_order.store(image.byte_order, Ordering::Relaxed); // P3
        self.line.store(image.line, Ordering::Relaxed); // P3
        self.kind.store(image.kind, Ordering::Relaxed); // P3
        self.capacity.store(image.capacity, Ordering::Relaxed); // P3
        self.ring_offset.store(image.ring_offset, Ordering::Relaxed); // P3
        self.nonce.store(image.nonce, Ordering::Relaxed); // P3
        self.device.store(image.device, Ordering::Relaxed); // P3
        self.inode.store(image.inode, Ordering::Relaxed); // P3
        self.project.store(image.project, Ordering::Relaxed); // P3
        self.flags.store(image.flags, Ordering::Relaxed); // P3
        self.compatible.store(image.compatible, Ordering::Relaxed); // P3
        self.required.store(image.required, Ordering::Relaxed); // P3
        self.birth.store(image.birth, Ordering::Relaxed); // P3
    }
}

/// What is believed of a ring: derived from its identity line, checked against
/// the size that the kernel or the caller reports, and kept in private memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Bytes of the ring: a power of two.
    pub(crate) capacity: u64,
    /// Bytes from the start of the segment to the ring.
    pub(crate) ring_offset: usize,
    /// How the segment comes and goes.
    pub(crate) kind: LifeCycleKind,
    /// Tells this ring from every other one.
    pub(crate) nonce: u64,
    /// The file the ring is found by, as recorded by its creator.
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) project: u32,
    /// When that file was made, in nanoseconds since 1970; 0 when unknown.
    pub(crate) birth: u64,
    /// Whether the creator was asked for this capacity.
    pub(crate) explicit_capacity: bool,
    /// Whether the creator went on without waiting for its peer.
    pub(crate) unwaited: bool,
}

impl Geometry {
    /// The geometry of a ring to be made.
    pub(crate) fn new(
        capacity: u64,
        kind: LifeCycleKind,
        nonce: u64,
        file: Option<FileIdentity>,
        flags: u32,
    ) -> Geometry {
        Geometry {
            capacity,
            ring_offset: ring_offset(),
            kind,
            nonce,
            device: file.map_or(0, |file| file.dev),
            inode: file.map_or(0, |file| file.ino),
            project: file.map_or(0, |file| u32::from(file.project.get())),
            birth: file.map_or(0, |file| file.birth),
            explicit_capacity: flags & EXPLICIT_CAPACITY != 0,
            unwaited: flags & UNWAITED != 0,
        }
    }

    /// Believes `image` if it describes a ring that fills a segment of
    /// `segment_len` bytes, and that this build can use.
    pub(crate) fn of_segment(
        image: &IdentityImage,
        segment_len: usize,
    ) -> Result<Geometry, Incompatible> {
        let geometry = Geometry::parse(image, segment_len)?;
        if geometry.kind == LifeCycleKind::Placed {
            return Err(Incompatible::Kind { found: image.kind });
        }
        if image.capacity < MIN_RING_OFFSET as u64 || geometry.ring_end() != segment_len {
            return Err(image.misfit(segment_len));
        }
        Ok(geometry)
    }

    /// Believes `image` if it describes a ring that was placed in the caller's
    /// memory, of `len` bytes, and that this build can use.
    pub(crate) fn of_memory(image: &IdentityImage, len: usize) -> Result<Geometry, Incompatible> {
        let geometry = Geometry::parse(image, len)?;
        if geometry.kind != LifeCycleKind::Placed {
            return Err(Incompatible::Kind { found: image.kind });
        }
        Ok(geometry)
    }

    /// What `image` says, if it describes a ring that lies within `len` bytes.
    fn parse(image: &IdentityImage, len: usize) -> Result<Geometry, Incompatible> {
        if image.magic != MAGIC {
            return Err(Incompatible::NoMagic);
        }
        if image.byte_order != BYTE_ORDER {
            return Err(Incompatible::ByteOrder);
        }
        if !image.has_our_version() {
            return Err(Incompatible::Version {
                found: image.version,
                supported: VERSION,
            });
        }
        if image.line as usize != LINE {
            return Err(Incompatible::LineSize {
                found: image.line,
                supported: LINE as u32,
            });
        }
        let unknown = image.required & !KNOWN_FEATURES;
        if unknown != 0 {
            return Err(Incompatible::Features { unknown });
        }
        let Some(kind) = LifeCycleKind::from_bits(image.kind) else {
            return Err(Incompatible::Kind { found: image.kind });
        };
        let ring_end = image.ring_offset.checked_add(image.capacity);
        if image.ring_offset != ring_offset() as u64
            || !image.capacity.is_power_of_two()
            || ring_end.is_none_or(|end| end > len as u64)
        {
            return Err(image.misfit(len));
        }
        Ok(Geometry {
            capacity: image.capacity,
            ring_offset: ring_offset(),
            kind,
            nonce: image.nonce,
            device: image.device,
            inode: image.inode,
            project: image.project,
            birth: image.birth,
            explicit_capacity: image.flags & EXPLICIT_CAPACITY != 0,
            unwaited: image.flags & UNWAITED != 0,
        })
    }

    /// The identity line that says this.
    pub(crate) fn to_image(self) -> IdentityImage {
        IdentityImage {
            magic: MAGIC,
            version: VERSION,
            byte_order: BYTE_ORDER,
            line: LINE as u32,
            kind: self.kind.to_bits(),
            capacity: self.capacity,
            ring_offset: self.ring_offset as u64,
            nonce: self.nonce,
            device: self.device,
            inode: self.inode,
            project: self.project,
            flags: if self.explicit_capacity {
                EXPLICIT_CAPACITY
            } else {
                0
            } | if self.unwaited { UNWAITED } else { 0 },
            compatible: 0,
            required: 0,
            birth: self.birth,
        }
    }

    /// Whether the ring was made to be found by `file`. An inode number is
    /// given out again; the time at which the file was made tells the two.
    pub(crate) fn is_of(&self, file: FileIdentity) -> bool {
        self.has_numbers_of(file)
            && (self.birth == file.birth || self.birth == 0 || file.birth == 0)
    }

    /// Whether the ring is that of a file before `file`, with the same numbers.
    pub(crate) fn is_of_earlier(&self, file: FileIdentity) -> bool {
        self.has_numbers_of(file) && !self.is_of(file)
    }

    fn has_numbers_of(&self, file: FileIdentity) -> bool {
        (self.device, self.inode) == (file.dev, file.ino)
            && self.project == u32::from(file.project.get())
    }

    /// Bytes from the start of the header to the end of the ring: those of the
    /// whole segment, if it is one.
    pub(crate) fn ring_end(&self) -> usize {
        self.ring_offset + self.capacity as usize
    }
}
