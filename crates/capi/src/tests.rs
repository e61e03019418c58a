//! The header against the code: numbers, names and layouts.

use std::mem::offset_of;
use std::process::Command;

use crate::end::{RawPeer, RawStats};
use crate::failure::name_of;
use crate::options::{self, RawOptions};

const HEADER: &str = include_str!("../include/shmpipe.h");

/// The number that the header gives `name`.
fn number(name: &str) -> i64 {
    let at = HEADER.find(&format!(" {name} = ")).expect(name);
    let value = &HEADER[at + name.len() + 4..];
    let value = value.split([',', ' ', '\n', '}']).next().unwrap();
    value.parse().unwrap()
}

#[test]
fn the_codes_of_the_header_are_those_of_the_library() {
    let (_, codes) = HEADER.split_once("typedef enum shmpipe_code {").unwrap();
    let (codes, _) = codes.split_once("} shmpipe_code;").unwrap();
    let names = codes
        .lines()
        .filter_map(|line| line.trim().split_once(" = "));
    let named: Vec<&str> = names.map(|(name, _)| name).collect();
    for name in &named {
        let known = name_of(number(name) as i32);
        assert_eq!(known.to_str().unwrap(), *name);
    }
    let known = (-100..=0).filter(|code| name_of(*code) != c"unknown code");
    assert_eq!(known.count(), named.len());
}

#[test]
fn the_flags_of_the_header_are_those_of_the_library() {
    let shifts = |name: &str| {
        let (_, rest) = HEADER.split_once(&format!(" {name} = 1 << ")).expect(name);
        let shift = rest.split([',', ' ', '\n']).next().unwrap();
        1 << shift.parse::<u32>().unwrap()
    };
    let known = [
        ("SHMPIPE_PERSISTENT", options::PERSISTENT),
        ("SHMPIPE_RESUME", options::RESUME),
        ("SHMPIPE_NO_WAIT", options::NO_WAIT),
        ("SHMPIPE_WAIT", options::WAIT),
        ("SHMPIPE_CREATE_FILE", options::CREATE_FILE),
        ("SHMPIPE_PREFAULT", options::PREFAULT),
        ("SHMPIPE_ABORT_ON_FREE", options::ABORT_ON_FREE),
        ("SHMPIPE_TRUST_OWNER", options::TRUST_OWNER),
        ("SHMPIPE_REQUIRE_CONSUMER", options::REQUIRE_CONSUMER),
        ("SHMPIPE_NO_CONSUMER_NEEDED", options::NO_CONSUMER_NEEDED),
    ];
    for (name, flag) in known {
        assert_eq!(shifts(name), flag, "{name}");
    }
    assert_eq!(HEADER.matches(" = 1 << ").count(), known.len());
    let version = format!("#define SHMPIPE_VERSION \"{}\"", env!("CARGO_PKG_VERSION"));
    assert!(HEADER.contains(&version));
}

/// Assertions for C about each field of a struct: its place and its size here. Does not compile if a
/// field is not listed.
macro_rules! fields {
    ($of:ident, $value:expr, $name:literal, $($field:ident),*) => {{
        let $of { $($field),* } = $value;
        let mut lines = String::new();
        $(lines += &format!(
            "_Static_assert(offsetof({0}, {1}) == {2} && sizeof((({0} *)0)->{1}) == {3}, \"{1}\");\n",
            $name, stringify!($field), offset_of!($of, $field), size_of_val(&$field),
        );)*
        lines + &format!("_Static_assert(sizeof({}) == {}, \"size\");\n", $name, size_of::<$of>())
    }};
}

#[test]
fn the_structs_of_the_header_are_those_of_the_library() {
    let options = RawOptions::DEFAULT;
    let mut asserted = String::from("#include <shmpipe.h>\n");
    asserted += &fields!(
        RawOptions,
        options,
        "shmpipe_options",
        size,
        capacity,
        timeout_ns,
        flags,
        mode,
        project,
        owner,
        wait_policy,
        pace,
        spin_ns,
        batch,
        cancel
    );
    asserted += &fields!(
        RawStats,
        RawStats::default(),
        "shmpipe_stats",
        size,
        capacity,
        position,
        stream_position,
        stream_number,
        available,
        waits,
        sleeps,
        wakes,
        nonce,
        id,
        role,
        is_closed,
        is_at_end
    );
    asserted += &fields!(RawPeer, RawPeer::default(), "shmpipe_occupant", state, pid);
    assert_eq!(asserted.lines().count(), 1 + 13 + 15 + 3);
    let folder = std::env::temp_dir();
    let source = folder.join(format!("shmpipe-layout-{}.c", std::process::id()));
    std::fs::write(&source, asserted).unwrap();
    let include = concat!(env!("CARGO_MANIFEST_DIR"), "/include");
    let mut compiler = Command::new("cc");
    compiler
        .args(["-std=c11", "-fsyntax-only", "-I", include])
        .arg(&source);
    let output = compiler.output().unwrap(); // Rust links with it, so it is there
    std::fs::remove_file(&source).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
