//! The validated plan: what every rank will be, decided before anything happens.

pub(crate) mod binding;
pub(crate) mod cli;
pub(crate) mod cores;
mod foreign;
pub(crate) mod program;
pub(crate) mod recording;
mod words;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cobre_comm_trait::block_range;
use cobre_shm::{BACKEND_VAR, LAUNCHER_VAR, MAX_RANKS, NAME_VAR, RANK_VAR, SIZE_VAR};

use nix::sched::CpuSet;
use nix::unistd::{AccessFlags, access};

use crate::error::LaunchError;
use crate::plan::binding::{BindingArgs, Bindings};
use crate::plan::cli::{Segment, StdinMode};
use crate::plan::recording::RecordingArgs;

/// The variables that say who a rank is: nobody else may set them.
const IDENTITY: [&str; 5] = [NAME_VAR, RANK_VAR, SIZE_VAR, LAUNCHER_VAR, ATTEMPT_VAR];
/// How often the job has been started before.
const ATTEMPT_VAR: &str = "COBRE_LAUNCH_ATTEMPT";
const THREADS: [&str; 2] = ["OMP_NUM_THREADS", "RAYON_NUM_THREADS"];

/// A job, ready to be started.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) programs: Vec<Program>,
    /// One per rank, in rank order.
    pub(crate) ranks: Vec<Rank>,
    pub(crate) cores: usize,
    pub(crate) binding: BindingArgs,
    pub(crate) recording: RecordingArgs,
    pub(crate) label: bool,
    pub(crate) output_dir: Option<PathBuf>,
    pub(crate) stdin: StdinMode,
    pub(crate) timeout: Option<Duration>,
    pub(crate) hang_after: Option<Duration>,
    pub(crate) keep_going: bool,
    pub(crate) max_restarts: u32,
    pub(crate) report: Option<PathBuf>,
    pub(crate) progress: bool,
    pub(crate) kill_grace: Duration,
    pub(crate) dry_run: bool,
    pub(crate) verbose: bool,
}

/// One of the programs of a job.
#[derive(Debug)]
pub(crate) struct Program {
    /// As the user wrote it.
    pub(crate) name: OsString,
    /// What is executed.
    pub(crate) path: PathBuf,
    pub(crate) args: Vec<OsString>,
    pub(crate) env: BTreeMap<OsString, OsString>,
    pub(crate) folder: Option<PathBuf>,
}

/// One rank of a job.
#[derive(Debug)]
pub(crate) struct Rank {
    /// Which of the programs.
    pub(crate) program: usize,
    /// Its own variables for the number of threads.
    pub(crate) threads: Vec<(&'static str, usize)>,
    /// The processors it is kept on, if it is bound.
    pub(crate) processors: Option<CpuSet>,
}

impl Plan {
    /// Validates `segments` against the launcher's environment (`env`) and the usable `cores`.
    pub(crate) fn new(
        segments: Vec<Segment>,
        env: &dyn Fn(&OsStr) -> Option<OsString>,
        cores: usize,
    ) -> Result<Self, LaunchError> {
        let mut programs = Vec::new();
        let mut counts = Vec::new();
        let mut job = None;
        for segment in segments {
            counts.push(segment.group.ranks.unwrap_or(cores));
            job.get_or_insert(segment.job);
            programs.push(Program::new(segment.group, segment.command, env)?);
        }
        let job = job.ok_or_else(|| LaunchError::Usage("there is no program".to_owned()))?;
        let size = counts
            .iter()
            .fold(0, |sum: usize, &n| sum.saturating_add(n));
        if size > MAX_RANKS {
            return Err(LaunchError::Usage(format!(
                "{size} ranks are too many: a job has at most {MAX_RANKS}"
            )));
        }
        let ranks = counts
            .iter()
            .enumerate()
            .flat_map(|(program, &count)| std::iter::repeat_n(program, count))
            .enumerate()
            .map(|(rank, program)| Rank {
                program,
                threads: if job.no_thread_env {
                    Vec::new()
                } else {
                    thread_env(
                        &programs[program],
                        env,
                        block_range(cores, size, rank).len(),
                    )
                },
                processors: None,
            })
            .collect();
        Ok(Self {
            programs,
            ranks,
            cores,
            binding: job.binding,
            recording: job.recording,
            label: job.label,
            output_dir: job.output_dir,
            stdin: job.stdin,
            timeout: job.timeout,
            hang_after: job.hang_after,
            keep_going: job.keep_going,
            max_restarts: job.max_restarts,
            report: job.report,
            progress: job.progress,
            kill_grace: job.kill_grace,
            dry_run: job.dry_run,
            verbose: job.verbose,
        })
    }

    /// Keeps each rank on its place, with as many threads as that has processors for it.
    pub(crate) fn bind(&mut self, bindings: &Bindings) -> Result<(), LaunchError> {
        for (rank, place) in bindings.places.iter().enumerate() {
            let share = bindings.threads(rank).min(self.cores);
            for (_, threads) in &mut self.ranks[rank].threads {
                *threads = share;
            }
            self.ranks[rank].processors = Some(binding::cpu_set(place)?);
        }
        Ok(())
    }

    /// The program of `rank`.
    pub(crate) fn program(&self, rank: usize) -> &Program {
        &self.programs[self.ranks[rank].program]
    }

    /// The variables that tell `rank` who it is.
    pub(crate) fn identity(&self, rank: usize, job: &Identity) -> [(&'static str, String); 5] {
        let [name_key, rank_key, size_key, launcher_key, attempt_key] = IDENTITY;
        [
            (name_key, job.name.clone()),
            (rank_key, rank.to_string()),
            (size_key, self.ranks.len().to_string()),
            (launcher_key, job.launcher.clone()),
            (attempt_key, job.attempt.to_string()),
        ]
    }
}

/// What tells one attempt at the job from all others.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// The segment's name.
    pub(crate) name: String,
    /// The launcher's process number.
    pub(crate) launcher: String,
    /// From 0.
    pub(crate) attempt: u32,
}

impl Identity {
    /// A new one, which nobody can guess.
    pub(crate) fn new(attempt: u32) -> Self {
        Self {
            name: cobre_shm::random_job_name(),
            launcher: std::process::id().to_string(),
            attempt,
        }
    }

    /// For show.
    pub(crate) fn example() -> Self {
        Self {
            name: "/cobre-RANDOM".to_owned(),
            launcher: "PID".to_owned(),
            attempt: 0,
        }
    }
}

impl Program {
    fn new(
        group: crate::plan::cli::GroupArgs,
        mut command: Vec<OsString>,
        inherited: &dyn Fn(&OsStr) -> Option<OsString>,
    ) -> Result<Self, LaunchError> {
        let mut env = BTreeMap::from([(BACKEND_VAR.into(), "shm".into())]);
        for setting in group.env {
            let (name, value) = setting_of(&setting, inherited)?;
            env.insert(name, value);
        }
        let folder = group.wdir;
        if let Some(folder) = &folder {
            check_folder(folder)?;
        }
        let name = command.remove(0);
        let search = env
            .get(OsStr::new("PATH"))
            .cloned()
            .or_else(|| inherited(OsStr::new("PATH")));
        let path = program::find(&name, folder.as_deref().unwrap_or(Path::new("")), search)?;
        Ok(Self {
            name,
            path,
            args: command,
            env,
            folder,
        })
    }
}

/// Whether ranks can start in `folder`.
fn check_folder(folder: &Path) -> Result<(), LaunchError> {
    let shown = folder.display();
    if !folder.is_dir() {
        let message = format!("--wdir: there is no folder `{shown}`");
        return Err(LaunchError::Usage(message));
    }
    access(folder, AccessFlags::X_OK).map_err(|errno| {
        let why = errno.desc();
        LaunchError::Usage(format!("--wdir: `{shown}` cannot be entered: {why}"))
    })
}

/// Reads `NAME=VALUE`, or `NAME` for what the launcher itself was given.
fn setting_of(
    setting: &OsStr,
    inherited: &dyn Fn(&OsStr) -> Option<OsString>,
) -> Result<(OsString, OsString), LaunchError> {
    let bytes = setting.as_bytes();
    let (name, value) = match bytes.iter().position(|&byte| byte == b'=') {
        Some(at) => (
            OsStr::from_bytes(&bytes[..at]),
            Some(OsStr::from_bytes(&bytes[at + 1..]).to_owned()),
        ),
        None => (setting, inherited(setting)),
    };
    let shown = name.to_string_lossy();
    if name.is_empty() {
        return Err(LaunchError::Usage(format!(
            "--env '{}': expected NAME or NAME=VALUE",
            setting.to_string_lossy()
        )));
    }
    if IDENTITY.iter().any(|identity| name == *identity) {
        return Err(LaunchError::Usage(format!(
            "--env {shown}: the launcher sets this variable for each rank"
        )));
    }
    match value {
        Some(value) => Ok((name.to_owned(), value)),
        None => Err(LaunchError::Usage(format!(
            "--env {shown}: {shown} is not set here; give a value with --env {shown}=VALUE"
        ))),
    }
}

fn thread_env(
    program: &Program,
    inherited: &dyn Fn(&OsStr) -> Option<OsString>,
    share: usize,
) -> Vec<(&'static str, usize)> {
    THREADS
        .into_iter()
        .filter(|name| {
            let name = OsStr::new(name);
            !program.env.contains_key(name) && inherited(name).is_none()
        })
        .map(|name| (name, share.max(1)))
        .collect()
}

#[cfg(test)]
mod tests;
