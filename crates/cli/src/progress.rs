//! The progress of a stream on stderr: a line that is drawn again and again, or numbers.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::process::getpgrp;
use rustix::termios::{tcgetpgrp, tcgetwinsize};

use crate::args::ProgressArgs;
use crate::text::is_dumb;
use crate::units::{bar, bytes, clock, percent};

/// The time between two draws of the line.
const DRAW: Duration = Duration::from_millis(200);
/// The time between two lines of numbers.
const LINE: Duration = Duration::from_secs(1);
/// About the time over which the shown rate is taken.
const RATE: Duration = Duration::from_secs(3);
/// The width if the terminal does not tell its own.
const COLUMNS: usize = 80;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Not,
    /// On a terminal, while this process group is in its foreground.
    Line,
    /// Wherever stderr leads.
    ForcedLine,
    Numbers,
}

/// How far a stream is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading {
    pub(crate) bytes: u64,
    pub(crate) fill: usize,
    pub(crate) capacity: usize,
}

#[derive(Debug)]
pub(crate) struct Progress {
    how: How,
    /// The verb. In the demo, `ring` or `pipe`.
    name: &'static str,
    /// Bytes of the whole stream, if they are known.
    total: Option<u64>,
    start: Instant,
    drawn: Instant,
    /// The bytes at moments within the last [`RATE`], or at the last line of numbers.
    samples: VecDeque<(Instant, u64)>,
    has_line: bool,
    /// Columns of the line. A dumb terminal erases nothing but by blanks.
    drawn_columns: usize,
}

impl Progress {
    /// `shares_terminal`: stdin or stdout is a terminal, so no line is drawn.
    pub(crate) fn new(args: ProgressArgs, name: &'static str, shares_terminal: bool) -> Progress {
        let how = if args.numbers {
            How::Numbers
        } else if args.progress {
            How::ForcedLine
        } else if args.quiet || !io::stderr().is_terminal() || shares_terminal {
            How::Not
        } else {
            How::Line
        };
        let now = Instant::now();
        Progress {
            how,
            name,
            total: None,
            start: now,
            drawn: now,
            samples: VecDeque::new(),
            has_line: false,
            drawn_columns: 0,
        }
    }

    pub(crate) fn is_shown(&self) -> bool {
        self.how != How::Not
    }

    /// Says that the peer has not come yet.
    pub(crate) fn waits_for(&mut self, peer: &str) {
        if matches!(self.how, How::Line | How::ForcedLine) {
            self.draw(&format!("{}: waiting for a {peer}", self.name));
        }
    }

    /// The peer is there. The stream has `total` bytes, if that is known.
    pub(crate) fn starts(&mut self, total: Option<u64>) {
        let now = Instant::now();
        self.total = total;
        (self.start, self.drawn) = (now, now);
        self.samples = VecDeque::from([(now, 0)]);
    }

    /// Shows how far the stream is, if it is time.
    #[inline]
    pub(crate) fn show(&mut self, reading: impl FnOnce() -> Reading) {
        if self.how == How::Not {
            return;
        }
        let every = if self.how == How::Numbers { LINE } else { DRAW };
        if self.drawn.elapsed() >= every {
            self.show_now(reading());
        }
    }

    fn show_now(&mut self, reading: Reading) {
        let now = Instant::now();
        self.drawn = now;
        let rate = self.rate(now, reading.bytes);
        let time = now - self.start;
        match self.how {
            How::Not => {}
            How::Numbers => {
                let fill = percent(reading.fill as u64, reading.capacity as u64);
                let line = format!(
                    "{:.1} {} {rate:.0} {fill}\n",
                    time.as_secs_f64(),
                    reading.bytes
                );
                say(&line);
            }
            How::Line | How::ForcedLine => {
                let line = line(self.name, columns(), reading, time, rate, self.total);
                self.draw(&line);
            }
        }
    }

    /// Bytes per second since the oldest sample.
    fn rate(&mut self, now: Instant, bytes: u64) -> f64 {
        let (since, before) = *self.samples.front().unwrap_or(&(now, bytes));
        let seconds = (now - since).as_secs_f64();
        self.samples.push_back((now, bytes));
        let window = if self.how == How::Numbers {
            Duration::ZERO
        } else {
            RATE
        };
        while self.samples.len() > 1 && now - self.samples[0].0 > window {
            self.samples.pop_front();
        }
        match seconds > 0.0 {
            true => bytes.saturating_sub(before) as f64 / seconds,
            false => 0.0,
        }
    }

    /// Shows the last state. The rate is then that of the whole stream.
    pub(crate) fn ends(&mut self, reading: Reading) {
        self.samples = VecDeque::from([(self.start, 0)]);
        self.show_now(reading);
        self.leave_line();
    }

    /// Ends the line, if there is one, so that a message gets a line of its own.
    pub(crate) fn leave_line(&mut self) {
        if self.has_line {
            say("\n");
            self.has_line = false;
        }
    }

    /// Removes the line, as if there had been none.
    pub(crate) fn clear(&mut self) {
        if self.has_line {
            self.say_line("");
            say("\r");
            self.has_line = false;
        }
    }

    fn draw(&mut self, line: &str) {
        if self.how == How::Line && !is_in_foreground() {
            return;
        }
        let width = columns();
        let line: String = line.chars().take(width.saturating_sub(1)).collect();
        self.say_line(&line);
        self.has_line = true;
    }

    /// Puts `line` in place of the line before.
    fn say_line(&mut self, line: &str) {
        let columns = line.chars().count();
        match is_dumb() {
            true => {
                let blanks = self.drawn_columns.saturating_sub(columns);
                say(&format!("\r{line}{:blanks$}", ""));
            }
            false => say(&format!("\r{line}\x1b[K")),
        }
        self.drawn_columns = columns;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.leave_line();
    }
}

/// Writes to stderr in one write. If that fails, nobody wants to see it.
fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Whether this process is in the foreground of the terminal. A background process does
/// not draw.
fn is_in_foreground() -> bool {
    tcgetpgrp(io::stderr().as_fd()).is_ok_and(|group| group == getpgrp())
}

fn columns() -> usize {
    match tcgetwinsize(io::stderr().as_fd()) {
        Ok(size) if size.ws_col > 0 => size.ws_col.into(),
        _ => COLUMNS,
    }
}

/// The line, in fewer than `width` characters: parts are left out where there is no room.
fn line(
    name: &str,
    width: usize,
    reading: Reading,
    time: Duration,
    rate: f64,
    total: Option<u64>,
) -> String {
    let amount = bytes(reading.bytes);
    let rate_text = format!("{}/s", bytes(rate as u64)); // saturates
    let fill = percent(reading.fill as u64, reading.capacity as u64);
    let mut line = format!("{name}: {amount:>5}");
    let room = |line: &str| width.saturating_sub(line.len() + 1);
    for part in [format!(" {:>5}", clock(time)), format!(" {rate_text:>7}")] {
        if room(&line) >= part.len() {
            line += &part;
        }
    }
    if let Some(total) = total.filter(|&total| total > 0) {
        if room(&line) >= 5 {
            line += &format!(" {:>3}%", percent(reading.bytes, total));
        }
        let left = total.saturating_sub(reading.bytes) as f64 / rate;
        if room(&line) >= 12 && left.is_finite() && left < 360_000.0 {
            line += &format!(" ETA {}", clock(Duration::from_secs_f64(left)));
        }
        if room(&line) >= 11 {
            line += &format!(" ring {fill:>3}%");
        }
        if room(&line) >= 9 {
            let width = (room(&line) - 1).min(30);
            line += &format!(" {}", bar(reading.bytes, total, width));
        }
    } else if room(&line) >= 11 {
        line += &format!(" ring {fill:>3}%");
        if room(&line) >= 9 {
            line += &format!(
                " {}",
                bar(
                    reading.fill as u64,
                    reading.capacity as u64,
                    12.min(room(&line) - 1)
                )
            );
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_width(width: usize, total: Option<u64>) -> String {
        let reading = Reading {
            bytes: 3 << 29,
            fill: 1 << 18,
            capacity: 1 << 20,
        };
        line(
            "send",
            width,
            reading,
            Duration::from_secs(12),
            (1 << 27) as f64,
            total,
        )
    }

    #[test]
    fn a_line_fits() {
        assert_eq!(
            of_width(80, None),
            "send:  1.5G  0:12  128M/s ring  25% [###.......]"
        );
        assert_eq!(
            of_width(80, Some(3 << 30)),
            "send:  1.5G  0:12  128M/s  50% ETA 0:12 ring  25% [##############.............]"
        );
        assert_eq!(of_width(40, None), "send:  1.5G  0:12  128M/s ring  25%");
        assert_eq!(
            of_width(40, Some(3 << 30)),
            "send:  1.5G  0:12  128M/s  50% [###...]"
        );
        assert_eq!(of_width(30, Some(3 << 30)), "send:  1.5G  0:12  128M/s");
        assert_eq!(of_width(20, None), "send:  1.5G  0:12");
        for width in 12..120 {
            for total in [None, Some(1), Some(3 << 30), Some(u64::MAX)] {
                let line = of_width(width, total);
                assert!(line.len() < width, "{width}: {line}");
            }
        }
    }
}
