//! What one rank did, as JSON; and the reports of a whole job, shown and checked.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cobre_comm::{Communicator, TopologyProvider};
use serde::{Deserialize, Serialize};

use crate::counted::Counted;
use crate::drive::Plan;
use crate::error::{During, Failure};
use crate::misorder::Misordered;
use crate::shape::Shape;

/// LPs that one rank solved itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lps {
    pub(crate) training: u64,
    pub(crate) simulation: u64,
}

/// One kind of call; see [`crate::counted::CallKind`] and [`crate::counted::Tally`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Calls {
    phase: String,
    operation: String,
    reduce: String,
    element: String,
    site: String,
    calls: u64,
    bytes_sent: u64,
    bytes_received: u64,
    shortest: u64,
    longest: u64,
}

/// The report of one rank.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    rank: usize,
    size: usize,
    threads: usize,
    shape: Shape,
    wall_seconds: f64,
    lps: Lps,
    /// Collectives that were misordered on purpose, and those that had another result for it.
    misordered: u64,
    misordered_with_effect: u64,
    calls: Vec<Calls>,
}

impl Report {
    pub(crate) fn new<C: Communicator + TopologyProvider>(
        comm: &Counted<Misordered<C>>,
        plan: &Plan,
        wall: Duration,
        shape: Shape,
        lps: Lps,
    ) -> Self {
        let (misordered, misordered_with_effect) = comm.inner().touched_and_changed();
        Self {
            rank: comm.rank(),
            size: comm.size(),
            threads: plan.threads,
            shape,
            wall_seconds: wall.as_secs_f64(),
            lps,
            misordered,
            misordered_with_effect,
            calls: comm
                .calls()
                .into_iter()
                .map(|(kind, tally)| Calls {
                    phase: kind.phase.to_owned(),
                    operation: kind.operation.to_owned(),
                    reduce: kind.reduce.to_owned(),
                    element: kind.element.to_owned(),
                    site: kind.site,
                    calls: tally.calls,
                    bytes_sent: tally.bytes_sent,
                    bytes_received: tally.bytes_received,
                    shortest: tally.shortest,
                    longest: tally.longest,
                })
                .collect(),
        }
    }

    /// Writes to `path` with the rank number before its extension.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        const STEP: &str = "to write the report";
        let text = serde_json::to_string_pretty(self).during(STEP)?;
        fs::write(of_rank(path, self.rank), text + "\n").during(STEP)
    }

    fn sum(&self, phase: Option<&str>, value: impl Fn(&Calls) -> u64) -> u64 {
        self.calls
            .iter()
            .filter(|calls| phase.is_none_or(|phase| calls.phase == phase))
            .map(value)
            .sum()
    }

    /// What the counts should be, what they are, and what they are of.
    fn expectations(&self) -> [(u64, u64, &'static str); 3] {
        let (ranks, threads) = (self.size as u64, self.threads as u64);
        let training = self.shape.training_calls(ranks);
        let delivered = |c: &Calls| match c.operation.as_str() {
            "broadcast" => 0,
            _ => c.bytes_received,
        };
        [
            (
                training,
                self.sum(Some("training"), |c| c.calls),
                "collectives in training",
            ),
            (
                training + self.shape.other_calls(ranks),
                self.sum(None, |c| c.calls),
                "collectives",
            ),
            (
                self.shape.training_bytes(ranks, threads),
                self.sum(Some("training"), delivered),
                "bytes gathered and reduced in training",
            ),
        ]
    }
}

/// `dir/name.json` becomes `dir/name.3.json`.
fn of_rank(path: &Path, rank: usize) -> PathBuf {
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    path.with_extension(format!("{rank}.{extension}"))
}

/// The reports of one job as a table, and what is wrong with them.
///
/// `like` is the report of a single rank that solved the same case: all ranks together
/// must solve as many LPs.
pub(crate) fn ranks(
    paths: &[PathBuf],
    like: Option<&Path>,
    calls: bool,
) -> Result<(String, Vec<String>), Failure> {
    let mut reports = Vec::new();
    for path in paths {
        reports.push(read(path)?);
    }
    reports.sort_by_key(|report| report.rank);
    let lps = match like {
        Some(path) => Some(read(path)?.lps),
        None => None,
    };
    let mut table = table(&reports);
    if calls && let Some(first) = reports.first() {
        table.push_str(&by_type(first));
    }
    Ok((table, faults(&reports, lps)))
}

fn read(path: &Path) -> Result<Report, Failure> {
    const STEP: &str = "to read a report";
    let text = fs::read_to_string(path).during(STEP)?;
    serde_json::from_str(&text).during(STEP)
}

fn table(reports: &[Report]) -> String {
    let mut out = String::from(
        "    rank size  collectives  in training  per iteration        sent    received  \
         LPs train    LPs sim   wall s\n",
    );
    for report in reports {
        let training = report.sum(Some("training"), |c| c.calls);
        let at_the_end = if report.size == 1 { 0 } else { 5 };
        // Formatting into a String cannot fail.
        let _ = writeln!(
            out,
            "    {:4} {:4} {:12} {:12} {:14.1} {:11} {:11} {:10} {:10} {:8.2}",
            report.rank,
            report.size,
            report.sum(None, |c| c.calls),
            training,
            training.saturating_sub(at_the_end) as f64 / report.shape.iterations.max(1) as f64,
            report.sum(None, |c| c.bytes_sent),
            report.sum(None, |c| c.bytes_received),
            report.lps.training,
            report.lps.simulation,
            report.wall_seconds,
        );
    }
    if reports.iter().any(|report| report.misordered > 0) {
        for report in reports {
            let _ = writeln!(
                out,
                "    rank {}: {} collectives misordered, {} of them with other bits in the result",
                report.rank, report.misordered, report.misordered_with_effect
            );
        }
    }
    out
}

/// One rank's calls by phase, operation and element type.
fn by_type(report: &Report) -> String {
    let mut kinds: BTreeMap<_, Vec<&Calls>> = BTreeMap::new();
    for calls in &report.calls {
        let kind = (
            &calls.phase,
            &calls.operation,
            &calls.reduce,
            &calls.element,
            &calls.site,
        );
        kinds.entry(kind).or_default().push(calls);
    }
    let mut out = format!(
        "    rank {} by call:\n    phase      operation       type   calls     sent  received  elements  called at\n",
        report.rank
    );
    for ((phase, operation, reduce, element, site), calls) in kinds {
        let sum = |value: fn(&Calls) -> u64| calls.iter().map(|c| value(c)).sum::<u64>();
        let _ = writeln!(
            out,
            "    {phase:10} {:15} {element:4} {:7} {:8} {:9} {:>4}..{:<5} {site}",
            format!("{operation} {reduce}"),
            sum(|c| c.calls),
            sum(|c| c.bytes_sent),
            sum(|c| c.bytes_received),
            calls.iter().map(|c| c.shortest).min().unwrap_or(0),
            calls.iter().map(|c| c.longest).max().unwrap_or(0),
        );
    }
    out
}

/// Whether these can be the reports of ranks that worked as one job.
fn faults(reports: &[Report], lps: Option<Lps>) -> Vec<String> {
    let mut faults = Vec::new();
    for (index, report) in reports.iter().enumerate() {
        if report.rank != index || report.size != reports.len() {
            faults.push(format!(
                "report {index} of {} is of rank {} of {}",
                reports.len(),
                report.rank,
                report.size
            ));
        }
        for (expected, counted, what) in report.expectations() {
            if counted != expected {
                faults.push(format!(
                    "rank {}: {counted} {what} instead of {expected}",
                    report.rank
                ));
            }
        }
    }
    let sum = |share: fn(&Lps) -> u64| reports.iter().map(|report| share(&report.lps)).sum();
    let solved = Lps {
        training: sum(|lps| lps.training),
        simulation: sum(|lps| lps.simulation),
    };
    if let Some(lps) = lps.filter(|&lps| lps != solved) {
        faults.push(format!(
            "the ranks solved {solved:?} together instead of {lps:?}"
        ));
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::tests::SHAPE;

    fn calls(phase: &str, calls: u64, bytes_received: u64) -> Calls {
        Calls {
            phase: phase.into(),
            operation: "allreduce".into(),
            reduce: "sum".into(),
            element: "f64".into(),
            site: "a.rs:1".into(),
            calls,
            bytes_sent: 0,
            bytes_received,
            shortest: 0,
            longest: 0,
        }
    }

    fn report(rank: usize, size: usize) -> Report {
        let (training, others) = if size == 1 {
            (62 * 20, 22)
        } else {
            (76 * 20 + 5, 25)
        };
        let bytes = SHAPE.training_bytes(size as u64, 1);
        Report {
            rank,
            size,
            threads: 1,
            shape: SHAPE,
            wall_seconds: 0.5,
            lps: Lps {
                training: 10,
                simulation: 5,
            },
            misordered: 0,
            misordered_with_effect: 0,
            calls: vec![
                calls("training", training, bytes),
                calls("setup", others, 0),
            ],
        }
    }

    fn together(ranks: u64) -> Option<Lps> {
        Some(Lps {
            training: 10 * ranks,
            simulation: 5 * ranks,
        })
    }

    #[test]
    fn the_rank_goes_before_the_extension() {
        assert_eq!(of_rank(Path::new("d/r.json"), 3), Path::new("d/r.3.json"));
    }

    #[test]
    fn ranks_of_one_job_are_fine() {
        assert_eq!(faults(&[report(0, 2), report(1, 2)], together(2)), [""; 0]);
        assert_eq!(faults(&[report(0, 1)], together(1)), [""; 0]);
    }

    #[test]
    fn two_single_ranks_are_not_a_job_of_two() {
        let found = faults(&[report(0, 1), report(0, 1)], None);
        assert_eq!(
            found,
            [
                "report 0 of 2 is of rank 0 of 1",
                "report 1 of 2 is of rank 0 of 1"
            ]
        );
    }

    #[test]
    fn missing_calls_missing_bytes_and_work_done_twice_are_noticed() {
        let mut idle = report(1, 2);
        idle.calls[0].calls -= 1;
        idle.calls[0].bytes_received -= 8;
        assert_eq!(faults(&[report(0, 2), idle], together(2)).len(), 3);
        assert_eq!(faults(&[report(0, 2), report(1, 2)], together(1)).len(), 1);
    }
}
