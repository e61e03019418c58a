//! The bars: what shmpipe should reach, as ratios of the medians of one run.

mod busy;
mod in_place;

use std::fmt::Write;

use crate::contenders::Kind;
use crate::report::number;
use crate::summary::{Cell, Question};

const OURS: &str = "shmpipe";

/// The limit of a measured ratio.
#[derive(Clone, Copy)]
enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

impl Bar {
    fn holds(self, ratio: f64) -> bool {
        match self {
            Bar::AtLeast(bar) => ratio >= bar,
            Bar::AtMost(bar) => ratio <= bar,
        }
    }
}

impl std::fmt::Display for Bar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Bar::AtLeast(bar) => write!(f, ">= {bar}"),
            Bar::AtMost(bar) => write!(f, "<= {bar}"),
        }
    }
}

struct Line {
    what: String,
    bar: Bar,
    ratio: f64,
    /// The two figures that the ratio is made of.
    of: String,
}

/// Each bar with what was measured, for the questions that were asked.
pub(crate) fn table(questions: &[Question]) -> String {
    let mut lines = Vec::new();
    for question in questions {
        judge(question, &mut lines);
    }
    let mut text =
        String::from("| what | bar | measured | figures | holds |\n|---|--:|--:|---|---|\n");
    let mut held = 0;
    for line in &lines {
        let holds = line.bar.holds(line.ratio);
        held += usize::from(holds);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            line.what,
            line.bar,
            number(line.ratio),
            line.of,
            if holds { "yes" } else { "**no**" }
        );
    }
    let _ = writeln!(text, "\n{held} of {} hold.", lines.len());
    text
}

/// The bars of one question.
fn judge(question: &Question, lines: &mut Vec<Line>) {
    let at_most = Bar::AtMost;
    match question.name.as_str() {
        "throughput" => throughput(question, lines),
        "messages" => messages(question, lines),
        "in place" => in_place::judge(question, lines),
        "instructions" => in_place::instructions(question, lines),
        "round trip" => round_trip(question, lines),
        "parking" => against(question, "64 B", "pipe", "pipe's", at_most(1.0), lines),
        "wake" => {
            let (who, whose) = ("bare futex", "a bare futex's");
            against(question, "8 B", who, whose, at_most(1.2), lines);
        }
        "paced" => paced(question, lines),
        "unaligned" => unaligned(question, lines),
        "small rings" => {
            for case in &question.cases {
                against(question, case, "rtrb", "rtrb's", Bar::AtLeast(2.5), lines);
            }
        }
        "slow side" => slow_side(question, lines),
        "busy machine" => busy::judge(question, lines),
        "growth" => growth(question, lines),
        "set-up" => set_up(question, lines),
        _ => {}
    }
}

/// The best rival. `more` says whether more is better, or less.
fn best<'a>(question: &'a Question, case: &str, more: bool) -> Option<&'a Cell> {
    question
        .in_case(case)
        .filter(|cell| matches!(cell.kind, Kind::Kernel | Kind::Crate | Kind::Threads))
        .max_by(|a, b| {
            let order = a.median.total_cmp(&b.median);
            if more { order } else { order.reverse() }
        })
}

/// The slower of two limits, if both were measured.
fn slower<'a>(question: &'a Question, case: &str, names: [&str; 2]) -> Option<&'a Cell> {
    let [a, b] = names.map(|who| question.cell(case, who));
    let (a, b) = (a?, b?);
    Some(if a.median < b.median { a } else { b })
}

fn compare(what: String, bar: Bar, ours: &Cell, theirs: &Cell, lines: &mut Vec<Line>) {
    let of = format!(
        "{} : {} {} of {}",
        number(ours.median),
        number(theirs.median),
        ours.unit,
        theirs.who
    );
    lines.push(Line {
        what,
        bar,
        ratio: ours.median / theirs.median,
        of,
    });
}

/// Our median divided by that of one other contender.
fn against(q: &Question, case: &str, who: &str, whose: &str, bar: Bar, lines: &mut Vec<Line>) {
    if let (Some(ours), Some(theirs)) = (q.cell(case, OURS), q.cell(case, who)) {
        compare(
            format!("{}, {case}, of {whose}", q.name),
            bar,
            ours,
            theirs,
            lines,
        );
    }
}

fn throughput(question: &Question, lines: &mut Vec<Line>) {
    for case in &question.cases {
        let bar = match case.as_str() {
            "64 B" => 1.0,
            "1 KiB" | "4 KiB" => 2.0,
            "64 KiB" => 1.4,
            _ => 1.05,
        };
        let Some(ours) = question.cell(case, OURS) else {
            continue;
        };
        if let Some(rival) = best(question, case, true) {
            let what = format!("throughput, {case}, of the best rival's");
            compare(what, Bar::AtLeast(bar), ours, rival, lines);
        }
        let kernel = ["pipe", "Unix socket"]
            .into_iter()
            .filter_map(|who| question.cell(case, who));
        if let Some(kernel) = kernel.max_by(|a, b| a.median.total_cmp(&b.median)) {
            let what = format!("throughput, {case}, of the better of pipe and Unix socket");
            compare(what, Bar::AtLeast(5.0), ours, kernel, lines);
        }
        for (who, bar) in [("rtrb", 0.5), ("pipe", 0.1)] {
            if case != "4 KiB" && case != "64 KiB" {
                continue;
            }
            let Some(theirs) = question.cell(case, who) else {
                continue;
            };
            lines.push(Line {
                what: format!("processor seconds per GB, {case}, of {who}'s"),
                bar: Bar::AtMost(bar),
                ratio: ours.cpu_per_gb / theirs.cpu_per_gb,
                of: format!(
                    "{} : {} s/GB",
                    number(ours.cpu_per_gb),
                    number(theirs.cpu_per_gb)
                ),
            });
        }
        lines.push(Line {
            what: format!("system calls per GB, busy, {case}"),
            bar: Bar::AtMost(0.0),
            ratio: ours.calls_per_mb * 1000.0,
            of: "a count".into(),
        });
    }
}

fn messages(question: &Question, lines: &mut Vec<Line>) {
    for (case, bar) in [("8 B", 3.0), ("64 B", 5.0), ("256 B", 5.0)] {
        if let (Some(ours), Some(rival)) = (question.cell(case, OURS), best(question, case, true)) {
            let what = format!("messages, {case}, of the best rival's");
            compare(what, Bar::AtLeast(bar), ours, rival, lines);
        }
    }
}

fn round_trip(question: &Question, lines: &mut Vec<Line>) {
    for (case, bar) in [("8 B", 1.2), ("64 B", 1.6)] {
        let Some(ours) = question.cell(case, OURS) else {
            continue;
        };
        let line = question.line(case);
        lines.push(Line {
            what: format!("round trip, {case}, of the bare line's"),
            bar: Bar::AtMost(bar),
            ratio: ours.median / line,
            of: format!("{} : {} ns", number(ours.median), number(line)),
        });
    }
    let case = "1 KiB";
    if let (Some(ours), Some(rival)) = (question.cell(case, OURS), best(question, case, false)) {
        let what = format!("round trip, {case}, of the best rival's");
        compare(what, Bar::AtMost(0.9), ours, rival, lines);
    }
}

/// What the default policy adds to the delay of the latency policy.
fn paced(question: &Question, lines: &mut Vec<Line>) {
    for case in &question.cases {
        let ours = question.cell(case, OURS);
        let latency = question.cell(case, &format!("{OURS}, latency policy"));
        let (Some(ours), Some(latency)) = (ours, latency) else {
            continue;
        };
        for (name, bar, a, b) in [
            ("median", 2000.0, ours.median, latency.median),
            ("99th percentile", 5000.0, ours.p99, latency.p99),
        ] {
            lines.push(Line {
                what: format!("paced, {case}, {name} added by the default policy, ns"),
                bar: Bar::AtMost(bar),
                ratio: a - b,
                of: format!("{} - {} ns", number(a), number(b)),
            });
        }
    }
}

fn unaligned(question: &Question, lines: &mut Vec<Line>) {
    for case in &question.cases {
        let Some(aligned) = question.cell(case, "aligned") else {
            continue;
        };
        for cell in question.in_case(case).filter(|cell| cell.who != "aligned") {
            let what = format!("{}, {case}, of aligned", cell.who);
            compare(what, Bar::AtLeast(0.9), cell, aligned, lines);
        }
    }
}

fn slow_side(question: &Question, lines: &mut Vec<Line>) {
    for case in &question.cases {
        let Some(ours) = question.cell(case, OURS) else {
            continue;
        };
        lines.push(Line {
            what: format!("system calls per MB, {case}"),
            bar: Bar::AtMost(8.0),
            ratio: ours.calls_per_mb,
            of: "a count".into(),
        });
    }
}

/// The slowest of all sizes divided by the fastest: 1 is flat.
fn growth(question: &Question, lines: &mut Vec<Line>) {
    let sizes = question
        .cases
        .iter()
        .filter(|case| case.as_str() != "rings");
    let sizes: Vec<&Cell> = sizes.filter_map(|case| question.cell(case, OURS)).collect();
    let rings: Vec<&Cell> = question.in_case("rings").collect();
    for (what, cells) in [("bytes", sizes), ("rings", rings)] {
        if cells.len() < 2 {
            continue; // one alone is as fast as itself
        }
        let order = |a: &&&Cell, b: &&&Cell| a.median.total_cmp(&b.median);
        let (Some(least), Some(most)) = (cells.iter().min_by(order), cells.iter().max_by(order))
        else {
            continue;
        };
        let what = format!("more {what}: the slowest of the fastest");
        compare(what, Bar::AtLeast(0.9), least, most, lines);
    }
}

fn set_up(question: &Question, lines: &mut Vec<Line>) {
    for (case, bar) in [
        ("anonymous", 2.0),
        ("by path", 5.0),
        ("anonymous, 1 GiB", 2.0),
    ] {
        against(
            question,
            case,
            "bare calls",
            "the bare calls'",
            Bar::AtMost(bar),
            lines,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Results, Row};
    use crate::summary;

    pub(super) fn row(question: &str, case: &str, who: &str, kind: Kind, value: f64) -> Row {
        Row {
            run: 1,
            question: question.into(),
            case: case.into(),
            who: who.into(),
            kind,
            round: 0,
            unit: "GB/s".into(),
            value: Some(value),
            p99: None,
            p999: None,
            bytes: Some(1e9),
            cpu: Some(1.0 / value),
            calls: Some(0.0),
            waits: None,
            preemptions: None,
            kept_waiting: None,
            line_before: Some(70.0),
            line_after: Some(72.0),
            dropped: None,
        }
    }

    pub(super) fn verdict(rows: Vec<Row>) -> String {
        table(&summary::of(&Results {
            machines: Vec::new(),
            rows,
        }))
    }

    #[test]
    fn a_bar_is_held_against_the_best_rival_by_medians() {
        let rows = |ours: f64| {
            let mut rows = Vec::new();
            for noise in [0.9, 1.0, 5.0] {
                rows.push(row(
                    "throughput",
                    "4 KiB",
                    "shmpipe",
                    Kind::Ours,
                    ours * noise,
                ));
                rows.push(row("throughput", "4 KiB", "slow", Kind::Crate, 3.0));
                rows.push(row("throughput", "4 KiB", "fast", Kind::Threads, 10.0));
                // A limit of the machine is no rival.
                rows.push(row("throughput", "4 KiB", "memcpy", Kind::Limit, 99.0));
            }
            rows
        };
        let text = verdict(rows(20.0));
        assert!(
            text.contains("| >= 2 | 2.00 | 20.0 : 10.0 GB/s of fast | yes |"),
            "{text}"
        );
        let text = verdict(rows(19.0));
        assert!(
            text.contains("| >= 2 | 1.90 | 19.0 : 10.0 GB/s of fast | **no** |"),
            "{text}"
        );
    }

    #[test]
    fn what_was_dropped_does_not_count() {
        let mut moved = row("throughput", "4 KiB", "shmpipe", Kind::Ours, 99.0);
        moved.dropped = Some("moved".into());
        let text = verdict(vec![
            moved,
            row("throughput", "4 KiB", "shmpipe", Kind::Ours, 20.0),
            row("throughput", "4 KiB", "other", Kind::Kernel, 10.0),
        ]);
        assert!(text.contains("20.0 : 10.0 GB/s of other"), "{text}");
    }

    #[test]
    fn a_round_trip_is_held_against_the_line_of_its_own_run() {
        let text = verdict(vec![row("round trip", "8 B", "shmpipe", Kind::Ours, 85.2)]);
        assert!(
            text.contains("| <= 1.2 | 1.20 | 85.2 : 71.0 ns | yes |"),
            "{text}"
        );
    }
}
