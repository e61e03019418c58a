//! The page of the documentation: figures and charts of every machine, between two marks.
//!
//! The page refers to each chart as `[chart-NAME]`. A forge finds the file by the last
//! lines of the page. rustdoc has no such file, and takes a `data:` URI from a file of
//! references, which it reads before the page.

use std::fmt::Write;

use super::chart::{self, Chart};
use super::data::Data;
use super::{summary, table, verdict};

const BEGIN: &str = "<!-- figures: begin -->";
const END: &str = "<!-- figures: end -->";
/// The folder of the charts, from the page.
const CHARTS: &str = "../../benches/charts";

/// What is made from the data of all machines.
pub(crate) struct Made {
    pub(crate) page: String,
    /// The references to charts that rustdoc reads before the page.
    pub(crate) references: String,
    pub(crate) charts: Vec<Chart>,
}

/// Puts the figures of `all` between the marks of `page`. `None` without the marks. Each
/// data has the name of its file.
pub(crate) fn make(page: &str, all: &[(String, Data)]) -> Option<Made> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    let mut figures = String::new();
    let mut charts = Vec::new();
    for (stem, data) in all {
        let drawn = chart::all(data, stem);
        figures += &section(data, &drawn);
        charts.extend(drawn);
    }
    let mut references = String::new();
    figures.push('\n');
    for chart in &charts {
        let label = chart.label();
        let _ = writeln!(figures, "[{label}]: {CHARTS}/{}", chart.file());
        let _ = writeln!(references, "[{label}]: <{}>", data_uri(&chart.svg));
    }
    Some(Made {
        page: format!("{before}{BEGIN}\n{figures}{END}{after}"),
        references,
        charts,
    })
}

/// The figures of one machine.
fn section(data: &Data, charts: &[Chart]) -> String {
    let first = data.machines.first();
    let heading = first.map_or(String::new(), |machine| {
        let maker = machine.cpu.split(" (").next().unwrap_or_default();
        format!("{maker}, {}", machine.date)
    });
    let mut text = format!("\n### {heading}\n\n{}", table::machines(data));
    let questions = summary::of(data);
    let _ = writeln!(
        text,
        "\n#### Ahead or not, and the part of the limit\n\n{}",
        verdict::table(&questions)
    );
    for chart in charts {
        let _ = writeln!(text, "![{}][{}]\n", chart.title, chart.label());
    }
    for asked in questions.iter().filter(|asked| asked.question.on_page) {
        let _ = writeln!(
            text,
            "#### {}\n\n{}{}",
            asked.question.heading,
            table::legend(asked),
            table::table(asked)
        );
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// A chart as a `data:` URI, which fits between `<` and `>`.
fn data_uri(svg: &str) -> String {
    let mut uri = String::from("data:image/svg+xml,");
    for char in svg.trim().chars() {
        match char {
            '%' => uri.push_str("%25"),
            '#' => uri.push_str("%23"),
            '<' => uri.push_str("%3C"),
            '>' => uri.push_str("%3E"),
            '\n' => uri.push(' '),
            other => uri.push(other),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::super::data::{Machine, Series};
    use super::*;

    #[test]
    fn a_chart_becomes_an_address_on_one_line() {
        let svg = "<svg>\n<rect width=\"9%\" fill=\"#fff\"/>\n</svg>\n";
        let uri =
            "data:image/svg+xml,%3Csvg%3E %3Crect width=\"9%25\" fill=\"%23fff\"/%3E %3C/svg%3E";
        assert_eq!(data_uri(svg), uri);
    }

    #[test]
    fn the_page_has_each_machine_and_is_the_same_when_made_again() {
        let data = |cpu: &str| {
            let mut one = Series::new("messages", "8 B", "shmpipe", Kind::Ours, "M/s");
            one.value = vec![20.0];
            let machines = vec![Machine::example(cpu)];
            (
                machines[0].stem(),
                Data {
                    machines,
                    series: vec![one],
                },
            )
        };
        let all = [
            data("AMD EPYC (family 25, model 17)"),
            data("Intel Xeon (family 6, model 207)"),
        ];
        let page = format!("# Page\n\n{BEGIN}\nold\n{END}\n\nThe rest.\n");
        let made = make(&page, &all).unwrap();
        let again = make(&made.page, &all).unwrap();
        assert_eq!(again.page, made.page);
        assert!(!made.page.contains("old") && made.page.ends_with("\nThe rest.\n"));
        for heading in ["### AMD EPYC, 2026-01-01\n", "### Intel Xeon, 2026-01-01\n"] {
            assert!(made.page.contains(heading), "{}", made.page);
        }
        let labels: Vec<String> = made.charts.iter().map(Chart::label).collect();
        assert_eq!(
            labels,
            [
                "chart-amd-epyc-25-17-messages",
                "chart-intel-xeon-6-207-messages"
            ]
        );
        assert!(
            labels
                .iter()
                .all(|label| made.references.contains(&format!("[{label}]: <data:")))
        );
        assert!(make("no marks", &all).is_none());
    }
}
