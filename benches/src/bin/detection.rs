//! How long a killed rank goes unnoticed: from just before its SIGKILL to the error of the last
//! survivor, which waits for it in a barrier.
//!
//! `detection [--ranks N] [--times T] [--split] [LAUNCHER]`: with the launcher if one is given, else
//! without; `--split`: the survivors wait in a communicator split from the job's.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, SystemTime};

use clap::Parser;
use cobre_benches::stats::Summary;
use cobre_comm_trait::{CommError, Communicator, SharedMemoryProvider};
use nix::sys::signal::{Signal, raise};

/// Set for a rank: where it waits.
const RANK: &str = "COBRE_DETECTION_RANK";
const IN_SPLIT: &str = "split";

#[derive(Debug, Parser)]
struct Arguments {
    /// Ranks of each job.
    #[arg(long, default_value_t = 4)]
    ranks: usize,
    /// Jobs.
    #[arg(long, default_value_t = 200)]
    times: usize,
    /// Wait in a split communicator.
    #[arg(long)]
    split: bool,
    /// cobre-launch; without, ranks are started by hand.
    launcher: Option<PathBuf>,
}

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let done = match std::env::var_os(RANK) {
        Some(place) => be_a_rank(place == IN_SPLIT),
        None => measure(&Arguments::parse()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("detection: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The last rank is killed when the others have had time to fall asleep; everybody prints when.
fn be_a_rank(in_split: bool) -> Result<(), Failure> {
    let job = cobre_shm::init()?;
    let split = in_split.then(|| job.split_local()).transpose()?;
    let comm = split.as_ref().unwrap_or(&job);
    comm.barrier()?;
    if comm.rank() + 1 == comm.size() {
        std::thread::sleep(Duration::from_millis(20));
        println!("killed {}", now()?);
        raise(Signal::SIGKILL)?;
    }
    match comm.barrier() {
        Err(CommError::RankFailed { .. }) => println!("told {}", now()?),
        other => println!("not told: {other:?}"),
    }
    Ok(())
}

/// Nanoseconds that all processes count alike.
fn now() -> Result<u128, Failure> {
    Ok(SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)?
        .as_nanos())
}

fn measure(arguments: &Arguments) -> Result<(), Failure> {
    let mut millis = Vec::new();
    for number in 0..arguments.times {
        millis.push(one(arguments, number)?);
    }
    let summary = Summary::of(&millis).ok_or("nothing was measured")?;
    let most = millis.iter().copied().fold(0.0, f64::max);
    println!(
        "{} ranks, {}{}, {} jobs: min {:.3} median {:.3} p99 {:.3} max {most:.3} ms",
        arguments.ranks,
        if arguments.launcher.is_some() {
            "launcher"
        } else {
            "no launcher"
        },
        if arguments.split {
            ", in a split communicator"
        } else {
            ""
        },
        arguments.times,
        summary.min,
        summary.median,
        summary.p99,
    );
    Ok(())
}

/// One job: milliseconds until the last survivor knows.
fn one(arguments: &Arguments, number: usize) -> Result<f64, Failure> {
    let children = start(arguments, number)?;
    let mut text = String::new();
    for child in children {
        text.push_str(&String::from_utf8_lossy(&child.wait_with_output()?.stdout));
    }
    let times = |word: &str| -> Vec<u128> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(word));
        lines.filter_map(|time| time.trim().parse().ok()).collect()
    };
    let (killed, told) = (times("killed "), times("told "));
    let (Some(killed), Some(last)) = (killed.first(), told.iter().max()) else {
        return Err(format!("job {number} went another way: {text}").into());
    };
    if told.len() + 1 != arguments.ranks {
        return Err(format!("in job {number} not everybody was told: {text}").into());
    }
    Ok(last.saturating_sub(*killed) as f64 / 1e6)
}

fn start(arguments: &Arguments, number: usize) -> std::io::Result<Vec<Child>> {
    let program = std::env::current_exe()?;
    let run = |mut command: Command| {
        let place = if arguments.split { IN_SPLIT } else { "job" };
        let command = command.env(RANK, place).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
    };
    let size = arguments.ranks.to_string();
    if let Some(launcher) = &arguments.launcher {
        let mut command = Command::new(launcher);
        command.args(["-n", &size]).arg(program);
        return Ok(vec![run(command)?]);
    }
    let name = format!("/cobre-detection-{}-{number}", std::process::id());
    let ranks = 0..arguments.ranks;
    ranks
        .map(|rank| {
            let mut command = Command::new(&program);
            command
                .env("COBRE_SHM_NAME", &name)
                .env("COBRE_SHM_SIZE", &size)
                .env("COBRE_SHM_RANK", rank.to_string());
            run(command)
        })
        .collect()
}
