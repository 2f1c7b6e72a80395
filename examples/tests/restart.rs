//! A rank is killed in the middle of a run; the launcher starts the job again, which goes on from
//! its checkpoint and ends with the bits of a run that nothing happened to.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails where it unwraps"
)]

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode, Output};

const SOLVER: &str = env!("CARGO_BIN_EXE_hydrothermal");
/// Set for a process of this program that is a launcher.
const LAUNCHER: &str = "COBRE_TEST_LAUNCHER";

fn main() -> ExitCode {
    if std::env::var_os(LAUNCHER).is_some() {
        return cobre_launch::run(std::env::args_os()).into();
    }
    let folder = std::env::temp_dir().join(format!("cobre-restart-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    a_restarted_job_ends_with_the_same_bits(&folder);
    a_checkpoint_of_another_run_is_refused(&folder);
    std::fs::remove_dir_all(&folder).unwrap();
    println!("restart: ok");
    ExitCode::SUCCESS
}

/// Launches four ranks of the solver.
fn launch(options: &[&str], arguments: &[&str]) -> Output {
    let size = ["--iterations", "6", "--simulations", "20"];
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(LAUNCHER, "1").args(["-n", "4"]).args(options);
    command.arg(SOLVER).args(size).args(arguments);
    command.output().unwrap()
}

fn path(folder: &Path, name: &str) -> (String, OsString) {
    let path = folder.join(name);
    (path.to_str().unwrap().to_owned(), path.into())
}

fn a_restarted_job_ends_with_the_same_bits(folder: &Path) {
    let (undisturbed, undisturbed_file) = path(folder, "undisturbed.csv");
    let output = launch(&[], &["--policy", &undisturbed]);
    assert!(output.status.success(), "{output:?}");

    let (restarted, restarted_file) = path(folder, "restarted.csv");
    let (checkpoint, _) = path(folder, "checkpoint");
    let arguments = [
        "--die-after",
        "3",
        "--checkpoint",
        &checkpoint,
        "--policy",
        &restarted,
    ];
    let output = launch(
        &["--max-restarts", "2"],
        &[&arguments[..], &["--verify"]].concat(),
    );
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}{stderr}");
    assert!(stderr.contains("rank 3 (pid "), "{stderr}");
    assert!(stderr.contains("was killed by SIGABRT"), "{stderr}");
    assert!(
        stderr.contains("starting the job again: restart 1 of at most 2"),
        "{stderr}"
    );
    // Rank 0 may have been killed before it had written the third.
    let went_on = |number: usize| stdout.contains(&format!("going on after iteration {number}\n"));
    assert!(went_on(3) || went_on(2), "{stdout}");
    assert!(
        stdout.contains("bit for bit those of a single rank"),
        "{stdout}"
    );

    let read = |file: &OsString| std::fs::read_to_string(file).unwrap();
    assert_eq!(read(&undisturbed_file), read(&restarted_file));
}

fn a_checkpoint_of_another_run_is_refused(folder: &Path) {
    let (checkpoint, _) = path(folder, "checkpoint");
    let output = launch(&[], &["--checkpoint", &checkpoint, "--seed", "12345"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("a checkpoint of another run"), "{stderr}");
}
