//! The file of `--report`.

use std::io::{self, Write};
use std::path::Path;

use cobre_profile::Results;
use serde::Serialize;

use crate::error::LaunchError;
use crate::report::attempt::Report;

/// What `--report` asks for.
#[derive(Debug)]
pub(crate) struct ReportFile<'a> {
    /// The launcher's command line.
    command: &'a [String],
    file: Option<(&'a Path, Results)>,
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
    pub(crate) fn create(
        path: Option<&'a Path>,
        command: &'a [String],
    ) -> Result<Self, LaunchError> {
        let create = |path| {
            let file = Results::create(path).map_err(failed(path));
            file.map(|file| (path, file))
        };
        Ok(Self {
            command,
            file: path.map(create).transpose()?,
            attempts: Vec::new(),
        })
    }

    /// The number of the next attempt.
    pub(crate) fn next(&self) -> u32 {
        u32::try_from(self.attempts.len()).unwrap_or(u32::MAX)
    }

    /// Adds an attempt, and writes all there are: into a file also when it is not the last, in case
    /// that there is no time for more.
    pub(crate) fn add(&mut self, attempt: Report, is_last: bool) -> Result<(), LaunchError> {
        self.attempts.push(attempt);
        let (Some((path, file)), Some((last, earlier))) =
            (&mut self.file, self.attempts.split_last())
        else {
            return Ok(());
        };
        if !is_last && !file.can_begin_again() {
            return Ok(());
        }
        let content = Content {
            version: 1,
            command: self.command,
            last,
            earlier_attempts: earlier,
        };
        content.write(file).map_err(failed(path))
    }
}

impl Content<'_> {
    fn write(&self, file: &mut Results) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        file.begin_again()?;
        file.write_all(&text)
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> LaunchError {
    let path = path.to_owned();
    move |source| LaunchError::Report { path, source }
}
