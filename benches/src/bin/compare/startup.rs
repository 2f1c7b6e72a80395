//! How long it takes to start, join, leave and end: hyperfine on each launcher.

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;
use cobre_benches::{floors, peers};

use super::{run::beside, wheels_dir};

#[derive(Args, Debug)]
pub(super) struct StartupArgs {
    /// Ranks to start.
    #[arg(long, default_value_t = 8)]
    ranks: usize,
    /// How often each is started.
    #[arg(long, default_value_t = 20)]
    runs: usize,
    /// Folder with the environments of the wheels [default: COBRE_BENCH_MPIS, else target/mpis].
    #[arg(long)]
    wheels: Option<PathBuf>,
    /// Only peers whose column's name starts with one of these; ours always.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Write hyperfine's table to this file.
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// The source of the trivial MPI program.
    #[arg(long, default_value = "benches/mpi/joins.c")]
    twin: PathBuf,
}

pub(super) fn startup(args: &StartupArgs) -> Result<(), Box<dyn Error>> {
    let mut hyperfine = Command::new("hyperfine");
    hyperfine.args(["--shell=none", "--warmup=2"]);
    hyperfine.arg(format!("--runs={}", args.runs));
    if let Some(markdown) = &args.markdown {
        hyperfine.arg("--export-markdown").arg(markdown);
    }
    let mut ours = Command::new(beside("cobre-launch")?);
    ours.arg("-n").arg(args.ranks.to_string());
    ours.arg(beside("joins")?);
    hyperfine.arg("-n").arg("cobre").arg(words(&ours));
    let cores = floors::usable_cores().len();
    let folder = beside("compare")?.with_file_name("mpi-twins");
    std::fs::create_dir_all(&folder)?;
    for peer in peers::find(&wheels_dir(args.wheels.clone())) {
        let program = folder.join(format!("{}-joins", peer.key));
        peer.compile(&args.twin, &program)?;
        for variant in peer.variants(args.ranks, cores) {
            let name = format!("{} {}", peer.key, variant.name);
            let chosen = args.peers.iter().any(|wanted| name.starts_with(wanted));
            if !chosen && !args.peers.is_empty() {
                continue;
            }
            let mut command = peer.launch(&variant, args.ranks, 60);
            command.arg(&program);
            hyperfine.arg("-n").arg(name).arg(words(&command));
        }
    }
    let status = hyperfine
        .status()
        .map_err(|error| format!("hyperfine: {error} (apt-get install hyperfine)"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("hyperfine: {status}").into()),
    }
}

/// A command as it is typed, its environment before it.
fn words(command: &Command) -> String {
    let set = command.get_envs().filter_map(|(name, value)| {
        let value = value?.to_string_lossy();
        Some(quoted(&format!("{}={value}", name.to_string_lossy())))
    });
    let program = std::iter::once(command.get_program()).chain(command.get_args());
    let program = program.map(|word| quoted(&word.to_string_lossy()));
    std::iter::once("env".to_owned())
        .chain(set)
        .chain(program)
        .collect::<Vec<_>>()
        .join(" ")
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
