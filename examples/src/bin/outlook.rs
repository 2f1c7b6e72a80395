//! What the rest of the year will cost, from each month on: uneven work, divided beforehand and taken by
//! whoever is free.
//!
//! `cobre-launch -n 2 --progress target/release/outlook`
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program whose rank 0 talks to a person"
)]

use std::error::Error;
use std::num::NonZero;

use clap::Parser;
use cobre_examples::hydrothermal::{
    Case, SddpError, Settings, case,
    outlook::{Outlook, Split, outlook},
    solve,
};
use cobre_shm::{Chunking, Communicator, ShmComm};

/// Play the rest of the year from each month on, with uneven scenarios divided in two ways, and compare
/// times and bits.
#[derive(Debug, Parser)]
#[command(name = "outlook", version)]
struct Arguments {
    /// Scenarios from each month on
    #[arg(long, value_name = "N", default_value = "100")]
    scenarios: NonZero<usize>,
    /// Forward and backward passes to learn from before
    #[arg(long, value_name = "N", default_value_t = 5)]
    iterations: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let comm = cobre_shm::init()?;
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // Every rank has the same arguments; one says what it thinks of them.
        Err(help) if comm.rank() == 0 => help.exit(),
        Err(help) => std::process::exit(help.exit_code()),
    };
    match compare(&comm, &arguments) {
        // The others do not know, and wait for this rank.
        Err(SddpError::Lp(error)) => {
            eprintln!("outlook: rank {}: {error}", comm.rank());
            comm.abort(1)
        }
        outcome => Ok(outcome?),
    }
}

fn compare(comm: &ShmComm, arguments: &Arguments) -> Result<(), SddpError> {
    let shows = comm.rank() == 0;
    let case = Case::parse(case::TWO_RIVERS).expect("the case that is built in");
    let settings = Settings {
        iterations: arguments.iterations,
        forward_passes: case.training.forward_passes,
        simulations: 0,
        seed: case.training.seed,
    };
    let policy = solve(comm, &case, settings, |_| {})?.policy;
    let (seed, scenarios) = (settings.seed, arguments.scenarios.get());
    let play = |split| outlook(comm, &case, &policy, seed, scenarios, split);
    let blocks = play(Split::Blocks)?;
    let chunks = play(Split::Chunks(Chunking::Guided))?;
    if !shows {
        return Ok(());
    }
    println!(
        "{}: the rest of the year from each of {} months on, {scenarios} scenarios each",
        case.name,
        case.stages.len()
    );
    println!(
        "{:<8} {:>9} {:>14} {:>14}",
        "split", "time", "busiest rank", "idlest rank"
    );
    show("blocks", &blocks);
    show("chunks", &chunks);
    let bits = |outlook: &Outlook| -> Vec<u64> {
        outlook.costs.iter().map(|cost| cost.to_bits()).collect()
    };
    println!(
        "the {} costs of both are {}",
        chunks.costs.len(),
        match bits(&blocks) == bits(&chunks) {
            true => "the same, bit for bit",
            false => "NOT the same",
        }
    );
    for (stage, cost) in chunks.from_each_stage(case.stages.len()).iter().enumerate() {
        println!(
            "from {:<10} {:>10.4} +- {:>8.4} million $",
            case.stages[stage], cost.mean, cost.half_width
        );
    }
    Ok(())
}

fn show(split: &str, outlook: &Outlook) {
    let seconds =
        |played: Option<&std::time::Duration>| played.map_or(0.0, |time| time.as_secs_f64());
    println!(
        "{split:<8} {:>7.2} s {:>12.2} s {:>12.2} s",
        outlook.elapsed.as_secs_f64(),
        seconds(outlook.played.iter().max()),
        seconds(outlook.played.iter().min()),
    );
}
