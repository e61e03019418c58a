//! The progress bar and the figures of the demo.

use std::fmt::{self, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use shmpipe::Stats;

/// Bytes after which the progress bar looks at the clock again.
const BAR_STEP: u64 = 16 << 20;
/// The most redraws of the bar in a second.
const DRAWS_PER_SECOND: u8 = 20;

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
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) time: Duration,
    pub(crate) producer: Calls,
    pub(crate) consumer: Calls,
}

/// The figures of both runs, below `title`.
pub(crate) fn report(title: &str, bytes: u64, ring: &Run, pipe: &Run) -> String {
    let mut text = format!("{title}\n");
    let width = bytes.to_string().len().max("bytes".len());
    let ratio = pipe.time.as_secs_f64() / ring.time.as_secs_f64();
    // Writing to a string does not fail.
    let _ = writeln!(text, "          {:>width$}  seconds    GB/s", "bytes");
    for (name, run) in [("ring", ring), ("pipe", pipe)] {
        let seconds = run.time.as_secs_f64();
        let speed = bytes as f64 / seconds / 1e9;
        let _ = writeln!(
            text,
            "{name:<8}  {bytes:>width$}  {seconds:>7.3}  {speed:>6.2}"
        );
    }
    let _ = writeln!(text, "ratio     {:>width$}  {:>7}  {ratio:>6.2}\n", "", "");
    text.push_str("the ring   slept   woke the other\n");
    for (name, calls) in [("producer", ring.producer), ("consumer", ring.consumer)] {
        let _ = writeln!(text, "{name:<8}  {:>6}  {:>15}", calls.sleeps, calls.wakes);
    }
    text.push_str(
        "each of these is one system call; the ring makes no other while both sides are busy\n",
    );
    text
}

/// A progress bar on stderr, if that is a terminal.
#[derive(Debug)]
pub(crate) struct Bar {
    bar: ProgressBar,
    shown: u64,
}

impl Bar {
    pub(crate) fn new(name: &'static str, bytes: u64) -> Bar {
        let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND);
        let style = "{prefix} {bar:40} {bytes}/{total_bytes} {bytes_per_sec}";
        let style = ProgressStyle::with_template(style);
        let bar = ProgressBar::with_draw_target(Some(bytes), target)
            .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
            .with_prefix(name);
        Bar { bar, shown: 0 }
    }

    pub(crate) fn show(&mut self, position: u64) {
        if position - self.shown >= BAR_STEP {
            self.shown = position;
            self.bar.set_position(position);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
