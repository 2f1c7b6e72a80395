//! Signals, deaths, and what must not stay behind.
#![allow(clippy::print_stderr, clippy::unwrap_used)]

mod common;

use common::{is_gone, launcher, run, signal_launcher, start, start_on_terminal, wait_until_gone};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A rank that says what it gets: its sleeping child is interrupted by each signal.
const LISTENER: &str = "
    trap 'echo got-usr1' USR1; trap 'echo got-int' INT; trap 'echo got-term; exit 5' TERM
    echo ready $$ $COBRE_SHM_LAUNCHER $COBRE_SHM_NAME
    while :; do sleep 1000 & wait; done";

fn word(text: &str, line: usize, word: usize) -> String {
    text.lines()
        .nth(line)
        .unwrap()
        .split_whitespace()
        .nth(word)
        .unwrap()
        .to_owned()
}

#[test]
fn what_is_sent_to_the_launcher_alone_reaches_each_rank_once() {
    let mut running = start(signal_launcher(&["-n", "2", "sh", "-c", LISTENER]));
    running.read_until("ready", 2);
    running.signal(Signal::SIGUSR1);
    running.read_until("got-usr1", 2);
    running.signal(Signal::SIGINT);
    running.read_until("got-int", 2);
    running.signal(Signal::SIGTERM);
    let outcome = running.finish();
    for signal in ["got-usr1", "got-int", "got-term"] {
        assert_eq!(
            outcome.stdout.matches(signal).count(),
            2,
            "{}",
            outcome.stdout
        );
    }
    assert_eq!(outcome.code, 5);
}

/// `kill -- -PGID`.
#[test]
fn what_is_sent_to_the_process_group_reaches_each_rank_once() {
    let listener = format!("trap 'echo got-usr2' USR2; {LISTENER}");
    let mut command = signal_launcher(&["-n", "2", "sh", "-c", &listener]);
    command.process_group(0);
    let mut running = start(command);
    running.read_until("ready", 2);
    let group = Pid::from_raw(-running.pid().as_raw());
    let heard = [(Signal::SIGUSR1, "got-usr1"), (Signal::SIGINT, "got-int")];
    for ((signal, said), before) in heard.into_iter().zip([0, 2]) {
        kill(group, signal).unwrap();
        running.read_until(said, 2);
        // What the launcher passes on it passes on in the order in which it came.
        running.signal(Signal::SIGUSR2);
        let stdout = running.read_until("got-usr2", before + 2);
        assert_eq!(stdout.matches(said).count(), 2, "{stdout}");
    }
    kill(group, Signal::SIGTERM).unwrap();
    assert_eq!(running.finish().code, 5);
}

/// Without it the launcher passes on whatever comes.
#[test]
fn a_killed_witness_harms_nobody() {
    let mut running = start(signal_launcher(&["-n", "2", "sh", "-c", LISTENER]));
    running.read_until("ready", 2);
    let pid = running.pid();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let is_witness = |child: &&str| {
        let name = std::fs::read_to_string(format!("/proc/{child}/comm"));
        name.is_ok_and(|name| name == "cobre-witness\n")
    };
    let witness = children.split_whitespace().find(is_witness).unwrap();
    kill(Pid::from_raw(witness.parse().unwrap()), Signal::SIGKILL).unwrap();
    wait_until_gone(witness);
    running.signal(Signal::SIGUSR1);
    running.read_until("got-usr1", 2);
    running.signal(Signal::SIGTERM);
    let outcome = running.finish();
    assert_eq!(outcome.stdout.matches("got-usr1").count(), 2);
    assert_eq!(outcome.code, 5, "{}", outcome.stderr);
}

#[test]
fn ctrl_c_on_a_terminal_reaches_each_rank_once() {
    let arguments = format!("-n 2 sh -c '{}'", LISTENER.replace('\'', r"'\''"));
    let Some(mut running) = start_on_terminal(&arguments, "INT,QUIT") else {
        return;
    };
    let text = running.read_until("/cobre-", 2);
    let ready = text
        .lines()
        .position(|line| line.starts_with("ready"))
        .unwrap();
    let launcher = word(&text, ready, 2).parse().unwrap();
    running.write("\u{3}");
    running.read_until("got-int", 2);
    kill(Pid::from_raw(launcher), Signal::SIGTERM).unwrap();
    running.read_until("got-term", 2);
    let outcome = running.finish();
    // The terminal shows the launcher's last words too.
    let (relayed, _) = outcome.stdout.split_once("cobre-launch: ").unwrap();
    assert_eq!(relayed.matches("got-int").count(), 2, "{relayed}");
    assert_eq!(outcome.code, 5);
}

#[test]
fn a_terminal_that_hangs_up_ends_a_launcher_that_leads_its_session() {
    let arguments = "-n 2 sh -c 'echo ready $$; exec sleep 1000'";
    let Some(mut running) = start_on_terminal(arguments, "HUP") else {
        return;
    };
    let text = running.read_until("\n", 2);
    // `script` holds the terminal; with it the terminal is gone.
    running.signal(Signal::SIGKILL);
    for line in 0..2 {
        wait_until_gone(&word(&text, line, 1));
    }
    while running.runs() {
        std::thread::yield_now();
    }
}

#[test]
fn a_second_sigint_kills_at_once() {
    let script = "trap '' INT TERM; echo ready; while :; do sleep 1000; done";
    let mut running = start(signal_launcher(&["-n", "2", "sh", "-c", script]));
    running.read_until("ready", 2);
    // Two within a few milliseconds count as one, as a program that signals a process and then its
    // group sends them.
    while running.runs() {
        let _ = kill(running.pid(), Signal::SIGINT);
        std::thread::sleep(Duration::from_millis(15));
    }
    let outcome = running.finish();
    assert_eq!(outcome.code, 130);
    assert_eq!(
        outcome.stderr,
        "cobre-launch: the job was killed by a second SIGINT\n"
    );
}

#[test]
fn ranks_that_die_of_a_forwarded_signal_make_it_the_outcome() {
    let mut running = start(signal_launcher(&[
        "-n",
        "2",
        "sh",
        "-c",
        "echo ready; exec sleep 1000",
    ]));
    running.read_until("ready", 2);
    running.signal(Signal::SIGHUP);
    let outcome = running.finish();
    assert_eq!(outcome.code, 129);
    assert_eq!(
        outcome.stderr,
        "cobre-launch: the job was ended by SIGHUP; exit code 129\n"
    );
}

#[test]
fn an_ignored_signal_stays_ignored() {
    let mut command = Command::new("env");
    command.args([
        "--ignore-signal=HUP",
        env!("CARGO_BIN_EXE_cobre-launch"),
        "-n",
        "1",
    ]);
    command.args(["sh", "-c", "echo ready; read x; echo done"]);
    let mut running = start(command);
    running.read_until("ready", 1);
    running.signal(Signal::SIGHUP);
    running.write("go\n");
    let outcome = running.finish();
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (0, "ready\ndone\n")
    );
}

#[test]
fn a_rank_killed_from_outside_is_named() {
    let mut running = start(launcher(&[
        "-n",
        "3",
        "sh",
        "-c",
        "echo $COBRE_SHM_RANK $$; exec sleep 1000",
    ]));
    let text = running.read_until("\n", 3);
    let victim = text
        .lines()
        .find_map(|line| line.strip_prefix("1 "))
        .unwrap();
    kill(Pid::from_raw(victim.parse().unwrap()), Signal::SIGSEGV).unwrap();
    let outcome = running.finish();
    assert_eq!(outcome.code, 139);
    let first = format!("cobre-launch: rank 1 (pid {victim}) was killed by SIGSEGV (signal 11)\n");
    assert!(outcome.stderr.starts_with(&first), "{}", outcome.stderr);
}

#[test]
fn what_ranks_started_is_gone_also_from_sessions_of_its_own() {
    let script =
        "setsid sh -c 'echo $$; sleep 1000 & echo $!; exec sleep 1000' & sleep 1000 & echo $!
        read x; exit 0";
    let mut running = start(launcher(&["-n", "1", "sh", "-c", script]));
    let text = running.read_until("\n", 3);
    let outcome = running.finish();
    assert_eq!(outcome.code, 0);
    for pid in text.lines() {
        assert!(is_gone(pid), "{pid} of {text}");
    }
}

#[test]
fn the_segment_is_there_for_the_ranks_and_gone_with_them() {
    let script = "echo $COBRE_SHM_NAME; read x; [ $COBRE_SHM_RANK = 0 ] || kill -9 $$";
    let mut running = start(launcher(&["-n", "2", "--stdin", "all", "sh", "-c", script]));
    let text = running.read_until("\n", 2);
    let segment = format!("/dev/shm{}", word(&text, 0, 0));
    assert!(Path::new(&segment).exists());
    assert_eq!(running.finish().code, 137);
    assert!(!Path::new(&segment).exists());
}

#[test]
fn ranks_get_signals_unblocked_and_the_limits_that_the_launcher_had() {
    let script = "grep SigBlk /proc/self/status; ulimit -n; ulimit -Hn";
    let outside = Command::new("sh")
        .args(["-c", script])
        .output()
        .unwrap()
        .stdout;
    let outcome = run(&["-n", "1", "sh", "-c", script]);
    assert_eq!(outcome.stdout.as_bytes(), outside);
}

/// The state of a process, as `ps` shows it.
fn state(pid: &str) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    rest.chars().next().unwrap()
}

fn wait_for_state(pid: &str, wanted: impl Fn(char) -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !wanted(state(pid)) {
        assert!(
            std::time::Instant::now() < deadline,
            "{pid} is {}",
            state(pid)
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whoever has ended by then has not been late, also if the guard has not told yet.
#[test]
fn a_limit_that_passes_when_all_have_ended_is_no_failure() {
    let limit = Duration::from_secs(2);
    let script = "echo $$ $PPID; read x";
    let args = ["-n", "1", "--timeout", "2s", "sh", "-c", script];
    let mut running = start(launcher(&args));
    let begin = std::time::Instant::now();
    let text = running.read_until("\n", 1);
    let guard = word(&text, 0, 1);
    let to_guard = |signal| kill(Pid::from_raw(guard.parse().unwrap()), signal).unwrap();
    to_guard(Signal::SIGSTOP);
    wait_for_state(&guard, |state| state == 'T');
    running.write("go\n");
    wait_until_gone(&word(&text, 0, 0));
    // And a little longer, for the launcher to see it.
    while begin.elapsed() < limit + Duration::from_millis(100) {
        std::thread::sleep(Duration::from_millis(10));
    }
    to_guard(Signal::SIGCONT);
    let outcome = running.finish();
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
}

#[test]
fn a_job_stops_with_its_launcher_and_goes_on_with_it() {
    let script = "trap 'echo went-on' CONT; echo ready $$; while :; do sleep 0.01; done";
    let mut command = signal_launcher(&["-n", "2", "sh", "-c", script]);
    // A process group that somebody could continue: in others SIGTSTP stops nobody.
    command.process_group(0);
    let mut running = start(command);
    let text = running.read_until("\n", 2);
    let mut pids = vec![running.pid().to_string()];
    pids.extend((0..2).map(|line| word(&text, line, 1)));
    for times in 1..=2 {
        running.signal(Signal::SIGTSTP);
        for pid in &pids {
            wait_for_state(pid, |state| state == 'T');
        }
        running.signal(Signal::SIGCONT);
        for pid in &pids {
            wait_for_state(pid, |state| state != 'T');
        }
        running.read_until("went-on", 2 * times);
    }
    running.signal(Signal::SIGTERM);
    let outcome = running.finish();
    assert_eq!(outcome.code, 143);
    assert_eq!(
        outcome.stdout.matches("went-on").count(),
        4,
        "{}",
        outcome.stdout
    );
}
