//! A program that uses the library while its system calls fail. One process is the target.
//! A healthy process may have the other end of the ring.

use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use shmpipe::{Options, WaitPolicy};

use crate::common::{End, Fork, exit_now, page, stream, until};
use crate::supervisor::{Fault, Line, Seen, Supervisor, mark, redirect, scratch, submit, written};
use crate::sweep::{Counts, HANG, Run, Subject, TIMED_OUT};
use crate::table::denies;

/// Bytes of a stream that goes through a small ring.
pub(crate) const STREAM: usize = 40_000;
/// Bytes that are in a persistent ring.
pub(crate) const KEPT: usize = 3000;
pub(crate) const SEED: u64 = 13;

pub(crate) type Done = Result<(), String>;

/// A program, and the process at the other end.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// What is there before.
    pub(crate) prepare: fn(&Path),
    /// Counts the bytes that it has moved. `Ok` says that all are.
    pub(crate) target: fn(&Path, Duration, &mut u64) -> Done,
    /// `Ok` says that all came, an error is a true one; anything else panics.
    pub(crate) peer: Option<fn(&Path, Duration) -> Done>,
    /// Looks at what the target has left, after it moved so many bytes; whether
    /// all was well.
    pub(crate) after: fn(&Path, u64, bool) -> Done,
    /// A ring is to stay.
    pub(crate) keeps: bool,
}

pub(crate) const PLAIN: Scenario = Scenario {
    name: "",
    prepare: |_| {},
    target: |_, _, _| Ok(()),
    peer: None,
    after: |_, _, _| Ok(()),
    keeps: false,
};

pub(crate) fn shown(error: impl std::fmt::Display) -> String {
    error.to_string()
}

pub(crate) fn options(limit: Duration) -> Options {
    let mut options = Options::new();
    options
        .capacity(2 * page()) // more than a page, to tell it from others
        .timeout(Some(limit))
        .wait_policy(WaitPolicy::Park);
    options
}

pub(crate) fn bytes() -> Vec<u8> {
    stream(SEED, 0, STREAM)
}

/// What a process has that a ring may have given it.
#[derive(Debug, PartialEq, Eq)]
struct Holdings {
    descriptors: Vec<String>,
    /// Attachments, and address space that is kept free.
    mappings: Vec<String>,
}

impl Holdings {
    fn now() -> Holdings {
        let mut descriptors: Vec<String> = fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| {
                let path = entry.unwrap().path();
                let target = fs::read_link(&path).ok()?; // not the one that lists
                Some(format!("{} -> {}", path.display(), target.display()))
            })
            .collect();
        descriptors.sort();
        let mappings = fs::read_to_string("/proc/self/maps").unwrap();
        let of_a_ring = |line: &&str| {
            line.contains("/SYSV")
                || (line.contains(" ---p ") && line.ends_with(" 0 ") && is_a_rings_size(line))
        };
        let mappings = mappings.lines().filter(of_a_ring);
        Holdings {
            descriptors,
            mappings: mappings.map(str::to_owned).collect(),
        }
    }
}

/// Whether a mapping is neither kept free for an arena of malloc(3), nor the
/// page before a thread's stack.
fn is_a_rings_size(line: &str) -> bool {
    let range = line
        .split(' ')
        .next()
        .and_then(|range| range.split_once('-'));
    let (start, end) = range.unwrap();
    let address = |digits| usize::from_str_radix(digits, 16).unwrap();
    (page() + 1..16 << 20).contains(&(address(end) - address(start)))
}

/// The target's part of [`Scenario::target`]: says on a descriptor what came
/// of it, one line each.
fn play(scenario: &Scenario, path: &Path, limit: Duration, mut report: &fs::File) {
    let before = Holdings::now();
    let mut moved = 0;
    mark(true);
    let target = std::panic::AssertUnwindSafe(|| (scenario.target)(path, limit, &mut moved));
    let done = std::panic::catch_unwind(target);
    mark(false);
    let after = Holdings::now();
    let left = |before: &[String], after: &[String]| {
        let left = after.iter().filter(|line| !before.contains(line));
        left.cloned().collect::<Vec<_>>()
    };
    let mut say = |line: String| writeln!(report, "{line}").unwrap();
    say(format!("moved {moved}"));
    for line in left(&before.descriptors, &after.descriptors) {
        say(format!("descriptor {line}"));
    }
    for line in left(&before.mappings, &after.mappings) {
        say(format!("mapping {line}"));
    }
    match done {
        Ok(Ok(())) => say("done".to_owned()),
        Ok(Err(error)) => say(format!("error {}", error.replace('\n', " "))),
        Err(_) => say("panic".to_owned()),
    }
}

/// The peer's part: how it ends is for [`End::Exit`].
fn accompany(peer: fn(&Path, Duration) -> Done, path: &Path, limit: Duration) -> ! {
    let done = std::panic::catch_unwind(|| peer(path, limit));
    exit_now(match done {
        Ok(Ok(())) => 0,
        Ok(Err(error)) if error.contains(TIMED_OUT) => 2,
        Ok(Err(_)) => 1,
        Err(_) => 101,
    })
}

/// An attachment in place of a reservation.
fn is_remap(number: libc::c_long, arguments: &[u64; 6]) -> bool {
    number == libc::SYS_shmat && arguments[2] as i32 & libc::SHM_REMAP != 0
}

/// Panics of std's own: of a new thread that gets no stack for its signals, and
/// of a start of a process that cannot read whether it was one.
const OF_STD: [&str; 2] = [
    "failed to allocate an alternative stack",
    "the CLOEXEC pipe failed",
];

impl From<&'static Scenario> for Subject {
    fn from(scenario: &'static Scenario) -> Subject {
        Subject {
            name: scenario.name,
            keeps: scenario.keeps,
            start: Counts::default(),
            play: Box::new(|path, fault, limit| scenario.run(path, fault, limit)),
        }
    }
}

impl Scenario {
    fn run(&self, path: &Path, fault: Option<Fault>, limit: Duration) -> Option<Run> {
        (self.prepare)(path);
        let mut peer = self
            .peer
            .map(|peer| Fork::new(|| accompany(peer, path, limit)));
        let (line, report, stderr) = (Line::new(), scratch(b""), scratch(b""));
        let mut target = Fork::new(|| {
            redirect(stderr.as_fd(), 2);
            if !submit(fault.map(|fault| fault.call), line.end()) {
                exit_now(0);
            }
            play(self, path, limit, &report);
        });
        let seen = Supervisor::new(line, fault, false)?.serve(HANG);
        if seen.hung {
            target.kill();
        }
        let ended = Ended::new(target.wait(), report, stderr);
        let mut wrong = ended.wrong(&seen, fault);
        if let Some(peer) = &mut peer {
            wrong.extend(wrong_of_peer(peer, &ended));
        }
        match (self.after)(path, ended.moved, ended.done) {
            Err(error) if !fault.is_some_and(denies) => wrong.push(error),
            _ => {}
        }
        Some(Run {
            seen,
            wrong,
            done: ended.done,
            said: ended.said,
        })
    }
}

/// How a target ended, and what it said.
struct Ended {
    end: End,
    report: String,
    stderr: String,
    /// The last line of the report.
    said: String,
    done: bool,
    moved: u64,
}

impl Ended {
    fn new(end: End, report: fs::File, stderr: fs::File) -> Ended {
        let report = String::from_utf8(written(report)).unwrap();
        let said = report.lines().last().unwrap_or("nothing").to_owned();
        let moved = report.lines().find_map(|line| line.strip_prefix("moved "));
        Ended {
            end,
            stderr: String::from_utf8_lossy(&written(stderr)).into_owned(),
            done: said == "done",
            moved: moved.and_then(|count| count.parse().ok()).unwrap_or(0),
            report,
            said,
        }
    }

    /// What should not be.
    fn wrong(&self, seen: &Seen, fault: Option<Fault>) -> Vec<String> {
        let mut wrong = vec![];
        if seen.hung {
            wrong.push("hangs".to_owned());
        }
        let is_std = OF_STD.iter().any(|of_std| self.stderr.contains(of_std));
        let is_told = self.done || self.said.starts_with("error ");
        if !seen.hung && !is_std && (self.end != End::Exit(0) || !is_told) {
            wrong.push(format!("{:?}, says {}", self.end, self.said));
        }
        if self.stderr.contains("panicked") && !is_std {
            wrong.push(format!("panics: {}", self.stderr));
        }
        // What the kernel did not take back, it still has; and what ENOMEM left of
        // a range is not known.
        let for_memory = fault.is_some_and(|fault| fault.errno == libc::ENOMEM);
        let kept_by_kernel = seen.failed(|number, arguments| {
            [libc::SYS_shmdt, libc::SYS_munmap].contains(&number)
                || is_remap(number, arguments) && for_memory
        });
        let left = |line: &&str| {
            line.starts_with("descriptor ") || line.starts_with("mapping ") && !kept_by_kernel
        };
        let left = self.report.lines().filter(left);
        wrong.extend(left.map(|line| format!("leaves {line}")));
        wrong
    }
}

/// What is wrong with how the healthy side ends, after the target.
fn wrong_of_peer(peer: &mut Fork, target: &Ended) -> Vec<String> {
    let mut wrong = vec![];
    let start = Instant::now();
    until(|| !peer.is_running() || start.elapsed() > HANG);
    if peer.is_running() {
        wrong.push("the healthy side hangs".to_owned());
        peer.kill();
    }
    match peer.wait() {
        End::Exit(0) => {}
        End::Exit(1 | 2) if !target.done => {}
        End::Exit(2) => wrong.push(format!("the healthy side {TIMED_OUT}, the other is done")),
        end => {
            let said = &target.said;
            wrong.push(format!("the healthy side: {end:?}, the other says {said}"));
        }
    }
    wrong
}
