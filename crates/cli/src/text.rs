//! Text on stdout.

use std::env;
use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use rustix::termios::tcgetwinsize;
use unicode_width::UnicodeWidthChar;

use crate::exit::Failure;

/// Writes `text` to stdout. Does not use std's writes, which ignore EBADF, the error of a
/// stdout that is open only for reading.
pub(crate) fn print(text: impl fmt::Display) -> Result<(), Failure> {
    let stdout = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    let written = stdout.and_then(|mut stdout| stdout.write_all(text.to_string().as_bytes()));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::stdout_closed(),
        _ => Failure::io("stdout", &error),
    })
}

/// Colours of the terminal's own palette.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    Red = 31,
    Green = 32,
    Yellow = 33,
    Grey = 90,
}

/// Whether stdout is a terminal that may get colours: see <https://no-color.org>.
pub(crate) fn has_colours() -> bool {
    let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
    io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb
}

/// `text` in a colour, if stdout may get colours.
pub(crate) fn paint(colour: Colour, text: &str) -> String {
    match has_colours() {
        true => format!("\x1b[{}m{text}\x1b[0m", colour as u8),
        false => text.to_owned(),
    }
}

/// The width of stdout, if it is a terminal. Otherwise that of `COLUMNS`, if it is set, and no
/// limit if it is not.
pub(crate) fn columns() -> Option<usize> {
    let asked = env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok())
        .filter(|&columns| columns > 0);
    match tcgetwinsize(io::stdout().as_fd()) {
        Ok(size) if size.ws_col > 0 => Some(size.ws_col.into()),
        Ok(_) => Some(asked.unwrap_or(80)),
        Err(_) => asked,
    }
}

/// Shows what `screen` returns, again every `interval`. On a terminal each screen takes the place
/// of the one before. Ends by SIGINT, like any command.
pub(crate) fn watch(
    interval: Duration,
    mut screen: impl FnMut() -> Result<String, Failure>,
) -> Result<(), Failure> {
    loop {
        let text = screen()?;
        match tcgetwinsize(io::stdout().as_fd()) {
            // Home, then each line to its end, then the rest of the screen. What is below the
            // screen would scroll it.
            Ok(size) => {
                let rows = usize::from(size.ws_row).max(2) - 1;
                let lines = text.lines().take(rows);
                let lines: String = lines.map(|line| format!("{line}\x1b[K\n")).collect();
                print(format!("\x1b[H{lines}\x1b[J"))?;
            }
            Err(_) => print(text)?,
        }
        thread::sleep(interval);
    }
}

/// `text` in lines of at most `width` columns, divided between words. A word that is wider than a
/// line goes on in the next one.
pub(crate) fn wrapped(text: &str, width: Option<usize>) -> String {
    let width = width.unwrap_or(usize::MAX);
    let columns_of = |c: char| c.width().unwrap_or(0);
    let mut lines = String::new();
    let mut len = 0;
    for word in text.split(' ') {
        let word_len: usize = word.chars().map(columns_of).sum();
        if len > 0 && len + 1 + word_len > width {
            lines.push('\n');
            len = 0;
        } else if len > 0 {
            lines.push(' ');
            len += 1;
        }
        for c in word.chars() {
            if len > 0 && len + columns_of(c) > width {
                lines.push('\n');
                len = 0;
            }
            lines.push(c);
            len += columns_of(c);
        }
    }
    lines + "\n"
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn lines_are_divided_between_words_and_only_then_within() {
        assert_eq!(wrapped("one two three", None), "one two three\n");
        assert_eq!(wrapped("one two three", Some(8)), "one two\nthree\n");
        assert_eq!(wrapped("at /tmp/abc", Some(4)), "at\n/tmp\n/abc\n");
        assert_eq!(wrapped("中文字符", Some(5)), "中文\n字符\n"); // two columns each
        assert_eq!(wrapped("", Some(5)), "\n");
    }
}
