//! Looking at jobs from outside: what is seen is true, and nothing that lies there can hurt.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::FileExt,
    thread,
};

use cobre_comm_trait::{CommError, Communicator, FailureCause, ReduceOp, SharedMemoryProvider};
use cobre_shm::{
    Activity, Config, ShmComm,
    inspect::{JobState, JobView, Strange, Unreadable, open, read},
    observer::{Membership, Observer},
    random_job_name,
};

/// The segments that this process has open and whose link contains `part`, as an inspector finds
/// them.
fn open_segments(part: &str) -> Vec<File> {
    let links = fs::read_dir("/proc/self/fd").unwrap().flatten();
    links
        .map(|entry| entry.path())
        .filter(|path| fs::read_link(path).is_ok_and(|to| to.to_str().unwrap().contains(part)))
        .filter_map(|path| open(&path))
        .collect()
}

fn segment(name: &str) -> File {
    open_segments(name).swap_remove(0)
}

fn view(name: &str) -> JobView {
    read(&segment(name)).unwrap()
}

fn pair(name: &str, body: impl Fn(ShmComm) + Sync) {
    thread::scope(|scope| {
        for rank in 0..2 {
            let config = Config::new(name, rank, 2);
            let body = &body;
            scope.spawn(move || body(ShmComm::form(&config).unwrap()));
        }
    });
}

#[test]
fn a_forming_job_and_why_it_did_not_form() {
    let name = random_job_name();
    let observer = Observer::found(&name, 2).unwrap();
    let seen = view(&name);
    assert_eq!(seen.state, JobState::Forming);
    assert!(seen.launched && seen.founder_alive);
    assert_eq!(seen.founder, std::process::id());
    assert_eq!(seen.split_from, None);
    assert_eq!(seen.ranks.len(), 2);
    assert_eq!(seen.ranks[1].membership, Membership::Absent);
    assert!(!seen.ranks[1].is_alive);
    observer.report_failure(1, 77, FailureCause::Signaled(9));
    let cause = CommError::RankFailed {
        rank: 1,
        pid: 77,
        cause: FailureCause::Signaled(9),
        operation: None,
    };
    let formed = false;
    assert_eq!(view(&name).state, JobState::Failed { cause, formed });
}

#[test]
fn ranks_at_work_and_a_communicator_split_from_theirs() {
    let name = random_job_name();
    pair(&name, |comm| {
        comm.barrier().unwrap();
        let inner = comm.split_local().unwrap();
        inner.barrier().unwrap();
        if comm.rank() == 0 {
            let outer = view(&name);
            assert_eq!(outer.state, JobState::Formed);
            assert_eq!(outer.slot_bytes, 1 << 20);
            let rank = &outer.ranks[0];
            assert!(rank.is_alive && rank.calls == 2);
            let Activity::Computing { last: Some(call) } = &rank.activity else {
                panic!("{rank:?}");
            };
            assert_eq!((call.number, call.operation.name()), (2, "split_local"));
            let location = call.location.as_deref().unwrap();
            assert!(location.contains("tests/inspect.rs:"), "{location}");
            let views: Vec<JobView> = open_segments("/dev/shm/#")
                .iter()
                .filter_map(|file| read(file).ok())
                .collect();
            let split = views.iter().find(|v| v.split_from == Some(outer.inode));
            let split = split.expect("the split communicator says so");
            assert_eq!(split.ranks[0].calls, 1);
            assert_eq!(split.state, JobState::Formed);
        }
        comm.barrier().unwrap();
    });
}

/// A file of this process alone with these bytes.
fn file_of(bytes: &[u8]) -> File {
    let path = std::env::temp_dir().join(random_job_name().trim_start_matches('/'));
    let mut file = File::options()
        .create_new(true)
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    fs::remove_file(path).unwrap();
    file.write_all(bytes).unwrap();
    file
}

#[test]
fn half_formed_and_foreign_files_are_named_as_such() {
    let read = |bytes: &[u8]| match read(&file_of(bytes)) {
        Err(Unreadable::Strange(strange)) => strange,
        other => panic!("{other:?}"),
    };
    assert_eq!(read(&[]), Strange::Short);
    assert_eq!(read(&[0; 4096]), Strange::Unwritten);
    assert!(matches!(read(&[7; 4096]), Strange::Foreign(_)));
    let name = random_job_name();
    let _observer = Observer::found(&name, 2).unwrap();
    let mut header = [0; 4096];
    segment(&name).read_exact_at(&mut header, 0).unwrap();
    assert!(matches!(read(&header), Strange::Truncated { .. }));
    header[8] += 1;
    assert!(matches!(read(&header), Strange::OtherVersion(_)));
    header[8] -= 1;
    header[16] ^= 1;
    assert_eq!(read(&header), Strange::OtherBuild);
    header[16] ^= 1;
    header[12] = 0;
    assert!(matches!(
        read(&header),
        Strange::Implausible { size: 0, .. }
    ));
}

/// Whatever stands in the segment behind a header that makes sense is an error or a picture.
#[test]
fn no_content_can_crash_the_reader() {
    let name = random_job_name();
    let mut bytes = Vec::new();
    thread::scope(|scope| {
        let (tell, bytes_of) = std::sync::mpsc::channel();
        let name = &name;
        scope.spawn(move || {
            pair(name, |comm| {
                comm.allreduce(&[1.0], &mut [0.0], ReduceOp::Sum).unwrap();
                if comm.rank() == 0 {
                    let mut bytes = vec![0; segment(name).metadata().unwrap().len() as usize];
                    segment(name).read_exact_at(&mut bytes, 0).unwrap();
                    tell.send(bytes).unwrap();
                }
                comm.barrier().unwrap();
            });
        });
        bytes = bytes_of.recv().unwrap();
    });
    let file = file_of(&bytes);
    let end = bytes.len().min(64 << 10);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut pictures = 0;
    for round in 0..2_000 {
        let damaged = 1 + next() as usize % 200;
        for _ in 0..damaged {
            // Mostly behind the fields that say what it is, else nothing else is reached.
            let first = if next() % 100 == 0 { 0 } else { 32 };
            let at = first + next() as usize % (end - first - 8);
            let word = match next() % 4 {
                0 => u64::MAX,
                1 => next() % 16,
                _ => next(),
            };
            file.write_all_at(&word.to_ne_bytes()[..1 + next() as usize % 8], at as u64)
                .unwrap();
        }
        if round % 50 == 49 {
            file.set_len(next() % bytes.len() as u64).unwrap();
        }
        if let Ok(view) = read(&file) {
            pictures += 1;
            let _ = format!("{view:?}");
        }
        if round % 10 == 9 {
            file.write_all_at(&bytes, 0).unwrap();
        }
    }
    assert!(
        pictures > 1_000,
        "{pictures}: the damage is all of one kind"
    );
}
