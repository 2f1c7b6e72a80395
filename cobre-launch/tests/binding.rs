//! Ranks are kept where the user wants them, and not where another job is.
#![allow(clippy::print_stderr, clippy::print_stdout, clippy::unwrap_used)]

mod common;

use common::{Folder, launcher, play, run, start};

/// Prints the processors that the rank may run on, and how many threads it should have.
const WHERE: &str = "grep Cpus_allowed_list /proc/self/status; echo threads $RAYON_NUM_THREADS";

fn usable() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[test]
fn without_the_option_nothing_is_bound() {
    let outcome = run(&["-n", "1", "cat", "/proc/self/status"]);
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = |text: &str| {
        let mut lines = text.lines();
        lines
            .find(|line| line.starts_with("Cpus_allowed_list"))
            .map(str::to_owned)
    };
    assert_eq!(line(&outcome.stdout), line(&own));
}

#[test]
fn a_rank_has_a_core_of_its_own_and_two_jobs_do_not_share_one() {
    let mut first = start(launcher(&[
        "-n",
        "1",
        "--bind-to",
        "core",
        "sh",
        "-c",
        &format!("{WHERE}; read end"),
    ]));
    let shown = first.read_until("threads", 1);
    let place = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("Cpus_allowed"));
        line.unwrap().split_whitespace().nth(1).unwrap().to_owned()
    };
    // The second job asks for all that it may use: at least one core is bound already.
    let all = usable().to_string();
    let refused = run(&["-n", &all, "--bind-to", "core", "true"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    let told = format!("bound by other jobs: launcher {}", first.pid());
    assert!(refused.stderr.contains(&told), "{}", refused.stderr);
    if usable() > 1 {
        let other = run(&["-n", "1", "--bind-to", "core", "sh", "-c", WHERE]);
        assert_ne!(place(&other.stdout), place(&shown));
    }
    first.write("end\n");
    assert_eq!(first.finish().code, 0);
}

#[test]
fn the_picture_shows_what_would_be_done() {
    let outcome = run(&["-n", "1", "--report-bindings", "--dry-run", "true"]);
    assert!(
        outcome.stdout.contains("package 0\n  node 0  L3 0  |"),
        "{}",
        outcome.stdout
    );
    assert!(
        outcome.stdout.ends_with("no rank is bound\n"),
        "{}",
        outcome.stdout
    );
}

#[test]
fn placement_without_binding_is_a_mistake() {
    let outcome = run(&["-n", "1", "--cpus-per-rank", "2", "true"]);
    assert_eq!(outcome.code, 2);
    assert!(
        outcome.stderr.contains("add --bind-to core"),
        "{}",
        outcome.stderr
    );
}

/// `rank` of this file's tests, if one starts it so.
#[test]
fn rank() {
    play(&[("squatter", squat)]);
}

/// Has the names of all leases, in the place of the user 0, until its input ends.
fn squat() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};
    let names = (0..1024).map(|core| format!("core/{core}"));
    let names = names.chain(["choosing".to_owned()]);
    let listen = |name: String| {
        let address = SocketAddr::from_abstract_name(format!("cobre-launch/0/{name}"));
        UnixListener::bind_addr(&address.unwrap()).unwrap()
    };
    let held: Vec<UnixListener> = names.map(listen).collect();
    println!("\nsquats");
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
    drop(held);
}

/// In a network namespace of their own, so that nobody else is disturbed.
#[test]
fn another_user_cannot_keep_cores_from_being_bound() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: it takes root to be another user");
        return;
    }
    let folder = Folder::new();
    let squatter = folder.file("squatter");
    std::fs::copy(std::env::current_exe().unwrap(), &squatter).unwrap();
    for path in [folder.0.to_str().unwrap(), &squatter] {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let script = format!(
        "cd {}; mkfifo said end
        COBRE_TEST_ROLE=squatter setpriv --reuid 65534 --regid 65534 --clear-groups \\
            {squatter} --exact rank --nocapture <end >said & exec 3>end
        while read line; [ \"$line\" != squats ]; do :; done <said
        {} -n {} --bind-to core true; code=$?; exec 3>&-; exit $code",
        folder.0.display(),
        env!("CARGO_BIN_EXE_cobre-launch"),
        usable(),
    );
    let mut command = std::process::Command::new("unshare");
    command.args(["--net", "bash", "-c", &script]);
    let outcome = start(command).finish();
    if outcome.stderr.starts_with("unshare") {
        eprintln!("SKIPPED: no network namespace can be made here");
        return;
    }
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let told = " of user 65534 has the name of its lease";
    assert_eq!(outcome.stderr.matches(told).count(), usable());
}

/// They get its cores, and exclude each other.
#[test]
fn jobs_that_a_bound_rank_starts_are_bound_within_its_cores() {
    let folder = Folder::new();
    let inner = format!("{} -n 1 --bind-to core", env!("CARGO_BIN_EXE_cobre-launch"));
    let script = format!(
        "cd {}; mkfifo ready go
        {inner} sh -c 'grep Cpus_allowed_list /proc/self/status; echo x >ready; read x <go' &
        read x <ready
        {inner} true; echo second $?
        echo x >go; wait
        grep Cpus_allowed_list /proc/self/status",
        folder.0.display()
    );
    let outcome = run(&["-n", "1", "--bind-to", "core", "sh", "-c", &script]);
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?} {}", outcome.stderr);
    assert_eq!((lines[0], lines[1]), (lines[2], "second 2"));
    let told = "1 rank of 1 core does not fit on 0 cores that are free (1 more bound by other jobs";
    assert!(outcome.stderr.contains(told), "{}", outcome.stderr);
}
