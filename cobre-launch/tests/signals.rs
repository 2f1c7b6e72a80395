//! Signals, deaths, and what must not stay behind.
#![allow(clippy::print_stderr, clippy::unwrap_used)]

mod common;

use common::{
    Folder, child_named, is_gone, launcher, run, signal_launcher, start, start_line_on_terminal,
    start_on_terminal, wait_for_state, wait_for_text, wait_until_gone, within,
};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::cell::Cell;
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

/// On a busy machine it may not run for longer than the launcher holds a signal back.
#[test]
fn a_witness_that_is_late_is_waited_for() {
    let listener = format!("trap 'echo got-usr2' USR2; {LISTENER}");
    let mut command = signal_launcher(&["-n", "2", "sh", "-c", &listener]);
    command.process_group(0);
    let mut running = start(command);
    running.read_until("ready", 2);
    let witness = child_named(running.pid(), "cobre-witness").unwrap();
    let traced = Pid::from_raw(witness.parse().unwrap());
    // The launcher would continue it after a SIGSTOP.
    if ptrace::seize(traced, ptrace::Options::empty()).is_err() {
        eprintln!("SKIPPED: no process may be traced here");
        return;
    }
    ptrace::interrupt(traced).unwrap();
    wait_for_state(&witness, |state| state == 't');
    kill(Pid::from_raw(-running.pid().as_raw()), Signal::SIGUSR1).unwrap();
    running.read_until("got-usr1", 2);
    // Ten times as long.
    std::thread::sleep(Duration::from_millis(100));
    ptrace::detach(traced, None).unwrap();
    // What the launcher passes on it passes on in the order in which it came.
    running.signal(Signal::SIGUSR2);
    let stdout = running.read_until("got-usr2", 2);
    assert_eq!(stdout.matches("got-usr1").count(), 2, "{stdout}");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.finish().code, 5);
}

/// The launcher's guard exists, so its signals are taken; whether its ranks do is left to chance.
fn starting(args: &[&str]) -> common::Running {
    let mut command = signal_launcher(args);
    command.process_group(0);
    let mut running = start(command);
    while child_named(running.pid(), "cobre-guard").is_none() {
        assert!(running.runs(), "{:?}", running.finish());
        std::thread::yield_now();
    }
    running
}

fn spin_for(time: Duration) {
    let begin = std::time::Instant::now();
    while begin.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Ranks that sleep for ever: whatever is lost makes the test hang.
#[test]
fn no_signal_is_lost_while_the_ranks_are_started() {
    let to_launcher = |pid: Pid, signal| kill(pid, signal).unwrap();
    let to_group = |pid: Pid, signal| kill(Pid::from_raw(-pid.as_raw()), signal).unwrap();
    let to_both = |pid: Pid, signal| {
        to_launcher(pid, signal);
        to_group(pid, signal);
    };
    let ways: [&dyn Fn(Pid, Signal); 3] = [&to_launcher, &to_group, &to_both];
    let signals = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGUSR1];
    for offset in 0..20_u32 {
        for way in ways {
            for signal in signals {
                let running = starting(&["-n", "4", "sleep", "1000"]);
                spin_for(offset * Duration::from_micros(200));
                way(running.pid(), signal);
                let outcome = running.finish();
                let expected = 128 + signal as i32;
                assert_eq!(outcome.code, expected, "{offset} {}", outcome.stderr);
            }
        }
    }
}

/// The signal comes between two attempts, or while the ranks of the second are started.
#[test]
fn no_signal_is_lost_when_a_job_is_started_again() {
    let script = "[ $COBRE_LAUNCH_ATTEMPT = 1 ] || exit 3; exec sleep 1000";
    for offset in 0..20_u32 {
        let args = ["-n", "2", "--max-restarts", "1", "sh", "-c", script];
        let mut command = signal_launcher(&args);
        command.process_group(0);
        let mut running = start(command);
        running.read_stderr_until("starting the job again", 1);
        spin_for(offset * Duration::from_micros(200));
        kill(Pid::from_raw(-running.pid().as_raw()), Signal::SIGINT).unwrap();
        let outcome = running.finish();
        // Or it came before the first attempt was over, and there is no second.
        let ended = [130, 3].contains(&outcome.code);
        assert!(ended, "{offset} {} {}", outcome.code, outcome.stderr);
    }
}

/// Stopped at any moment, some of its ranks before they run their program, a job goes on to its
/// end.
#[test]
fn a_job_that_is_stopped_while_it_starts_goes_on() {
    for offset in 0..20_u32 {
        let mut running = starting(&["-n", "4", "--stdin", "all", "sh", "-c", "read x; echo done"]);
        spin_for(offset * Duration::from_micros(200));
        let group = Pid::from_raw(-running.pid().as_raw());
        kill(group, Signal::SIGTSTP).unwrap();
        wait_for_state(&running.pid().to_string(), |state| state == 'T');
        kill(group, Signal::SIGCONT).unwrap();
        running.write("go\n");
        let outcome = running.finish();
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
        assert_eq!(
            outcome.stdout.matches("done").count(),
            4,
            "{}",
            outcome.stdout
        );
    }
}

/// Without it the launcher passes on whatever comes.
#[test]
fn a_killed_witness_harms_nobody() {
    let mut running = start(signal_launcher(&["-n", "2", "sh", "-c", LISTENER]));
    running.read_until("ready", 2);
    let witness = child_named(running.pid(), "cobre-witness").unwrap();
    kill(Pid::from_raw(witness.parse().unwrap()), Signal::SIGKILL).unwrap();
    wait_until_gone(&witness);
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

/// A job that ignores SIGHUP, or gets none since it is in a session of its own, survives its
/// terminal.
#[test]
fn a_job_without_sighup_survives_its_terminal() {
    for (way, prefix) in ["", "env --default-signal=HUP setsid -w"]
        .iter()
        .enumerate()
    {
        let folder = Folder::new();
        let [go, done, code] = ["go", "done", "code"].map(|name| folder.file(name));
        let rank = format!(
            "echo ready $$; until [ -e {go} ]; do sleep 0.01; done; echo more; echo more; echo end >{done}"
        );
        let launcher = env!("CARGO_BIN_EXE_cobre-launch");
        let copies = folder.file("copies");
        let line = format!(
            "trap '' HUP; {prefix} {launcher} --output-dir {copies} -n 1 sh -c '{rank}'; echo $? >{code}"
        );
        let Some(mut running) = start_line_on_terminal(&line, "HUP") else {
            return;
        };
        let text = running.read_until("ready", 1);
        // `script` holds the terminal; with it the terminal is gone.
        running.signal(Signal::SIGKILL);
        while running.runs() {
            std::thread::yield_now();
        }
        std::fs::write(&go, "").unwrap();
        wait_for_text(&code);
        let read = |path: &str| std::fs::read_to_string(path).unwrap();
        assert_eq!(read(&code), "0\n", "way {way}: {text}");
        assert_eq!(read(&done), "end\n");
        let copy = read(&format!("{copies}/rank-0.stdout"));
        assert_eq!(copy.matches("more").count(), 2, "{copy}");
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
fn ranks_ignore_what_the_launcher_was_started_to_ignore() {
    let status = ["grep", "SigIgn", "/proc/self/status"];
    let launch = [env!("CARGO_BIN_EXE_cobre-launch"), "-n", "1"];
    for option in [
        "--ignore-signal=PIPE,CHLD,HUP",
        "--default-signal=PIPE,CHLD,HUP",
    ] {
        let ignored = |before: &[&str]| {
            let mut command = Command::new("env");
            command.arg(option).args(before).args(status);
            start(command).finish().stdout
        };
        assert_eq!(ignored(&launch), ignored(&[]), "{option}");
    }
}

/// A shell without job control starts what it puts into the background so.
#[test]
fn sigquit_is_answered_also_if_it_is_ignored() {
    let mut command = Command::new("sh");
    let script = "trap '' INT QUIT; exec \"$0\" -n 1 sh -c 'echo ready; read x; echo done'";
    command.args(["-c", script, env!("CARGO_BIN_EXE_cobre-launch")]);
    let mut running = start(command);
    running.read_until("ready", 1);
    running.signal(Signal::SIGINT);
    running.signal(Signal::SIGQUIT);
    running.read_stderr_until("what each rank is doing:", 1);
    running.write("go\n");
    let outcome = running.finish();
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (0, "ready\ndone\n")
    );
}

/// The job runs for less than its limit, before and after it was stopped for longer than that.
#[test]
fn time_for_which_the_job_was_stopped_does_not_count() {
    let limit = Duration::from_secs(2);
    let outcome = within(limit, || {
        let script = "trap 'echo awake' USR1; echo $$; until read x; do :; done";
        let mut command = signal_launcher(&["-n", "1", "--timeout", "2s", "sh", "-c", script]);
        command.process_group(0);
        let begin = std::time::Instant::now();
        let mut running = start(command);
        let text = running.read_until("\n", 1);
        let group = Pid::from_raw(-running.pid().as_raw());
        kill(group, Signal::SIGSTOP).unwrap();
        for pid in [text.trim(), &running.pid().to_string()] {
            wait_for_state(pid, |state| state == 'T');
        }
        let before = begin.elapsed();
        // Less would show nothing.
        std::thread::sleep(limit + Duration::from_millis(500));
        let again = std::time::Instant::now();
        kill(group, Signal::SIGCONT).unwrap();
        // The launcher passes it on, and would have begun to end the job before.
        running.signal(Signal::SIGUSR1);
        running.read_until("awake", 1);
        running.write("go\n");
        let outcome = running.finish();
        (before + again.elapsed(), outcome)
    });
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
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

/// Whoever has ended by then has not been late, also if the guard has not told yet.
#[test]
fn a_limit_that_passes_when_all_have_ended_is_no_failure() {
    let limit = Duration::from_secs(2);
    let script = "echo $$ $PPID; read x";
    let args = ["-n", "1", "--timeout", "2s", "sh", "-c", script];
    let is_refused = Cell::new(false);
    let outcome = within(limit, || {
        let begin = std::time::Instant::now();
        let mut running = start(launcher(&args));
        let text = running.read_until("\n", 1);
        let guard = word(&text, 0, 1);
        let traced = Pid::from_raw(guard.parse().unwrap());
        // The launcher would continue it after a SIGSTOP.
        if ptrace::seize(traced, ptrace::Options::empty()).is_err() {
            is_refused.set(true);
            running.write("go\n");
            return (Duration::ZERO, running.finish());
        }
        ptrace::interrupt(traced).unwrap();
        wait_for_state(&guard, |state| state == 't');
        running.write("go\n");
        wait_until_gone(&word(&text, 0, 0));
        let ran = begin.elapsed();
        // And a little longer, for the launcher to see it.
        while begin.elapsed() < limit + Duration::from_millis(100) {
            std::thread::sleep(Duration::from_millis(10));
        }
        ptrace::detach(traced, None).unwrap();
        (ran, running.finish())
    });
    if is_refused.get() {
        eprintln!("SKIPPED: no process may be traced here");
        return;
    }
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
