//! Segments that are no ring of ours: each gets a typed error, and is left as
//! it was. The one exception is what a dead creator left half made.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::common::{
    PATIENCE, Segment, TempPath, alone, bytes_of, is_root, move_to_own_ipc_namespace, open_each,
    options, page, poke, stream, unique,
};
use shmpipe::error::Incompatible;
use shmpipe::sysv::{self, Key};
use shmpipe::{OpenError, Options, RemoveError};

const RING: usize = 8192;

/// The header of an open ring of `RING` bytes that nobody has joined.
fn header(dev: u64, ino: u64, project: u32) -> Vec<u8> {
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
struct Kind {
    name: &'static str,
    size: usize,
    mode: u32,
    uid: Option<u32>,
    bytes: Vec<(usize, Vec<u8>)>,
    /// Whether it is a ring, though not one for this path and caller, which
    /// may be removed on purpose by those that it is for.
    is_ring: bool,
    expected: Box<dyn Fn(&OpenError) -> bool>,
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

fn kinds(path: &Path) -> Vec<Kind> {
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

/// Puts a segment of this kind where `key` leads. Nobody has it attached, and
/// who made it is dead: nothing but its bytes speaks for it.
fn plant(kind: &Kind, key: Key) -> Segment {
    let planted = Segment::by_the_dead(key, kind.size, kind.mode);
    for (offset, bytes) in &kind.bytes {
        poke(
            planted.id,
            *offset,
            &bytes[..bytes.len().min(kind.size - offset)],
        );
    }
    if let Some(uid) = kind.uid {
        let stat = sysv::stat(planted.id).unwrap();
        sysv::set(planted.id, uid, stat.gid, stat.mode).unwrap();
    }
    planted
}

#[test]
fn what_is_not_ours_is_refused_and_left_as_it_was() {
    alone(
        "refused::what_is_not_ours_is_refused_and_left_as_it_was",
        || {
            // `remove_stale` of a test next door might take what is planted here.
            move_to_own_ipc_namespace();
            let path = TempPath::new();
            let kinds = kinds(&path);
            assert!(kinds.len() >= 12);
            let mut wrong = vec![];
            for kind in &kinds {
                let planted = plant(kind, path.key());
                let before = bytes_of(planted.id);
                let mut quick = Options::new();
                quick.timeout(Some(PATIENCE));
                let persistent = quick.clone().persistent(true).clone();
                let large = quick.clone().capacity(1 << 20).clone();
                let results =
                    [&quick, &persistent, &large].map(|options| open_each(options, &path));
                let mut errors: Vec<String> = vec![];
                for opened in results.into_iter().flatten() {
                    match opened {
                        Err(error) if (kind.expected)(&error) => errors.push(error.to_string()),
                        other => wrong.push(format!("{}: {other:?}", kind.name)),
                    }
                }
                if !kind.is_ring {
                    let by_id = quick.attach(planted.id).map(drop);
                    if !matches!(by_id, Err(error) if (kind.expected)(&error)) {
                        wrong.push(format!("{}: attached by id", kind.name));
                    }
                    for removed in [
                        shmpipe::Options::new().force_remove(&path),
                        shmpipe::remove(planted.id),
                        shmpipe::force_remove(planted.id),
                    ] {
                        match removed {
                            Err(RemoveError::Open(error)) if (kind.expected)(&error) => {}
                            other => wrong.push(format!("{}: remove: {other:?}", kind.name)),
                        }
                    }
                }
                if path.segment() != Some(planted.id) || !planted.is_there() {
                    wrong.push(format!("{}: has gone", kind.name));
                } else if bytes_of(planted.id) != before {
                    wrong.push(format!("{}: was written to", kind.name));
                }
                let shown = errors.first().map_or("", String::as_str);
                println!("{:<42} {shown}", kind.name);
            }
            assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
        },
    );
}

#[test]
fn a_newborn_is_waited_for_and_never_touched() {
    alone("refused::a_newborn_is_waited_for_and_never_touched", || {
        move_to_own_ipc_namespace();
        let path = TempPath::new();
        let size = page() + RING;
        let newborn = Segment::new(Some(path.key()), size, 0o600);
        for opened in open_each(options().timeout(Some(Duration::from_millis(50))), &path) {
            assert!(
                matches!(opened, Err(OpenError::TimedOut { .. })),
                "{opened:?}"
            );
        }
        let by_id = options().attach(newborn.id).map(drop);
        for opened in open_each(&options(), &path).into_iter().chain([by_id]) {
            let reason = Incompatible::HalfMade;
            assert!(
                matches!(opened, Err(OpenError::NotARing { reason: found, .. })
                if found == reason)
            );
        }
        for force in [false, true] {
            let removed = match force {
                true => shmpipe::Options::new().force_remove(&path),
                false => shmpipe::Options::new().remove(&path),
            };
            assert!(matches!(removed, Err(RemoveError::InUse { .. })));
            let removed = match force {
                true => shmpipe::force_remove(newborn.id),
                false => shmpipe::remove(newborn.id),
            };
            assert!(matches!(removed, Err(RemoveError::InUse { .. })));
        }
        assert!(!shmpipe::remove_stale().unwrap().contains(&newborn.id));
        assert_eq!(path.segment(), Some(newborn.id));
        assert!(bytes_of(newborn.id).iter().all(|&byte| byte == 0));
    });
}

#[test]
fn what_a_dead_creator_left_half_made_is_reclaimed() {
    alone(
        "refused::what_a_dead_creator_left_half_made_is_reclaimed",
        || {
            move_to_own_ipc_namespace();
            let path = TempPath::new();
            for bytes in [0, 128] {
                // All zero, or complete but for the life-cycle word.
                let left = Segment::by_the_dead(path.key(), page() + RING, 0o600);
                let file = fs::metadata(&path).unwrap();
                if bytes > 0 {
                    poke(left.id, 0, &header(file.dev(), file.ino(), 1)[..bytes]);
                }
                // A raw key has no lock that would make it safe.
                let by_key = options().open_producer_by_key(path.key()).map(drop);
                assert!(matches!(by_key, Err(OpenError::NotARing { .. })));
                assert!(left.is_there());
                thread::scope(|scope| {
                    let producer = scope.spawn(|| options().open_producer(&path).map(drop));
                    options().open_consumer(&path).unwrap();
                    producer.join().unwrap().unwrap();
                });
                assert!(!left.is_there());
                assert!(!path.leads_to_a_segment());
            }
        },
    );
}

/// A ring of layout version 1 is refused by its number, shown, and removed when
/// told to.
#[test]
fn a_ring_of_an_earlier_version_is_shown_and_can_be_removed() {
    let path = TempPath::new();
    let file = fs::metadata(&path).unwrap();
    let old = Segment::new(Some(path.key()), page() + RING, 0o600);
    poke(old.id, 0, &header(file.dev(), file.ino(), 1));
    poke(old.id, 8, &1_u32.to_ne_bytes());
    let before = bytes_of(old.id);
    let is_named = |why: &OpenError| {
        matches!(
            *why,
            OpenError::NotARing {
                id,
                reason: Incompatible::Version {
                    found: 1,
                    supported: 2
                },
                ..
            } if id == old.id
        )
    };
    for refused in [
        options().open_producer(&path).map(drop),
        options().persistent(true).open_consumer(&path).map(drop),
        options().attach(old.id).map(drop),
    ] {
        assert!(is_named(&refused.unwrap_err()));
    }
    assert!(shmpipe::Snapshot::unknown().unwrap().iter().any(is_named));
    assert_eq!(bytes_of(old.id), before);

    // Who has it attached may be using it.
    let held = sysv::attach_read_only(old.id).unwrap();
    let refused = shmpipe::remove(old.id);
    assert!(matches!(refused, Err(RemoveError::InUse { .. })));
    drop(held);
    shmpipe::Options::new().remove(&path).unwrap();
    assert!(!old.is_there());
}

/// Found from outside: a deleted file's inode number is given out again, and
/// the new file got the old one's ring, bytes and all.
#[test]
fn a_ring_of_an_earlier_file_with_the_same_inode_is_not_the_files() {
    const BIRTH: usize = 80;
    let path = TempPath::new();
    let mut persistent = options();
    persistent.persistent(true);
    let producer = persistent.open_producer(&path).unwrap();
    let id = producer.id().unwrap();
    drop(producer);
    let born = u64::from_ne_bytes(bytes_of(id)[BIRTH..BIRTH + 8].try_into().unwrap());
    if born == 0 {
        println!("skipped: this file system does not say when a file was made");
    } else {
        poke(id, BIRTH, &(born - 1).to_ne_bytes());
        let before = bytes_of(id);
        let file = fs::metadata(&path).unwrap();
        let numbers = (file.dev(), file.ino());
        for refused in [
            persistent.open_consumer(&path).map(drop).unwrap_err(),
            shmpipe::Options::new()
                .snapshot(&path)
                .map(drop)
                .unwrap_err(),
            match shmpipe::Options::new().force_remove(&path).unwrap_err() {
                RemoveError::Open(error) => error,
                other => panic!("{other}"),
            },
        ] {
            let said = refused.to_string();
            assert!(said.contains("earlier file"), "{said}");
            assert!(said.contains(&format!("rm --id {id}")), "{said}");
            let OpenError::KeyCollision {
                owner,
                asked,
                earlier,
                ..
            } = refused
            else {
                panic!("{said}");
            };
            assert_eq!((owner, asked), (numbers, numbers));
            assert!(earlier.is_some());
        }
        assert_eq!(bytes_of(id), before);
        // Where either side does not know, the numbers have to do.
        poke(id, BIRTH, &[0; 8]);
        drop(persistent.open_consumer(&path).unwrap());
    }
    shmpipe::remove(id).unwrap();
}
