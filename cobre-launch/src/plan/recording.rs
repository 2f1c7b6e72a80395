//! `--profile` and `--trace`: what the ranks are to record.

use std::path::PathBuf;

use clap::Args;
use cobre_shm::recording::{MAX_TRACE_EVENTS, Recording};

/// As a file's name: the report itself is wanted, at the end of the job's output.
pub(crate) const STANDARD_ERROR: &str = "-";

/// What the user wants to see of where time goes.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Seeing where the time goes, before the first program")]
pub(crate) struct RecordingArgs {
    /// At the end, however it comes, show where the time went: per call site, per rank, and who
    /// waited for whom; with a FILE that ends in `.json`, write that as data.
    #[arg(
        long,
        value_name = "FILE.json",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = STANDARD_ERROR
    )]
    pub(crate) profile: Option<PathBuf>,
    /// Write a timeline of the ranks' last events in the trace format of Chrome and Perfetto.
    #[arg(long, value_name = "FILE.json")]
    pub(crate) trace: Option<PathBuf>,
    /// How many events each rank keeps for --trace, 32 bytes each.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1 << 16,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_TRACE_EVENTS))
    )]
    pub(crate) trace_events: u32,
}

impl RecordingArgs {
    /// What the ranks are to record.
    pub(crate) fn recording(&self) -> Option<Recording> {
        let wanted = self.profile.is_some() || self.trace.is_some();
        let trace_events = match &self.trace {
            Some(_) => self.trace_events,
            None => 0,
        };
        wanted.then_some(Recording { trace_events })
    }
}
