//! What others put into `/dev/shm`, where everybody may: nobody waits for it, opens it or takes it away.
#![allow(unsafe_code)]

use std::{
    fs::{self, File},
    os::{
        fd::AsRawFd,
        unix::fs::{MetadataExt, PermissionsExt, symlink},
    },
    path::PathBuf,
    process::Command,
    thread,
};

use cobre_tests::{End, Process, apart, job_name, left_behind, skipped};
use nix::{
    sys::{signal, stat::Mode},
    unistd::{self, Uid},
};

const LAUNCH: &str = env!("CARGO_BIN_EXE_launch");
const RANK: &str = env!("CARGO_BIN_EXE_scripted-rank");
const INSPECT: &str = env!("CARGO_BIN_EXE_inspect");
const MEMBER: &str = env!("CARGO_BIN_EXE_board-member");

/// Does `what` on a thread whose files are another user's, if this user may do that.
fn as_another<R: Send>(what: impl FnOnce() -> R + Send) -> Option<R> {
    if !unistd::geteuid().is_root() {
        skipped("only root can be somebody else");
        return None;
    }
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            // Of this thread alone.
            unistd::setfsuid(Uid::from_raw(65534));
            what()
        });
        Some(other.join().expect("no panic"))
    })
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(format!("/dev/shm{name}"))
}

fn runs(what: &str, command: &mut Command) -> String {
    let mut process = Process::start(what, command);
    assert_eq!(process.end(), End::Code(0), "{what}: {}", process.heard());
    process.heard().to_owned()
}

/// All that looks at `/dev/shm` as a whole does so and ends: no FIFO there is waited for.
#[track_caller]
fn nobody_waits() -> String {
    nobody_waits_each(|| {})
}

/// The same, with `before` before each of the programs.
#[track_caller]
fn nobody_waits_each(mut before: impl FnMut()) -> String {
    let job = [LAUNCH, "-n", "2", RANK, "join", "barrier"];
    before();
    let heard = runs("a job", Command::new(job[0]).args(&job[1..]));
    assert_eq!(heard.matches("ok barrier").count(), 2, "{heard}");
    // Nobody is on it yet, so that it is made.
    let board = job_name();
    let config = std::env::temp_dir().join(format!("{}.json", board.trim_start_matches('/')));
    let json = format!(
        r#"{{"shared_memory": {{"segments": [{{"name": "{board}", "members": ["A"]}}]}}}}"#
    );
    fs::write(&config, json).expect("room for a file");
    before();
    let mut member = Process::start("a member", Command::new(MEMBER).arg(&config).arg("A"));
    member.hear("joined");
    let mut told = String::new();
    for arguments in [
        &["list"][..],
        &["list", "--json"],
        &["clean", "--dry-run"],
        &["clean"],
        &["doctor"],
        &["metrics"],
        &["board", &board],
        &["board"],
    ] {
        before();
        told += &runs(&arguments.join(" "), Command::new(INSPECT).args(arguments));
    }
    member.say("leave");
    assert_eq!(member.end(), End::Code(0));
    fs::remove_file(config).expect("it is there");
    assert_eq!(left_behind(&board), [""; 0]);
    told
}

#[test]
fn nobody_waits_for_a_fifo() {
    apart(|| {
        // Any name, and one as jobs make them up.
        let made_up = cobre_shm::random_job_name();
        for name in ["/x", &made_up] {
            let make = || unistd::mkfifo(&path(name), Mode::S_IRUSR).expect("a FIFO");
            make();
            nobody_waits();
            fs::remove_file(path(name)).expect("it is still there");
            if as_another(make).is_some() {
                assert_eq!(path(name).metadata().expect("a FIFO").uid(), 65534);
                nobody_waits();
                fs::remove_file(path(name)).expect("it is still there");
            }
            // To be joined by name it is no use, and no reason to wait either.
            make();
            let mut rank = Command::new(RANK);
            rank.arg("join")
                .env("COBRE_SHM_NAME", name)
                .env("COBRE_SHM_RANK", "0");
            let mut rank = Process::start("rank 0", rank.env("COBRE_SHM_SIZE", "2"));
            let refused = rank.hear("refused ");
            assert!(refused.contains("it is a FIFO"), "{refused}");
            let mut board = Command::new(INSPECT);
            let mut board = Process::start("the inspector", board.args(["board", name]));
            assert_eq!(board.end(), End::Code(1), "{}", board.heard());
            assert!(board.heard().contains("it is a FIFO"), "{}", board.heard());
            fs::remove_file(path(name)).expect("it is still there");
        }
    });
}

/// A lease on a file, which keeps whoever opens it waiting for as long as the system allows.
struct Lease(File);

impl Lease {
    fn on(file: File) -> Self {
        // SAFETY: the default would end this process when somebody opens the file; nothing else of it
        // uses the signal.
        unsafe { signal::signal(signal::SIGIO, signal::SigHandler::SigIgn) }.expect("a signal");
        let lease = Self(file);
        assert_eq!(lease.fcntl(libc::F_SETLEASE, libc::F_WRLCK), 0, "a lease");
        lease
    }

    fn fcntl(&self, command: libc::c_int, argument: libc::c_int) -> libc::c_int {
        // SAFETY: no memory is passed.
        unsafe { libc::fcntl(self.0.as_raw_fd(), command, argument) }
    }

    /// Whether nobody has tried to open the file.
    fn is_untouched(&self) -> bool {
        self.fcntl(libc::F_GETLEASE, 0) == libc::F_WRLCK
    }

    /// Gives it back and takes it anew. Whether it was there to be given back: the system takes it away
    /// when somebody has waited for it for three quarters of a minute.
    fn renew(&self) -> bool {
        let was_there = self.fcntl(libc::F_SETLEASE, libc::F_UNLCK) == 0;
        was_there && self.fcntl(libc::F_SETLEASE, libc::F_WRLCK) == 0
    }
}

fn new_file(name: &str, mode: u32) -> File {
    let file = File::options()
        .create_new(true)
        .read(true)
        .write(true)
        .open(path(name));
    let file = file.expect("a new file");
    file.set_permissions(PermissionsExt::from_mode(mode))
        .expect("it is ours");
    file
}

/// The holder would be told if somebody tried: this does not depend on how long anything takes.
#[test]
fn nobody_opens_what_belongs_to_another_user() {
    apart(|| {
        let name = cobre_shm::random_job_name();
        let Some(lease) = as_another(|| Lease::on(new_file(&name, 0o666))) else {
            return;
        };
        let told = nobody_waits();
        assert!(
            !told.contains(&name),
            "it is no business of this user: {told}"
        );
        assert!(lease.is_untouched());
        let mut rank = Command::new(RANK);
        rank.arg("join")
            .env("COBRE_SHM_NAME", &name)
            .env("COBRE_SHM_RANK", "0");
        let refused = Process::start("rank 0", rank.env("COBRE_SHM_SIZE", "2")).hear("refused ");
        assert!(refused.contains("it belongs to another user"), "{refused}");
        assert!(lease.is_untouched());
        assert!(path(&name).exists());
    });
}

#[test]
fn nobody_waits_for_a_lease_of_this_user_either() {
    apart(|| {
        let name = cobre_shm::random_job_name();
        let lease = Lease::on(new_file(&name, 0o600));
        // For each program: who tries and does not wait begins the time after which it is taken away.
        let told = nobody_waits_each(|| assert!(lease.renew()));
        let line = told.lines().find(|line| line.contains(&name));
        assert!(
            line.is_some_and(|line| line.contains("has a lease on it")),
            "{told}"
        );
        assert!(lease.renew());
    });
}

/// Of another user's, under a name that a sweep looks at: a file as an abandoned job leaves one.
#[test]
fn nobody_takes_away_what_belongs_to_another_user() {
    apart(|| {
        let name = cobre_shm::random_job_name();
        if as_another(|| drop(new_file(&name, 0o600))).is_some() {
            nobody_waits();
            assert!(path(&name).exists());
        }
        // Neither what a link of this user's leads to.
        let (link, target) = (cobre_shm::random_job_name(), job_name());
        drop(new_file(&target, 0o600));
        symlink(path(&target), path(&link)).expect("a link");
        nobody_waits();
        assert!(path(&link).symlink_metadata().is_ok() && path(&target).exists());
    });
}

/// However many names others have made, a start looks at some of them only; the rest is left to `clean`.
#[test]
fn a_start_looks_at_some_names_and_clean_at_all() {
    apart(|| {
        let before: Vec<String> = (0..10_000).map(|_| cobre_shm::random_job_name()).collect();
        for name in &before {
            drop(new_file(name, 0o600));
        }
        let here = || before.iter().filter(|name| path(name).exists()).count();
        let job = [LAUNCH, "-n", "1", RANK, "join", "barrier"];
        runs("a job", Command::new(job[0]).args(&job[1..]));
        let rest = here();
        assert!((1..10_000).contains(&rest), "{rest} are left");
        runs("clean", Command::new(INSPECT).arg("clean"));
        assert_eq!(here(), 0);
    });
}
