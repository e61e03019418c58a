//! Runs the cells: contenders in turns, in rotated order, with what moved
//! between processors' places dropped, counted and run again.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::board::Board;
use crate::cells::{self, Cell, Entrant, Extent, QUESTIONS};
use crate::machine;
use crate::results::{Log, Machine, Results, Row};
use crate::run::{Plan, Sample};
use crate::sys::{self, Shared};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Less of everything: 5 rounds of 25 ms, 1 GiB at most
    #[arg(long)]
    quick: bool,
    /// Questions to ask, by their beginning [default: all]
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Contenders beside shmpipe and the limits, by their beginning [default: all]
    #[arg(long, value_delimiter = ',')]
    who: Vec<String>,
    /// Rounds [default: 11]
    #[arg(long)]
    rounds: Option<usize>,
    /// Milliseconds of a measurement [default: 60]
    #[arg(long)]
    time: Option<u64>,
    /// The reader's processor and the writer's [default: the first two allowed]
    #[arg(long, value_delimiter = ',')]
    cpus: Vec<usize>,
    /// The most GiB of a stream, of those from 1 GiB on in steps of 4 [default: 64]
    #[arg(long)]
    most_gib: Option<u64>,
    /// The file that results are appended to
    #[arg(long, default_value = "results.jsonl")]
    out: PathBuf,
}

/// Where two processors are to each other, by the bare line's round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// One core, by two of its threads.
    OneCore,
    /// A cache that they share.
    Near,
    Far,
}

impl Place {
    fn of(ns: f64) -> Place {
        match ns {
            ns if ns < 50.0 => Place::OneCore,
            ns if ns < 150.0 => Place::Near,
            _ => Place::Far,
        }
    }
}

/// How often a measurement that moved is run again.
const AGAIN: usize = 4;
/// How long a measurement may take over all before it counts as hung.
const LIMIT: Duration = Duration::from_secs(20);
/// Involuntary switches per second that a measurement may have, and so many
/// in any case.
const PREEMPTIONS: f64 = 5.0;

pub(crate) fn run(options: &Options) -> io::Result<Results> {
    let allowed = sys::allowed_cpus();
    let cpus = if options.cpus.is_empty() {
        allowed.iter().copied().take(2).collect()
    } else {
        options.cpus.clone()
    };
    if cpus.len() < 2 || cpus.iter().any(|cpu| !allowed.contains(cpu)) {
        return Err(io::Error::other(format!("two processors are needed, of {allowed:?}")));
    }
    let (rounds, time) = if options.quick { (5, 25) } else { (11, 60) };
    let rounds = options.rounds.unwrap_or(rounds);
    let time = Duration::from_millis(options.time.unwrap_or(time));
    let most_gib = options.most_gib.unwrap_or(if options.quick { 1 } else { 64 });

    let questions: Vec<_> = QUESTIONS.into_iter().filter(|name| chosen(&options.only, name)).collect();
    if questions.is_empty() {
        return Err(io::Error::other(format!("the questions are {}", QUESTIONS.join(", "))));
    }
    let line = place_now(&cpus);
    let place = Place::of(line);
    let machine = Machine {
        run: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
        cpu: machine::cpu(),
        cpus: cpus.clone(),
        caches: machine::caches(),
        kernel: machine::kernel(),
        rustc: machine::rustc(),
        place: format!("{place:?}, a line's round trip takes {line:.0} ns"),
        time_ms: time.as_millis() as u64,
        rounds,
    };
    let mut log = Log::append(&options.out)?;
    log.machine(&machine)?;
    let extent = Extent { most_gib, cpus: allowed.len() };
    let start = Instant::now();
    for question in questions {
        for mut cell in cells::of(question, extent) {
            cell.entrants.retain(|one| wanted(one, &options.who));
            let plan = Plan { cpus: cpus.clone(), time, limit: LIMIT };
            measure(&cell, &plan, rounds.min(cell.rounds), place, machine.run, &mut log)?;
        }
        eprintln!("{:>4.0} s  {question}", start.elapsed().as_secs_f64());
    }
    Results::read(&options.out)
}

fn chosen(wanted: &[String], name: &str) -> bool {
    wanted.is_empty() || wanted.iter().any(|want| name.starts_with(want.as_str()))
}

fn wanted(one: &Entrant, who: &[String]) -> bool {
    use crate::contenders::Kind;
    matches!(one.kind, Kind::Ours | Kind::Limit) || chosen(who, &one.who)
}

/// A bare line's round trip between the first two processors, in ns.
fn place_now(cpus: &[usize]) -> f64 {
    let board = Shared::<Board>::new();
    let bounced = Shared::<Board>::new();
    let children = [true, false].map(|leads| {
        sys::fork(|| {
            sys::pin(cpus[usize::from(!leads)]);
            let ns = board.bounce(leads, 1 << 16);
            if leads {
                bounced.reader.set(crate::board::Slot::Value, ns);
            }
        })
    });
    match sys::reap(&children, LIMIT) {
        Ok(()) => bounced.reader.get(crate::board::Slot::Value),
        Err(_) => f64::NAN,
    }
}

/// One cell: `rounds` rounds, each of which begins with another contender.
fn measure(
    cell: &Cell,
    plan: &Plan,
    rounds: usize,
    place: Place,
    run: u64,
    log: &mut Log,
) -> io::Result<()> {
    let mut failed = vec![false; cell.entrants.len()];
    for round in 0..rounds {
        for turn in 0..cell.entrants.len() {
            let which = (round + turn) % cell.entrants.len();
            if failed[which] {
                continue;
            }
            let one = &cell.entrants[which];
            for _ in 0..=AGAIN {
                let row = match (one.contender.run)(&one.spec, one.job, plan, one.pairs) {
                    Ok(sample) => row(cell, one, run, round, &sample, objection(&sample, place)),
                    Err(why) => {
                        eprintln!("{}, {}: {} {why}", cell.question, cell.case, one.who);
                        failed[which] = true;
                        row(cell, one, run, round, &Sample::bare(f64::NAN), Some(why))
                    }
                };
                log.row(&row)?;
                if row.dropped.is_none() || failed[which] {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Why a sample does not count.
fn objection(sample: &Sample, place: Place) -> Option<String> {
    let moved = |ns: f64| !ns.is_nan() && Place::of(ns) != place;
    if moved(sample.line_before) || moved(sample.line_after) {
        let (before, after) = (sample.line_before, sample.line_after);
        return Some(format!("moved: line {before:.0} ns, then {after:.0} ns"));
    }
    None
}

fn row(
    cell: &Cell,
    one: &Entrant,
    run: u64,
    round: usize,
    sample: &Sample,
    dropped: Option<String>,
) -> Row {
    let some = |value: f64| value.is_finite().then_some(value);
    // A block a little shorter gives messages of another size.
    Row {
        run,
        question: cell.question.to_string(),
        case: cell.case.clone(),
        who: one.who.clone(),
        kind: one.kind,
        round,
        unit: cell.unit.to_string(),
        value: some(sample.value * cell.scale),
        high: some(sample.high * cell.scale),
        bytes: some(sample.bytes),
        cpu: some(sample.cpu),
        calls: some(sample.calls),
        waits: some(sample.waits),
        preemptions: some(sample.preemptions),
        line_before: some(sample.line_before),
        line_after: some(sample.line_after),
        dropped,
    }
}
