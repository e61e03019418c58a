//! The sweep: runs each subject once for each fault that there is, and judges
//! how it ends.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use shmpipe::sysv;

use crate::common::{End, Fork, TempPath, alone, asked_for, move_to_own_ipc_namespace, not_run};
use crate::supervisor::{Fault, Seen, scratch, written};
use crate::table::{CALLS, PASSING, name_of};

/// What takes this long hangs.
pub(crate) const HANG: Duration = Duration::from_secs(30);
/// The limit of calls that are to succeed.
pub(crate) const LONG: Duration = Duration::from_secs(20);
/// The limit of calls that a fault may leave without a peer.
const SHORT: Duration = Duration::from_secs(1);
/// What an error says whose time was over.
pub(crate) const TIMED_OUT: &str = "timed out";
/// Processes that sweep at a time; they wait more than they work.
const SHARDS: u64 = 6;
/// How many faults of a sweep are tried, unless said.
const TRIED: u64 = 75;

const NO_LISTENERS: &str = "this kernel has no seccomp listeners";

/// How often each of the calls is made.
pub(crate) type Counts = [u64; CALLS.len()];

/// Runs a subject with this fault, if any, and with this limit. `None` where
/// the kernel has no such filters.
type Play = dyn Fn(&Path, Option<Fault>, Duration) -> Option<Run>;

/// What is swept.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    /// A ring is to stay.
    pub(crate) keeps: bool,
    /// How often each call is made before its faults count.
    pub(crate) start: Counts,
    pub(crate) play: Box<Play>,
}

/// What came of a run.
pub(crate) struct Run {
    pub(crate) seen: Seen,
    /// What should not be.
    pub(crate) wrong: Vec<String>,
    /// It says that it did what it was to do.
    pub(crate) done: bool,
    pub(crate) said: String,
}

impl Subject {
    /// Runs it, in an IPC namespace of its own if `isolated`.
    fn run(&self, fault: Option<Fault>, limit: Duration, isolated: bool) -> Option<Run> {
        let path = TempPath::new();
        let mut run = (self.play)(&path, fault, limit)?;
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
                if !(self.keeps && stat.key_raw == key || kept_by_kernel && has_no_key || untold) {
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
            subjects[subject].name,
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
        let run = |limit| {
            let run = subject.run(Some(self.fault), limit, isolated);
            run.expect("the filters were there before")
        };
        let mut run = match run(limit) {
            // A healthy side may need more than the short limit on a busy machine.
            Run { wrong, .. } if is_late(&wrong) => run(LONG),
            run => run,
        };
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

/// Whether nothing is wrong but that a healthy side ran out of time.
fn is_late(wrong: &[String]) -> bool {
    !wrong.is_empty() && wrong.iter().all(|wrong| wrong.contains(TIMED_OUT))
}

/// The faults of a subject, of which the calls are counted.
fn faults(counts: &Counts, start: &Counts) -> Vec<Fault> {
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
    let mut cells = vec![];
    for (index, subject) in subjects.iter().enumerate() {
        let run = subject.run(None, LONG, isolated)?;
        assert!(
            run.wrong.is_empty() && run.done,
            "{}: {} {:?}",
            subject.name,
            run.said,
            run.wrong
        );
        let faults = faults(&run.seen.counts, &subject.start);
        println!(
            "{}: {} faults of {:?}",
            subject.name,
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

/// Tries as many of all faults as are asked for, in a process of its own that
/// runs the test of this name.
pub(crate) fn sweep(test: &str, subjects: fn() -> Option<Vec<Subject>>) {
    alone(test, || {
        let isolated = move_to_own_ipc_namespace();
        if !isolated {
            not_run(
                "in part: without an IPC namespace of its own, segments left behind are not counted",
            );
        }
        let Some(subjects) = subjects() else {
            return not_run(NO_LISTENERS);
        };
        let Some(mut cells) = cells(&subjects, isolated) else {
            return not_run(NO_LISTENERS);
        };
        let all = cells.len();
        if let Ok(one) = std::env::var("SHMPIPE_FAULT") {
            cells.retain(|cell| cell.name.starts_with(&one));
            assert!(!cells.is_empty(), "no fault is named {one}");
        }
        // Every so many, so that each subject and call has its part.
        let step = (cells.len() as u64).div_ceil(asked_for("SHMPIPE_FAULTS").unwrap_or(TRIED));
        let cells: Vec<Cell> = cells.into_iter().step_by(step as usize).collect();
        println!("{} faults of {all}", cells.len());
        let verdicts = scratch(b"");
        let mut shards: Vec<Fork> = (0..SHARDS)
            .map(|number| Fork::new(|| shard(&subjects, &cells, number, &verdicts)))
            .collect();
        for shard in &mut shards {
            assert_eq!(shard.wait(), End::Exit(0));
        }
        let wrong = String::from_utf8(written(verdicts)).unwrap();
        assert!(wrong.is_empty(), "\n{wrong}");
    });
}

/// Every so many of the cells, in an IPC namespace of their own.
fn shard(subjects: &[Subject], cells: &[Cell], number: u64, mut verdicts: &File) {
    let isolated = move_to_own_ipc_namespace();
    for cell in cells.iter().skip(number as usize).step_by(SHARDS as usize) {
        for wrong in cell.judge(&subjects[cell.subject], isolated) {
            writeln!(verdicts, "{}", wrong.replace('\n', " ")).unwrap();
        }
    }
}

/// Tries faults, each by its name, in a process of its own. The calls of a
/// command are counted from its `main` on.
pub(crate) fn try_each(test: &str, names: &[&str], subjects: fn() -> Option<Vec<Subject>>) {
    alone(test, || {
        let isolated = move_to_own_ipc_namespace();
        let Some(subjects) = subjects() else {
            return not_run(NO_LISTENERS);
        };
        let mut wrong = vec![];
        for name in names {
            let words: Vec<&str> = name.split(' ').collect();
            let [subject, call, errno, first, how] = words[..] else {
                panic!("{name}: not a fault");
            };
            let subject = subjects.iter().position(|known| known.name == subject);
            let call = CALLS.iter().position(|known| known.name == call).unwrap();
            let errors = CALLS[call].errors.iter();
            let subject = subject.unwrap();
            let fault = Fault {
                call,
                errno: *errors
                    .clone()
                    .find(|known| name_of(**known) == errno)
                    .unwrap(),
                first: subjects[subject].start[call] + first.parse::<u64>().unwrap(),
                lasting: how == "on",
            };
            let cell = Cell::new(&subjects, subject, fault);
            wrong.extend(cell.judge(&subjects[subject], isolated));
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    });
}
