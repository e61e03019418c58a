//! Figures and charts in a README, between two marks.

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
/// The questions whose tables stand in the README; the bars cover the others.
const TABLES: [&str; 4] = ["throughput", "messages", "instructions", "round trip"];

pub(crate) fn update(results: &Results, readme: &Path, folder: &Path) -> io::Result<()> {
    let text = std::fs::read_to_string(readme)?;
    let (Some((before, _)), Some((_, after))) = (text.split_once(BEGIN), text.split_once(END))
    else {
        return Err(io::Error::other(format!(
            "{} lacks {BEGIN} or {END}",
            readme.display()
        )));
    };
    let beside = readme.parent().unwrap_or(Path::new(".")).join(folder);
    let drawn = charts::draw_all(results, &beside)?;

    let mut figures = report::machine(results);
    for (file, title) in drawn {
        let _ = writeln!(figures, "\n![{title}]({}/{file})", folder.display());
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
    std::fs::write(readme, format!("{before}{BEGIN}\n{figures}{END}{after}"))
}
