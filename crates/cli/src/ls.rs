//! `shmpipe ls`: lists the rings of this host.

use std::time::Duration;

use shmpipe::{Occupant, Snapshot};

use crate::exit::Failure;
use crate::text::print;

const COLUMNS: usize = 12;
const HEAD: [&str; COLUMNS] = [
    "ID", "KEY", "SIZE", "ATTACHED", "CAPACITY", "FILL", "STREAMED", "AGE", "LIFE", "ASLEEP",
    "PRODUCER", "CONSUMER",
];
/// Numbers are aligned to the right, words to the left.
const IS_NUMBER: [bool; COLUMNS] = [
    true, false, true, true, true, true, true, true, false, false, false, false,
];

pub(crate) fn run() -> Result<(), Failure> {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(Snapshot::all()?.iter().map(row));
    let mut table = aligned(&rows);
    for why in Snapshot::unknown()? {
        table.push_str(&format!("{why}\n"));
    }
    print(table)
}

fn row(ring: &Snapshot) -> [String; COLUMNS] {
    [
        ring.id.to_string(),
        ring.key.map_or("-".to_owned(), |key| key.to_string()),
        ring.size.to_string(),
        ring.attached.to_string(),
        ring.capacity.to_string(),
        ring.fill.to_string(),
        ring.written.to_string(),
        age(ring.changed.elapsed().unwrap_or_default()),
        ring.life_cycle.to_string(),
        match (ring.producer_sleeps, ring.consumer_sleeps) {
            (false, false) => "-".to_owned(),
            (true, false) => "producer".to_owned(),
            (false, true) => "consumer".to_owned(),
            (true, true) => "both".to_owned(),
        },
        occupant(ring.producer),
        occupant(ring.consumer),
    ]
}

/// The age in the largest unit that gives at least one, rounded down.
fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ ..60 => format!("{seconds}s"),
        seconds @ ..3600 => format!("{}m", seconds / 60),
        seconds @ ..86400 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86400),
    }
}

fn occupant(occupant: Occupant) -> String {
    match occupant {
        Occupant::Nobody => "-".to_owned(),
        Occupant::Process(0) => "?".to_string(), // the process id is unknown
        Occupant::Process(pid) => pid.to_string(),
        Occupant::Dead(pid) => format!("{pid} (dead)"),
        Occupant::Left => "left".to_owned(),
        _ => "?".to_owned(),
    }
}

fn aligned(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let mut table = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).zip(IS_NUMBER);
        let line: Vec<String> = cells
            .map(|((cell, width), is_number)| match is_number {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            })
            .collect();
        table.push_str(line.join("  ").trim_end());
        table.push('\n');
    }
    table
}
