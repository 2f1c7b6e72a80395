//! What the command line means, and what of it is shown.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{launcher, run, start, start_writing_to};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

#[test]
fn a_colon_behind_two_dashes_reaches_the_program() {
    let outcome = run(&["-n", "1", "--", "echo", "-d", ":", "-f", "1"]);
    assert_eq!((outcome.stdout.as_str(), outcome.code), ("-d : -f 1\n", 0));
}

#[test]
fn a_program_that_a_colon_began_by_mistake_is_not_started() {
    let outcome = run(&["-n", "1", "echo", "-F", ":", "{print $1}", "f"]);
    assert_eq!((outcome.stdout.as_str(), outcome.code), ("", 2));
    assert!(
        outcome.stderr.contains("put `--` before `echo`"),
        "{}",
        outcome.stderr
    );
    // It may be meant so: then it is said.
    let outcome = run(&["-n", "1", "echo", "-n", ":", "-n", "1", "true"]);
    assert_eq!(outcome.code, 0);
    let said = "cobre-launch: the `:` after `-n` begins another program; if it is a value for `echo`, put \
                `--` before `echo`\n";
    assert_eq!(outcome.stderr, said);
}

#[test]
fn options_of_other_launchers_are_accepted_or_answered() {
    let options = [
        "-np",
        "2",
        "--oversubscribe",
        "--mca",
        "btl",
        "self",
        "-x",
        "A=b",
    ];
    let outcome = run(&[&options[..], &["sh", "-c", "echo $A"]].concat());
    assert_eq!((outcome.stdout.as_str(), outcome.code), ("b\nb\n", 0));
    assert!(
        outcome
            .stderr
            .starts_with("cobre-launch: --mca is ignored: ")
    );
    assert_eq!(outcome.stderr.lines().count(), 1, "{}", outcome.stderr);
    let outcome = run(&["-np", "2", "--hostfile", "hosts", "true"]);
    assert_eq!(outcome.code, 2);
    assert!(
        outcome
            .stderr
            .contains("--hostfile: all ranks run on this machine")
    );
}

#[test]
fn the_version_names_the_origin_and_the_layout() {
    let outcome = run(&["--version"]);
    let version = env!("CARGO_PKG_VERSION");
    let layout = cobre_shm::observer::LAYOUT_VERSION;
    let line = outcome.stdout.trim_end();
    let rest = line
        .strip_prefix(&format!("cobre-launch {version} ("))
        .unwrap();
    let origin = rest.strip_suffix(&format!(", layout {layout})")).unwrap();
    let is_commit = |commit: &str| {
        let commit = commit.trim_end_matches('+');
        commit.len() == 12 && commit.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let known = origin.strip_prefix("commit ").is_some_and(is_commit);
    assert!(known || origin == "release", "{line}");
}

#[test]
fn a_dry_run_shows_bytes_that_are_not_text_as_a_shell_reads_them() {
    let setting = OsStr::from_bytes(b"X=\xff");
    let word = OsStr::from_bytes(b"\xff\xfe a'b");
    let words = ["--dry-run", "-n", "1", "--env"].map(OsStr::new);
    let words = [&words[..], &[setting, OsStr::new("/bin/echo"), word]].concat();
    let outcome = start(launcher(&words)).finish();
    assert!(
        outcome.stdout.contains(r" X=$'\xff' "),
        "{}",
        outcome.stdout
    );
    assert!(
        outcome.stdout.ends_with(" /bin/echo $'\\xff\\xfe a\\'b'\n"),
        "{}",
        outcome.stdout
    );
}

#[test]
fn a_dry_run_waits_for_a_slow_reader_of_a_pipe_that_does_not_block() {
    let (mut from, to) = std::io::pipe().unwrap();
    nix::fcntl::fcntl(
        &to,
        nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK),
    )
    .unwrap();
    let words = ["-n", "1000", "--dry-run", "true"];
    let running = start_writing_to(launcher(&words), Stdio::from(to));
    let mut text = String::new();
    from.read_to_string(&mut text).unwrap();
    let outcome = running.finish();
    assert_eq!((outcome.stderr.as_str(), outcome.code), ("", 0));
    assert_eq!(text.lines().count(), 1001);
}
