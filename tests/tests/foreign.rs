//! Ranks that `mpirun` or `srun` has started, as their variables say: one job, or a sentence.

use std::os::unix::{fs::symlink, process::CommandExt};
use std::process::Command;

use cobre_tests::{End, Process, job_name};
use nix::sys::signal::Signal;

const RANK: &str = env!("CARGO_BIN_EXE_scripted-rank");

/// A process that does `steps`, with these variables.
fn process(steps: &[&str], variables: &[(&str, &str)]) -> Process {
    let mut command = Command::new(RANK);
    command.args(steps).envs(variables.iter().copied());
    command.env("COBRE_SHM_ATTACH_TIMEOUT", "50s");
    Process::start(&format!("{variables:?}"), &mut command)
}

/// One that Open MPI has started on this node, in the launch of this name.
fn open_mpi(steps: &[&str], rank: usize, size: usize, launch: &str) -> Process {
    let (rank, size) = (rank.to_string(), size.to_string());
    let variables = [
        ("OMPI_COMM_WORLD_RANK", rank.as_str()),
        ("OMPI_COMM_WORLD_SIZE", size.as_str()),
        ("OMPI_COMM_WORLD_LOCAL_SIZE", size.as_str()),
        ("PMIX_RANK", rank.as_str()),
        ("PMIX_NAMESPACE", launch),
    ];
    process(steps, &variables)
}

/// Task `task` of two of a step of Slurm's, on so many nodes.
fn srun(task: &str, nodes: &str, job: &str) -> Process {
    let variables = [
        ("SLURM_JOB_ID", job),
        ("SLURM_STEP_ID", "0"),
        ("SLURM_PROCID", task),
        ("SLURM_STEP_NUM_TASKS", "2"),
        ("SLURM_STEP_NUM_NODES", nodes),
    ];
    process(&["join", "barrier"], &variables)
}

fn expect_members(ranks: &mut [Process]) {
    let size = ranks.len();
    for (rank, process) in ranks.iter_mut().enumerate() {
        let joined = process.hear("joined ");
        assert!(joined.starts_with(&format!("{rank} {size} ")), "{joined}");
        process.hear("ok barrier");
        assert_eq!(process.end(), End::Code(0));
    }
}

#[test]
fn launches_at_the_same_time_are_jobs_of_their_own() {
    let (one, other) = (job_name(), job_name());
    let launch = |name: &str, size| -> Vec<Process> {
        let rank = |rank| open_mpi(&["join", "barrier"], rank, size, name);
        (0..size).map(rank).collect()
    };
    let (mut three, mut two) = (launch(&one, 3), launch(&other, 2));
    expect_members(&mut three);
    expect_members(&mut two);
}

#[test]
fn the_tasks_of_a_step_are_a_job() {
    let job = job_name();
    expect_members(&mut [srun("0", "1", &job), srun("1", "1", &job)]);
}

/// Without a name of its own a launch is the process that started it, whatever lies in between.
#[test]
fn a_launch_without_a_name_is_known_by_its_process() {
    let folder = std::env::temp_dir().join(format!("cobre-hydra-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("there is room");
    let proxy = folder.join("hydra_pmi_proxy");
    let script = "\
        export PMI_SIZE=3 MPI_LOCALNRANKS=3 PMI_RANK\n\
        PMI_RANK=2; sh -c '\"$1\" join barrier; exit $?' sh \"$1\" &\n\
        PMI_RANK=0; \"$1\" join barrier &\n\
        PMI_RANK=1; \"$1\" join barrier &\n\
        wait\n";
    // A shell of that name, not a file written here: a child that another test forks at that moment has
    // it open for writing, and it could not be executed.
    symlink("/bin/sh", &proxy).expect("there is room");
    let launch = || {
        let mut command = Command::new(&proxy);
        command.arg0("sh").args(["-c", script, "sh", RANK]);
        // As if a rank of another launch had started it.
        command.env("PMI_RANK", "0");
        command.env("COBRE_SHM_ATTACH_TIMEOUT", "50s");
        Process::start("mpiexec", &mut command)
    };
    for mut launch in [launch(), launch()] {
        assert_eq!(launch.end(), End::Code(0));
        for rank in 0..3 {
            let joined = format!("joined {rank} 3 ");
            assert_eq!(
                launch.heard().matches(&joined).count(),
                1,
                "{}",
                launch.heard()
            );
        }
        assert_eq!(launch.heard().matches("ok barrier").count(), 3);
    }
    std::fs::remove_dir_all(&folder).expect("it is ours");
}

/// A pod of Kubernetes has a rank already; torchrun starts several processes in it.
#[test]
fn torchrun_in_a_pod_that_has_a_rank_starts_a_job_of_its_own() {
    let script = "export WORLD_SIZE=2 LOCAL_WORLD_SIZE=2 TORCHELASTIC_RUN_ID=none\n\
        RANK=1 \"$1\" join barrier &\n\
        RANK=0 \"$1\" join barrier &\n\
        wait\n";
    // The agent itself does not have what it gives to its ranks.
    let agent = format!("(\n{script})");
    let launch = || {
        let mut command = Command::new("sh");
        command.args(["-c", &agent, "sh", RANK]);
        command.env("RANK", "0").env("WORLD_SIZE", "1");
        command.env("COBRE_SHM_ATTACH_TIMEOUT", "50s");
        Process::start("torchrun", &mut command)
    };
    for mut launch in [launch(), launch()] {
        assert_eq!(launch.end(), End::Code(0));
        let heard = launch.heard();
        for rank in 0..2 {
            let joined = format!("joined {rank} 2 ");
            assert_eq!(heard.matches(&joined).count(), 1, "{heard}");
        }
        assert_eq!(heard.matches("ok barrier").count(), 2, "{heard}");
    }
}

#[test]
fn several_nodes_are_refused_at_once() {
    let mut rank = srun("1", "2", &job_name());
    let message = rank.hear("refused ");
    for part in [
        "srun",
        "several nodes",
        "SLURM_STEP_NUM_NODES=2",
        "cobre-launch -n N",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(rank.end(), End::Code(1));
}

/// The variables of a batch script say rank 0 of all tasks, but `srun` has not started it.
#[test]
fn a_batch_script_is_no_rank() {
    let variables = [
        ("SLURM_JOB_ID", "77"),
        ("SLURM_PROCID", "0"),
        ("SLURM_LOCALID", "0"),
        ("SLURM_NTASKS", "4"),
        ("SLURM_NNODES", "1"),
    ];
    let mut alone = process(&["join", "barrier"], &variables);
    assert!(alone.hear("joined ").starts_with("0 1 "));
    assert_eq!(alone.end(), End::Code(0));
}

#[test]
fn our_own_variables_come_first() {
    let name = job_name();
    let launched = [
        ("OMPI_COMM_WORLD_RANK", "1"),
        ("OMPI_COMM_WORLD_SIZE", "2"),
        ("OMPI_COMM_WORLD_LOCAL_SIZE", "2"),
        ("PMIX_NAMESPACE", name.as_str()),
    ];
    for ours in [
        vec![("COBRE_COMM_BACKEND", "local")],
        vec![
            ("COBRE_SHM_NAME", name.as_str()),
            ("COBRE_SHM_RANK", "0"),
            ("COBRE_SHM_SIZE", "1"),
        ],
    ] {
        let mut alone = process(&["join", "barrier"], &[&launched[..], &ours].concat());
        assert!(alone.hear("joined ").starts_with("0 1 "));
        assert_eq!(alone.end(), End::Code(0));
    }
}

#[test]
fn a_program_that_a_rank_starts_is_told_whose_variables_it_has() {
    let name = job_name();
    let steps = ["join", "barrier", "hear", "child:join", "barrier"];
    let mut ranks = [0, 1].map(|rank| open_mpi(&steps, rank, 2, &name));
    ranks
        .iter_mut()
        .for_each(|rank| drop(rank.hear("ok barrier")));
    for rank in &mut ranks {
        rank.say("go");
        let message = rank.hear("refused ");
        let member = format!("process {}, from which this one descends", rank.pid());
        assert!(message.contains(&member), "{message}");
        assert!(message.contains("COBRE_COMM_BACKEND=local"), "{message}");
    }
    for rank in &mut ranks {
        rank.hear("ok barrier");
        assert_eq!(rank.end(), End::Code(0));
    }
}

/// A script that runs one program after the other does so in one launch.
#[test]
fn what_a_killed_rank_0_left_does_not_stop_the_next_program() {
    let name = job_name();
    let mut killed = open_mpi(&["join"], 0, 2, &name);
    killed.until_joined();
    killed.signal(Signal::SIGKILL);
    assert_eq!(killed.end(), End::Signal(9));
    for _ in 0..2 {
        let mut ranks = [1, 0].map(|rank| open_mpi(&["join", "barrier"], rank, 2, &name));
        ranks.reverse();
        expect_members(&mut ranks);
    }
}
