//! `shmpipe stat`: all that can be seen of one ring, its rate, and who waits for whom.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shmpipe::{Occupant, Options, Snapshot};

use crate::args::StatArgs;
use crate::exit::Failure;
use crate::json;
use crate::ls::waits;
use crate::rings::{Seen, Segment, add_rates, holder, is_of_path, no_ring, survey};
use crate::text::{columns, hanging, print, watch};
use crate::units::{age, bar, bytes, percent};

/// How long the ring is looked at.
const SPAN: Duration = Duration::from_secs(1);
/// The number of looks at who waits, within that time.
const LOOKS: u32 = 40;

/// Columns of a fact's name.
const NAME: usize = 12;
/// The most columns of the bar.
const BAR: usize = 22;

/// How often each side was seen to wait.
#[derive(Clone, Copy, Debug, Default)]
struct Waits {
    looks: u32,
    producer: u32,
    consumer: u32,
}

pub(crate) fn run(args: &StatArgs) -> Result<(), Failure> {
    let screen = |span: Duration| {
        let rings = look(args, span)?;
        Ok(match args.json {
            true => {
                let rings: Vec<Value> = rings.iter().map(in_json).collect();
                json::line("stat", json!({ "rings": rings }))
            }
            false => {
                let width = columns();
                let rings = rings.iter().map(|ring| in_words(ring, width));
                let rings: Vec<String> = rings.collect();
                rings.join("\n")
            }
        })
    };
    match args.watch {
        // The look takes the time between two screens.
        Some(interval) => watch(Duration::ZERO, json::between(args.json), || {
            screen(interval)
        }),
        None => print(screen(SPAN)?),
    }
}

/// The rings that are asked for.
fn find(args: &StatArgs) -> Result<Vec<Segment>, Failure> {
    let mut segments = survey()?;
    if let Some(id) = args.target.id {
        segments.retain(|segment| segment.id() == id);
        if segments.iter().all(|segment| segment.ring().is_none()) {
            return Err(Snapshot::of(id).map_or_else(Failure::from, |_| {
                Failure::other(format_args!("segment {id}: has just gone"))
            }));
        }
    } else if let Some(pid) = args.target.pid {
        segments.retain(|segment| segment.is_of(pid));
        if segments.is_empty() {
            return Err(Failure::other(format_args!(
                "process {pid} has no ring here"
            )));
        }
    } else if let Some(path) = &args.target.path {
        match Options::new().project(args.project).snapshot(path) {
            Ok(ring) => segments.retain(|segment| segment.id() == ring.id),
            Err(error) => {
                // A named ring has no key any more once both sides are there.
                segments.retain(|segment| is_of_path(segment, path, args.project));
                if segments.is_empty() {
                    return Err(no_ring(&error, args.project).unwrap_or_else(|| error.into()));
                }
            }
        }
    }
    Ok(segments)
}

fn look(args: &StatArgs, span: Duration) -> Result<Vec<(Segment, Waits)>, Failure> {
    let (before, start) = (find(args)?, Instant::now());
    let mut waits = vec![Waits::default(); before.len()];
    for _ in 0..LOOKS {
        for (segment, waits) in before.iter().zip(&mut waits) {
            if let Ok(ring) = Snapshot::of(segment.id()) {
                waits.looks += 1;
                waits.producer += u32::from(ring.producer_sleeps);
                waits.consumer += u32::from(ring.consumer_sleeps);
            }
        }
        thread::sleep(span / LOOKS);
    }
    let mut now = survey()?;
    add_rates(&mut now, &before, start.elapsed());
    let latest = before.into_iter().zip(waits).map(|(earlier, waits)| {
        // One that has become corrupt is no ring any more.
        let is_it = |segment: &&Segment| {
            let is_ring = segment.ring().is_some();
            segment.has_same_ring(&earlier) || segment.id() == earlier.id() && !is_ring
        };
        let found = now.iter().find(is_it);
        // A ring that has gone meanwhile stays as it was.
        let mut found = found.cloned().unwrap_or(Segment {
            has_gone: true,
            ..earlier
        });
        if let Seen::Ring(ring) = &mut found.seen {
            // A waiting side is awake for a moment now and then, so the majority of
            // looks counts.
            ring.producer_sleeps = waits.are_most(waits.producer);
            ring.consumer_sleeps = waits.are_most(waits.consumer);
        }
        (found, waits)
    });
    Ok(latest.collect())
}

impl Waits {
    fn are_most(self, part: u32) -> bool {
        self.looks > 0 && 2 * part > self.looks
    }
}

/// Who holds the stream up.
fn bottleneck(segment: &Segment) -> &'static str {
    let Some(ring) = segment.ring() else {
        return "unknown";
    };
    if segment.has_gone {
        return "the ring has gone";
    }
    let both = [ring.producer, ring.consumer];
    if !both.iter().all(|side| matches!(side, Occupant::Process(_))) {
        return "not both sides are there";
    }
    match (ring.producer_sleeps, ring.consumer_sleeps) {
        (true, _) => "the receiver, or what it writes to: the sender waits for room",
        (_, true) if segment.rate == Some(0.0) => "nothing is sent: the receiver waits for bytes",
        (_, true) => "the sender, or what it reads from: the receiver waits for bytes",
        _ if segment.rate == Some(0.0) => "neither side does anything",
        _ => "neither: both sides keep pace",
    }
}

fn in_json((segment, waits): &(Segment, Waits)) -> Value {
    let mut value = json::segment(segment);
    let share = |part: u32| f64::from(part) / f64::from(waits.looks.max(1));
    if let Value::Object(object) = &mut value {
        object.insert("bottleneck".to_owned(), bottleneck(segment).into());
        object.insert("producer_waits".to_owned(), share(waits.producer).into());
        object.insert("consumer_waits".to_owned(), share(waits.consumer).into());
    }
    value
}

/// A line for each fact. A value that is too long for `width` continues in the lines below.
fn in_words((segment, _): &(Segment, Waits), width: Option<usize>) -> String {
    let mut text = String::new();
    let stat = &segment.stat;
    let mut line = |name: &str, value: String| {
        text += &hanging((&format!("{name}:"), None), NAME, &value, width);
    };
    line("path", segment.path());
    line("segment", format!("{}, {} bytes", stat.id, stat.size));
    line(
        "owner",
        format!("{}, mode {:04o}", segment.owner(), stat.mode.bits()),
    );
    line("state", segment.state().to_string());
    line("made", format!("{} ago", age(segment.age())));
    let Some(ring) = segment.ring() else {
        return text;
    };
    let key = ring
        .key
        .map_or_else(|| "none".to_owned(), |key| key.to_string());
    line("key", key);
    line("life cycle", ring.life_cycle.to_string());
    line("nonce", format!("{:016x}", ring.nonce));
    line(
        "attached",
        format!("{} times; a handle counts two", ring.attached),
    );
    let (fill, capacity) = (ring.fill as u64, ring.capacity as u64);
    line("capacity", format!("{capacity} ({})", bytes(capacity)));
    // With ` 100%` behind it.
    let room = width.map_or(BAR, |width| width.saturating_sub(NAME + 1 + 5));
    let bar = bar(fill, capacity, room.clamp(6, BAR));
    let part = format!("{bar} {}%", percent(fill, capacity));
    line("fill", format!("{fill} {part}"));
    line(
        "total",
        format!("{} ({})", ring.written, bytes(ring.written)),
    );
    if let Some(rate) = segment.rate {
        line("rate", format!("{}/s", bytes(rate as u64)));
    }
    line("unread ends", ring.unread_ends.to_string());
    line("sender", holder(ring.producer));
    line("receiver", holder(ring.consumer));
    line(
        "waits",
        waits(ring.producer_sleeps, ring.consumer_sleeps).to_owned(),
    );
    line("bottleneck", bottleneck(segment).to_owned());
    text
}
