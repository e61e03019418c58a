//! The tables, as Markdown.

use std::fmt::Write;

use crate::contenders::Kind;
use crate::results::Results;
use crate::summary::{self, Cell, Question};
use crate::verdict;

/// The whole report: the machine, a table for each question, and the bars.
pub(crate) fn text(results: &Results) -> String {
    let questions = summary::of(results);
    let mut text = machine(results);
    for question in &questions {
        let _ = writeln!(text, "\n## {}\n", heading(&question.name));
        text += &table(question);
        text += &notes(question);
    }
    let _ = writeln!(text, "\n## Bars\n");
    text + &verdict::table(&questions)
}

/// The machine of each run in the results.
pub(crate) fn machine(results: &Results) -> String {
    let mut text = String::new();
    for machine in &results.machines {
        let _ = writeln!(
            text,
            "- {}; {}; {}; {}. Processors {:?}. {}. Measurements of {} ms, {} rounds.",
            machine.cpu,
            machine.caches,
            machine.kernel,
            machine.rustc,
            machine.cpus,
            machine.place,
            machine.time_ms,
            machine.rounds,
        );
    }
    text
}

pub(crate) fn heading(question: &str) -> &'static str {
    match question {
        "throughput" => "Throughput by block, GB/s",
        "messages" => "Messages, each published, millions a second",
        "instructions" => "Instructions of a message, sent and received by one thread",
        "round trip" => "Round trip, spinning, ns",
        "parking" => "Round trip, both sides asleep, us",
        "wake" => "From a send to the return of a sleeping receive, us",
        "paced" => "Delay of a paced stream of 64 bytes, ns: median; 99th percentile",
        "unaligned" => "Unaligned memory and odd sizes, GB/s",
        "small rings" => "Small rings, GB/s",
        "slow side" => "One side works 50 us after each 64 KiB, GB/s",
        "growth" => "As work grows, GB/s",
        "set-up" => "Create, attach, pair and drop, us",
        _ => "",
    }
}

/// One table: a row for each contender, a column for each case.
pub(crate) fn table(question: &Question) -> String {
    let mut text = String::from("| |");
    for case in &question.cases {
        let _ = write!(text, " {case} |");
    }
    text += "\n|---|";
    text += &"--:|".repeat(question.cases.len());
    for (who, kind) in &question.who {
        let mark = match kind {
            Kind::Ours => "**",
            Kind::Kernel | Kind::Crate | Kind::Threads => "",
            Kind::Limit => "_",
        };
        let threads = if *kind == Kind::Threads {
            " (threads)"
        } else {
            ""
        };
        let _ = write!(text, "\n| {mark}{who}{mark}{threads} |");
        for case in &question.cases {
            let shown = question
                .cell(case, who)
                .map_or(String::new(), |cell| shown(cell, question));
            let _ = write!(text, " {shown} |");
        }
    }
    if question.name == "round trip" {
        text += "\n| _bare line_ |";
        for case in &question.cases {
            let _ = write!(text, " {} |", number(question.line(case)));
        }
    }
    text + "\n"
}

fn shown(cell: &Cell, question: &Question) -> String {
    let mut text = if question.name == "paced" {
        format!("{}; {}", number(cell.median), number(cell.high))
    } else {
        let (least, most) = (number(cell.least), number(cell.most));
        format!("{} ({least}..{most})", number(cell.median))
    };
    if question.name == "slow side" && cell.calls_per_mb.is_finite() {
        let _ = write!(text, ", {} calls/MB", number(cell.calls_per_mb));
    }
    if ["throughput", "slow side"].contains(&question.name.as_str()) && cell.cpu_per_gb.is_finite()
    {
        let _ = write!(text, ", {} s/GB", number(cell.cpu_per_gb));
    }
    text
}

/// A number with three significant figures.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        value if value.is_nan() => "-".into(),
        size if size >= 99.5 => format!("{value:.0}"),
        size if size >= 9.95 => format!("{value:.1}"),
        size if size >= 0.995 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The number of rounds, and what was dropped or failed.
fn notes(question: &Question) -> String {
    let (least, most) = question.rounds();
    let mut text = format!(
        "\nMedians of {least} to {most} rounds, least and most in brackets; {} dropped, for they moved or were disturbed.\n",
        question.dropped(),
    );
    for failure in &question.failures {
        let _ = writeln!(text, "- {failure}");
    }
    text
}
