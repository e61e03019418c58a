//! Signals in all states of a pair, and to all verbs that wait.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use shmpipe::{Occupant, Snapshot};

use crate::common::{TempPath, is_locked, is_waited_for, options};
use crate::running::{
    DONE, ENDING, Ended, PEER_DIED, RECEIVER_LEFT, Running, SENDER_BROKE_OFF, collect, is_full,
    is_gone, until, until_stuck,
};
use crate::terminal::{Apart, Terminal};

/// The signals after which `send` and `recv` clean up.
const CAUGHT: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];

/// Some signals would leave a core file.
fn without_core_files() {
    let limits = getrlimit(Resource::Core);
    let none = Rlimit {
        current: Some(0),
        ..limits
    };
    setrlimit(Resource::Core, none).unwrap();
}

/// Sends SIGPIPE, which is ignored, and then `signal`. Returns how the command died of the latter.
#[track_caller]
fn death(waiting: Running, signal: Signal) -> Ended {
    without_core_files();
    waiting.signal(Signal::PIPE);
    waiting.signal(signal);
    let ended = waiting.end();
    let died_of = ended.status.signal();
    assert_eq!(
        died_of,
        Some(signal.as_raw()),
        "{signal:?} {}",
        ended.stderr
    );
    ended
}

/// No lock of `path` is held, and nobody waits there. A child that another test has forked, and that
/// has not called exec yet, has what is open here for a moment.
fn is_free(path: &TempPath) {
    until("the path is free", || {
        (!is_locked(path) && !is_waited_for(path)).then_some(())
    });
}

/// Each signal that ends a process, in each state of a pair: nothing stays, and the peer fails.
#[test]
fn no_signal_leaves_a_ring_or_a_stream_that_looks_whole() {
    without_core_files();
    for signal in [&ENDING[..], &[Signal::PIPE, Signal::ABORT, Signal::KILL]].concat() {
        for (at_sender, is_busy) in [(true, false), (true, true), (false, false), (false, true)] {
            let path = TempPath::new();
            let receiver = Running::unread(["recv".as_ref(), path.as_os_str()]);
            let mut sender = Running::verb("send", &path, &["--capacity", "4KiB"]);
            let ring = sender.paired();
            if is_busy {
                sender.feed_all(vec![7; 4 << 20]);
                until_stuck(ring, &sender, &receiver);
            }
            let it = if at_sender { &sender } else { &receiver };
            it.signal(signal);
            let (mut it, mut peer) = match at_sender {
                true => (sender, receiver),
                false => (receiver, sender),
            };
            let ignored = signal == Signal::PIPE; // as by each program of std
            if ignored {
                thread::sleep(Duration::from_millis(300));
                assert!(it.child.try_wait().unwrap().is_none());
                continue;
            }
            peer.stdout = peer.child.stdout.take().map(collect);
            it.stdout = it.child.stdout.take().map(collect);
            assert_eq!(it.end().status.signal(), Some(signal.as_raw()));
            let code = peer.end().status.code();
            let told = CAUGHT.contains(&signal);
            let expected = match (told, at_sender) {
                (true, true) => SENDER_BROKE_OFF,
                (true, false) => RECEIVER_LEFT,
                (false, _) => PEER_DIED,
            };
            assert_eq!(code, expected, "{signal:?} {at_sender} {is_busy}");
            is_gone(ring, &path);
        }
    }
}

#[test]
fn a_signal_ends_a_wait_for_the_peer_and_nothing_stays() {
    for (verb, options) in [
        ("send", &[][..]),
        ("recv", &[]),
        ("recv", &["--follow"]),
        ("send", &["--framed"]),
        ("recv", &["--framed"]),
    ] {
        for signal in CAUGHT {
            let path = TempPath::new();
            let waiting = Running::verb(verb, &path, options);
            let ring = waiting.ring();
            waiting.task().until_asleep();
            let ended = death(waiting, signal);
            assert_eq!(ended.stderr, "shmpipe: interrupted\n", "{verb} {signal:?}");
            is_gone(ring, &path);
            is_free(&path);
        }
    }
}

/// The ring stays with what was sent, and is nobody's.
#[test]
fn a_signal_ends_a_wait_at_a_persistent_ring_and_loses_nothing() {
    for (verb, options, fill) in [
        ("send", &["-p", "-c", "4K"][..], 4096),
        ("send", &["-p", "-w"], 0),
        ("recv", &["-p"], 0),
        ("recv", &["-p", "-f"], 0),
    ] {
        for signal in CAUGHT {
            let path = TempPath::new();
            let mut waiting = Running::verb(verb, &path, options);
            let ring = waiting.ring();
            if fill > 0 {
                waiting.feed_all(vec![7; 1 << 20]);
                until("the ring is full", || is_full(ring).then_some(()));
            }
            waiting.task().until_asleep();
            let ended = death(waiting, signal);
            assert_eq!(ended.stderr, "shmpipe: interrupted\n", "{verb} {signal:?}");
            let ring = Snapshot::of(ring).unwrap();
            assert_eq!(ring.fill, fill, "{verb} {options:?} {signal:?}");
            for side in [ring.producer, ring.consumer] {
                assert!(
                    matches!(side, Occupant::Nobody | Occupant::Left),
                    "{verb} {options:?} {signal:?}: {side:?}"
                );
            }
            is_free(&path);
            let removed = Running::verb("rm", &path, &[]).end();
            removed.with(DONE, "");
        }
    }
}

/// Whether `it` has opened the file of `path`, which comes after it catches signals.
fn has_opened(it: &Running, path: &TempPath) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{}/fd", it.pid())) else {
        return false;
    };
    let mut descriptors = descriptors.flatten();
    descriptors.any(|entry| fs::read_link(entry.path()).is_ok_and(|to| to == **path))
}

/// `rm`, too, which waits for a limited time.
#[test]
fn a_signal_ends_a_wait_for_the_lock_of_a_path() {
    for (verb, signals, says) in [
        ("send", &CAUGHT[..], "shmpipe: interrupted\n"),
        ("recv", &CAUGHT, "shmpipe: interrupted\n"),
        ("rm", &ENDING, ""),
    ] {
        for &signal in signals {
            let path = TempPath::new();
            drop(options().persistent(true).open_producer(&path).unwrap());
            let lock = File::open(&path).unwrap();
            lock.lock().unwrap();
            let waiting = Running::verb(verb, &path, &[]);
            until("it waits for the lock", || {
                has_opened(&waiting, &path).then_some(())
            });
            assert_eq!(death(waiting, signal).stderr, says, "{verb} {signal:?}");
            drop(lock);
            is_free(&path);
            let removed = Running::verb("rm", &path, &[]).end();
            removed.with(DONE, "");
        }
    }
}

#[test]
fn a_signal_ends_looking_again_and_again() {
    let path = TempPath::new();
    let sender = Running::verb("send", &path, &["-p"]);
    sender.ring();
    let path_of = path.to_str().unwrap();
    for args in [
        &["ls", "--watch=100ms"][..],
        &["ls", "--json", "--watch=50ms"],
        &["stat", path_of, "--watch=100ms"],
        &["top", "-b", "-d", "100ms"],
    ] {
        for signal in ENDING {
            let mut looking = Running::unread(args);
            let mut stdout = BufReader::new(looking.child.stdout.take().unwrap());
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            assert_eq!(death(looking, signal).stderr, "", "{args:?} {signal:?}");
        }
    }
    for signal in ENDING {
        let looking = Running::verb("stat", &path, &[]);
        looking.task().until_asleep(); // between two looks
        assert_eq!(death(looking, signal).stderr, "", "{signal:?}");
    }
    let ring = options().snapshot(&path).unwrap();
    assert_eq!(ring.producer, Occupant::Process(sender.pid()));
}

/// Neither a child, nor a ring, nor a file.
#[test]
fn a_signal_ends_a_demo_and_a_bench_and_nothing_stays() {
    for signal in ENDING {
        let demo = Running::new(["demo", "--bytes", "1TiB"]);
        let ring = demo.paired();
        assert_eq!(death(demo, signal).stderr, "", "{signal:?}");
        // The child has it attached as long as it lives.
        until("the segment is gone", || shmpipe::sysv::stat(ring).err());
    }
    for signal in [Signal::INT, Signal::TERM] {
        let bench = Running::new(["bench", "--bytes", "4M", "--rounds", "100"]);
        let pid = bench.pid().to_string();
        // The ring of the command in a shell, in whose path is the number of the process.
        let of_shell = || {
            let rings = Snapshot::all().unwrap().into_iter();
            let mut paths = rings.filter_map(|ring| ring.path);
            paths.find(|path| path.to_string_lossy().contains(&pid))
        };
        let path = until("it uses a shell", of_shell);
        assert_eq!(death(bench, signal).stderr, "", "{signal:?}");
        until("the shell's ring is gone", || {
            of_shell().is_none().then_some(())
        });
        assert!(!path.exists(), "{}", path.display());
    }
}

/// The reader has got a part, and must not see the end of its stdin while it lives.
#[test]
fn a_signal_to_run_never_makes_a_part_look_whole() {
    without_core_files();
    for signal in ENDING {
        let mark = TempPath::new();
        let reader = format!(
            "while read line; do echo got > {0}; done; echo whole >> {0}",
            mark.display()
        );
        let writer = "echo part; exec sleep 100";
        let args = ["run", "--", "sh", "-c", writer, "--", "sh", "-c", &reader];
        let joined = Running::new(args);
        until("the reader has a part", || {
            (fs::read(&mark).unwrap() == b"got\n").then_some(())
        });
        let ended = death(joined, signal);
        assert_eq!(ended.stderr, "shmpipe: interrupted\n", "{signal:?}");
        assert_eq!(fs::read(&mark).unwrap(), b"got\n", "{signal:?}");
    }
}

/// The line of progress ends, and keys come by lines.
#[test]
fn a_signal_leaves_a_terminal_as_it_was() {
    without_core_files();
    for (verb, peer) in [("send", "receiver"), ("recv", "sender")] {
        for signal in CAUGHT {
            let path = TempPath::new();
            let (stdin, stdout) = match verb {
                "send" => (Some(Stdio::piped()), None),
                _ => (None, Some(Stdio::null())),
            };
            let apart = Apart {
                stdin,
                stdout,
                ..Apart::default()
            };
            let args = [OsStr::new(verb), path.as_ref()];
            let mut terminal = Terminal::run((24, 80), args, apart);
            let line = format!("{verb}: waiting for a {peer}");
            terminal.until_it_shows(&[&line]);
            until("it waits", || path.leads_to_a_segment().then_some(()));
            kill_process(Pid::from_child(&terminal.child), signal).unwrap();
            assert_eq!(terminal.end().signal(), Some(signal.as_raw()));
            let screen = terminal.until_it_shows(&["interrupted"]);
            assert_eq!(
                screen,
                format!("{line}\nshmpipe: interrupted"),
                "{signal:?}"
            );
            assert!(terminal.is_plain());
            assert!(!path.leads_to_a_segment());
        }
    }
}
