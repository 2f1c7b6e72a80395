//! The file of `--report`.

use std::io::{self, Write};

use cobre_profile::Results;
use serde::Serialize;

use crate::error::LaunchError;
use crate::plan::Plan;
use crate::report::attempt::Report;

/// What `--report` asks for.
#[derive(Debug)]
pub(crate) struct ReportFile<'a> {
    plan: &'a Plan,
    /// The launcher's command line.
    command: &'a [String],
    file: Option<Results>,
    attempts: Vec<Report>,
}

/// The last attempt, and those before it.
#[derive(Serialize)]
struct Content<'a> {
    /// Of this format.
    version: u32,
    command: &'a [String],
    #[serde(flatten)]
    last: &'a Report,
    earlier_attempts: &'a [Report],
}

impl<'a> ReportFile<'a> {
    /// Creates the file, if there is to be one.
    pub(crate) fn create(plan: &'a Plan, command: &'a [String]) -> Result<Self, LaunchError> {
        let mut report = Self {
            plan,
            command,
            file: None,
            attempts: Vec::new(),
        };
        if let Some(path) = &plan.report {
            report.file = Some(Results::create(path).map_err(|source| report.failed(source))?);
        }
        Ok(report)
    }

    /// Adds an attempt, and writes all there are: into a file also when it is not the last, in case that
    /// there is no time for more.
    pub(crate) fn add(&mut self, attempt: Report, is_last: bool) -> Result<(), LaunchError> {
        self.attempts.push(attempt);
        self.write(is_last).map_err(|source| self.failed(source))
    }

    fn write(&mut self, is_last: bool) -> io::Result<()> {
        let (Some(file), Some((last, earlier))) = (&mut self.file, self.attempts.split_last())
        else {
            return Ok(());
        };
        if !is_last && !file.can_begin_again() {
            return Ok(());
        }
        let mut text = serde_json::to_vec_pretty(&Content {
            version: 1,
            command: self.command,
            last,
            earlier_attempts: earlier,
        })?;
        text.push(b'\n');
        file.begin_again()?;
        file.write_all(&text)
    }

    fn failed(&self, source: io::Error) -> LaunchError {
        let path = self.plan.report.clone().unwrap_or_default();
        LaunchError::Report { path, source }
    }
}
