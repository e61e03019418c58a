//! The data of a run: JSON, one object a line. Machines first, and then each contender in
//! each case with all its samples.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Kind, stats};

/// The machine of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Names the run: the seconds since 1970 at its start.
    pub(crate) run: u64,
    /// The day of the run.
    #[serde(default)]
    pub(crate) date: String,
    pub(crate) cpu: String,
    pub(crate) cpus: Vec<usize>,
    pub(crate) caches: String,
    pub(crate) kernel: String,
    pub(crate) rustc: String,
    pub(crate) place: String,
    pub(crate) time_ms: u64,
    pub(crate) rounds: usize,
    /// The contenders' versions, such as "rtrb 0.4.1".
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) versions: Vec<String>,
    /// Where the figures come from, if not from samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
}

impl Machine {
    /// A machine for tests.
    #[cfg(test)]
    pub(crate) fn example(cpu: &str) -> Machine {
        let text = r#"{"run":1,"date":"2026-01-01","cpu":"","cpus":[0,1],"caches":"L1 32K",
            "kernel":"Linux 6","rustc":"rustc 1.89","time_ms":60,"rounds":11,
            "place":"Near: a line's round trip takes 62 ns"}"#;
        Machine {
            cpu: cpu.into(),
            ..serde_json::from_str(text).expect("a machine")
        }
    }

    /// A short name for files: the maker, the model, and the numbers of the family and the
    /// model.
    pub(crate) fn stem(&self) -> String {
        let (name, numbers) = self.cpu.split_once('(').map_or((&*self.cpu, ""), |_| {
            let at = self.cpu.find("(family").unwrap_or(self.cpu.len());
            self.cpu.split_at(at)
        });
        let name = name.to_lowercase().replace("(r)", "").replace("(tm)", "");
        let words = name
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !["", "processor", "cpu"].contains(word))
            .take(2);
        let numbers = numbers.split(')').next().unwrap_or_default();
        let numbers = numbers
            .split(|c: char| !c.is_ascii_digit())
            .filter(|number| !number.is_empty());
        words.chain(numbers).collect::<Vec<_>>().join("-")
    }
}

/// One contender in one case: the samples that count, by round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Series {
    pub(crate) question: String,
    pub(crate) case: String,
    pub(crate) who: String,
    pub(crate) kind: Kind,
    pub(crate) unit: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) value: Vec<f64>,
    /// High percentiles of a delay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) p99: Vec<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) p999: Vec<f64>,
    /// Bytes of each sample.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) bytes: Vec<f64>,
    /// Processor seconds of both sides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) cpu: Vec<f64>,
    /// System calls of both sides, as far as the adapter counts them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) calls: Vec<f64>,
    /// The round trip of a bare line beside each sample, in ns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) line: Vec<f64>,
    /// Measurements that do not count: their processors moved, or they were disturbed.
    #[serde(default)]
    pub(crate) dropped: usize,
    /// Why the contender could not be measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<String>,
    /// The figures of a run whose samples were not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) known: Option<Figures>,
}

/// What is shown of the samples of one contender in one case. NaN: not known.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Figures {
    pub(crate) median: f64,
    #[serde(skip_serializing_if = "is_nan")]
    pub(crate) least: f64,
    #[serde(skip_serializing_if = "is_nan")]
    pub(crate) most: f64,
    /// The medians of the rounds' high percentiles.
    #[serde(skip_serializing_if = "is_nan")]
    pub(crate) p99: f64,
    #[serde(skip_serializing_if = "is_nan")]
    pub(crate) p999: f64,
    /// The median of the processor seconds of both sides together.
    #[serde(skip_serializing_if = "is_nan")]
    pub(crate) cpu: f64,
    /// Medians of both sides together: processor seconds for 10^9 bytes, system calls for
    /// 10^6.
    #[serde(skip_serializing_if = "is_nan")]
    pub(crate) cpu_per_gb: f64,
    #[serde(skip_serializing_if = "is_nan")]
    pub(crate) calls_per_mb: f64,
    /// The round trip of the bare line beside these rounds, in ns.
    #[serde(skip_serializing_if = "is_nan")]
    pub(crate) line: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_nan(value: &f64) -> bool {
    value.is_nan()
}

impl Default for Figures {
    fn default() -> Figures {
        let none = f64::NAN;
        Figures {
            median: none,
            least: none,
            most: none,
            p99: none,
            p999: none,
            cpu: none,
            cpu_per_gb: none,
            calls_per_mb: none,
            line: none,
        }
    }
}

impl Series {
    /// A contender in a case without any sample.
    pub(crate) fn new(question: &str, case: &str, who: &str, kind: Kind, unit: &str) -> Series {
        Series {
            question: question.into(),
            case: case.into(),
            who: who.into(),
            kind,
            unit: unit.into(),
            value: Vec::new(),
            p99: Vec::new(),
            p999: Vec::new(),
            bytes: Vec::new(),
            cpu: Vec::new(),
            calls: Vec::new(),
            line: Vec::new(),
            dropped: 0,
            failure: None,
            known: None,
        }
    }

    /// The figures of the samples, or the known ones. `None` without both.
    pub(crate) fn figures(&self) -> Option<Figures> {
        if self.value.is_empty() {
            return self.known;
        }
        let median = |values: &[f64]| stats::median(&mut values.to_vec());
        let per_byte = |values: &[f64], factor: f64| {
            let pairs = values.iter().zip(&self.bytes);
            stats::median(
                &mut pairs
                    .map(|(value, bytes)| value / bytes * factor)
                    .collect::<Vec<_>>(),
            )
        };
        let end = |part| stats::quantile(&mut self.value.clone(), part);
        Some(Figures {
            median: median(&self.value),
            least: end(0.0),
            most: end(1.0),
            p99: median(&self.p99),
            p999: median(&self.p999),
            cpu: median(&self.cpu),
            cpu_per_gb: per_byte(&self.cpu, 1e9),
            calls_per_mb: per_byte(&self.calls, 1e6),
            line: median(&self.line),
        })
    }

    /// With four significant figures of each sample, which is more than their spread allows.
    pub(crate) fn rounded(mut self) -> Series {
        let columns = [
            &mut self.value,
            &mut self.p99,
            &mut self.p999,
            &mut self.bytes,
            &mut self.cpu,
            &mut self.calls,
            &mut self.line,
        ];
        for value in columns.into_iter().flatten() {
            *value = format!("{value:.3e}").parse().unwrap_or(*value);
        }
        self
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Entry {
    Series(Box<Series>),
    Machine(Box<Machine>),
}

/// The data of a run, or of several runs of one machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Data {
    pub(crate) machines: Vec<Machine>,
    pub(crate) series: Vec<Series>,
}

impl Data {
    /// Reads the text of a file.
    pub(crate) fn parse(text: &str) -> io::Result<Data> {
        let mut data = Data::default();
        for line in text.lines() {
            match serde_json::from_str(line)? {
                Entry::Series(series) => data.series.push(*series),
                Entry::Machine(machine) => data.machines.push(*machine),
            }
        }
        Ok(data)
    }

    /// The text of a file.
    pub(crate) fn text(&self) -> io::Result<String> {
        let mut text = String::new();
        let machines = self.machines.iter().cloned();
        let machines = machines.map(|one| Entry::Machine(Box::new(one)));
        let series = self.series.iter().cloned();
        for entry in machines.chain(series.map(|one| Entry::Series(Box::new(one.rounded())))) {
            text += &serde_json::to_string(&entry)?;
            text.push('\n');
        }
        Ok(text)
    }

    /// Every data file of a folder, with its name without the ending, by name.
    pub(crate) fn all(folder: &Path) -> io::Result<Vec<(String, Data)>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == "jsonl") {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                all.push((
                    stem.into_owned(),
                    Data::parse(&std::fs::read_to_string(&path)?)?,
                ));
            }
        }
        all.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_after_the_machine() {
        for (cpu, stem) in [
            ("AMD EPYC (family 25, model 17), a guest", "amd-epyc-25-17"),
            (
                "Intel(R) Xeon(R) Processor (family 6, model 207), a guest",
                "intel-xeon-6-207",
            ),
            (
                "AMD Ryzen 9 7950X 16-Core Processor (family 25, model 97)",
                "amd-ryzen-25-97",
            ),
            ("?", ""),
        ] {
            assert_eq!(Machine::example(cpu).stem(), stem);
        }
    }

    #[test]
    fn data_is_read_as_it_was_written() {
        let mut one = Series::new("round trip", "8 B", "shmpipe", Kind::Ours, "ns");
        one.value = vec![123.456_78, 100.0];
        one.p99 = vec![200.0, 300.0];
        one.line = vec![70.0, 71.0];
        let mut old = Series::new("parking", "64 B", "pipe", Kind::Kernel, "us");
        old.known = Some(Figures {
            median: 12.4,
            ..Figures::default()
        });
        let data = Data {
            machines: vec![Machine::example("AMD EPYC (family 25, model 17)")],
            series: vec![one, old],
        };
        let text = data.text().unwrap();
        let read = Data::parse(&text).unwrap();
        assert_eq!(read.text().unwrap(), text);
        assert_eq!(read.series[0].value, [123.5, 100.0]);
        assert_eq!(read.series[0].figures().unwrap().p99, 250.0);
        let old = read.series[1].figures().unwrap();
        assert!((old.median, old.least.is_nan()) == (12.4, true));
    }
}
