//! What the command line means, and what of it is shown.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{Folder, launcher, run, start, start_writing_to};
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

#[test]
fn names_in_braces_become_numbers_where_they_are_asked_for() {
    let folder = Folder::new();
    for rank in ["0", "1"] {
        std::fs::create_dir(folder.file(rank)).unwrap();
    }
    let wdir = folder.file("{rank}");
    let logs = folder.file("logs-{rank}-of-{size}");
    let options = [
        "-n",
        "2",
        "--substitute",
        "--torch-env",
        "--wdir",
        &wdir,
        "--output-dir",
        &logs,
    ];
    let script = "echo $(basename $PWD) $1 $2 $RANK/$WORLD_SIZE";
    let program = ["sh", "-c", script, "sh", "{rank}/{size}", "{{rank}}"];
    let outcome = run(&[&options[..], &program].concat());
    assert_eq!((outcome.stderr.as_str(), outcome.code), ("", 0));
    let lines = ["0 0/2 {rank} 0/2", "1 1/2 {rank} 1/2"];
    assert_eq!(outcome.sorted(), lines);
    for (rank, line) in lines.iter().enumerate() {
        let copy = folder.file(&format!("logs-{rank}-of-2/rank-{rank}.stdout"));
        assert_eq!(std::fs::read_to_string(copy).unwrap().trim_end(), *line);
    }
}

#[test]
fn a_folder_for_output_has_the_files_of_the_last_job_only() {
    let folder = Folder::new();
    let logs = folder.file("logs");
    let outcome = run(&["-n", "3", "--output-dir", &logs, "echo", "first"]);
    assert_eq!((outcome.stderr.as_str(), outcome.code), ("", 0));
    std::fs::write(folder.file("logs/rank-2.notes"), "mine").unwrap();
    let outcome = run(&["-n", "2", "--output-dir", &logs, "echo", "second"]);
    let said = format!(
        "cobre-launch: --output-dir: removed 2 files of an earlier job with more ranks from {logs}\n"
    );
    assert_eq!((outcome.stderr, outcome.code), (said, 0));
    let mut names: Vec<_> = std::fs::read_dir(&logs)
        .unwrap()
        .map(|one| one.unwrap().file_name())
        .collect();
    names.sort();
    let expected = [
        "rank-0.stderr",
        "rank-0.stdout",
        "rank-1.stderr",
        "rank-1.stdout",
        "rank-2.notes",
    ];
    assert_eq!(names, expected);
}

#[test]
fn rank() {
    common::play(&[("member", || drop(common::join()))]);
}

#[test]
fn the_staging_that_ranks_are_given_is_that_of_the_job() {
    let words = common::rank_of("member", "2", &["--env", "COBRE_SHM_STAGING=8K"]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = run(&words);
    assert_eq!((outcome.stderr.as_str(), outcome.code), ("", 0));
    // The launcher founds the job, so it reads it.
    let words = common::rank_of("member", "2", &["--env", "COBRE_SHM_STAGING=8X"]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = run(&words);
    assert_eq!(outcome.code, 1);
    let said = "cobre-launch: COBRE_SHM_STAGING=\"8X\" is not valid";
    assert!(outcome.stderr.starts_with(said), "{}", outcome.stderr);
}

#[test]
fn completions_and_a_manual_page_name_the_options() {
    for shell in ["bash", "zsh", "fish"] {
        let outcome = run(&["--completions", shell]);
        assert_eq!((outcome.stderr.as_str(), outcome.code), ("", 0), "{shell}");
        assert!(
            outcome.stdout.contains("keep-going"),
            "{shell}: {}",
            outcome.stdout
        );
    }
    let outcome = run(&["--man"]);
    assert_eq!((outcome.stderr.as_str(), outcome.code), ("", 0));
    assert!(
        outcome.stdout.contains(".TH cobre-launch 1"),
        "{}",
        outcome.stdout
    );
    assert!(
        outcome.stdout.contains("\n  124    \\-\\-timeout passed\n"),
        "{}",
        outcome.stdout
    );
    assert_eq!(run(&["--man", "true"]).code, 2);
    assert_eq!(run(&["--completions", "csh"]).code, 2);
}
