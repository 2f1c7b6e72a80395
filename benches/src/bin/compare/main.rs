//! Ours beside every MPI of this machine, in one run: `compare run`, then `compare plot`.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "prints the table, and on standard error what is being measured"
)]

mod run;
mod startup;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{Args, Parser, Subcommand, ValueEnum};
use cobre_benches::cases::Case;
use cobre_benches::json::{Comparison, Mode};
use cobre_benches::{floors, peers, plot, table};

/// Where the wheels are, unless `--wheels` says so.
const WHEELS_VAR: &str = "COBRE_BENCH_MPIS";
/// Compares this backend with the MPIs that are installed. It installs nothing: see
/// benches/install-mpis.sh.
#[derive(Debug, Parser)]
#[command(name = "compare")]
struct Cli {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Debug, Subcommand)]
enum Sub {
    /// Measure all in turn, print the table.
    Run(RunArgs),
    /// Draw latency over message size, or over the number of ranks.
    Plot {
        /// The picture.
        svg: PathBuf,
        /// Written by `run --json`; several are put together.
        #[arg(required = true)]
        results: Vec<PathBuf>,
        /// Which mode to draw.
        #[arg(long, value_enum, default_value_t = OneMode::Reused)]
        mode: OneMode,
        /// Over the number of ranks.
        #[arg(long)]
        growth: bool,
        /// Only these operations [default: all that were measured at two sizes].
        #[arg(long, value_delimiter = ',')]
        ops: Vec<String>,
    },
    /// Print the table of earlier runs, and the rows below their targets.
    Table {
        /// Written by `run --json`; several are put together.
        #[arg(required = true)]
        results: Vec<PathBuf>,
    },
    /// Add to a file how fast and how quiet the machine is now.
    Floors {
        /// Written by `run --json`.
        results: PathBuf,
    },
    /// Time the start and end of a job that does nothing, with hyperfine.
    Startup(startup::StartupArgs),
    /// Show which MPIs there are, and with which flags they would run.
    List {
        /// Folder with the environments of the wheels [default: COBRE_BENCH_MPIS, else target/mpis].
        #[arg(long)]
        wheels: Option<PathBuf>,
    },
}

#[derive(Args, Debug)]
struct RunArgs {
    /// Rank counts.
    #[arg(long, value_delimiter = ',', default_value = "2,4,8")]
    ranks: Vec<usize>,
    /// What one of the 25 samples of a case should take, in milliseconds.
    #[arg(long, default_value_t = 20.0)]
    target_ms: f64,
    /// How often everything is repeated, in turn: A B C A B C.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Reused buffers, rewritten ones, or both.
    #[arg(long, value_enum, default_value_t = Modes::Both)]
    mode: Modes,
    /// Folder with the environments of the wheels [default: COBRE_BENCH_MPIS, else target/mpis].
    #[arg(long)]
    wheels: Option<PathBuf>,
    /// Only peers whose column's name starts with one of these; ours always.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Seconds after which a column is ended in a round.
    #[arg(long, default_value_t = 300)]
    limit_s: u64,
    /// Write everything measured to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Add to that file what is measured, instead of writing it anew: a long comparison in pieces.
    #[arg(long, requires = "json")]
    append: bool,
    /// Begin no round that would end later than so many seconds after the start.
    #[arg(long)]
    budget_s: Option<u64>,
    /// The source of the twin.
    #[arg(long, default_value = "benches/mpi/collbench.c")]
    twin: PathBuf,
    /// op:bytes, as for collbench [default: the rows of the targets].
    cases: Vec<Case>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Modes {
    Reused,
    Dirty,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OneMode {
    Reused,
    Dirty,
}

impl From<OneMode> for Mode {
    fn from(mode: OneMode) -> Self {
        match mode {
            OneMode::Reused => Self::Reused,
            OneMode::Dirty => Self::Dirty,
        }
    }
}

impl Modes {
    fn list(self) -> &'static [Mode] {
        match self {
            Self::Reused => &[Mode::Reused],
            Self::Dirty => &[Mode::Dirty],
            Self::Both => &[Mode::Reused, Mode::Dirty],
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    match Cli::parse().command {
        Sub::Run(args) => {
            let mut all = run::run(&args)?;
            if !args.append {
                run::quiet(&mut all, "after");
                run::save(&args, &all)?;
                print!("{}", report(&all));
            }
            Ok(())
        }
        Sub::Plot {
            svg,
            results,
            mode,
            growth,
            ops,
        } => {
            let all = read_all(&results)?;
            let drawn = match growth {
                true => plot::over_ranks(&all, mode.into(), &ops)?,
                false => plot::over_sizes(&all, mode.into(), &ops)?,
            };
            Ok(fs::write(svg, drawn)?)
        }
        Sub::Table { results } => {
            print!("{}", report(&read_all(&results)?));
            Ok(())
        }
        Sub::Floors { results } => {
            let mut all = read(&results)?;
            run::quiet(&mut all, "after");
            Ok(fs::write(&results, serde_json::to_string_pretty(&all)?)?)
        }
        Sub::Startup(args) => startup::startup(&args),
        Sub::List { wheels } => {
            let cores = floors::usable_cores().len();
            for peer in peers::find(&wheels_dir(wheels)) {
                println!("{}: {}", peer.key, peer.about);
                for ranks in [cores, cores + 1] {
                    for variant in peer.variants(ranks, cores) {
                        println!("  {ranks} ranks, {}: {}", variant.name, variant.describe());
                    }
                }
            }
            Ok(())
        }
    }
}

fn read(results: &Path) -> Result<Comparison, Box<dyn Error>> {
    Ok(serde_json::from_str(&fs::read_to_string(results)?)?)
}

fn read_all(results: &[PathBuf]) -> Result<Comparison, Box<dyn Error>> {
    let mut all = Comparison::default();
    for results in results {
        all.merge(read(results)?);
    }
    Ok(all)
}

fn wheels_dir(asked: Option<PathBuf>) -> PathBuf {
    asked
        .or_else(|| std::env::var_os(WHEELS_VAR).map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from("target/mpis"))
}

fn now() -> String {
    let output = Command::new("date")
        .args(["-u", "+%Y-%m-%d %H:%M UTC"])
        .output();
    output.map_or(String::new(), |output| {
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    })
}

/// Model and number of cores, nothing that names the machine.
fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let mut lines = info.lines().filter(|line| line.starts_with(name));
        let value = lines.next().and_then(|line| line.split_once(':'));
        value.map_or("?", |(_, value)| value.trim()).to_owned()
    };
    format!(
        "{}, family {}, model {}, {} cores",
        field("model name"),
        field("cpu family"),
        field("model\t"),
        floors::usable_cores().len()
    )
}

fn report(all: &Comparison) -> String {
    let mut text = format!("{}, {}\n\n", all.date, all.machine);
    for line in &all.quiet {
        text += &format!("- {line}\n");
    }
    text.push('\n');
    for column in &all.columns {
        text += &format!("- **{}**: {}\n", column.name, column.about);
        for (ranks, flags) in &column.flags {
            if !flags.is_empty() {
                text += &format!("  - {ranks} ranks: `{flags}`\n");
            }
        }
    }
    for copied in &all.bandwidth {
        text += &format!(
            "- all cores copy buffers of {} KiB: {:.1} GB/s read and written\n",
            copied.bytes >> 10,
            copied.gb_per_s
        );
    }
    text += &table::markdown(all);
    text += &table::below_target(all);
    for failure in &all.failures {
        text += &format!("\n- failed: {failure}");
    }
    text.push('\n');
    text
}
