//! Makes ranks fail, and prints what comes of it as Markdown.
#![allow(clippy::print_stdout)]

use std::collections::BTreeSet;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use cobre_tests::fault::{Fault, Programs, Table, Tally, Usage, matrix};
use cobre_tests::{End, Process, made_up_names};

/// Makes ranks fail, and prints what comes of it.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Every fault at every named point.
    Matrix(Which),
    /// Kills of ranks and launchers at random moments.
    Chaos {
        /// How many runs.
        #[arg(long, default_value_t = 1000)]
        runs: u64,
        /// The first run's seed; the next run has the next.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Jobs at a time.
        #[arg(long, default_value_t = 3)]
        at_once: usize,
    },
    /// Collectives, windows, splits and joins for a long time: memory and descriptors must not grow.
    Soak {
        /// How long, in seconds.
        #[arg(long, default_value_t = 600)]
        seconds: u64,
        /// The job's size.
        #[arg(long, default_value_t = 8)]
        ranks: usize,
        /// Chooses the steps.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

/// Which cases of the matrix.
#[derive(Args, Debug)]
struct Which {
    /// Sizes of jobs.
    #[arg(long, value_delimiter = ',', default_value = "2,3,4,8")]
    ranks: Vec<usize>,
    /// Only these faults.
    #[arg(long, value_delimiter = ',', value_parser = fault)]
    faults: Vec<Fault>,
    /// Only this step.
    #[arg(long)]
    step: Option<String>,
    /// Only this point.
    #[arg(long)]
    point: Option<String>,
    /// Only with (true) or without (false) a launcher.
    #[arg(long)]
    launched: Option<bool>,
    /// Chooses the victims.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Jobs at a time.
    #[arg(long, default_value_t = 2)]
    at_once: usize,
    /// Every so many cases only.
    #[arg(long, default_value_t = 1)]
    every: usize,
}

fn fault(name: &str) -> Result<Fault, String> {
    let all = || Fault::ALL.map(Fault::name).join(", ");
    Fault::named(name).ok_or_else(|| format!("expected one of {}", all()))
}

fn main() -> ExitCode {
    let right = match Arguments::parse().what {
        What::Matrix(which) => show_matrix(&which),
        What::Chaos {
            runs,
            seed,
            at_once,
        } => show_chaos(seed..seed + runs, at_once),
        What::Soak {
            seconds,
            ranks,
            seed,
        } => show_soak(seconds, ranks, seed),
    };
    ExitCode::from(u8::from(!right))
}

fn show_matrix(which: &Which) -> bool {
    let faults = match which.faults.is_empty() {
        true => Fault::ALL.to_vec(),
        false => which.faults.clone(),
    };
    let launched = which.launched.map_or(vec![false, true], |only| vec![only]);
    let mut cases = matrix(&which.ranks, &launched, &faults, which.seed);
    cases.retain(|case| which.step.as_ref().is_none_or(|step| case.step == step));
    cases.retain(|case| which.point.as_ref().is_none_or(|point| case.point == point));
    let cases: Vec<_> = cases.into_iter().step_by(which.every).collect();
    let begin = Instant::now();
    let table = Table::run(&Programs::beside_this(), &cases, which.at_once);
    println!(
        "{} cases (sizes {:?}, seed {}) in {:.0?}; {} went wrong.",
        cases.len(),
        which.ranks,
        which.seed,
        begin.elapsed(),
        table.failures().len()
    );
    println!("\nTimes in ms: median (longest), from the fault to the last survivor's knowledge.");
    for &launched in &launched {
        let with = if launched { "With" } else { "Without" };
        let text = table.markdown(launched, &faults);
        println!("\n## {with} a launcher\n\n{text}");
        println!("{}", spread("told", table.latencies(launched)));
    }
    for (case, why) in table.failures() {
        println!("\n### Wrong: {case:?}\n\n```\n{why}\n```");
    }
    table.failures().is_empty()
}

fn show_chaos(seeds: std::ops::Range<u64>, at_once: usize) -> bool {
    let begin = Instant::now();
    let before = made_up_names();
    let runs = seeds.end - seeds.start;
    let tally = Tally::of(&Programs::beside_this(), seeds, at_once);
    let [alone, launched, launchers] = tally.killed;
    println!(
        "{runs} runs in {:.0?}: killed {alone} ranks without a launcher, {launched} with one, and \
         {launchers} launchers; {} jobs had not formed; {} went wrong.",
        begin.elapsed(),
        tally.unformed,
        tally.failures.len()
    );
    let [alone, launched] = tally.known;
    println!("{}", spread("told without a launcher", alone));
    println!("{}", spread("told with a launcher", launched));
    println!("{}", spread("gone after the launcher", tally.gone));
    let left = made_up_and_left(&before);
    println!("{} names left in /dev/shm.", left.len());
    for (seed, why) in &tally.failures {
        println!("\n### Wrong: seed {seed}\n\n```\n{why}\n```");
    }
    tally.failures.is_empty() && left.is_empty()
}

fn show_soak(seconds: u64, ranks: usize, seed: u64) -> bool {
    let programs = Programs::beside_this();
    let mut command = Command::new(&programs.launcher);
    command.args(["-n", &ranks.to_string()]).arg(&programs.rank);
    command.args(["soak", &seed.to_string(), &seconds.to_string()]);
    let mut launcher = Process::start("the launcher", &mut command);
    let mut usage: Vec<Vec<Usage>> = vec![Vec::new(); ranks];
    while let Some(line) = launcher.line() {
        if let Some((rank, now)) = Usage::in_line(&line) {
            usage[rank].push(now);
        }
    }
    let end = launcher.end();
    println!("| rank | s | resident KiB | proportional KiB | descriptors |\n|---|---|---|---|---|");
    let mut right = end == End::Code(0);
    for (rank, of_rank) in usage.iter().enumerate() {
        // The first of them still grows into its buffers.
        let settled = &of_rank[of_rank.len() / 4..];
        let (Some(first), Some(last)) = (settled.first(), settled.last()) else {
            right = false;
            continue;
        };
        for now in [first, last] {
            println!(
                "| {rank} | {} | {} | {} | {} |",
                now.seconds, now.resident_kib, now.proportional_kib, now.descriptors
            );
        }
        // Two pages of noise a minute would be a leak in a day; the allocator's slack is not.
        let grown = last.resident_kib > first.resident_kib + first.resident_kib / 10 + 1024;
        right &= !grown && last.descriptors <= first.descriptors;
    }
    println!("\nThe launcher ended with {end:?}.");
    if end != End::Code(0) {
        println!("{}", launcher.heard());
    }
    right
}

/// Median, 99th percentile and maximum.
fn spread(what: &str, mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |part: f64| {
        let index = ((times.len() as f64 * part) as usize).min(times.len().saturating_sub(1));
        times.get(index).copied().unwrap_or_default()
    };
    let (median, p99, most) = (at(0.5), at(0.99), at(1.0));
    let count = times.len();
    format!("{count} times {what}: median {median:.1?}, p99 {p99:.1?}, longest {most:.1?}.")
}

/// Which of the made-up names that are here now, but were not `before`, stay. Those of jobs that
/// run at the same time go by themselves.
fn made_up_and_left(before: &BTreeSet<String>) -> BTreeSet<String> {
    let begin = Instant::now();
    let mut new: BTreeSet<String> = made_up_names().difference(before).cloned().collect();
    while !new.is_empty() && begin.elapsed() < Duration::from_secs(5) {
        std::thread::yield_now();
        new = new.intersection(&made_up_names()).cloned().collect();
    }
    new
}
