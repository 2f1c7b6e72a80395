//! Whether ranks find their cores: starts many jobs and says how long a barrier takes in the first
//! moments of each, `starts [--starts N] [--ranks 2,4,8] [--seconds S] [--beside N | --after N]
//! [PROGRAM..]`.
//!
//! Jobs are started by the `cobre-launch` beside this program, or beside each PROGRAM, which is this
//! program of another build: their jobs take turns.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;
use cobre_comm_trait::{Communicator, ReduceOp};

/// Set for a process that this program has started: what it is.
const ROLE: &str = "COBRE_STARTS_ROLE";
const BUSY: &str = "busy";

#[derive(Debug, Parser)]
struct Arguments {
    /// Jobs of each size and program.
    #[arg(long, default_value_t = 200)]
    starts: usize,
    /// Sizes of the jobs.
    #[arg(long, value_delimiter = ',', default_value = "2,4,8")]
    ranks: Vec<usize>,
    /// How long each job runs barriers.
    #[arg(long, default_value_t = 0.15)]
    seconds: f64,
    /// Processes that compute meanwhile.
    #[arg(long, default_value_t = 0)]
    beside: usize,
    /// Processes that compute until just before each start.
    #[arg(long, default_value_t = 0, conflicts_with = "beside")]
    after: usize,
    /// This program, of one or several builds [default: this one].
    programs: Vec<PathBuf>,
}

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let done = match std::env::var(ROLE).as_deref() {
        Ok(BUSY) => loop {
            std::hint::spin_loop();
        },
        Ok(seconds) => be_a_rank(seconds),
        Err(_) => measure(&Arguments::parse()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("starts: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the mean of the barriers that fit into so many seconds, in microseconds.
fn be_a_rank(seconds: &str) -> Result<(), Failure> {
    const AT_ONCE: u32 = 16;
    let seconds: f64 = seconds.parse()?;
    let comm = cobre_shm::init()?;
    let begin = Instant::now();
    let mut barriers = 0;
    let mut elapsed = [0.0];
    while elapsed[0] < seconds {
        for _ in 0..AT_ONCE {
            comm.barrier()?;
        }
        barriers += AT_ONCE;
        let mine = [begin.elapsed().as_secs_f64()];
        comm.allreduce(&mine, &mut elapsed, ReduceOp::Max)?;
    }
    if comm.rank() == 0 {
        println!("{}", elapsed[0] * 1e6 / f64::from(barriers));
    }
    Ok(())
}

/// A process that computes until this is dropped.
struct Busy(Child);

impl Busy {
    fn start() -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        let command = command.env(ROLE, BUSY).stdin(Stdio::null());
        Ok(Self(command.spawn()?))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn measure(arguments: &Arguments) -> Result<(), Failure> {
    let mut programs = arguments.programs.clone();
    if programs.is_empty() {
        programs.push(std::env::current_exe()?);
    }
    let busy = |count| {
        (0..count)
            .map(|_| Busy::start())
            .collect::<Result<Vec<_>, _>>()
    };
    let _beside = busy(arguments.beside)?;
    println!(
        "us a barrier in the first {} s of a job, {} starts each",
        arguments.seconds, arguments.starts
    );
    println!("| ranks | program | min | p10 | median | p90 | max | slow |");
    println!("|---|---|---|---|---|---|---|---|");
    for &ranks in &arguments.ranks {
        let mut times = vec![Vec::new(); programs.len()];
        for _ in 0..arguments.starts {
            for (program, times) in programs.iter().zip(&mut times) {
                let before = busy(arguments.after)?;
                if !before.is_empty() {
                    // Long enough to be noticed by the kernel.
                    std::thread::sleep(Duration::from_millis(50));
                }
                drop(before);
                times.push(one(program, ranks, arguments.seconds)?);
            }
        }
        report(ranks, &programs, &mut times);
    }
    Ok(())
}

/// One line for each program. Slow is a start that takes more than one and a half times what the best
/// program takes in its tenth fastest start of a hundred.
fn report(ranks: usize, programs: &[PathBuf], times: &mut [Vec<f64>]) {
    for times in &mut *times {
        times.sort_by(f64::total_cmp);
    }
    let at = |times: &[f64], part: f64| times[((times.len() - 1) as f64 * part) as usize];
    let best = times
        .iter()
        .map(|times| at(times, 0.1))
        .fold(f64::INFINITY, f64::min);
    for (program, times) in programs.iter().zip(&*times) {
        let slow = times.iter().filter(|&&time| time > 1.5 * best).count();
        let program = program.display();
        let [min, p10, median, p90, max] = [0.0, 0.1, 0.5, 0.9, 1.0].map(|part| at(times, part));
        println!(
            "| {ranks} | {program} | {min:.2} | {p10:.2} | {median:.2} | {p90:.2} | {max:.2} | {slow} of {} |",
            times.len()
        );
    }
}

/// Microseconds that a barrier took in one job.
fn one(program: &PathBuf, ranks: usize, seconds: f64) -> Result<f64, Failure> {
    let output = Command::new(program.with_file_name("cobre-launch"))
        .args(["-n", &ranks.to_string()])
        .arg(program)
        .env(ROLE, seconds.to_string())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let time = text.trim().parse();
    time.map_err(|_| format!("{}: {}: {text}", program.display(), output.status).into())
}
