//! Standing boards as the inspector shows them: services by configuration, looked at from outside.

use std::{path::PathBuf, process::Command};

use cobre_tests::{End, Process, apart, job_name, left_behind, run};
use nix::sys::signal::Signal;

/// A board of A, B and D, whose members are processes.
struct Board {
    name: String,
    config: PathBuf,
}

impl Board {
    fn new() -> Self {
        let name = job_name();
        let config = std::env::temp_dir().join(format!("{}.json", name.trim_start_matches('/')));
        let json = format!(
            r#"{{"shared_memory": {{"segments": [
                {{"name": "{name}", "members": ["A", "B", "D"], "teams": {{"GREEN": ["B", "D"]}}}}
            ]}}}}"#
        );
        std::fs::write(&config, json).expect("room for a file");
        Self { name, config }
    }

    fn start(&self, member: &str) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_board-member"));
        let mut service = Process::start(member, command.arg(&self.config).arg(member));
        service.hear("joined");
        service
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.config);
        if !std::thread::panicking() {
            assert_eq!(left_behind(&self.name), [""; 0]);
        }
    }
}

fn tell(service: &mut Process, what: &str) {
    service.say(what);
    service.hear(what.split(' ').next().unwrap_or_default());
}

/// How the inspector ends, and what it says.
fn inspect(arguments: &[&str]) -> (i32, String, String) {
    run(Command::new(env!("CARGO_BIN_EXE_inspect")).args(arguments))
}

#[track_caller]
fn told(arguments: &[&str]) -> String {
    let (code, said, complained) = inspect(arguments);
    assert_eq!((code, complained.as_str()), (0, ""), "{said}");
    said
}

/// The line of the table that begins with `member`, its words apart.
#[track_caller]
fn row(said: &str, member: &str) -> Vec<String> {
    let of = |line: &&str| line.split_whitespace().next() == Some(member);
    let line = said.lines().find(of);
    let line = line.unwrap_or_else(|| panic!("no {member}: {said}"));
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn a_board_is_shown_and_work_is_routed() {
    let board = Board::new();
    let name = board.name.as_str();
    let [mut a, mut b, mut d] = ["A", "B", "D"].map(|member| board.start(member));
    tell(&mut b, "idle");
    tell(&mut d, "busy");
    tell(&mut d, "queue 5");

    let said = told(&["board", name]);
    assert!(
        said.contains("3 members, 3 there; refreshed every 2 s, stale after 30 s"),
        "{said}"
    );
    assert!(said.contains("team GREEN: B, D"), "{said}");
    let shown = row(&said, "D");
    assert_eq!(shown[..4], ["D", &d.pid().to_string(), "busy", "5"]);
    assert!(shown.ends_with(&["ago".to_owned()]), "{said}");
    let listed = told(&["list"]);
    let listed = row(&listed, name);
    assert_eq!(listed[1..], ["3", "in", "use", "A,", "B,", "D"]);

    let metrics = told(&["metrics"]);
    for sample in [
        "up{board=\"B\",member=\"D\"} 1",
        "queue{board=\"B\",member=\"D\"} 5",
        "state{board=\"B\",member=\"D\",state=\"busy\"} 1",
    ] {
        let sample = format!(
            "\ncobre_member_{}\n",
            sample.replace("\"B\"", &format!("{name:?}"))
        );
        assert!(metrics.contains(&sample), "{sample}: {metrics}");
    }

    let said = told(&["route", name, "--team", "GREEN"]);
    assert!(
        said.starts_with(&format!(
            "team GREEN of board {name}: least_loaded chose B\n  B: idle, queue 0, "
        )),
        "{said}"
    );
    assert!(said.contains("\n  D: busy, queue 5, "), "{said}");
    let said = told(&["route", name, "--policy", "weighted"]);
    assert!(said.contains("weighted chose B"), "{said}");
    assert!(said.contains("A: starting"), "{said}");
    let data = told(&["route", name, "--team", "GREEN", "--json"]);
    let data: serde_json::Value = serde_json::from_str(&data).expect("JSON");
    assert_eq!(data["chosen"], "B");
    assert_eq!(data["considered"][1]["queue"], 5);

    // Shut down, left, killed: three things.
    tell(&mut b, "shutdown");
    a.say("leave");
    assert_eq!(a.end(), End::Code(0));
    d.signal(Signal::SIGKILL);
    assert_eq!(d.end(), End::Signal(9));
    let said = told(&["board", name]);
    assert_eq!(row(&said, "B")[2], "shutdown");
    assert_eq!(row(&said, "A")[1..3], ["-", "left"]);
    assert_eq!(row(&said, "D")[1..5], ["-", "dead", "(was", "busy)"]);
    let (code, said, complained) = inspect(&["route", name, "--team", "GREEN"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("least_loaded found nobody"), "{said}");
    assert!(said.contains("dropped: has shut down"), "{said}");
    assert!(said.contains("dropped: not there"), "{said}");
    assert!(complained.contains("takes work"), "{complained}");
    b.say("leave");
    b.end();
}

#[test]
fn a_board_that_nobody_is_on_is_cleaned() {
    apart(|| {
        let board = Board::new();
        let name = board.name.as_str();
        let mut only = board.start("A");
        only.signal(Signal::SIGKILL);
        only.end();
        let said = told(&["board", name]);
        assert!(said.contains("nobody is on it any more"), "{said}");
        let said = told(&["clean"]);
        assert!(said.contains("removed board"), "{said}");
        assert_eq!(left_behind(name), [""; 0]);
    });
}

#[test]
fn mistakes_about_boards_are_named() {
    let board = Board::new();
    let name = board.name.as_str();
    let mut only = board.start("A");
    for (arguments, code, words) in [
        (
            &["board", "/no-such-board"][..],
            1,
            "there is no board /no-such-board: nobody has joined it",
        ),
        (
            &["route", name, "--team", "RED"],
            1,
            "has no team \"RED\"; there are GREEN",
        ),
        (
            &["route", name, "--policy", "best"],
            2,
            "least_loaded, weighted, classes, smoothed, estimated_completion",
        ),
    ] {
        let (ended, said, complained) = inspect(arguments);
        assert_eq!(ended, code, "{arguments:?}");
        assert!(
            complained.contains(words),
            "{arguments:?}: {said}{complained}"
        );
    }
    only.say("leave");
    only.end();
}
