//! A peer with one wrong number of the format. A stream, a golden vector, or a look at the bytes tells.

use std::collections::BTreeMap;

use crate::common::{alone, asked_for, move_to_own_ipc_namespace, not_run};
use crate::languages::{C, Language, Python, languages};
use crate::probes::Subject;

/// A value that is wrong for this one: another bit, another place, or fewer bits of a mask.
fn wrong(name: &str, value: u64) -> u64 {
    match value {
        _ if name.starts_with("futex_") => value | 128, // for threads of one process only
        _ if name.ends_with("_bits") => value >> 1,
        0..8 => value + 5,
        8..64 => value + 4,
        _ => value.wrapping_add(8),
    }
}

fn number(text: &str) -> u64 {
    match text.trim().strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).unwrap(),
        None => text.trim().parse().unwrap(),
    }
}

/// The numbers in the two tables of the C peer.
fn numbers_of_c() -> BTreeMap<String, u64> {
    let source = include_str!("peer.c");
    let table = |from: &str, to: &str| -> Vec<Vec<&str>> {
        let (_, rest) = source.split_once(from).unwrap();
        let (table, _) = rest.split_once(to).unwrap();
        let entries = table.split("X(").skip(1);
        let entries = entries.map(|entry| entry.split_once(')').unwrap().0);
        entries.map(|entry| entry.split(", ").collect()).collect()
    };
    let mut found = BTreeMap::new();
    for entry in table("#define CONSTANTS", "\n/*") {
        found.insert(entry[0].to_owned(), number(entry[1]));
    }
    for entry in table("#define WORDS", "\n\n") {
        for (role, value) in ["producer", "consumer"].into_iter().zip(&entry[1..]) {
            found.insert(format!("{role}_{}", entry[0]), number(value));
        }
    }
    found
}

/// The numbers in the table of the Python peer.
fn numbers_of_python() -> BTreeMap<String, u64> {
    let (_, rest) = include_str!("peer.py").split_once("\nC = {").unwrap();
    let (table, _) = rest.split_once("\n}").unwrap();
    let entries = table.split(',').filter_map(|entry| entry.split_once(':'));
    let entries = entries.map(|(name, value)| (name.trim().trim_matches('"'), value));
    let number = |value: &str| match value.trim() {
        magic if magic.starts_with("int.from_bytes(") => u64::from_le_bytes(*b"shmpipe\0"),
        value => number(value),
    };
    let entries = entries.map(|(name, value)| (name.to_owned(), number(value)));
    entries.collect()
}

/// Each number is wrong once, and some probe must tell, `rounds` times in a row.
fn each_is_noticed(language: Language, numbers: &BTreeMap<String, u64>, rounds: u32) {
    let sound = Subject::new(language, None);
    assert_eq!(sound.fault(), None, "the peer as it is");
    let mut unnoticed = vec![];
    for (name, &value) in numbers {
        let mutant = Subject::new(language, Some((name, wrong(name, value))));
        let found: Vec<_> = (0..rounds).map(|_| mutant.fault()).collect();
        println!("{name:<28} {found:?}");
        if found.contains(&None) {
            unnoticed.push(name.as_str());
        }
    }
    assert!(unnoticed.is_empty(), "{language:?}: {unnoticed:?}");
}

/// An eighth of the mutants, from `part` on, once. With SHMPIPE_PEERS=n every second of them, n times. In an IPC
/// namespace of its own: a mutant may leave a segment under any key.
fn run(test: &str, language: Language, numbers: fn() -> BTreeMap<String, u64>, part: usize) {
    if !languages().contains(&language) {
        return;
    }
    alone(&format!("mutants::{test}"), || {
        if !move_to_own_ipc_namespace() {
            return not_run("no IPC namespace of its own can be had");
        }
        let all = numbers();
        assert!(all.len() > 80, "{}", all.len());
        let (step, rounds) = match asked_for("SHMPIPE_PEERS") {
            Some(rounds) => (2, rounds.max(1) as u32),
            None => (8, 1),
        };
        let part = all.into_iter().skip(part).step_by(step).collect();
        each_is_noticed(language, &part, rounds);
    });
}

#[test]
fn each_wrong_number_of_the_c_peer_is_noticed() {
    run(
        "each_wrong_number_of_the_c_peer_is_noticed",
        C,
        numbers_of_c,
        0,
    );
}

#[test]
fn each_other_wrong_number_of_the_c_peer_is_noticed() {
    run(
        "each_other_wrong_number_of_the_c_peer_is_noticed",
        C,
        numbers_of_c,
        1,
    );
}

#[test]
fn each_wrong_number_of_the_python_peer_is_noticed() {
    run(
        "each_wrong_number_of_the_python_peer_is_noticed",
        Python,
        numbers_of_python,
        0,
    );
}

#[test]
fn each_other_wrong_number_of_the_python_peer_is_noticed() {
    run(
        "each_other_wrong_number_of_the_python_peer_is_noticed",
        Python,
        numbers_of_python,
        1,
    );
}
