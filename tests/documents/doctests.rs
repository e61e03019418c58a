//! What the examples in the documentation leave to others.

use std::fs;

use crate::{files_below, root};

/// The code blocks of a text, each with the number of its first line. A line has
/// lost the marks of its comment and the mark that hides it.
fn blocks(text: &str) -> Vec<(usize, Vec<&str>)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, Vec<&str>)> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_start();
        let line = ["/// ", "//! ", "///", "//!"]
            .into_iter()
            .find_map(|mark| line.strip_prefix(mark))
            .unwrap_or(line);
        if line.starts_with("```") {
            match open.take() {
                Some(block) => found.push(block),
                None => open = Some((number + 1, Vec::new())),
            }
        } else if let Some((_, lines)) = &mut open {
            lines.push(line.strip_prefix("# ").unwrap_or(line));
        }
    }
    found
}

/// The handles that a block opens by a path or a key, outside of any braces, and
/// still has when it removes the path's file.
fn outlive_the_file(lines: &[&str]) -> Vec<String> {
    let Some(removal) = lines.iter().position(|line| line.contains("remove_file")) else {
        return Vec::new();
    };
    let before = lines[..removal].join("\n");
    before
        .split_inclusive('\n')
        .filter(|line| line.starts_with("let ") && line.contains(".open_") && line.contains(")?;"))
        .filter_map(|line| {
            line["let ".len()..]
                .split_whitespace()
                .find(|word| *word != "mut")
        })
        .filter(|name| {
            let dropped = before.lines().any(|line| {
                let names = line.strip_prefix("drop(").unwrap_or_default();
                names
                    .split(|c: char| !c.is_alphanumeric() && c != '_')
                    .any(|word| word == *name)
            });
            !dropped && !before.contains(&format!("{name}.close()"))
        })
        .map(str::to_owned)
        .collect()
}

/// A file's inode is another file's once the file is removed, and so is the key. A ring
/// that is still open then has the key of a ring that somebody else is about to make.
#[test]
fn no_example_removes_the_file_of_an_open_ring() {
    let mut files = files_below(&root().join("src"), &["rs", "md"]);
    files.push(root().join("README.md"));
    let (mut removals, mut faults) = (0, Vec::new());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for (line, block) in blocks(&text) {
            removals += usize::from(block.iter().any(|line| line.contains("remove_file")));
            for name in outlive_the_file(&block) {
                faults.push(format!("{}:{line}: {name}", file.display()));
            }
        }
    }
    assert!(removals > 30, "{removals} examples remove a file");
    assert!(faults.is_empty(), "drop these first: {faults:#?}");
}
