//! Tables that fit the terminal.

use unicode_width::UnicodeWidthStr;

use crate::text::{Colour, is_unicode, paint};

/// A column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) head: &'static str,
    /// Numbers are aligned to the right, words to the left.
    pub(crate) is_number: bool,
    /// Columns with a larger number are left out earlier. 0: left out only if the columns before
    /// it fill the line.
    pub(crate) order: u8,
    /// If there is no room, the column is cut down to this width. 0: cut only after all others.
    pub(crate) least: usize,
    /// Which part of a cut cell stays.
    pub(crate) stays: Part,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Start,
    End,
}

impl Column {
    pub(crate) const fn new(head: &'static str, order: u8) -> Column {
        Column {
            head,
            is_number: false,
            order,
            least: 0,
            stays: Part::Start,
        }
    }

    pub(crate) const fn number(self) -> Column {
        Column {
            is_number: true,
            ..self
        }
    }

    /// May be cut down to `least` columns, of which `stays` stays.
    pub(crate) const fn cut(self, least: usize, stays: Part) -> Column {
        Column {
            least,
            stays,
            ..self
        }
    }

    /// `text` in at most `width` columns.
    pub(crate) fn cut_to(&self, text: &str, width: usize) -> String {
        match self.stays {
            Part::Start => cut_end(text, width),
            Part::End => cut(text, width),
        }
    }
}

/// A cell. Its text has no control characters.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) colour: Option<Colour>,
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell { text, colour: None }
    }
}

/// The table, in lines of at most `width` columns, if a width is given.
pub(crate) fn render(columns: &[Column], rows: &[Vec<Cell>], width: Option<usize>) -> String {
    let (kept, widths) = fitted(columns, rows, width);
    let mut table = String::new();
    let heads: Vec<Cell> = columns
        .iter()
        .map(|column| column.head.to_owned().into())
        .collect();
    for row in std::iter::once(&heads).chain(rows) {
        let last = kept.last().copied();
        for &column in &kept {
            let cell = &row[column];
            let text = columns[column].cut_to(&cell.text, widths[column]);
            let blank = " ".repeat(widths[column] - text.width());
            let text = cell
                .colour
                .map_or(text.clone(), |colour| paint(colour, &text));
            match columns[column].is_number {
                true => table += &(blank + &text),
                false if Some(column) == last => table += &text,
                false => table += &(text + &blank),
            }
            if Some(column) != last {
                table.push(' ');
            }
        }
        table.truncate(table.trim_end_matches(' ').len());
        table.push('\n');
    }
    table
}

/// The columns that are kept, and the width of each column.
pub(crate) fn fitted(
    columns: &[Column],
    rows: &[Vec<Cell>],
    width: Option<usize>,
) -> (Vec<usize>, Vec<usize>) {
    let mut widths: Vec<usize> = (0..columns.len())
        .map(|column| {
            let cells = rows.iter().map(|row| row[column].text.width());
            cells.chain([columns[column].head.len()]).max().unwrap_or(0)
        })
        .collect();
    let mut kept: Vec<usize> = (0..columns.len())
        .filter(|&column| widths[column] > 0)
        .collect();
    if let Some(width) = width {
        fit(columns, &mut kept, &mut widths, width);
    }
    (kept, widths)
}

/// Leaves columns out, and then cuts columns, until a line fits.
fn fit(columns: &[Column], kept: &mut Vec<usize>, widths: &mut [usize], width: usize) {
    let least = |column: usize, widths: &[usize]| match columns[column].least {
        0 => widths[column],
        least => least.min(widths[column]),
    };
    let needed = |kept: &[usize], widths: &[usize]| {
        let cells: usize = kept.iter().map(|&column| least(column, widths)).sum();
        cells + kept.len().saturating_sub(1)
    };
    while needed(kept, widths) > width {
        let out = kept
            .iter()
            .copied()
            .max_by_key(|&column| columns[column].order);
        match out.filter(|&column| columns[column].order > 0) {
            Some(out) => kept.retain(|&column| column != out),
            None => break,
        }
    }
    // A narrow column may fit where a wide one did not.
    let mut out: Vec<usize> = (0..columns.len())
        .filter(|column| !kept.contains(column) && widths[*column] > 0)
        .collect();
    out.sort_by_key(|&column| columns[column].order);
    for column in out {
        let mut more = kept.clone();
        more.push(column);
        if needed(&more, widths) <= width {
            more.sort_unstable();
            *kept = more;
        }
    }
    // A screen that is narrower than all that must stay gets less of it.
    kept.truncate(width.div_ceil(2).max(1));
    let line: usize = kept.iter().map(|&column| widths[column]).sum();
    let mut over = (line + kept.len().saturating_sub(1)).saturating_sub(width);
    // The widest first, so that all that may be cut stay readable.
    for is_last_resort in [false, true] {
        while over > 0 {
            let may = kept.iter().copied().filter(|&column| {
                let least = if is_last_resort {
                    1
                } else {
                    least(column, widths)
                };
                widths[column] > least
            });
            let Some(widest) = may.max_by_key(|&column| widths[column]) else {
                break;
            };
            widths[widest] -= 1;
            over -= 1;
        }
    }
}

/// The end of `text`, which says more of a path than its start.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut rest = text;
    while rest.width() + 1 > width {
        let mut chars = rest.chars();
        if chars.next().is_none() {
            break;
        }
        rest = chars.as_str();
    }
    match width {
        0 => String::new(),
        _ => format!("{}{rest}", gap()),
    }
}

/// Stands for what is cut off.
fn gap() -> char {
    if is_unicode() { '…' } else { '+' }
}

/// The start of `text`.
pub(crate) fn cut_end(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut start = text.to_owned();
    while start.width() + 1 > width && start.pop().is_some() {}
    match width {
        0 => String::new(),
        _ => format!("{start}{}", gap()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::new("PATH", 0).cut(6, Part::End),
        Column::new("ID", 2).number(),
        Column::new("STATE", 0),
        Column::new("AGE", 1).number(),
    ];

    fn of_width(width: Option<usize>) -> String {
        let row = |words: [&str; 4]| words.map(|word| word.to_owned().into()).to_vec();
        let rows = [
            row(["/tmp/a/long/path", "12", "flowing", "5s"]),
            row(["-", "345678", "no sender", "12m"]),
        ];
        render(&COLUMNS, &rows, width)
    }

    #[test]
    fn a_table_fits() {
        let whole = "\
PATH                 ID STATE     AGE
/tmp/a/long/path     12 flowing    5s
-                345678 no sender 12m
";
        assert_eq!(of_width(None), whole);
        assert_eq!(of_width(Some(80)), whole);
        let gap = gap();
        let narrow = format!(
            "\
PATH       ID STATE     AGE
{gap}/path     12 flowing    5s
-      345678 no sender 12m
"
        );
        assert_eq!(of_width(Some(27)), narrow);
        let narrower = format!(
            "\
PATH      STATE     AGE
{gap}ong/path flowing    5s
-         no sender 12m
"
        );
        assert_eq!(of_width(Some(23)), narrower);
        let narrowest = format!(
            "\
PATH   STATE
{gap}/path flow{gap}
-      no s{gap}
"
        );
        assert_eq!(of_width(Some(12)), narrowest);
        for width in 1..50 {
            let table = of_width(Some(width));
            assert!(table.lines().all(|line| line.width() <= width), "{table}");
            assert_eq!(table.lines().count(), 3);
        }
    }

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(cut("中文字符", 5), format!("{}字符", gap()));
        assert_eq!(cut_end("中文字符", 5), format!("中文{}", gap()));
        assert_eq!((cut("abc", 0), cut_end("abc", 0)), ("".into(), "".into()));
    }
}
