//! Forming a job by hand: any order of starting, and every way to get it wrong.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

use cobre_tests::{End, Job, Process, job_name, left_behind};
use nix::sys::signal::Signal;

const RANK: &str = env!("CARGO_BIN_EXE_scripted-rank");

/// A rank that joins, with exactly these variables of a job.
fn rank(variables: &[(&str, &str)]) -> Process {
    let mut command = Command::new(RANK);
    command.args(["join", "barrier"]);
    command.envs(variables.iter().copied());
    Process::start(&format!("{variables:?}"), &mut command)
}

/// Waits for a rank that cannot join; its message.
fn refused(process: &mut Process) -> String {
    let message = process.hear("refused ");
    assert_eq!(process.end(), End::Code(1));
    message
}

fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "no {part:?} in: {message}");
    }
}

/// An object in /dev/shm that no job has made; removed when dropped.
struct Garbage(PathBuf);

impl Garbage {
    fn new(name: &str, content: &[u8]) -> Self {
        let path = PathBuf::from(format!("/dev/shm{name}"));
        std::fs::write(&path, content).expect("/dev/shm can be written");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, private).expect("it is ours");
        Self(path)
    }
}

impl Drop for Garbage {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Starts a rank of a job that stays incomplete, and returns when it has joined; rank 0 first, since it
/// founds the job.
fn joined(job: &Job, rank: usize) -> Process {
    let mut process = job.start_rank(rank);
    process.until_joined();
    process
}

#[test]
fn ranks_may_start_in_any_order() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1]] {
        let job = Job::of(RANK, 3, &["join", "barrier"]);
        let mut ranks: Vec<(usize, Process)> = Vec::new();
        for rank in order {
            match ranks.last_mut() {
                Some((_, earlier)) if order[0] == 0 => earlier.until_joined(),
                // It looks for a name that is not there yet.
                Some((_, earlier)) => earlier.until_asleep(),
                None => {}
            }
            ranks.push((rank, job.start_rank(rank)));
        }
        for (rank, process) in &mut ranks {
            assert!(process.hear("joined ").starts_with(&format!("{rank} 3 ")));
            // The name goes before anybody is told that the job is ready.
            assert_eq!(left_behind(job.name()), [""; 0]);
            process.hear("ok barrier");
            assert_eq!(process.end(), End::Code(0), "{}", process.heard());
        }
    }
}

#[test]
fn without_variables_it_is_a_job_of_one() {
    let mut alone = rank(&[]);
    assert!(alone.hear("joined ").starts_with("0 1 "));
    assert_eq!(alone.end(), End::Code(0));

    let mut local = rank(&[
        ("COBRE_COMM_BACKEND", "local"),
        ("COBRE_SHM_NAME", "/not-used"),
        ("COBRE_SHM_RANK", "3"),
        ("COBRE_SHM_SIZE", "4"),
    ]);
    assert!(local.hear("joined ").starts_with("0 1 "));
    assert_eq!(local.end(), End::Code(0));
}

#[test]
fn a_job_of_one_by_name() {
    let job = Job::of(
        RANK,
        1,
        &["join", "barrier", "reduce:100", "region:10", "publish"],
    );
    let mut alone = job.start_rank(0);
    alone.hear("ok publish");
    assert_eq!(alone.end(), End::Code(0));
}

#[test]
fn what_is_wrong_with_a_variable_is_said() {
    let long = format!("/{}", "n".repeat(300));
    let cases: [(&str, Option<&str>, &[&str]); 17] = [
        ("COBRE_SHM_NAME", None, &["is not set"]),
        ("COBRE_SHM_RANK", None, &["is not set"]),
        ("COBRE_SHM_SIZE", None, &["is not set"]),
        ("COBRE_SHM_NAME", Some(""), &["\"\"", "slash"]),
        ("COBRE_SHM_NAME", Some("job"), &["\"job\"", "slash"]),
        ("COBRE_SHM_NAME", Some("/a/b"), &["\"/a/b\"", "slash"]),
        ("COBRE_SHM_NAME", Some(&long), &["nnn", "301", "255"]),
        ("COBRE_SHM_RANK", Some("one"), &["\"one\"", "number"]),
        ("COBRE_SHM_RANK", Some("-1"), &["\"-1\"", "number"]),
        ("COBRE_SHM_RANK", Some(""), &["\"\"", "number"]),
        (
            "COBRE_SHM_RANK",
            Some("2"),
            &["\"2\"", "below COBRE_SHM_SIZE=2"],
        ),
        ("COBRE_SHM_SIZE", Some("0"), &["\"0\"", "from 1"]),
        ("COBRE_SHM_SIZE", Some("two"), &["\"two\"", "number"]),
        (
            "COBRE_SHM_SIZE",
            Some("1000000"),
            &["\"1000000\"", "from 1"],
        ),
        (
            "COBRE_COMM_BACKEND",
            Some("mpi"),
            &["\"mpi\"", "auto, shm, local"],
        ),
        (
            "COBRE_SHM_ATTACH_TIMEOUT",
            Some("soon"),
            &["\"soon\"", "seconds"],
        ),
        ("COBRE_SHM_STAGING", Some("much"), &["\"much\"", "bytes"]),
    ];
    for (variable, value, parts) in cases {
        let name = job_name();
        let mut variables = vec![
            ("COBRE_SHM_NAME", name.as_str()),
            ("COBRE_SHM_RANK", "1"),
            ("COBRE_SHM_SIZE", "2"),
        ];
        variables.retain(|(other, _)| *other != variable);
        variables.extend(value.map(|value| (variable, value)));
        let message = refused(&mut rank(&variables));
        assert_says(&message, &[variable, "expected"]);
        assert_says(&message, parts);
        assert_eq!(left_behind(&name), [""; 0]);
    }
}

#[test]
fn the_backend_may_be_demanded() {
    let message = refused(&mut rank(&[("COBRE_COMM_BACKEND", "shm")]));
    assert_says(
        &message,
        &["COBRE_SHM_NAME is not set", "COBRE_COMM_BACKEND"],
    );
}

#[test]
fn a_rank_that_comes_twice_is_told_to_everybody() {
    let job = Job::of(RANK, 3, &["join"]);
    let mut ranks = [0, 1].map(|rank| joined(&job, rank));
    let mut second = job.start_rank(1);
    let taken = format!(
        "rank 1 of job {} is taken by process {}",
        job.name(),
        ranks[1].pid()
    );
    assert_says(&refused(&mut second), &[&taken]);
    for rank in &mut ranks {
        assert_says(&refused(rank), &[&taken]);
    }
}

#[test]
fn a_second_rank_0_finds_the_name_in_use() {
    let job = Job::of(RANK, 2, &["join", "barrier"]);
    let mut first = joined(&job, 0);
    let message = refused(&mut job.start_rank(0));
    assert_says(&message, &[job.name(), "in use", &first.pid().to_string()]);
    // The job forms nevertheless.
    let mut other = job.start_rank(1);
    other.hear("ok barrier");
    first.hear("ok barrier");
    assert_eq!((first.end(), other.end()), (End::Code(0), End::Code(0)));
}

#[test]
fn sizes_that_differ_are_told_to_everybody() {
    let job = Job::of(RANK, 3, &["join"]);
    let mut ranks = Vec::from([0, 1].map(|rank| joined(&job, rank)));
    let mut command = job.command(2);
    command.env("COBRE_SHM_SIZE", "4");
    ranks.push(Process::start("rank 2 of 4", &mut command));
    for rank in &mut ranks {
        let message = refused(rank);
        assert_says(&message, &["rank 2", "COBRE_SHM_SIZE=4", "has 3 ranks"]);
    }
}

#[test]
fn who_never_came_is_named() {
    let job = Job::of(RANK, 4, &["join"]).env("COBRE_SHM_ATTACH_TIMEOUT", "5");
    let mut ranks = [job.start_rank(0), job.start_rank(2)];
    for rank in &mut ranks {
        assert_says(
            &refused(rank),
            &["ranks 1, 3", job.name(), "COBRE_SHM_ATTACH_TIMEOUT"],
        );
    }
}

#[test]
fn without_rank_0_the_job_is_not_found() {
    let job = Job::of(RANK, 2, &["join"]).env("COBRE_SHM_ATTACH_TIMEOUT", "0.2");
    let message = refused(&mut job.start_rank(1));
    assert_says(
        &message,
        &[job.name(), "not found", "rank 0", "this machine"],
    );
}

#[test]
fn a_latecomer_is_told_that_the_job_may_have_formed() {
    let job = Job::of(RANK, 2, &["join", "hear", "barrier"]);
    let mut ranks = job.start();
    ranks.iter_mut().for_each(|rank| drop(rank.hear("joined ")));
    let mut command = job.command(1);
    command.env("COBRE_SHM_ATTACH_TIMEOUT", "0.2");
    let mut late = Process::start("the latecomer", &mut command);
    assert_says(
        &refused(&mut late),
        &[job.name(), "already formed, without"],
    );
    for rank in &mut ranks {
        rank.say("go");
    }
    for rank in &mut ranks {
        rank.hear("ok barrier");
        assert_eq!(rank.end(), End::Code(0));
    }
}

#[test]
fn a_rank_that_dies_while_the_job_forms_is_named() {
    let job = Job::of(RANK, 3, &["join"]);
    let mut ranks = [0, 1].map(|rank| joined(&job, rank));
    ranks[1].signal(Signal::SIGKILL);
    let dead = format!("rank 1 (pid {})", ranks[1].pid());
    assert_says(&refused(&mut ranks[0]), &[job.name(), &dead, "died"]);
}

#[test]
fn a_founder_that_dies_is_named() {
    let job = Job::of(RANK, 3, &["join"]);
    let mut ranks = [0, 1].map(|rank| joined(&job, rank));
    ranks[0].signal(Signal::SIGKILL);
    // Whoever founds the job removes its name, and this founder cannot any more.
    let _cleanup = Garbage(PathBuf::from(format!("/dev/shm{}", job.name())));
    let dead = format!("rank 0 (pid {})", ranks[0].pid());
    assert_says(&refused(&mut ranks[1]), &[job.name(), &dead, "died"]);
}

#[test]
fn garbage_under_the_name_is_left_alone_and_reported() {
    let header = |magic: &[u8], len: usize| {
        let mut bytes = magic.to_vec();
        bytes.resize(len, 0);
        bytes
    };
    let cases: [(&str, Vec<u8>, &str); 5] = [
        ("empty", Vec::new(), "large enough"),
        ("too short", b"short".to_vec(), "large enough"),
        ("zeros", header(b"", 1 << 20), "has not written its header"),
        ("text", b"garbage!".repeat(1000), "begins with"),
        (
            "another version",
            header(b"CobreShm\xff\0\0\0", 1 << 20),
            "layout version 255",
        ),
    ];
    for (what, content, found) in cases {
        let job = Job::of(RANK, 2, &["join"]).env("COBRE_SHM_ATTACH_TIMEOUT", "0.2");
        let garbage = Garbage::new(job.name(), &content);
        let remedy = format!("rm /dev/shm{}", job.name());
        let message = refused(&mut job.start_rank(1));
        assert_says(&message, &[job.name(), found, &remedy]);
        let message = refused(&mut job.start_rank(0));
        assert_says(&message, &[job.name(), "in use", &remedy]);
        let kept = std::fs::read(&garbage.0).unwrap_or_default();
        assert!(kept == content, "{what} was changed");
    }
}

/// What a founder leaves that was killed at the worst moment: complete, and waited for by nobody.
#[test]
fn an_abandoned_segment_is_recognised_and_replaced() {
    let job = Job::of(RANK, 2, &["join", "barrier"]);
    let mut founder = joined(&job, 0);
    founder.signal(Signal::SIGKILL);
    assert_eq!(founder.end(), End::Signal(9));
    let pid = founder.pid().to_string();
    let mut command = job.command(1);
    command.env("COBRE_SHM_ATTACH_TIMEOUT", "0.2");
    let message = refused(&mut Process::start("nobody founds", &mut command));
    assert_says(&message, &[job.name(), &pid, "gone", "rm /dev/shm"]);
    // Who comes before the next founder waits for it.
    let mut early = job.start_rank(1);
    // It has found what is left, or finds the new job at once: either is right.
    early.until_asleep();
    for rank in [&mut job.start_rank(0), &mut early] {
        rank.hear("ok barrier");
        assert_eq!(rank.end(), End::Code(0));
    }
}

#[test]
fn a_name_that_stands_for_something_else_is_left_alone_and_reported() {
    use std::os::unix::{fs::symlink, net::UnixListener};
    let fifo = |path: &PathBuf| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).is_ok();
    let readable = |path: &PathBuf| {
        let all = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::write(path, [0; 100]).is_ok() && std::fs::set_permissions(path, all).is_ok()
    };
    type Squat<'a> = &'a dyn Fn(&PathBuf) -> bool;
    let cases: [(&str, Squat<'_>); 6] = [
        ("a symbolic link", &|path| {
            symlink("/etc/hostname", path).is_ok()
        }),
        ("a symbolic link", &|path| symlink("nowhere", path).is_ok()),
        ("a directory", &|path| std::fs::create_dir(path).is_ok()),
        ("a FIFO", &fifo),
        ("a socket", &|path| UnixListener::bind(path).is_ok()),
        ("others may access it", &readable),
    ];
    for (what, squat) in cases {
        // At once: waiting would not make it a job.
        let job = Job::of(RANK, 2, &["join"]).env("COBRE_SHM_ATTACH_TIMEOUT", "1000");
        let path = PathBuf::from(format!("/dev/shm{}", job.name()));
        assert!(squat(&path), "{what} can be made");
        for rank in [1, 0] {
            let message = refused(&mut job.start_rank(rank));
            assert_says(&message, &[job.name(), what, "rm /dev/shm"]);
        }
        assert!(path.symlink_metadata().is_ok(), "{what} was removed");
        let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
    }
}

/// Every field of the header of a job that is forming, each with values that no founder writes.
#[test]
fn a_forged_header_is_not_believed() {
    let (size, slot) = (2_u32, 4096_u64);
    let cases: [(u64, &[u8], &str); 17] = [
        (0, b"CobreShn", "begins with"),
        (0, b"\xff\xff\xff\xff\xff\xff\xff\xff", "begins with"),
        (0, &[0; 8], "has not written its header"),
        (8, &0_u32.to_ne_bytes(), "layout version 0"),
        (8, &u32::MAX.to_ne_bytes(), "layout version 4294967295"),
        (12, &0_u32.to_ne_bytes(), "states 0 ranks"),
        (12, &1025_u32.to_ne_bytes(), "states 1025 ranks"),
        (12, &u32::MAX.to_ne_bytes(), "states 4294967295 ranks"),
        (12, &(size + 1).to_ne_bytes(), "are needed for 3 ranks"),
        (12, &(size - 1).to_ne_bytes(), "has 1 ranks"),
        (16, &0_u64.to_ne_bytes(), "another build"),
        (16, &u64::MAX.to_ne_bytes(), "another build"),
        (24, &0_u64.to_ne_bytes(), "0 bytes of staging"),
        (24, &(slot - 1).to_ne_bytes(), "4095 bytes of staging"),
        (24, &(slot + 1).to_ne_bytes(), "4097 bytes of staging"),
        (24, &(slot * 2).to_ne_bytes(), "are needed for 2 ranks"),
        (24, &(u64::MAX - 4095).to_ne_bytes(), "bytes of staging"),
    ];
    for (offset, forged, found) in cases {
        let job = Job::of(RANK, 2, &["join"]).env("COBRE_SHM_STAGING", "1");
        let mut founder = joined(&job, 0);
        let segment = open_segment(&job);
        segment.write_all_at(forged, offset).expect("it is ours");
        let mut command = job.command(1);
        command.env("COBRE_SHM_ATTACH_TIMEOUT", "0.2");
        let message = refused(&mut Process::start("rank 1", &mut command));
        assert_says(&message, &[job.name(), found]);
        founder.signal(Signal::SIGKILL);
        founder.end();
        let _ = std::fs::remove_file(format!("/dev/shm{}", job.name()));
    }
}

#[test]
fn a_segment_that_was_cut_off_is_not_mapped() {
    for length in [0, 1, 4095, 4096, 20_000] {
        let job = Job::of(RANK, 2, &["join"]).env("COBRE_SHM_STAGING", "1");
        let mut founder = joined(&job, 0);
        let segment = open_segment(&job);
        // Its own mapping must not be touched any more.
        founder.signal(Signal::SIGSTOP);
        founder.until_stopped();
        segment.set_len(length).expect("it is ours");
        let mut command = job.command(1);
        command.env("COBRE_SHM_ATTACH_TIMEOUT", "0.2");
        let message = refused(&mut Process::start("rank 1", &mut command));
        assert_says(
            &message,
            &[
                job.name(),
                if length < 4096 {
                    "large enough"
                } else {
                    "needed"
                },
            ],
        );
        founder.signal(Signal::SIGKILL);
        founder.end();
        let _ = std::fs::remove_file(format!("/dev/shm{}", job.name()));
    }
}

fn open_segment(job: &Job) -> std::fs::File {
    let path = format!("/dev/shm{}", job.name());
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path);
    file.expect("the founder has made it")
}

#[test]
fn a_rank_that_joins_again_is_told_so() {
    let job = Job::of(RANK, 2, &["join", "barrier", "hear", "join"])
        .env("COBRE_SHM_ATTACH_TIMEOUT", "1000");
    let mut ranks = job.start();
    // Not before both are members.
    ranks
        .iter_mut()
        .for_each(|rank| drop(rank.hear("ok barrier")));
    for rank in &mut ranks {
        rank.say("go");
        assert_says(
            &refused(rank),
            &["this process is a rank of job", job.name(), "once"],
        );
    }
}

#[test]
fn a_program_that_a_rank_starts_does_not_join_in_its_place() {
    let job = Job::of(
        RANK,
        2,
        &["join", "barrier", "hear", "child:join", "barrier"],
    )
    .env("COBRE_SHM_ATTACH_TIMEOUT", "1000");
    let mut ranks = job.start();
    ranks
        .iter_mut()
        .for_each(|rank| drop(rank.hear("ok barrier")));
    for rank in &mut ranks {
        rank.say("go");
        let member = format!("process {}, from which this one descends", rank.pid());
        let message = rank.hear("refused ");
        assert_says(&message, &[&member, job.name(), "COBRE_COMM_BACKEND=local"]);
    }
    for rank in &mut ranks {
        rank.hear("ok barrier");
        assert_eq!(rank.end(), End::Code(0));
    }
}

#[test]
fn staging_that_cannot_be_had_is_reported() {
    for staging in ["1000000G", "2000000000G"] {
        let job = Job::of(RANK, 2, &["join"])
            .env("COBRE_SHM_STAGING", staging)
            .env("COBRE_SHM_ATTACH_TIMEOUT", "1");
        for rank in &mut job.start() {
            let message = refused(rank);
            assert_says(
                &message,
                &[job.name(), "cannot reserve", "left: ", "COBRE_SHM_STAGING"],
            );
        }
    }
}

#[test]
fn the_smallest_staging_is_enough() {
    let job = Job::of(
        RANK,
        3,
        &["join", "broadcast:2:100000", "gather:30001", "reduce:50001"],
    )
    .env("COBRE_SHM_STAGING", "1");
    for rank in &mut job.start() {
        rank.hear("ok reduce");
        assert_eq!(rank.end(), End::Code(0));
    }
}

#[test]
fn many_jobs_at_once_do_not_meet() {
    let jobs: Vec<Job> = (0..6)
        .map(|_| Job::of(RANK, 2, &["join", "barrier", "reduce:5"]))
        .collect();
    let mut ranks: Vec<Process> = jobs.iter().flat_map(Job::start).collect();
    for rank in &mut ranks {
        rank.hear("ok reduce");
        assert_eq!(rank.end(), End::Code(0));
    }
}
