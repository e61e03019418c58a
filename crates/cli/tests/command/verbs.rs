//! Usage, rings that persist, and the verbs that do not stream by path.

use std::fs;

use rustix::process::Signal;
use shmpipe::sysv::{self, SegmentId};

use crate::common::{TempPath, stream};
use crate::running::{DONE, FAILURE, Running, USAGE, is_gone, until};

#[test]
fn wrong_usage_is_2() {
    let run = |args: &[&str]| Running::new(args).end();
    run(&["fly"]).with(USAGE, "fly");
    run(&["send"]).with(USAGE, "PATH");
    run(&["send", "/x", "--capacity", "0"]).with(USAGE, "at least 1 byte");
    run(&["send", "/x", "--capacity", "4XiB"]).with(USAGE, "K and KiB are 1024");
    run(&["recv", "/x", "--capacity", "99999999TiB"]).with(USAGE, "64 bits");
    run(&["recv", "/x", "--project", "0"]).with(USAGE, "from 1 to 255");
    run(&["recv", "/x", "--project", "256"]).with(USAGE, "from 1 to 255");
    run(&["recv", "/x", "--timeout", "soon"]).with(USAGE, "expected a time");
    run(&["demo", "--bytes", "1", "/x"]).with(USAGE, "--bytes");
    run(&["demo", "--block", "2GiB"]).with(USAGE, "at most 1GiB");
    run(&["rm"]).with(USAGE, "--stale");
    run(&["rm", "/x", "--id", "3"]).with(USAGE, "cannot be used with");
    run(&["rm", "--stale", "--force"]).with(USAGE, "cannot be used with");
    let path = TempPath::new();
    Running::verb("recv", &path, &["--capacity", "8000000TiB"])
        .end()
        .with(USAGE, "at most 2E");
}

#[test]
fn help_shows_the_exit_codes() {
    for args in [&["--help"][..], &["send", "--help"], &["rm", "--help"]] {
        let help = Running::new(args).end().with(DONE, "");
        for row in [
            "3  the peer died",
            "6  the receiver left",
            "7  the sender broke",
            "signal",
        ] {
            assert!(help.text().contains(row), "{}", help.text());
        }
    }
}

#[test]
fn a_ring_persists_until_it_is_removed() {
    let path = TempPath::new();
    for text in ["for later", "and again"] {
        let mut sender = Running::verb("send", &path, &["--persist"]);
        sender.feed_all(text.into());
        sender.end().with(DONE, "");
        assert!(path.leads_to_a_segment());
        let receiver = Running::verb("recv", &path, &["--persist"])
            .end()
            .with(DONE, "");
        assert_eq!(receiver.text(), text);
        assert!(path.leads_to_a_segment());
    }
    Running::verb("recv", &path, &[])
        .end()
        .with(FAILURE, "persists");
    let removed = Running::verb("rm", &path, &[]).end().with(DONE, "");
    assert!(removed.text().starts_with("removed "), "{}", removed.text());
    assert!(!path.leads_to_a_segment());
    let none = format!("shmpipe: no ring at {}\n", path.display());
    let again = Running::verb("rm", &path, &[]).end().with(FAILURE, "");
    assert_eq!(again.stderr, none);
}

#[test]
fn a_ring_in_use_is_removed_by_force_only() {
    let path = TempPath::new();
    let waiting = Running::verb("send", &path, &["--persist"]);
    let ring = waiting.ring();
    let id = ring.to_string();
    Running::verb("rm", &path, &[])
        .end()
        .with(FAILURE, "in use");
    Running::new(["rm", "--id", &id])
        .end()
        .with(FAILURE, "in use");
    assert!(path.leads_to_a_segment());
    let removed = Running::new(["rm", "--id", &id, "--force"])
        .end()
        .with(DONE, "");
    assert_eq!(removed.text(), format!("removed segment {id}\n"));
    assert!(!path.leads_to_a_segment());
    drop(waiting);
    is_gone(ring, &path);
}

/// A segment that is no ring, removed with the test.
struct Foreign(SegmentId);

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = sysv::remove(self.0);
    }
}

#[test]
fn what_is_no_ring_is_not_removed() {
    let foreign = Foreign(sysv::create(None, 4096, sysv::Mode::default()).unwrap());
    let id = foreign.0.to_string();
    let args = ["rm", "--id", &id, "--force"];
    for args in [&args[..3], &args] {
        Running::new(args).end().with(FAILURE, "not usable");
        sysv::stat(foreign.0).unwrap();
    }
}

/// Found in use: of an id that never was it said that the segment was removed.
#[test]
fn an_id_that_never_was_is_not_said_to_have_been() {
    let never = i32::MAX.to_string();
    Running::new(["rm", "--id", &never])
        .end()
        .with(FAILURE, "there is no segment 2147483647");
}

#[test]
fn what_a_dead_process_left_is_removed_as_stale() {
    let path = TempPath::new();
    let waiting = Running::verb("send", &path, &[]);
    let ring = waiting.ring();
    waiting.signal(Signal::KILL);
    drop(waiting);
    assert!(path.leads_to_a_segment());
    let removed = Running::new(["rm", "--stale"]).end().with(DONE, "");
    assert!(!path.leads_to_a_segment());
    // Another run of the tests may have been faster.
    let line = format!("removed segment {ring}");
    assert!(
        removed
            .text()
            .lines()
            .all(|said| said.starts_with("removed segment "))
    );
    if !removed.text().lines().any(|said| said == line) {
        eprintln!("somebody else removed {ring}");
    }
}

#[test]
fn the_demo_shows_its_figures() {
    let small = [
        "demo",
        "--bytes",
        "20MB",
        "--capacity",
        "64KiB",
        "--block",
        "5000",
        "--block",
        "64K",
    ];
    for args in [&small[..], &["demo", "--bytes", "0", "--rounds", "1"]] {
        let demo = Running::new(args).end().with(DONE, "");
        for word in ["GB/s", "ring", "pipe", "ratio", "slept", "woke"] {
            assert!(demo.text().contains(word), "{word}: {}", demo.text());
        }
        assert!(!demo.text().contains("NaN"), "{}", demo.text());
    }
}

#[test]
fn the_demo_streams_a_file() {
    let path = TempPath::new();
    fs::write(&path, stream(3, 0, 3_000_001)).unwrap();
    let demo = Running::verb("demo", &path, &[]).end().with(DONE, "");
    assert!(demo.text().contains("3000001 bytes of"), "{}", demo.text());
    let directory = std::env::temp_dir();
    Running::verb("demo", &directory, &[])
        .end()
        .with(FAILURE, "regular file");
}

/// Found in use: of `/proc/version` it said "0 bytes, every byte verified".
#[test]
fn the_demo_refuses_a_file_whose_size_is_not_that_of_its_bytes() {
    for (file, words) in [
        ("/proc/version", "its size is 0 bytes, but it has more"),
        (
            "/sys/kernel/mm/transparent_hugepage/enabled",
            "but it has fewer",
        ),
    ] {
        if fs::exists(file).unwrap() {
            Running::new(["demo", file]).end().with(FAILURE, words);
        }
    }
}

#[test]
fn nothing_is_left_when_the_demo_is_killed() {
    let demo = Running::new(["demo", "--bytes", "1TiB"]);
    let ring = demo.paired();
    demo.signal(Signal::KILL);
    drop(demo);
    until("the segment is gone", || sysv::stat(ring).err());
}
