//! The live screen, on terminals of several sizes.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

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
    top.until_it_shows(&["j, down  next ring", "Any key goes back."]);
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
    let mut second = top((12, 30), &["-f", used.to_str().unwrap()]);
    second.until_it_shows(&[&end_of(&used), "? help"]);
    second.press("d");
    second.until_it_shows(&["? y/n"]);
    second.press("y");
    // Found on a narrow screen: the message was cut before it named the process.
    let by = format!("process {} (send)", waiting.pid());
    until("all of the message is there", || {
        let screen = second.screen().replace('\n', " ");
        (screen.contains("in use by the sender,") && screen.contains(&by)).then_some(())
    });
    assert!(used.leads_to_a_segment());
}

/// The process that a shell has started.
fn child_of(shell: u32) -> Pid {
    let parent_of = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, fields) = stat.rsplit_once(')')?;
        fields.split_whitespace().nth(1)?.parse().ok()
    };
    until("the shell has a child", || {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        Pid::from_raw(pids.find(|&pid| parent_of(pid) == Some(shell))?)
    })
}

/// Found in use: SIGTSTP left the terminal to the shell without its modes and its screen.
#[test]
fn a_stop_gives_the_terminal_to_the_shell_until_that_continues_it() {
    let script = r#""$0" top -d 100ms; echo stopped; read line; fg > /dev/null; echo ended"#;
    for by in ["^Z", "SIGTSTP", "SIGSTOP"] {
        let mut shell = Terminal::shell((24, 80), script);
        shell.until_it_shows(&["q quit"]);
        let top = child_of(shell.child.id());
        match by {
            "^Z" => shell.press("\x1a"),
            "SIGTSTP" => kill_process(top, Signal::TSTP).unwrap(),
            _ => kill_process(top, Signal::STOP).unwrap(),
        }
        shell.until_it_shows(&["stopped"]);
        match by {
            "SIGSTOP" => shell.cook(), // nobody else can
            _ => assert!(shell.is_plain(), "{by}"),
        }
        shell.press("\n");
        until("it has the terminal again", || shell.is_raw().then_some(()));
        shell.until_it_shows(&["q quit"]);
        shell.press("q");
        assert!(shell.end().success());
        until("the terminal is as before", || {
            shell.is_plain().then_some(())
        });
        shell.until_it_shows(&["ended"]);
    }
}

/// A shell that has been told to ignore the stop.
#[test]
fn a_stop_that_is_ignored_changes_nothing() {
    let mut shell = Terminal::shell((24, 80), r#"trap '' TSTP; "$0" top -d 100ms"#);
    shell.until_it_shows(&["q quit"]);
    let top = child_of(shell.child.id());
    kill_process(top, Signal::TSTP).unwrap();
    shell.press("?");
    shell.until_it_shows(&["j, down  next ring"]);
    assert!(shell.is_raw());
    shell.press("qq");
    assert!(shell.end().success());
}

/// Found in use: without its terminal, it read that again and again, and saw no signal.
#[test]
fn it_ends_with_its_terminal() {
    for (trap, leader_ends) in [("", true), ("trap '' HUP; ", false)] {
        let script = format!(r#"{trap}"$0" top -d 100ms; true"#);
        let mut shell = Terminal::shell((24, 80), &script);
        shell.until_it_shows(&["q quit"]);
        let top = child_of(shell.child.id());
        let top = pidfd_open(top, PidfdFlags::empty()).unwrap();
        match leader_ends {
            true => shell.child.kill().unwrap(), // top gets SIGHUP
            false => shell.hang_up(),            // nobody gets it
        }
        until("it has ended", || {
            let mut fds = [PollFd::new(&top, PollFlags::IN)];
            let has_ended = poll(&mut fds, Some(&Timespec::default())).unwrap();
            (has_ended == 1).then_some(())
        });
    }
}

/// Found in use: a terminal of another character set got what it cannot show.
#[test]
fn a_screen_is_ascii_where_the_locale_is() {
    let path = half_full();
    let filter = path.to_str().unwrap();
    let (batch, live) = (
        ["top", "-b", "-n", "1", "-f", filter],
        ["top", "-f", filter],
    );
    for args in [&batch[..], &live, &["ls"]] {
        for (env, is_ascii) in [
            (&[("LC_ALL", "C")][..], true),
            (
                &[("LC_ALL", ""), ("LC_CTYPE", "POSIX"), ("LANG", "C.UTF-8")],
                true,
            ),
            (
                &[("LC_ALL", ""), ("LC_CTYPE", ""), ("LANG", "de_DE.utf8")],
                false,
            ),
        ] {
            let apart = Apart {
                env,
                ..Apart::default()
            };
            let mut terminal = Terminal::run((200, 60), args, apart);
            let row = until("the ring has a row, with a rate in `top`", || {
                let screen = terminal.screen();
                let mut rows = screen.lines().filter(|row| row.contains(&end_of(&path)));
                let row = rows.next_back()?.to_owned(); // the title may have the path, too
                (row.contains("50%") && (args[0] == "ls" || row.contains("/s"))).then_some(row)
            });
            let gap = if is_ascii { "+" } else { "\u{2026}" };
            assert!(row.starts_with(gap), "{row}");
            assert_eq!(row.is_ascii(), is_ascii, "{env:?} {row}");
            if args[0] == "top" {
                assert_eq!(row.contains('\u{2581}'), !is_ascii, "{row}");
            }
        }
    }
}

/// Found in use: a terminal without control sequences got some.
#[test]
fn a_dumb_terminal_gets_no_control_sequences() {
    let path = half_full();
    for env in [&[("TERM", "dumb")][..], &[("TERM", "")]] {
        let apart = || Apart {
            env,
            ..Apart::default()
        };
        let mut top = Terminal::run((24, 80), ["top"], apart());
        assert_eq!(top.end().code(), FAILURE);
        top.until_it_shows(&["has no screen (--batch prints text)"]);
        let mut list = Terminal::run((24, 80), ["ls", "--watch=50ms"], apart());
        until("there are two lists", || {
            (list.all().matches(&end_of(&path)).count() > 1).then_some(())
        });
        let args = ["recv", "-p", "-P", path.to_str().unwrap()];
        let stdout = Some(std::process::Stdio::null());
        let apart = Apart { stdout, ..apart() };
        let mut receiver = Terminal::run((24, 80), args, apart);
        receiver.until_it_shows(&["recv:   32K"]);
        for terminal in [&mut top, &mut list, &mut receiver] {
            let all = terminal.all();
            assert!(!all.contains('\x1b'), "{all:?}");
        }
        let mut sender = Running::verb("send", &path, &["-p"]);
        sender.feed_all(stream(1, 0, 32768));
        sender.end().with(DONE, "");
    }
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
    top.until_it_shows(&["^Z       stop"]);
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
        let env: &[_] = if no_colour { &[("NO_COLOR", "1")] } else { &[] };
        let apart = Apart {
            env,
            ..Apart::default()
        };
        let mut terminal = Terminal::run((24, 80), args, apart);
        terminal.until_it_shows(&["sender died"]);
        assert_eq!(terminal.has_colours(), !no_colour, "{args:?}");
    }
    let ended = Running::new(["ls"]).end().with(DONE, "");
    assert!(!ended.text().contains('\x1b'), "{}", ended.text());
}
