//! The live screen, on terminals of several sizes.

use std::os::unix::process::ExitStatusExt;

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{TempPath, stream};
use crate::running::{DONE, ENDING, FAILURE, Running, USAGE, until};
use crate::terminal::{Apart, Terminal};

fn top(size: (u16, u16), args: &[&str]) -> Terminal {
    Terminal::run(
        size,
        [&["top", "-d", "100ms"], args].concat(),
        Apart::default(),
    )
}

/// The last letters of a path, which a narrow screen still shows.
fn end_of(path: &TempPath) -> String {
    let path = path.to_str().unwrap();
    path[path.len() - 5..].to_owned()
}

/// A persistent ring with half a ring of bytes.
fn half_full() -> TempPath {
    let path = TempPath::new();
    let mut sender = Running::verb("send", &path, &["-p", "-c", "64K"]);
    sender.feed_all(stream(1, 0, 32768));
    sender.end().with(DONE, "");
    path
}

#[test]
fn a_screen_shows_rings_and_follows_its_size() {
    let path = half_full();
    let mut top = top((24, 80), &["-f", path.to_str().unwrap()]);
    let words = [
        "1 of ",
        "PATH",
        "FROM > TO",
        &end_of(&path),
        "kept",
        "[##..]  50%",
        "0/s",
        "▁",
    ];
    let screen = top.until_it_shows(&words);
    assert!(
        screen.lines().last().unwrap().starts_with("q quit"),
        "{screen}"
    );
    assert!(top.is_alternate());
    // A narrow screen leaves columns out, and a tiny one shows what it can.
    top.resize(6, 40);
    until("it has drawn anew", || {
        let screen = top.screen();
        let fits = screen.contains("50%") && !screen.contains("FROM");
        (fits && screen.contains("q quit")).then_some(())
    });
    for (rows, columns) in [(1, 1), (2, 3), (3, 200)] {
        top.resize(rows, columns);
    }
    top.resize(24, 80);
    top.until_it_shows(&words);
    top.press("?");
    top.until_it_shows(&["j, down   next ring", "Any key goes back."]);
    top.press("x");
    top.until_it_shows(&["kept"]);
    top.press("s");
    top.until_it_shows(&["by path"]);
    top.press("q");
    assert!(top.end().success());
    until("the terminal is as before", || top.is_plain().then_some(()));
}

#[test]
fn what_is_typed_filters() {
    let (one, two) = (half_full(), half_full());
    let mut top = top((24, 80), &[]);
    top.until_it_shows(&[&end_of(&one), &end_of(&two)]);
    top.press("/");
    top.press(&end_of(&one));
    until("one is left", || {
        let screen = top.screen();
        (screen.contains(&end_of(&one)) && !screen.contains(&end_of(&two))).then_some(())
    });
    top.press("\r");
    top.until_it_shows(&["q quit", &format!("filter \"{}\"", end_of(&one))]);
    top.press("\x03"); // ^C
    assert!(top.end().success());
}

/// Its only act. Nothing goes without a `y`, and nothing that is in use.
#[test]
fn a_ring_is_removed_after_a_question() {
    let path = half_full();
    let mut first = top((24, 80), &["-f", path.to_str().unwrap()]);
    first.until_it_shows(&["kept"]);
    for (keys, words) in [
        ("d", "? y/n"),
        ("n", "q quit"),
        ("d", "? y/n"),
        ("\x1b", "q quit"),
    ] {
        first.press(keys);
        first.until_it_shows(&[words]);
        assert!(path.leads_to_a_segment());
    }
    first.press("d");
    first.until_it_shows(&["? y/n"]);
    first.press("y");
    first.until_it_shows(&["removed segment"]);
    assert!(!path.leads_to_a_segment());
    first.press("q");
    assert!(first.end().success());

    let used = TempPath::new();
    let waiting = Running::verb("send", &used, &["-p"]);
    waiting.ring();
    let mut second = top((24, 120), &["-f", used.to_str().unwrap()]);
    second.until_it_shows(&["no receiver"]);
    second.press("d");
    second.until_it_shows(&["? y/n"]);
    second.press("y");
    second.until_it_shows(&["in use by the sender"]);
    assert!(used.leads_to_a_segment());
}

#[test]
fn signals_give_the_terminal_back() {
    for signal in ENDING {
        let mut top = top((24, 80), &[]);
        top.until_it_shows(&["q quit"]);
        kill_process(Pid::from_child(&top.child), signal).unwrap();
        assert_eq!(top.end().signal(), Some(signal.as_raw()));
        until("the terminal is as before", || top.is_plain().then_some(()));
        assert_eq!(top.screen(), "");
    }
    // A process without a shell that could continue it is not stopped, and goes on.
    let mut top = top((24, 80), &[]);
    top.until_it_shows(&["q quit"]);
    top.press("\x1a?"); // ^Z
    top.until_it_shows(&["^Z        suspend"]);
    assert!(top.is_alternate());
}

#[test]
fn a_batch_is_text() {
    let path = half_full();
    let filter = path.to_str().unwrap();
    let args = ["top", "-b", "-n", "2", "-d", "100ms", "-f", filter];
    let ended = Running::new(args).end().with(DONE, "");
    let lines: Vec<&str> = ended.text().lines().collect();
    assert_eq!(lines.len(), 7, "{}", ended.text()); // two screens, and a blank line
    assert!(lines[0].contains(", by rate, filter") && lines[1].starts_with("PATH"));
    assert!(
        lines[2].contains("kept") && lines[2].contains("0/s"),
        "{}",
        lines[2]
    );
    Running::new(["top"])
        .end()
        .with(FAILURE, "must be a terminal");
    Running::new(["top", "-d", "1ms"])
        .end()
        .with(USAGE, "at least 50ms");
    Running::new(["top", "-b", "-n", "0"]).end().with(USAGE, "");
    let ended = top((24, 80), &["-n", "2"]).end();
    assert!(ended.success());
}

#[test]
fn colours_come_only_where_they_are_wanted() {
    let path = TempPath::new();
    let waiting = Running::verb("send", &path, &["-p"]);
    waiting.ring();
    waiting.signal(Signal::KILL);
    drop(waiting);
    let filter = path.to_str().unwrap();
    let top = ["top", "-f", filter];
    for (args, no_colour) in [
        (&top[..], false),
        (&top, true),
        (&["ls"], false),
        (&["ls"], true),
    ] {
        let apart = Apart {
            no_colour,
            ..Apart::default()
        };
        let mut terminal = Terminal::run((24, 80), args, apart);
        terminal.until_it_shows(&["sender died"]);
        assert_eq!(terminal.has_colours(), !no_colour, "{args:?}");
    }
    let ended = Running::new(["ls"]).end().with(DONE, "");
    assert!(!ended.text().contains('\x1b'), "{}", ended.text());
}
