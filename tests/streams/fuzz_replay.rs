//! The fuzz targets' inputs, replayed: the corpus that is committed, and
//! whatever proptest makes up. How to fuzz is in src/guide/testing.md.

use std::fs;
use std::path::{Path, PathBuf};

use crate::bodies::seeds::seeds;
use proptest::collection::vec;
use proptest::prelude::*;

/// A target's name and what it does.
type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 3] = [
    ("header", crate::bodies::header::run),
    ("ops", crate::bodies::ops::run),
    ("hostile", crate::bodies::hostile::run),
];

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target)
}

/// Runs each input, and says which one it was that failed.
fn replay(target: &str, run: fn(&[u8])) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(corpus(target)).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let done = std::panic::catch_unwind(|| run(&bytes));
        assert!(done.is_ok(), "{} fails", path.display());
        count += 1;
    }
    count
}

#[test]
fn the_corpus_holds() {
    for (target, run) in TARGETS {
        let seeds = seeds().iter().filter(|seed| seed.target == target).count();
        let count = replay(target, run);
        assert!(count >= seeds && seeds > 0, "{target}: {count} inputs");
    }
}

/// `SHMPIPE_SEEDS=write cargo test --test streams fuzz_replay` puts them there.
#[test]
fn the_seeds_are_in_the_corpus() {
    let write = std::env::var_os("SHMPIPE_SEEDS").is_some_and(|value| value == "write");
    for seed in seeds() {
        let path = corpus(seed.target).join(format!("seed-{}", seed.name));
        if write {
            fs::create_dir_all(corpus(seed.target)).unwrap();
            fs::write(&path, &seed.bytes).unwrap();
        }
        let found = fs::read(&path).unwrap_or_default();
        assert_eq!(found, seed.bytes, "{}", path.display());
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_bytes_do_for_every_target(bytes in vec(any::<u8>(), 0..600)) {
        for (_, run) in TARGETS {
            run(&bytes);
        }
    }
}
