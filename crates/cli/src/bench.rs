//! `shmpipe bench`: measures a ring beside a pipe and a Unix socket, and the command beside
//! cat(1) in a shell.
//!
//! Each round measures all of them once, so that other work on the machine disturbs all
//! alike. The medians of the rounds count.

use std::fs;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::thread::{available_parallelism, sleep};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};
use serde_json::{Value, json};
use shmpipe::{DEFAULT_CAPACITY, Options, Ring};

use crate::args::BenchArgs;
use crate::exit::Failure;
use crate::figures::{Spread, debug_build};
use crate::fork::{Forked, fork};
use crate::json;
use crate::text::{columns, print, wrapped};
use crate::units;

/// No round begins after this time. So rounds of the default size take less than a minute in all.
const TIME: Duration = Duration::from_secs(45);
const BLOCKS: [usize; 3] = [4 << 10, 64 << 10, 1 << 20];
/// Bytes that go first, before the clock starts.
const WARM_UP: usize = 2 * DEFAULT_CAPACITY;
/// Columns of the table of figures.
const TABLE: usize = 77;
/// Bytes of a round-trip message, and the number of trips.
const MESSAGE: usize = 64;
const TRIPS: u32 = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Ring,
    Pipe,
    Socket,
}

const WAYS: [Way; 3] = [Way::Ring, Way::Pipe, Way::Socket];

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Ring => "ring",
            Way::Pipe => "pipe",
            Way::Socket => "socket",
        }
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Measure {
    /// Bytes per second with blocks of this many bytes.
    Throughput(usize),
    /// Seconds per round trip.
    RoundTrip,
    /// Bytes per second of `head | send` with `recv | cat > /dev/null`, or of
    /// `head | cat | cat | cat > /dev/null`.
    Shell,
}

#[derive(Debug)]
struct Cell {
    measure: Measure,
    way: Way,
    figures: Vec<f64>,
}

pub(crate) fn run(args: &BenchArgs) -> Result<(), Failure> {
    let busy = busy_part();
    let measures = BLOCKS.map(Measure::Throughput).into_iter();
    let measures = measures.chain([Measure::RoundTrip, Measure::Shell]);
    let mut cells: Vec<Cell> = measures
        .flat_map(|measure| WAYS.map(|way| (measure, way)))
        .filter(|cell| *cell != (Measure::Shell, Way::Socket))
        .map(|(measure, way)| Cell {
            measure,
            way,
            figures: Vec::new(),
        })
        .collect();
    let start = Instant::now();
    let mut rounds = 0;
    while rounds < args.rounds && (rounds == 0 || start.elapsed() < TIME) {
        let order: Vec<usize> = match rounds % 2 {
            0 => (0..cells.len()).collect(),
            _ => (0..cells.len()).rev().collect(),
        };
        for index in order {
            let cell = &mut cells[index];
            let figure = measure(cell.measure, cell.way, args.bytes);
            cell.figures
                .push(figure.map_err(|error| Failure::io(cell.way.name(), &error))?);
        }
        rounds += 1;
    }
    print(match args.json {
        true => in_json(&cells, args, rounds, busy),
        false => in_words(&cells, args, rounds, busy, columns()),
    })
}

fn measure(measure: Measure, way: Way, bytes: u64) -> io::Result<f64> {
    match measure {
        Measure::Throughput(block) => throughput(Duplex::new(way)?, bytes, block),
        Measure::RoundTrip => round_trip(Duplex::new(way)?),
        Measure::Shell => shell(way, bytes),
    }
}

/// A pair of opposite channels, made before the fork.
enum Duplex {
    Rings(Box<[Ring; 2]>),
    Pipes([(PipeReader, PipeWriter); 2]),
    Sockets(UnixStream, UnixStream),
}

type End = (Box<dyn Read>, Box<dyn Write>);

impl Duplex {
    fn new(way: Way) -> io::Result<Duplex> {
        let ring = || Options::new().create_anonymous().map_err(io::Error::from);
        Ok(match way {
            Way::Ring => Duplex::Rings(Box::new([ring()?, ring()?])),
            Way::Pipe => Duplex::Pipes([io::pipe()?, io::pipe()?]),
            Way::Socket => {
                let (parent, child) = UnixStream::pair()?;
                Duplex::Sockets(parent, child)
            }
        })
    }

    /// The end of the parent or of the child. The other end is closed here.
    fn end(self, of_parent: bool) -> io::Result<End> {
        Ok(match self {
            Duplex::Rings(rings) => {
                let [up, down] = *rings;
                let (from, to) = if of_parent { (up, down) } else { (down, up) };
                (
                    Box::new(from.into_consumer()?),
                    Box::new(to.into_producer()?),
                )
            }
            Duplex::Pipes([up, down]) => {
                let (from, to) = if of_parent { (up, down) } else { (down, up) };
                (Box::new(from.0), Box::new(to.1))
            }
            Duplex::Sockets(parent, child) => {
                let own = if of_parent { parent } else { child };
                (Box::new(own.try_clone()?), Box::new(own))
            }
        })
    }
}

/// Runs `child` in a child process and `parent` here, each with its end.
fn both(
    duplex: Duplex,
    child: impl FnOnce(&mut End) -> io::Result<()>,
    parent: impl FnOnce(&mut End) -> io::Result<f64>,
) -> io::Result<f64> {
    match fork()? {
        Forked::Child => {
            let done = duplex.end(false).and_then(|mut end| child(&mut end));
            std::process::exit(i32::from(done.is_err())) // both ends are dropped
        }
        Forked::Parent(process) => {
            let figure = duplex.end(true).and_then(|mut end| parent(&mut end));
            let status = process.wait()?;
            match status.exit_status() {
                Some(0) => figure,
                _ => Err(figure
                    .err()
                    .unwrap_or_else(|| io::Error::other("the child failed"))),
            }
        }
    }
}

/// Bytes per second from a child to its parent.
fn throughput(duplex: Duplex, bytes: u64, block: usize) -> io::Result<f64> {
    let send = |end: &mut End| {
        let zeros = vec![0; block];
        let mut left = bytes + WARM_UP as u64;
        while left > 0 {
            let len = left.min(block as u64) as usize; // at most a block
            end.1.write_all(&zeros[..len])?;
            left -= len as u64;
        }
        Ok(())
    };
    both(duplex, send, |end| {
        let mut room = vec![0; block];
        let mut read = |mut left: u64| {
            while left > 0 {
                let len = left.min(block as u64) as usize; // at most a block
                match end.0.read(&mut room[..len])? {
                    0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                    len => left -= len as u64,
                }
            }
            Ok(())
        };
        read(WARM_UP as u64)?;
        let start = Instant::now();
        read(bytes)?;
        Ok(bytes as f64 / start.elapsed().as_secs_f64())
    })
}

/// Seconds per round trip.
fn round_trip(duplex: Duplex) -> io::Result<f64> {
    let echo = |end: &mut End| {
        let mut message = [0; MESSAGE];
        for _ in 0..2 * TRIPS {
            end.0.read_exact(&mut message)?;
            end.1.write_all(&message)?;
        }
        Ok(())
    };
    both(duplex, echo, |end| {
        let mut message = [0; MESSAGE];
        let mut trips = || {
            for _ in 0..TRIPS {
                end.1.write_all(&message)?;
                end.0.read_exact(&mut message)?;
            }
            Ok::<(), io::Error>(())
        };
        trips()?;
        let start = Instant::now();
        trips()?;
        Ok(start.elapsed().as_secs_f64() / f64::from(TRIPS))
    })
}

/// Bytes per second as in a shell, including program start-up.
fn shell(way: Way, bytes: u64) -> io::Result<f64> {
    // A file without a name, so that none is left by a bench that is killed.
    let file = memfd_create("shmpipe-bench", MemfdFlags::CLOEXEC)?;
    let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    let source = format!("head -c {bytes} /dev/zero");
    let script = match way {
        Way::Ring => format!(
            "{source} | \"$0\" send -q \"$1\" & \"$0\" recv -q \"$1\" | cat > /dev/null; wait $!"
        ),
        Way::Pipe | Way::Socket => format!("{source} | cat | cat | cat > /dev/null"),
    };
    let mut command = Command::new("sh");
    command
        .args(["-c", &script])
        .arg(std::env::current_exe()?)
        .arg(&path);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let start = Instant::now();
    let ended = command.output()?; // its messages come with a failure, or not at all
    let time = start.elapsed();
    match ended.status.success() {
        true => Ok(bytes as f64 / time.as_secs_f64()),
        false => {
            let said = String::from_utf8_lossy(&ended.stderr);
            let why = format!("the command of the shell failed: {}", said.trim_end());
            Err(io::Error::other(why))
        }
    }
}

/// The busy share of processor time, sampled for 300 ms.
fn busy_part() -> Option<f64> {
    let look = || {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let times: Vec<f64> = line
            .split_whitespace()
            .filter_map(|time| time.parse().ok())
            .collect();
        let idle = times.get(3)? + times.get(4)?; // and waiting for disks
        Some((times.iter().take(8).sum::<f64>(), idle))
    };
    let before = look()?;
    sleep(Duration::from_millis(300));
    let after = look()?;
    let all = after.0 - before.0;
    (all > 0.0).then(|| 1.0 - (after.1 - before.1) / all)
}

fn in_json(cells: &[Cell], args: &BenchArgs, rounds: u32, busy: Option<f64>) -> String {
    let figures = cells.iter().map(|cell| {
        let spread = Spread::of(cell.figures.clone());
        let (question, block, unit) = match cell.measure {
            Measure::Throughput(block) => ("throughput", Some(block), "bytes per second"),
            Measure::RoundTrip => ("round trip", Some(MESSAGE), "seconds"),
            Measure::Shell => ("shell", None, "bytes per second"),
        };
        json!({
            "question": question, "block": block, "way": cell.way.name(), "unit": unit,
            "least": spread.least, "median": spread.median, "most": spread.most,
        })
    });
    let figures: Vec<Value> = figures.collect();
    let whole = json!({
        "bytes": args.bytes, "rounds": rounds, "processors": processors(), "busy": busy,
        "is_debug_build": cfg!(debug_assertions), "figures": figures,
    });
    json::line("bench", whole)
}

/// A figure in three digits.
fn digits(figure: f64) -> String {
    match figure {
        ..9.995 => format!("{figure:.2}"),
        ..99.95 => format!("{figure:.1}"),
        _ => format!("{figure:.0}"),
    }
}

fn processors() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// The figures as a table. On a screen that is narrower than the table, each has a line of its own.
fn in_words(
    cells: &[Cell],
    args: &BenchArgs,
    rounds: u32,
    busy: Option<f64>,
    width: Option<usize>,
) -> String {
    let title = format!(
        "{} in each run, {rounds} of {} rounds, {} processors; medians (least .. most)",
        units::bytes(args.bytes),
        args.rounds,
        processors()
    );
    let mut text = wrapped(&title, width) + &debug_build(width);
    if let Some(busy) = busy.filter(|&busy| busy > 0.1) {
        let busy = format!(
            "the machine was busy: {:.0}% of it, before this began",
            busy * 100.0
        );
        text += &wrapped(&busy, width);
    }
    let is_narrow = width.is_some_and(|width| width < TABLE);
    if !is_narrow {
        text += &format!("\n{:<17}", "");
        for way in WAYS {
            text += &format!(" {:<19}", way.name());
        }
    }
    let mut shown = Vec::new();
    for cell in cells {
        if !shown.contains(&cell.measure) {
            shown.push(cell.measure);
        }
    }
    for measure in shown {
        let (title, scale) = match measure {
            Measure::Throughput(block) => (
                format!("GB/s, {:>4} block", units::bytes(block as u64)),
                1e-9,
            ),
            Measure::RoundTrip => (format!("us, {MESSAGE} B and back"), 1e6),
            Measure::Shell => ("GB/s, in a shell".to_owned(), 1e-9),
        };
        text = text.trim_end().to_owned() + &format!("\n{title:<17}");
        for cell in cells.iter().filter(|cell| cell.measure == measure) {
            let spread = Spread::of(cell.figures.clone());
            let [least, median, most] =
                [spread.least, spread.median, spread.most].map(|figure| digits(figure * scale));
            let figures = format!("{median} ({least} .. {most})");
            text += &match is_narrow {
                true => format!("\n  {:<6} {figures}", cell.way.name()),
                false => format!(" {figures:<19}"),
            };
        }
    }
    let shell = "in a shell: head | send, recv | cat; beside head | cat | cat | cat > /dev/null";
    text.trim_end().to_owned() + "\n\n" + &wrapped(shell, width)
}
