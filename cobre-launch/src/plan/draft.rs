//! The command line of a job of known size: what must be decided before an error can be written to
//! a file whose name has that size in it.

use std::path::Path;

use cobre_shm::MAX_RANKS;

use crate::error::LaunchError;
use crate::plan::cli::{JobArgs, Segment};
use crate::plan::template;

/// Segments, counted.
#[derive(Debug)]
pub(crate) struct Draft {
    /// The first has the options of the job.
    pub(super) segments: Vec<Segment>,
    /// The ranks of each.
    pub(super) counts: Vec<usize>,
    /// The usable cores.
    pub(super) cores: usize,
}

impl Draft {
    /// Counts the ranks of `segments`, which default to the usable `cores`, and names the files of
    /// the job.
    pub(crate) fn new(mut segments: Vec<Segment>, cores: usize) -> Result<Self, LaunchError> {
        let counts = segments.iter().map(|segment| segment.group.ranks);
        let counts: Vec<usize> = counts.map(|count| count.unwrap_or(cores)).collect();
        let size = counts
            .iter()
            .fold(0, |sum: usize, &n| sum.saturating_add(n));
        if size > MAX_RANKS {
            return Err(LaunchError::Usage(format!(
                "{size} ranks are too many: a job has at most {MAX_RANKS}"
            )));
        }
        if let Some(first) = segments.first_mut() {
            fill_names_of_files(&mut first.job, size)?;
        }
        Ok(Self {
            segments,
            counts,
            cores,
        })
    }

    /// All ranks.
    pub(crate) fn size(&self) -> usize {
        self.counts.iter().sum()
    }

    /// The file of `--report`, unless nothing is to be created.
    pub(crate) fn report(&self) -> Option<&Path> {
        let job = &self.segments.first()?.job;
        job.report.as_deref().filter(|_| !job.dry_run)
    }
}

/// Fills in the size in names of files that the job has one of.
fn fill_names_of_files(job: &mut JobArgs, size: usize) -> Result<(), LaunchError> {
    let files = [
        ("--report", &mut job.report),
        ("--profile", &mut job.recording.profile),
        ("--trace", &mut job.recording.trace),
    ];
    for (option, file) in files {
        let Some(path) = file else {
            continue;
        };
        if template::differs(path.as_os_str()) {
            return Err(LaunchError::Usage(format!(
                "{option} {}: one file is for all ranks, so {{rank}} has no value in its name \
                 ({{size}} has; {{{{rank}}}} stands for {{rank}} itself)",
                path.display()
            )));
        }
        *path = template::fill(path.as_os_str(), 0, size).into();
    }
    Ok(())
}
