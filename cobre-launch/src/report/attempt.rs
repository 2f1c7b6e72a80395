//! One attempt of a job, as `--report` has it.

use std::time::Duration;

use serde::Serialize;

use crate::JobExit;
use crate::error::LaunchError;
use crate::process::signal;
use crate::report::last_words::Known;
use crate::report::verdict::{End, RankEnd};
use crate::watch::ending::Reason;
use crate::watch::scene::Doing;

/// How an attempt went, and how it ended.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    exit_code: u8,
    /// Why the launcher ended the job; `null` if it ended by itself.
    reason: Option<Reason>,
    /// The first of the last words; `null` if every rank ended with 0.
    summary: Option<String>,
    attempt: u32,
    /// The job's name; `null` if it was not started.
    job: Option<String>,
    started: Option<String>,
    /// When the launcher began to end the job.
    failed: Option<String>,
    ended: Option<String>,
    first_cause: Option<Cause>,
    ranks: Vec<RankReport>,
}

/// The first cause of a failure.
#[derive(Debug, Serialize)]
pub(crate) struct Cause {
    pub(crate) rank: usize,
    pub(crate) pid: i32,
    pub(crate) time: String,
    /// In words: how it ended.
    pub(crate) how: String,
    pub(crate) out_of_memory: Option<&'static str>,
    /// `stdout` or `stderr`.
    pub(crate) stream: Option<&'static str>,
    pub(crate) last_lines: Vec<String>,
    /// Other ranks whose last lines are the same but for their own numbers.
    pub(crate) same_lines: Vec<usize>,
}

#[derive(Debug, Serialize)]
struct RankReport {
    rank: usize,
    pid: i32,
    program: String,
    /// One of these two.
    exit_code: Option<i32>,
    signal: Option<String>,
    ended_after_seconds: f64,
    ended_by_launcher: bool,
    /// These are of the rank with the children that it has waited for; `null` if it could not be
    /// killed.
    cpu_user_seconds: Option<f64>,
    cpu_system_seconds: Option<f64>,
    peak_memory_bytes: Option<u64>,
    doing: Option<Doing>,
}

impl Report {
    pub(crate) fn new(known: &Known<'_>, summary: Option<String>, cause: Option<Cause>) -> Self {
        let ending = known.facts.ending;
        let ends = known.facts.ends.iter();
        Self {
            exit_code: known.verdict.exit.code(),
            reason: ending.map(|(reason, _)| reason),
            summary,
            attempt: known.attempt,
            job: Some(known.job.to_owned()),
            started: Some(known.clock(Duration::ZERO)),
            failed: ending.map(|(_, since)| known.clock(since)),
            ended: Some(known.clock(known.elapsed)),
            first_cause: cause,
            ranks: ends.map(|end| RankReport::new(known, end)).collect(),
        }
    }

    /// An attempt that came to nothing.
    pub(crate) fn not_started(attempt: u32, error: &LaunchError) -> Self {
        Self {
            exit_code: error.exit().code(),
            reason: None,
            summary: Some(error.to_string()),
            attempt,
            job: None,
            started: None,
            failed: None,
            ended: None,
            first_cause: None,
            ranks: Vec::new(),
        }
    }

    /// The exit code is `exit` after all, if it has changed because of `why`.
    pub(crate) fn set_exit(&mut self, exit: JobExit, why: &str) {
        self.exit_code = exit.code();
        if exit != JobExit::Success {
            self.summary.get_or_insert_with(|| why.to_owned());
        }
    }
}

impl RankReport {
    fn new(known: &Known<'_>, end: &RankEnd) -> Self {
        let (exit_code, signal) = match end.end {
            End::Code(code) => (Some(code), None),
            End::Signal(number) => (None, Some(signal::name(number))),
        };
        let seconds = |micros| Duration::from_micros(micros).as_secs_f64();
        let program = &known.plan.program(end.rank).path;
        Self {
            rank: end.rank,
            pid: end.pid,
            program: program.to_string_lossy().into_owned(),
            exit_code,
            signal,
            ended_after_seconds: end.at.as_secs_f64(),
            ended_by_launcher: end.by_launcher,
            cpu_user_seconds: end.usage.map(|usage| seconds(usage.user_micros)),
            cpu_system_seconds: end.usage.map(|usage| seconds(usage.system_micros)),
            peak_memory_bytes: end.usage.map(|usage| usage.peak_bytes),
            doing: known.scene.and_then(|scene| scene.get(end.rank)).cloned(),
        }
    }
}
