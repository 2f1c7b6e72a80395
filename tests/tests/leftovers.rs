//! What killed founders leave in `/dev/shm`: found, removed when nobody can need it, and only then.

use std::path::{Path, PathBuf};
use std::process::Command;

use cobre_shm::{LeftoverState, leftovers, random_job_name, sweep};
use cobre_tests::{End, Process, apart, run};
use nix::sys::signal::Signal;

const RANK: &str = env!("CARGO_BIN_EXE_scripted-rank");

/// A founder that waits for the other rank of its job.
fn forming(name: &str) -> Process {
    let mut command = Command::new(RANK);
    command.args(["join", "barrier"]);
    command.env("COBRE_SHM_NAME", name);
    command
        .env("COBRE_SHM_RANK", "0")
        .env("COBRE_SHM_SIZE", "2");
    command.env("COBRE_SHM_ATTACH_TIMEOUT", "50");
    let mut founder = Process::start("the founder", &mut command);
    founder.until_joined();
    founder
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(format!("/dev/shm{name}"))
}

/// The state under this name.
fn state(found: std::io::Result<Vec<cobre_shm::Leftover>>, name: &str) -> Option<LeftoverState> {
    let found = found.expect("/dev/shm can be read");
    let entry = found.into_iter().find(|entry| entry.name == name);
    entry.map(|entry| entry.state)
}

#[test]
fn what_lives_is_left_and_what_is_dead_is_removed() {
    apart(|| {
        // A name made up, which every start sweeps too, and one of the user's, which only `sweep` removes.
        let name = cobre_tests::job_name();
        let mut founder = forming(&name);
        assert_eq!(state(leftovers(), &name), Some(LeftoverState::Forming));
        assert_eq!(state(sweep(), &name), Some(LeftoverState::Forming));
        assert!(path(&name).exists());
        let pid = founder.pid();
        founder.signal(Signal::SIGKILL);
        assert_eq!(founder.end(), End::Signal(9));
        let found = leftovers().expect("/dev/shm can be read");
        let entry = found.iter().find(|entry| entry.name == name);
        let entry = entry.expect("it was left behind");
        assert_eq!(entry.state, LeftoverState::Abandoned);
        assert_eq!(entry.founder, Some(pid));
        assert!(entry.bytes > 4096, "{entry:?}");
        assert_eq!(state(sweep(), &name), Some(LeftoverState::Removed));
        assert!(!path(&name).exists());
        assert_eq!(state(sweep(), &name), None);
    });
}

#[test]
fn the_next_start_removes_what_a_killed_founder_left() {
    apart(|| {
        let left = random_job_name();
        let mut killed = forming(&left);
        killed.signal(Signal::SIGKILL);
        killed.end();
        // Or what it had not even given a header.
        let half_made = random_job_name();
        std::fs::write(path(&half_made), []).expect("/dev/shm can be written");
        private(&path(&half_made));
        let name = cobre_tests::job_name();
        let next = forming(&name);
        assert!(!path(&left).exists() && !path(&half_made).exists());
        drop(next);
        let _ = std::fs::remove_file(path(&name));
    });
}

#[test]
fn what_is_not_a_jobs_is_left_alone() {
    apart(|| {
        let cases: [(&str, &[u8]); 3] = [
            (&cobre_tests::job_name(), b""),
            (&cobre_tests::job_name(), &[0; 10_000]),
            (&random_job_name(), &[b'x'; 10_000]),
        ];
        for (name, content) in cases {
            std::fs::write(path(name), content).expect("/dev/shm can be written");
            private(&path(name));
            let found = state(sweep(), name);
            assert!(
                matches!(found, None | Some(LeftoverState::Unclear(_))),
                "{found:?}"
            );
            assert_eq!(std::fs::read(path(name)).unwrap_or_default(), content);
            let _ = std::fs::remove_file(path(name));
        }
    });
}

fn private(path: &Path) {
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(path, private).expect("it is ours");
}

#[test]
fn the_inspector_says_and_removes_what_is_left() {
    apart(|| {
        let name = cobre_tests::job_name();
        let mut founder = forming(&name);
        founder.signal(Signal::SIGKILL);
        founder.end();
        let inspect = |arguments: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_inspect"));
            let (code, said, complained) = run(command.args(arguments));
            assert_eq!((code, complained.as_str()), (0, ""), "{said}");
            let line = said.lines().find(|line| line.contains(&name));
            line.map(str::to_owned)
        };
        let line = inspect(&["clean", "--dry-run"]).expect("it is listed");
        assert!(line.contains("abandoned"), "{line}");
        assert!(path(&name).exists());
        let line = inspect(&["clean"]).expect("it is listed");
        assert!(line.contains("removed"), "{line}");
        assert!(!path(&name).exists());
        assert_eq!(inspect(&["clean"]), None);
    });
}
