//! The identity line: what a segment says of itself, and which of that is trusted after checks.

use crate::error::Incompatible;
use crate::segment::state::LifeCycleKind;
use crate::sync::failpoint::failpoint;
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};
use crate::sys::sysv::FileIdentity;
use crate::sys::sysv::page_size;

/// The first eight bytes of every shmpipe segment.
pub(crate) const MAGIC: u64 = u64::from_ne_bytes(*b"shmpipe\0");
/// The version of the layout. Any change of an offset or a meaning increments it.
pub(crate) const VERSION: u32 = 2;
/// Reads differently on a machine of the other byte order.
pub(crate) const BYTE_ORDER: u32 = 0x0102_0304;

/// Set in [`Identity::flags`] if the creator asked for this capacity explicitly.
pub(crate) const EXPLICIT_CAPACITY: u32 = 1;
/// Set in [`Identity::flags`] if the creator does not wait for its peer, so that bytes may be in
/// the ring at any time.
pub(crate) const UNWAITED: u32 = 2;

/// The bits of [`Identity::required`] that this build knows; none so far.
const KNOWN_FEATURES: u32 = 0;

/// The identity line as it lies in the segment. Written once.
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
    /// Features that a reader of the segment may ignore.
    compatible: AtomicU32,
    /// Features that a reader of the segment must know.
    required: AtomicU32,
    /// Creation time of the file, in nanoseconds since 1970; 0 when unknown.
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

/// Bytes of a line. Two hot words at this distance share no cache line, and no pair of lines that
/// the prefetcher fetches together. The same on every architecture.
pub(crate) const LINE: usize = 128;
/// The least distance from the start of the segment to the ring.
pub(crate) const MIN_RING_OFFSET: usize = 4096;

/// Where the ring begins. The header has a page of its own, so that the ring can be mapped twice.
pub(crate) fn ring_offset() -> usize {
    page_size().max(MIN_RING_OFFSET)
}

/// A private copy of the identity line.
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

    /// Whether the image is an identity of this version, complete or in the making. A creator
    /// stores the magic first.
    pub(crate) fn may_become_ours(&self) -> bool {
        self.magic == MAGIC && (self.version == 0 || self.has_our_version())
    }

    /// The error for an image that does not fit memory of `len` bytes.
    fn misfit(&self, len: usize) -> Incompatible {
        Incompatible::Size {
            capacity: self.capacity,
            ring_offset: self.ring_offset,
            segment: len,
        }
    }
}

impl Identity {
    /// Copies the line out, each word once. An image with any word set has the magic set, even
    /// while the creator is writing.
    ///
    /// A caller that will trust the image has loaded the life-cycle word with Acquire before (P3).
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

    /// Fills the line of a segment that nobody trusts yet: the life-cycle word is still `Unborn`.
    /// The magic comes first. A creator that dies here leaves a segment that is all zero, or that
    /// the magic shows to be half made.
    pub(crate) fn store(&self, image: &IdentityImage) {
        self.magic.store(image.magic, Ordering::Relaxed); // P3
        // Release: `load` never sees the rest of the line without the magic.
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

/// The trusted description of a ring. Derived from the identity line, checked against the size that
/// the kernel or the caller reports, and kept in private memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Bytes of the ring; a power of two.
    pub(crate) capacity: usize,
    /// Bytes from the start of the segment to the ring: [`ring_offset`], so the header ends before
    /// the ring.
    pub(crate) ring_offset: usize,
    /// How the ring is found, and when its segment is removed.
    pub(crate) kind: LifeCycleKind,
    /// A random number that tells this ring from every other.
    pub(crate) nonce: u64,
    /// The file that leads to the ring, as recorded by the creator.
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) project: u32,
    /// Creation time of that file, in nanoseconds since 1970; 0 when unknown.
    pub(crate) birth: u64,
    /// Whether the creator asked for this capacity explicitly.
    pub(crate) explicit_capacity: bool,
    /// Whether the creator continued without waiting for its peer.
    pub(crate) unwaited: bool,
}

impl Geometry {
    /// The geometry of a ring about to be made.
    ///
    /// # Panics
    ///
    /// If `capacity` is not a power of two.
    pub(crate) fn new(
        capacity: usize,
        kind: LifeCycleKind,
        nonce: u64,
        file: Option<FileIdentity>,
        flags: u32,
    ) -> Geometry {
        assert!(capacity.is_power_of_two(), "unsafe code relies on this");
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

    /// Accepts `image` if it describes a ring that fills a segment of `segment_len` bytes, and that
    /// this build can use.
    pub(crate) fn of_segment(
        image: &IdentityImage,
        segment_len: usize,
    ) -> Result<Geometry, Incompatible> {
        let geometry = Geometry::parse(image, segment_len)?;
        if geometry.kind == LifeCycleKind::Placed {
            return Err(Incompatible::Kind { found: image.kind });
        }
        if geometry.capacity < MIN_RING_OFFSET || geometry.ring_end() != segment_len {
            return Err(image.misfit(segment_len));
        }
        Ok(geometry)
    }

    /// Accepts `image` if it describes a ring in the caller's memory of `len` bytes, and that this
    /// build can use.
    pub(crate) fn of_memory(image: &IdentityImage, len: usize) -> Result<Geometry, Incompatible> {
        let geometry = Geometry::parse(image, len)?;
        if geometry.kind != LifeCycleKind::Placed {
            return Err(Incompatible::Kind { found: image.kind });
        }
        Ok(geometry)
    }

    /// Parses `image`, if it describes a ring within `len` bytes.
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
        let ring_offset = ring_offset();
        let fits = |&capacity: &usize| {
            let end = ring_offset.checked_add(capacity);
            capacity.is_power_of_two() && end.is_some_and(|end| end <= len)
        };
        let capacity = usize::try_from(image.capacity).ok().filter(fits);
        let (Some(capacity), true) = (capacity, image.ring_offset == ring_offset as u64) else {
            return Err(image.misfit(len));
        };
        Ok(Geometry {
            capacity,
            ring_offset,
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

    /// The identity line of this geometry.
    pub(crate) fn to_image(self) -> IdentityImage {
        IdentityImage {
            magic: MAGIC,
            version: VERSION,
            byte_order: BYTE_ORDER,
            line: LINE as u32,
            kind: self.kind.to_bits(),
            capacity: self.capacity as u64,
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

    /// Whether the ring was made for `file`. File systems reuse inode numbers, so the creation time
    /// decides between two files of the same number.
    pub(crate) fn is_of(&self, file: FileIdentity) -> bool {
        self.has_numbers_of(file)
            && (self.birth == file.birth || self.birth == 0 || file.birth == 0)
    }

    /// Whether the ring was made for an earlier file with the same numbers as `file`.
    pub(crate) fn is_of_earlier(&self, file: FileIdentity) -> bool {
        self.has_numbers_of(file) && !self.is_of(file)
    }

    fn has_numbers_of(&self, file: FileIdentity) -> bool {
        (self.device, self.inode) == (file.dev, file.ino)
            && self.project == u32::from(file.project.get())
    }

    /// Bytes from the start of the header to the end of the ring. For a segment, its whole length.
    pub(crate) fn ring_end(&self) -> usize {
        self.ring_offset + self.capacity
    }
}
