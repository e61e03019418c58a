//! Measures the cells of each question. Contenders take turns in rotated order.
//! A measurement whose processors moved apart is dropped, counted and run again.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::board::{Board, Slot};
use crate::budget::{Budget, Share};
use crate::cells::{self, Cell, Entrant, Extent};
use crate::figures::data::{Data, Machine};
use crate::machine;
use crate::results::{self, Log, Row};
use crate::run::{Plan, Sample, TRIPS};
use crate::sys::{self, Shared};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Less of everything: 5 rounds of 25 ms, 1 GiB at most, 11 minutes
    #[arg(long)]
    quick: bool,
    /// Questions to ask, by their beginning [default: all]
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Cases of those questions, by their beginning, such as "64 B" [default: all]
    #[arg(long, value_delimiter = ',')]
    case: Vec<String>,
    /// Contenders beside shmpipe and the limits, by their beginning [default: all]
    #[arg(long, value_delimiter = ',')]
    who: Vec<String>,
    /// Rounds [default: 11]
    #[arg(long)]
    rounds: Option<usize>,
    /// Minutes of the whole run: fewer rounds, but 3, where a cell takes too long [default: no
    /// limit]
    #[arg(long)]
    minutes: Option<f64>,
    /// Milliseconds of a measurement [default: 60]
    #[arg(long)]
    time: Option<u64>,
    /// The reader's processor and the writer's [default: the first two allowed]
    #[arg(long, value_delimiter = ',')]
    cpus: Vec<usize>,
    /// Distance of the two processors; other measurements are dropped [default: near, or
    /// their distance at the start if they do not come near]
    #[arg(long)]
    place: Option<Place>,
    /// GiB of the longest stream: 1, and then 4 times as many at each step [default: 64]
    #[arg(long)]
    most_gib: Option<u64>,
    /// The file that results are appended to
    #[arg(long, default_value = "results.jsonl")]
    out: PathBuf,
    /// The folder that the charts are drawn into
    #[arg(long, default_value = "target/charts")]
    pub(crate) charts: PathBuf,
}

/// The distance of two processors, by the round trip of a bare cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Place {
    /// Two threads of one core.
    OneCore,
    /// Two cores that share a cache.
    Near,
    Far,
}

impl Place {
    fn of(ns: f64) -> Place {
        match ns {
            ns if ns < 50.0 => Place::OneCore,
            ns if ns < 220.0 => Place::Near,
            _ => Place::Far,
        }
    }
}

/// How often a dropped measurement is run again.
const AGAIN: usize = 4;
/// How long a run waits, in all, for its processors to come back to the distance of its start.
const PATIENCE: Duration = Duration::from_secs(30);
/// The part of its time that a side may wait for its processor.
const KEPT_WAITING: f64 = 0.01;
/// How long a measurement may take in all before it counts as hung.
const LIMIT: Duration = Duration::from_secs(20);

pub(crate) fn run(options: &Options) -> io::Result<Data> {
    let allowed = sys::allowed_cpus();
    let cpus = processors(options, &allowed)?;
    let questions = questions(options)?;
    let (rounds, time, most_gib) = if options.quick {
        (5, 25, 1)
    } else {
        (11, 60, 64)
    };
    let rounds = options.rounds.unwrap_or(rounds);
    let time = Duration::from_millis(options.time.unwrap_or(time));
    let extent = Extent {
        most_gib: options.most_gib.unwrap_or(most_gib),
        cpus: allowed.len(),
        busy_bytes: if options.quick { 16 << 20 } else { 256 << 20 },
    };

    let wanted_place = options.place.unwrap_or(Place::Near);
    let mut patience = PATIENCE;
    let line = wait_for(wanted_place, &cpus, &mut patience);
    let place = options.place.unwrap_or(Place::of(line));
    let machine = describe(&cpus, place, line, time, rounds);
    let mut log = Log::append(&options.out)?;
    log.machine(&machine)?;
    let mut turns = Turns {
        plan: Plan {
            cpus,
            time,
            limit: LIMIT,
        },
        place,
        patience: PATIENCE,
        run: machine.run,
        log: &mut log,
    };
    let mut cells: Vec<Cell> = questions
        .into_iter()
        .flat_map(|question| cells::of(question, extent))
        .filter(|cell| chosen(&options.case, &cell.case))
        .collect();
    for cell in &mut cells {
        cell.entrants.retain(|one| wanted(one, &options.who));
        cell.rounds = cell.rounds.min(rounds);
    }
    let minutes = options.minutes.or(options.quick.then_some(11.0));
    let mut budget = Budget::new(minutes, &cells);
    for (at, cell) in cells.iter().enumerate() {
        turns.measure(cell, &budget.share(cell))?;
        let next = cells.get(at + 1).map(|next| next.question);
        if next != Some(cell.question) {
            eprintln!("{:>4.0} s  {}", budget.spent().as_secs_f64(), cell.question);
        }
    }
    results::read(&options.out)
}

/// The reader's processor and the writer's, which this process must be allowed to use.
fn processors(options: &Options, allowed: &[usize]) -> io::Result<Vec<usize>> {
    let cpus = if options.cpus.is_empty() {
        allowed.iter().copied().take(2).collect()
    } else {
        options.cpus.clone()
    };
    if cpus.len() < 2 || cpus.iter().any(|cpu| !allowed.contains(cpu)) {
        let why = format!("two processors are needed, of {allowed:?}");
        return Err(io::Error::other(why));
    }
    Ok(cpus)
}

/// The questions to ask; at least one.
fn questions(options: &Options) -> io::Result<Vec<&'static str>> {
    let questions: Vec<&str> = cells::questions()
        .filter(|name| chosen(&options.only, name))
        .collect();
    if questions.is_empty() {
        let known: Vec<&str> = cells::questions().collect();
        let known = known.join(", ");
        return Err(io::Error::other(format!("the questions are {known}")));
    }
    Ok(questions)
}

/// The machine of a run, for the results file.
fn describe(cpus: &[usize], place: Place, line: f64, time: Duration, rounds: usize) -> Machine {
    Machine {
        run: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_secs()),
        date: machine::date(),
        cpu: machine::cpu(),
        cpus: cpus.to_vec(),
        caches: machine::caches(),
        kernel: machine::kernel(),
        rustc: machine::rustc(),
        place: format!("{place:?}: a line's round trip takes {line:.0} ns"),
        time_ms: time.as_millis() as u64,
        rounds,
        versions: machine::versions(),
        source: None,
    }
}

fn chosen(wanted: &[String], name: &str) -> bool {
    wanted.is_empty() || wanted.iter().any(|want| name.starts_with(want.as_str()))
}

fn wanted(one: &Entrant, who: &[String]) -> bool {
    use crate::figures::Kind;
    matches!(one.kind, Kind::Ours | Kind::Limit) || chosen(who, &one.who)
}

/// The round trip of a bare line between the first two processors, in ns. Waits until they
/// are at the distance `place`, or `patience` is over.
fn wait_for(place: Place, cpus: &[usize], patience: &mut Duration) -> f64 {
    let start = Instant::now();
    let mut line = probe(cpus);
    while Place::of(line) != place && start.elapsed() < *patience {
        std::thread::sleep(Duration::from_millis(30));
        line = probe(cpus);
    }
    *patience = patience.saturating_sub(start.elapsed());
    line
}

fn probe(cpus: &[usize]) -> f64 {
    let board = Shared::<Board>::new();
    let children = [true, false].map(|leads| {
        sys::fork(|| {
            sys::pin(cpus[usize::from(!leads)]);
            let ns = board.bounce(leads, TRIPS);
            if leads {
                board.reader.set(Slot::Value, ns);
            }
        })
    });
    match sys::reap(&children, LIMIT) {
        Ok(()) => board.reader.get(Slot::Value),
        Err(_) => f64::NAN,
    }
}

/// What all measurements of a run have in common.
struct Turns<'a> {
    plan: Plan,
    place: Place,
    patience: Duration,
    run: u64,
    log: &'a mut Log,
}

impl Turns<'_> {
    /// Measures one cell in rounds, each of which begins with another contender.
    fn measure(&mut self, cell: &Cell, share: &Share) -> io::Result<()> {
        let mut failed = vec![false; cell.entrants.len()];
        for round in 0..cell.rounds {
            if share.is_used_up(round) {
                break;
            }
            for turn in 0..cell.entrants.len() {
                let which = (round + turn) % cell.entrants.len();
                if !failed[which] {
                    failed[which] = !self.take(cell, &cell.entrants[which], round)?;
                }
            }
        }
        Ok(())
    }

    /// One turn of one contender. `false` if the contender cannot be measured.
    fn take(&mut self, cell: &Cell, one: &Entrant, round: usize) -> io::Result<bool> {
        for _ in 0..=AGAIN {
            let sample = (one.contender.run)(&one.spec, one.job, &self.plan, one.pairs);
            let (sample, dropped) = match &sample {
                Ok(sample) => (*sample, objection(sample, one, self.place)),
                Err(why) => (Sample::bare(f64::NAN), Some(format!("failed: {why}"))),
            };
            let failed = dropped
                .as_ref()
                .is_some_and(|why| why.starts_with("failed"));
            if failed {
                eprintln!(
                    "{}, {}, {}: {}",
                    cell.question,
                    cell.case,
                    one.who,
                    dropped.as_deref().unwrap_or("")
                );
            }
            let counts = dropped.is_none();
            self.log
                .row(&row(cell, one, self.run, round, &sample, dropped))?;
            if counts || failed {
                return Ok(counts);
            }
            wait_for(self.place, &self.plan.cpus, &mut self.patience);
        }
        Ok(true)
    }
}

/// Why a sample does not count.
fn objection(sample: &Sample, one: &Entrant, place: Place) -> Option<String> {
    if one.pairs > 1 || one.job.loops() > 0 {
        // Nobody probes a line. Those that share processors wait for each other.
        return None;
    }
    let moved = |ns: f64| !ns.is_nan() && Place::of(ns) != place;
    if moved(sample.line_before) || moved(sample.line_after) {
        let (before, after) = (sample.line_before, sample.line_after);
        return Some(format!("moved: line {before:.0} ns, then {after:.0} ns"));
    }
    if !one.shares && sample.kept_waiting > KEPT_WAITING {
        return Some(format!(
            "disturbed: waited {:.1} % of the time",
            sample.kept_waiting * 100.0
        ));
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
    Row {
        run,
        question: cell.question.to_string(),
        case: cell.case.clone(),
        who: one.who.clone(),
        kind: one.kind,
        round,
        unit: cell.unit.to_string(),
        value: some(sample.value * cell.scale),
        p99: some(sample.p99 * cell.scale),
        p999: some(sample.p999 * cell.scale),
        bytes: some(sample.bytes),
        cpu: some(sample.cpu),
        calls: some(sample.calls),
        waits: some(sample.waits),
        preemptions: some(sample.preemptions),
        kept_waiting: some(sample.kept_waiting),
        line_before: some(sample.line_before),
        line_after: some(sample.line_after),
        dropped,
    }
}
