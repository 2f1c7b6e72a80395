//! The line a rank program prints for each case, and the file of a comparison.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Whether send buffers are written between calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The same bytes are sent again and again, as MPI benchmarks do.
    Reused,
    /// Every rank rewrites its send buffer before each call; that time is subtracted.
    Dirty,
}

impl Mode {
    /// As in the JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Reused => "reused",
            Self::Dirty => "dirty",
        }
    }
}

/// One case, measured once. Times are microseconds per call (per iteration for the replay).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// `barrier`, `allreduce`, .., `sddp:12`.
    pub op: String,
    /// Ranks of the job.
    pub ranks: usize,
    /// Bytes per rank, 0 where there is no single number.
    pub bytes: usize,
    /// Reused or dirty.
    pub mode: Mode,
    /// Calls in one sample.
    pub iters: u64,
    /// Samples.
    pub samples: usize,
    /// Smallest sample.
    pub min_us: f64,
    /// Median of the samples.
    pub median_us: f64,
    /// 99th percentile of the samples, the largest of fewer than 100.
    pub p99_us: f64,
    /// What rewriting takes, already subtracted; 0 when buffers are reused.
    pub rewrite_us: f64,
    /// Processor time of all ranks together, rewriting included.
    pub cpu_us: f64,
    /// Whether all results were right.
    pub verified: bool,
}

impl Record {
    /// The case as it is written on the command line.
    #[must_use]
    pub fn case(&self) -> String {
        match self.op.as_str() {
            op if op == "barrier" || op.starts_with("sddp") => op.to_owned(),
            op => format!("{op}:{}", self.bytes),
        }
    }
}

/// A record, with who was measured and in which round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The column of the table.
    pub column: String,
    /// Which repetition.
    pub round: usize,
    /// What the rank program said.
    #[serde(flatten)]
    pub record: Record,
}

/// Everything a comparison measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Date, UTC.
    pub date: String,
    /// Model and number of cores.
    pub machine: String,
    /// How quiet the machine was: lines for people.
    pub quiet: Vec<String>,
    /// What all cores together can copy.
    #[serde(default)]
    pub bandwidth: Vec<Bandwidth>,
    /// What every column is.
    pub columns: Vec<Column>,
    /// In the order they were measured.
    pub entries: Vec<Entry>,
    /// What failed or took too long.
    pub failures: Vec<String>,
}

/// A column of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// As in the table.
    pub name: String,
    /// Version, and where it is from.
    pub about: String,
    /// How it was started, by number of ranks: environment and arguments.
    #[serde(default)]
    pub flags: BTreeMap<usize, String>,
    /// Whether it is this project's.
    pub ours: bool,
}

/// How fast all cores together copy buffers of a length.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bandwidth {
    /// Length of a buffer; each core has two.
    pub bytes: usize,
    /// Bytes read and written, in 1e9 a second.
    pub gb_per_s: f64,
}

impl Comparison {
    /// Adds another run on the same machine.
    pub fn merge(&mut self, other: Self) {
        if self.date.is_empty() {
            *self = other;
            return;
        }
        self.quiet.extend(other.quiet);
        if self.bandwidth.is_empty() {
            self.bandwidth = other.bandwidth;
        }
        for column in other.columns {
            self.column(column);
        }
        self.entries.extend(other.entries);
        self.failures.extend(other.failures);
    }

    /// Adds a column, or what is new of it.
    pub fn column(&mut self, new: Column) {
        match self.columns.iter_mut().find(|known| known.name == new.name) {
            Some(known) => known.flags.extend(new.flags),
            None => self.columns.push(new),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"op":"allreduce","ranks":4,"bytes":8,"mode":"dirty","iters":10,"samples":25,"min_us":1.5,"median_us":2.0,"p99_us":3.0,"rewrite_us":0.1,"cpu_us":4.0,"verified":true}"#;

    #[test]
    fn a_line_survives_the_way_there_and_back() {
        let record: Record = serde_json::from_str(LINE).unwrap();
        assert_eq!(record.case(), "allreduce:8");
        assert_eq!(record.mode, Mode::Dirty);
        assert_eq!(serde_json::to_string(&record).unwrap(), LINE);
    }

    #[test]
    fn a_line_of_every_kind_names_its_case() {
        for (op, bytes, case) in [
            ("barrier", 0, "barrier"),
            ("sddp-work:12", 0, "sddp-work:12"),
            ("allgatherv", 0, "allgatherv:0"),
            ("win-broadcast-read", 64, "win-broadcast-read:64"),
        ] {
            let mut record: Record = serde_json::from_str(LINE).unwrap();
            (record.op, record.bytes) = (op.to_owned(), bytes);
            assert_eq!(record.case(), case);
        }
    }

    #[test]
    fn runs_are_merged_by_column() {
        let run = |name: &str, ranks: usize| Comparison {
            date: "today".to_owned(),
            columns: vec![Column {
                name: name.to_owned(),
                about: String::new(),
                flags: BTreeMap::from([(ranks, format!("-n {ranks}"))]),
                ours: false,
            }],
            failures: vec![name.to_owned()],
            ..Comparison::default()
        };
        let mut all = Comparison::default();
        for run in [run("A", 2), run("B", 2), run("A", 4)] {
            all.merge(run);
        }
        assert_eq!(all.columns.len(), 2);
        assert_eq!(all.columns[0].flags.len(), 2);
        assert_eq!(all.failures, ["A", "B", "A"]);
    }
}
