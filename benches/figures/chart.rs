//! Bar charts as SVG, one for each question that has contenders.

use std::fmt::Write;

use super::Kind;
use super::data::Data;
use super::questions::{Better, Shown};
use super::summary::{self, Asked, Cell};
use super::table::{number, threads};

/// The charts: the question, the name, and the title.
const CHARTS: [(&str, &str, &str); 5] = [
    (
        "throughput",
        "throughput",
        "Throughput by block, GB/s: more is better",
    ),
    (
        "messages",
        "messages",
        "Messages, each published, millions a second: more is better",
    ),
    ("in place", "in-place", "In place, GB/s: more is better"),
    (
        "round trip",
        "round-trip",
        "Round trip, spinning, ns: less is better",
    ),
    (
        "parking",
        "parking",
        "Round trip, both sides asleep, us: less is better",
    ),
];

/// The most contenders of a chart.
const SHOWN: usize = 10;

const WIDTH: f64 = 860.0;
const BAR: f64 = 15.0;
const LABEL: f64 = 190.0;
const FIGURE: f64 = 70.0;
const GAP: f64 = 34.0;

/// A chart of one machine.
pub(crate) struct Chart {
    /// The machine and the question, as in the name of the file.
    name: String,
    pub(crate) title: &'static str,
    pub(crate) svg: String,
}

impl Chart {
    /// The reference of the chart in the page.
    pub(crate) fn label(&self) -> String {
        format!("chart-{}", self.name)
    }

    /// The name of its file.
    pub(crate) fn file(&self) -> String {
        format!("{}.svg", self.name)
    }
}

/// Draws the charts that the data has figures for. `stem` names the machine.
pub(crate) fn all(data: &Data, stem: &str) -> Vec<Chart> {
    let questions = summary::of(data);
    let drawn = CHARTS.iter().filter_map(|&(question, name, title)| {
        let asked = questions
            .iter()
            .find(|asked| asked.question.name == question)?;
        Some(Chart {
            name: format!("{stem}-{name}"),
            title,
            svg: draw(asked, title),
        })
    });
    drawn.collect()
}

/// A group of bars for each case, the best at the top. The axis is logarithmic, since
/// figures differ by factors of hundreds.
fn draw(asked: &Asked, title: &str) -> String {
    let groups: Vec<(&String, Vec<Bar<'_>>)> = asked
        .cases
        .iter()
        .map(|case| (case, bars(asked, case)))
        .collect();
    let all = || {
        groups
            .iter()
            .flat_map(|(_, bars)| bars)
            .map(|bar| bar.value)
    };
    let low = 10f64.powf(all().fold(f64::MAX, f64::min).log10().floor());
    let ends = || {
        groups
            .iter()
            .flat_map(|(_, bars)| bars)
            .map(|bar| bar.range.1)
    };
    let high = all().chain(ends()).fold(f64::MIN, f64::max);
    let span = WIDTH - LABEL - FIGURE;
    let length = |value: f64| (span * (value / low).log10() / (high / low).log10()).max(1.0);

    let whiskers = if asked.shown() == Shown::Percentiles {
        "from 50 % to 99.9 % of the delays"
    } else {
        "from the least to the most of all rounds"
    };
    let rows: usize = groups.iter().map(|(_, bars)| bars.len()).sum();
    let height = 40.0 + rows as f64 * BAR + groups.len() as f64 * GAP;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"10\" y=\"20\" font-size=\"14\" font-weight=\"bold\" fill=\"#222222\">{title}</text>\n\
         <text x=\"10\" y=\"34\" fill=\"#777777\">logarithmic; whiskers {whiskers}</text>\n"
    );
    let mut y = 40.0;
    let mut decade = low;
    while decade <= high {
        let x = LABEL + length(decade);
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"44\" y2=\"{height}\" stroke=\"#eeeeee\"/>"
        );
        decade *= 10.0;
    }
    for (case, bars) in &groups {
        y += GAP - 10.0;
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" font-weight=\"bold\" fill=\"#222222\">\
             {case}</text>",
            LABEL - 8.0,
            y - 2.0
        );
        for bar in bars {
            bar.draw(&mut svg, y, &length);
            y += BAR;
        }
        y += 10.0;
    }
    svg + "</svg>\n"
}

struct Bar<'a> {
    who: &'a str,
    kind: Kind,
    value: f64,
    range: (f64, f64),
}

impl Bar<'_> {
    fn draw(&self, svg: &mut String, y: f64, length: &dyn Fn(f64) -> f64) {
        let color = match self.kind {
            Kind::Ours => "#1b6ca8",
            Kind::Kernel => "#c9c2b8",
            Kind::Crate | Kind::Threads => "#9fb3c1",
            Kind::Limit => "#e3d9a8",
        };
        let weight = if self.kind == Kind::Ours {
            "bold"
        } else {
            "normal"
        };
        let threads = threads(self.kind);
        let (middle, baseline) = (y + BAR / 2.0, y + BAR - 4.0);
        let end = length(self.value);
        let (from, to) = (LABEL + length(self.range.0), LABEL + length(self.range.1));
        let (height, label) = (BAR - 3.0, LABEL - 8.0);
        let figure = to.max(LABEL + end) + 5.0;
        let (who, value) = (self.who, number(self.value));
        let _ = writeln!(
            svg,
            "<text x=\"{label}\" y=\"{baseline:.1}\" text-anchor=\"end\" font-weight=\"{weight}\" \
             fill=\"#333333\">{who}{threads}</text>\
             <rect x=\"{LABEL}\" y=\"{y:.1}\" width=\"{end:.1}\" height=\"{height}\" fill=\"{color}\"/>\
             <line x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\" \
             stroke=\"#555555\"/>\
             <text x=\"{figure:.1}\" y=\"{baseline:.1}\" font-weight=\"{weight}\" fill=\"#333333\">\
             {value}</text>"
        );
    }
}

/// Ours, the limits, the best rivals, and always pipe and Unix socket.
fn bars<'a>(asked: &'a Asked, case: &str) -> Vec<Bar<'a>> {
    let bar = |cell: &'a Cell| {
        let figures = &cell.figures;
        let range = match asked.shown() {
            Shown::Percentiles => (figures.median, figures.p999),
            _ => (figures.least, figures.most),
        };
        let is_known = range.0.is_finite() && range.1.is_finite();
        Bar {
            who: &cell.who,
            kind: cell.kind,
            value: figures.median,
            range: if is_known {
                range
            } else {
                (figures.median, figures.median)
            },
        }
    };
    let mut bars: Vec<Bar<'_>> = asked.in_case(case).map(bar).collect();
    if asked.question.name == "round trip" {
        let line = asked.line(case);
        bars.push(Bar {
            who: "bare line",
            kind: Kind::Limit,
            value: line,
            range: (line, line),
        });
    }
    bars.retain(|bar| bar.value.is_finite());
    bars.sort_by(|a, b| {
        let order = a.value.total_cmp(&b.value);
        match asked.question.better {
            Better::More => order.reverse(),
            Better::Less => order,
        }
    });
    let mut others = 0;
    bars.retain(|bar| {
        let always = matches!(bar.kind, Kind::Ours | Kind::Limit);
        others += usize::from(!always);
        always || others <= SHOWN || ["pipe", "Unix socket"].contains(&bar.who)
    });
    bars
}
