//! Output and input: lines never mix, prompts appear, files are private, readers may go away.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod common;

use common::{Folder, Outcome, launcher, run, start};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;

#[test]
fn long_lines_of_many_ranks_never_mix() {
    const LINES: usize = 40;
    let folder = Folder::new();
    for rank in 0..8 {
        let line = format!("{}\n", rank.to_string().repeat(20_000 + rank));
        std::fs::write(folder.file(&rank.to_string()), line.repeat(LINES)).unwrap();
    }
    let wdir = folder.file("");
    let outcome = run(&[
        "-n",
        "8",
        "--wdir",
        &wdir,
        "sh",
        "-c",
        "exec cat $COBRE_SHM_RANK",
    ]);
    let mut counts = [0; 8];
    for line in outcome.stdout.lines() {
        let rank: usize = line[..1].parse().unwrap();
        let whole = line.len() == 20_000 + rank && line.bytes().all(|b| b == line.as_bytes()[0]);
        assert!(whole, "a line of rank {rank} is not whole");
        counts[rank] += 1;
    }
    assert_eq!(counts, [LINES; 8]);
}

#[test]
fn a_prompt_without_newline_appears_and_rank_0_reads_the_answer() {
    let script = "[ $COBRE_SHM_RANK = 0 ] || exit 0; printf 'name? '; read name; echo hello $name";
    let mut running = start(launcher(&["-n", "2", "sh", "-c", script]));
    running.read_until("name? ", 1);
    running.write("you\n");
    assert_eq!(running.finish().stdout, "name? hello you\n");
}

/// However long what stands before it, and whether or not it ends where a block of output would.
#[test]
fn a_question_behind_a_long_line_appears() {
    for length in [1013, 4085, 5000] {
        let script = format!("printf %0{length}d 0; printf ' continue? '; read x; echo got $x");
        let mut running = start(launcher(&["-n", "1", "sh", "-c", &script]));
        running.read_until("continue? ", 1);
        running.write("yes\n");
        assert!(running.finish().stdout.ends_with("continue? got yes\n"));
    }
}

/// What is written more often than prompts are waited for.
#[test]
fn dots_appear_while_they_are_written() {
    let folder = Folder::new();
    let stop = folder.file("stop");
    let script = "until [ -e $0 ]; do printf .; sleep 0.02; done; echo";
    let mut running = start(launcher(&["-n", "1", "sh", "-c", script, &stop]));
    running.read_until(".", 3);
    std::fs::write(&stop, "").unwrap();
    assert_eq!(running.finish().code, 0);
}

/// A bar that draws over its line, as a user meets it: each state appears when it is drawn.
#[test]
fn a_bar_is_passed_on_state_by_state() {
    let script = "printf '\\r10%%'; read x; printf '\\r20%%'; read x; echo";
    for (options, shown) in [
        (&["-n", "1"][..], "\r10%\r20%\n"),
        (&["-n", "1", "--label"], "\r[0] 10%\r[0] 20%\n"),
    ] {
        let mut running = start(launcher(&[options, &["sh", "-c", script]].concat()));
        for state in ["10%", "20%"] {
            running.read_until(state, 1);
            running.write("go\n");
        }
        assert_eq!(running.finish().stdout, shown);
    }
}

#[test]
fn labels_stand_before_each_line_also_of_a_prompt() {
    let script =
        "[ $COBRE_SHM_RANK = 10 ] || { echo a; echo b >&2; exit; }; printf 'c? '; read x; echo d";
    let command = launcher(&["-n", "11", "--label", "--stdin", "all", "sh", "-c", script]);
    let mut running = start(command);
    running.read_until("[10] c? ", 1);
    running.read_until("a\n", 10);
    let outcome = running.finish();
    for rank in 0..10 {
        let (out, err) = (format!("[ {rank}] a\n"), format!("[ {rank}] b\n"));
        assert_eq!(
            outcome.stdout.matches(&out).count(),
            1,
            "{}",
            outcome.stdout
        );
        assert_eq!(
            outcome.stderr.matches(&err).count(),
            1,
            "{}",
            outcome.stderr
        );
    }
    assert!(outcome.stdout.ends_with("d\n"));
}

#[test]
fn one_place_for_both_streams_is_written_by_one_hand() {
    let outcome = start({
        let mut command = std::process::Command::new("sh");
        let launcher = env!("CARGO_BIN_EXE_cobre-launch");
        let ranks = "printf partial; read x; echo err >&2; echo out";
        command.args([
            "-c",
            "exec \"$@\" 2>&1",
            "sh",
            launcher,
            "-n",
            "2",
            "--stdin",
            "all",
        ]);
        command.args(["sh", "-c", ranks]);
        command
    });
    let mut running = outcome;
    running.read_until("partial", 2);
    let text = running.finish().stdout;
    for line in text.lines() {
        assert!(
            ["partial", "partialout", "out", "err"].contains(&line),
            "{text}"
        );
    }
    assert_eq!(text.matches("err\n").count(), 2);
}

#[test]
fn with_pty_ranks_write_to_terminals_and_their_output_arrives_unchanged() {
    let script = "[ -t 1 ] && echo out; [ -t 2 ] && echo err >&2; [ -t 0 ] || echo no stdin";
    let folder = Folder::new();
    let logs = folder.file("logs");
    let args = [
        "-n",
        "2",
        "--pty",
        "--output-dir",
        &logs,
        "sh",
        "-c",
        script,
    ];
    let outcome = run(&args);
    assert_eq!(outcome.code, 0);
    assert_eq!(outcome.sorted(), ["no stdin", "no stdin", "out", "out"]);
    assert_eq!(outcome.stderr, "err\nerr\n");
    let copy = std::fs::read_to_string(format!("{logs}/rank-1.stdout")).unwrap();
    assert_eq!(copy, "out\nno stdin\n");
    let outcome = run(&["-n", "1", "sh", "-c", script]);
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str()),
        ("no stdin\n", "")
    );
    // The kernel gives a terminal's output in small pieces.
    let outcome = run(&["-n", "2", "--pty", "seq", "100000"]);
    let lines = outcome.stdout.lines();
    let sum: u64 = lines.map(|line| line.parse::<u64>().unwrap()).sum();
    assert_eq!(sum, 100_000 * 100_001);
}

/// The C library writes whole blocks otherwise.
#[test]
fn with_pty_a_c_program_writes_line_by_line() {
    let mut running = start(launcher(&["-n", "1", "--pty", "grep", "x"]));
    running.write("axe\n");
    running.read_until("axe\n", 1);
    running.write("box\n");
    running.read_until("box\n", 1);
    assert_eq!(running.finish().code, 0);
}

/// Their terminals control nobody: Ctrl-C reaches them as without.
#[test]
fn with_pty_ranks_stay_in_the_session_and_process_group_of_the_launcher() {
    let script = "for p in $$ $COBRE_SHM_LAUNCHER; do cut -d' ' -f5-7 /proc/$p/stat; done";
    let outcome = run(&["-n", "1", "--pty", "sh", "-c", script]);
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0], lines[1]);
}

#[test]
fn files_of_each_rank_are_whole_and_private() {
    let folder = Folder::new();
    let logs = folder.file("a/b");
    let script = "printf 'out %s' $COBRE_SHM_RANK; echo err $COBRE_SHM_RANK >&2";
    for _ in 0..2 {
        let outcome = run(&["-n", "2", "--output-dir", &logs, "sh", "-c", script]);
        assert_eq!(outcome.code, 0);
        assert_eq!(outcome.stdout.matches("out ").count(), 2);
        for rank in 0..2 {
            for (stream, content) in [
                ("stdout", format!("out {rank}")),
                ("stderr", format!("err {rank}\n")),
            ] {
                let file = format!("{logs}/rank-{rank}.{stream}");
                assert_eq!(std::fs::read_to_string(&file).unwrap(), content);
                let mode = std::fs::metadata(&file).unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600);
                // The second run finds a file that others could read.
                std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
            }
        }
    }
}

/// Every option by which a user names a file creates it in the same way; each as the words that
/// name `out/rank-0.stdout`.
const OUTPUTS: [fn(&str) -> Vec<String>; 4] = [
    |folder| vec!["--output-dir".to_owned(), folder.to_owned()],
    |folder| vec!["--report".to_owned(), format!("{folder}/rank-0.stdout")],
    |folder| vec!["--trace".to_owned(), format!("{folder}/rank-0.stdout")],
    |folder| vec![format!("--profile={folder}/rank-0.stdout")],
];

fn write_to(option: fn(&str) -> Vec<String>, folder: &Folder) -> (Outcome, String) {
    let mut args = option(&folder.file(""));
    args.extend(["-n", "1", "sh", "-c", "echo x"].map(str::to_owned));
    (start(launcher(&args)).finish(), format!("{args:?}"))
}

#[test]
fn no_link_is_followed_to_write_a_file() {
    for option in OUTPUTS {
        let folder = Folder::new();
        let target = folder.file("target");
        std::fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, folder.file("rank-0.stdout")).unwrap();
        let (outcome, what) = write_to(option, &folder);
        assert_eq!(outcome.code, 1, "{what}: {}", outcome.stderr);
        let why = "it is a symbolic link, which is not followed";
        assert!(outcome.stderr.contains(why), "{what}: {}", outcome.stderr);
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious");
    }
}

#[test]
fn every_file_is_private_and_no_pipe_is_waited_for() {
    for option in OUTPUTS {
        let folder = Folder::new();
        let (outcome, what) = write_to(option, &folder);
        assert_eq!(outcome.code, 0, "{what}: {}", outcome.stderr);
        let file = folder.file("rank-0.stdout");
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{what}");
        std::fs::remove_file(&file).unwrap();
        nix::unistd::mkfifo(file.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let (outcome, what) = write_to(option, &folder);
        assert_eq!(outcome.code, 1, "{what}: {}", outcome.stderr);
        let why = "nobody reads from it";
        assert!(outcome.stderr.contains(why), "{what}: {}", outcome.stderr);
    }
}

#[test]
fn a_report_may_go_to_standard_output() {
    let outcome = run(&["-n", "1", "--report", "/dev/stdout", "echo", "x"]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert!(outcome.stdout.starts_with("x\n{"), "{}", outcome.stdout);
}

/// `--report /dev/null`, by root.
#[test]
fn a_report_leaves_what_is_no_file_as_it_is() {
    let folder = Folder::new();
    let pipe = folder.file("pipe");
    nix::unistd::mkfifo(
        pipe.as_str(),
        nix::sys::stat::Mode::from_bits_truncate(0o644),
    )
    .unwrap();
    let mode = || std::fs::metadata(&pipe).unwrap().permissions().mode() & 0o777;
    let before = mode();
    // Both ends, so that nobody waits for the other.
    let mut ours = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&pipe)
        .unwrap();
    let outcome = run(&["-n", "1", "--report", &pipe, "true"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
    assert_eq!(mode(), before);
    let mut text = [0; 1];
    ours.read_exact(&mut text).unwrap();
    assert_eq!(text, *b"{");
}

#[test]
fn a_report_that_cannot_be_written_does_not_hide_how_the_job_ended() {
    let folder = Folder::new();
    // Nothing can be written to it; and it is no link, which would not be followed.
    let full = folder.file("full");
    let device = nix::sys::stat::makedev(1, 7);
    let kind = nix::sys::stat::SFlag::S_IFCHR;
    let mode = nix::sys::stat::Mode::S_IRWXU;
    if nix::sys::stat::mknod(full.as_str(), kind, mode, device).is_err()
        || std::fs::File::create(&full).is_err()
    {
        println!("SKIPPED: it takes root, and devices, to make a file that is full");
        return;
    }
    for (script, code) in [("exit 0", 1), ("exit 7", 7)] {
        let outcome = run(&["-n", "1", "--report", &full, "sh", "-c", script]);
        assert_eq!(outcome.code, code, "{}", outcome.stderr);
        let said = "cobre-launch: --report: cannot write";
        assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
    }
}

#[test]
fn standard_input_goes_to_rank_0_or_all_or_none() {
    let script = "while read line; do echo $COBRE_SHM_RANK $line; done; echo $COBRE_SHM_RANK end";
    let fed = |stdin: &str| {
        let mut running = start(launcher(&["-n", "3", "--stdin", stdin, "sh", "-c", script]));
        running.write("a\nb\n");
        let outcome = running.finish();
        assert_eq!(outcome.code, 0);
        outcome.sorted().join(",")
    };
    assert_eq!(fed("0"), "0 a,0 b,0 end,1 end,2 end");
    assert_eq!(fed("all"), "0 a,0 b,0 end,1 a,1 b,1 end,2 a,2 b,2 end");
    assert_eq!(fed("none"), "0 end,1 end,2 end");
}

#[test]
fn much_input_reaches_all_who_listen_at_their_own_pace() {
    // Rank 1 does not read at all and ends; rank 2 reads in small pieces.
    let script = "case $COBRE_SHM_RANK in 0) wc -c;; 1) exit 0;; 2) dd bs=512 2>&- | wc -c;; esac";
    let mut running = start(launcher(&["-n", "3", "--stdin", "all", "sh", "-c", script]));
    let megabyte = "x".repeat(1 << 20);
    for _ in 0..3 {
        running.write(&megabyte);
    }
    assert_eq!(running.finish().sorted(), ["3145728", "3145728"]);
}

#[test]
fn a_reader_that_goes_away_ends_the_job_with_141() {
    let mut running = start(launcher(&["-n", "2", "yes"]));
    running.read_until("y\n", 2);
    running.close_stdout();
    let outcome = running.finish();
    assert_eq!((outcome.code, outcome.stderr.as_str()), (141, ""));
}

#[test]
fn a_reader_that_goes_away_at_the_very_end_is_141_too() {
    let folder = Folder::new();
    let file = folder.file("big");
    std::fs::write(&file, "line\n".repeat(40_000)).unwrap();
    let mut running = start(launcher(&["-n", "1", "cat", &file]));
    running.read_until("line\n", 1);
    running.close_stdout();
    assert_eq!(running.finish().code, 141);
}

/// An end in any case: also if nobody reads what is left, and nobody goes away.
#[test]
fn a_timeout_does_not_wait_for_a_reader_that_does_not_read() {
    let limits = ["--timeout", "100ms", "--kill-grace", "100ms"];
    let mut running = start(launcher(&[&["-n", "2"][..], &limits, &["yes"]].concat()));
    while running.runs() {
        std::thread::yield_now();
    }
    assert_eq!(running.finish().code, 124);
}

#[test]
fn verbose_tells_of_the_job_and_of_each_end() {
    let outcome = run(&["-v", "-n", "2", "sh", "-c", "exit 0"]);
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    assert_eq!(lines.len(), 5, "{lines:?}");
    assert!(
        lines[0].starts_with("cobre-launch: job /cobre-"),
        "{lines:?}"
    );
    assert_eq!(
        lines
            .iter()
            .filter(|line| line.contains("exited with code 0 after"))
            .count(),
        2
    );
}

#[test]
fn output_that_cannot_be_written_is_no_success() {
    let full = || std::fs::File::create("/dev/full").unwrap();
    let to_full = |args: &[&str]| {
        let output = launcher(args).stdout(full()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code().unwrap(), said)
    };
    let why = "No space left on device (os error 28)";
    assert_eq!(
        to_full(&["-n", "2", "echo", "lost"]),
        (
            1,
            format!("cobre-launch: standard output is cut short: {why}\n")
        )
    );
    assert_eq!(
        to_full(&["-n", "2", "--dry-run", "echo"]),
        (
            1,
            format!("cobre-launch: writing to standard output failed: {why}\n")
        )
    );
    for answer in ["--help", "-h", "--version", "--man", "--completions=bash"] {
        let said = format!("cobre-launch: writing to standard output failed: {why}\n");
        assert_eq!(to_full(&[answer]), (1, said), "{answer}");
    }
    for (code, args) in [
        (1, &["-n", "2", "sh", "-c", "echo lost >&2"][..]),
        (127, &["no-such-program"]),
        (2, &["-n", "0", "true"]),
    ] {
        let output = launcher(args).stderr(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}");
    }
}

#[test]
fn a_copy_that_is_cut_short_is_no_success() {
    let folder = Folder::new();
    // Half a megabyte or one for each file, depending on the shell; the output is more.
    let limited = "ulimit -f 1024; exec \"$@\"";
    let mut command = std::process::Command::new("sh");
    command.args(["-c", limited, "sh", env!("CARGO_BIN_EXE_cobre-launch")]);
    command.args(["-n", "1", "--output-dir", &folder.file("logs")]);
    command.args(["seq", "300000"]);
    // The job's own memory is a file too.
    command.env("COBRE_SHM_STAGING", "64K");
    let outcome = start(command).finish();
    assert_eq!(outcome.stdout.lines().count(), 300_000);
    assert_eq!(
        (outcome.code, outcome.stderr.as_str()),
        (
            1,
            "cobre-launch: --output-dir: rank-0.stdout is cut short: File too large (os error 27)\n"
        )
    );
}

/// Nobody waits for a slow reader there, so its bytes would be lost.
#[test]
fn a_copy_goes_to_regular_files_only() {
    let folder = Folder::new();
    let pipe = folder.file("rank-0.stdout");
    nix::unistd::mkfifo(pipe.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    // Both ends, so that it has a reader and this does not wait.
    let both = std::fs::File::options().read(true).write(true).open(&pipe);
    let outcome = run(&["-n", "1", "--output-dir", &folder.file(""), "echo", "lost"]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (1, ""));
    let told = format!("--output-dir: cannot create `{pipe}`: it is there, and no regular file\n");
    assert!(outcome.stderr.ends_with(&told), "{}", outcome.stderr);
    drop(both.unwrap());
}
