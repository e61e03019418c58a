//! The results file: one JSON object a line. A run begins with its machine.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::contenders::Kind;

/// The machine of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) run: u64,
    pub(crate) cpu: String,
    pub(crate) cpus: Vec<usize>,
    pub(crate) caches: String,
    pub(crate) kernel: String,
    pub(crate) rustc: String,
    pub(crate) place: String,
    pub(crate) time_ms: u64,
    pub(crate) rounds: usize,
}

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
    #[serde(alias = "high")]
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
    Row(Row),
    Machine(Machine),
}

/// A results file to append to.
pub(crate) struct Log(File);

impl Log {
    pub(crate) fn append(path: &Path) -> io::Result<Log> {
        Ok(Log(File::options().create(true).append(true).open(path)?))
    }

    pub(crate) fn machine(&mut self, machine: &Machine) -> io::Result<()> {
        self.line(&Entry::Machine(machine.clone()))
    }

    pub(crate) fn row(&mut self, row: &Row) -> io::Result<()> {
        self.line(&Entry::Row(row.clone()))
    }

    fn line(&mut self, entry: &Entry) -> io::Result<()> {
        writeln!(self.0, "{}", serde_json::to_string(entry)?)
    }
}

/// The contents of a results file. Of a question that was run several times, the last run.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) machines: Vec<Machine>,
    pub(crate) rows: Vec<Row>,
}

impl Results {
    pub(crate) fn read(path: &Path) -> io::Result<Results> {
        let mut all = Results::default();
        for line in BufReader::new(File::open(path)?).lines() {
            match serde_json::from_str(&line?)? {
                Entry::Row(row) => all.rows.push(row),
                Entry::Machine(machine) => all.machines.push(machine),
            }
        }
        let mut last = std::collections::HashMap::new();
        for row in &all.rows {
            let run = last.entry(row.question.clone()).or_insert(row.run);
            *run = row.run.max(*run);
        }
        all.rows.retain(|row| last[&row.question] == row.run);
        all.machines
            .retain(|machine| last.values().any(|&run| run == machine.run));
        Ok(all)
    }
}
