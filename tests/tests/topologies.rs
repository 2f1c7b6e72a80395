//! Where the launcher puts ranks on machines that are not here, and what it draws of them.
//!
//! Each machine is known three times: as the tables of `cobre_tests::known`, as hwloc describes it
//! (feature `numa`), and as the kernel would under `/sys/devices`, which is what the launcher is given.
#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::fs;
use std::path::Path;
use std::process::Command;

use cobre_shm::topology::{CpuList, Surroundings};
use cobre_tests::{End, Known, Process, Recorded, known, run};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// What is asked for on every machine.
const REQUESTS: [&[&str]; 10] = [
    &["-n", "2"],
    &["-n", "3", "--bind-to", "core"],
    &["-n", "4", "--bind-to", "core", "--map-by", "numa"],
    &["-n", "4", "--bind-to", "l3"],
    &["-n", "4", "--bind-to", "numa"],
    &["-n", "3", "--bind-to", "numa", "--map-by", "core"],
    &["-n", "5", "--bind-to", "package"],
    &["-n", "2", "--bind-to", "core", "--cpus-per-rank", "2"],
    &[
        "-n",
        "4",
        "--bind-to",
        "core",
        "--cpus-per-rank",
        "12",
        "--map-by",
        "package",
    ],
    &["-n", "49", "--bind-to", "core"],
];

/// What the launcher says to it: the threads of each rank and the picture, or why it cannot be.
fn asked(machine: &Path, request: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_launch"));
    command.args(["--dry-run", "--report-bindings", "--machine"]);
    command.arg(machine).args(request).arg("true");
    command.env_remove("RAYON_NUM_THREADS");
    command.env_remove("OMP_NUM_THREADS");
    let (code, said, complained) = run(&mut command);
    let mut text = format!("$ cobre-launch {}\n", request.join(" "));
    if code != 0 {
        return text + complained.lines().next().unwrap_or_default() + "\n\n";
    }
    let threads = |line: &str| {
        let (_, after) = line.split_once("RAYON_NUM_THREADS=")?;
        after.split_whitespace().next().map(str::to_owned)
    };
    let threads: Vec<String> = said.lines().filter_map(threads).collect();
    text += &format!("threads of each rank: {}\n", threads.join(" "));
    text + &said[said.find("package 0").unwrap()..] + "\n"
}

fn golden(name: &str) -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies");
    folder.join(format!("{name}.txt"))
}

/// After a change that is meant: `UPDATE_PICTURES=1 cargo test -p cobre-tests --test topologies`.
#[test]
fn every_request_on_every_machine_is_answered_as_before() {
    for Known {
        name, surroundings, ..
    } in known()
    {
        let machine = Recorded::of(name, &surroundings);
        let said: String = REQUESTS
            .iter()
            .map(|request| asked(machine.path(), request))
            .collect();
        let said = said.trim_end().to_owned() + "\n";
        if std::env::var_os("UPDATE_PICTURES").is_some() {
            fs::write(golden(name), &said).unwrap();
        }
        let expected = fs::read_to_string(golden(name)).unwrap_or_default();
        assert!(
            said == expected,
            "{name}: instead of\n{expected}\nit is\n{said}"
        );
    }
}

#[test]
fn the_kernels_description_is_read_as_the_machine_it_is() {
    for Known {
        name, surroundings, ..
    } in known()
    {
        let machine = Recorded::of(&format!("{name}-read"), &surroundings);
        assert_eq!(
            Surroundings::recorded(machine.path()).unwrap(),
            surroundings,
            "{name}"
        );
    }
}

#[cfg(feature = "numa")]
#[test]
fn hwloc_describes_the_same_machines() {
    for machine in known() {
        let described = cobre_tests::described(machine.hwloc);
        assert_eq!(described, machine.surroundings, "{}", machine.name);
    }
}

#[test]
fn the_inspector_draws_them_too() {
    let inspect = |arguments: &[&str], machine: &Path| {
        let mut inspect = Command::new(env!("CARGO_BIN_EXE_inspect"));
        inspect.arg("topology").args(arguments);
        let (code, said, complained) = run(inspect.arg("--machine").arg(machine));
        assert_eq!((code, complained.as_str()), (0, ""));
        said
    };
    let all = known();
    let laptop = all.iter().find(|known| known.name == "laptop").unwrap();
    let machine = Recorded::of("inspected", &laptop.surroundings);
    assert_eq!(
        inspect(&[], machine.path()),
        "1 package, 1 NUMA node, 1 last-level cache, 6 cores, 8 processors\nnode 0: 17.2 GB\n\
         package 0\n  node 0  L3 0  |.|.|.e|.e|.e|.e|\n\
         a cell is a core with its ranks; . free, x bound by another job, - not ours, e built for \
         efficiency\n"
    );
    let data: serde_json::Value =
        serde_json::from_str(&inspect(&["--json"], machine.path())).unwrap();
    assert_eq!(data["processors"].as_array().unwrap().len(), 8);
    assert_eq!(data["processors"][5]["efficient"], true);
    assert_eq!(data["nodes"][0]["memory"], 16_u64 << 30);
}

#[test]
fn the_inspector_marks_where_the_ranks_of_a_job_may_run() {
    let rank = env!("CARGO_BIN_EXE_scripted-rank");
    let mut command = Command::new(env!("CARGO_BIN_EXE_launch"));
    command.args(["-n", "1", rank, "name", "join", "hear", "barrier"]);
    command.args([":", "-n", "1", rank, "join", "barrier"]);
    let mut launcher = Process::start("the launcher", &mut command);
    let name = launcher.hear("name ");
    let second = loop {
        // RANK SIZE PID.
        let joined = launcher.hear("joined ");
        if let Some(pid) = joined.strip_prefix("1 2 ") {
            break pid.parse::<i32>().unwrap();
        }
    };
    let topology = |arguments: &[&str]| {
        let mut inspect = Command::new(env!("CARGO_BIN_EXE_inspect"));
        let (code, said, complained) = run(inspect.args(["topology", &name]).args(arguments));
        assert_eq!((code, complained.as_str()), (0, ""));
        said
    };
    let said = topology(&[]);
    assert!(
        said.ends_with(&format!("job {name}: ranks 0-1 may run on all of it\n")),
        "{said}"
    );
    // Somebody binds the second rank.
    let all = CpuList::of_process(std::process::id()).unwrap();
    let first = all.iter().next().unwrap();
    let mut one = CpuSet::new();
    one.set(first).unwrap();
    sched_setaffinity(Pid::from_raw(second), &one).unwrap();
    let data: serde_json::Value = serde_json::from_str(&topology(&["--json"])).unwrap();
    assert_eq!(data["job"], name);
    assert_eq!(data["ranks"][0]["processors"], all.to_string());
    assert_eq!(data["ranks"][1]["processors"], first.to_string());
    if all.len() > 1 {
        let said = topology(&[]);
        assert!(
            said.contains(&format!("rank 1: processors {first}\n")),
            "{said}"
        );
        assert!(said.contains("|1|"), "{said}");
        assert!(
            said.ends_with(&format!("job {name}: rank 0 may run on all of it\n")),
            "{said}"
        );
    }
    launcher.say("go on");
    assert_eq!(launcher.end(), End::Code(0), "{}", launcher.heard());
}
