//! The header against the code: numbers, names and layouts.

use std::collections::BTreeMap;
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

/// A type of C, with the name of what it belongs to or without. Written as stars for a pointer, and
/// otherwise by Rust's name.
fn type_of_c(declared: &str) -> String {
    let stars = declared.matches(['*', '[']).count();
    match declared.replace("const ", "").split_whitespace().next() {
        _ if stars > 0 => "*".repeat(stars),
        Some("int" | "int32_t") => "i32".into(),
        Some("int64_t") => "i64".into(),
        Some("uint32_t") => "u32".into(),
        Some("uint64_t") => "u64".into(),
        Some("size_t") => "usize".into(),
        Some("void") => String::new(),
        _ => panic!("{declared}"),
    }
}

/// The same of a type of Rust.
fn type_of_rust(declared: &str) -> String {
    let declared = declared.split_once(": ").map_or(declared, |(_, kind)| kind);
    match declared.matches('*').count() {
        0 => declared.replace("c_int", "i32"),
        stars => "*".repeat(stars),
    }
}

/// The result and the parameters of each function of the header.
fn functions_of_the_header() -> BTreeMap<String, Vec<String>> {
    let code = HEADER
        .split("*/")
        .map(|part| part.split("/*").next().unwrap());
    let code = code.collect::<String>().replace("\\\n", "");
    let code = code.lines().filter(|line| !line.starts_with('#'));
    let code = code.collect::<Vec<_>>().join(" ");
    let mut found = BTreeMap::new();
    for statement in code.split(';') {
        let Some((head, parameters)) = statement.split_once('(') else {
            continue; // a type
        };
        let name = head.rsplit([' ', '*']).next().unwrap();
        let result = head.strip_suffix(name).unwrap();
        let result = result.rsplit('{').next().unwrap(); // behind `extern "C" {`
        let parameters = parameters.trim_end().strip_suffix(')').unwrap();
        let kinds = [result].into_iter().chain(parameters.split(','));
        let kinds = kinds.map(|kind| type_of_c(kind.trim()));
        found.insert(name.to_owned(), kinds.collect());
    }
    found
}

/// The same of the functions that this library exports.
fn functions_of_the_library() -> BTreeMap<String, Vec<String>> {
    let sources = [
        include_str!("abi/leaving.rs"),
        include_str!("abi/moving.rs"),
        include_str!("abi/opening.rs"),
        include_str!("abi/saying.rs"),
    ];
    let mut found = BTreeMap::new();
    for source in sources {
        for declared in source.split("extern \"C\" fn ").skip(1) {
            let (name, rest) = declared.split_once('(').unwrap();
            let (parameters, rest) = rest.split_once(')').unwrap();
            let (result, _) = rest.split_once('{').unwrap();
            let result = result.trim().trim_start_matches("-> ");
            let parameters = parameters.trim().trim_end_matches(',');
            let kinds = [result].into_iter().chain(parameters.split(','));
            let kinds = kinds.map(|kind| type_of_rust(kind.trim()));
            found.insert(name.to_owned(), kinds.collect());
        }
    }
    found
}

#[test]
fn the_functions_of_the_header_have_the_types_of_the_library() {
    let (header, library) = (functions_of_the_header(), functions_of_the_library());
    assert!(header.len() > 25, "{header:?}");
    assert_eq!(header, library);
}
