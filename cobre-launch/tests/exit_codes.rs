//! The exit code table, the last words, and errors of usage, as a user sees them.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Folder, launcher, run, start};
use std::os::unix::fs::PermissionsExt;

#[test]
fn eight_ranks_know_their_numbers_and_end_with_0() {
    let outcome = run(&[
        "-n",
        "8",
        "sh",
        "-c",
        "echo $COBRE_SHM_RANK $COBRE_SHM_SIZE",
    ]);
    let expected: Vec<String> = (0..8).map(|rank| format!("{rank} 8")).collect();
    assert_eq!(outcome.sorted(), expected);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
}

#[test]
fn ranks_get_the_documented_environment_and_keep_the_rest() {
    let script = "echo $COBRE_COMM_BACKEND $COBRE_SHM_LAUNCHER ${COBRE_SHM_NAME%%-*} $MINE $A";
    let mut command = launcher(&["-n", "2", "--env", "A=x y", "sh", "-c", script]);
    command.env("MINE", "kept");
    let running = start(command);
    let pid = running.pid();
    let line = format!("shm {pid} /cobre kept x y");
    assert_eq!(running.finish().sorted(), [&line, &line]);
}

#[test]
fn several_programs_make_one_job() {
    let outcome = run(&[
        "-n",
        "1",
        "sh",
        "-c",
        "echo a $COBRE_SHM_RANK $COBRE_SHM_SIZE",
        ":",
        "-n",
        "2",
        "--wdir",
        "/",
        "sh",
        "-c",
        "echo b $COBRE_SHM_RANK $PWD",
    ]);
    assert_eq!(outcome.sorted(), ["a 0 3", "b 1 /", "b 2 /"]);
}

#[test]
fn one_code_of_all_ranks_is_the_code_of_the_job() {
    // All wait for the same end of input, so that none ends before all have started.
    let outcome = run(&["-n", "3", "--stdin", "all", "sh", "-c", "read x; exit 5"]);
    assert_eq!(outcome.code, 5);
}

#[test]
fn the_first_rank_to_fail_is_named_with_its_last_lines() {
    let script = "[ $COBRE_SHM_RANK = 1 ] || exec sleep 1000
        echo chatter; echo one >&2; printf 'two, unfinished' >&2; exit 7";
    let outcome = run(&["-n", "3", "sh", "-c", script]);
    assert_eq!(outcome.code, 7);
    assert_eq!(outcome.stdout, "chatter\n");
    assert_eq!(
        outcome.stderr_without_pids(),
        "one\n\
         two, unfinished\n\
         cobre-launch: rank 1 (pid PID) exited with code 7 before it joined the job\n  \
           its last lines on stderr:\n    \
             | one\n    \
             | two, unfinished\n  \
           ranks 0, 2 had to be ended\n  \
           exit code 7\n"
    );
}

#[test]
fn a_signal_is_named_and_makes_128_plus_it() {
    let script = "[ $COBRE_SHM_RANK = 2 ] || exec sleep 1000; echo $$; kill -9 $$";
    let outcome = run(&["-n", "4", "sh", "-c", script]);
    let pid = outcome.stdout.trim();
    assert_eq!(
        outcome.stderr_without_times(),
        format!(
            "cobre-launch: rank 2 (pid {pid}) was killed by SIGKILL (signal 9)\n  \
               its last lines on stdout:\n    | {pid}\n  \
               ranks 0-1, 3 had to be ended\n  \
               exit code 137\n"
        )
    );
    assert_eq!(outcome.code, 137);
}

#[test]
fn whoever_ignores_sigterm_is_killed_after_the_grace() {
    let script = "trap '' TERM; [ $COBRE_SHM_RANK = 1 ] && exit 9; while :; do sleep 1000; done";
    let outcome = run(&["-n", "2", "--kill-grace", "50ms", "sh", "-c", script]);
    assert_eq!(outcome.code, 9);
}

#[test]
fn a_timeout_is_124() {
    let outcome = run(&["-n", "2", "--timeout", "100ms", "sleep", "1000"]);
    assert_eq!(outcome.code, 124);
    assert_eq!(
        outcome.stderr,
        "cobre-launch: the job did not end within 100ms (--timeout); ranks 0-1 still ran\n  exit \
         code 124\n"
    );
}

#[test]
fn a_program_that_is_not_found_is_127_and_nothing_is_started() {
    let folder = Folder::new();
    let mark = folder.file("started");
    let outcome = run(&["-n", "1", "touch", &mark, ":", "-n", "1", "no-such-program"]);
    assert_eq!(outcome.code, 127);
    assert_eq!(
        outcome.stderr,
        "cobre-launch: program `no-such-program` not found in any folder of PATH; nothing was \
         started (a program in this folder is `./no-such-program`)\n"
    );
    assert!(!std::path::Path::new(&mark).exists());
    let outcome = run(&["./no-such-program"]);
    assert_eq!(outcome.code, 127);
    assert_eq!(
        outcome.stderr,
        "cobre-launch: program `./no-such-program` does not exist; nothing was started\n"
    );
}

#[test]
fn a_program_that_cannot_be_executed_is_126() {
    let outcome = run(&["/etc/passwd"]);
    assert_eq!(outcome.code, 126);
    assert_eq!(
        outcome.stderr,
        "cobre-launch: program `/etc/passwd` cannot be executed: Permission denied; nothing was \
         started\n"
    );
    let folder = Folder::new();
    let script = folder.file("script");
    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let outcome = run(&["-n", "1", "sleep", "1000", ":", "-n", "1", &script]);
    assert_eq!(outcome.code, 126);
    assert_eq!(
        outcome.stderr,
        format!(
            "cobre-launch: rank 1 cannot execute `{script}`: its interpreter \
             `/no/such/interpreter` does not exist; the job was ended\n"
        )
    );
}

#[test]
fn names_that_are_no_programs_say_why() {
    let folder = Folder::new();
    let own = folder.file("loop");
    std::os::unix::fs::symlink(&own, &own).unwrap();
    let outcome = run(&[&own]);
    assert_eq!(outcome.code, 126);
    let expected = "cannot be executed: Too many levels of symbolic links";
    assert!(outcome.stderr.contains(expected), "{}", outcome.stderr);
    let outcome = run(&[""]);
    assert_eq!(outcome.code, 127);
    let expected = "cobre-launch: program `` not found";
    assert!(outcome.stderr.starts_with(expected), "{}", outcome.stderr);
    // As shells have it.
    let script = folder.file("script");
    std::fs::write(&script, "echo no interpreter\n").unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(run(&["-n", "1", &script]).stdout, "no interpreter\n");
}

#[test]
fn what_ranks_complain_of_alike_is_said_once_with_the_ranks() {
    let complaint = "read x; echo no such case >&2; exit 3";
    let outcome = run(&["-n", "3", "--stdin", "all", "sh", "-c", complaint]);
    assert_eq!(outcome.code, 3);
    assert_eq!(
        outcome.stderr_without_times(),
        "no such case\nno such case\nno such case\n\
         cobre-launch: all 3 ranks exited with code 3\n  \
         the last lines of rank 0 on stderr (ranks 1-2 wrote the same):\n    | no such case\n  exit code 3\n"
    );
    // But for their own numbers.
    let own = "read x; echo rank $COBRE_SHM_RANK has no case >&2; exit 3";
    let outcome = run(&["-n", "3", "--stdin", "all", "sh", "-c", own]);
    let expected = "stderr (ranks 1-2 wrote the same):\n    | rank 0 has no case\n";
    assert!(outcome.stderr.contains(expected), "{}", outcome.stderr);
    let different = format!("echo $COBRE_SHM_RANK >&2; {complaint}");
    let outcome = run(&["-n", "3", "--stdin", "all", "sh", "-c", &different]);
    let expected = "  the last lines of rank 0 on stderr:\n    | 0\n    | no such case\n";
    assert!(outcome.stderr.contains(expected), "{}", outcome.stderr);
}

const USAGE: &str = "\n\nUsage: cobre-launch [OPTIONS] [--] PROGRAM [ARGS]... [: [OPTIONS] PROGRAM [ARGS]...]...\n\
                     \nFor more information, try '--help'.\n";
const HELP: &str = "\n\nFor more information, try '--help'.\n";

#[test]
fn mistakes_of_usage_are_2_and_say_what_to_do() {
    for (args, message, end) in [
        (
            &["-n", "0", "true"][..],
            "invalid value '0' for '--ranks <N>': a job has at least 1 rank",
            HELP,
        ),
        (
            &["-n", "abc", "true"],
            "invalid value 'abc' for '--ranks <N>': expected a number of ranks, such as 4",
            HELP,
        ),
        (
            &["-n", "4"],
            "the following required arguments were not provided:\n  <PROGRAM>...",
            USAGE,
        ),
        (
            &["true", ":"],
            "there is no program after the last `:` (a `:` alone separates the programs of a job)",
            USAGE,
        ),
        (
            &["-n", "1", "true", ":", "-n", "1", "--label", "true"],
            "--label is for the whole job: give it before the first program\n\n  \
             the word `:` begins another program of the job; if it is meant for `true`, put `--` before \
             `true`",
            USAGE,
        ),
        (
            &["-n", "1", "true", ":", "true"],
            "a job of several programs needs `-n` for each: how many ranks are `true`?\n\n  \
             the word `:` begins another program of the job; if it is meant for `true`, put `--` before \
             `true`",
            USAGE,
        ),
        (
            &["--kill-grace", "soon", "true"],
            "invalid value 'soon' for '--kill-grace <TIME>': expected a duration such as 500ms, \
             1.5s or 1h30m; without a unit it is seconds",
            HELP,
        ),
        (
            &["--wdir", "/no/such/folder", "true"],
            "--wdir: there is no folder `/no/such/folder`",
            USAGE,
        ),
    ] {
        let outcome = run(args);
        assert_eq!(outcome.stderr, format!("error: {message}{end}"), "{args:?}");
        assert_eq!((outcome.code, outcome.stdout.as_str()), (2, ""), "{args:?}");
    }
}

#[test]
fn a_dry_run_shows_everything_and_creates_nothing() {
    let folder = Folder::new();
    let logs = folder.file("logs");
    let outcome = run(&[
        "-n",
        "1",
        "--dry-run",
        "--output-dir",
        &logs,
        "--no-thread-env",
        "sh",
        "-c",
        "echo $A",
        ":",
        "-n",
        "2",
        "--env",
        "A=it's",
        "--wdir",
        "/",
        "true",
    ]);
    let cores = std::thread::available_parallelism().unwrap();
    let plural = if cores.get() == 1 { "" } else { "s" };
    let common = "COBRE_COMM_BACKEND=shm COBRE_SHM_NAME=/cobre-RANDOM";
    assert_eq!(
        outcome.stdout,
        format!(
            "3 ranks on {cores} usable core{plural}\n\
             rank 0: {common} COBRE_SHM_RANK=0 COBRE_SHM_SIZE=3 COBRE_SHM_LAUNCHER=PID COBRE_LAUNCH_ATTEMPT=0 sh -c 'echo $A'\n\
             rank 1: cd / && A='it'\\''s' {common} COBRE_SHM_RANK=1 COBRE_SHM_SIZE=3 COBRE_SHM_LAUNCHER=PID COBRE_LAUNCH_ATTEMPT=0 true\n\
             rank 2: cd / && A='it'\\''s' {common} COBRE_SHM_RANK=2 COBRE_SHM_SIZE=3 COBRE_SHM_LAUNCHER=PID COBRE_LAUNCH_ATTEMPT=0 true\n"
        )
    );
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
    assert!(!std::path::Path::new(&logs).exists());
}

#[test]
fn help_and_version_are_no_failures() {
    let help = run(&["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (0, ""));
    for part in ["Examples:", "Exit code:", "--kill-grace", "128+S"] {
        assert!(help.stdout.contains(part), "{part}");
    }
    // What belongs to the job stands there, not below a heading that follows.
    let place = |part: &str| help.stdout.find(part).unwrap();
    assert!(place("Options of the job") < place("--verbose"));
    assert!(place("--verbose") < place("Placement of the ranks"));
    let version = run(&["--version"]);
    let number = concat!("cobre-launch ", env!("CARGO_PKG_VERSION"), " (");
    assert!(version.stdout.starts_with(number), "{}", version.stdout);
    let layout = format!(", layout {})\n", cobre_shm::observer::LAYOUT_VERSION);
    assert!(version.stdout.ends_with(&layout), "{}", version.stdout);
}

#[test]
fn thread_variables_are_the_share_unless_they_are_set() {
    let script = "echo $RAYON_NUM_THREADS $OMP_NUM_THREADS";
    let mut command = launcher(&["-n", "1", "sh", "-c", script]);
    command.env("OMP_NUM_THREADS", "77");
    let cores = std::thread::available_parallelism().unwrap();
    assert_eq!(start(command).finish().stdout, format!("{cores} 77\n"));
    assert_eq!(
        run(&["-n", "1", "--no-thread-env", "sh", "-c", script]).stdout,
        "\n"
    );
}
