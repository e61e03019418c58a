//! The progress bar and the figures of the demo, and what the figures of `bench` share with them.

use std::fmt::{self, Write};
use std::time::Duration;

use shmpipe::Stats;

use crate::args::ProgressArgs;
use crate::progress::{Progress, Reading};
use crate::text::wrapped;
use crate::units;

/// Columns of the tables.
const TABLES: usize = 64;
/// Bytes after which the progress bar looks at the clock again.
const BAR_STEP: u64 = 16 << 20;

/// How often one side of a ring slept and woke the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    sleeps: u64,
    wakes: u64,
}

impl Calls {
    pub(crate) fn since(self, before: Calls) -> Calls {
        Calls {
            sleeps: self.sleeps - before.sleeps,
            wakes: self.wakes - before.wakes,
        }
    }

    /// Parses what `Display` prints.
    pub(crate) fn parse(text: &str) -> Option<Calls> {
        let (sleeps, wakes) = text.split_once(' ')?;
        Some(Calls {
            sleeps: sleeps.parse().ok()?,
            wakes: wakes.parse().ok()?,
        })
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.sleeps, self.wakes)
    }
}

impl From<Stats> for Calls {
    fn from(stats: Stats) -> Calls {
        Calls {
            sleeps: stats.sleeps,
            wakes: stats.wakes,
        }
    }
}

/// One run through a ring or a pipe.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) time: Duration,
    pub(crate) producer: Calls,
    pub(crate) consumer: Calls,
}

/// The runs with one block size.
#[derive(Clone, Debug)]
pub(crate) struct Rounds {
    pub(crate) block: usize,
    pub(crate) ring: Vec<Run>,
    pub(crate) pipe: Vec<Run>,
}

impl Rounds {
    pub(crate) fn new(block: usize) -> Rounds {
        let (ring, pipe) = (Vec::new(), Vec::new());
        Rounds { block, ring, pipe }
    }
}

/// The figures of all runs, below `title`. A screen that is narrower than the tables gets less of
/// them.
pub(crate) fn report(title: &str, bytes: u64, results: &[Rounds], width: Option<usize>) -> String {
    let is_narrow = width.is_some_and(|width| width < TABLES);
    let title = title.lines().map(|line| wrapped(line, width));
    let mut text = title.collect::<String>() + &debug_build(width) + "\n";
    text += match is_narrow {
        true => "GB/s\n block    ring    pipe   ratio\n",
        false => "   block   ring GB/s   pipe GB/s   ratio   ring's least .. most\n",
    };
    for rounds in results {
        let speeds = |runs: &[Run]| {
            let speed = |run: &Run| bytes as f64 / run.time.as_secs_f64() / 1e9;
            Spread::of(runs.iter().map(speed).collect())
        };
        let (ring, pipe) = (speeds(&rounds.ring), speeds(&rounds.pipe));
        let (block, ratio) = (units::bytes(rounds.block as u64), ring.median / pipe.median);
        let ratio = match ratio.is_finite() {
            true => format!("{ratio:.2}"),
            false => "-".to_owned(), // a stream of no bytes
        };
        text += &match is_narrow {
            true => format!(
                "{block:>6} {:>7.2} {:>7.2} {ratio:>7}\n",
                ring.median, pipe.median
            ),
            false => format!(
                "{block:>8} {:>11.2} {:>11.2} {ratio:>7}   {:.2} .. {:.2}\n",
                ring.median, pipe.median, ring.least, ring.most
            ),
        };
    }
    text += &calls(results, is_narrow);
    let calls =
        "each of these is one system call; the ring makes no other while both sides are busy";
    text + &wrapped(calls, width)
}

/// How often both sides of the ring slept and woke the other.
fn calls(results: &[Rounds], is_narrow: bool) -> String {
    let mut text = match is_narrow {
        true => "\nthe ring, last round\n block           slept    woke\n",
        false => "\nthe ring, in the last round   slept   woke the other\n",
    }
    .to_owned();
    let (block_width, name_width, wakes_width) = match is_narrow {
        true => (6, 8, 7),
        false => (8, 19, 16),
    };
    for rounds in results {
        let Some(run) = rounds.ring.last() else {
            continue;
        };
        for (name, calls) in [("producer", run.producer), ("consumer", run.consumer)] {
            let block = units::bytes(rounds.block as u64);
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "{block:>block_width$} {name:<name_width$} {:>6} {:>wakes_width$}",
                calls.sleeps, calls.wakes
            );
        }
    }
    text
}

/// The median of some figures, with the least and the most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// The spread of `figures`. Without any figure, everything is 0.
    pub(crate) fn of(mut figures: Vec<f64>) -> Spread {
        figures.sort_by(f64::total_cmp);
        let at = |index: usize| figures.get(index).copied().unwrap_or(0.0);
        let last = figures.len().saturating_sub(1);
        Spread {
            least: at(0),
            median: (at(last / 2) + at(last.div_ceil(2))) / 2.0,
            most: at(last),
        }
    }
}

/// The line that a report of a debug build has.
pub(crate) fn debug_build(width: Option<usize>) -> String {
    match cfg!(debug_assertions) {
        true => wrapped(
            "a debug build, whose figures mean nothing: --release",
            width,
        ),
        false => String::new(),
    }
}

/// A progress bar on stderr, if that is a terminal.
#[derive(Debug)]
pub(crate) struct Bar {
    progress: Progress,
    shown: u64,
}

impl Bar {
    pub(crate) fn new(name: &'static str, bytes: u64) -> Bar {
        let mut progress = Progress::new(ProgressArgs::default(), name, false);
        progress.starts(Some(bytes));
        Bar { progress, shown: 0 }
    }

    pub(crate) fn show(&mut self, position: u64) {
        if position - self.shown >= BAR_STEP {
            self.shown = position;
            self.progress.show(|| Reading {
                bytes: position,
                ..Reading::default()
            });
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.progress.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_fits() {
        let run = || Run {
            time: Duration::from_millis(100),
            producer: Calls {
                sleeps: 123_456,
                wakes: 1,
            },
            consumer: Calls::default(),
        };
        let mut rounds = Rounds::new(64 << 10);
        rounds.ring.extend([run(), run()]);
        rounds.pipe.push(run());
        for width in [30, 40, 63, 64, 80, 120] {
            let text = report("a title", 1 << 30, &[rounds.clone()], Some(width));
            assert!(text.lines().all(|line| line.len() <= width), "{text}");
            let figures = if width < 64 {
                "10.74   10.74    1.00"
            } else {
                "10.74       10.74    1.00"
            };
            assert!(text.contains(figures) && text.contains("123456"), "{text}");
        }
    }

    #[test]
    fn a_median_is_in_the_middle() {
        let of = |figures: &[f64]| Spread::of(figures.to_vec());
        assert_eq!(of(&[3.0, 1.0, 2.0]).median, 2.0);
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]).median, 2.5);
        let one = Spread {
            least: 7.0,
            median: 7.0,
            most: 7.0,
        };
        assert_eq!(of(&[7.0]), one);
    }
}
