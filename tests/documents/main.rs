//! What is written down, held against the code.

#[path = "../common/mod.rs"]
mod common;
mod doctests;
mod examples;
#[path = "../../benches/figures/mod.rs"]
#[allow(dead_code)] // the comparison has more uses for it
mod figures;
mod kept;
mod layers;
mod orderings;
mod readme;

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files below `folder` whose names end so.
fn files_below(folder: &Path, ends: &[&str]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path, ends));
        } else if ends
            .iter()
            .any(|end| path.extension().is_some_and(|own| own == *end))
        {
            files.push(path);
        }
    }
    files
}
