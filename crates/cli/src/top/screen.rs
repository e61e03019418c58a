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
use crate::table::{self, Column, cut, cut_end};
use crate::text::{Colour, columns, wrapped};
use crate::units::{bar, bytes, percent};

const HELP: &str = "\
j, down   next ring
k, up     previous ring
s         sort by another column
/         filter: Enter keeps it, Esc drops it
d         remove the chosen ring, after a question
space     look now
q, Esc    quit
^Z        suspend

Any key goes back.";

/// The columns from left to right.
const COLUMNS: [Column; 9] = [
    Column::new("PATH", 0).cut(8),
    Column::new("ID", 6).number(),
    Column::new("STATE", 0),
    Column::new("FILL", 1),
    Column::new("RATE", 2).number(),
    Column::new("LAST LOOKS", 4),
    Column::new("TOTAL", 5).number(),
    Column::new("WAITS", 7),
    Column::new("FROM > TO", 3),
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
        of_ring(format!(
            "{} {:>3}%",
            bar(fill, capacity, BAR),
            percent(fill, capacity)
        ))
        .into(),
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
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let last = &rates[rates.len().saturating_sub(SPARK)..];
    let most = last.iter().copied().fold(0.0, f64::max);
    let block = |&rate: &f64| match most > 0.0 {
        true => BLOCKS[((rate / most * 7.0).round() as usize).min(7)], // from 0 to 7
        false => BLOCKS[0],
    };
    format!("{:<SPARK$}", last.iter().map(block).collect::<String>())
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
    let parts = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
    ]);
    let [top, middle, bottom] = parts.areas(area);
    let bold = Style::new().add_modifier(Modifier::BOLD);
    frame.render_widget(Line::styled(title(state), bold), top);
    draw_table(frame, state, middle);
    frame.render_widget(Line::raw(prompt(state, bottom.width.into())), bottom);
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
        let width = widths[column];
        let text = cut(text, width);
        let line = Line::raw(text);
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

/// The last line: keys, a question, what is typed, or what has happened.
fn prompt(state: &State, width: usize) -> String {
    match state.mode {
        Mode::Filter => cut(&format!("/{}_", state.filter), width),
        Mode::Confirm(id) => format!("remove segment {id}? y/n"),
        Mode::List if !state.message.is_empty() => cut_end(&state.message, width),
        Mode::List | Mode::Help => "q quit  s sort  / filter  d remove  ? help".to_owned(),
    }
}
