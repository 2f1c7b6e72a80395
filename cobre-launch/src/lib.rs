//! Starts the ranks of a job, watches them, relays their output, and tells who failed first.
//!
//! The way through one run, each step a module:
//!
//! 1. `plan`: the command line becomes raw arguments (`cli`), and these a validated plan: every
//!    program found (`program`), every rank's place on the machine decided, if it is to be bound
//!    (`binding`);
//! 2. `process`: the guard is forked, which outlives a killed launcher; once the job's control
//!    segment is founded (`watch/job`), it starts the ranks (`spawn`) and hands over their pipes
//!    (`channel`);
//! 3. `watch`: one loop over signals, pipes and timers owns everything that is known about the job
//!    (`supervise`);
//! 4. `relay`: meanwhile lines of output pass through (`output`, `sink`), and standard input
//!    (`stdin`);
//! 5. `report`: the facts and what each rank was doing (`watch/scene`) become a verdict, and that a
//!    text, a report (`last_words`) and an exit code ([`JobExit`]); or another attempt.
#![cfg(target_os = "linux")]

mod error;
mod plan;
mod proc;
mod process;
mod relay;
mod report;
mod sys;
mod watch;

use std::ffi::OsString;
use std::path::Path;
use std::time::Instant;

pub use report::exit_code::JobExit;

use crate::error::LaunchError;
use crate::plan::binding::{self, BindingArgs, Lease};
use crate::plan::cli::{self, Parsed};
use crate::plan::draft::Draft;
use crate::plan::{Identity, Plan, cores};
use crate::process::debugger::Debugger;
use crate::process::guard::Guard;
use crate::process::signal::Signals;
use crate::process::{pty, spawn};
use crate::relay::files::{self, RankFiles};
use crate::report::attempt::Report;
use crate::report::file::ReportFile;
use crate::report::recording::Reports;
use crate::sys::Inheritance;
use crate::watch::clock::Clock;
use crate::watch::job::Job;
use crate::watch::oom::OomKills;
use crate::watch::supervise::{Attempt, Supervisor};

/// Runs the launcher with the command line `args`, the program's own name first.
///
/// It expects to be the only work of a process with one thread: it forks, blocks signals and adopts
/// orphans.
pub fn run(args: impl IntoIterator<Item = OsString>) -> JobExit {
    let args: Vec<OsString> = args.into_iter().collect();
    let words = args.iter().map(|word| word.to_string_lossy().into_owned());
    let command: Vec<String> = words.collect();
    let segments = match cli::parse(args) {
        Ok(Parsed::Run(segments, notes)) => {
            notes.iter().for_each(|note| report::note(note));
            segments
        }
        Ok(Parsed::Text(text)) => return report::print(&text),
        Ok(Parsed::Answer(answer)) => return report::answer(&answer),
        Err(error) => return report::usage(&error),
    };
    match launch(segments, &command) {
        Ok(exit) => exit,
        Err(LaunchError::Usage(message)) => report::usage(&cli::usage_error(message)),
        Err(error) => {
            report::complain(&error);
            error.exit()
        }
    }
}

fn launch(segments: Vec<cli::Segment>, command: &[String]) -> Result<JobExit, LaunchError> {
    let cores = cores_for(&segments[0].job.binding)?;
    let draft = Draft::new(segments, cores)?;
    let path = draft.report().map(Path::to_owned);
    // First of all: what is wrong from here on is reported too.
    let mut report = ReportFile::create(path.as_deref(), command)?;
    let outcome = run_job(draft, &mut report);
    if let Err(error) = &outcome {
        let attempt = Report::not_started(report.next(), error);
        report_attempt(&mut report, Some(attempt), true);
    }
    outcome
}

fn run_job(draft: Draft, report: &mut ReportFile<'_>) -> Result<JobExit, LaunchError> {
    let mut plan = Plan::new(draft, &|name| std::env::var_os(name))?;
    // Holds the ranks' cores until the job has ended.
    let bindings = binding::decide(&plan.binding, plan.ranks.len())?;
    plan.bind(&bindings)?;
    if plan.dry_run {
        return report::dry_run(&plan, bindings.picture.as_deref());
    }
    if let Some(picture) = &bindings.picture {
        report::bindings(picture);
    }
    let debugger = plan.debug.as_ref().map(|_| Debugger::find()).transpose()?;
    let mut signals = Signals::take()?;
    let inheritance = spawn::prepare(&signals);
    if plan.pty {
        // Where there are none, nothing is started.
        let failed = LaunchError::system("opening a terminal for a rank (--pty)");
        pty::open(pty::size(&plan)).map_err(failed)?;
    }
    let files = files::create(&plan)?;
    let reports = Reports::open(&plan.recording)?;
    let mut clock = Clock::start();
    // Of all attempts together.
    let deadline = plan
        .timeout
        .and_then(|limit| clock.now().checked_add(limit));
    let mut number = 0;
    loop {
        let failed = LaunchError::system("opening the files of --output-dir");
        let again = files::again(&files).map_err(failed)?;
        let attempt = start_job(
            &plan,
            number,
            inheritance,
            &bindings.lease,
            again,
            &mut signals,
            &mut clock,
        );
        let finished = attempt
            .and_then(|attempt| show_debuggers(&plan, debugger, inheritance, attempt))
            .and_then(|attempt| Supervisor::new(attempt, deadline, &mut signals, &mut clock))
            .and_then(Supervisor::run)?;
        if finished.may_restart && number < plan.max_restarts {
            report_attempt(report, finished.report, false);
            number += 1;
            continue;
        }
        let exit = reports.write(&plan, &finished.records, finished.exit);
        let mut attempt = finished.report;
        if let Some(attempt) = &mut attempt {
            attempt.set_exit(exit, "the profile or the trace could not be written");
        }
        let written = report_attempt(report, attempt, true);
        return Ok(exit.unless(!written));
    }
}

/// Whether the report could be written, if there is to be one; otherwise that is said.
fn report_attempt(file: &mut ReportFile<'_>, attempt: Option<Report>, is_last: bool) -> bool {
    let written = attempt.map_or(Ok(()), |attempt| file.add(attempt, is_last));
    if let Err(error) = &written {
        report::complain(error);
    }
    written.is_ok()
}

/// With `--debug`: opens a debugger for each rank that waits for one.
fn show_debuggers<'a>(
    plan: &Plan,
    debugger: Option<Debugger>,
    inheritance: Inheritance,
    attempt: Attempt<'a>,
) -> Result<Attempt<'a>, LaunchError> {
    if let Some(debugger) = debugger {
        let ranks = attempt.ranks.iter().map(|rank| rank.pid).enumerate();
        let ranks: Vec<_> = ranks.filter(|(rank, _)| plan.is_debugged(*rank)).collect();
        report::note(&debugger.open(&ranks, inheritance)?);
    }
    Ok(attempt)
}

/// How many cores the job may use, here or on the machine that it is planned for.
fn cores_for(binding: &BindingArgs) -> Result<usize, LaunchError> {
    match binding.machine {
        None => Ok(cores::usable()),
        Some(_) => Ok(binding.surroundings()?.usable.processors().len().max(1)),
    }
}

/// Starts the ranks of a job of its own.
fn start_job<'a>(
    plan: &'a Plan,
    number: u32,
    inheritance: Inheritance,
    lease: &'a Lease,
    files: Vec<RankFiles>,
    signals: &mut Signals,
    clock: &mut Clock,
) -> Result<Attempt<'a>, LaunchError> {
    let identity = Identity::new(number);
    let oom_kills = OomKills::begin();
    let guard = Guard::fork(plan, &identity, inheritance)?;
    let job = Job::found(identity.name, plan)?;
    let since = Instant::now();
    // Not before the guard has been forked: what comes from now on comes to it too.
    clock.wake(None);
    let missed = signals.hand_over(clock.now());
    let ranks = guard.start_ranks(plan, missed)?;
    // Many take their time: the same signal again is another.
    clock.wake(None);
    signals.all_started(clock.now());
    Ok(Attempt {
        plan,
        number,
        job,
        ranks,
        guard,
        files,
        oom_kills,
        inheritance,
        lease,
        since,
    })
}
