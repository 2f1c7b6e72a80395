//! Starts the ranks of a job, watches them, relays their output, and tells who failed first.
//!
//! The way through one run, each step a module:
//!
//! 1. *parse*: the command line becomes raw arguments (`cli`);
//! 2. *plan*: raw arguments become a validated plan, every program found (`plan`, `program`);
//!    Where ranks go on the machine, if they are to be bound, is decided here too (`binding`);
//! 3. *guard and found*: the guard is forked (`guard`), which outlives a killed launcher; then the
//!    job's control segment is created, before any rank (`job`);
//! 4. *spawn*: the guard starts the ranks (`spawn`) and hands over their pipes (`channel`);
//! 5. *supervise*: one loop over signals, pipes and timers owns everything that is known about
//!    the job (`supervise`), relays lines (`output`, `sink`) and feeds standard input (`stdin`);
//! 6. *report*: the facts become a verdict (`verdict`), and that a text and an exit code
//!    ([`JobExit`]).
#![cfg(target_os = "linux")]

mod binding;
mod channel;
mod cli;
mod cores;
mod descendants;
mod duration;
mod ending;
mod error;
mod exit_code;
mod files;
mod guard;
mod job;
mod output;
mod plan;
mod program;
mod report;
mod signal;
mod sink;
mod spawn;
mod stdin;
mod supervise;
mod sys;
mod tail;
mod verdict;

use std::ffi::OsString;
use std::time::Instant;

pub use exit_code::JobExit;

use crate::cli::Parsed;
use crate::error::LaunchError;
use crate::guard::Guard;
use crate::job::Job;
use crate::plan::Plan;
use crate::supervise::Supervisor;

/// Runs the launcher with the command line `args`, the program's own name first.
///
/// It expects to be the only work of a process with one thread: it forks, blocks signals and adopts
/// orphans.
pub fn run(args: impl IntoIterator<Item = OsString>) -> JobExit {
    let segments = match cli::parse(args) {
        Ok(Parsed::Run(segments)) => segments,
        Ok(Parsed::Answered) => return JobExit::Success,
        Err(error) => return report::usage(&error),
    };
    match launch(segments) {
        Ok(exit) => exit,
        Err(LaunchError::Usage(message)) => report::usage(&cli::usage_error(message)),
        Err(error) => {
            report::complain(&error);
            error.exit()
        }
    }
}

fn launch(segments: Vec<cli::Segment>) -> Result<JobExit, LaunchError> {
    let mut plan = Plan::new(segments, &|name| std::env::var_os(name), cores::usable())?;
    // Holds the ranks' cores until the job has ended.
    let bindings = binding::decide(&plan.binding, plan.ranks.len())?;
    plan.bind(&bindings)?;
    if plan.dry_run {
        return Ok(report::dry_run(&plan, bindings.picture.as_deref()));
    }
    if let Some(picture) = &bindings.picture {
        report::bindings(picture);
    }
    let signals = signal::Signals::take()?;
    let inheritance = spawn::prepare(&signals);
    // Nobody can guess it.
    let name = cobre_shm::random_job_name();
    let guard = Guard::fork(&plan, &name, inheritance)?;
    let files = files::create(&plan)?;
    let job = Job::found(name, plan.ranks.len())?;
    let since = Instant::now();
    let ranks = guard.start_ranks(&plan)?;
    Supervisor::new(&plan, job, guard, signals, ranks, files, since).and_then(Supervisor::run)
}
