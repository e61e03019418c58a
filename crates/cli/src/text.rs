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
    io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb()
}

/// Whether the terminal understands no control sequences, or does not say what it is.
pub(crate) fn is_dumb() -> bool {
    env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

/// Whether the locale shows characters beyond ASCII: see `LC_CTYPE` in locale(7).
pub(crate) fn is_unicode() -> bool {
    let mut names = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter();
    let set = names.find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()));
    let set = set.unwrap_or_default().to_ascii_lowercase();
    set.contains("utf-8") || set.contains("utf8")
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

/// Rows of a terminal that does not tell its size.
const ROWS: u16 = 24;

/// Shows what `screen` returns, again every `interval`. On a terminal each screen takes the place
/// of the one before. Elsewhere `between` comes between two screens. Ends by SIGINT, like any
/// command.
pub(crate) fn watch(
    interval: Duration,
    between: &str,
    mut screen: impl FnMut() -> Result<String, Failure>,
) -> Result<(), Failure> {
    let mut before = "";
    loop {
        let text = screen()?;
        match tcgetwinsize(io::stdout().as_fd()) {
            // Home, then each line to its end, then the rest of the screen. What is below the
            // screen would scroll it.
            Ok(size) if !is_dumb() => {
                let rows = if size.ws_row > 0 { size.ws_row } else { ROWS };
                let lines = text.lines().take(usize::from(rows).max(2) - 1);
                let lines: String = lines.map(|line| format!("{line}\x1b[K\n")).collect();
                print(format!("\x1b[H{lines}\x1b[J"))?;
            }
            _ => print(format!("{before}{text}"))?,
        }
        before = between;
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

/// The fewest columns of a text beside its head.
const LEAST: usize = 8;

/// `head`, in `head_width` columns, and `text` beside it, in lines of at most `width` columns. On a
/// screen with too little room beside the head, the text is below it.
pub(crate) fn hanging(
    (head, colour): (&str, Option<Colour>),
    head_width: usize,
    text: &str,
    width: Option<usize>,
) -> String {
    let painted = |head: &str| colour.map_or(head.to_owned(), |colour| paint(colour, head));
    let mut lines = String::new();
    let Some(narrow) = width.filter(|&width| width < head_width + 1 + LEAST) else {
        let room = width.map(|width| width - head_width - 1);
        let mut before = painted(&format!("{head:<head_width$}"));
        for line in wrapped(text, room).lines() {
            lines += &format!("{before} {line}\n");
            before = " ".repeat(head_width);
        }
        return lines;
    };
    if !head.is_empty() {
        let head = wrapped(head, width);
        lines.extend(head.lines().map(|line| painted(line) + "\n"));
    }
    let indent = 2.min(narrow.saturating_sub(1));
    for line in wrapped(text, Some(narrow - indent)).lines() {
        lines += &format!("{:indent$}{line}\n", "");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{hanging, wrapped};

    #[test]
    fn a_text_is_beside_its_head_or_below() {
        let of = |head: &str, text: &str, width| hanging((head, None), 6, text, width);
        assert_eq!(of("name:", "a value", None), "name:  a value\n");
        let beside = "name:  one two\n       three\n";
        assert_eq!(of("name:", "one two three", Some(16)), beside);
        let below = "name:\n  one two\n  three\n";
        assert_eq!(of("name:", "one two three", Some(12)), below);
        assert_eq!(of("", "one two", Some(12)), "  one two\n");
        assert_eq!(of("", "one two", Some(20)), "       one two\n");
        for width in 1..40 {
            let lines = of("name:", "some words, and one_that_is_long", Some(width));
            assert!(lines.lines().all(|line| line.len() <= width), "{lines}");
        }
    }

    #[test]
    fn lines_are_divided_between_words_and_only_then_within() {
        assert_eq!(wrapped("one two three", None), "one two three\n");
        assert_eq!(wrapped("one two three", Some(8)), "one two\nthree\n");
        assert_eq!(wrapped("at /tmp/abc", Some(4)), "at\n/tmp\n/abc\n");
        assert_eq!(wrapped("中文字符", Some(5)), "中文\n字符\n"); // two columns each
        assert_eq!(wrapped("", Some(5)), "\n");
    }
}
