//! What is left when the launcher, its guard, or both with the ranks are killed.
#![allow(clippy::print_stderr, clippy::unwrap_used)]

mod common;

use common::{Folder, Running, launcher, signal_launcher, start, wait_for_state, wait_until_gone};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::os::unix::process::CommandExt;
use std::path::Path;

/// A rank that starts a child in its group, one in a session of its own, and a daemon; it says
/// `alive PID` for each of the five processes, and `guard PID`.
const FAMILY: &str = "
    sleep 1000 & echo alive $!
    setsid sh -c 'echo alive $$; (sleep 1000 & echo alive $!); exec sleep 1000' &
    (setsid sh -c 'echo alive $$; exec sleep 1000' &)
    echo guard $PPID; echo alive $$; echo name $COBRE_SHM_NAME; exec sleep 1000";
const PROCESSES: usize = 5;

/// A job of two such ranks that never forms.
fn family(mut command: std::process::Command) -> (Running, Vec<String>, String, Pid) {
    command.process_group(0);
    let mut running = start(command);
    // The last line a rank writes may come before those of its children.
    running.read_until("name ", 2);
    running.read_until("alive ", 2 * PROCESSES);
    let text = running.read_until("\n", 2 * (PROCESSES + 2));
    let word = |line: &str| line.split(' ').nth(1).unwrap().to_owned();
    let of = |kind: &'static str| text.lines().filter(move |line| line.starts_with(kind));
    let pids = of("alive ").map(word).collect();
    let name = word(of("name ").next().unwrap());
    let guard = word(of("guard ").next().unwrap()).parse().unwrap();
    (running, pids, name, Pid::from_raw(guard))
}

fn args() -> [&'static str; 5] {
    ["-n", "2", "sh", "-c", FAMILY]
}

fn all_gone(pids: &[String], name: &str, guard: Pid) {
    assert_eq!(pids.len(), 2 * PROCESSES);
    for pid in pids {
        wait_until_gone(pid);
    }
    // It removes the name last.
    wait_until_gone(&guard.to_string());
    assert!(!Path::new(&format!("/dev/shm{name}")).exists());
}

fn ended(mut running: Running) {
    while running.runs() {
        std::thread::yield_now();
    }
}

#[test]
fn nothing_outlives_a_killed_launcher() {
    let (running, pids, name, guard) = family(launcher(&args()));
    assert!(Path::new(&format!("/dev/shm{name}")).exists());
    running.signal(Signal::SIGKILL);
    all_gone(&pids, &name, guard);
    ended(running);
}

#[test]
fn nothing_outlives_a_process_group_that_is_killed() {
    let (running, pids, name, guard) = family(launcher(&args()));
    killpg(running.pid(), Signal::SIGKILL).unwrap();
    all_gone(&pids, &name, guard);
    ended(running);
}

#[test]
fn a_killed_guard_ends_the_job_which_says_so() {
    let (running, pids, name, guard) = family(launcher(&args()));
    kill(guard, Signal::SIGKILL).unwrap();
    let outcome = running.finish();
    all_gone(&pids, &name, guard);
    assert_eq!(outcome.code, 1);
    assert!(
        outcome
            .stderr
            .contains("cobre-launch: the guard of the job was killed"),
        "{}",
        outcome.stderr
    );
}

/// A stopped launcher does not continue its guard.
#[test]
fn a_stopped_guard_does_not_keep_a_job_from_being_killed() {
    let (running, pids, name, guard) = family(signal_launcher(&args()));
    for pid in [running.pid(), guard] {
        kill(pid, Signal::SIGSTOP).unwrap();
        wait_for_state(&pid.to_string(), |state| state == 'T');
    }
    running.signal(Signal::SIGKILL);
    all_gone(&pids, &name, guard);
    ended(running);
}

#[test]
fn a_rank_that_stops_its_guard_holds_nobody_up() {
    let outcome = common::run(&["-n", "2", "sh", "-c", "kill -STOP $PPID; exit 0"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
}

#[test]
fn a_stopped_guard_or_witness_does_not_keep_signals_from_the_ranks() {
    let script = "trap 'echo got-usr1' USR1
        echo guard $PPID; while :; do sleep 1000 & wait; done";
    let mut running = start(signal_launcher(&["-n", "2", "sh", "-c", script]));
    let text = running.read_until("\n", 2);
    let guard = text.lines().next().unwrap().strip_prefix("guard ").unwrap();
    let witness = common::child_named(running.pid(), "cobre-witness").unwrap();
    for (times, pid) in [(1, guard), (2, &witness)] {
        kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGSTOP).unwrap();
        wait_for_state(pid, |state| state != 'T');
        running.signal(Signal::SIGUSR1);
        running.read_until("got-usr1", 2 * times);
    }
    kill(Pid::from_raw(guard.parse().unwrap()), Signal::SIGSTOP).unwrap();
    running.signal(Signal::SIGTERM);
    let outcome = running.finish();
    assert_eq!(outcome.code, 143, "{}", outcome.stderr);
    assert_eq!(outcome.stdout.matches("got-usr1").count(), 4);
}

#[test]
fn the_end_of_a_rank_is_noticed_with_a_guard_that_was_stopped() {
    let script = "echo rank $$ guard $PPID; exec sleep 1000";
    let mut running = start(launcher(&["-n", "2", "sh", "-c", script]));
    let text = running.read_until("\n", 2);
    let words: Vec<&str> = text.split_whitespace().collect();
    for (pid, signal) in [(words[3], Signal::SIGSTOP), (words[1], Signal::SIGKILL)] {
        kill(Pid::from_raw(pid.parse().unwrap()), signal).unwrap();
    }
    let outcome = running.finish();
    assert_eq!(outcome.code, 137, "{}", outcome.stderr);
}

/// Runs `script` in a PID namespace that sees another one's `/proc`, or `without` any; nothing
/// where that is impossible.
fn in_a_pid_namespace(without: bool, script: &str) -> Option<String> {
    let mut command = std::process::Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let hide = if without {
        "mount -t tmpfs none /proc; "
    } else {
        ""
    };
    command.args([
        "--mount",
        "--pid",
        "--fork",
        "sh",
        "-c",
        &format!("{hide}{script}"),
    ]);
    command.env("LAUNCHER", env!("CARGO_BIN_EXE_cobre-launch"));
    let outcome = start(command).finish();
    if outcome.code == 77 || outcome.stderr.contains("unshare") {
        eprintln!(
            "SKIPPED: no PID namespace can be made here: {}",
            outcome.stderr
        );
        return None;
    }
    assert_eq!(outcome.code, 0, "{}{}", outcome.stdout, outcome.stderr);
    Some(outcome.stdout)
}

/// The `/proc` of the host shows a daemon of the rank under a number that a stranger has in here.
#[test]
fn strangers_with_the_numbers_that_a_foreign_proc_shows_are_left_alone() {
    let folder = Folder::new();
    let script = r#"
        cd FOLDER; mkfifo ready go
        [ "$(readlink /proc/self)" != "$$" ] || exit 77
        $LAUNCHER -n 1 sh -c '
            setsid sh -c "read outside rest </proc/self/stat; echo \$outside \$\$ >ready; exec sleep 1000" &
            read x <go' &
        launcher=$!
        read outside inside <ready
        for try in 1 2 3 4 5 6 7 8 9; do
            echo $((outside - 1)) >/proc/sys/kernel/ns_last_pid || exit 77
            sleep 1000 & stranger=$!
            [ $stranger != $outside ] || break
            kill $stranger
        done
        [ $stranger = $outside ] || exit 77
        echo >go
        wait $launcher && echo over
        kill -0 $stranger && echo stranger lives; kill $stranger
        kill -0 $inside 2>/dev/null || echo daemon gone
        exit 0"#;
    let script = script.replace("FOLDER", folder.0.to_str().unwrap());
    if let Some(told) = in_a_pid_namespace(false, &script) {
        assert_eq!(told, "over\nstranger lives\ndaemon gone\n");
    }
}

#[test]
fn what_ranks_started_is_gone_also_without_proc() {
    let script = "$LAUNCHER -n 2 sh -c '
            export READY=ready-$COBRE_SHM_RANK; mkfifo $READY
            (setsid sh -c \"echo \\$\\$; echo >\\$READY; exec sleep 1000\" &)
            read x <$READY' >pids
        cat pids; for pid in $(cat pids); do kill -0 $pid 2>/dev/null && echo alive; done; exit 0";
    let folder = Folder::new();
    let script = format!("cd {}; {script}", folder.0.display());
    if let Some(told) = in_a_pid_namespace(true, &script) {
        assert_eq!(told.lines().count(), 2, "{told}");
    }
}

#[test]
fn the_guard_is_no_member_of_the_session_and_ignores_what_ends_others() {
    let (running, pids, name, guard) = family(signal_launcher(&args()));
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ] {
        kill(guard, signal).unwrap();
    }
    let stat = std::fs::read_to_string(format!("/proc/{guard}/stat")).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = rest.split(' ').collect();
    // State, parent, process group, session.
    assert_eq!(fields[1], running.pid().to_string());
    assert_eq!(
        [fields[2], fields[3]],
        [&guard.to_string(), &guard.to_string()]
    );
    assert!(stat.contains("(cobre-guard)"));
    running.signal(Signal::SIGTERM);
    let outcome = running.finish();
    assert_eq!(outcome.code, 143);
    all_gone(&pids, &name, guard);
}

/// Such as one under `sudo`: the launcher says that it stays, and ends.
#[test]
fn a_rank_that_may_not_be_killed_keeps_nobody_waiting() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let copy = |from: &str, name: &str, mode| {
        let to = folder.file(name);
        std::fs::copy(from, &to).unwrap();
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(mode)).unwrap();
        to
    };
    if !nix::unistd::geteuid().is_root() || !Path::new("/usr/bin/setpriv").exists() {
        eprintln!("SKIPPED: it takes root and `setpriv` to make a process of another user");
        return;
    }
    std::fs::set_permissions(&folder.0, std::fs::Permissions::from_mode(0o755)).unwrap();
    let launcher = copy(env!("CARGO_BIN_EXE_cobre-launch"), "launcher", 0o755);
    let become_root = copy("/usr/bin/setpriv", "setpriv", 0o4755);
    let as_nobody = || {
        let mut command = std::process::Command::new("env");
        // Whatever started the tests.
        command.args(["--default-signal=INT", "setpriv"]);
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        command
    };
    let mut probe = as_nobody();
    probe.args([&become_root, "--reuid", "0", "true"]);
    if !probe.status().is_ok_and(|status| status.success()) {
        eprintln!(
            "SKIPPED: no program in {} runs as its owner",
            folder.0.display()
        );
        return;
    }
    let mut command = as_nobody();
    command.args([&launcher, "-n", "1", &become_root, "--reuid", "0"]);
    command.args(["sh", "-c", "echo alive $$; exec sleep 1000"]);
    let mut running = start(command);
    let said = running.read_until("\n", 1);
    let pid = said.trim().strip_prefix("alive ").unwrap();
    // The second one kills, but two within a few milliseconds are one.
    while running.runs() {
        let _ = kill(running.pid(), Signal::SIGINT);
        std::thread::sleep(std::time::Duration::from_millis(15));
    }
    let outcome = running.finish();
    let stays = !common::is_gone(pid);
    kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL).unwrap();
    assert!(stays, "{}", outcome.stderr);
    assert_eq!(outcome.code, 130, "{}", outcome.stderr);
    let told = format!("rank 0 could not be killed and may go on (pid {pid})");
    assert!(outcome.stderr.contains(&told), "{}", outcome.stderr);
}
