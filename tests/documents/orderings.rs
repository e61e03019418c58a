//! Checks that every memory ordering in `src` says what it is for. Either the label of its
//! pair stands at both ends and in the table of `src/ring/mod.rs`, or words say it. Also
//! checks that `tests/loom.rs` runs every model.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::{files_below, root};

const ORDERINGS: [&str; 5] = ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The files of the library; neither its tests and models nor the command.
fn sources() -> Vec<PathBuf> {
    let mut files = files_below(&root().join("src"), &["rs"]);
    files.retain(|file| {
        let is = |names: &[&str]| names.iter().any(|name| file.ends_with(name));
        let is_model = file.components().any(|part| part.as_os_str() == "models");
        !is_model && !is(&["tests.rs", "order.rs", "recording.rs"])
    });
    files
}

/// A line of code that names an ordering.
#[derive(Debug)]
struct Use {
    place: String,
    code: String,
    /// The comment beside it, on the line below, or above.
    comment: String,
}

impl Use {
    fn labels(&self) -> BTreeSet<String> {
        labels(&self.comment)
    }

    fn has(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.code.contains(word))
    }

    fn is_store(&self) -> bool {
        self.has(&[
            ".store(",
            ".swap(",
            ".fetch_or(",
            ".fetch_add(",
            "compare_exchange",
            "fence(Ordering::Release",
        ]) || self.has(&["fence(Ordering::SeqCst"])
    }

    fn is_load(&self) -> bool {
        self.has(&[
            ".load(",
            ".swap(",
            ".fetch_or(",
            ".fetch_add(",
            "compare_exchange",
            "fence(Ordering::Acquire",
        ]) || self.has(&["fence(Ordering::SeqCst"])
    }
}

/// `P1`, `P2` and so on, as they stand in `text`.
fn labels(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| {
            word.strip_prefix('P')
                .is_some_and(|number| !number.is_empty() && number.parse::<u32>().is_ok())
        })
        .map(str::to_owned)
        .collect()
}

/// The code and the comment of a line.
fn split(line: &str) -> (&str, &str) {
    line.split_once("//").unwrap_or((line, ""))
}

fn names_an_ordering(code: &str) -> bool {
    let mut words = code.split(|c: char| !c.is_ascii_alphanumeric());
    let is_import = code.trim_start().starts_with("use ") || code.contains("Ordering::{");
    !is_import && words.any(|word| ORDERINGS.contains(&word))
}

fn uses() -> Vec<Use> {
    let mut uses = Vec::new();
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let (code, beside) = split(line);
            if !names_an_ordering(code) {
                continue;
            }
            let is_comment = |line: &&&str| split(line).0.trim().is_empty();
            let above = at.checked_sub(1).and_then(|above| lines.get(above));
            let above = above.filter(is_comment).map_or("", |line| split(line).1);
            // rustfmt moves the comment behind an opening brace down.
            let below = lines.get(at + 1).filter(|_| code.trim().ends_with('{'));
            let below = below.map_or("", |line| split(line).1);
            uses.push(Use {
                place: format!("{}:{}", file.display(), at + 1),
                code: code.trim().to_owned(),
                comment: [beside, below, above].join(" ").trim().to_owned(),
            });
        }
    }
    uses
}

/// The first column of the table in `src/ring/mod.rs`.
fn table() -> BTreeSet<String> {
    read("src/ring/mod.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//! | ")?.split(" |").next())
        .flat_map(labels)
        .collect()
}

#[test]
fn every_ordering_says_what_it_is_for() {
    let uses = uses();
    assert!(uses.len() > 40, "{} are too few to be all", uses.len());
    for found in &uses {
        assert!(!found.comment.is_empty(), "no word on {found:?}");
    }
}

#[test]
fn every_ordering_of_the_protocol_that_is_not_relaxed_has_a_label() {
    // These have words of their own, in no segment.
    for found in uses() {
        let own = [
            "src/sys/fork/mod.rs",
            "src/sys/fork/held.rs",
            "src/sync/failpoint.rs",
            "src/reactor/mod.rs",
        ];
        if found.code.contains("Ordering::")
            && ORDERINGS[1..]
                .iter()
                .any(|order| found.code.contains(order))
            && !own.iter().any(|file| found.place.contains(file))
        {
            assert!(!found.labels().is_empty(), "no label on {found:?}");
        }
    }
}

#[test]
fn every_label_has_two_ends_and_a_row() {
    let table = table();
    assert!(table.len() >= 6, "{table:?}");
    let mut ends: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for found in uses() {
        for label in found.labels() {
            assert!(table.contains(&label), "{label} has no row: {found:?}");
            let (stores, loads) = ends.entry(label).or_default();
            *stores += usize::from(found.is_store());
            *loads += usize::from(found.is_load());
        }
    }
    for label in table {
        let (stores, loads) = ends.get(&label).copied().unwrap_or_default();
        assert!(
            stores > 0 && loads > 0,
            "{label}: {stores} stores, {loads} loads"
        );
    }
}

#[test]
fn every_model_is_run() {
    let runner = read("tests/loom.rs");
    let run: BTreeSet<&str> = runner
        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .collect();
    let mut models = 0;
    for entry in fs::read_dir(root().join("src/models")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for line in text.lines().filter_map(|line| line.strip_prefix("pub fn ")) {
            let name = line.split('(').next().unwrap();
            assert!(run.contains(name), "tests/loom.rs does not run {name}");
            models += 1;
        }
    }
    assert!(models > 20, "{models} are too few to be all");
}
