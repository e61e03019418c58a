//! The kinds of segment that are refused, and with which error.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use shmpipe::OpenError;
use shmpipe::error::Incompatible;

use super::RING;
use crate::common::{is_root, page, stream, unique};

/// The header of an open ring of `RING` bytes that nobody has joined.
pub(super) fn header(dev: u64, ino: u64, project: u32) -> Vec<u8> {
    let mut header = b"shmpipe\0".to_vec();
    for word in [2, 0x0102_0304, 128, 2] {
        header.extend(u32::to_ne_bytes(word)); // version, order, line, kind
    }
    for word in [RING as u64, page() as u64, unique(), dev, ino] {
        header.extend(word.to_ne_bytes());
    }
    header.extend(project.to_ne_bytes());
    header.resize(128, 0);
    header.extend(1_u64.to_ne_bytes()); // the life-cycle word: open
    header
}

/// A segment that is not to be used, nor touched.
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) size: usize,
    pub(super) mode: u32,
    pub(super) uid: Option<u32>,
    pub(super) bytes: Vec<(usize, Vec<u8>)>,
    /// Whether it is a ring, though not one for this path and caller, which
    /// may be removed on purpose by those that it is for.
    pub(super) is_ring: bool,
    pub(super) expected: Box<dyn Fn(&OpenError) -> bool>,
}

/// One with the header of a good ring, but for `bytes` at `offset`.
fn altered(
    name: &'static str,
    path: &Path,
    (offset, bytes): (usize, &[u8]),
    expected: impl Fn(Incompatible) -> bool + 'static,
) -> Kind {
    let file = fs::metadata(path).unwrap();
    let header = header(file.dev(), file.ino(), 1);
    Kind {
        name,
        size: page() + RING,
        mode: 0o600,
        uid: None,
        bytes: vec![(0, header), (offset, bytes.to_vec())],
        is_ring: false,
        expected: Box::new(
            move |error| matches!(error, OpenError::NotARing { reason, .. } if expected(*reason)),
        ),
    }
}

/// The same, where the size is found to be wrong.
fn missized(name: &'static str, path: &Path, bytes: (usize, &[u8])) -> Kind {
    altered(name, path, bytes, |reason| {
        matches!(reason, Incompatible::Size { .. })
    })
}

pub(super) fn kinds(path: &Path) -> Vec<Kind> {
    let mut kinds = no_headers(path);
    kinds.extend(altered_headers(path));
    kinds.extend(wrong_sizes(path));
    kinds.extend(rings_of_others(path));
    kinds
}

/// Those whose bytes are not the header of a ring.
fn no_headers(path: &Path) -> Vec<Kind> {
    use Incompatible as No;
    let of_size = |name, len: usize| Kind {
        size: len,
        bytes: vec![],
        ..altered(name, path, (0, &[]), move |reason| {
            matches!(reason, No::TooSmall { segment } if segment == len) || reason == No::NoMagic
        })
    };
    let holding = |name, offset, bytes: &[u8]| Kind {
        bytes: vec![(offset, bytes.to_vec())],
        ..altered(name, path, (0, &[]), |reason| {
            matches!(reason, No::NoMagic | No::HalfMade)
        })
    };
    vec![
        of_size("one byte", 1),
        of_size("one byte less than a header", 1023),
        of_size("zero, no shape of a ring", 5000),
        of_size("zero, no power of two", page() + 12_288),
        holding("another program's words", 0, b"PostgreSQL 18 shared memory"),
        holding("random bytes", 0, &stream(unique(), 0, page() + RING)),
        holding("zero, but for a word of the header", 600, b"x"),
        holding("zero, but for the reserved lines", 128 + 60, b"x"),
        holding("zero, but for the rest of its first page", 2000, b"x"),
        holding("zero, but for a byte of the ring", page() + RING - 1, b"x"),
    ]
}

/// The identity line, from the version on, as a machine of the other byte order writes it.
fn foreign() -> Vec<u8> {
    let line = header(1, 2, 1)[8..128].to_vec();
    let (fours, eights) = line.split_at(16);
    let fours = fours.chunks(4).flat_map(|word| word.iter().rev());
    let eights = eights.chunks(8).flat_map(|word| word.iter().rev());
    fours.chain(eights).copied().collect()
}

/// Those that say that they are of another kind than this crate's rings.
fn altered_headers(path: &Path) -> Vec<Kind> {
    use Incompatible as No;
    let version = |wanted| move |reason| matches!(reason, No::Version { found, supported: 2 } if found == wanted);
    let kind = |wanted| move |reason| reason == No::Kind { found: wanted };
    let line_size = No::LineSize {
        found: 64,
        supported: 128,
    };
    let [three, four, line, feature] = [3_u32, 4, 64, 1 << 31].map(u32::to_ne_bytes);
    // As of a peer whose words have 32 bits: capacity and ring offset side by side.
    let narrow = (RING as u64 | (page() as u64) << 32).to_ne_bytes();
    let swapped = 0x0403_0201_u32.to_ne_bytes();
    vec![
        altered("version 0", path, (8, &[0; 4]), version(0)),
        altered("version 3", path, (8, &three), version(3)),
        altered("other byte order", path, (12, &swapped), |reason| {
            reason == No::ByteOrder
        }),
        altered("other line size", path, (16, &line), move |reason| {
            reason == line_size
        }),
        altered(
            "all in the other byte order",
            path,
            (8, &foreign()),
            |reason| reason == No::ByteOrder,
        ),
        altered(
            "an unknown feature that is required",
            path,
            (76, &feature),
            |reason| reason == No::Features { unknown: 1 << 31 },
        ),
        missized("words of 32 bits", path, (24, &narrow)),
        altered("kind 0", path, (20, &[0; 4]), kind(0)),
        altered("kind 4", path, (20, &four), kind(4)),
        altered("unknown life-cycle word", path, (128, &[0x77]), |_| true),
    ]
}

/// Those whose size is not what they say.
fn wrong_sizes(path: &Path) -> Vec<Kind> {
    use Incompatible as No;
    let [odd, half, twice] = [8191_u64, 4096, 16_384].map(u64::to_ne_bytes);
    vec![
        missized("no capacity", path, (24, &[0; 8])),
        missized("odd capacity", path, (24, &odd)),
        missized("half the capacity", path, (24, &half)),
        missized("twice the capacity", path, (24, &twice)),
        missized("most of all capacities", path, (24, &[0xff; 8])),
        missized("no ring offset", path, (32, &[0; 8])),
        missized("ring offset before 0", path, (32, &[0xff; 8])),
        Kind {
            size: page() + 2 * RING,
            ..missized("larger than it says", path, (0, &[]))
        },
        Kind {
            size: page() + RING + 1,
            ..altered("one byte larger than it says", path, (0, &[]), |reason| {
                matches!(reason, No::Size { .. } | No::NoMagic)
            })
        },
    ]
}

/// Rings of another file, or of other users.
fn rings_of_others(path: &Path) -> Vec<Kind> {
    let file = fs::metadata(path).unwrap();
    let (dev, ino) = (file.dev(), file.ino());
    let other = |name, owner: (u64, u64), project: u32| Kind {
        is_ring: true,
        bytes: vec![(0, header(owner.0, owner.1, project))],
        expected: Box::new(move |error| {
            matches!(*error, OpenError::KeyCollision { owner: theirs, asked, .. }
                if theirs == owner && asked == (dev, ino))
        }),
        ..altered(name, path, (0, &[]), |_| false)
    };
    let open_to = |name, bits| Kind {
        mode: bits,
        is_ring: true,
        expected: Box::new(
            move |error| matches!(*error, OpenError::Untrusted { mode, .. } if mode == Some(bits)),
        ),
        ..altered(name, path, (0, &[]), |_| false)
    };
    let mut kinds = vec![
        other("another inode of the same key", (dev, ino + 0x1_0000), 1),
        other("another device of the same key", (dev + 0x100, ino), 1),
        other("the same file by another project id", (dev, ino), 2),
        other("of no file", (0, 0), 0),
        open_to("open to all", 0o666),
        open_to("readable for the group", 0o640),
    ];
    if is_root() {
        kinds.push(Kind {
            uid: Some(12_345),
            expected: Box::new(|error| {
                matches!(
                    error,
                    OpenError::Untrusted {
                        uid: Some(12_345),
                        ..
                    }
                )
            }),
            ..altered("somebody else's", path, (0, &[]), |_| false)
        });
    }
    kinds
}
