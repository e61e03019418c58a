//! What a peer in another language must refuse, with a reason, and must not touch.

use std::fs;

use crate::common::offsets::REQUIRED;
use crate::common::{Segment, TempPath, bytes_of, options, poke};
use crate::languages::{Peer, Rust, languages};

#[test]
fn what_is_not_of_this_format_is_refused_and_not_touched() {
    let swapped = 0x0403_0201_u32.to_ne_bytes();
    // As of a peer whose words have 32 bits: capacity and ring offset side by side.
    let narrow = (4096_u64 | 4096 << 32).to_ne_bytes();
    let foreign = [2_u32, 0x0102_0304, 128, 3].map(|word| word.swap_bytes().to_ne_bytes());
    let forged: [(&str, usize, &[u8]); 7] = [
        ("version", 8, &3_u32.to_ne_bytes()),
        ("version", 8, &1_u32.to_ne_bytes()),
        ("byte order", 12, &swapped),
        ("line", 16, &64_u32.to_ne_bytes()),
        ("features", REQUIRED, &(1_u32 << 31).to_ne_bytes()),
        ("byte order", 8, foreign.as_flattened()),
        ("size", 24, &narrow),
    ];
    for language in languages().into_iter().filter(|&language| language != Rust) {
        for (what, offset, bytes) in forged {
            let path = TempPath::new();
            let mut options = options();
            options.persistent(true).capacity(4096);
            let id = options.open_consumer(&path).unwrap().id().unwrap();
            let _goes = Segment { id }; // also if the test fails
            let good = bytes_of(id)[offset..offset + bytes.len()].to_vec();
            poke(id, offset, bytes);
            let before = bytes_of(id);
            for role in ["producer", "consumer"] {
                let words = format!(
                    "role={role} path={} kind=persistent timeout=5",
                    path.display()
                );
                let mut peer = Peer::new(language, &words);
                let said = peer.said();
                assert!(
                    said.starts_with("error=not a ring") && said.contains(what),
                    "{language:?}: {said}"
                );
                peer.ended();
            }
            assert!(bytes_of(id) == before, "{language:?} wrote to it: {what}");
            assert_eq!(path.segment(), Some(id), "{language:?}: {what}");
            poke(id, offset, &good); // for its removal
        }
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
