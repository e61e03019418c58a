//! Two commands joined by a ring.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{TempPath, check, stream, unique};
use crate::running::{DONE, Running, USAGE, until};

fn run(args: &[&str]) -> Running {
    Running::new([&["run"], args].concat())
}

#[test]
fn bytes_go_from_one_command_to_the_other() {
    let seed = unique();
    for capacity in ["4K", "1M"] {
        let mut joined = run(&["-c", capacity, "--", "cat", "--", "cat"]);
        joined.feed_all(stream(seed, 0, 3_000_001));
        let got = joined.end().with(DONE, "").stdout;
        assert_eq!(got.len(), 3_000_001);
        check(seed, 0, &got);
    }
}

/// As with `set -o pipefail`.
#[test]
fn the_status_is_that_of_the_last_that_failed() {
    for (args, status, words) in [
        (&["--", "true", "--", "true"][..], 0, ""),
        (&["--", "true", "--", "sh", "-c", "exit 3"], 3, ""),
        (
            &["--", "sh", "-c", "exit 4", "--", "cat"],
            4,
            "the writer failed",
        ),
        (
            &["--", "sh", "-c", "kill -9 $$", "--", "cat"],
            137,
            "SIGKILL",
        ),
        (&["--", "true", "--", "sh", "-c", "kill -9 $$"], 137, ""),
        (
            &["--", "no such command", "--", "cat"],
            127,
            "no such command",
        ),
        (
            &["--", "cat", "--", "no such command"],
            127,
            "no such command",
        ),
        (&["--", "true", "--", "/"], 126, "/"),
        (&["--", "yes", "--", "head", "-c", "1"], 141, ""),
    ] {
        let ended = run(args).end();
        assert_eq!(
            ended.status.code(),
            Some(status),
            "{args:?}: {}",
            ended.stderr
        );
        let lines = ended.stderr.lines().count();
        assert_eq!(
            lines,
            usize::from(!words.is_empty()),
            "{args:?}: {}",
            ended.stderr
        );
        assert!(ended.stderr.contains(words), "{args:?}: {}", ended.stderr);
    }
    for args in [
        &["--", "cat"][..],
        &["cat", "--", "cat"],
        &["--", "--", "cat"],
        &["--", "cat", "--"],
        &[],
    ] {
        run(args).end().with(USAGE, "");
    }
}

/// A shell's pipe would end the reader's stdin, and the reader would take what came for whole.
#[test]
fn a_reader_never_takes_a_broken_stream_for_whole() {
    let mark = TempPath::new();
    let whole = format!("cat > /dev/null; echo whole > {}", mark.display());
    // The reader by itself, and one that a shell has started.
    let by_shell = format!("( {whole} ); true");
    for reader in [&whole, &by_shell] {
        let joined = run(&[
            "--",
            "sh",
            "-c",
            "echo part; exit 9",
            "--",
            "sh",
            "-c",
            reader,
        ]);
        assert_eq!(joined.end().status.code(), Some(9));
        assert_eq!(fs::read(&mark).unwrap(), b"");
    }
    run(&["--", "echo", "all", "--", "sh", "-c", &whole])
        .end()
        .with(DONE, "");
    assert_eq!(fs::read(&mark).unwrap(), b"whole\n");
}

#[test]
fn a_reader_that_ignores_sigterm_is_killed() {
    let (mark, ready) = (TempPath::new(), TempPath::new());
    let stubborn = format!(
        "trap '' TERM; echo > {}; cat > /dev/null; echo whole > {}",
        ready.display(),
        mark.display()
    );
    // The writer fails once the reader ignores the signal.
    let fails = format!(
        "until [ -s {} ]; do sleep 0.02; done; exit 1",
        ready.display()
    );
    let start = Instant::now();
    let joined = run(&["--", "sh", "-c", &fails, "--", "sh", "-c", &stubborn]);
    assert_eq!(joined.end().status.code(), Some(1));
    assert!(start.elapsed() > Duration::from_secs(4)); // it got its time
    assert_eq!(fs::read(&mark).unwrap(), b"");
}

/// Both commands get the signal, and nothing is left of them or the ring.
#[test]
fn a_signal_goes_to_both() {
    for signal in [
        Signal::TERM,
        Signal::HUP,
        Signal::INT,
        Signal::QUIT,
        Signal::USR1,
    ] {
        let (one, two) = (TempPath::new(), TempPath::new());
        let script = |path: &TempPath| {
            let path = path.display();
            let trap = format!("trap 'echo told > {path}; exit 0' TERM HUP INT QUIT USR1");
            format!("{trap}; echo ready > {path}; while :; do sleep 0.05; done")
        };
        let joined = run(&[
            "--",
            "sh",
            "-c",
            &script(&one),
            "--",
            "sh",
            "-c",
            &script(&two),
        ]);
        until("both have their traps", || {
            let are_ready = [&one, &two].map(|path| fs::read(path).unwrap() == b"ready\n");
            are_ready.iter().all(|ready| *ready).then_some(())
        });
        joined.signal(signal);
        let status = joined.end().status;
        assert_eq!(status.signal(), Some(signal.as_raw()));
        for path in [&one, &two] {
            assert_eq!(fs::read(path).unwrap(), b"told\n");
        }
    }
}

/// The reader's end is noticed, and the writer gets SIGPIPE.
#[test]
fn a_writer_does_not_outlive_its_reader() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shmpipe"));
    command.args([
        "run",
        "--",
        "sh",
        "-c",
        "echo $$ >&2; exec yes",
        "--",
        "head",
        "-n",
        "1",
    ]);
    let ended = command.stdin(Stdio::null()).output().unwrap();
    assert_eq!(ended.stdout, b"y\n");
    let pid: i32 = String::from_utf8(ended.stderr)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let gone = kill_process(Pid::from_raw(pid).unwrap(), Signal::CONT);
    assert_eq!(gone, Err(rustix::io::Errno::SRCH));
}
