//! What is drawn on a terminal, on a terminal: keys, sizes, and that it is given back as it was.

use std::{path::PathBuf, process::Command};

use cobre_tests::{Elsewhere, End, Process, Terminal, job_name};
use nix::sys::signal::Signal;

const LAUNCH: &str = env!("CARGO_BIN_EXE_launch");
const RANK: &str = env!("CARGO_BIN_EXE_scripted-rank");
const INSPECT: &str = env!("CARGO_BIN_EXE_inspect");

/// A job of three whose ranks 1 and 2 wait for rank 0, until it hears a line.
fn hung_job() -> (Process, String) {
    let mut command = Command::new(LAUNCH);
    command.args(["-n", "1", RANK, "name", "join", "reduce:100"]);
    command.args(["say:ready", "hear", "barrier", ":"]);
    command.args(["-n", "2", RANK, "join", "reduce:100", "barrier"]);
    let mut launcher = Process::start("the launcher", &mut command);
    let name = launcher.hear("name ");
    launcher.hear("ready");
    (launcher, name)
}

fn top(name: &str) -> Command {
    let mut command = Command::new(INSPECT);
    command.args(["top", name, "--interval", "0.1"]);
    command
}

/// `top` on 80x24, once it shows what matters.
fn shown(command: &mut Command) -> Terminal {
    let mut top = Terminal::start(command, 24, 80);
    top.see(&["ranks 1-2 wait for rank 0 in barrier() #2 at", "q quit"]);
    assert!(top.is_full_screen() && !top.is_restored());
    top
}

#[test]
fn top_follows_keys_and_gives_the_terminal_back() {
    let (mut launcher, name) = hung_job();
    let mut top = shown(&mut top(&name));
    top.see(&["3 ranks  running", "sorted by rank"]);
    top.press("s");
    top.see(&["sorted by wait"]);
    top.press("ssss");
    top.see(&["sorted by rank"]);
    top.press("p");
    top.see(&["3 ranks  paused"]);
    top.press(" ");
    top.see(&["3 ranks  running"]);
    // Down, Enter: the second rank in detail.
    top.press("\x1b[B\r");
    top.see(&[
        "rank 1: waiting, 2 collectives begun",
        "operation barrier() #2",
    ]);
    top.press("k");
    top.see(&["end rank 1 (process "]);
    top.press("n");
    top.until_gone("end rank 1 (process ");
    top.press("\r");
    top.until_gone("operation barrier() #2");
    // The job goes on and ends; the last picture stays.
    launcher.say("go on");
    assert_eq!(launcher.end(), End::Code(0), "{}", launcher.heard());
    top.see(&["the job has ended; this is what was seen last"]);
    top.press("q");
    assert_eq!(top.end(), End::Code(0));
    assert!(top.is_restored(), "{}", top.contents());
    assert!(!top.contents().contains("sorted by"), "{}", top.contents());
}

#[test]
fn top_ends_a_rank_that_it_was_told_to_end() {
    let (mut launcher, name) = hung_job();
    let mut top = shown(&mut top(&name));
    top.press("k");
    top.see(&["end rank 0 (process "]);
    top.press("9");
    // Before the end of its input could end it.
    top.see(&["sent SIGKILL to process"]);
    assert_eq!(launcher.end(), End::Code(137), "{}", launcher.heard());
    // How it ended stands in the memory that nobody else has any more: as the launcher says, or as the rank
    // that noticed it first.
    top.see(&["the job has ended: rank 0 (pid "]);
    top.press("q");
    assert_eq!(top.end(), End::Code(0));
}

#[test]
fn a_job_is_chosen_among_several() {
    let (mut first, first_name) = hung_job();
    let (mut second, second_name) = hung_job();
    let mut command = Command::new(INSPECT);
    command.args(["top", "--interval", "0.1"]);
    let mut top = Terminal::start(&mut command, 24, 160);
    // Beside those of other tests.
    top.see(&["jobs: which one?", &first_name, &second_name]);
    top.press("\x1b[B\x1b[A\r");
    top.see(&["sorted by rank", "Enter details"]);
    top.press("q");
    assert_eq!(top.end(), End::Code(0));
    assert!(top.is_restored(), "{}", top.contents());
    for launcher in [&mut first, &mut second] {
        launcher.say("go on");
        assert_eq!(launcher.end(), End::Code(0), "{}", launcher.heard());
    }
}

/// Where it sees no job before its own.
#[test]
fn top_waits_for_the_first_job() {
    let Some(alone) = Elsewhere::alone() else {
        return;
    };
    let go = PathBuf::from("/tmp").join(job_name().trim_start_matches('/'));
    let script = r#"
        (until [ -e "$1" ]; do sleep 0.05; done; exec "$2" -n 2 "$3" join busy) >/dev/null 2>&1 &
        exec "$4" top --wait --interval 0.1"#;
    let mut command = alone.command(&["sh", "-c", script, "sh"]);
    command.arg(&go).args([LAUNCH, RANK, INSPECT]);
    let mut top = Terminal::start(&mut command, 24, 80);
    top.see(&["no job of this user runs here yet: waiting for one"]);
    std::fs::write(&go, "").expect("room for a file");
    top.see(&["2 ranks  running", "q quit"]);
    // With it everything in its namespace ends.
    top.press("q");
    assert_eq!(top.end(), End::Code(0));
    assert!(top.is_restored(), "{}", top.contents());
    let _ = std::fs::remove_file(&go);
}

#[test]
fn signals_end_top_and_give_the_terminal_back() {
    let (mut launcher, name) = hung_job();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let mut top = shown(&mut top(&name));
        top.signal(signal);
        assert_eq!(top.end(), End::Signal(signal as i32));
        assert!(top.is_restored(), "{signal}: {}", top.contents());
    }
    // Ctrl-C is a key here.
    let mut top = shown(&mut top(&name));
    top.press("\x03");
    assert_eq!(top.end(), End::Code(0));
    assert!(top.is_restored());
    launcher.say("go on");
    assert_eq!(launcher.end(), End::Code(0), "{}", launcher.heard());
}

#[test]
fn a_panic_gives_the_terminal_back_and_is_read_there() {
    let (mut launcher, name) = hung_job();
    let file = PathBuf::from("/tmp").join(job_name().trim_start_matches('/'));
    let mut command = top(&name);
    let mut top = shown(command.env("COBRE_TEST_PANIC_IF", &file));
    std::fs::write(&file, "").expect("room for a file");
    assert_eq!(top.end(), End::Code(101));
    let _ = std::fs::remove_file(&file);
    assert!(top.is_restored(), "{}", top.contents());
    top.see(&["on purpose"]);
    launcher.say("go on");
    assert_eq!(launcher.end(), End::Code(0), "{}", launcher.heard());
}

#[test]
fn progress_is_one_line_below_what_the_ranks_write() {
    let mut command = Command::new(LAUNCH);
    command.args(["-n", "1", "--progress", RANK, "join", "progress:1:10"]);
    command.args(["hear", "say:half", "progress:5:10", "hear"]);
    command.args([
        "progress:10:10",
        ":",
        "-n",
        "1",
        RANK,
        "join",
        "progress:3:10",
    ]);
    let mut job = Terminal::start(&mut command, 24, 80);
    job.hide_typing();
    job.see(&["[####....................] 20 %, 4 of 20"]);
    job.press("on\n");
    job.see(&["half\n[#########...............] 40 %, 8 of 20"]);
    assert!(!job.contents().contains("20 %"), "{}", job.contents());
    job.press("on\n");
    assert_eq!(job.end(), End::Code(0));
    let last = "[###############.........] 65 %, 13 of 20";
    assert!(job.contents().contains(last), "{}", job.contents());
    assert_eq!(
        job.contents().matches(" %, ").count(),
        1,
        "{}",
        job.contents()
    );
}

#[test]
fn progress_is_lines_elsewhere() {
    let mut command = Command::new(LAUNCH);
    command.args(["-n", "1", "--progress", RANK, "join", "progress:5:10"]);
    command.args(["hear", "progress:10:10"]);
    let mut job = Process::start("the job", &mut command);
    while !job.complaint().contains("cobre-launch: 50 %, 5 of 10") {}
    job.say("on");
    assert_eq!(job.end(), End::Code(0), "{}", job.heard());
    assert!(
        job.heard().contains("! cobre-launch: 100 %, 10 of 10"),
        "{}",
        job.heard()
    );
}

#[test]
fn the_terminals_of_ranks_are_as_large_as_the_launchers_without_the_labels() {
    let script = "trap 'stty size <&1' WINCH; stty size <&1; echo ready; \
                  while :; do sleep 1000 & wait; done";
    let mut command = Command::new(LAUNCH);
    command.args(["-n", "1", "--pty", "--label", "sh", "-c", script]);
    let mut job = Terminal::start(&mut command, 24, 80);
    job.see(&["[0] 24 76\n[0] ready"]);
    job.resize(30, 100);
    job.see(&["[0] 30 96"]);
    job.press("\x03");
    assert_eq!(job.end(), End::Code(130), "{}", job.contents());
}
