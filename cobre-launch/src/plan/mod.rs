//! The validated plan: what every rank will be, decided before anything happens.

pub(crate) mod about;
pub(crate) mod binding;
pub(crate) mod cli;
pub(crate) mod cores;
pub(crate) mod draft;
mod foreign;
pub(crate) mod program;
pub(crate) mod ranks;
pub(crate) mod recording;
pub(crate) mod template;
mod words;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use cobre_comm_trait::block_range;
use cobre_shm::{ATTACH_TIMEOUT_VAR, LAUNCHER_VAR, NAME_VAR, RANK_VAR, SIZE_VAR, STAGING_VAR};

use nix::sched::CpuSet;

use crate::error::LaunchError;
use crate::plan::binding::{BindingArgs, Bindings};
use crate::plan::cli::{Segment, StdinMode};
use crate::plan::draft::Draft;
use crate::plan::program::Program;
use crate::plan::ranks::Ranks;
use crate::plan::recording::RecordingArgs;

/// The variables that say who a rank is: nobody else may set them.
const IDENTITY: [&str; 5] = [NAME_VAR, RANK_VAR, SIZE_VAR, LAUNCHER_VAR, ATTEMPT_VAR];
/// How often the job has been started before.
const ATTEMPT_VAR: &str = "COBRE_LAUNCH_ATTEMPT";
/// What torchrun calls rank and size; all ranks are on one node.
const TORCH: [&str; 4] = ["RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"];
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
    /// What the founder is told of `COBRE_SHM_STAGING`, if `--env` does.
    pub(crate) staging: Option<OsString>,
    /// Ranks get the variables of torchrun too.
    pub(crate) torch_env: bool,
    pub(crate) label: bool,
    /// Ranks write to terminals instead of pipes.
    pub(crate) pty: bool,
    pub(crate) output_dir: Option<PathBuf>,
    pub(crate) stdin: StdinMode,
    pub(crate) timeout: Option<Duration>,
    pub(crate) hang_after: Option<Duration>,
    pub(crate) debug: Option<Ranks>,
    pub(crate) stacks: bool,
    pub(crate) keep_going: bool,
    pub(crate) max_restarts: u32,
    pub(crate) progress: bool,
    pub(crate) kill_grace: Duration,
    pub(crate) dry_run: bool,
    pub(crate) verbose: bool,
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
    /// Validates `draft` against the launcher's environment (`env`).
    pub(crate) fn new(
        draft: Draft,
        env: &dyn Fn(&OsStr) -> Option<OsString>,
    ) -> Result<Self, LaunchError> {
        let size = draft.size();
        let Draft {
            segments,
            counts,
            cores,
        } = draft;
        if let Some(debug) = segments
            .first()
            .and_then(|segment| segment.job.debug.as_ref())
        {
            debug.check(size).map_err(LaunchError::Usage)?;
        }
        let mut programs = Vec::new();
        // Of each rank.
        let mut which = Vec::new();
        let mut job = None;
        for (
            Segment {
                group,
                job: args,
                command,
                ..
            },
            count,
        ) in segments.into_iter().zip(counts)
        {
            let substitute = job.get_or_insert(args).substitute;
            let one_for_all = !program::differs(&group, &command, substitute);
            let first = which.len();
            for rank in first..first + count {
                if rank == first || !one_for_all {
                    programs.push(Program::new(&group, &command, substitute, rank, size, env)?);
                }
                which.push(programs.len() - 1);
            }
        }
        let job = job.ok_or_else(|| LaunchError::Usage("there is no program".to_owned()))?;
        let staging = staging(&programs)?;
        let ranks = which
            .into_iter()
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
            staging,
            torch_env: job.torch_env,
            label: job.label,
            pty: job.pty,
            output_dir: job.output_dir,
            stdin: job.stdin,
            timeout: job.timeout,
            hang_after: job.hang_after,
            stacks: job.stacks,
            keep_going: job.keep_going || job.debug.is_some(),
            debug: job.debug,
            max_restarts: job.max_restarts,
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

    /// The digits of the highest rank, if lines have labels.
    pub(crate) fn label_width(&self) -> Option<usize> {
        self.label.then(|| (self.ranks.len() - 1).to_string().len())
    }

    /// The program of `rank`.
    pub(crate) fn program(&self, rank: usize) -> &Program {
        &self.programs[self.ranks[rank].program]
    }

    /// Whether `rank` starts under a debugger.
    pub(crate) fn is_debugged(&self, rank: usize) -> bool {
        self.debug
            .as_ref()
            .is_some_and(|ranks| ranks.contains(rank))
    }

    /// The variables that tell `rank` who it is.
    pub(crate) fn identity(&self, rank: usize, job: &Identity) -> Vec<(&'static str, String)> {
        let [name_key, rank_key, size_key, launcher_key, attempt_key] = IDENTITY;
        let mut variables = vec![
            (name_key, job.name.clone()),
            (rank_key, rank.to_string()),
            (size_key, self.ranks.len().to_string()),
            (launcher_key, job.launcher.clone()),
            (attempt_key, job.attempt.to_string()),
        ];
        // Who looks at a rank takes time, and the others wait for it.
        if self.debug.is_some()
            && !self
                .program(rank)
                .env
                .contains_key(OsStr::new(ATTACH_TIMEOUT_VAR))
        {
            variables.push((ATTACH_TIMEOUT_VAR, "24h".to_owned()));
        }
        if self.torch_env {
            let theirs = TORCH
                .into_iter()
                .zip([rank, self.ranks.len(), rank, self.ranks.len()]);
            let env = &self.program(rank).env;
            let unset = theirs.filter(|(name, _)| !env.contains_key(OsStr::new(name)));
            variables.extend(unset.map(|(name, number)| (name, number.to_string())));
        }
        variables
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

/// What `--env` says about the staging of the job, which is one for all programs.
fn staging(programs: &[Program]) -> Result<Option<OsString>, LaunchError> {
    let said = |program: &Program| program.env.get(OsStr::new(STAGING_VAR)).cloned();
    let mut values: Vec<OsString> = programs.iter().filter_map(said).collect();
    values.dedup();
    match &values[..] {
        [] | [_] => Ok(values.pop()),
        [one, other, ..] => Err(LaunchError::Usage(format!(
            "--env {STAGING_VAR}: it is for the whole job, but one program has `{}` and another \
             has `{}`",
            one.display(),
            other.display()
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
