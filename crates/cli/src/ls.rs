//! `shmpipe ls`: lists the rings of this host.

use std::time::Instant;

use serde_json::json;
use shmpipe::Occupant;

use crate::args::LsArgs;
use crate::exit::Failure;
use crate::json;
use crate::rings::{Seen, Segment, State, add_rates, sort, survey};
use crate::table::{Cell, Column, Part, cut_end, render};
use crate::text::{Colour, columns, print, watch, wrapped};
use crate::units::{age, bar, bytes, percent};

/// Characters of a command's name.
const NAME: usize = 8;
/// Characters of the bar.
const BAR: usize = 6;

pub(crate) fn run(args: &LsArgs) -> Result<(), Failure> {
    let mut before: Option<(Vec<Segment>, Instant)> = None;
    let mut screen = || {
        let (mut segments, now) = (survey()?, Instant::now());
        if let Some((before, then)) = &before {
            add_rates(&mut segments, before, now - *then);
        }
        before = Some((segments.clone(), now));
        sort(&mut segments, args.sort);
        Ok(list(&segments, args))
    };
    match args.watch {
        Some(interval) => watch(interval, json::between(args.json), screen),
        None => print(screen()?),
    }
}

fn list(segments: &[Segment], args: &LsArgs) -> String {
    let shown = segments
        .iter()
        .filter(|segment| args.all || segment.may_be_ring());
    if args.json {
        let rings: Vec<_> = shown.map(json::segment).collect();
        return json::line("ls", json!({ "rings": rings }));
    }
    let width = if args.wide { None } else { columns() };
    let mut columns = NARROW.to_vec();
    if args.wide {
        columns.extend(MORE);
    }
    let rows: Vec<Vec<Cell>> = shown.map(|segment| row(segment, args)).collect();
    let mut text = render(&columns, &rows, width);
    for line in footer(segments) {
        text += &wrapped(&line, width);
    }
    text
}

const NARROW: [Column; 10] = [
    Column::new("PATH", 0).cut(8, Part::End),
    Column::new("ID", 6).number(),
    Column::new("OWNER", 8).cut(6, Part::Start),
    Column::new("STATE", 0),
    Column::new("CAP", 7).number(),
    Column::new("", 2), // the bar of FILL
    Column::new("FILL", 1).number(),
    Column::new("TOTAL", 4).number(),
    Column::new("AGE", 5).number(),
    Column::new("FROM > TO", 3),
];

/// What `--wide` adds.
const MORE: [Column; 8] = [
    Column::new("UNREAD", 0).number(),
    Column::new("KEY", 0),
    Column::new("MODE", 0),
    Column::new("SIZE", 0).number(),
    Column::new("ATTACHED", 0).number(),
    Column::new("WAITS", 0),
    Column::new("SENDER", 0),
    Column::new("RECEIVER", 0),
];

/// The cells of [`NARROW`], and with `--wide` those of [`MORE`].
fn row(segment: &Segment, args: &LsArgs) -> Vec<Cell> {
    let number = |number: u64| match args.bytes {
        true => number.to_string(),
        false => bytes(number),
    };
    let ring = segment.ring();
    let of_ring = |text: String| ring.map_or_else(|| "-".to_owned(), |_| text);
    let (fill, capacity) = (segment.fill() as u64, segment.capacity() as u64);
    let state = segment.state();
    let names = segment.commands().map(|name| match args.wide {
        true => name,
        false => cut_end(&name, NAME),
    });
    let [from, to] = names;
    let (bar, filled) = match args.bytes {
        true => (String::new(), fill.to_string()),
        false => {
            let filled = format!("{}%", percent(fill, capacity));
            (of_ring(bar(fill, capacity, BAR)), filled)
        }
    };
    let unread = ring.map_or(0, |ring| ring.unread_ends);
    let mut cells: Vec<Cell> = vec![
        segment.path().into(),
        segment.id().to_string().into(),
        segment.owner().into(),
        Cell {
            text: match unread {
                0 => state.to_string(),
                ends => format!("{state} +{ends}"),
            },
            colour: colour(state),
        },
        of_ring(number(capacity)).into(),
        bar.into(),
        of_ring(filled).into(),
        of_ring(number(segment.total())).into(),
        age(segment.age()).into(),
        format!("{from} > {to}").into(),
    ];
    if args.wide {
        let key = ring.and_then(|ring| ring.key);
        let attached = ring.map_or(segment.stat.attached, |ring| ring.attached);
        let waiting = ring.map_or("-", |ring| {
            waits(ring.producer_sleeps, ring.consumer_sleeps)
        });
        cells.extend([
            of_ring(unread.to_string()).into(),
            key.map_or("-".to_owned(), |key| key.to_string()).into(),
            format!("{:04o}", segment.stat.mode.bits()).into(),
            number(segment.stat.size as u64).into(),
            attached.to_string().into(),
            waiting.to_owned().into(),
            ring.map_or("-".to_owned(), |ring| process(ring.producer))
                .into(),
            ring.map_or("-".to_owned(), |ring| process(ring.consumer))
                .into(),
        ]);
    }
    cells
}

pub(crate) fn colour(state: State) -> Option<Colour> {
    match state {
        State::Flowing | State::Full => Some(Colour::Green),
        State::SenderDied | State::ReceiverDied | State::Corrupt => Some(Colour::Red),
        State::Stale | State::HalfMade | State::OtherVersion => Some(Colour::Yellow),
        State::NotReadable | State::NoRing | State::Gone => Some(Colour::Grey),
        _ => None,
    }
}

/// Which side sleeps until the other one has done something.
pub(crate) fn waits(producer: bool, consumer: bool) -> &'static str {
    match (producer, consumer) {
        (false, false) => "-",
        (true, false) => "sender",
        (false, true) => "receiver",
        (true, true) => "both",
    }
}

fn process(occupant: Occupant) -> String {
    match occupant {
        Occupant::Nobody => "-".to_owned(),
        Occupant::Process(0) => "?".to_owned(), // the process id is unknown
        Occupant::Process(pid) => pid.to_string(),
        Occupant::Dead(pid) => format!("{pid} (dead)"),
        Occupant::Left => "left".to_owned(),
        _ => "?".to_owned(),
    }
}

/// What cannot be read, and what could be removed.
pub(crate) fn footer(segments: &[Segment]) -> Vec<String> {
    let count =
        |is: &dyn Fn(&Segment) -> bool| segments.iter().filter(|segment| is(segment)).count();
    let counted = |number: usize, one: &str, more: &str| match number {
        0 => None,
        1 => Some(format!("1 {one}")),
        number => Some(format!("{number} {more}")),
    };
    let unreadable = count(&|segment| matches!(segment.seen, Seen::Unreadable));
    let damaged = count(&|segment| matches!(segment.seen, Seen::Damaged(_)));
    let stale = count(&|segment| segment.is_stale() && segment.is_own());
    let of_others = count(&|segment| segment.is_stale() && !segment.is_own());
    [
        counted(
            unreadable,
            "segment that may be a ring cannot be read: only its owner and root can",
            "segments that may be rings cannot be read: only their owners and root can",
        ),
        counted(
            damaged,
            "ring cannot be used: `shmpipe rm --id ID` removes it, or says what does",
            "rings cannot be used: `shmpipe rm --id ID` removes them, or says what does",
        ),
        counted(
            stale,
            "ring was left by dead processes: `shmpipe rm --stale` removes it",
            "rings were left by dead processes: `shmpipe rm --stale` removes them",
        ),
        counted(
            of_others,
            "ring of another user was left by dead processes: `shmpipe rm --stale --owner USER` removes it, for root",
            "rings of other users were left by dead processes: `shmpipe rm --stale --owner USER` removes them, for root",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}
