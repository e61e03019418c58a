//! The bytes of a segment: every offset, and how a header is checked.
//!
//! ```text
//! 0                      ring_offset               ring_offset + capacity
//! | header | unused      | ring: capacity bytes    |
//!
//! header, in lines of 128 bytes (x86-64 and aarch64):
//!    0  identity   magic, version, byte order, line size, kind, capacity, ...
//!  128  state      life-cycle word; who holds each role
//!  256  producer   tail, echo
//!  384             closed, sleeping, wanted
//!  512  consumer   head
//!  640             closed, sleeping, wanted, acknowledged, wants_echo
//!  768  reserved   two lines
//! ```
//!
//! In memory of the caller's the same bytes may have more behind them.
//!
//! | words | written by | read by | order |
//! |---|---|---|---|
//! | identity | creator, before the state leaves `Unborn` | openers, once, copied out | P3 |
//! | state | whoever wins its compare-and-swap | everybody | P3, P6 |
//! | a role's `owner` | the claimer's compare-and-swap | everybody | P6 |
//! | a role's other words | the owner | everybody, if `complete == owner` | P6 |
//! | `tail`, `head` | producer, consumer | the other | P1, P2 |
//! | `closed` | own side | the other | P4 |
//! | `sleeping`, `wanted` | own side sets, the other clears `sleeping` | both | P5 |
//! | `acknowledged` | consumer, when it leaves | the next consumer | P6 |
//! | echo | producer | consumer | P7 |
//! | `wants_echo` | consumer | producer, as a hint | none |
//!
//! The pairs P1 to P5 are explained in `ring.rs` and `wait.rs`, P6 in
//! `roles.rs`, P7 in `echo.rs`. Only integers of fixed width lie in a segment. What is read
//! here was written by a stranger: it is loaded once, checked, and the local
//! copy is used.
//!
//! A position changes with every operation; the signals next to it change only
//! when somebody sleeps or leaves, and the other side looks at them with every
//! operation. On one line, each look would fetch the line anew.

use crossbeam_utils::CachePadded;

use crate::error::Incompatible;
use crate::state::{Kind, Role};
use crate::steps::step;
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};
use crate::sysv::FileIdentity;

/// The first eight bytes of every segment of ours.
pub(crate) const MAGIC: u64 = u64::from_ne_bytes(*b"shmpipe\0");
/// The version of this layout; any change to an offset or a meaning adds one.
pub(crate) const VERSION: u32 = 1;
/// Reads differently on a machine of the other byte order.
pub(crate) const BYTE_ORDER: u32 = 0x0102_0304;
/// The distance that keeps two hot words from sharing a cache line or the
/// line that the prefetcher fetches with it.
pub(crate) const LINE: usize = size_of::<CachePadded<u8>>();
/// The least distance from the start of the segment to the ring.
pub(crate) const MIN_RING_OFFSET: usize = 4096;

/// Set in [`Identity::flags`] when the creator was asked for this capacity.
pub(crate) const EXPLICIT_CAPACITY: u32 = 1;
/// Set in [`Identity::flags`] when the creator does not wait for its peer, so
/// that bytes may be in the ring at any time.
pub(crate) const UNWAITED: u32 = 2;

/// In [`Signals::wants_echo`]: nothing.
pub(crate) const NOTHING: u32 = 0;
/// In [`Signals::wants_echo`]: short messages are echoed, longer ones handed on.
pub(crate) const ECHO: u32 = 1;
/// The same: longer ones are handed on, and short ones are as ever.
pub(crate) const HAND_ON: u32 = 2;

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
}

/// Who holds a role.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Process id, generation and start time of the holder, packed; zero when
    /// free. The compare-and-swap of this word is the claim.
    pub(crate) owner: AtomicU64,
    /// Equals `owner` once the words below are the owner's.
    pub(crate) complete: AtomicU64,
    /// Start time of the holder in clock ticks since boot; 0 when unknown.
    pub(crate) start: AtomicU64,
    /// Inode number of the holder's pid namespace; 0 when unknown.
    pub(crate) pid_namespace: AtomicU32,
    /// Inode number of the holder's time namespace; 0 when unknown.
    pub(crate) time_namespace: AtomicU32,
    /// What the holder's mapping adds to the attach count of the segment. Two
    /// roles of one process may share a mapping.
    pub(crate) views: AtomicU32,
    reserved: AtomicU32,
}

/// The life-cycle word and the holders.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct StateLine {
    pub(crate) word: AtomicU64,
    producer: Record,
    consumer: Record,
}

/// One side's lines.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Side {
    /// The producer's tail or the consumer's head: bytes since the ring was
    /// made.
    pub(crate) position: AtomicU64,
    /// On the line of the position. The consumer's is unused.
    pub(crate) echo: Echo,
    pub(crate) signals: CachePadded<Signals>,
}

/// The words of an echo: with a position, they fill a line.
pub(crate) const ECHO_WORDS: usize = 13;

/// A short message once more, beside the tail; see `echo.rs`.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Echo {
    /// The position behind the last byte, or one that is far from it.
    pub(crate) end: AtomicU64,
    /// The position of the first byte.
    pub(crate) start: AtomicU64,
    pub(crate) words: [AtomicU64; ECHO_WORDS],
}

/// What a side says that is no position: written by that side, but for
/// `sleeping`, which the other side clears.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// How the side has left; see `Departure`.
    pub(crate) closed: AtomicU32,
    /// The word that the side sleeps on.
    pub(crate) sleeping: AtomicU32,
    /// The position of the other side that the sleeper waits for.
    pub(crate) wanted: AtomicU64,
    /// The producer's `closed` word whose end of stream was delivered.
    pub(crate) acknowledged: AtomicU32,
    /// What the consumer has the producer do for messages one at a time: nothing,
    /// [`ECHO`] or [`HAND_ON`].
    pub(crate) wants_echo: AtomicU32,
}

/// The start of every segment.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Header {
    pub(crate) identity: CachePadded<Identity>,
    pub(crate) state: CachePadded<StateLine>,
    producer: Side,
    consumer: Side,
    reserved: [CachePadded<AtomicU64>; 2],
}

#[cfg(not(loom))]
mod pinned {
    use super::*;
    use memoffset::offset_of;

    const _: () = assert!(size_of::<Header>() <= MIN_RING_OFFSET);
    const _: () = assert!(offset_of!(Header, state) % LINE == 0);
    const _: () = assert!(offset_of!(Header, producer) % LINE == 0);
    const _: () = assert!(offset_of!(Header, consumer) % LINE == 0);

    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    mod lines_of_128_bytes {
        use super::*;

        const _: () = assert!(LINE == 128);
        const _: () = assert!(offset_of!(Header, identity) == 0);
        const _: () = assert!(offset_of!(Header, state) == 128);
        const _: () = assert!(offset_of!(Header, producer) == 256);
        const _: () = assert!(offset_of!(Header, consumer) == 512);
        const _: () = assert!(offset_of!(Header, reserved) == 768);
        const _: () = assert!(size_of::<Header>() == 1024);
        const _: () = assert!(offset_of!(Side, position) == 0);
        const _: () = assert!(offset_of!(Side, echo) == 8);
        const _: () = assert!(offset_of!(Side, signals) == 128);
    }

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

    const _: () = assert!(offset_of!(StateLine, word) == 0);
    const _: () = assert!(offset_of!(StateLine, producer) == 8);
    const _: () = assert!(offset_of!(StateLine, consumer) == 48);
    const _: () = assert!(offset_of!(Record, owner) == 0);
    const _: () = assert!(offset_of!(Record, complete) == 8);
    const _: () = assert!(offset_of!(Record, start) == 16);
    const _: () = assert!(offset_of!(Record, pid_namespace) == 24);
    const _: () = assert!(offset_of!(Record, time_namespace) == 28);
    const _: () = assert!(offset_of!(Record, views) == 32);
    const _: () = assert!(size_of::<Record>() == 40);

    const _: () = assert!(offset_of!(Side, signals) % LINE == 0);
    const _: () = assert!(offset_of!(Signals, closed) == 0);
    const _: () = assert!(offset_of!(Signals, sleeping) == 4);
    const _: () = assert!(offset_of!(Signals, wanted) == 8);
    const _: () = assert!(offset_of!(Signals, acknowledged) == 16);
    const _: () = assert!(offset_of!(Signals, wants_echo) == 20);
    const _: () = assert!(offset_of!(Echo, end) == 0);
    const _: () = assert!(offset_of!(Echo, start) == 8);
    const _: () = assert!(offset_of!(Echo, words) == 16);
    const _: () = assert!(size_of::<Echo>() == 120);
    const _: () = assert!(size_of::<Signals>() == 24);
}

impl Header {
    /// The lines that `role` writes.
    #[inline]
    pub(crate) fn side(&self, role: Role) -> &Side {
        match role {
            Role::Producer => &self.producer,
            Role::Consumer => &self.consumer,
        }
    }

    /// Takes away whatever was there before the ring. The life-cycle word comes
    /// first, so that a creator that dies here leaves nothing to believe.
    pub(crate) fn clear(&self) {
        // Relaxed throughout: published by the state word, P3. Of the rest only
        // the magic can overtake this store: a fence follows it.
        self.state.word.store(0, Ordering::Relaxed); // P3
        self.identity.store(&IdentityImage::default());
        for role in [Role::Producer, Role::Consumer] {
            self.record(role).clear();
            self.side(role).clear();
        }
        for word in &self.reserved {
            word.store(0, Ordering::Relaxed); // P3
        }
    }

    /// Who holds `role`.
    pub(crate) fn record(&self, role: Role) -> &Record {
        match role {
            Role::Producer => &self.state.producer,
            Role::Consumer => &self.state.consumer,
        }
    }
}

impl Record {
    fn clear(&self) {
        self.owner.store(0, Ordering::Relaxed); // P3
        self.complete.store(0, Ordering::Relaxed); // P3
        self.start.store(0, Ordering::Relaxed); // P3
        self.pid_namespace.store(0, Ordering::Relaxed); // P3
        self.time_namespace.store(0, Ordering::Relaxed); // P3
        self.views.store(0, Ordering::Relaxed); // P3
        self.reserved.store(0, Ordering::Relaxed); // P3
    }
}

impl Side {
    fn clear(&self) {
        self.position.store(0, Ordering::Relaxed); // P3
        self.echo.end.store(0, Ordering::Relaxed); // P3
        self.echo.start.store(0, Ordering::Relaxed); // P3
        for word in &self.echo.words {
            word.store(0, Ordering::Relaxed); // P3
        }
        let signals = &self.signals;
        signals.closed.store(0, Ordering::Relaxed); // P3
        signals.sleeping.store(0, Ordering::Relaxed); // P3
        signals.wanted.store(0, Ordering::Relaxed); // P3
        signals.acknowledged.store(0, Ordering::Relaxed); // P3
        signals.wants_echo.store(0, Ordering::Relaxed); // P3
    }
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
        step!(MagicStored);
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
    pub(crate) kind: Kind,
    /// Tells this ring from every other one.
    pub(crate) nonce: u64,
    /// The file the ring is found by, as recorded by its creator.
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) project: u32,
    /// Whether the creator was asked for this capacity.
    pub(crate) explicit_capacity: bool,
    /// Whether the creator went on without waiting for its peer.
    pub(crate) unwaited: bool,
}

impl Geometry {
    /// The geometry of a ring to be made.
    pub(crate) fn new(
        capacity: u64,
        kind: Kind,
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
        if geometry.kind == Kind::Placed {
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
        if geometry.kind != Kind::Placed {
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
        let Some(kind) = Kind::from_bits(image.kind) else {
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
        }
    }

    /// Whether the ring was made to be found by `file`.
    pub(crate) fn is_of(&self, file: FileIdentity) -> bool {
        (self.device, self.inode) == (file.dev, file.ino)
            && self.project == u32::from(file.project.get())
    }

    /// Bytes from the start of the header to the end of the ring: those of the
    /// whole segment, if it is one.
    pub(crate) fn ring_end(&self) -> usize {
        self.ring_offset + self.capacity as usize
    }
}

/// Where the ring begins: a page of its own for the header, so that the ring
/// can be mapped twice.
pub(crate) fn ring_offset() -> usize {
    crate::sysv::page_size().max(MIN_RING_OFFSET)
}
