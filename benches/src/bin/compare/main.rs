//! Ours beside every MPI of this machine, in one run: `compare run`, then `compare plot`.
#![forbid(unsafe_code)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "prints the table, and on standard error what is being measured"
)]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clap::{Args, Parser, Subcommand, ValueEnum};
use cobre_benches::cases::Case;
use cobre_benches::json::{Column, Comparison, Entry, Mode, Record};
use cobre_benches::{floors, peers, peers::Peer, plot, table};

/// Where the wheels are, unless `--wheels` says so.
const WHEELS_VAR: &str = "COBRE_BENCH_MPIS";
/// What is measured unless the command line says so: the rows of the targets.
const CASES: [&str; 17] = [
    "barrier",
    "allreduce:8",
    "allreduce:32",
    "allreduce:1024",
    "allreduce:4096",
    "allreduce:16384",
    "allreduce:262144",
    "allreduce:1048576",
    "allreduce:16777216",
    "allgatherv:64",
    "allgatherv:4096",
    "allgatherv:208896",
    "allgatherv:1048576",
    "broadcast:8",
    "broadcast:16384",
    "broadcast:1048576",
    "sddp:12",
];

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
    /// Draw latency over message size.
    Plot {
        /// Written by `run --json`.
        results: PathBuf,
        /// The picture.
        svg: PathBuf,
        /// Which mode to draw.
        #[arg(long, value_enum, default_value_t = Modes::Reused)]
        mode: Modes,
    },
    /// Print the table of an earlier run.
    Table {
        /// Written by `run --json`.
        results: PathBuf,
    },
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
    /// Only columns whose name starts with one of these; ours always.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Seconds after which a column is ended in a round.
    #[arg(long, default_value_t = 300)]
    limit_s: u64,
    /// Write everything measured to this file.
    #[arg(long)]
    json: Option<PathBuf>,
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

impl Modes {
    fn list(self) -> &'static [Mode] {
        match self {
            Self::Reused => &[Mode::Reused],
            Self::Dirty => &[Mode::Dirty],
            Self::Both => &[Mode::Reused, Mode::Dirty],
        }
    }
}

/// Makes the command that measures these cases.
type Start = Box<dyn Fn(&[String]) -> Command>;

/// A column at one rank count: how to start it.
struct Contender {
    name: String,
    start: Start,
}

fn main() -> Result<(), Box<dyn Error>> {
    match Cli::parse().command {
        Sub::Run(args) => run(&args),
        Sub::Plot { results, svg, mode } => {
            let all = read(&results)?;
            for &mode in mode.list() {
                let to = match mode {
                    Mode::Dirty => svg.with_extension("dirty.svg"),
                    Mode::Reused => svg.clone(),
                };
                fs::write(to, plot::svg(&all, mode)?)?;
            }
            Ok(())
        }
        Sub::Table { results } => {
            print!("{}", report(&read(&results)?));
            Ok(())
        }
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

fn wheels_dir(asked: Option<PathBuf>) -> PathBuf {
    asked
        .or_else(|| std::env::var_os(WHEELS_VAR).map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from("target/mpis"))
}

/// A program that was built beside this one.
fn beside(name: &str) -> Result<PathBuf, Box<dyn Error>> {
    let path = std::env::current_exe()?.with_file_name(name);
    if path.exists() {
        return Ok(path);
    }
    Err(format!(
        "there is no {name} beside this program: cargo build --release -p cobre-benches -p cobre-launch"
    )
    .into())
}

/// The peers whose twin could be built, and where it is; what could not goes to the failures.
fn build(args: &RunArgs, all: &mut Comparison) -> Result<Vec<(Peer, PathBuf)>, Box<dyn Error>> {
    let folder = beside("compare")?.with_file_name("mpi-twins");
    fs::create_dir_all(&folder)?;
    let mut built = Vec::new();
    for peer in peers::find(&wheels_dir(args.wheels.clone())) {
        let program = folder.join(&peer.key);
        match peer.compile(&args.twin, &program) {
            Ok(()) => built.push((peer, program)),
            Err(error) => all.failures.push(format!("not built for {error}")),
        }
    }
    Ok(built)
}

/// Everybody at a rank count, ours first.
fn contenders(
    args: &RunArgs,
    peers: &[(Peer, PathBuf)],
    ranks: usize,
    all: &mut Comparison,
) -> Result<Vec<Contender>, Box<dyn Error>> {
    let cores = floors::usable_cores().len();
    let (launcher, collbench) = (beside("cobre-launch")?, beside("collbench")?);
    let mut contenders = Vec::new();
    let mut column = |name: &str, about: String, ours| {
        if !all.columns.iter().any(|column| column.name == name) {
            let name = name.to_owned();
            all.columns.push(Column { name, about, ours });
        }
    };
    let pins: &[bool] = if ranks <= cores {
        &[false, true]
    } else {
        &[false]
    };
    for &pin in pins {
        let (name, about) = match pin {
            false => ("cobre", "this project, as installed: ranks are not bound"),
            true => (
                "cobre bound",
                "the same, each rank bound to a core, as the peers",
            ),
        };
        column(name, about.to_owned(), true);
        let (launcher, collbench, limit_s) = (launcher.clone(), collbench.clone(), args.limit_s);
        contenders.push(Contender {
            name: name.to_owned(),
            start: Box::new(move |suite| {
                let mut command = Command::new(&launcher);
                command.arg("--timeout").arg(format!("{limit_s}s"));
                command.arg("-n").arg(ranks.to_string());
                command.arg(&collbench).arg("suite");
                if pin {
                    command.arg("--pin");
                }
                command.args(suite);
                command
            }),
        });
    }
    for (peer, program) in peers {
        for variant in peer.variants(ranks, cores) {
            let name = format!("{} {}", peer.key, variant.name);
            let wanted = args.only.iter().any(|only| name.starts_with(only));
            if !wanted && !args.only.is_empty() {
                continue;
            }
            column(&name, peer.about.clone(), false);
            let (peer, program, limit_s) = (peer.clone(), program.clone(), args.limit_s);
            contenders.push(Contender {
                name,
                start: Box::new(move |suite| {
                    let mut command = peer.launch(&variant, ranks, limit_s);
                    command.arg(&program).arg("suite").args(suite);
                    command
                }),
            });
        }
    }
    Ok(contenders)
}

fn run(args: &RunArgs) -> Result<(), Box<dyn Error>> {
    let mut all = Comparison {
        date: said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        machine: machine(),
        ..Comparison::default()
    };
    let peers = build(args, &mut all)?;
    let cases = match args.cases.is_empty() {
        true => CASES.map(str::to_owned).to_vec(),
        false => args.cases.iter().map(ToString::to_string).collect(),
    };
    quiet(&mut all, "before");
    let mut fields = Vec::new();
    for &ranks in &args.ranks {
        fields.push((ranks, contenders(args, &peers, ranks, &mut all)?));
    }
    for round in 0..args.rounds {
        for (ranks, contenders) in &fields {
            for &mode in args.mode.list() {
                for contender in contenders {
                    eprintln!(
                        "round {} of {}: {ranks} ranks, {}, {}",
                        round + 1,
                        args.rounds,
                        mode.name(),
                        contender.name
                    );
                    let mut suite = Vec::new();
                    if mode == Mode::Dirty {
                        suite.push("--dirty".to_owned());
                    }
                    suite.push(args.target_ms.to_string());
                    suite.extend(cases.iter().cloned());
                    let output = (contender.start)(&suite).output()?;
                    let what = format!("{}, {ranks} ranks, {}", contender.name, mode.name());
                    take(&mut all, contender, round, &what, cases.len(), &output);
                }
            }
        }
        // Whatever happens later is not lost.
        save(args, &all)?;
    }
    quiet(&mut all, "after");
    save(args, &all)?;
    print!("{}", report(&all));
    Ok(())
}

fn save(args: &RunArgs, all: &Comparison) -> Result<(), Box<dyn Error>> {
    if let Some(json) = &args.json {
        fs::write(json, serde_json::to_string_pretty(all)?)?;
    }
    Ok(())
}

/// Keeps the records of a run, also of one that did not get to its end.
fn take(
    all: &mut Comparison,
    contender: &Contender,
    round: usize,
    what: &str,
    expected: usize,
    output: &Output,
) {
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter(|line| line.starts_with('{'));
    let records: Vec<Record> = lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    for record in &records {
        if !record.verified {
            let case = record.case();
            all.failures
                .push(format!("{what}: wrong results in {case}"));
        }
    }
    if records.len() < expected || !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let last = errors.lines().rfind(|line| !line.trim().is_empty());
        all.failures.push(format!(
            "{what}: {} of {expected} cases, {}, {}",
            records.len(),
            output.status,
            last.unwrap_or("no message")
        ));
    }
    all.entries.extend(records.into_iter().map(|record| Entry {
        column: contender.name.clone(),
        round,
        record,
    }));
}

fn quiet(all: &mut Comparison, when: &str) {
    let lines = floors::lines();
    all.quiet
        .extend(lines.into_iter().map(|line| format!("{when}: {line}")));
}

fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
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
    }
    text += &table::markdown(all);
    for failure in &all.failures {
        text += &format!("\n- failed: {failure}");
    }
    text.push('\n');
    text
}
