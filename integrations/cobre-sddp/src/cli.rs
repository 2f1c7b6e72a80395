//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Run the published SDDP solver over shared-memory collectives.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub(crate) struct Cli {
    /// What to do instead of a run.
    #[command(subcommand)]
    pub(crate) action: Option<Action>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// One run of the solver; every rank of the job gets the same arguments.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Directory of the case.
    #[arg(long, value_name = "DIR", required = true)]
    pub(crate) case: Option<PathBuf>,

    /// Directory for the outputs; must be empty or not exist yet.
    #[arg(long, value_name = "DIR", required = true)]
    pub(crate) out: Option<PathBuf>,

    /// Solver threads of each rank; the same on every rank.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) threads: u16,

    /// Write what this rank did; its rank number goes before the extension.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// Use the solver's own single-process communicator instead of ours.
    #[arg(long)]
    pub(crate) local: bool,

    /// Combine or deliver the ranks' data in the wrong order, on purpose.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) misorder: Option<Misorder>,

    /// Misorder only collectives called from source files whose path contains this.
    #[arg(long, value_name = "PATH", requires = "misorder")]
    pub(crate) misorder_at: Option<String>,
}

/// What `--misorder` disturbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Misorder {
    /// Sums of floats run from the last rank to the first.
    Reduce,
    /// Gathered blocks of `f64` arrive in reverse rank order.
    Gather,
    /// Gathered blocks of bytes (the cuts) arrive in reverse rank order.
    Cuts,
}

/// The other things this program does.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Compare two output directories byte for byte, where they are comparable.
    Compare {
        /// Outputs of the reference run.
        reference: PathBuf,
        /// Outputs of the run under test.
        candidate: PathBuf,
        /// List every difference instead of the first few.
        #[arg(long)]
        all: bool,
    },
    /// Show and check the reports of one job's ranks.
    Ranks {
        /// Report of a single rank: the whole job must have solved as many LPs.
        #[arg(long, value_name = "REPORT")]
        like: Option<PathBuf>,
        /// The reports, one a rank.
        #[arg(required = true)]
        reports: Vec<PathBuf>,
        /// Show the calls of rank 0 by operation and element type, too.
        #[arg(long)]
        calls: bool,
    },
}
