//! Jobs where shared memory is short, read-only, absent, or limited by a memory cgroup or for files, or
//! where `/proc` is missing: an error that says what was wanted, what is there and what to do, on every
//! rank; or they work.
//!
//! Each job runs in a mount namespace of its own with a `/dev/shm` of its own. Where that is not
//! allowed the tests say so and do nothing.

use std::path::PathBuf;
use std::process::Command;

use cobre_tests::{Elsewhere, End, Process, skipped};

const LAUNCH: &str = env!("CARGO_BIN_EXE_launch");
const RANK: &str = env!("CARGO_BIN_EXE_scripted-rank");

/// Runs a job under the launcher; its exit code and everything that was written.
fn job(elsewhere: &Elsewhere, ranks: &str, staging: &str, steps: &[&str]) -> (End, String) {
    let mut command = elsewhere.command(&[LAUNCH, "-n", ranks, RANK, "join"]);
    command.args(steps).env("COBRE_SHM_STAGING", staging);
    let mut launcher = Process::start("the launcher", &mut command);
    let end = launcher.end();
    (end, launcher.heard().to_owned())
}

fn assert_says(heard: &str, parts: &[&str]) {
    for part in parts {
        assert!(heard.contains(part), "no {part:?} in: {heard}");
    }
}

const WORK: [&str; 6] = [
    "barrier",
    "reduce:5000",
    "gather:3000",
    "broadcast:1:9000",
    "region:100",
    "publish",
];

#[test]
fn a_tiny_dev_shm_has_room_for_a_small_job() {
    let Some(tiny) = Elsewhere::dev_shm("size=64k") else {
        return;
    };
    let (end, heard) = job(&tiny, "2", "4M", &WORK);
    assert_eq!(end, End::Code(1), "{heard}");
    assert_says(
        &heard,
        &[
            "cannot reserve 4.22 MB",
            "/dev/shm has 65.5 kB left",
            "--shm-size",
            "COBRE_SHM_STAGING lower (now 4.19 MB)",
        ],
    );
    let (end, heard) = job(&tiny, "2", "1", &WORK);
    assert_eq!(end, End::Code(0), "{heard}");
    assert_eq!(heard.matches("ok publish").count(), 2, "{heard}");
}

#[test]
fn a_window_that_does_not_fit_is_refused_on_every_rank_and_the_job_goes_on() {
    let Some(small) = Elsewhere::dev_shm("size=1m") else {
        return;
    };
    let (end, heard) = job(&small, "2", "4M", &WORK);
    assert_eq!(end, End::Code(1), "{heard}");
    assert_says(&heard, &["cannot reserve", "has 1.05 MB left"]);
    // 8 MB in a megabyte; one that fits; one beyond any memory; and all that is not a disaster.
    let steps = [
        "region:1000000",
        "region:50000",
        "publish",
        "region:1000000000000000",
        "barrier",
    ];
    let (end, heard) = job(&small, "3", "256K", &steps);
    assert_eq!(end, End::Code(0), "{heard}");
    assert_eq!(
        heard.matches("8 MB cannot be allocated").count(),
        3,
        "{heard}"
    );
    assert_eq!(heard.matches("8 PB cannot be").count(), 3, "{heard}");
    assert_eq!(heard.matches("/dev/shm has ").count(), 6, "{heard}");
    assert_eq!(heard.matches("ok publish").count(), 3, "{heard}");
    assert_eq!(heard.matches("ok barrier").count(), 3, "{heard}");
}

#[test]
fn a_full_dev_shm_is_an_error() {
    let full = "mount -t tmpfs -o size=8m tmpfs /dev/shm && { head -c 8388608 /dev/zero > /dev/shm/full; :; }";
    let Some(full) = Elsewhere::with(full) else {
        return;
    };
    for staging in ["4M", "1"] {
        let (end, heard) = job(&full, "2", staging, &["barrier"]);
        assert_eq!(end, End::Code(1), "{heard}");
        assert_says(
            &heard,
            &["cannot reserve", "/dev/shm has 0 B left", "--shm-size"],
        );
    }
}

#[test]
fn the_64_megabytes_of_a_container_are_enough_for_many_ranks() {
    let Some(docker) = Elsewhere::dev_shm("size=64m") else {
        return;
    };
    for ranks in ["8", "24"] {
        let (end, heard) = job(&docker, ranks, "4M", &WORK);
        assert_eq!(end, End::Code(0), "{heard}");
    }
}

#[test]
fn without_a_usable_dev_shm_the_error_says_what_is_wrong() {
    let cases = [
        ("is read-only", "mount -t tmpfs -o ro tmpfs /dev/shm"),
        (
            "is not there",
            "mount -t tmpfs tmpfs /dev && touch /dev/null",
        ),
    ];
    for (problem, setup) in cases {
        let Some(unusable) = Elsewhere::with(setup) else {
            return;
        };
        let (end, heard) = job(&unusable, "2", "4M", &["barrier"]);
        assert_eq!(end, End::Code(1), "{heard}");
        assert_says(
            &heard,
            &["/dev/shm", problem, "mount -t tmpfs tmpfs /dev/shm"],
        );
        // Without a launcher each rank finds out by itself, at once.
        for rank in ["0", "1"] {
            let mut command = unusable.command(&[RANK, "join"]);
            command
                .env("COBRE_SHM_NAME", cobre_tests::job_name())
                .env("COBRE_SHM_RANK", rank)
                .env("COBRE_SHM_SIZE", "2")
                .env("COBRE_SHM_ATTACH_TIMEOUT", "1000");
            let message = Process::start("a rank", &mut command).hear("refused ");
            assert_says(&message, &["/dev/shm", problem]);
        }
    }
}

/// A memory cgroup of this test, in whichever version is mounted; removed when dropped.
struct Limited(PathBuf);

impl Limited {
    fn to(megabytes: u64) -> Option<Self> {
        let name = format!("cobre-test-{}", std::process::id());
        let bytes = (megabytes << 20).to_string();
        for (root, limit) in [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ] {
            let group = Self(PathBuf::from(root).join(&name));
            if std::fs::create_dir(&group.0).is_ok()
                && std::fs::write(group.0.join(limit), &bytes).is_ok()
            {
                return Some(group);
            }
        }
        skipped("no memory cgroup can be made");
        None
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_memory_cgroup_that_is_too_small_is_an_error_and_not_a_kill() {
    let Some(group) = Limited::to(64) else { return };
    let enter = format!("echo $$ > {}/cgroup.procs", group.0.display());
    let run = |staging: &str, steps: &[&str]| {
        let script = format!("{enter} && exec \"$@\"");
        let mut command = Command::new("sh");
        command
            .args(["-c", &script, "sh", LAUNCH, "-n", "2", RANK, "join"])
            .args(steps)
            .env("COBRE_SHM_STAGING", staging);
        let mut launcher = Process::start("the launcher", &mut command);
        let end = launcher.end();
        (end, launcher.heard().to_owned())
    };
    let (end, heard) = run("512M", &["barrier"]);
    assert_eq!(end, End::Code(1), "{heard}");
    assert_says(&heard, &["cannot reserve", "the memory cgroup", "--memory"]);
    // A window of 160 MB: refused; the job goes on.
    let (end, heard) = run("1M", &["region:20000000", "barrier"]);
    assert_eq!(end, End::Code(0), "{heard}");
    assert_eq!(
        heard.matches("160 MB cannot be allocated").count(),
        2,
        "{heard}"
    );
    assert_says(&heard, &["the memory cgroup", "B left"]);
    assert_eq!(heard.matches("ok barrier").count(), 2, "{heard}");
    // A pool of which 16 MB fit, but not 160 MB: the third append is refused, not the fourth. With one rank too.
    let steps = [
        "pool:1000000000",
        "append:1000000",
        "append:0",
        "append:10000000",
        "append:10",
        "barrier",
    ];
    let (end, heard) = run("1M", &steps);
    assert_eq!(end, End::Code(0), "{heard}");
    assert_eq!(
        heard.matches("160 MB cannot be allocated").count(),
        2,
        "{heard}"
    );
    assert_eq!(heard.matches("the memory cgroup").count(), 2, "{heard}");
    assert_eq!(heard.matches("ok append").count(), 6, "{heard}");
    assert_eq!(heard.matches("ok barrier").count(), 2, "{heard}");
    let script = format!("{enter} && exec \"$@\"");
    let mut command = Command::new("sh");
    command
        .args(["-c", &script, "sh", RANK, "join"])
        .args(steps);
    let mut alone = Process::start("a job of one", &mut command);
    assert_eq!(alone.end(), End::Code(0), "{}", alone.heard());
    assert_eq!(
        alone.heard().matches("the memory cgroup").count(),
        1,
        "{}",
        alone.heard()
    );
    assert_eq!(
        alone.heard().matches("ok append").count(),
        3,
        "{}",
        alone.heard()
    );
}

/// What the kernel refuses for lack of address space is not blamed on the memory of the machine.
#[test]
fn a_limit_on_address_space_is_named() {
    let Some(elsewhere) = Elsewhere::with("ulimit -v 1000000") else {
        return;
    };
    // Two gigabytes of address space, none of memory.
    let (end, heard) = job(&elsewhere, "2", "1M", &["pool:250000000", "barrier"]);
    assert_eq!(end, End::Code(0), "{heard}");
    assert_eq!(heard.matches("ulimit -v unlimited").count(), 2, "{heard}");
    assert_eq!(heard.matches("ok barrier").count(), 2, "{heard}");
    assert!(!heard.contains("this machine has"), "{heard}");
}

/// The same while a job forms.
#[test]
fn a_limit_on_address_space_that_keeps_a_job_from_forming_is_named() {
    let Some(elsewhere) = Elsewhere::with("ulimit -v 300000") else {
        return;
    };
    let mut command = elsewhere.command(&[RANK, "join"]);
    command.env("COBRE_SHM_NAME", cobre_tests::job_name());
    command
        .env("COBRE_SHM_RANK", "0")
        .env("COBRE_SHM_SIZE", "2")
        .env("COBRE_SHM_STAGING", "400M");
    let mut rank = Process::start("rank 0", &mut command);
    assert_eq!(rank.end(), End::Code(1), "{}", rank.heard());
    assert_says(
        rank.heard(),
        &["refused", "cannot reserve 4", "ulimit -v unlimited"],
    );
    assert!(
        !rank.heard().contains("this machine has"),
        "{}",
        rank.heard()
    );
}

/// Every rank is told what limits the one that could not, and not what limits itself.
#[test]
fn peers_are_told_the_limit_of_the_rank_that_was_refused() {
    let Some(elsewhere) = Elsewhere::dev_shm("size=1g") else {
        return;
    };
    let limited = "ulimit -f 16384; exec \"$@\"";
    let mut command = elsewhere.command(&[LAUNCH, "-n", "1", "sh", "-c", limited, "sh"]);
    let steps = [RANK, "join", "region:3000000", "barrier"];
    command.args(steps).args([":", "-n", "2"]).args(steps);
    command.env("COBRE_SHM_STAGING", "1M");
    let mut launcher = Process::start("the launcher", &mut command);
    let (end, heard) = (launcher.end(), launcher.heard());
    assert_eq!(end, End::Code(0), "{heard}");
    assert_eq!(
        heard.matches("rank 0: File too large").count(),
        3,
        "{heard}"
    );
    assert_eq!(heard.matches("ulimit -f unlimited").count(), 3, "{heard}");
    assert_eq!(heard.matches("ok barrier").count(), 3, "{heard}");
}

/// `ulimit -f`: the kernel ends a process that goes beyond it by a signal, without a word.
#[test]
fn a_limit_on_the_size_of_files_is_an_error_that_names_it() {
    let Some(elsewhere) = Elsewhere::with("ulimit -f 0") else {
        return;
    };
    let (end, heard) = job(&elsewhere, "2", "1M", &["barrier"]);
    assert_eq!(end, End::Code(1), "{heard}");
    assert_says(
        &heard,
        &["cannot reserve", "File too large", "ulimit -f unlimited"],
    );
    // And without a launcher.
    let mut command = elsewhere.command(&[RANK, "join"]);
    command.env("COBRE_SHM_NAME", cobre_tests::job_name());
    command
        .env("COBRE_SHM_RANK", "0")
        .env("COBRE_SHM_SIZE", "2");
    let mut rank = Process::start("rank 0", &mut command);
    assert_eq!(rank.end(), End::Code(1), "{}", rank.heard());
    assert_says(rank.heard(), &["refused", "ulimit -f unlimited"]);
}

/// Enough for the job, and not for what it makes later.
#[test]
fn a_window_larger_than_files_may_be_is_refused_and_the_job_goes_on() {
    let Some(elsewhere) = Elsewhere::with("ulimit -f 4096") else {
        return;
    };
    let steps = [
        "barrier",
        "region:10000000",
        "barrier",
        "region:1000",
        "publish",
    ];
    let (end, heard) = job(&elsewhere, "2", "1M", &steps);
    assert_eq!(end, End::Code(0), "{heard}");
    assert_eq!(heard.matches("File too large").count(), 2, "{heard}");
    assert_eq!(heard.matches("ok publish").count(), 2, "{heard}");
}

/// Ranks have the signal as they would have it without the launcher, which ignores it for itself.
#[test]
fn a_rank_that_writes_too_much_is_told_by_the_signal() {
    let Some(elsewhere) = Elsewhere::with("ulimit -f 16384") else {
        return;
    };
    let file = std::env::temp_dir().join(format!("cobre-test-{}", std::process::id()));
    let write = format!("exec head -c 20000000 /dev/zero > {}", file.display());
    let mut command = elsewhere.command(&[LAUNCH, "-n", "1", "sh", "-c", &write]);
    let mut launcher = Process::start("the launcher", &mut command);
    let end = launcher.end();
    let _ = std::fs::remove_file(file);
    assert_eq!(end, End::Code(128 + 25), "{}", launcher.heard());
    assert_says(launcher.heard(), &["SIGXFSZ"]);
}

#[test]
fn without_proc_everything_works_that_does_not_ask_for_processes() {
    let Some(elsewhere) = Elsewhere::with("mount -t tmpfs none /proc") else {
        return;
    };
    let steps = [
        "split",
        "inner:2",
        "inner-barrier",
        "region:1000",
        "publish",
    ];
    let (end, heard) = job(&elsewhere, "3", "1M", &steps);
    assert_eq!(end, End::Code(0), "{heard}");
    assert_eq!(heard.matches("ok inner-barrier").count(), 3, "{heard}");
    assert_eq!(heard.matches("ok publish").count(), 3, "{heard}");
}

#[test]
fn a_dev_shm_that_may_hold_no_more_files_is_an_error_that_says_so() {
    let Some(elsewhere) = Elsewhere::dev_shm("nr_inodes=1") else {
        return;
    };
    let (end, heard) = job(&elsewhere, "2", "1M", &["barrier"]);
    assert_eq!(end, End::Code(1), "{heard}");
    assert_says(&heard, &["cannot create the segment", "nr_inodes"]);
    let Some(elsewhere) = Elsewhere::dev_shm("nr_inodes=2") else {
        return;
    };
    let (end, heard) = job(&elsewhere, "2", "1M", &["barrier", "region:100", "barrier"]);
    assert_eq!(end, End::Code(0), "{heard}");
    assert_eq!(heard.matches("nr_inodes").count(), 2, "{heard}");
}

#[test]
fn too_few_descriptors_are_an_error_that_says_so() {
    // Whoever needs the first descriptor that is not there says so: the launcher, when it makes the job or
    // starts a rank.
    let mut told = String::new();
    for limit in ["7", "8"] {
        let Some(elsewhere) = Elsewhere::with(&format!("ulimit -n {limit}")) else {
            return;
        };
        let (end, heard) = job(&elsewhere, "2", "1M", &["barrier"]);
        assert_eq!(end, End::Code(1), "{heard}");
        assert_says(&heard, &["Too many open files"]);
        told += &heard;
    }
    assert_says(&told, &["limit of open files (ulimit -n)", "ulimit -Hn"]);
    let Some(elsewhere) = Elsewhere::with("ulimit -S -n 8") else {
        return;
    };
    let (end, heard) = job(&elsewhere, "2", "1M", &["barrier", "inner:5", "barrier"]);
    assert_eq!(end, End::Code(0), "{heard}");
    assert_eq!(heard.matches("ulimit -n").count(), 2, "{heard}");
    assert_eq!(heard.matches("ok barrier").count(), 4, "{heard}");
}

#[test]
fn a_dev_shm_of_somebody_else_is_an_error_that_says_so() {
    if !nix::unistd::geteuid().is_root() {
        skipped("only root can make one, and be somebody else");
        return;
    }
    let Some(elsewhere) = Elsewhere::dev_shm("mode=755") else {
        return;
    };
    // The program may lie where nobody else may look.
    let here = "mount -t tmpfs -o mode=755 tmpfs /mnt && cp \"$0\" \"$1\" /mnt && \
                exec setpriv --reuid 65534 --regid 65534 --clear-groups /mnt/launch -n 2 /mnt/scripted-rank join";
    let mut command = elsewhere.command(&["sh", "-c", here, LAUNCH, RANK]);
    let mut launcher = Process::start("the launcher", &mut command);
    assert_eq!(launcher.end(), End::Code(1), "{}", launcher.heard());
    assert_says(
        launcher.heard(),
        &["/dev/shm", "closed to this user", "1777"],
    );
}
