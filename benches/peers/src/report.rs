//! The tables, as Markdown.

use std::fmt::Write;

use crate::contenders::Kind;
use crate::results::{Machine, Results};
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

/// Each machine of the results once, with the ways that its runs were made.
pub(crate) fn machine(results: &Results) -> String {
    let mut text = String::new();
    let mut left: Vec<&Machine> = results.machines.iter().collect();
    while let Some(&first) = left.first() {
        let (runs, others): (Vec<_>, Vec<_>) = left
            .into_iter()
            .partition(|run| hardware(run) == hardware(first));
        left = others;
        let _ = write!(
            text,
            "- {}; {}; {}; {}. Processors {:?}.",
            first.cpu, first.caches, first.kernel, first.rustc, first.cpus,
        );
        for (at, run) in runs.iter().enumerate() {
            if runs[..at].iter().all(|known| way(known) != way(run)) {
                let _ = write!(
                    text,
                    " {}. Measurements of {} ms, {} rounds.",
                    run.place, run.time_ms, run.rounds,
                );
            }
        }
        text.push('\n');
    }
    text
}

/// What makes a machine another one.
fn hardware(run: &Machine) -> (&str, &str, &str, &str, &[usize]) {
    (&run.cpu, &run.caches, &run.kernel, &run.rustc, &run.cpus)
}

/// What makes a run different. The line's time does not: two probes differ by a few ns.
fn way(run: &Machine) -> (Option<&str>, u64, usize) {
    (run.place.split(':').next(), run.time_ms, run.rounds)
}

pub(crate) fn heading(question: &str) -> &'static str {
    match question {
        "throughput" => "Throughput by block, GB/s",
        "messages" => "Messages, each published, millions a second",
        "in place" => "In place, by the contenders' own calls, GB/s",
        "instructions" => "Instructions of a message, sent and received by one thread",
        "round trip" => "Round trip, spinning, ns: median; 99 %; 99.9 %",
        "parking" => "Round trip, both sides asleep, us",
        "wake" => "From a send to the return of a sleeping receive, us",
        "paced" => "Delay of a paced stream of 64 bytes, ns: median; 99 %; 99.9 %",
        "unaligned" => "Unaligned memory and odd sizes, GB/s",
        "small rings" => "Small rings, GB/s",
        "slow side" => "One side works 50 us after each 64 KiB, GB/s",
        "busy machine" => {
            "Busy loops on each processor, ms of a stream: wall time; processors of both sides"
        }
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
    if question.name == "busy machine" {
        return format!("{}; {}", number(cell.median), number(cell.cpu * 1e3));
    }
    let is_delay = ["round trip", "paced"].contains(&question.name.as_str());
    let mut text = if is_delay {
        let percentiles = [cell.median, cell.p99, cell.p999];
        percentiles.map(number).join("; ")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Row;

    fn run(kernel: &str, place: &str, rounds: usize) -> Machine {
        Machine {
            run: 1,
            cpu: "EPYC".into(),
            cpus: vec![0, 1],
            caches: "L1 32K".into(),
            kernel: kernel.into(),
            rustc: "rustc 1.89".into(),
            place: place.into(),
            time_ms: 60,
            rounds,
        }
    }

    #[test]
    fn a_machine_is_named_once() {
        let near = "Near: a line's round trip takes 62 ns";
        let results = Results {
            machines: vec![
                run("Linux 6", near, 11),
                run("Linux 7", near, 11),
                run("Linux 6", "Near: a line's round trip takes 66 ns", 11),
                run("Linux 6", near, 9),
            ],
            rows: Vec::new(),
        };
        let lines = [6, 7].map(|kernel| {
            format!(
                "- EPYC; L1 32K; Linux {kernel}; rustc 1.89. Processors [0, 1]. {near}. \
                 Measurements of 60 ms, 11 rounds."
            )
        });
        let expected = format!(
            "{} {near}. Measurements of 60 ms, 9 rounds.\n{}\n",
            lines[0], lines[1]
        );
        assert_eq!(machine(&results), expected);
    }

    #[test]
    fn a_delay_is_shown_by_its_percentiles() {
        let row = r#"{"run":1,"question":"paced","case":"every 1 us","who":"shmpipe",
            "kind":"Ours","round":0,"unit":"ns","value":65.0,"p99":345.0,"p999":2000.0}"#;
        let results = Results {
            machines: Vec::new(),
            rows: vec![serde_json::from_str::<Row>(row).unwrap()],
        };
        let text = text(&results);
        assert!(text.contains("| **shmpipe** | 65.0; 345; 2000 |"), "{text}");
    }

    #[test]
    fn a_row_of_before_still_has_its_percentile() {
        let row = r#"{"run":1,"question":"paced","case":"every 1 us","who":"shmpipe",
            "kind":"Ours","round":0,"unit":"ns","value":65.0,"high":345.0}"#;
        let row: Row = serde_json::from_str(row).unwrap();
        assert_eq!((row.p99, row.p999), (Some(345.0), None));
    }
}
