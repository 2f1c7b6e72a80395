//! What a long wait costs and how late it ends: `cobre-launch -n 4 waking [SECONDS] [TIMES]`.
//!
//! Rank 0 comes so many seconds late to a broadcast, in which it sends the time at which it came. The
//! others print how much of a core they used meanwhile, and how long after that time they went on.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a program for people")]

use std::thread;
use std::time::Duration;

use clap::Parser;
use cobre_benches::stats::Summary;
use cobre_comm_trait::{Communicator, ReduceOp};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};

/// Measures long waits; run it with cobre-launch.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long the others wait for rank 0 each time.
    #[arg(default_value_t = 10.0)]
    seconds: f64,
    /// How often.
    #[arg(default_value_t = 3)]
    times: usize,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Arguments { seconds, times } = Arguments::parse();
    let comm = cobre_shm::init()?;
    let late = Duration::try_from_secs_f64(seconds)?;
    // All ranks are on one machine, so they read the same clock.
    let now = || clock_gettime(ClockId::CLOCK_MONOTONIC).map(|time| time.num_nanoseconds());
    let used =
        || clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map(|time| time.num_nanoseconds());
    let mut shares: f64 = 0.0;
    let mut delays = Vec::new();
    for _ in 0..times {
        comm.barrier()?;
        let before = used()?;
        let mut came = [0];
        if comm.rank() == 0 {
            thread::sleep(late);
            came[0] = now()?;
        }
        comm.broadcast(&mut came, 0)?;
        let woken = now()?;
        let waited = comm.rank() > 0;
        let share = (used()? - before) as f64 / (seconds * 1e9);
        let mine =
            [share, (woken - came[0]) as f64 / 1e3].map(|value| if waited { value } else { 0.0 });
        let mut most = [0.0; 2];
        comm.allreduce(&mine, &mut most, ReduceOp::Max)?;
        shares = most[0].max(shares);
        delays.push(most[1]);
    }
    if let (0, Some(delays)) = (comm.rank(), Summary::of(&delays)) {
        println!(
            "{} ranks, {times} waits of {seconds} s: at most {:.3} % of a core; the last went on after {:.0} us (median; from {:.0}, p99 {:.0})",
            comm.size(),
            shares * 100.0,
            delays.median,
            delays.min,
            delays.p99,
        );
    }
    Ok(())
}
