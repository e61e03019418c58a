//! `shmpipe doctor`: looks for what would hinder rings on this host.

mod host;
mod rings;

use serde_json::{Value, json};

use crate::args::DoctorArgs;
use crate::exit::Failure;
use crate::json;
use crate::rings::survey;
use crate::text::{Colour, columns, hanging, print, wrapped};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Ok,
    /// Good to know.
    Note,
    /// Hinders some rings, or may do so.
    Warning,
    /// Rings do not work.
    Problem,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Warning => "warning",
            Level::Problem => "problem",
        }
    }

    fn colour(self) -> Colour {
        match self {
            Level::Ok => Colour::Green,
            Level::Note => Colour::Grey,
            Level::Warning => Colour::Yellow,
            Level::Problem => Colour::Red,
        }
    }
}

/// What was looked at, and found.
#[derive(Debug)]
struct Finding {
    level: Level,
    subject: &'static str,
    found: String,
    /// What this means for rings here; empty if it is `ok`.
    means: &'static str,
    /// What to do.
    advice: &'static str,
}

impl Finding {
    fn ok(subject: &'static str, found: impl Into<String>) -> Finding {
        Finding::new(Level::Ok, subject, found, "", "")
    }

    fn new(
        level: Level,
        subject: &'static str,
        found: impl Into<String>,
        means: &'static str,
        advice: &'static str,
    ) -> Finding {
        let found = found.into();
        Finding {
            level,
            subject,
            found,
            means,
            advice,
        }
    }
}

pub(crate) fn run(args: &DoctorArgs) -> Result<(), Failure> {
    let mut findings = host::limits();
    findings.extend([
        host::rmid_forced(),
        host::remove_ipc(),
        host::ipc_namespace(),
        host::membarrier(),
        host::pidfd(),
        host::futex_waitv(),
        host::processors(),
        host::pipes(),
    ]);
    match survey() {
        Ok(segments) => findings.extend([
            rings::stale(&segments),
            rings::files(&segments),
            rings::modes(&segments),
        ]),
        Err(failure) => findings.push(Finding::new(
            Level::Problem,
            "rings",
            failure.message(),
            "the rings of this host cannot be looked at",
            "see the message",
        )),
    }
    let count = |level| {
        findings
            .iter()
            .filter(|finding| finding.level == level)
            .count()
    };
    let (problems, warnings) = (count(Level::Problem), count(Level::Warning));
    let text = match args.json {
        true => {
            let findings: Vec<Value> = findings.iter().map(in_json).collect();
            let whole = json!({ "findings": findings, "problems": problems, "warnings": warnings });
            json::line("doctor", whole)
        }
        false => in_words(&findings, problems, warnings),
    };
    print(text)?;
    match problems > 0 || args.strict && warnings > 0 {
        true => Err(Failure::exit(1)),
        false => Ok(()),
    }
}

fn in_json(finding: &Finding) -> Value {
    json!({
        "level": finding.level.name(),
        "subject": finding.subject,
        "found": finding.found,
        "means": finding.means,
        "advice": finding.advice,
    })
}

/// Columns of a level's name.
const LEVEL: usize = 7;

fn in_words(findings: &[Finding], problems: usize, warnings: usize) -> String {
    let mut text = String::new();
    let width = columns();
    for finding in findings {
        let line = format!("{}: {}", finding.subject, finding.found);
        let means = (!finding.means.is_empty()).then(|| format!("means: {}", finding.means));
        let advice = (!finding.advice.is_empty()).then(|| format!("do: {}", finding.advice));
        let mut head = (finding.level.name(), Some(finding.level.colour()));
        for part in [Some(line), means, advice].into_iter().flatten() {
            text += &hanging(head, LEVEL, &part, width);
            head = ("", None);
        }
    }
    let plural = |number: usize, word: &str| match number {
        1 => format!("1 {word}"),
        number => format!("{number} {word}s"),
    };
    let counts = format!(
        "{}, {}",
        plural(problems, "problem"),
        plural(warnings, "warning")
    );
    text + &wrapped(&counts, width)
}
