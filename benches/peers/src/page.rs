//! Writes figures and charts into a page of the documentation, between two marks.
//!
//! The page refers to each chart as `[chart-NAME]`. A forge finds the file by the last
//! lines of the page. rustdoc has no such file, and takes a `data:` URI from [`EMBEDDED`],
//! which it reads before the page.

use std::fmt::Write;
use std::io;
use std::path::Path;

use crate::charts;
use crate::report;
use crate::results::Results;
use crate::summary;
use crate::verdict;

const BEGIN: &str = "<!-- figures: begin -->";
const END: &str = "<!-- figures: end -->";
/// The file of references that rustdoc reads before the page.
const EMBEDDED: &str = "charts.txt";
/// The questions whose tables are in the page. The table of bars covers the others.
const TABLES: [&str; 6] = [
    "throughput",
    "messages",
    "in place",
    "instructions",
    "round trip",
    "busy machine",
];

pub(crate) fn update(results: &Results, page: &Path, folder: &Path) -> io::Result<()> {
    let text = std::fs::read_to_string(page)?;
    let (Some((before, _)), Some((_, after))) = (text.split_once(BEGIN), text.split_once(END))
    else {
        return Err(io::Error::other(format!(
            "{} lacks {BEGIN} or {END}",
            page.display()
        )));
    };
    let home = page.parent().unwrap_or(Path::new("."));
    let drawn = charts::draw_all(results, &home.join(folder))?;

    let mut figures = report::machine(results);
    for (file, title) in &drawn {
        let _ = writeln!(figures, "\n![{title}][{}]", label(file));
    }
    let questions = summary::of(results);
    for question in questions
        .iter()
        .filter(|one| TABLES.contains(&one.name.as_str()))
    {
        let _ = writeln!(
            figures,
            "\n### {}\n\n{}",
            report::heading(&question.name),
            report::table(question)
        );
    }
    let _ = writeln!(
        figures,
        "\n### What is to be reached, and what is\n\n{}",
        verdict::table(&questions)
    );
    let mut embedded = String::new();
    figures.push('\n');
    for (file, _) in &drawn {
        let label = label(file);
        let _ = writeln!(figures, "[{label}]: {}/{file}", folder.display());
        let svg = std::fs::read_to_string(home.join(folder).join(file))?;
        let _ = writeln!(embedded, "[{label}]: <{}>", data_uri(&svg));
    }
    std::fs::write(home.join(EMBEDDED), embedded)?;
    std::fs::write(page, format!("{before}{BEGIN}\n{figures}{END}{after}"))
}

/// The reference of a chart in the page.
fn label(file: &str) -> String {
    format!("chart-{}", file.trim_end_matches(".svg"))
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
    use super::*;

    #[test]
    fn a_chart_becomes_an_address_on_one_line() {
        let svg = "<svg>\n<rect width=\"9%\" fill=\"#fff\"/>\n</svg>\n";
        let uri =
            "data:image/svg+xml,%3Csvg%3E %3Crect width=\"9%25\" fill=\"%23fff\"/%3E %3C/svg%3E";
        assert_eq!(data_uri(svg), uri);
    }
}
