//! The questions, and the measurements that answer each.

#[cfg(feature = "async")]
mod asynchronous;
pub(crate) mod busy;
mod many;

use std::time::Duration;

use crate::channel::{Spec, Wait};
use crate::contenders::{self, Contender};
use crate::figures::{Kind, questions};
use crate::job::{Job, Slow};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const GIB: u64 = 1 << 30;

/// The capacity of every contender, unless the question is about capacities.
pub(crate) const CAPACITY: usize = 4 * MIB;

/// A contender and its job.
#[derive(Clone)]
pub(crate) struct Entrant {
    pub(crate) who: String,
    pub(crate) kind: Kind,
    pub(crate) contender: Contender,
    pub(crate) spec: Spec,
    pub(crate) job: Job,
    pub(crate) pairs: usize,
    /// Whether a side has several threads, which wait for its processor in turn.
    pub(crate) shares: bool,
}

/// One comparison: its contenders are measured in turns.
#[derive(Clone)]
pub(crate) struct Cell {
    pub(crate) question: &'static str,
    pub(crate) case: String,
    pub(crate) unit: &'static str,
    /// The factor from the job's figure to a figure in `unit`.
    pub(crate) scale: f64,
    pub(crate) entrants: Vec<Entrant>,
    /// The most rounds, for cells whose rounds take long.
    pub(crate) rounds: usize,
}

/// How far the questions go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) most_gib: u64,
    pub(crate) cpus: usize,
    /// Bytes of a stream on the machine that is least busy.
    pub(crate) busy_bytes: u64,
}

/// The names of the questions.
pub(crate) fn questions() -> impl Iterator<Item = &'static str> {
    questions::ALL.iter().map(|question| question.name)
}

/// The cells of a question.
pub(crate) fn of(question: &str, extent: Extent) -> Vec<Cell> {
    match question {
        "throughput" => throughput(),
        "messages" => messages(),
        "in place" => in_place(),
        "instructions" => instructions(),
        "round trip" => round_trip(),
        "parking" => parking(),
        "wake" => wake(),
        "paced" => paced(),
        "unaligned" => unaligned(),
        "small rings" => small_rings(),
        "slow side" => slow_side(),
        "busy machine" => busy::cells(extent.busy_bytes),
        "growth" => growth(extent),
        "set-up" => set_up(),
        #[cfg(feature = "async")]
        "async streams" => asynchronous::streams(),
        #[cfg(feature = "async")]
        "async round trips" => asynchronous::round_trips(),
        #[cfg(not(feature = "async"))]
        "async streams" | "async round trips" => Vec::new(),
        "many rings" => many::streams(),
        "many rings, one message" => many::single_messages(),
        _ => unreachable!("one of the questions"),
    }
}

fn cell(question: &'static str, case: String, unit: &'static str, entrants: Vec<Entrant>) -> Cell {
    Cell {
        question,
        case,
        unit,
        scale: 1.0,
        entrants,
        rounds: usize::MAX,
    }
}

fn entrant(contender: Contender, job: Job, wait: Wait) -> Entrant {
    Entrant {
        who: contender.name.to_string(),
        kind: contender.kind,
        contender,
        spec: Spec {
            capacity: CAPACITY,
            block: job.block(),
            wait,
            channels: 1,
        },
        job,
        pairs: 1,
        shares: false,
    }
}

fn named(names: &[&str]) -> Vec<Contender> {
    contenders::all()
        .into_iter()
        .filter(|contender| names.contains(&contender.name))
        .collect()
}

fn stream(block: usize) -> Job {
    Job::Stream {
        block,
        skew: (0, 0),
        slow: None,
        total: None,
    }
}

pub(crate) fn size(bytes: usize) -> String {
    match bytes {
        bytes if bytes >= MIB => format!("{} MiB", bytes / MIB),
        bytes if bytes >= KIB => format!("{} KiB", bytes / KIB),
        bytes => format!("{bytes} B"),
    }
}

/// Blocks that are made in the channel's memory, and checked there.
fn in_place() -> Vec<Cell> {
    [64, KIB, 4 * KIB, 64 * KIB, MIB]
        .map(|block| {
            let job = stream(block);
            let all = contenders::in_place::all().into_iter();
            let entrants = all
                .chain(contenders::in_place::limits())
                .map(|who| entrant(who, job, Wait::Default))
                .collect();
            cell("in place", size(block), "GB/s", entrants)
        })
        .into()
}

/// Every contender that can send blocks of that size.
fn everybody(job: Job, wait: Wait) -> Vec<Entrant> {
    contenders::all()
        .into_iter()
        .filter(|contender| job.block() <= contender.most)
        .map(|contender| entrant(contender, job, wait))
        .collect()
}

fn throughput() -> Vec<Cell> {
    [64, KIB, 4 * KIB, 64 * KIB, MIB]
        .map(|block| {
            let job = stream(block);
            let mut entrants = everybody(job, Wait::Default);
            let copies = contenders::copies().into_iter().chain(contenders::halves());
            entrants.extend(copies.map(|copy| entrant(copy, job, Wait::Default)));
            cell("throughput", size(block), "GB/s", entrants)
        })
        .into()
}

fn messages() -> Vec<Cell> {
    [8, 64, 256]
        .map(|block| {
            let job = stream(block);
            let mut entrants = everybody(job, Wait::Default);
            entrants.extend(contenders::halves().map(|half| entrant(half, job, Wait::Default)));
            Cell {
                scale: 1000.0 / block as f64,
                ..cell("messages", size(block), "M/s", entrants)
            }
        })
        .into()
}

/// Instruction counts. One round will do, since they are the same each time.
fn instructions() -> Vec<Cell> {
    let counted = |case: String, block: usize, contenders: Vec<Contender>| {
        let entrants = contenders
            .into_iter()
            .map(|who| entrant(who, stream(block), Wait::Default))
            .collect();
        Cell {
            rounds: 1,
            ..cell("instructions", case, "", entrants)
        }
    };
    let copied = [8, 64, 256, KIB];
    let copied = copied.map(|block| counted(size(block), block, contenders::counters().collect()));
    let in_place = contenders::counters_in_place().collect();
    let in_place = counted(format!("{} in place", size(64)), 64, in_place);
    copied.into_iter().chain([in_place]).collect()
}

fn round_trip() -> Vec<Cell> {
    [8, 64, KIB]
        .map(|block| {
            let job = Job::RoundTrip { block };
            let mut entrants = everybody(job, Wait::Spin);
            entrants.push(entrant(contenders::mailbox(), job, Wait::Spin));
            cell("round trip", size(block), "ns", entrants)
        })
        .into()
}

fn parking() -> Vec<Cell> {
    let sleepers = [
        "shmpipe",
        "pipe",
        "FIFO",
        "Unix socket",
        "TCP loopback",
        "System V mq",
    ];
    let mut sleepers = named(&[&sleepers[..], &["POSIX mq", "shmem-ipc", "ipc-channel"]].concat());
    let mut few = named(&["shmpipe", "pipe", "shmem-ipc"]);
    // The cost of the futex alone.
    sleepers.push(contenders::bare_futex());
    few.push(contenders::bare_futex());
    [(64, sleepers), (8, few)]
        .map(|(block, sleepers)| {
            let job = Job::RoundTrip { block };
            let entrants = sleepers
                .into_iter()
                .map(|who| entrant(who, job, Wait::Park))
                .collect();
            Cell {
                scale: 1e-3,
                ..cell("parking", size(block), "us", entrants)
            }
        })
        .into()
}

fn wake() -> Vec<Cell> {
    let mut all = named(&["shmpipe", "pipe", "Unix socket"]);
    all.push(contenders::bare_futex());
    let entrants = all
        .into_iter()
        .map(|who| entrant(who, Job::Wake, Wait::Park))
        .collect();
    vec![Cell {
        scale: 1e-3,
        ..cell("wake", size(8), "us", entrants)
    }]
}

fn paced() -> Vec<Cell> {
    let ours = contenders::all()[0];
    [
        (50, 1),
        (100, 1),
        (500, 1),
        (1000, 1),
        (10_000, 1),
        (10_000, 16),
    ]
    .map(|(every, burst)| {
        let job = Job::Paced {
            every: Duration::from_nanos(every),
            burst,
        };
        let case = match (every, burst) {
            (every, 1) if every < 1000 => format!("every {every} ns"),
            (every, 1) => format!("every {} us", every / 1000),
            (every, burst) => format!("{burst} every {} us", every / 1000),
        };
        let mut latency = entrant(ours, job, Wait::Spin);
        latency.who += ", latency policy";
        cell(
            "paced",
            case,
            "ns",
            vec![entrant(ours, job, Wait::Default), latency],
        )
    })
    .into()
}

fn unaligned() -> Vec<Cell> {
    let ours = contenders::all()[0];
    [4 * KIB, 64 * KIB, MIB]
        .map(|block| {
            let with = |who: &str, block, skew| {
                let job = Job::Stream {
                    block,
                    skew,
                    slow: None,
                    total: None,
                };
                Entrant {
                    who: who.to_string(),
                    ..entrant(ours, job, Wait::Default)
                }
            };
            let entrants = vec![
                with("aligned", block, (0, 0)),
                with("source + 13", block, (13, 0)),
                with("destination + 7", block, (0, 7)),
                with("both", block, (13, 7)),
                with("3 bytes less", block - 3, (0, 0)),
            ];
            cell("unaligned", size(block), "GB/s", entrants)
        })
        .into()
}

fn small_rings() -> Vec<Cell> {
    let mut cells = Vec::new();
    for capacity in [64 * KIB, 256 * KIB] {
        for block in [4 * KIB, 64 * KIB, MIB] {
            let case = format!("{} ring, {} blocks", size(capacity), size(block));
            let mut entrants = Vec::new();
            let all = named(&["shmpipe", "rtrb", "pipe"]).into_iter();
            for contender in all.chain(contenders::halves()) {
                let mut one = entrant(contender, stream(block), Wait::Default);
                one.spec.capacity = capacity;
                entrants.push(one);
            }
            cells.push(cell("small rings", case, "GB/s", entrants));
        }
    }
    cells
}

/// Blocks of 64 KiB. One side works for 50 us after each.
fn slow_side() -> Vec<Cell> {
    [("reader", true), ("writer", false)]
        .map(|(side, reader)| {
            let slow = Some(Slow {
                reader,
                work: Duration::from_micros(50),
            });
            let job = Job::Stream {
                block: 64 * KIB,
                skew: (0, 0),
                slow,
                total: None,
            };
            let mut all = named(&["shmpipe", "pipe", "rtrb"]);
            all.push(contenders::slow_work());
            let entrants = all
                .into_iter()
                .map(|who| entrant(who, job, Wait::Default))
                .collect();
            cell("slow side", format!("slower {side}"), "GB/s", entrants)
        })
        .into()
}

/// Growing numbers of bytes, and of rings.
fn growth(extent: Extent) -> Vec<Cell> {
    let ours = contenders::all()[0];
    let block = 64 * KIB;
    let mut cells = Vec::new();
    let mut gib = 1;
    while gib <= extent.most_gib {
        let job = Job::Stream {
            block,
            skew: (0, 0),
            slow: None,
            total: Some(gib * GIB),
        };
        let entrants = vec![entrant(ours, job, Wait::Default)];
        let rounds = if gib >= 16 { 3 } else { usize::MAX };
        cells.push(Cell {
            rounds,
            ..cell("growth", format!("{gib} GiB"), "GB/s", entrants)
        });
        gib *= 4;
    }
    let mut entrants = Vec::new();
    for pairs in 1..=extent.cpus {
        let one = entrant(ours, stream(block), Wait::Default);
        let who = if pairs == 1 {
            "1 ring".to_string()
        } else {
            format!("{pairs} rings")
        };
        entrants.push(Entrant { who, pairs, ..one });
    }
    cells.push(cell("growth", "rings".to_string(), "GB/s", entrants));
    cells
}

fn set_up() -> Vec<Cell> {
    let mut cells = Vec::new();
    for (case, by_path, capacity) in [
        ("anonymous", false, CAPACITY),
        ("by path", true, CAPACITY),
        ("anonymous, 1 GiB", false, GIB as usize),
    ] {
        let entrants = contenders::setups(by_path)
            .map(|contender| {
                let mut one = entrant(contender, Job::Wake, Wait::Default);
                one.spec.capacity = capacity;
                one
            })
            .into();
        cells.push(cell("set-up", case.to_string(), "us", entrants));
    }
    cells
}
