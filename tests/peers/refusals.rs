//! What a peer in another language must refuse, with a reason, and must not touch.

use std::fs;

use crate::common::forged::each_forged;
use crate::common::{Segment, TempPath, bytes_of, options, poke};
use crate::languages::{Peer, Rust, languages};

#[test]
fn what_is_not_of_this_format_is_refused_and_not_touched() {
    for language in languages().into_iter().filter(|&language| language != Rust) {
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
                assert!(
                    said.starts_with("error=not a ring") && said.contains(word),
                    "{language:?}: {said}"
                );
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
