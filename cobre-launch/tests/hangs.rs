//! Jobs that do not get on: who is where, and who is missing; and what the last words and the
//! report say of everybody.
//!
//! The ranks are this program again: its test `rank` does nothing unless it is told a role.
#![allow(clippy::print_stderr, clippy::print_stdout, clippy::unwrap_used)]

mod common;

use cobre_comm_trait::{Communicator, ReduceOp, SharedMemoryProvider};
use common::{Folder, Running, join, launcher, rank_of, signal_launcher, start, within};
use nix::sys::signal::{Signal, raise};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const ROLES: &[(&str, fn())] = &[
    ("rank_2_does_not_come", rank_2_does_not_come),
    ("rank_1_is_killed_on_a_line", rank_1_is_killed_on_a_line),
    ("everybody_computes", everybody_computes),
    ("rank_1_comes_when_it_is_told", rank_1_comes_when_it_is_told),
    ("rank_1_is_stopped", rank_1_is_stopped),
    (
        "ranks_wait_in_two_communicators",
        ranks_wait_in_two_communicators,
    ),
    ("fails_twice", fails_twice),
];

#[test]
fn rank() {
    common::play(ROLES);
}

fn job(ranks: &str, role: &str, options: &[&str]) -> Running {
    start(signal_launcher(&rank_of(role, ranks, options)))
}

/// Rank 2 computes for ever; the others wait for it.
fn rank_2_does_not_come() {
    let comm = join();
    if comm.rank() == 2 {
        println!("\nready");
        loop {
            std::thread::park();
        }
    }
    println!("\nwaits as {}", std::process::id());
    let mut sum = [0.0; 3];
    let _ = comm.allreduce(&[1.0; 3], &mut sum, ReduceOp::Sum);
}

/// Waits for what no handshake can tell: that a thread of a rank sleeps in its collective, not only
/// in its test harness.
fn until_asleep_on_a_futex(pid: &str) {
    let asleep = || {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        tasks.flatten().all(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            let state = stat
                .rsplit_once(") ")
                .map(|(_, rest)| rest.starts_with('S'));
            state.unwrap_or(true)
        })
    };
    // Many times in a row: it may sleep for another reason in passing.
    let mut times = 0;
    while times < 100 {
        times = if asleep() { times + 1 } else { 0 };
        std::thread::sleep(std::time::Duration::from_micros(100));
    }
}

/// What is said of the three ranks that wait, however long they have.
fn says_who_waits(stderr: &str) {
    let words: Vec<&str> = stderr.split_whitespace().collect();
    let text = words.join(" ");
    for part in [
        "ranks 0-1, 3 in operation 2: allreduce(f64[3], Sum) at ",
        "tests/hangs.rs:",
        " for rank 2",
        "rank 2 computing after operation 1: barrier()",
        "missing: rank 2",
    ] {
        assert!(text.contains(part), "{part} in {stderr}");
    }
    // No terminal: a line for each group, so that it can be searched.
    let shown = stderr
        .lines()
        .filter(|line| line.contains("allreduce(f64[3], Sum) at "));
    assert!(
        shown.clone().count() > 0 && shown.clone().all(|line| line.contains(" for rank 2")),
        "{stderr}"
    );
}

#[test]
fn a_hang_is_ended_and_says_who_is_missing() {
    let outcome = job("4", "rank_2_does_not_come", &["--hang-after", "1s"]).finish();
    assert_eq!(outcome.code, 123, "{}", outcome.stderr);
    assert!(
        outcome
            .stderr
            .starts_with("cobre-launch: no rank made progress for 1s (--hang-after)\n"),
        "{}",
        outcome.stderr
    );
    says_who_waits(&outcome.stderr);
}

/// Ranks 0 and 2 wait for rank 1 in a communicator split from the job's, rank 1 for them in the
/// job's.
fn ranks_wait_in_two_communicators() {
    let comm = join();
    let split = comm.split_local().unwrap();
    let _ = match comm.rank() {
        1 => comm.barrier(),
        _ => split.broadcast(&mut [0_u8; 5], 1),
    };
}

#[test]
fn a_hang_across_communicators_is_one_and_says_who_waits_in_which() {
    let outcome = job(
        "3",
        "ranks_wait_in_two_communicators",
        &["--hang-after", "1s"],
    )
    .finish();
    assert_eq!(outcome.code, 123, "{}", outcome.stderr);
    let words: Vec<&str> = outcome.stderr.split_whitespace().collect();
    let text = words.join(" ");
    for part in [
        "ranks 0, 2 in operation 1: broadcast(u8[5], root 1) at ",
        " of split communicator 1 (3 ranks), waiting ",
        " for rank 1",
        "rank 1 in operation 3: barrier() at ",
        " for rank 2",
        "the ranks wait for each other",
    ] {
        assert!(text.contains(part), "{part} in {}", outcome.stderr);
    }
}

#[test]
fn sigquit_says_who_is_where_before_it_ends_them() {
    let mut job = job("4", "rank_2_does_not_come", &[]);
    job.read_until("ready", 1);
    // Until those that wait sleep, nobody is missing.
    for line in job.read_until("waits as ", 3).lines() {
        if let Some(pid) = line.strip_prefix("waits as ") {
            until_asleep_on_a_futex(pid);
        }
    }
    job.signal(Signal::SIGQUIT);
    let outcome = job.finish();
    assert_eq!(outcome.code, 131, "{}", outcome.stderr);
    assert!(
        outcome.stderr.starts_with("cobre-launch: SIGQUIT "),
        "{}",
        outcome.stderr
    );
    says_who_waits(&outcome.stderr);
    let last = "cobre-launch: the job was ended by SIGQUIT; exit code 131\n";
    assert!(outcome.stderr.ends_with(last), "{}", outcome.stderr);
}

/// Rank 1 is stopped; rank 0 waits for it.
fn rank_1_is_stopped() {
    let comm = join();
    if comm.rank() == 1 {
        raise(Signal::SIGSTOP).unwrap();
    }
    let _ = comm.barrier();
}

#[test]
fn a_stopped_rank_is_called_stopped() {
    let outcome = job("2", "rank_1_is_stopped", &["--hang-after", "1s"]).finish();
    assert_eq!(outcome.code, 123, "{}", outcome.stderr);
    for part in [
        "\n    rank 1 stopped (SIGCONT resumes it), computing after operation 1: barrier() at ",
        "\n  missing: rank 1\n  rank 1 is stopped (SIGCONT resumes it)\n",
    ] {
        assert!(
            outcome.stderr.contains(part),
            "{part} in {}",
            outcome.stderr
        );
    }
}

fn everybody_computes() {
    let comm = join();
    let begin = std::time::Instant::now();
    while begin.elapsed() < std::time::Duration::from_millis(500) {
        std::hint::spin_loop();
    }
    comm.barrier().unwrap();
}

#[test]
fn ranks_that_compute_do_not_hang() {
    let outcome = job("1", "everybody_computes", &["--hang-after", "100ms"]).finish();
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
}

fn rank_1_comes_when_it_is_told() {
    let comm = join();
    if comm.rank() == 0 {
        println!("\nwaits as {}", std::process::id());
    } else {
        std::io::stdin().read_line(&mut String::new()).unwrap();
    }
    comm.barrier().unwrap();
}

/// A group of processes that can be frozen, as containers are paused; none where that takes more
/// rights.
struct Freezer {
    folder: PathBuf,
    /// What to write into which file.
    freeze: [&'static str; 3],
}

impl Freezer {
    fn new() -> Option<Self> {
        let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let unified = own.lines().find_map(|line| line.strip_prefix("0::/"));
        let name = format!("cobre-test-{}", std::process::id());
        let first = Path::new("/sys/fs/cgroup/freezer").join(&name);
        let second = Path::new("/sys/fs/cgroup")
            .join(unified.unwrap_or(""))
            .join(&name);
        let make = |folder: PathBuf, freeze: [&'static str; 3]| {
            std::fs::create_dir(&folder).ok()?;
            let freezer = Self { folder, freeze };
            freezer.folder.join(freeze[0]).exists().then_some(freezer)
        };
        make(first, ["freezer.state", "FROZEN", "THAWED"])
            .or_else(|| make(second, ["cgroup.freeze", "1", "0"]))
    }

    /// The same command, in this group.
    fn inside(&self, command: &std::process::Command) -> std::process::Command {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "echo $$ >$0; exec \"$@\""]);
        shell.arg(self.folder.join("cgroup.procs"));
        shell.arg(command.get_program()).args(command.get_args());
        shell
    }

    fn set(&self, frozen: bool) {
        let [file, yes, no] = self.freeze;
        std::fs::write(self.folder.join(file), if frozen { yes } else { no }).unwrap();
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let [file, _, no] = self.freeze;
        let _ = std::fs::write(self.folder.join(file), no);
        // As soon as the last process has left it.
        for _ in 0..1000 {
            if std::fs::remove_dir(&self.folder).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn a_job_that_was_frozen_has_not_hung() {
    let limit = Duration::from_secs(2);
    if Freezer::new().is_none() {
        eprintln!("SKIPPED: no group of processes can be frozen here");
        return;
    }
    let outcome = within(limit, || {
        let freezer = Freezer::new().unwrap();
        let options = ["--stdin", "all", "--hang-after", "2s"];
        let words = rank_of("rank_1_comes_when_it_is_told", "2", &options);
        let mut running = start(freezer.inside(&launcher(&words)));
        let begin = Instant::now();
        let text = running.read_until("waits as ", 1);
        let pid = text.lines().find_map(|line| line.strip_prefix("waits as "));
        until_asleep_on_a_futex(pid.unwrap());
        // The launcher looks, before and after: its ticks are a twentieth of the limit.
        std::thread::sleep(limit / 8);
        freezer.set(true);
        let before = begin.elapsed();
        // Less would show nothing.
        std::thread::sleep(limit + Duration::from_millis(500));
        let again = Instant::now();
        freezer.set(false);
        std::thread::sleep(limit / 8);
        running.write("go\n");
        let outcome = running.finish();
        (before + again.elapsed(), outcome)
    });
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
}

fn rank_1_is_killed_on_a_line() {
    let comm = join();
    if comm.rank() == 1 {
        eprint_line("about to die");
        raise(Signal::SIGKILL).unwrap();
    }
    let mut sum = [0];
    let _ = comm.allreduce(&[1], &mut sum, ReduceOp::Sum);
}

#[allow(clippy::print_stderr)]
fn eprint_line(line: &str) {
    eprintln!("{line}");
}

#[test]
fn the_report_has_what_the_last_words_have() {
    let folder = Folder::new();
    let file = folder.file("report.json");
    let outcome = job("3", "rank_1_is_killed_on_a_line", &["--report", &file]).finish();
    assert_eq!(outcome.code, 137);
    let told = outcome.stderr_without_pids();
    let told: Vec<&str> = told.split_whitespace().collect();
    let told = told.join(" ");
    for part in [
        "rank 1 (pid PID) was killed by SIGKILL (signal 9)",
        "its last lines on stderr: | about to die",
        "it was: rank 1 computing after operation 1: barrier()",
    ] {
        assert!(told.contains(part), "{part} in {}", outcome.stderr);
    }
    let text = std::fs::read_to_string(&file).unwrap();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["exit_code"], 137);
    assert_eq!(report["reason"], "failure");
    assert_eq!(report["attempt"], 0);
    assert_eq!(report["first_cause"]["rank"], 1);
    assert_eq!(report["first_cause"]["last_lines"][0], "about to die");
    assert_eq!(report["ranks"].as_array().unwrap().len(), 3);
    assert_eq!(report["ranks"][1]["signal"], "SIGKILL");
    assert_eq!(report["ranks"][1]["doing"]["what"], "computing");
    assert_eq!(report["ranks"][1]["doing"]["operation"]["name"], "barrier");
    assert_eq!(report["command"][1], "-n");
    assert!(report["job"].as_str().unwrap().starts_with("/cobre-"));
    let time = |name: &str| report[name].as_str().unwrap().to_owned();
    assert!(time("started") <= time("failed") && time("failed") <= time("ended"));
    for rank in report["ranks"].as_array().unwrap() {
        // A process needs some memory to begin with, and none of these much more.
        let peak = rank["peak_memory_bytes"].as_u64().unwrap();
        assert!((100 << 10..1 << 30).contains(&peak), "{peak}");
        let cpu = rank["cpu_user_seconds"].as_f64().unwrap()
            + rank["cpu_system_seconds"].as_f64().unwrap();
        assert!((0.0..1000.0).contains(&cpu), "{cpu}");
        assert!(rank["program"].as_str().unwrap().contains("hangs"));
    }
}

#[test]
fn a_report_says_why_a_job_did_not_start() {
    let folder = Folder::new();
    let file = folder.file("report.json");
    let report = |args: &[&str]| -> serde_json::Value {
        let options = ["--report", &file];
        common::run(&[&options[..], args].concat());
        serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap()
    };
    // The kernel finds out that nothing can execute it.
    let script = folder.file("script");
    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).unwrap();
    let refused = report(&["-n", "1", &script]);
    assert_eq!(refused["exit_code"], 126);
    let summary = refused["summary"].as_str().unwrap();
    assert!(summary.starts_with("rank 0 cannot execute"), "{summary}");
    assert_eq!(report(&["true"])["summary"], serde_json::Value::Null);
    // Whatever is wrong before that: the report of an earlier job never stays.
    for (code, part, args) in [
        (127, "`no-such-program` not found", &["no-such-program"][..]),
        (
            2,
            "add --bind-to core",
            &["-n", "1", "--map-by", "core", "true"],
        ),
        (2, "--env NOT_SET_HERE", &["--env", "NOT_SET_HERE", "true"]),
        (
            1,
            "--output-dir: cannot create",
            &["--output-dir", "/dev/null/x", "true"],
        ),
        (
            1,
            "--trace: cannot create",
            &["--trace", "/dev/null/x", "true"],
        ),
    ] {
        let refused = report(args);
        assert_eq!(refused["exit_code"], code, "{refused}");
        let summary = refused["summary"].as_str().unwrap();
        assert!(summary.contains(part), "{summary}");
    }
    // Nothing is created, and nothing replaced.
    assert_eq!(report(&["--dry-run", "true"])["exit_code"], 1);
}

#[test]
fn the_report_has_the_exit_code_of_the_launcher() {
    let folder = Folder::new();
    let file = folder.file("report.json");
    // The job succeeds, but nobody gets its trace.
    let options = ["-n", "1", "--report", &file, "--trace", "/dev/full"];
    let outcome = common::run(&[&options[..], &["true"]].concat());
    assert_eq!(outcome.code, 1, "{}", outcome.stderr);
    let text = std::fs::read_to_string(&file).unwrap();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["exit_code"], 1);
    assert_eq!(
        report["summary"],
        "the profile or the trace could not be written"
    );
}

/// Rank 1 is killed in the first two attempts.
fn fails_twice() {
    let attempt = std::env::var("COBRE_LAUNCH_ATTEMPT").unwrap();
    let comm = join();
    if comm.rank() == 0 {
        println!("\nattempt {attempt}");
    }
    comm.barrier().unwrap();
    if comm.rank() == 1 && attempt != "2" {
        raise(Signal::SIGKILL).unwrap();
    }
    let _ = comm.barrier();
}

#[test]
fn a_job_that_fails_is_started_again() {
    let folder = Folder::new();
    let file = folder.file("report.json");
    let options = ["--max-restarts", "3", "--report", &file];
    let outcome = job("2", "fails_twice", &options).finish();
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let attempts: Vec<&str> = outcome
        .stdout
        .lines()
        .filter(|line| line.starts_with("attempt "))
        .collect();
    assert_eq!(attempts, ["attempt 0", "attempt 1", "attempt 2"]);
    for restart in ["restart 1 of at most 3", "restart 2 of at most 3"] {
        let line = format!("cobre-launch: starting the job again: {restart}\n");
        assert!(outcome.stderr.contains(&line), "{}", outcome.stderr);
    }
    let text = std::fs::read_to_string(&file).unwrap();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&report["attempt"], &report["exit_code"]),
        (&2.into(), &0.into())
    );
    let earlier = report["earlier_attempts"].as_array().unwrap();
    let earlier: Vec<_> = earlier
        .iter()
        .map(|attempt| {
            (
                &attempt["attempt"],
                &attempt["first_cause"]["rank"],
                &attempt["exit_code"],
            )
        })
        .collect();
    let killed = |attempt| (attempt, 1.into(), 137.into());
    let expected: [(serde_json::Value, serde_json::Value, serde_json::Value); 2] =
        [killed(0.into()), killed(1.into())];
    assert_eq!(
        earlier,
        expected
            .iter()
            .map(|(a, b, c)| (a, b, c))
            .collect::<Vec<_>>()
    );
}

#[test]
fn a_job_is_started_again_only_so_often() {
    let outcome = job("2", "fails_twice", &["--max-restarts", "1"]).finish();
    assert_eq!(outcome.code, 137);
    assert_eq!(outcome.stderr.matches("starting the job again").count(), 1);
}

#[test]
fn a_job_that_the_user_ends_is_not_started_again() {
    let args = [
        "-n",
        "2",
        "--max-restarts",
        "3",
        "sh",
        "-c",
        "echo ready; exec sleep 1000",
    ];
    let mut running = start(signal_launcher(&args));
    running.read_until("ready", 2);
    running.signal(Signal::SIGTERM);
    let outcome = running.finish();
    assert_eq!(outcome.code, 143);
    assert_eq!(
        outcome.stderr,
        "cobre-launch: the job was ended by SIGTERM; exit code 143\n"
    );
}
