//! A rank of the fault harness. It does every step of [`EVERYTHING`], or random ones for ever, and
//! says what comes of it, after `@RANK `:
//!
//! | line | when |
//! |---|---|
//! | `start PID NAME` | at once |
//! | `brood PID` | a child of its own, in a session of its own, runs (`COBRE_FAULT_BROOD`) |
//! | `refused NS MESSAGE` | it could not join; it ends with 4 |
//! | `joined` | it has joined |
//! | `error NS STEP DEBUG`, `again DEBUG` | a step failed, and the next call; it ends with 3 |
//! | `wrong STEP` | it received what nobody sent; it ends with 5 |
//! | `usage S KIB KIB N` | in a soak: seconds, resident and proportional memory, descriptors |
//! | `finished` | all went well; it ends with 0 |
//!
//! `NS` is the monotonic clock in nanoseconds. Arguments: `everything`, `random SEED` or `soak SEED SECONDS`.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};

use cobre_comm_trait::conformance::Random;
use cobre_comm_trait::{CommError, Communicator};
use cobre_shm::ShmComm;
use cobre_tests::fault::{EVERYTHING, Workload, arm, now, say, soak, step};

fn main() -> ExitCode {
    arm();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = std::env::var("COBRE_SHM_NAME").unwrap_or_default();
    say(&format!("start {} {name}", std::process::id()));
    if std::env::var_os("COBRE_FAULT_BROOD").is_some() {
        brood();
    }
    let comm = match cobre_shm::init() {
        Ok(comm) => comm,
        Err(error) => {
            say(&format!("refused {} {error}", now()));
            return ExitCode::from(4);
        }
    };
    say("joined");
    let outcome = match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["everything"] => everything(&comm),
        ["random", seed] => random(&comm, seed.parse().unwrap_or_default()),
        ["soak", seed, seconds] => soak(
            &comm,
            seed.parse().unwrap_or_default(),
            seconds.parse().unwrap_or_default(),
        ),
        _ => panic!("not {arguments:?}"),
    };
    match outcome {
        Ok(()) => {
            step("leave");
            drop(comm);
            say("finished");
            ExitCode::SUCCESS
        }
        Err((what, error)) => {
            say(&format!("error {} {what} {}", now(), in_full(&error)));
            match comm.barrier() {
                Ok(()) => say("again ok"),
                Err(error) => say(&format!("again {}", in_full(&error))),
            }
            ExitCode::from(3)
        }
    }
}

/// The failure of a rank with its fields, for the test that checks them; any other error as its
/// sentence.
fn in_full(error: &CommError) -> String {
    match error {
        CommError::RankFailed {
            rank,
            pid,
            cause,
            operation,
        } => format!(
            "RankFailed {{ rank: {rank}, pid: {pid}, cause: {cause:?}, operation: {operation:?} }}"
        ),
        other => other.to_string(),
    }
}

fn everything(comm: &ShmComm) -> Result<(), (String, CommError)> {
    let mut work = Workload::new(comm);
    for (name, what) in EVERYTHING {
        step(name);
        work.run(what).map_err(|error| (name.to_owned(), error))?;
    }
    Ok(())
}

fn random(comm: &ShmComm, seed: u64) -> Result<(), (String, CommError)> {
    let mut random = Random::new(seed);
    let mut work = Workload::new(comm);
    step("random");
    loop {
        let what = work.choose(&mut random);
        let name = || format!("{what:?}").replace(' ', "");
        work.run(what).map_err(|error| (name(), error))?;
    }
}

/// Starts what a launcher must find although it hides: another session, another process group.
fn brood() {
    let mut command = Command::new("setsid");
    command.args(["sleep", "1000"]).process_group(0);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if let Ok(child) = command.spawn() {
        say(&format!("brood {}", child.id()));
    }
}
