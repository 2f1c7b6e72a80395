//! The inspector as a user meets it: jobs under the launcher, looked at from outside.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::TcpStream,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::PathBuf,
    process::Command,
    time::Instant,
};

use cobre_comm_trait::text::is_misleading;
use cobre_tests::{End, Process, patience, run};
use nix::sys::signal::Signal;

const LAUNCH: &str = env!("CARGO_BIN_EXE_launch");
const RANK: &str = env!("CARGO_BIN_EXE_scripted-rank");
const INSPECT: &str = env!("CARGO_BIN_EXE_inspect");

/// A running job: the launcher, and the job's name.
fn launch(scripts: &[&[&str]]) -> (Process, String) {
    let mut command = Command::new(LAUNCH);
    for (rank, script) in scripts.iter().enumerate() {
        if rank > 0 {
            command.arg(":");
        }
        command.args(["-n", "1", RANK, "name"]).args(*script);
    }
    let mut launcher = Process::start("the launcher", &mut command);
    let name = launcher.hear("name ");
    (launcher, name)
}

/// How the inspector ends, and what it says.
fn inspect(arguments: &[&str]) -> (i32, String, String) {
    run(Command::new(INSPECT).args(arguments))
}

fn told(arguments: &[&str]) -> String {
    let (code, said, complained) = inspect(arguments);
    assert_eq!(
        (code, complained.as_str()),
        (0, ""),
        "{arguments:?}: {said}"
    );
    said
}

/// Looks until it sees all of `wanted`: what sleeps must fall asleep first.
fn see(arguments: &[&str], wanted: &[&str]) -> String {
    let begin = Instant::now();
    loop {
        let said = told(arguments);
        if wanted.iter().all(|wanted| said.contains(wanted)) {
            return said;
        }
        assert!(
            begin.elapsed() < patience(),
            "never all of {wanted:?}: {said}"
        );
    }
}

#[test]
fn a_hung_job_is_explained() {
    let waits: &[&str] = &["join", "reduce:100", "barrier"];
    let (mut launcher, name) = launch(&[&["join", "reduce:100", "hear", "barrier"], waits, waits]);
    launcher.hear("ok reduce");
    let said = see(
        &["show", &name],
        &[
            "3 ranks, running",
            "ranks 1-2 wait for rank 0 in barrier() #2 at ",
            "rank 0 computes since allreduce(f64[100], Sum) #1 at ",
            "scripted-rank.rs:",
        ],
    );
    assert!(said.contains("staging"), "{said}");
    // The same on a terminal of 80 columns.
    let mut narrow = Command::new(INSPECT);
    let (_, narrow, _) = run(narrow.args(["show", &name]).env("COLUMNS", "80"));
    let wide = narrow.lines().find(|line| line.chars().count() > 80);
    assert_eq!(wide, None, "{narrow}");
    assert!(
        narrow.contains("\n1 computing, 2 waiting\nranks 1-2 wait for rank 0 in"),
        "{narrow}"
    );
    for words in ["barrier #2", "scripted-rank.rs:", "rank 0     "] {
        assert!(narrow.contains(words), "{words}: {narrow}");
    }
    let pid = launcher.pid().to_string();
    see(
        &["show", &pid, "--json"],
        &["\"doing\":\"waiting\"", "\"rank\":0"],
    );
    assert!(told(&["list"]).contains(&name));
    see(
        &["watch", &name, "--count", "1"],
        &["1 computing, 2 waiting"],
    );
    let waiting = format!("cobre_rank_state{{job=\"{name}\",rank=\"2\",state=\"waiting\"}} 1\n");
    see(&["metrics"], &[&waiting]);
    launcher.say("go on");
    assert_eq!(launcher.end(), End::Code(0), "{}", launcher.heard());
    let (code, _, complained) = inspect(&["show", &name]);
    assert_eq!(code, 1);
    assert!(complained.contains("there is no job"), "{complained}");
}

/// The control segment of the job that `process` takes part in, opened as an inspector opens it.
fn looked_at(process: u32, name: &str) -> File {
    let links = fs::read_dir(format!("/proc/{process}/fd")).expect("it is ours");
    let mut links = links.filter_map(|entry| Some(entry.ok()?.path()));
    let link = links.find(|path| {
        let target = fs::read_link(path).unwrap_or_default();
        target.to_string_lossy().contains(name)
    });
    File::open(link.expect("it has the segment open")).expect("it is ours")
}

/// `top` and `watch` have the segment open for as long as they run.
#[test]
fn who_looks_at_a_job_does_not_keep_it_in_view() {
    let (mut launcher, name) = launch(&[&["join", "hear"], &["join"]]);
    launcher.hear("joined");
    told(&["show", &name]);
    let open = looked_at(launcher.pid(), &name);
    launcher.say("go on");
    assert_eq!(launcher.end(), End::Code(0), "{}", launcher.heard());
    let (code, said, complained) = inspect(&["show", &name]);
    assert_eq!(code, 1, "{said}");
    assert!(complained.contains("there is no job"), "{complained}");
    assert!(!told(&["list"]).contains(&name));
    drop(open);
}

/// What a rank says, and its arguments, with what would control a terminal or mislead the eye.
#[test]
fn what_others_wrote_is_shown_without_obeying_it() {
    let evil = "\u{1b}]0;X\u{7}\u{1b}[31m\nforged\r\u{202e}\u{9b}2J\u{200b}end";
    let seen = r"\u{1b}]0;X\u{7}\u{1b}[31m\nforged\r\u{202e}\u{9b}2J\u{200b}end";
    let says = format!("text:{evil}");
    let (mut launcher, name) = launch(&[
        &["join", &says, "barrier", "hear", &says],
        &["join", "barrier"],
    ]);
    launcher.hear("ok barrier");
    let said = see(&["show", &name], &[seen]);
    assert!(said.contains(&format!("rank 0: {seen}")), "{said}");
    for arguments in [
        &["show", &name][..],
        &["list"],
        &["watch", &name, "--count", "1"],
        &["metrics"],
        &["topology", &name],
        &["show", &name, "--json"],
    ] {
        let said = told(arguments);
        let misleads = |c| c != '\n' && is_misleading(c);
        assert!(!said.contains(misleads), "{arguments:?}: {said:?}");
        assert!(
            !said.lines().any(|line| line.starts_with("forged")),
            "{said}"
        );
    }
    let list = told(&["list"]);
    let rows = list.lines().filter(|line| line.starts_with(&name));
    assert_eq!(rows.count(), 1, "{list}");
    // As data it is what it is.
    let data: serde_json::Value =
        serde_json::from_str(&told(&["show", &name, "--json"])).expect("JSON");
    assert_eq!(data["ranks"][0]["said"]["text"], evil);
    let command = data["ranks"][0]["process"]["command"]
        .as_str()
        .expect("text");
    assert!(command.ends_with(&format!("hear {says}")), "{command}");
    let (code, _, complained) = inspect(&["show", evil]);
    assert_eq!(code, 1);
    assert!(
        !complained.trim_end().contains(is_misleading),
        "{complained:?}"
    );
    launcher.say("go on");
    launcher.end();
}

#[test]
fn a_wait_in_a_split_communicator_is_seen_and_windows_are_counted() {
    let script: &[&str] = &["join", "region:1000", "publish", "inner:2", "inner-barrier"];
    let listens: &[&str] = &[
        "join",
        "region:1000",
        "publish",
        "inner:2",
        "hear",
        "inner-barrier",
    ];
    let (mut launcher, name) = launch(&[listens, script]);
    see(
        &["show", &name],
        &[
            "rank 1 waits for rank 0 in barrier() #1 of split 2 at ",
            "of 3 communicators",
            "8.19 kB  2 ranks    8.19 kB  node ",
        ],
    );
    launcher.say("go on");
    assert_eq!(launcher.end(), End::Code(0), "{}", launcher.heard());
}

#[test]
fn what_ranks_say_about_their_progress_is_a_metric() {
    let (mut launcher, name) = launch(&[
        &["join", "progress:3:10", "barrier", "hear"],
        &["join", "barrier"],
    ]);
    launcher.hear("ok barrier");
    let sample = |what, value| {
        format!("\ncobre_rank_progress_{what}{{job=\"{name}\",rank=\"0\"}} {value}\n")
    };
    see(&["metrics"], &[&sample("done", 3), &sample("goal", 10)]);
    launcher.say("go on");
    launcher.end();
}

#[test]
fn a_job_whose_ranks_have_left_has_ended() {
    let (mut launcher, name) = launch(&[&["join", "leave", "hear"], &["join", "leave"]]);
    launcher.hear("left");
    let said = see(
        &["watch", &name, "--count", "1"],
        &[" ended", ": 2 left; call 0, cpu "],
    );
    assert!(!said.replace(&name, "").contains('-'), "{said}");
    assert!(see(&["show", &name], &["2 ranks, ended"]).contains("left"));
    let metrics = told(&["metrics"]);
    assert!(
        metrics.contains(&format!("cobre_job_window_bytes{{job=\"{name}\"}} 0\n")),
        "{metrics}"
    );
    launcher.say("go on");
    assert_eq!(launcher.end(), End::Code(0), "{}", launcher.heard());
}

#[test]
fn programs_that_never_join_are_told_with_their_processes() {
    let mut command = Command::new(LAUNCH);
    let mut launcher = Process::start("the launcher", command.args(["-n", "2", "sleep", "1000"]));
    let pid = launcher.pid().to_string();
    // The launcher must have founded its job.
    let begin = Instant::now();
    let said = loop {
        let (_, said, _) = inspect(&["show", &pid]);
        if said.contains("no rank has joined (processes ") {
            break said;
        }
        assert!(begin.elapsed() < patience(), "{said}");
    };
    assert!(
        said.contains("2 absent")
            && said.contains(": a program that does not call cobre_shm::init"),
        "{said}"
    );
    let row = |rank: &str| {
        let row = said.lines().find(|line| line.starts_with(rank));
        row.map(|row| {
            row.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
    };
    let row = row("0 ").expect("a row of rank 0");
    let command = std::fs::read_to_string(format!("/proc/{}/cmdline", row[1]));
    assert_eq!(command.expect("it runs"), "sleep\x001000\0");
    let list = told(&["list"]);
    let name = said.split([' ', ':']).nth(1).expect("the job's name");
    let listed = list.lines().find(|line| line.starts_with(name));
    assert!(
        listed.is_some_and(|line| line.contains("0 joined")),
        "{list}"
    );
    launcher.signal(Signal::SIGTERM);
    launcher.end();
}

#[test]
fn what_ranks_disagree_about_is_shown() {
    let script: &[&str] = &["join", "barrier", "hear"];
    let (mut launcher, name) = launch(&[&["join", "reduce:3", "hear"], script]);
    // The ranks without standard input end with an error; rank 0 still holds the job.
    let said = see(&["show", &name], &["failed: ranks disagree"]);
    let cause = format!("\ncobre_job_failure_info{{job=\"{name}\",cause=\"ranks disagree about");
    assert!(told(&["metrics"]).contains(&cause));
    assert!(
        said.contains("allreduce(f64[3], Sum)") && said.contains("barrier()"),
        "{said}"
    );
    launcher.say("go on");
    assert_ne!(launcher.end(), End::Code(0), "{}", launcher.heard());
}

#[test]
fn metrics_are_served_on_loopback_only() {
    let (code, _, complained) = inspect(&["metrics", "--listen", "0.0.0.0:0"]);
    assert_eq!(code, 1);
    assert!(complained.contains("loopback"), "{complained}");
    let mut command = Command::new(INSPECT);
    let mut server = Process::start(
        "the server",
        command.args(["metrics", "--listen", "127.0.0.1:0"]),
    );
    let address = server.hear("serving http://");
    let address = address.strip_suffix("/metrics").expect("an address");
    let connect = || {
        let stream = TcpStream::connect(address).expect("it listens");
        let limited = stream.set_read_timeout(Some(patience()));
        limited.expect("a socket");
        stream
    };
    let ask = |mut stream: &TcpStream, request: &str| {
        let mut answer = String::new();
        let asked = stream.write_all(request.as_bytes());
        let _ = asked.and_then(|()| stream.read_to_string(&mut answer));
        answer
    };
    // Whoever is slow keeps nobody waiting, and is answered too. A server that served one after the other
    // would have let the first go before it came to the last. Each has a few seconds, which may not be
    // enough on a busy machine.
    let begin = Instant::now();
    loop {
        let slow: Vec<TcpStream> = (0..20).map(|_| connect()).collect();
        for mut client in &slow {
            client.write_all(b"GET /met").expect("it reads");
        }
        let answer = ask(
            &connect(),
            "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
        );
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("# TYPE cobre_jobs gauge"), "{answer}");
        let late = ask(&slow[0], "rics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        if late.starts_with("HTTP/1.1 200 OK\r\n") {
            break;
        }
        assert!(begin.elapsed() < patience(), "never in time: {late:?}");
    }
    let rebound = "GET /metrics HTTP/1.1\r\nHost: example.org\r\n\r\n";
    let rebound = ask(&connect(), rebound);
    assert!(rebound.starts_with("HTTP/1.1 403"), "{rebound}");
}

/// A folder that is gone afterwards, also if the test fails.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("cobre-metrics-{}", std::process::id()));
        // Of a process that was killed and had the same number.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("a folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn metrics_are_served_to_this_user_alone_on_a_socket() {
    let folder = Folder::new();
    let path = folder.0.join("socket");
    let address = format!("unix:{}", path.display());
    for _ in 0..2 {
        // The second finds what the first left when it was killed.
        let mut command = Command::new(INSPECT);
        let mut server = Process::start(
            "the server",
            command.args(["metrics", "--listen", &address]),
        );
        server.hear("serving unix:");
        let mode = std::fs::metadata(&path)
            .expect("a socket")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut client = UnixStream::connect(&path).expect("it listens");
        let limited = client.set_read_timeout(Some(patience()));
        limited.expect("a socket");
        let request = b"GET /metrics HTTP/1.1\r\nHost: anything\r\n\r\n";
        client.write_all(request).expect("it reads");
        let mut said = String::new();
        client.read_to_string(&mut said).expect("it answers");
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
        let (code, _, complained) = inspect(&["metrics", "--listen", &address]);
        assert_eq!(code, 1);
        assert!(complained.contains("in use"), "{complained}");
    }
}

#[test]
fn a_terminal_that_cannot_show_a_screen_is_sent_to_watch() {
    let (mut launcher, name) = launch(&[&["join", "hear"], &["join"]]);
    launcher.hear("joined ");
    let (code, _, complained) = inspect(&["top", &name]);
    assert_eq!(code, 1);
    assert!(complained.contains("cobre-inspect watch"), "{complained}");
    launcher.say("go on");
    launcher.end();
}

#[test]
fn mistakes_are_named() {
    for (arguments, code, words) in [
        (
            &["show", "/no-such-job"][..],
            1,
            "there is no job \"/no-such-job\"",
        ),
        (&["doctor", "-n", "5000"], 2, "5000"),
        (&["watch", "--interval", "0"], 2, "expected from 50ms"),
        (&[], 2, "Usage"),
    ] {
        let (ended, said, complained) = inspect(arguments);
        assert_eq!(ended, code, "{arguments:?}");
        assert!(
            complained.contains(words),
            "{arguments:?}: {said}{complained}"
        );
    }
}

#[test]
fn the_doctor_says_what_a_job_needs() {
    let said = told(&["doctor", "-n", "8"]);
    for what in [
        "/dev/shm",
        "processors",
        "NUMA",
        "futex_waitv",
        "FOR 8 RANKS",
    ] {
        assert!(said.contains(what), "{what}: {said}");
    }
    let data = told(&["doctor", "--json"]);
    assert!(data.starts_with("[{\"verdict\":"), "{data}");
}
