//! What a peer in another language must refuse, with a reason, and must not touch.

use std::fs;

use crate::common::forged::each_forged;
use crate::common::{Segment, TempPath, bytes_of, options, page, poke};
use crate::languages::{Peer, Rust, languages};

#[test]
fn what_is_not_of_this_format_is_refused_and_not_touched() {
    for language in languages() {
        each_forged(|what, path| {
            let word = match what {
                "version 1" | "version 3" => "version",
                "line size" => "line",
                "features" => "features",
                "sizes" => "size",
                _ => "byte order",
            };
            for role in ["producer", "consumer"] {
                let words = format!(
                    "role={role} path={} kind=persistent timeout=5",
                    path.display()
                );
                let mut peer = Peer::new(language, &words);
                let said = peer.said();
                // The library says it in other words, which tests/opening checks.
                let refused = match language {
                    Rust => said.contains("is not usable"),
                    _ => said.starts_with("error=not a ring") && said.contains(word),
                };
                assert!(refused, "{language:?}: {said}");
                peer.ended();
            }
        });
    }
}

#[test]
fn a_ring_of_another_file_is_a_collision() {
    for language in languages().into_iter().filter(|&language| language != Rust) {
        let path = TempPath::new();
        let mut options = options();
        options.persistent(true).capacity(4096);
        let id = options.open_consumer(&path).unwrap().id().unwrap();
        let _goes = Segment { id };
        let good = bytes_of(id)[48..64].to_vec();
        poke(id, 56, &u64::MAX.to_ne_bytes());
        let words = format!(
            "role=producer path={} kind=persistent timeout=5",
            path.display()
        );
        let said = Peer::new(language, &words).said();
        assert_eq!(said, "error=collision", "{language:?}");
        poke(id, 48, &good);
        assert!(fs::exists(&path).unwrap());
    }
}

/// Nobody is left who could finish it, so nobody waits for that.
#[test]
fn what_a_dead_creator_left_is_no_ring_unless_it_is_zero() {
    let magic = *b"shmpipe\0";
    let left: [&[(usize, &[u8])]; 4] = [
        &[(600, b"x")],
        &[(page() + 4096 - 1, b"x")],
        &[(0, &magic), (600, b"x")],
        &[(0, &magic), (8, &[2]), (140, b"x")],
    ];
    for language in languages() {
        for bytes in left {
            let path = TempPath::new();
            let planted = Segment::by_the_dead(path.key(), page() + 4096, 0o600);
            for (offset, bytes) in bytes {
                poke(planted.id, *offset, bytes);
            }
            let before = bytes_of(planted.id);
            let words = format!("role=producer path={} timeout=30", path.display());
            let mut peer = Peer::new(language, &words);
            let said = peer.said();
            peer.ended();
            let found = said.contains("not a ring: no magic");
            assert!(found, "{language:?}: {bytes:?}: {said}");
            assert_eq!(path.segment(), Some(planted.id), "{language:?}: {bytes:?}");
            assert!(bytes_of(planted.id) == before, "{language:?}: {bytes:?}");
        }
        // One whose creator lives may still be finished, and is waited for.
        let path = TempPath::new();
        let newborn = Segment::new(Some(path.key()), page() + 4096, 0o600);
        let words = format!("role=producer path={} timeout=30", path.display());
        let said = Peer::new(language, &words).said();
        let expected = match language {
            Rust => "its creator has not finished it",
            _ => "error=half made",
        };
        assert!(said.contains(expected), "{language:?}: {said}");
        assert!(bytes_of(newborn.id).iter().all(|&byte| byte == 0));
    }
}
