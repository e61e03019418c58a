//! The bars of a busy machine: the default policy against `Park`, and against a pipe.

use super::{Bar, Line};
use crate::cells::busy::{RINGS, name};
use crate::report::number;
use crate::summary::{Cell, Question};

/// Our figure and another one, in ms.
struct Pair {
    whose: String,
    ours: f64,
    other: f64,
}

impl Pair {
    fn ratio(&self) -> f64 {
        self.ours / self.other
    }
}

pub(super) fn judge(question: &Question, lines: &mut Vec<Line>) {
    for (rival, mean, worst) in [("Park", 1.1, 1.25), ("pipe", 1.0, 1.0)] {
        let wall = |cell: &Cell| cell.median;
        let processors = |cell: &Cell| cell.cpu * 1e3;
        hold("wall time", question, rival, wall, (mean, worst), lines);
        hold(
            "processor time",
            question,
            rival,
            processors,
            (mean, worst),
            lines,
        );
    }
}

/// Holds the geometric mean of all cells, and the worst of them, against two bars.
fn hold(
    what: &str,
    question: &Question,
    rival: &str,
    figure: fn(&Cell) -> f64,
    (mean, worst): (f64, f64),
    lines: &mut Vec<Line>,
) {
    let pairs = pairs(question, rival, figure);
    let Some(most) = pairs.iter().max_by(|a, b| a.ratio().total_cmp(&b.ratio())) else {
        return;
    };
    let logarithms: f64 = pairs.iter().map(|pair| pair.ratio().ln()).sum();
    lines.push(Line {
        what: format!("busy machine, {what}, geometric mean, of {rival}'s"),
        bar: Bar::AtMost(mean),
        ratio: (logarithms / pairs.len() as f64).exp(),
        of: format!("{} cells", pairs.len()),
    });
    lines.push(Line {
        what: format!("busy machine, {what}, worst, of {rival}'s"),
        bar: Bar::AtMost(worst),
        ratio: most.ratio(),
        of: format!(
            "{} : {} ms, {}",
            number(most.ours),
            number(most.other),
            most.whose
        ),
    });
}

/// Each ring in each case, beside the same ring with that policy, or beside a pipe.
fn pairs(question: &Question, rival: &str, figure: fn(&Cell) -> f64) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for case in &question.cases {
        for ring in RINGS {
            let (ours, theirs) = match rival {
                "pipe" => (name(None, ring), rival.to_string()),
                policy => (name(None, ring), name(Some(policy), ring)),
            };
            let cells = (question.cell(case, &ours), question.cell(case, &theirs));
            if let (Some(one), Some(other)) = cells {
                pairs.push(Pair {
                    whose: format!("{case}, {ours}"),
                    ours: figure(one),
                    other: figure(other),
                });
            }
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::super::tests::{row, verdict};
    use crate::contenders::Kind;
    use crate::results::Row;

    /// Wall time in ms, and processor seconds.
    fn figures(case: &str, who: &str, wall: f64, cpu: f64) -> Row {
        let kind = if who == "pipe" {
            Kind::Kernel
        } else {
            Kind::Ours
        };
        Row {
            cpu: Some(cpu),
            unit: "ms".into(),
            ..row("busy machine", case, who, kind, wall)
        }
    }

    #[test]
    fn the_mean_is_geometric_and_the_worst_is_named() {
        let text = verdict(vec![
            figures("1 loop", "shmpipe, 64 KiB ring", 40.0, 0.010),
            figures("1 loop", "shmpipe, Park, 64 KiB ring", 20.0, 0.010),
            figures("1 loop", "pipe", 50.0, 0.005),
            figures("2 loops", "shmpipe, 4 MiB ring", 10.0, 0.020),
            figures("2 loops", "shmpipe, Park, 4 MiB ring", 20.0, 0.010),
            // Without the other policy beside it.
            figures("2 loops", "shmpipe, 256 KiB ring", 99.0, 9.0),
        ]);
        for line in [
            "wall time, geometric mean, of Park's | <= 1.1 | 1.00 | 2 cells | yes |",
            "wall time, worst, of Park's | <= 1.25 | 2.00 | 40.0 : 20.0 ms, 1 loop, shmpipe, 64 KiB \
             ring | **no** |",
            "processor time, geometric mean, of Park's | <= 1.1 | 1.41 | 2 cells | **no** |",
            "processor time, worst, of Park's | <= 1.25 | 2.00 | 20.0 : 10.0 ms, 2 loops, shmpipe, \
             4 MiB ring | **no** |",
            "wall time, worst, of pipe's | <= 1 | 0.800 | 40.0 : 50.0 ms, 1 loop, shmpipe, 64 KiB \
             ring | yes |",
            "processor time, geometric mean, of pipe's | <= 1 | 2.00 | 1 cells | **no** |",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }

    #[test]
    fn nothing_is_judged_that_was_not_measured() {
        let text = verdict(vec![figures("1 loop", "pipe", 50.0, 0.005)]);
        assert!(text.contains("0 of 0 hold"), "{text}");
    }
}
