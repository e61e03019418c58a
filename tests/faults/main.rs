//! A sweep of faults: each system call on the way of a program, or of the
//! command, fails in each way that the kernel documents, the first and later
//! ones, once and from then on. What follows ends in time, without a panic,
//! well only with every byte, and leaves no segment, descriptor or mapping.
//!
//! `SHMPIPE_FAULTS=100000` sets how many faults, spread evenly over all there
//! are (150 unless said); `SHMPIPE_FAULT="send-file openat EMFILE 3 once"`
//! tries one; `-- --nocapture` shows what came of each.
#![allow(unsafe_code)] // seccomp(2), sendmsg(2), dup2(2)

#[cfg(feature = "cli")]
mod command;
#[path = "../common/mod.rs"]
mod common;
mod library;
#[cfg(feature = "cli")]
mod mended;
mod supervisor;
mod table;
#[cfg(feature = "async")]
mod tasks;

use std::fmt;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{End, Fork, TempPath, alone, asked_for, exit_now, move_to_own_ipc_namespace};
use library::Scenario;
use shmpipe::sysv;
use supervisor::{Fault, Line, Seen, Supervisor, redirect, scratch, submit, written};
use table::{CALLS, PASSING, denies, name_of};

/// What takes this long hangs.
const HANG: Duration = Duration::from_secs(30);
/// The limit of calls that are to succeed.
const LONG: Duration = Duration::from_secs(20);
/// The limit of calls that a fault may leave without a peer.
const SHORT: Duration = Duration::from_secs(1);
/// Processes that sweep at a time; they wait more than they work.
const SHARDS: u64 = 6;

/// What is swept.
enum Subject {
    Library(Scenario),
    #[cfg(feature = "cli")]
    Command(&'static str, command::Verb),
}

/// What came of a run.
struct Run {
    seen: Seen,
    /// What should not be.
    wrong: Vec<String>,
    /// It says that it did what it was to do.
    done: bool,
    said: String,
}

impl Subject {
    fn all() -> Vec<Subject> {
        let library = library::scenarios().into_iter().map(Subject::Library);
        #[cfg(feature = "cli")]
        let commands = command::VERBS.map(|(name, verb)| Subject::Command(name, verb));
        #[cfg(not(feature = "cli"))]
        let commands = [];
        library.chain(commands).collect()
    }

    fn name(&self) -> &'static str {
        match self {
            Subject::Library(scenario) => scenario.name,
            #[cfg(feature = "cli")]
            Subject::Command(name, _) => name,
        }
    }

    fn keeps(&self) -> bool {
        match self {
            Subject::Library(scenario) => scenario.keeps,
            #[cfg(feature = "cli")]
            Subject::Command(_, verb) => verb.keeps(),
        }
    }

    /// Runs it, in an IPC namespace of its own if `isolated`. `None` where the
    /// kernel has no such filters.
    fn run(&self, fault: Option<Fault>, limit: Duration, isolated: bool) -> Option<Run> {
        let path = TempPath::new();
        let mut run = match self {
            Subject::Library(scenario) => run_library(scenario, &path, fault, limit)?,
            #[cfg(feature = "cli")]
            Subject::Command(_, verb) => command::run(*verb, &path, fault, limit)?,
        };
        if isolated {
            let left = sysv::list().unwrap();
            let key = path.key().raw();
            // `shmpipe rm --stale` removes it.
            let kept_by_kernel = run.seen.failed(|number, arguments| {
                number == libc::SYS_shmctl && arguments[1] as i32 == libc::IPC_RMID
            });
            // Nobody can tell any more whether it is one's own.
            let untold =
                fault.is_some_and(|fault| fault.lasting && CALLS[fault.call].name == "shmctl-stat");
            for stat in left {
                let has_no_key = stat.key_raw == libc::IPC_PRIVATE;
                if !(self.keeps() && stat.key_raw == key || kept_by_kernel && has_no_key || untold)
                {
                    run.wrong.push(format!(
                        "leaves a segment, attached {} times",
                        stat.attached
                    ));
                }
                let _ = sysv::remove(stat.id);
            }
        }
        Some(run)
    }
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

fn run_library(
    scenario: &Scenario,
    path: &Path,
    fault: Option<Fault>,
    limit: Duration,
) -> Option<Run> {
    (scenario.prepare)(path);
    let mut peer = scenario
        .peer
        .map(|peer| Fork::new(|| library::accompany(peer, path, limit)));
    let (line, report, stderr) = (Line::new(), scratch(b""), scratch(b""));
    let mut target = Fork::new(|| {
        redirect(stderr.as_fd(), 2);
        if !submit(fault.map(|fault| fault.call), line.end()) {
            exit_now(0);
        }
        library::play(scenario, path, limit, &report);
    });
    let seen = Supervisor::new(line, fault, false)?.serve(HANG);
    let mut wrong = vec![];
    if seen.hung {
        wrong.push("hangs".to_owned());
        target.kill();
    }
    let end = target.wait();
    let report = String::from_utf8(written(report)).unwrap();
    let said = report.lines().last().unwrap_or("nothing").to_owned();
    let done = said == "done";
    let stderr = String::from_utf8_lossy(&written(stderr)).into_owned();
    let is_std = OF_STD.iter().any(|of_std| stderr.contains(of_std));
    if !seen.hung && !is_std && (end != End::Exit(0) || !(done || said.starts_with("error "))) {
        wrong.push(format!("{end:?}, says {said}"));
    }
    if stderr.contains("panicked") && !is_std {
        wrong.push(format!("panics: {stderr}"));
    }
    let moved = report.lines().find_map(|line| line.strip_prefix("moved "));
    let moved = moved.and_then(|count| count.parse().ok()).unwrap_or(0);
    // What the kernel did not take back, it still has; and what ENOMEM left of a
    // range is not known.
    let for_memory = fault.is_some_and(|fault| fault.errno == libc::ENOMEM);
    let kept_by_kernel = seen.failed(|number, arguments| {
        [libc::SYS_shmdt, libc::SYS_munmap].contains(&number)
            || is_remap(number, arguments) && for_memory
    });
    let left = |line: &&str| {
        line.starts_with("descriptor ") || line.starts_with("mapping ") && !kept_by_kernel
    };
    wrong.extend(
        report
            .lines()
            .filter(left)
            .map(|line| format!("leaves {line}")),
    );
    if let Some(peer) = &mut peer {
        let start = Instant::now();
        while peer.is_running() && start.elapsed() < HANG {
            std::thread::sleep(Duration::from_millis(1));
        }
        if peer.is_running() {
            wrong.push("the healthy side hangs".to_owned());
            peer.kill();
        }
        match peer.wait() {
            End::Exit(0) => {}
            End::Exit(1) if !done => {}
            end => wrong.push(format!("the healthy side: {end:?}, the other says {said}")),
        }
    }
    match (scenario.after)(path, moved, done) {
        Err(error) if !fault.is_some_and(denies) => wrong.push(error),
        _ => {}
    }
    Some(Run {
        seen,
        wrong,
        done,
        said,
    })
}

/// One fault of one subject.
struct Cell {
    subject: usize,
    fault: Fault,
    name: String,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Cell {
    fn new(subjects: &[Subject], subject: usize, fault: Fault) -> Cell {
        let name = format!(
            "{} {} {} {} {}",
            subjects[subject].name(),
            CALLS[fault.call].name,
            name_of(fault.errno),
            fault.first,
            if fault.lasting { "on" } else { "once" }
        );
        Cell {
            subject,
            fault,
            name,
        }
    }

    /// Runs it, and says what should not be.
    fn judge(&self, subject: &Subject, isolated: bool) -> Vec<String> {
        // To be interrupted is no error.
        let is_interrupted = self.fault.errno == libc::EINTR;
        let harmless = is_interrupted;
        let limit = if harmless { LONG } else { SHORT };
        let mut run = subject
            .run(Some(self.fault), limit, isolated)
            .expect("the filters were there before");
        if harmless && !run.done {
            run.wrong.push("an interrupted call is an error".to_owned());
        }
        let hit = !run.seen.failed.is_empty();
        println!(
            "{self}: {}{}",
            if hit { "" } else { "(not met) " },
            run.said
        );
        run.wrong
            .iter()
            .map(|wrong| format!("{self}: {wrong} [{}]", run.said))
            .collect()
    }
}

/// The faults of a subject, of which the calls are counted.
fn faults(counts: &[u64; CALLS.len()], start: &[u64; CALLS.len()]) -> Vec<Fault> {
    let mut faults = vec![];
    for (call, kind) in CALLS.iter().enumerate() {
        let (start, end) = (start[call].min(counts[call]), counts[call]);
        let mut firsts: Vec<u64> = (start..end).take(6).collect();
        firsts.extend([
            start + 9,
            start + 20,
            end.saturating_sub(2),
            end.saturating_sub(1),
        ]);
        firsts.retain(|first| (start..end).contains(first));
        firsts.sort_unstable();
        firsts.dedup();
        for (first, &errno) in firsts
            .iter()
            .flat_map(|first| kind.errors.iter().map(move |errno| (first, errno)))
        {
            for lasting in [false, true] {
                if lasting && PASSING.contains(&errno) {
                    continue;
                }
                faults.push(Fault {
                    call,
                    errno,
                    first: *first,
                    lasting,
                });
            }
        }
    }
    faults
}

/// All there are. `None` where the kernel has no such filters.
fn cells(subjects: &[Subject], isolated: bool) -> Option<Vec<Cell>> {
    #[cfg(feature = "cli")]
    let at_start = command::at_start()?;
    let mut cells = vec![];
    for (index, subject) in subjects.iter().enumerate() {
        let run = subject.run(None, LONG, isolated)?;
        assert!(
            run.wrong.is_empty() && run.done,
            "{}: {} {:?}",
            subject.name(),
            run.said,
            run.wrong
        );
        let start = match subject {
            Subject::Library(_) => &[0; CALLS.len()],
            #[cfg(feature = "cli")]
            Subject::Command(..) => &at_start,
        };
        let faults = faults(&run.seen.counts, start);
        println!(
            "{}: {} faults of {:?}",
            subject.name(),
            faults.len(),
            run.seen.counts
        );
        cells.extend(
            faults
                .into_iter()
                .map(|fault| Cell::new(subjects, index, fault)),
        );
    }
    Some(cells)
}

#[test]
fn no_fault_hangs_panics_loses_or_leaks() {
    alone("no_fault_hangs_panics_loses_or_leaks", || {
        let isolated = move_to_own_ipc_namespace();
        if !isolated {
            println!("no IPC namespace of our own: segments left behind are not counted");
        }
        let subjects = Subject::all();
        let Some(mut cells) = cells(&subjects, isolated) else {
            println!("skipped: this kernel has no seccomp listeners");
            return;
        };
        let all = cells.len();
        if let Ok(one) = std::env::var("SHMPIPE_FAULT") {
            cells.retain(|cell| cell.name.starts_with(&one));
            assert!(!cells.is_empty(), "no fault is named {one}");
        }
        // Every so many, so that each subject and call has its part.
        let step = (cells.len() as u64).div_ceil(asked_for("SHMPIPE_FAULTS").unwrap_or(150));
        let cells: Vec<Cell> = cells.into_iter().step_by(step as usize).collect();
        println!("{} faults of {all}", cells.len());
        let verdicts = scratch(b"");
        let mut shards: Vec<Fork> = (0..SHARDS)
            .map(|shard| Fork::new(|| sweep(&subjects, &cells, shard, &verdicts)))
            .collect();
        for shard in &mut shards {
            assert_eq!(shard.wait(), End::Exit(0));
        }
        let wrong = String::from_utf8(written(verdicts)).unwrap();
        assert!(wrong.is_empty(), "\n{wrong}");
    });
}

/// Every so many of the cells, in an IPC namespace of their own.
fn sweep(subjects: &[Subject], cells: &[Cell], shard: u64, mut verdicts: &std::fs::File) {
    use std::io::Write;
    let isolated = move_to_own_ipc_namespace();
    for cell in cells.iter().skip(shard as usize).step_by(SHARDS as usize) {
        for wrong in cell.judge(&subjects[cell.subject], isolated) {
            writeln!(verdicts, "{}", wrong.replace('\n', " ")).unwrap();
        }
    }
}
