//! The results file: one JSON object a line, as it was measured. A run begins with its
//! machine.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::figures::Kind;
use crate::figures::data::{Data, Machine, Series};

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) run: u64,
    pub(crate) question: String,
    pub(crate) case: String,
    pub(crate) who: String,
    pub(crate) kind: Kind,
    pub(crate) round: usize,
    pub(crate) unit: String,
    pub(crate) value: Option<f64>,
    /// High percentiles of a delay.
    pub(crate) p99: Option<f64>,
    pub(crate) p999: Option<f64>,
    pub(crate) bytes: Option<f64>,
    /// Processor seconds of both sides.
    pub(crate) cpu: Option<f64>,
    /// System calls of both sides, as far as the adapter counts them.
    pub(crate) calls: Option<f64>,
    /// Voluntary and involuntary context switches of both sides.
    pub(crate) waits: Option<f64>,
    pub(crate) preemptions: Option<f64>,
    /// The fraction of the time in which a side waited for its processor.
    pub(crate) kept_waiting: Option<f64>,
    /// The round trip of a bare line before and after, in nanoseconds.
    pub(crate) line_before: Option<f64>,
    pub(crate) line_after: Option<f64>,
    /// Why the measurement does not count, if it does not.
    pub(crate) dropped: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Entry {
    Row(Box<Row>),
    Machine(Box<Machine>),
}

/// A results file to append to.
pub(crate) struct Log(File);

impl Log {
    pub(crate) fn append(path: &Path) -> io::Result<Log> {
        Ok(Log(File::options().create(true).append(true).open(path)?))
    }

    pub(crate) fn machine(&mut self, machine: &Machine) -> io::Result<()> {
        self.line(&Entry::Machine(Box::new(machine.clone())))
    }

    pub(crate) fn row(&mut self, row: &Row) -> io::Result<()> {
        self.line(&Entry::Row(Box::new(row.clone())))
    }

    fn line(&mut self, entry: &Entry) -> io::Result<()> {
        writeln!(self.0, "{}", serde_json::to_string(entry)?)
    }
}

/// Reads a results file. Of a question that was run several times, the last run.
pub(crate) fn read(path: &Path) -> io::Result<Data> {
    let (mut machines, mut rows) = (Vec::new(), Vec::new());
    for line in BufReader::new(File::open(path)?).lines() {
        match serde_json::from_str(&line?)? {
            Entry::Row(row) => rows.push(*row),
            Entry::Machine(machine) => machines.push(*machine),
        }
    }
    Ok(gathered(machines, &rows))
}

/// The last run of each question, by contender and case.
fn gathered(mut machines: Vec<Machine>, rows: &[Row]) -> Data {
    let mut last: HashMap<&str, u64> = HashMap::new();
    for row in rows {
        let run = last.entry(&row.question).or_insert(row.run);
        *run = row.run.max(*run);
    }
    machines.retain(|machine| last.values().any(|&run| run == machine.run));
    let mut series: Vec<Series> = Vec::new();
    let mut places = HashMap::new();
    for row in rows.iter().filter(|row| last[&*row.question] == row.run) {
        let at = *places
            .entry((&row.question, &row.case, &row.who))
            .or_insert_with(|| {
                let Row {
                    question,
                    case,
                    who,
                    unit,
                    ..
                } = row;
                series.push(Series::new(question, case, who, row.kind, unit));
                series.len() - 1
            });
        add(&mut series[at], row);
    }
    Data { machines, series }
}

fn add(series: &mut Series, row: &Row) {
    match &row.dropped {
        Some(why) if why.starts_with("failed") => series.failure = Some(why.clone()),
        Some(_) => series.dropped += 1,
        None => {
            let line = row.line_before.zip(row.line_after);
            let line = line.map(|(before, after)| f64::midpoint(before, after));
            for (column, value) in [
                (&mut series.value, row.value),
                (&mut series.p99, row.p99),
                (&mut series.p999, row.p999),
                (&mut series.bytes, row.bytes),
                (&mut series.cpu, row.cpu),
                (&mut series.calls, row.calls),
                (&mut series.line, line),
            ] {
                column.extend(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(run: u64, question: &str, value: f64, dropped: Option<&str>) -> Row {
        let row = r#"{"run":1,"question":"","case":"8 B","who":"shmpipe","kind":"Ours",
            "round":0,"unit":"ns","p99":345.0,"line_before":70.0,"line_after":72.0}"#;
        Row {
            run,
            question: question.into(),
            value: Some(value),
            dropped: dropped.map(Into::into),
            ..serde_json::from_str(row).unwrap()
        }
    }

    #[test]
    fn what_was_dropped_does_not_count() {
        let rows = [
            row(1, "wake", 99.0, Some("moved: line 62 ns, then 300 ns")),
            row(1, "wake", 20.0, None),
            row(1, "wake", 21.0, None),
        ];
        let data = gathered(Vec::new(), &rows);
        let [one] = &data.series[..] else {
            panic!("{data:?}");
        };
        assert_eq!((&one.value[..], one.dropped), (&[20.0, 21.0][..], 1));
        assert_eq!(
            (&one.line[..], &one.p99[..]),
            (&[71.0, 71.0][..], &[345.0, 345.0][..])
        );
    }

    #[test]
    fn the_last_run_of_each_question_counts() {
        let rows = [
            row(1, "wake", 1.0, None),
            row(1, "parking", 2.0, None),
            row(2, "wake", 3.0, None),
            row(2, "wake", f64::NAN, Some("failed: hung")),
        ];
        let data = gathered(Vec::new(), &rows);
        let found: Vec<_> = data
            .series
            .iter()
            .map(|one| (&*one.question, &one.value[..], one.failure.as_deref()))
            .collect();
        let expected = [
            ("parking", &[2.0][..], None),
            ("wake", &[3.0][..], Some("failed: hung")),
        ];
        assert_eq!(found, expected);
    }
}
