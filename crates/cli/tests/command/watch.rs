//! Looking again and again: `--watch`.

use std::io::{BufRead, BufReader};

use serde_json::Value;

use crate::common::TempPath;
use crate::look::{idle, of_id};
use crate::running::{Running, USAGE};
use crate::terminal::{Apart, Terminal};

/// Again and again: lines of JSON for a program, and one screen for people.
#[test]
fn a_watch_goes_on() {
    let path = TempPath::new();
    let (mut sender, _receiver, ring) = idle(&path);
    let id = ring.to_string();
    for args in [
        &["ls", "--json", "--watch=100ms"][..],
        &["stat", "--id", &id, "--json", "--watch=100ms"],
    ] {
        let mut watching = Running::unread(args);
        let lines = BufReader::new(watching.child.stdout.take().unwrap()).lines();
        let looks = lines
            .take(3)
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap());
        let looks: Vec<Value> = looks.collect();
        assert!(looks.iter().all(|look| of_id(look, ring)["fill"] == 0));
        assert!(of_id(&looks[2], ring)["rate"].is_number(), "{}", looks[2]);
        // Nobody reads on.
        watching.end().of_sigpipe();
    }
    let apart = Apart::default();
    let args = ["stat", "--id", &id, "--watch=100ms"];
    let mut screen = Terminal::run((30, 80), args, apart);
    screen.until_it_shows(&["total:       5 (5)", "bottleneck:"]);
    sender.feed(b"67890");
    let shown = screen.until_it_shows(&["total:       10 (10)", "bottleneck:"]);
    assert!(shown.starts_with("path:"), "{shown}");
    Running::new(["ls", "--watch=1ms"])
        .end()
        .with(USAGE, "at least 50ms");
}

/// Found in use: the screens ran into each other.
#[test]
fn a_watch_as_text_has_a_blank_line_between_two_looks() {
    let mut watching = Running::unread(["ls", "--watch=50ms"]);
    let lines = BufReader::new(watching.child.stdout.take().unwrap()).lines();
    let mut lines = lines.map(|line| line.unwrap());
    let mut before = lines.next().unwrap();
    assert!(before.starts_with("PATH "), "{before}");
    let second = lines.find(|line| {
        let is_head = line.starts_with("PATH ");
        if !is_head {
            before.clone_from(line);
        }
        is_head
    });
    assert_eq!((before.as_str(), second.is_some()), ("", true));
}

/// Found in use: on a terminal that does not tell its size, a watch showed one line.
#[test]
fn a_watch_shows_all_where_the_size_is_unknown() {
    let apart = Apart::default();
    let args = ["ls", "--watch=50ms"];
    let mut screen = Terminal::run((200, 80), args, apart);
    screen.until_it_shows(&["PATH"]);
    screen.forget_size();
    let path = TempPath::new();
    let (_sender, _receiver, _) = idle(&path);
    let name = path.to_str().unwrap();
    screen.until_it_shows(&[&name[name.len() - 5..]]);
}
