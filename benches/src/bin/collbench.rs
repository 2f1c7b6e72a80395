//! The rank program: `cobre-launch -n 4 collbench suite 20 barrier allreduce:1024 sddp:12`.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "prints a line of JSON for each case")]

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use cobre_benches::{cases::Case, json::Mode, measure};
use cobre_comm_trait::Communicator;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Measures collectives; run it with cobre-launch.
#[derive(Debug, Parser)]
#[command(name = "collbench")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure cases one after the other; rank 0 prints a line of JSON for each.
    Suite {
        /// Rewrite every send buffer before each call, and subtract the time of that.
        #[arg(long)]
        dirty: bool,
        /// Bind each rank to one core, if there are enough.
        #[arg(long)]
        pin: bool,
        /// What one of the samples should take, in milliseconds.
        target_ms: f64,
        /// barrier, allreduce:BYTES, allgatherv:BYTES, broadcast:BYTES (win-.. in a window, ..-read and
        /// read what came), sddp:N, sddp-work:N.
        #[arg(required = true)]
        cases: Vec<Case>,
    },
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let Command::Suite {
        dirty,
        pin,
        target_ms,
        cases,
    } = Args::parse().command;
    let target = Duration::try_from_secs_f64(target_ms / 1e3)?;
    let mode = if dirty { Mode::Dirty } else { Mode::Reused };
    let comm = cobre_shm::init()?;
    if pin {
        bind(comm.rank(), comm.size())?;
    }
    let mut verified = true;
    for case in cases {
        let record = measure::measure(&comm, case, mode, target)?;
        verified &= record.verified;
        if comm.rank() == 0 {
            println!("{}", serde_json::to_string(&record)?);
        }
    }
    Ok(if verified {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Binds this rank to a usable core of its own; with more ranks than cores nobody is bound.
fn bind(rank: usize, size: usize) -> Result<(), nix::Error> {
    let usable = sched_getaffinity(Pid::from_raw(0))?;
    let cores: Vec<usize> = (0..CpuSet::count())
        .filter(|&core| usable.is_set(core).unwrap_or(false))
        .collect();
    if let (true, Some(&core)) = (size <= cores.len(), cores.get(rank)) {
        let mut mine = CpuSet::new();
        mine.set(core)?;
        sched_setaffinity(Pid::from_raw(0), &mine)?;
    }
    Ok(())
}
