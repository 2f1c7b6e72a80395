//! `--debug`: ranks that start under a debugger, in panes of tmux.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

mod common;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Folder, is_gone, launcher, run, start};
use nix::sys::signal::Signal;

/// Only a hang takes so long.
const HANG: Duration = Duration::from_secs(100);

/// A server of this test's own, ended with it.
struct Tmux(Folder);

impl Tmux {
    /// Nothing if there is no tmux, or no gdb to run in it.
    fn new() -> Option<Self> {
        for (name, option) in [("tmux", "-V"), ("gdb", "--version")] {
            if Command::new(name).arg(option).output().is_err() {
                println!("SKIPPED: there is no {name}");
                return None;
            }
        }
        Some(Self(Folder::new()))
    }

    fn of(&self, command: &mut Command) {
        command.env("TMUX_TMPDIR", &self.0.0).env_remove("TMUX");
    }

    fn ask(&self, words: &[&str]) -> String {
        let mut tmux = Command::new("tmux");
        self.of(&mut tmux);
        let output = tmux.args(words).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until `text` stands in one of the panes; returns that pane.
    fn wait_for(&self, text: &str) -> String {
        let found = || {
            let panes = self.ask(&["list-panes", "-a", "-F", "#{pane_id}"]);
            let mut panes = panes.lines();
            let pane = panes.find(|pane| self.screen(pane).contains(text))?;
            Some(pane.to_owned())
        };
        until(found).unwrap_or_else(|| panic!("no pane has {text:?}"))
    }

    /// Types a command for the debugger, once it asks for one: earlier it may be lost.
    fn command(&self, pane: &str, command: &str) {
        let asks = || {
            self.screen(pane)
                .trim_end()
                .ends_with("(gdb)")
                .then_some(())
        };
        until(asks).unwrap_or_else(|| panic!("no prompt: {}", self.screen(pane)));
        self.ask(&["send-keys", "-t", pane, command, "Enter"]);
    }

    fn screen(&self, pane: &str) -> String {
        self.ask(&["capture-pane", "-J", "-p", "-t", pane])
    }
}

/// What `found` finds, unless that takes for ever.
fn until<T>(found: impl Fn() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + HANG;
    loop {
        let result = found();
        if result.is_some() || Instant::now() > deadline {
            return result;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Drop for Tmux {
    /// The server ends once what runs in its panes has ended.
    fn drop(&mut self) {
        let server = self.ask(&["display-message", "-p", "#{pid}"]);
        self.ask(&["kill-server"]);
        let ended = until(|| is_gone(server.trim()).then_some(()));
        assert!(
            ended.is_some() || std::thread::panicking(),
            "the server of tmux does not end"
        );
    }
}

const PROGRAM: [&str; 3] = ["sh", "-c", "echo rank $COBRE_SHM_RANK"];

#[test]
fn a_rank_waits_at_its_first_instruction_until_the_debugger_lets_it_go() {
    let Some(tmux) = Tmux::new() else {
        return;
    };
    let mut command = launcher(&[&["-n", "2", "--debug=1"][..], &PROGRAM].concat());
    tmux.of(&mut command);
    let mut job = start(command);
    job.read_until("rank 0", 1);
    let pane = tmux.wait_for("rank 1 is at its first instruction");
    assert!(job.runs());
    tmux.command(&pane, "continue");
    job.read_until("rank 1", 1);
    let outcome = job.finish();
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(
        outcome
            .stderr
            .starts_with("cobre-launch: rank 1: debugged in tmux, see `tmux attach -t cobre-")
    );
    // The debugger is still there.
    tmux.wait_for("exited normally");
}

#[test]
fn ctrl_c_in_a_debugger_interrupts_its_rank_alone() {
    let Some(tmux) = Tmux::new() else {
        return;
    };
    let script = "echo rank $COBRE_SHM_RANK runs; while :; do :; done";
    let mut command = launcher(&["-n", "2", "--debug=1", "sh", "-c", script]);
    tmux.of(&mut command);
    let mut job = start(command);
    let pane = tmux.wait_for("rank 1 is at its first instruction");
    tmux.command(&pane, "continue");
    // Until it runs the debugger itself may get what is typed, and lose it.
    job.read_until("rank 1 runs", 1);
    tmux.ask(&["send-keys", "-t", &pane, "C-c"]);
    tmux.wait_for("received signal SIGINT");
    // Nobody else has got it. (It would not end the rank if these tests were started with SIGINT
    // ignored, as scripts start what they do not wait for.)
    tmux.command(&pane, "signal SIGUSR1");
    tmux.wait_for("terminated with signal SIGUSR1");
    assert!(job.runs());
    job.signal(Signal::SIGTERM);
    let outcome = job.finish();
    for end in ["rank 0: killed by SIGTERM", "rank 1: killed by SIGUSR1"] {
        assert!(outcome.stderr.contains(end), "{}", outcome.stderr);
    }
}

/// Rank 0 fails while rank 1 is looked at.
#[test]
fn a_failure_takes_no_rank_from_its_debugger() {
    let Some(tmux) = Tmux::new() else {
        return;
    };
    let script = "[ $COBRE_SHM_RANK = 1 ] || exit 3; echo rank 1 went on";
    let options = ["-v", "-n", "2", "--debug=1", "--kill-grace", "0s"];
    let mut command = launcher(&[&options[..], &["sh", "-c", script]].concat());
    tmux.of(&mut command);
    let mut job = start(command);
    // What would end rank 1 would do so in this instant.
    job.read_stderr_until("exited with code 3 after", 1);
    let pane = tmux.wait_for("rank 1 is at its first instruction");
    tmux.command(&pane, "continue");
    job.read_until("rank 1 went on", 1);
    let outcome = job.finish();
    assert_eq!(outcome.code, 3, "{}", outcome.stderr);
    tmux.wait_for("exited normally");
}

#[test]
fn within_tmux_the_debuggers_are_another_window() {
    let Some(tmux) = Tmux::new() else {
        return;
    };
    tmux.ask(&[
        "new-session",
        "-d",
        "-x",
        "200",
        "-y",
        "50",
        "-s",
        "mine",
        "cat",
    ]);
    let place = tmux.ask(&[
        "display-message",
        "-p",
        "-t",
        "mine",
        "#{socket_path},#{pid},0",
    ]);
    let mut command = launcher(&[&["-n", "2", "--debug"][..], &PROGRAM].concat());
    tmux.of(&mut command);
    command.env("TMUX", place.trim());
    let job = start(command);
    for rank in ["rank 0", "rank 1"] {
        let pane = tmux.wait_for(&format!("{rank} is at its first instruction"));
        let window = tmux.ask(&[
            "display-message",
            "-p",
            "-t",
            &pane,
            "#{session_name}/#{window_name}",
        ]);
        assert_eq!(window.trim(), "mine/ranks");
        tmux.command(&pane, "continue");
    }
    let outcome = job.finish();
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert_eq!(outcome.sorted(), ["rank 0", "rank 1"]);
}

#[test]
fn without_tmux_the_error_says_how_to_attach_by_hand() {
    let folder = Folder::new();
    // Something that looks like a debugger, and nothing else.
    std::os::unix::fs::symlink("/bin/true", folder.file("gdb")).unwrap();
    let mut command = launcher(&["-n", "2", "--debug", "/bin/true"]);
    command.env("PATH", PathBuf::from(&folder.0));
    let outcome = start(command).finish();
    assert_eq!(outcome.code, 2);
    assert!(
        outcome.stderr.contains("tmux is not installed"),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome.stderr.contains("`gdb -p PID`"),
        "{}",
        outcome.stderr
    );
    for (options, said) in [
        (&["--debug=2"][..], "there is no rank 2 in a job of 2"),
        (&["--debug", "--timeout", "1s"], "cannot be used with"),
        (&["--debug=x"], "expected ranks such as 0,2-3"),
    ] {
        let outcome = run(&[&["-n", "2"][..], options, &["true"]].concat());
        assert_eq!(outcome.code, 2);
        assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
    }
}
