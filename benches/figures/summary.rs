//! The questions that were asked, each with its cases, contenders and figures.

use std::collections::HashMap;

use super::data::{Data, Figures, Series};
use super::questions::{self, Better, Shown};
use super::{Kind, stats};

/// One contender in one case.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) who: String,
    pub(crate) kind: Kind,
    pub(crate) unit: String,
    pub(crate) figures: Figures,
    pub(crate) rounds: usize,
}

/// A question with its cases and contenders, in the order of measurement.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) question: &'static questions::Question,
    pub(crate) cases: Vec<String>,
    pub(crate) who: Vec<(String, Kind)>,
    cells: HashMap<(String, String), Cell>,
    /// Why a contender is missing in a case.
    pub(crate) failures: Vec<String>,
    /// Measurements that do not count.
    pub(crate) dropped: usize,
}

impl Asked {
    pub(crate) fn cell(&self, case: &str, who: &str) -> Option<&Cell> {
        self.cells.get(&(case.to_string(), who.to_string()))
    }

    pub(crate) fn in_case(&self, case: &str) -> impl Iterator<Item = &Cell> {
        self.who
            .iter()
            .filter_map(move |(who, _)| self.cell(case, who))
    }

    /// What each cell of the table shows: a spread if the percentiles are not known.
    pub(crate) fn shown(&self) -> Shown {
        let mut cells = self.cells.values();
        match self.question.cell {
            Shown::Percentiles if cells.all(|cell| cell.figures.p99.is_nan()) => Shown::Spread,
            shown => shown,
        }
    }

    /// The order from the worst cell to the best one.
    fn order(&self, a: &Cell, b: &Cell) -> std::cmp::Ordering {
        let order = a.figures.median.total_cmp(&b.figures.median);
        match self.question.better {
            Better::More => order,
            Better::Less => order.reverse(),
        }
    }

    /// The best of what shmpipe is compared with.
    pub(crate) fn best_rival(&self, case: &str) -> Option<&Cell> {
        self.in_case(case)
            .filter(|cell| cell.kind.is_rival())
            .max_by(|a, b| self.order(a, b))
    }

    /// What this machine allows, as measured in the same run: the worst of the question's
    /// limits.
    pub(crate) fn limit(&self, case: &str) -> Option<&Cell> {
        let cells: Option<Vec<&Cell>> = self
            .question
            .limits
            .iter()
            .map(|who| self.cell(case, who))
            .collect();
        cells?.into_iter().min_by(|a, b| self.order(a, b))
    }

    /// The contenders that the verdict is about: each of ours, or the worst.
    pub(crate) fn judged(&self, case: &str) -> Vec<&Cell> {
        let ours = self.question.ours.iter();
        let mut cells: Vec<&Cell> = ours.filter_map(|who| self.cell(case, who)).collect();
        if self.question.worst {
            cells.sort_by(|a, b| self.order(a, b));
            cells.truncate(1);
        }
        cells
    }

    /// How many times as good as the other figure one figure is.
    pub(crate) fn ratio(&self, one: &Cell, other: &Cell) -> f64 {
        let ratio = one.figures.median / other.figures.median;
        match self.question.better {
            Better::More => ratio,
            Better::Less => 1.0 / ratio,
        }
    }

    pub(crate) fn rounds(&self) -> (usize, usize) {
        let rounds = self.cells.values().map(|cell| cell.rounds);
        (rounds.clone().min().unwrap_or(0), rounds.max().unwrap_or(0))
    }

    /// The median of the bare line's round trips in a case, in ns.
    pub(crate) fn line(&self, case: &str) -> f64 {
        let mut lines: Vec<f64> = self.in_case(case).map(|cell| cell.figures.line).collect();
        lines.retain(|line| line.is_finite());
        stats::median(&mut lines)
    }
}

/// The questions that were asked, in the order of [`questions::ALL`].
pub(crate) fn of(data: &Data) -> Vec<Asked> {
    questions::ALL
        .iter()
        .filter_map(|question| asked(question, &data.series))
        .collect()
}

fn asked(question: &'static questions::Question, series: &[Series]) -> Option<Asked> {
    let mut asked = Asked {
        question,
        cases: Vec::new(),
        who: Vec::new(),
        cells: HashMap::new(),
        failures: Vec::new(),
        dropped: 0,
    };
    for one in series.iter().filter(|one| one.question == question.name) {
        if !asked.cases.contains(&one.case) {
            asked.cases.push(one.case.clone());
        }
        let who = (one.who.clone(), one.kind);
        if !asked.who.contains(&who) {
            asked.who.push(who);
        }
        if let Some(why) = &one.failure {
            let failure = format!("{}, {}: {why}", one.who, one.case);
            asked.failures.push(failure);
        }
        asked.dropped += one.dropped;
        if let Some(figures) = one.figures() {
            let cell = Cell {
                who: one.who.clone(),
                kind: one.kind,
                unit: one.unit.clone(),
                figures,
                rounds: one.value.len(),
            };
            asked
                .cells
                .insert((one.case.clone(), one.who.clone()), cell);
        }
    }
    (!asked.cases.is_empty()).then_some(asked)
}
