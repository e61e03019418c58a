//! Segments that are no ring of ours: each gets a typed error, and is left as
//! it was. The one exception is what a dead creator left half made.

mod kinds;

use std::os::unix::fs::MetadataExt;
use std::time::Duration;
use std::{fs, thread};

use kinds::{Kind, header, kinds};
use shmpipe::error::Incompatible;
use shmpipe::sysv::{self, Key};
use shmpipe::{OpenError, Options, RemoveError};

use crate::common::{
    PATIENCE, Segment, TempPath, alone, bytes_of, move_to_own_ipc_namespace, not_run, open_each,
    options, page, poke, remove_unused,
};

const RING: usize = 8192;

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
    remove_unused(|| shmpipe::Options::new().remove(&path));
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
        not_run("in part: this file system does not say when a file was made");
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
    remove_unused(|| shmpipe::remove(id));
}
