//! Summarises a results file: for each question, case and contender, the median of the
//! rounds that count.

use std::collections::HashMap;

use crate::contenders::Kind;
use crate::results::{Results, Row};
use crate::stats;

/// One contender in one case.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) who: String,
    pub(crate) kind: Kind,
    pub(crate) unit: String,
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    /// The medians of the rounds' high percentiles.
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    /// The median of the processor seconds of both sides together.
    pub(crate) cpu: f64,
    /// Medians of both sides together: processor seconds for 10^9 bytes, system calls for
    /// 10^6.
    pub(crate) cpu_per_gb: f64,
    pub(crate) calls_per_mb: f64,
    /// The round trip of the bare line beside these rounds, in ns.
    pub(crate) line: f64,
    pub(crate) rounds: usize,
    pub(crate) dropped: usize,
}

/// A question with its cases and contenders, in the order of measurement.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) name: String,
    pub(crate) cases: Vec<String>,
    pub(crate) who: Vec<(String, Kind)>,
    cells: HashMap<(String, String), Cell>,
    /// Why a contender is missing in a case.
    pub(crate) failures: Vec<String>,
}

impl Question {
    pub(crate) fn cell(&self, case: &str, who: &str) -> Option<&Cell> {
        self.cells.get(&(case.to_string(), who.to_string()))
    }

    pub(crate) fn in_case(&self, case: &str) -> impl Iterator<Item = &Cell> {
        self.who
            .iter()
            .filter_map(move |(who, _)| self.cell(case, who))
    }

    pub(crate) fn dropped(&self) -> usize {
        self.cells.values().map(|cell| cell.dropped).sum()
    }

    pub(crate) fn rounds(&self) -> (usize, usize) {
        let rounds = self.cells.values().map(|cell| cell.rounds);
        (rounds.clone().min().unwrap_or(0), rounds.max().unwrap_or(0))
    }

    /// The median of the bare line's round trips in a case.
    pub(crate) fn line(&self, case: &str) -> f64 {
        let mut lines: Vec<f64> = self.in_case(case).map(|cell| cell.line).collect();
        lines.retain(|line| line.is_finite());
        stats::median(&mut lines)
    }
}

/// The questions that were asked, in the order of [`crate::cells::QUESTIONS`].
pub(crate) fn of(results: &Results) -> Vec<Question> {
    crate::cells::QUESTIONS
        .iter()
        .filter_map(|name| question(name, results))
        .collect()
}

fn question(name: &str, results: &Results) -> Option<Question> {
    let rows: Vec<&Row> = results
        .rows
        .iter()
        .filter(|row| row.question == name)
        .collect();
    let mut question = Question {
        name: name.to_string(),
        cases: Vec::new(),
        who: Vec::new(),
        cells: HashMap::new(),
        failures: Vec::new(),
    };
    let mut groups: HashMap<_, Vec<&Row>> = HashMap::new();
    for row in rows {
        if !question.cases.contains(&row.case) {
            question.cases.push(row.case.clone());
        }
        let who = (row.who.clone(), row.kind);
        if !question.who.contains(&who) {
            question.who.push(who);
        }
        if let Some(why) = row.dropped.as_ref().filter(|why| why.starts_with("failed")) {
            question
                .failures
                .push(format!("{}, {}: {why}", row.who, row.case));
        }
        groups
            .entry((row.case.clone(), row.who.clone()))
            .or_default()
            .push(row);
    }
    for (at, rows) in groups {
        if let Some(cell) = summarised(&rows) {
            question.cells.insert(at, cell);
        }
    }
    (!question.cases.is_empty()).then_some(question)
}

fn summarised(rows: &[&Row]) -> Option<Cell> {
    let counted: Vec<&&Row> = rows.iter().filter(|row| row.dropped.is_none()).collect();
    let of = |get: &dyn Fn(&Row) -> Option<f64>| -> Vec<f64> {
        counted.iter().filter_map(|row| get(row)).collect()
    };
    let mut values = of(&|row| row.value);
    let first = counted.first()?;
    Some(Cell {
        who: first.who.clone(),
        kind: first.kind,
        unit: first.unit.clone(),
        median: stats::median(&mut values),
        least: stats::quantile(&mut values, 0.0),
        most: stats::quantile(&mut values, 1.0),
        p99: stats::median(&mut of(&|row| row.p99)),
        p999: stats::median(&mut of(&|row| row.p999)),
        cpu: stats::median(&mut of(&|row| row.cpu)),
        cpu_per_gb: stats::median(&mut of(&|row| Some(row.cpu? / row.bytes? * 1e9))),
        calls_per_mb: stats::median(&mut of(&|row| Some(row.calls? / row.bytes? * 1e6))),
        line: stats::median(&mut of(&|row| {
            Some((row.line_before? + row.line_after?) / 2.0)
        })),
        rounds: counted.len(),
        dropped: rows.len() - counted.len(),
    })
}
