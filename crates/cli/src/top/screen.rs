//! How `top` looks.

use clap::ValueEnum;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Clear, Paragraph, Row, Table, TableState, Wrap};

use super::state::{Mode, State};
use crate::ls::{colour, footer, waits};
use crate::rings::Segment;
use crate::table::{self, Column, Part, cut, cut_end};
use crate::text::{Colour, columns, is_unicode, wrapped};
use crate::units::{bar, bytes, percent};

/// Fits a screen of 40 columns and 12 rows.
const HELP: &str = "\
j, down  next ring
k, up    previous ring
s        sort by another column
/        filter (Enter: keep, Esc: drop)
d        remove the ring (asks first)
space    look now
q, Esc   quit
^Z       stop, until the shell's `fg`

Any key goes back.";

/// The keys of the last line. Those with a larger number are left out earlier.
const KEYS: [(&str, u8); 5] = [
    ("q quit", 1),
    ("s sort", 4),
    ("/ filter", 3),
    ("d remove", 2),
    ("? help", 0),
];

/// The columns from left to right.
const COLUMNS: [Column; 10] = [
    Column::new("PATH", 0).cut(8, Part::End),
    Column::new("ID", 7).number(),
    Column::new("STATE", 0),
    Column::new("", 3), // the bar of FILL
    Column::new("FILL", 1).number(),
    Column::new("RATE", 2).number(),
    Column::new("LAST LOOKS", 5),
    Column::new("TOTAL", 6).number(),
    Column::new("WAITS", 8),
    Column::new("FROM > TO", 4),
];

/// Characters of the bar, of the sparkline and of a command's name.
const BAR: usize = 6;
const SPARK: usize = 10;
const NAME: usize = 8;

fn row(state: &State, segment: &Segment) -> Vec<table::Cell> {
    let (fill, capacity) = (segment.fill() as u64, segment.capacity() as u64);
    let rate = segment
        .rate
        .map_or_else(|| "-".to_owned(), |rate| bytes(rate as u64) + "/s");
    let ring = segment.ring();
    let of_ring = |text: String| ring.map_or_else(|| "-".to_owned(), |_| text);
    let [from, to] = segment.commands().map(|name| cut_end(&name, NAME));
    let seen = segment.state();
    vec![
        segment.path().into(),
        segment.id().to_string().into(),
        table::Cell {
            text: seen.to_string(),
            colour: colour(seen),
        },
        of_ring(bar(fill, capacity, BAR)).into(),
        of_ring(format!("{}%", percent(fill, capacity))).into(),
        rate.into(),
        spark(&state.rates(segment)).into(),
        of_ring(bytes(segment.total())).into(),
        ring.map_or("-", |ring| {
            waits(ring.producer_sleeps, ring.consumer_sleeps)
        })
        .to_owned()
        .into(),
        format!("{from} > {to}").into(),
    ]
}

/// The last rates, the highest of them as a full block.
fn spark(rates: &[f64]) -> String {
    let levels: [char; 8] = match is_unicode() {
        true => ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
        false => ['.', ':', '-', '=', '+', '*', '%', '#'],
    };
    let last = &rates[rates.len().saturating_sub(SPARK)..];
    let most = last.iter().copied().fold(0.0, f64::max);
    let level = |&rate: &f64| match most > 0.0 {
        true => levels[((rate / most * 7.0).round() as usize).min(7)], // from 0 to 7
        false => levels[0],
    };
    format!("{:<SPARK$}", last.iter().map(level).collect::<String>())
}

/// A screen as text.
pub(super) fn text(state: &State) -> String {
    let rows: Vec<Vec<table::Cell>> = state
        .shown
        .iter()
        .map(|segment| row(state, segment))
        .collect();
    let width = columns();
    let mut text = wrapped(&title(state), width);
    text += &table::render(&COLUMNS, &rows, width);
    for line in footer(&state.shown) {
        text += &wrapped(&line, width);
    }
    text
}

fn title(state: &State) -> String {
    let sort = state.sort.to_possible_value();
    let sort = sort.map_or_else(String::new, |sort| sort.get_name().to_owned());
    let filter = match state.filter.is_empty() {
        true => String::new(),
        false => format!(", filter {:?}", state.filter),
    };
    let (count, rate) = (state.count(), bytes(state.rate() as u64)); // saturates
    let part = match state.filter.is_empty() {
        true => String::new(),
        false => format!("{} of ", state.shown.len()),
    };
    let rings = if count == 1 { "ring" } else { "rings" };
    format!("{part}{count} {rings}, {rate}/s, by {sort}{filter}")
}

pub(super) fn draw(frame: &mut Frame<'_>, state: &mut State) {
    let area = frame.area();
    let width = usize::from(area.width);
    let prompt = prompt(state, width);
    let rows = prompt.lines().count().max(1);
    let parts = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(rows.min(area.height.into()) as u16), // lossless: the lesser one
    ]);
    let [top, middle, bottom] = parts.areas(area);
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let title = cut_end(&title(state), width);
    frame.render_widget(Line::styled(title, bold), top);
    draw_table(frame, state, middle);
    frame.render_widget(Paragraph::new(prompt), bottom);
    if state.mode == Mode::Help {
        frame.render_widget(Clear, middle);
        frame.render_widget(Paragraph::new(HELP).wrap(Wrap { trim: false }), middle);
    }
}

fn draw_table(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let rows: Vec<Vec<table::Cell>> = state
        .shown
        .iter()
        .map(|segment| row(state, segment))
        .collect();
    let (kept, widths) = table::fitted(&COLUMNS, &rows, Some(area.width.into()));
    let cell = |column: usize, text: &str, colour: Option<Colour>| {
        let line = Line::raw(COLUMNS[column].cut_to(text, widths[column]));
        let line = if COLUMNS[column].is_number {
            line.right_aligned()
        } else {
            line
        };
        Cell::from(line).style(colour.map_or_else(Style::new, style))
    };
    let head = kept
        .iter()
        .map(|&column| cell(column, COLUMNS[column].head, None));
    let head = Row::new(head).style(Style::new().add_modifier(Modifier::UNDERLINED));
    let rows = rows.iter().map(|row| {
        let cells = kept
            .iter()
            .map(|&column| cell(column, &row[column].text, row[column].colour));
        Row::new(cells)
    });
    let constraints = kept
        .iter()
        .map(|&column| Constraint::Length(widths[column] as u16));
    let table = Table::new(rows, constraints)
        .header(head)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut chosen = TableState::new().with_selected(state.position());
    frame.render_stateful_widget(table, area, &mut chosen);
}

fn style(colour: Colour) -> Style {
    Style::new().fg(match colour {
        Colour::Red => Color::Red,
        Colour::Green => Color::Green,
        Colour::Yellow => Color::Yellow,
        Colour::Grey => Color::DarkGray,
    })
}

/// The last lines: keys, a question, what is typed, or what has happened.
fn prompt(state: &State, width: usize) -> String {
    match state.mode {
        Mode::Filter => cut(&format!("/{}_", state.filter), width),
        Mode::Confirm(id) => wrapped(&format!("remove segment {id}? y/n"), Some(width.max(1))),
        Mode::List if !state.message.is_empty() => wrapped(&state.message, Some(width.max(1))),
        Mode::List | Mode::Help => keys(width),
    }
}

/// As many keys as fit.
fn keys(width: usize) -> String {
    let line = |most: u8| {
        let kept = KEYS.iter().filter(|(_, order)| *order <= most);
        let kept: Vec<&str> = kept.map(|(key, _)| *key).collect();
        kept.join("  ")
    };
    let mut lines = (0..KEYS.len() as u8).rev().map(line); // a few
    lines.find(|line| line.len() <= width).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{HELP, keys};

    #[test]
    fn a_narrow_screen_gets_the_keys_that_fit() {
        for (width, line) in [
            (80, "q quit  s sort  / filter  d remove  ? help"),
            (40, "q quit  / filter  d remove  ? help"),
            (30, "q quit  d remove  ? help"),
            (14, "q quit  ? help"),
            (6, "? help"),
            (5, ""),
        ] {
            assert_eq!(keys(width), line);
        }
        assert!(HELP.lines().all(|line| line.len() <= 40) && HELP.lines().count() <= 10);
    }
}
