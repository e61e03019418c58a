//! The tables, as Markdown.

use std::fmt::Write;

use super::Kind;
use super::data::{Data, Machine};
use super::questions::Shown;
use super::summary::{self, Asked, Cell};
use super::verdict;

/// The whole report: the machine, a table for each question, and the verdict.
pub(crate) fn report(data: &Data) -> String {
    let questions = summary::of(data);
    let mut text = machines(data);
    for asked in &questions {
        let _ = writeln!(text, "\n## {}\n", asked.question.heading);
        text += &legend(asked);
        text += &table(asked);
        text += &notes(asked);
    }
    let _ = writeln!(text, "\n## The verdict\n");
    text + &verdict::table(&questions)
}

/// Each machine of the data once, with the ways that its runs were made.
pub(crate) fn machines(data: &Data) -> String {
    let mut text = String::new();
    let mut left: Vec<&Machine> = data.machines.iter().collect();
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
                let _ = write!(text, " {}. ", run.place);
                if !run.date.is_empty() {
                    let _ = write!(text, "{}: ", run.date);
                }
                let _ = write!(
                    text,
                    "measurements of {} ms, {} rounds.",
                    run.time_ms, run.rounds,
                );
            }
        }
        if let Some(source) = &first.source {
            let _ = write!(text, " {source}");
        }
        text.push('\n');
        if !first.versions.is_empty() {
            let _ = writeln!(text, "- {}.", first.versions.join(", "));
        }
    }
    text
}

/// What makes a machine another one.
fn hardware(run: &Machine) -> (&str, &str, &str, &str, &[usize]) {
    (&run.cpu, &run.caches, &run.kernel, &run.rustc, &run.cpus)
}

/// What makes a run different. The line's time does not: two probes differ by a few ns.
fn way(run: &Machine) -> (&str, Option<&str>, u64, usize) {
    (
        &run.date,
        run.place.split(':').next(),
        run.time_ms,
        run.rounds,
    )
}

/// What a cell of the table holds.
pub(crate) fn legend(asked: &Asked) -> String {
    let (first, rest) = asked.shown().legend();
    let has_limit = asked.cases.iter().any(|case| asked.limit(case).is_some());
    let part = if has_limit { "; part of the limit" } else { "" };
    format!("Cells: {first}{part}{rest}.\n\n")
}

/// One table: a row for each contender, a column for each case. A case of percentiles has
/// three columns.
pub(crate) fn table(asked: &Asked) -> String {
    let shown = asked.shown();
    let mut text = String::from("| |");
    for case in &asked.cases {
        let _ = match shown {
            Shown::Percentiles => write!(text, " {case}: 50 % | 99 % | 99.9 % |"),
            _ => write!(text, " {case} |"),
        };
    }
    let columns = if shown == Shown::Percentiles { 3 } else { 1 };
    text += "\n|---|";
    text += &"--:|".repeat(asked.cases.len() * columns);
    for (who, kind) in &asked.who {
        let mark = match kind {
            Kind::Ours => "**",
            Kind::Kernel | Kind::Crate | Kind::Threads => "",
            Kind::Limit => "_",
        };
        let _ = write!(text, "\n| {mark}{who}{mark}{} |", threads(*kind));
        for case in &asked.cases {
            let cells = asked.cell(case, who);
            let cells = cells.map_or("|".repeat(columns), |cell| cell_of(cell, case, asked));
            text += &cells;
        }
    }
    if asked.question.name == "round trip" {
        text += "\n| _bare line_ |";
        for case in &asked.cases {
            let _ = write!(
                text,
                " {} {}",
                number(asked.line(case)),
                "|".repeat(columns)
            );
        }
    }
    text + "\n"
}

/// What stands after the name of a contender between threads.
pub(crate) fn threads(kind: Kind) -> &'static str {
    if kind == Kind::Threads {
        " (threads)"
    } else {
        ""
    }
}

/// The columns of one contender in one case.
fn cell_of(cell: &Cell, case: &str, asked: &Asked) -> String {
    let figures = &cell.figures;
    let shown = asked.shown();
    let mut text = format!(" {}", number(figures.median));
    let spread = figures.least.is_finite() && figures.least < figures.most;
    match shown {
        Shown::WallAndProcessor => {
            let _ = write!(text, "; {}", number(figures.cpu * 1e3));
        }
        Shown::Percentiles => {}
        _ if spread => {
            let (least, most) = (number(figures.least), number(figures.most));
            let _ = write!(text, " ({least}..{most})");
        }
        _ => {}
    }
    if let Some(limit) = asked.limit(case)
        && cell.kind != Kind::Limit
    {
        let _ = write!(text, ", {}", percent(asked.ratio(cell, limit)));
    }
    if shown == Shown::SpreadAndCalls && figures.calls_per_mb.is_finite() {
        let _ = write!(text, ", {} calls/MB", number(figures.calls_per_mb));
    }
    let with_processor = [Shown::SpreadAndProcessor, Shown::SpreadAndCalls].contains(&shown);
    if with_processor && figures.cpu_per_gb.is_finite() {
        let _ = write!(text, ", {} s/GB", number(figures.cpu_per_gb));
    }
    if shown == Shown::Percentiles {
        let [p99, p999] = [figures.p99, figures.p999].map(number);
        let _ = write!(text, " | {p99} | {p999}");
    }
    text + " |"
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

/// A part of a whole.
pub(crate) fn percent(part: f64) -> String {
    let percent = part * 100.0;
    if percent < 0.995 {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.0} %")
    }
}

/// The number of rounds, and what was dropped or failed.
fn notes(asked: &Asked) -> String {
    let (least, most) = asked.rounds();
    let mut text = format!(
        "\n{least} to {most} rounds; {} measurements dropped, for they moved or were disturbed.\n",
        asked.dropped,
    );
    for failure in &asked.failures {
        let _ = writeln!(text, "- {failure}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::data::Series;
    use super::*;

    fn run(kernel: &str, place: &str, rounds: usize) -> Machine {
        Machine {
            kernel: kernel.into(),
            place: place.into(),
            rounds,
            ..Machine::example("EPYC")
        }
    }

    fn series(question: &str, case: &str, who: &str, kind: Kind, value: &[f64]) -> Series {
        let mut one = Series::new(question, case, who, kind, "");
        one.value = value.to_vec();
        one
    }

    fn with(series: Vec<Series>) -> Data {
        Data {
            machines: Vec::new(),
            series,
        }
    }

    #[test]
    fn a_machine_is_named_once() {
        let near = "Near: a line's round trip takes 62 ns";
        let data = Data {
            machines: vec![
                run("Linux 6", near, 11),
                run("Linux 7", near, 11),
                run("Linux 6", "Near: a line's round trip takes 66 ns", 11),
                run("Linux 6", near, 9),
            ],
            series: Vec::new(),
        };
        let lines = [6, 7].map(|kernel| {
            format!(
                "- EPYC; L1 32K; Linux {kernel}; rustc 1.89. Processors [0, 1]. {near}. \
                 2026-01-01: measurements of 60 ms, 11 rounds."
            )
        });
        let expected = format!(
            "{} {near}. 2026-01-01: measurements of 60 ms, 9 rounds.\n{}\n",
            lines[0], lines[1]
        );
        assert_eq!(machines(&data), expected);
    }

    #[test]
    fn a_delay_has_a_column_for_each_percentile() {
        let mut one = series("round trip", "8 B", "shmpipe", Kind::Ours, &[65.0]);
        (one.p99, one.p999) = (vec![345.0], vec![2000.0]);
        let limit = series(
            "round trip",
            "8 B",
            "a bare place each way",
            Kind::Limit,
            &[52.0],
        );
        let text = report(&with(vec![one, limit]));
        assert!(text.contains("| | 8 B: 50 % | 99 % | 99.9 % |"), "{text}");
        assert!(
            text.contains("| **shmpipe** | 65.0, 80 % | 345 | 2000 |"),
            "{text}"
        );
        assert!(
            text.contains("| _a bare place each way_ | 52.0 | - | - |"),
            "{text}"
        );
    }

    #[test]
    fn percentiles_that_are_not_known_give_way_to_the_spread() {
        let one = series("parking", "8 B", "shmpipe", Kind::Ours, &[40.0, 42.0, 50.0]);
        let text = report(&with(vec![one]));
        assert!(
            text.contains("| | 8 B |\n|---|--:|\n| **shmpipe** | 42.0 (40.0..50.0) |"),
            "{text}"
        );
    }

    #[test]
    fn each_cell_shows_its_part_of_the_slower_half() {
        let one = |who: &str, kind, value: &[f64]| series("messages", "8 B", who, kind, value);
        let text = report(&with(vec![
            one("shmpipe", Kind::Ours, &[18.0, 20.0, 22.0]),
            one("pipe", Kind::Kernel, &[0.1]),
            one("the writer's half", Kind::Limit, &[50.0]),
            one("the reader's half, checked", Kind::Limit, &[25.0]),
        ]));
        assert!(
            text.contains("| **shmpipe** | 20.0 (18.0..22.0), 80 % |"),
            "{text}"
        );
        assert!(text.contains("| pipe | 0.100, 0.4 % |"), "{text}");
        assert!(text.contains("| _the writer's half_ | 50.0 |"), "{text}");
        assert!(
            text.contains("(least..most); part of the limit.\n"),
            "{text}"
        );
    }
}
