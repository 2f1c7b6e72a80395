//! Ranks are kept where the user wants them, and not where another job is.
#![allow(clippy::print_stderr, clippy::print_stdout, clippy::unwrap_used)]

mod common;

use cobre_shm::topology::{Level, Surroundings};
use common::{Folder, Outcome, play, run, start};
use std::process::Command;

/// The cores that ranks may be bound to.
fn cores() -> usize {
    let here = Surroundings::here().unwrap();
    here.usable.parts(Level::Core).len()
}

/// Runs a script of `bash` in a network namespace of its own, where no other job has bound a core;
/// nothing where there can be none. It finds the launcher as `$LAUNCHER`, and gets `arguments`.
fn run_alone(script: &str, arguments: &[&str]) -> Option<Outcome> {
    let unshare = || {
        let mut command = Command::new("unshare");
        if !nix::unistd::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.arg("--net");
        command
    };
    if !unshare().arg("true").status().is_ok_and(|it| it.success()) {
        eprintln!("SKIPPED: no network namespace can be made here");
        return None;
    }
    let mut command = unshare();
    command.args(["bash", "-c", script, "bash"]).args(arguments);
    command.env("LAUNCHER", env!("CARGO_BIN_EXE_cobre-launch"));
    Some(start(command).finish())
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
    let folder = Folder::new();
    // What the jobs show goes into files: it is to be compared, whoever is relayed first.
    let script = "cd $1; mkfifo ready go
        show='grep Cpus_allowed_list /proc/self/status >'
        $LAUNCHER -n 1 --bind-to core sh -c \"$show first; echo x >ready; read x <go\" & first=$!
        read x <ready
        $LAUNCHER -n $2 --bind-to core true; echo refused $?
        $LAUNCHER -n 1 --bind-to core sh -c \"$show second\"; echo second $?
        echo x >go; wait $first; echo first $?
        echo launcher $first";
    let folder_name = folder.0.to_str().unwrap();
    // All that there are: one is bound already.
    let Some(outcome) = run_alone(script, &[folder_name, &cores().to_string()]) else {
        return;
    };
    let is_other = cores() > 1;
    let second = if is_other { "second 0" } else { "second 2" };
    let said: Vec<&str> = outcome.stdout.lines().collect();
    let expected = ["refused 2", second, "first 0"];
    assert_eq!(said[..3], expected, "{}", outcome.stderr);
    let told = format!("bound by other jobs: {}", said[3]);
    assert!(outcome.stderr.contains(&told), "{}", outcome.stderr);
    if is_other {
        let read = |name| std::fs::read_to_string(folder.file(name)).unwrap();
        assert_ne!(read("first"), read("second"));
    }
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
    play(&[("squatter", squat), ("asker", ask)]);
}

/// Asks who holds a core, more often than the kernel keeps such questions.
fn ask() {
    use nix::errno::Errno;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
    use std::os::fd::AsRawFd;
    let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let most: usize = most.trim().parse().unwrap();
    let begin = std::time::Instant::now();
    let ask = |core: usize| loop {
        let name = format!("cobre-launch/{}/core/{core}", nix::unistd::geteuid());
        let address = UnixAddr::new_abstract(name.as_bytes()).unwrap();
        let flags = SockFlag::SOCK_NONBLOCK;
        let asking = socket(AddressFamily::Unix, SockType::Stream, flags, None).unwrap();
        match connect(asking.as_raw_fd(), &address) {
            Err(Errno::EAGAIN) => assert!(begin.elapsed().as_secs() < 60, "nobody clears"),
            asked => return asked.is_ok(),
        }
    };
    let core = (0..1024).find(|&core| ask(core)).unwrap();
    assert!((0..2 * most).all(|_| ask(core)));
}

#[test]
fn a_core_stays_leased_however_often_others_ask_for_it() {
    let folder = Folder::new();
    let script = "cd $1; mkfifo ready go
        $LAUNCHER -n 1 --bind-to core sh -c 'echo x >ready; read x <go' & first=$!
        read x <ready
        COBRE_TEST_ROLE=asker $3 --exact rank --nocapture >&2; echo asked $?
        $LAUNCHER -n $2 --bind-to core true; echo refused $?
        echo x >go; wait $first; echo first $?";
    let asker = std::env::current_exe().unwrap();
    let arguments = [
        folder.0.to_str().unwrap(),
        &cores().to_string(),
        asker.to_str().unwrap(),
    ];
    let Some(outcome) = run_alone(script, &arguments) else {
        return;
    };
    let said = "asked 0\nrefused 2\nfirst 0\n";
    assert_eq!(outcome.stdout, said, "{}", outcome.stderr);
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
    let script = "cd $1; mkfifo said end
        COBRE_TEST_ROLE=squatter setpriv --reuid 65534 --regid 65534 --clear-groups \\
            ./squatter --exact rank --nocapture <end >said & exec 3>end
        while read line && [ \"$line\" != squats ]; do :; done <said
        $LAUNCHER -n 1 --bind-to core true; code=$?; exec 3>&-; exit $code";
    let Some(outcome) = run_alone(script, &[folder.0.to_str().unwrap()]) else {
        return;
    };
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    let told = " of user 65534 holds the name of its lease";
    assert_eq!(
        outcome.stderr.matches(told).count(),
        1,
        "{}",
        outcome.stderr
    );
}

/// They get its cores, and exclude each other.
#[test]
fn jobs_that_a_bound_rank_starts_are_bound_within_its_cores() {
    let folder = Folder::new();
    let script = "cd $1; mkfifo ready go
        export SHOW='grep Cpus_allowed_list /proc/self/status'
        $LAUNCHER -n 1 --bind-to core bash -c '
            $SHOW >outer
            $LAUNCHER -n 1 --bind-to core sh -c \"$SHOW >inner; echo x >ready; read x <go\" &
            read x <ready
            $LAUNCHER -n 1 --bind-to core true; echo second $?
            echo x >go; wait'";
    let Some(outcome) = run_alone(script, &[folder.0.to_str().unwrap()]) else {
        return;
    };
    assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    assert_eq!(outcome.stdout, "second 2\n", "{}", outcome.stderr);
    let read = |name| std::fs::read_to_string(folder.file(name)).unwrap();
    assert_eq!(read("outer"), read("inner"));
    let told = "1 rank needs 1 core, but 0 of 1 core are free (1 is bound by other jobs: ";
    assert!(outcome.stderr.contains(told), "{}", outcome.stderr);
}
