//! The page on the command is held against the command.

use std::fs;
use std::process::Command;

#[test]
fn the_exit_codes_are_those_of_the_help() {
    let help = Command::new(env!("CARGO_BIN_EXE_shmpipe"))
        .arg("--help")
        .output();
    let help = String::from_utf8(help.unwrap().stdout).unwrap();
    let (_, codes) = help.split_once("Exit codes:\n").unwrap();
    let codes = codes.lines().map_while(|line| line.strip_prefix("  "));
    let expected: Vec<String> = codes
        .map(|line| {
            let (code, meaning) = line.split_once("  ").unwrap();
            format!("| {code} | {meaning} |")
        })
        .collect();
    assert!(expected.len() > 5, "{expected:?}");
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../src/guide/command.md");
    let page = fs::read_to_string(page).unwrap();
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit());
    assert_eq!(rows.collect::<Vec<_>>(), expected);
}
