//! Solves the dispatch of a hydrothermal system by SDDP, on any number of ranks.
//!
//! `cobre-launch -n 4 target/release/hydrothermal --verify`
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program whose rank 0 talks to a person"
)]

use std::fs::File;
use std::io::BufWriter;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use cobre_examples::hydrothermal::{
    Case, Outcome, Policy, Progress, SddpError, Settings, case,
    checkpoint::{self, CheckpointError},
    gather,
    misordered::Misordered,
    report, resume, verify,
};
use cobre_shm::board::Publisher;
use cobre_shm::{CommError, Communicator, ReduceOp, SharedMemoryProvider};

/// Every rank ends with this: the ranks' result is not that of a single rank, or a rank failed.
const FAILED: u8 = 1;
/// Every rank ends with this: the input cannot be used.
const USAGE: u8 = 2;

/// Solve the monthly dispatch of reservoirs and thermal plants by stochastic dual dynamic
/// programming. Runs as a job of one, or as ranks under `cobre-launch`.
#[derive(Debug, Parser)]
#[command(name = "hydrothermal", version)]
struct Arguments {
    /// The system as TOML [default: Two Rivers, built in]
    #[arg(long, value_name = "FILE")]
    case: Option<PathBuf>,
    /// Forward and backward passes [default: the case's]
    #[arg(long, value_name = "N")]
    iterations: Option<NonZero<usize>>,
    /// Scenarios in a forward pass [default: the case's]
    #[arg(long, value_name = "N")]
    forward_passes: Option<NonZero<usize>>,
    /// Scenarios played at the end [default: the case's]
    #[arg(long, value_name = "N")]
    simulations: Option<usize>,
    /// Seed of all random numbers [default: the case's]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Solve again on a single rank and compare every cut and bound, bit for bit
    #[arg(long)]
    verify: bool,
    /// Print no table
    #[arg(long)]
    quiet: bool,
    /// Write the cuts as CSV
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Write what has been learnt to this file after every iteration, and go on from there if it is
    /// there: with `cobre-launch --max-restarts` a failure costs an iteration
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Kill the last rank after so many iterations of a job's first attempt
    #[arg(long, hide = true)]
    die_after: Option<usize>,
    /// Gather in the wrong order, so that --verify has something to find
    #[arg(long, hide = true)]
    misorder: bool,
}

impl Arguments {
    fn settings(&self, case: &Case) -> Settings {
        let training = &case.training;
        Settings {
            iterations: self.iterations.map_or(training.iterations, NonZero::get),
            forward_passes: self
                .forward_passes
                .map_or(training.forward_passes, NonZero::get),
            simulations: self.simulations.unwrap_or(training.simulations),
            seed: self.seed.unwrap_or(training.seed),
        }
    }
}

fn main() -> ExitCode {
    let comm = match cobre_shm::init() {
        Ok(comm) => comm,
        Err(error) => {
            eprintln!("hydrothermal: {error}");
            return FAILED.into();
        }
    };
    let own = Own {
        status: comm.status().clone(),
        cores: comm.topology().cores,
    };
    let code = match Arguments::try_parse() {
        Ok(arguments) if arguments.misorder => run(&Misordered(comm), &own, &arguments),
        Ok(arguments) => run(&comm, &own, &arguments),
        Err(help) => {
            // Every rank has the same arguments; one says what it thinks of them.
            if comm.rank() == 0 {
                let _ = help.print();
            }
            u8::try_from(help.exit_code()).unwrap_or(USAGE)
        }
    };
    code.into()
}

/// What this backend has beside the communicator.
struct Own {
    status: Publisher,
    /// How many the ranks may use together.
    cores: usize,
}

fn run<C: SharedMemoryProvider>(comm: &C, own: &Own, arguments: &Arguments) -> u8 {
    let leads = comm.rank() == 0;
    match job(comm, own, arguments) {
        Ok(()) => 0,
        // All ranks are here with the same finding.
        Err(Failure::Case(error)) => {
            if leads {
                eprintln!("hydrothermal: {error}");
            }
            USAGE
        }
        Err(Failure::Checkpoint(error)) => {
            if leads {
                eprintln!("hydrothermal: --checkpoint: {error}");
            }
            USAGE
        }
        Err(Failure::Differs) => FAILED,
        // Whoever aborted has said why.
        Err(Failure::Comm(CommError::Aborted { code, .. })) => u8::try_from(code).unwrap_or(FAILED),
        // The others learn it from the communicator.
        Err(Failure::Comm(error)) => {
            eprintln!("hydrothermal: rank {}: {error}", comm.rank());
            FAILED
        }
        // The others do not know, and wait for this rank.
        Err(Failure::Mine(message, code)) => {
            eprintln!("hydrothermal: rank {}: {message}", comm.rank());
            comm.abort(code.into())
        }
    }
}

/// Why a rank ends without a result. The variants differ in which ranks know about it.
enum Failure {
    Case(case::CaseError),
    Checkpoint(CheckpointError),
    Differs,
    Comm(CommError),
    Mine(String, u8),
}

impl From<case::CaseError> for Failure {
    fn from(error: case::CaseError) -> Self {
        Self::Case(error)
    }
}

impl From<CheckpointError> for Failure {
    fn from(error: CheckpointError) -> Self {
        Self::Checkpoint(error)
    }
}

impl From<CommError> for Failure {
    fn from(error: CommError) -> Self {
        Self::Comm(error)
    }
}

impl From<SddpError> for Failure {
    fn from(error: SddpError) -> Self {
        match error {
            SddpError::Comm(error) => Self::Comm(error),
            // Solving shares nothing out.
            SddpError::Work(error) => Self::Mine(error.to_string(), FAILED),
            SddpError::Lp(error) => Self::Mine(error.to_string(), FAILED),
        }
    }
}

fn job<C: SharedMemoryProvider>(comm: &C, own: &Own, arguments: &Arguments) -> Result<(), Failure> {
    let leads = comm.rank() == 0;
    let text = match &arguments.case {
        Some(path) if leads => std::fs::read_to_string(path)
            .map_err(|error| Failure::Mine(format!("{}: {error}", path.display()), USAGE))?,
        _ => case::TWO_RIVERS.to_owned(),
    };
    let text = gather::share_text(comm, &text)?;
    let case = Case::parse(&text)?;
    let settings = arguments.settings(&case);
    let shows = leads && !arguments.quiet;
    if shows {
        println!("{}", report::heading(&case, settings, comm.size()));
    }
    let progress = learnt_before(comm, arguments, &text, settings)?;
    if let Some(progress) = progress.as_ref().filter(|_| shows) {
        progress
            .iterations
            .iter()
            .for_each(|iteration| println!("{}", report::line(iteration)));
        println!("going on after iteration {}", progress.iterations.len());
    }
    let start = progress.unwrap_or_else(|| Progress::none(&case));
    let outcome = resume(comm, &case, settings, start, |progress| {
        let Some(iteration) = progress.iterations.last() else {
            return;
        };
        own.status
            .progress(iteration.number as u64, settings.iterations as u64);
        if shows {
            println!("{}", report::line(iteration));
        }
        if let (Some(path), true) = (&arguments.checkpoint, leads)
            && let Err(error) = checkpoint::write(path, &text, settings, progress)
        {
            eprintln!("hydrothermal: no checkpoint: {}: {error}", path.display());
        }
        let first_attempt = std::env::var("COBRE_LAUNCH_ATTEMPT").is_ok_and(|n| n == "0");
        let last = comm.rank() + 1 == comm.size();
        if arguments.die_after == Some(iteration.number) && first_attempt && last {
            std::process::abort();
        }
    })?;
    if shows {
        println!("{}", report::summary(&outcome));
    }
    if let (Some(path), true) = (&arguments.policy, leads) {
        write_policy(path, &case, &outcome.policy)
            .map_err(|error| Failure::Mine(format!("{}: {error}", path.display()), FAILED))?;
    }
    if arguments.verify {
        verify_bits(comm, &case, settings, &outcome, own.cores)?;
    }
    Ok(())
}

/// What the checkpoint knows, on every rank.
fn learnt_before<C: SharedMemoryProvider>(
    comm: &C,
    arguments: &Arguments,
    case: &str,
    settings: Settings,
) -> Result<Option<Progress>, Failure> {
    let Some(path) = &arguments.checkpoint else {
        return Ok(None);
    };
    let mine = |error: String| Failure::Mine(format!("{}: {error}", path.display()), USAGE);
    let text = match comm.rank() {
        0 => checkpoint::read(path).map_err(|error| mine(error.to_string()))?,
        _ => String::new(),
    };
    let text = gather::share_text(comm, &text)?;
    Ok(checkpoint::parse(&text, case, settings)?)
}

fn write_policy(path: &Path, case: &Case, policy: &Policy) -> std::io::Result<()> {
    let names: Vec<&str> = case
        .hydros
        .iter()
        .map(|hydro| hydro.name.as_str())
        .collect();
    policy.write_csv(&mut BufWriter::new(File::create(path)?), &names)
}

/// All ranks must hold the same; rank 0 solves alone and compares; all get its verdict.
fn verify_bits<C: SharedMemoryProvider>(
    comm: &C,
    case: &Case,
    settings: Settings,
    outcome: &Outcome,
    cores: usize,
) -> Result<(), Failure> {
    let mine = verify::fingerprint(outcome);
    let (mut least, mut most) = ([0], [0]);
    comm.allreduce(&[mine], &mut least, ReduceOp::Min)?;
    comm.allreduce(&[mine], &mut most, ReduceOp::Max)?;
    let mut same = [u8::from(least == most)];
    if comm.rank() == 0 && same == [0] {
        eprintln!("hydrothermal: not verified: the ranks hold different results");
    } else if comm.rank() == 0 {
        let alone = verify::solve_alone(case, settings)?;
        match verify::compare(outcome, &alone) {
            Ok(verified) => println!(
                "{}\n\
                 verified: {} cuts and {} bounds are bit for bit those of a single rank",
                report::times(comm.size(), cores, outcome.elapsed, alone.elapsed),
                verified.cuts,
                verified.bounds,
            ),
            Err(difference) => {
                same = [0];
                eprintln!("hydrothermal: not verified: {difference}");
            }
        }
    }
    comm.broadcast(&mut same, 0)?;
    if same == [1] {
        Ok(())
    } else {
        Err(Failure::Differs)
    }
}
