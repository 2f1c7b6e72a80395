//! Runs the published SDDP solver over a communicator of ours, and compares its outputs.
//!
//! ```text
//! cobre-launch -n 4 cobre-sddp-run --case DIR --out DIR
//! cobre-sddp-run compare REFERENCE CANDIDATE
//! cobre-sddp-run ranks REPORT...
//! ```

mod case;
mod cli;
mod compare;
mod context;
mod counted;
mod counting_solver;
mod drive;
mod error;
mod misorder;
mod report;
mod shape;
mod share;
mod simulate;
mod train;

use std::process::ExitCode;

use clap::Parser;
use cobre_comm::{Communicator, LocalBackend, TopologyProvider};

use crate::cli::{Action, Cli, RunArgs};
use crate::counted::Counted;
use crate::drive::{Plan, drive};
use crate::error::{During, Failure};
use crate::misorder::Misordered;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.action {
        Some(Action::Compare {
            reference,
            candidate,
            all,
        }) => compare::compare(&reference, &candidate).map(|outcome| show(&outcome, all)),
        Some(Action::Ranks {
            like,
            reports,
            calls,
        }) => report::ranks(&reports, like.as_deref(), calls).map(|(table, faults)| {
            print!("{table}");
            for fault in &faults {
                println!("    WRONG: {fault}");
            }
            faults.is_empty()
        }),
        None => start(cli.run).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("cobre-sddp-run: {failure}");
            ExitCode::from(2)
        }
    }
}

/// Picks the communicator and runs.
fn start(args: RunArgs) -> Result<(), Failure> {
    if args.local {
        run(LocalBackend, args)
    } else {
        let comm = cobre_shm::init().during("to join the job")?;
        run(comm, args)
    }
}

/// Runs over `comm`. A rank of several that fails takes the job with it: the others wait for it.
fn run<C: Communicator + TopologyProvider>(comm: C, args: RunArgs) -> Result<(), Failure> {
    const STEP: &str = "to understand the arguments";
    let comm = Counted::new(Misordered::new(comm, args.misorder, args.misorder_at));
    let plan = Plan {
        case: args.case.ok_or("--case is missing").during(STEP)?,
        out: args.out.ok_or("--out is missing").during(STEP)?,
        threads: usize::from(args.threads),
        report: args.report,
    };
    let done = drive(&comm, &plan);
    if let Err(failure) = &done
        && comm.size() > 1
    {
        eprintln!("cobre-sddp-run: rank {}: {failure}", comm.rank());
        comm.abort(1);
    }
    done
}

/// Prints a comparison; whether all was equal.
fn show(outcome: &compare::Comparison, all: bool) -> bool {
    let shown = if all { usize::MAX } else { 5 };
    for difference in outcome.differences.iter().take(shown) {
        println!("    {difference}");
    }
    if outcome.differences.len() > shown {
        println!("    and {} more", outcome.differences.len() - shown);
    }
    println!(
        "    {} of {} files identical, {} not comparable",
        outcome.compared - outcome.differences.len(),
        outcome.compared,
        outcome.left_out
    );
    outcome.differences.is_empty() && outcome.compared > 0
}
