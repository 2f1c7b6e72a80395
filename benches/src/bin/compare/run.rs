//! Measuring all in turn.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use cobre_benches::json::{Column, Comparison, Entry, Mode, Record};
use cobre_benches::{floors, peers, peers::Peer};

use super::{RunArgs, machine, now, read, wheels_dir};

/// What is measured unless the command line says so: the rows of the targets that take little time.
const CASES: [&str; 19] = [
    "barrier",
    "allreduce:8",
    "allreduce:32",
    "allreduce:1024",
    "allreduce:4096",
    "allreduce:16384",
    "allreduce:262144",
    "allreduce:1048576",
    "allgatherv:64",
    "allgatherv:4096",
    "allgatherv:208896",
    "allgatherv:1048576",
    "broadcast:8",
    "broadcast:16384",
    "broadcast:1048576",
    "win-allreduce:1048576",
    "win-allgatherv:1048576",
    "win-broadcast:1048576",
    "sddp:12",
];

/// Makes the command that measures these cases.
type Start = Box<dyn Fn(&[String]) -> Command>;

/// A column at one rank count: how to start it.
struct Contender {
    name: String,
    start: Start,
}

/// A program that was built beside this one.
pub(super) fn beside(name: &str) -> Result<PathBuf, Box<dyn Error>> {
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
    let mut column = |name: &str, about: &str, flags: String, ours| {
        all.column(Column {
            name: name.to_owned(),
            about: about.to_owned(),
            flags: [(ranks, flags)].into(),
            ours,
        });
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
        column(name, about, String::new(), true);
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
            let chosen = args.peers.iter().any(|wanted| name.starts_with(wanted));
            if !chosen && !args.peers.is_empty() {
                continue;
            }
            column(&name, &peer.about, variant.describe(), false);
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

/// Measures, in turn, and writes the file after each pass.
pub(super) fn run(args: &RunArgs) -> Result<Comparison, Box<dyn Error>> {
    let begun = Instant::now();
    let mut all = match &args.json {
        Some(json) if args.append && json.exists() => read(json)?,
        _ => Comparison::default(),
    };
    if all.date.is_empty() {
        (all.date, all.machine) = (now(), machine());
        all.bandwidth = floors::bandwidth();
        quiet(&mut all, "before");
    } else {
        let line = format!("{}: load average: {}", now(), floors::load());
        all.quiet.push(line);
    }
    let peers = build(args, &mut all)?;
    let cases = match args.cases.is_empty() {
        true => CASES.map(str::to_owned).to_vec(),
        false => args.cases.iter().map(ToString::to_string).collect(),
    };
    let mut fields = Vec::new();
    for &ranks in &args.ranks {
        fields.push((ranks, contenders(args, &peers, ranks, &mut all)?));
    }
    let budget = args.budget_s.map(Duration::from_secs);
    let mut longest = Duration::ZERO;
    for round in 0..args.rounds {
        let round_begun = Instant::now();
        if budget.is_some_and(|budget| begun.elapsed() + longest > budget) {
            eprintln!("{round} of {} rounds fit the budget", args.rounds);
            break;
        }
        for (ranks, contenders) in &fields {
            for &mode in args.mode.list() {
                pass(args, &mut all, round, (*ranks, mode), contenders, &cases)?;
                // Whatever happens later is not lost.
                save(args, &all)?;
            }
        }
        longest = longest.max(round_begun.elapsed());
    }
    Ok(all)
}

/// Everybody once, one after the other.
fn pass(
    args: &RunArgs,
    all: &mut Comparison,
    round: usize,
    (ranks, mode): (usize, Mode),
    contenders: &[Contender],
    cases: &[String],
) -> Result<(), Box<dyn Error>> {
    for contender in contenders {
        let what = format!("{}, {ranks} ranks, {}", contender.name, mode.name());
        eprintln!("round {} of {}: {what}", round + 1, args.rounds);
        let mut suite = Vec::new();
        if mode == Mode::Dirty {
            suite.push("--dirty".to_owned());
        }
        suite.push(args.target_ms.to_string());
        suite.extend(cases.iter().cloned());
        let output = (contender.start)(&suite).output()?;
        take(all, contender, round, &what, cases.len(), &output);
    }
    Ok(())
}

/// Notes how fast and how quiet the machine is.
pub(super) fn quiet(all: &mut Comparison, when: &str) {
    let lines = floors::lines();
    let when = format!("{}, {when}", now());
    all.quiet
        .extend(lines.into_iter().map(|line| format!("{when}: {line}")));
}

pub(super) fn save(args: &RunArgs, all: &Comparison) -> Result<(), Box<dyn Error>> {
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
