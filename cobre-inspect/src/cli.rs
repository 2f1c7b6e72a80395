//! The command line.

use core::ops::RangeInclusive;
use std::{path::PathBuf, sync::LazyLock, time::Duration};

use clap::{Args, Parser, Subcommand};
use cobre_shm::{board, duration, observer::LAYOUT_VERSION};

use crate::about::About;

use crate::serve::Address;

/// Shorter, and looking is all that the machine does; longer, and nobody waits for it.
const INTERVALS: RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_secs(86_400);

/// Shows the jobs and status boards of this user from outside, without disturbing them: who does what,
/// who waits for whom, who would get work.
#[derive(Debug, Parser)]
#[command(name = "cobre-inspect", version = version(), arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Print data instead of text (a line per look with `watch`).
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) about: About,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Of this program, and of the control segments that it reads.
fn version() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let (version, origin) = (env!("CARGO_PKG_VERSION"), env!("BUILT_FROM"));
        format!("{version} ({origin}, layout {LAYOUT_VERSION})")
    });
    &TEXT
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the jobs and standing boards of this user.
    List,
    /// Show one job: what its ranks do, who waits for whom and how long, its memory.
    Show(Which),
    /// Show one job live, full screen; if there are several, let the user choose.
    Top(Top),
    /// Print a line about each job again and again.
    Watch(Watch),
    /// Show a standing board: its members, what they say, and how old that is.
    Board(WhichBoard),
    /// Say which member of a standing board would get work, and why. Fails if nobody takes any.
    Route(Route),
    /// Print metrics in the text format of Prometheus, once or over HTTP.
    Metrics(Metrics),
    /// Draw the machine: packages, NUMA nodes, caches, cores, and where the ranks of a job may run.
    Topology(Topology),
    /// Say what this machine offers, and what that means for a job.
    Doctor(Doctor),
    /// Remove what killed processes left in /dev/shm. Never touches what lives.
    Clean(Clean),
    /// Draw a profile that `cobre-launch --profile FILE.json` wrote, as an SVG picture.
    Plot(Plot),
}

#[derive(Args, Debug)]
pub(crate) struct Clean {
    /// Only say what is there.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Plot {
    /// The profile.
    pub(crate) profile: PathBuf,
    /// The picture; standard output if it is not given.
    pub(crate) picture: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Which {
    /// The job: its name or the front of it, or the number of one of its processes; not needed if
    /// there is only one.
    pub(crate) job: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct WhichBoard {
    /// The board: its name or the front of it; not needed if there is only one.
    pub(crate) board: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Route {
    #[command(flatten)]
    pub(crate) which: WhichBoard,
    /// The team to choose from [default: all members].
    #[arg(long)]
    pub(crate) team: Option<String>,
    /// How to choose.
    #[arg(long, default_value = "least_loaded", value_parser = policies())]
    pub(crate) policy: String,
}

#[derive(Args, Debug)]
pub(crate) struct Top {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Wait for the first job, if there is none yet.
    #[arg(long)]
    pub(crate) wait: bool,
    /// Time between two refreshes.
    #[arg(long, default_value = "1", value_parser = interval)]
    pub(crate) interval: Duration,
}

#[derive(Args, Debug)]
pub(crate) struct Watch {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Time between two lines.
    #[arg(long, default_value = "1", value_parser = interval)]
    pub(crate) interval: Duration,
    /// End after so many looks.
    #[arg(long)]
    pub(crate) count: Option<u64>,
}

#[derive(Args, Debug)]
pub(crate) struct Metrics {
    /// Serve them over HTTP until ended: on a loopback address, for example 127.0.0.1:9100, which
    /// every user of this machine may read, or on a socket for this user alone, unix:PATH.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<Address>,
}

#[derive(Args, Debug)]
pub(crate) struct Topology {
    /// The job whose ranks are marked: its name or the front of it, or the number of one of its
    /// processes.
    pub(crate) job: Option<String>,
    /// Draw the machine that was recorded in DIR, which has a copy of its /sys/devices.
    #[arg(long, value_name = "DIR", conflicts_with = "job")]
    pub(crate) machine: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Doctor {
    /// The number of ranks of the job in question.
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) n: u32,
}

fn policies() -> clap::builder::PossibleValuesParser {
    board::policies().map(|policy| policy.name()).into()
}

/// Between two looks.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration::parse(text)?;
    if !INTERVALS.contains(&interval) {
        return Err("expected from 50ms to 1day".to_owned());
    }
    Ok(interval)
}

#[cfg(test)]
mod tests {
    use super::interval;
    use core::time::Duration;

    #[test]
    fn intervals_are_durations_within_reason() {
        assert_eq!(interval("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(interval("2"), Ok(Duration::from_secs(2)));
        assert!(interval("49ms").unwrap_err().contains("from 50ms to 1day"));
        assert!(interval("often").unwrap_err().contains("500ms, 1.5s"));
    }
}
