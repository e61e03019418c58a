//! What a stream shows of its progress, on a terminal and elsewhere.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::process::Stdio;

use crate::common::{TempPath, not_run, stream};
use crate::running::{DONE, Running, USAGE, until, until_read};
use crate::terminal::{Apart, Terminal};

fn recv_on(size: (u16, u16), path: &TempPath) -> Terminal {
    let args = [OsStr::new("recv"), path.as_ref()];
    let stdout = Some(Stdio::null());
    Terminal::run(
        size,
        args,
        Apart {
            stdout,
            ..Apart::default()
        },
    )
}

#[test]
fn a_terminal_shows_that_a_sender_is_waited_for_and_then_the_stream() {
    for (size, words) in [
        ((24, 80), &["recv:", "5 ", "/s", "ring   0% ["][..]),
        ((24, 40), &["recv:", "/s", "ring   0%"]),
    ] {
        let path = TempPath::new();
        let mut terminal = recv_on(size, &path);
        terminal.until_it_shows(&["recv: waiting for a sender"]);
        let mut sender = Running::verb("send", &path, &[]);
        sender.feed(b"12345");
        let screen = terminal.until_it_shows(words);
        assert_eq!(screen.lines().count(), 1, "{screen}");
        drop(sender.stdin());
        assert!(terminal.end().success());
        sender.end().with(DONE, "");
        terminal.until_it_shows(&["recv:     5  0:0"]);
    }
}

/// With the size of stdin, what is left is known.
#[test]
fn a_file_has_a_bar_and_a_time() {
    let (path, file) = (TempPath::new(), TempPath::new());
    fs::write(&file, stream(1, 0, 4 << 20)).unwrap();
    let receiver = Running::unread(["recv".as_ref(), path.as_os_str()]);
    let args = [
        OsStr::new("send"),
        path.as_ref(),
        "-c".as_ref(),
        "64K".as_ref(),
    ];
    let stdin = Some(File::open(&*file).unwrap().into());
    let mut terminal = Terminal::run(
        (24, 80),
        args,
        Apart {
            stdin,
            ..Apart::default()
        },
    );
    terminal.until_it_shows(&["send:", "%", "ring 100%", "[###", "..]"]);
    let mut receiver = receiver;
    receiver.stdout = receiver.child.stdout.take().map(crate::running::collect);
    assert!(terminal.end().success());
    terminal.until_it_shows(&["send:    4M", "100%"]);
    receiver.end().with(DONE, "");
}

/// The line follows the terminal's width, and ^C goes through the terminal.
#[test]
fn a_line_follows_the_width_and_an_interrupt_ends_it() {
    use std::os::unix::process::ExitStatusExt;
    let path = TempPath::new();
    let mut terminal = recv_on((24, 80), &path);
    let mut sender = Running::verb("send", &path, &[]);
    sender.feed(b"12345");
    terminal.until_it_shows(&["recv:     5", "ring   0% ["]);
    terminal.resize(24, 40);
    until("the line is short", || {
        let screen = terminal.screen();
        (screen.contains("ring   0%") && !screen.contains('[')).then_some(())
    });
    terminal.press("\x03");
    assert_eq!(terminal.end().signal(), Some(libc::SIGINT));
    terminal.until_it_shows(&["ring   0%^C\nshmpipe: interrupted"]);
    sender.end().with(Some(6), "consumer has closed");
}

/// A message has a line of its own.
#[test]
fn a_message_comes_below_the_line() {
    let path = TempPath::new();
    let mut terminal = recv_on((24, 80), &path);
    terminal.until_it_shows(&["recv: waiting for a sender"]);
    let mut sender = Running::verb("send", &path, &[]);
    sender.feed(b"12345");
    terminal.until_it_shows(&["/s"]);
    drop(sender);
    assert_eq!(terminal.end().code(), Some(3));
    let screen = terminal.until_it_shows(&["the producer died"]);
    let lines: Vec<&str> = screen.lines().collect();
    assert!(lines[0].starts_with("recv:     5"), "{screen}");
    assert!(lines[1].starts_with("shmpipe: "), "{screen}");
}

#[test]
fn quiet_shows_nothing_and_so_does_a_screen_with_the_stream() {
    let path = TempPath::new();
    let args = [OsStr::new("recv"), path.as_ref(), "-q".as_ref()];
    let stdout = Some(Stdio::null());
    let mut quiet = Terminal::run(
        (24, 80),
        args,
        Apart {
            stdout,
            ..Apart::default()
        },
    );
    let mut sender = Running::verb("send", &path, &[]);
    sender.feed_all(b"12345".to_vec());
    assert!(quiet.end().success());
    sender.end().with(DONE, "");
    assert_eq!(quiet.screen(), "");

    let path = TempPath::new();
    let mut seen = Terminal::run((24, 80), args_of(&path), Apart::default());
    let mut sender = Running::verb("send", &path, &[]);
    sender.feed_all(b"the stream\n".to_vec());
    assert!(seen.end().success());
    let screen = seen.until_it_shows(&["the stream"]);
    assert_eq!(screen, "the stream");
}

fn args_of(path: &TempPath) -> [&OsStr; 2] {
    [OsStr::new("recv"), path.as_ref()]
}

/// Elsewhere than on a terminal nothing is shown, unless it is asked for.
#[test]
fn progress_and_numbers_go_anywhere() {
    for (option, is_right) in [
        (
            "--progress",
            (|said: &str| said.contains("\rrecv:     5")) as fn(&str) -> bool,
        ),
        ("-n", |said| {
            said.lines().all(|line| line.split(' ').count() == 4)
        }),
        ("-q", str::is_empty),
    ] {
        let path = TempPath::new();
        let receiver = Running::verb("recv", &path, &[option]);
        let mut sender = Running::verb("send", &path, &[]);
        sender.feed_all(b"12345".to_vec());
        sender.end().with(DONE, "");
        let ended = receiver.end();
        assert_eq!(ended.status.code(), DONE);
        assert!(is_right(&ended.stderr), "{option}: {:?}", ended.stderr);
        if option == "-n" {
            let last = ended.stderr.lines().last().unwrap();
            assert_eq!(last.split(' ').nth(1), Some("5"), "{last}");
        }
    }
    let path = TempPath::new();
    Running::verb("recv", &path, &["-q", "-n"])
        .end()
        .with(USAGE, "cannot be used");
}

/// While the ring is full, the numbers go on, and so does a limit.
#[test]
fn numbers_go_on_while_the_ring_is_full() {
    let path = TempPath::new();
    let receiver = Running::unread(["recv".as_ref(), path.as_os_str()]);
    let options = ["-n", "-c", "4K", "-t", "3s"];
    let mut sender = Running::verb("send", &path, &options);
    sender.feed_all(vec![7; 4 << 20]);
    let ended = sender.end();
    assert_eq!(ended.status.code(), Some(5), "{}", ended.stderr);
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert!(lines.len() >= 3, "{lines:?}");
    assert!(lines[1].ends_with(" 0 100"), "{lines:?}"); // no rate, and a full ring
    assert!(
        lines.last().unwrap().contains("no room for a byte"),
        "{lines:?}"
    );
    drop(receiver);
}

/// The next sender of a named ring is the next stream.
#[test]
fn follow_takes_one_sender_after_the_other() {
    let path = TempPath::new();
    let options = ["--follow", "-t", "20s"].map(OsStr::new);
    let mut receiver = Running::unread([OsStr::new("recv"), path.as_ref()].iter().chain(&options));
    let mut stdout = receiver.child.stdout.take().unwrap();
    for text in ["one ", "two ", "three"] {
        let mut sender = Running::verb("send", &path, &[]);
        sender.feed_all(text.into());
        sender.end().with(DONE, "");
        // The sender may end first: the receiver then still waits for this one.
        let mut bytes = vec![0; text.len()];
        stdout.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, text.as_bytes());
    }
    until("it waits for the next", || {
        crate::common::is_waited_for(&path).then_some(())
    });
    receiver.signal(rustix::process::Signal::TERM);
    receiver.end().by(rustix::process::Signal::TERM);
    assert_eq!(stdout.read(&mut [0]).unwrap(), 0);
    assert!(!path.leads_to_a_segment());
}

#[test]
fn a_persistent_ring_can_wait_for_the_peer() {
    let path = TempPath::new();
    let mut sender = Running::verb("send", &path, &["-p", "--wait-for-peer"]);
    sender.feed(b"12345");
    let ring = sender.ring();
    sender.task().until_asleep();
    assert_eq!(shmpipe::Snapshot::of(ring).unwrap().written, 0);
    let receiver = Running::verb("recv", &path, &["-p"]);
    until_read(ring, 5);
    drop(sender.stdin());
    sender.end().with(DONE, "");
    assert_eq!(receiver.end().with(DONE, "").text(), "12345");
    let alone = Running::verb("recv", &path, &["-p", "-w", "-t", "100ms"]).end();
    alone.with(Some(5), "timed out");
    Running::verb("recv", &path, &["-w"])
        .end()
        .with(USAGE, "--persist");
}

#[test]
fn a_mode_is_that_of_the_ring_and_of_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let path = TempPath::new();
    fs::remove_file(&path).unwrap();
    let sender = Running::verb("send", &path, &["-m", "660", "-p"]);
    let stat = shmpipe::sysv::stat(sender.ring()).unwrap();
    assert_eq!(stat.mode.bits(), 0o660);
    let file = fs::metadata(&path).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o660);
    // Another mode is not widened.
    Running::verb("recv", &path, &["-p"])
        .end()
        .with(Some(1), "0660");
    for wrong in ["17", "rw", "1777"] {
        Running::verb("recv", &path, &["-m", wrong])
            .end()
            .with(USAGE, "octal");
    }
    Running::verb("recv", &path, &["-o", "no such user"])
        .end()
        .with(USAGE, "no such user");
}

/// Two users of one group.
#[test]
fn two_users_use_a_ring_together() {
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    if !rustix::process::geteuid().is_root() {
        return not_run("needs root");
    }
    let (alice, bob, group) = ("54321", "54322", 54320);
    let folder = TempPath::new();
    fs::remove_file(&folder).unwrap();
    fs::create_dir(&*folder).unwrap();
    std::os::unix::fs::chown(&*folder, Some(54321), Some(group)).unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&*folder, fs::Permissions::from_mode(0o750)).unwrap();
    let binary = folder.join("shmpipe");
    fs::copy(env!("CARGO_BIN_EXE_shmpipe"), &binary).unwrap();
    let ring = folder.join("ring");
    let start = |verb: &str, own: &str, other: &str| {
        let mut command = Command::new(&binary);
        command
            .arg(verb)
            .arg(&ring)
            .args(["-m", "660", "-o", other]);
        command.uid(own.parse().unwrap()).gid(group);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.spawn().unwrap()
    };
    let mut sender = start("send", alice, bob);
    until("the sender waits", || {
        crate::common::is_waited_for(&ring).then_some(())
    });
    let receiver = start("recv", bob, alice);
    sender
        .stdin
        .take()
        .unwrap()
        .write_all(b"between users")
        .unwrap();
    let received = receiver.wait_with_output().unwrap();
    assert!(sender.wait().unwrap().success());
    assert_eq!(received.stdout, b"between users");
    fs::remove_dir_all(&*folder).unwrap();
}
