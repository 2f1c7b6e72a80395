//! Everything that the launcher itself says.

pub(crate) mod attempt;
pub(crate) mod exit_code;
pub(crate) mod file;
pub(crate) mod last_words;
mod patient;
pub(crate) mod progress;
pub(crate) mod recording;
pub(crate) mod shell;
pub(crate) mod verdict;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, ErrorKind};

use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};
use cobre_comm_trait::text::{clean, clean_lines, count, duration};

use crate::JobExit;
use crate::error::LaunchError;
use crate::plan::{Identity, Plan};
use crate::process::signal;
use crate::relay::fit;
use crate::report::shell::quote;
use crate::report::verdict::{End, RankEnd};

/// Says what is wrong with the command line: in colours, unless it quotes what would control the
/// terminal.
pub(crate) fn usage(error: &clap::Error) -> JobExit {
    let text = match clean_lines(&error.to_string()) {
        Cow::Borrowed(_) => rendered(error, &io::stderr()),
        Cow::Owned(clean) => clean,
    };
    // Without standard error there is nobody to tell.
    let _ = patient::write(io::stderr().lock(), text.as_bytes());
    JobExit::Usage
}

/// Shows what clap answers, in colours where there are any.
pub(crate) fn answer(answer: &clap::Error) -> JobExit {
    print(rendered(answer, &io::stdout()).as_bytes())
}

fn rendered(error: &clap::Error, stream: &impl RawStream) -> String {
    let text = error.render();
    match AutoStream::choice(stream) {
        ColorChoice::Never => text.to_string(),
        _ => text.ansi().to_string(),
    }
}

/// Says what stopped the launcher.
pub(crate) fn complain(error: &LaunchError) {
    let text = format!("cobre-launch: {}\n", clean(&error.to_string()));
    say(&fit::wrap(&text, fit::width(&io::stderr())));
}

/// Says what the user should know though nothing is wrong.
pub(crate) fn note(text: &str) {
    say(&format!("cobre-launch: {text}\n"));
}

/// Prints what the user asked for instead of a job.
pub(crate) fn print(text: &[u8]) -> JobExit {
    show(text).unwrap_or_else(|error| {
        complain(&error);
        error.exit()
    })
}

/// Shows what would be started.
pub(crate) fn dry_run(plan: &Plan, bindings: Option<&str>) -> Result<JobExit, LaunchError> {
    let text = describe_plan(plan) + bindings.unwrap_or_default();
    show(clean_lines(&text).as_bytes())
}

fn show(text: &[u8]) -> Result<JobExit, LaunchError> {
    match patient::write(io::stdout().lock(), text) {
        Ok(()) => Ok(JobExit::Success),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(JobExit::BrokenPipe),
        Err(error) => Err(LaunchError::system("writing to standard output")(error)),
    }
}

/// With `--report-bindings`: the machine with the ranks in it.
pub(crate) fn bindings(picture: &str) {
    say(picture);
}

/// Outside of a job, whose output has a place for it.
pub(crate) fn say(text: &str) {
    // Without standard error there is nobody to tell.
    let _ = patient::write(io::stderr().lock(), clean_lines(text).as_bytes());
}

fn describe_plan(plan: &Plan) -> String {
    let mut text = String::new();
    let ranks = count(plan.ranks.len(), "rank");
    let _ = writeln!(text, "{ranks} on {}", count(plan.cores, "usable core"));
    for rank in 0..plan.ranks.len() {
        let program = plan.program(rank);
        let _ = write!(text, "rank {rank}:");
        if let Some(folder) = &program.folder {
            let _ = write!(text, " cd {} &&", quote(folder));
        }
        for (name, value) in &program.env {
            let _ = write!(text, " {}={}", quote(name), quote(value));
        }
        for (name, value) in plan.identity(rank, &Identity::example()) {
            let _ = write!(text, " {name}={}", quote(value));
        }
        for (name, share) in &plan.ranks[rank].threads {
            let _ = write!(text, " {name}={share}");
        }
        for word in std::iter::once(&program.name).chain(&program.args) {
            let _ = write!(text, " {}", quote(word));
        }
        text.push('\n');
    }
    text
}

/// With `-v`: the job that begins.
pub(crate) fn begin(plan: &Plan, name: &str, pids: impl Iterator<Item = i32>) -> String {
    let ranks = count(plan.ranks.len(), "rank");
    let cores = count(plan.cores, "usable core");
    let mut text = format!("cobre-launch: job {name}: {ranks} on {cores}\n");
    for (rank, pid) in pids.enumerate() {
        let program = plan.program(rank).path.display();
        let _ = writeln!(text, "cobre-launch: rank {rank} is pid {pid}, {program}");
    }
    text
}

/// With `-v`: a rank that has ended.
pub(crate) fn ended(end: &RankEnd) -> String {
    let how = match end.end {
        End::Code(code) => format!("exited with code {code}"),
        End::Signal(signal) => format!("was ended by {}", signal::name(signal)),
    };
    let after = duration(end.at);
    format!(
        "cobre-launch: rank {} (pid {}) {how} after {after}\n",
        end.rank, end.pid
    )
}
