//! Uneven work: however it is divided, and among however many ranks, the same costs.
#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::process::{Child, Command, Stdio};

/// Starts a rank of the job `name`, or the only one of a job without a name.
fn start(job: Option<(&str, usize, usize)>) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outlook"));
    command.args(["--scenarios", "3", "--iterations", "1"]);
    if let Some((name, rank, size)) = job {
        command.env("COBRE_SHM_NAME", name);
        command.env("COBRE_SHM_RANK", rank.to_string());
        command.env("COBRE_SHM_SIZE", size.to_string());
    }
    command.stdout(Stdio::piped()).spawn().unwrap()
}

fn printed(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// The costs from each month on.
fn costs(printed: &str) -> Vec<&str> {
    let same = "the 36 costs of both are the same, bit for bit";
    assert!(printed.contains(same), "{printed}");
    let costs: Vec<&str> = printed
        .lines()
        .filter(|line| line.starts_with("from "))
        .collect();
    assert_eq!(costs.len(), 12, "{printed}");
    costs
}

#[test]
fn blocks_and_chunks_give_the_costs_of_a_single_rank() {
    let alone = printed(start(None));
    let name = format!("/cobre-outlook-{}", std::process::id());
    let ranks: Vec<Child> = (0..3).map(|rank| start(Some((&name, rank, 3)))).collect();
    let printed: Vec<String> = ranks.into_iter().map(printed).collect();
    assert_eq!(costs(&printed[0]), costs(&alone));
    assert_eq!(printed[1..], ["", ""]);
}
