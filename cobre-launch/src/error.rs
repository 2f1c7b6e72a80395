//! What stops the launcher itself.

use std::io;
use std::path::PathBuf;

use cobre_shm::InitError;

use crate::JobExit;

/// Why there was no job, or the launcher could not watch it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    /// The command line makes no job.
    #[error("{0}")]
    Usage(String),
    /// A program that no folder of PATH has.
    #[error(
        "program `{program}` not found in any folder of PATH; nothing was started \
         (a program in this folder is `./{program}`)"
    )]
    NotInPath {
        /// As the user wrote it.
        program: String,
    },
    /// A path that does not exist.
    #[error("program `{}` does not exist; nothing was started", path.display())]
    NoSuchFile {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A file that is not a program.
    #[error("program `{}` cannot be executed: {why}; nothing was started", path.display())]
    NotExecutable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The kernel refused a program that looked executable.
    #[error("rank {rank} cannot execute `{}`: {why}; the job was ended", path.display())]
    Exec {
        /// The rank.
        rank: usize,
        /// The program.
        path: PathBuf,
        /// What the kernel said.
        why: String,
    },
    /// A process was unavailable.
    #[error("rank {rank} cannot be started: {source}{hint}; the job was ended")]
    Spawn {
        /// The rank.
        rank: usize,
        /// What the kernel said.
        source: io::Error,
        /// What limits it, if that is known, in brackets.
        hint: &'static str,
    },
    /// The guard was killed before the ranks had started.
    #[error("the guard of the job was killed; the job was ended")]
    GuardLost,
    /// The job's shared memory was unavailable.
    #[error(transparent)]
    Found(#[from] Box<InitError>),
    /// A folder or file for output could not be made.
    #[error("--output-dir: cannot create `{}`: {source}", path.display())]
    OutputDir {
        /// The folder or file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file for the report could not be made or written.
    #[error("--report: cannot write `{}`: {source}", path.display())]
    Report {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file for a report could not be made.
    #[error("{option}: cannot create `{}`: {source}", path.display())]
    ReportFile {
        /// The option that names it.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Something that the kernel gives every process was refused.
    #[error("{what} failed: {source}")]
    System {
        /// The request.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl LaunchError {
    /// For `map_err`: a refused request.
    pub(crate) fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System {
            what,
            source: source.into(),
        }
    }

    /// The exit code that tells of it.
    pub(crate) fn exit(&self) -> JobExit {
        match self {
            Self::Usage(_) => JobExit::Usage,
            Self::NotInPath { .. } | Self::NoSuchFile { .. } => JobExit::NotFound,
            Self::NotExecutable { .. } | Self::Exec { .. } => JobExit::NotExecutable,
            Self::Spawn { .. }
            | Self::GuardLost
            | Self::Found(_)
            | Self::OutputDir { .. }
            | Self::Report { .. }
            | Self::ReportFile { .. }
            | Self::System { .. } => JobExit::Launcher,
        }
    }
}
