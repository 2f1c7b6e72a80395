//! What the status board costs: `boardbench costs`; and whether a record is ever torn: `boardbench
//! torn 1000000000`.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "prints its measurements")]

use std::error::Error;
use std::hint::black_box;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use cobre_shm::board::{
    EstimatedCompletion, LeastLoaded, Progress, Publisher, Record, State,
    standing::{Board, BoardMember, Boards},
};

/// Measures the status board.
#[derive(Debug, Parser)]
#[command(name = "boardbench")]
enum Command {
    /// Update, read, read under constant writing, choose among 64; beside a request over a socket.
    Costs,
    /// Read so many records under full-speed writing, and count the torn ones.
    Torn {
        /// How many.
        reads: u64,
    },
}

/// Members of the team that is chosen from.
const TEAM: usize = 64;
/// Each number is the median of so many samples.
const SAMPLES: usize = 21;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    match Command::parse() {
        Command::Costs => costs()?,
        Command::Torn { reads } => {
            if torn(reads)? > 0 {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A board of this process alone, with so many members, all joined.
fn board(members: usize) -> Result<Vec<BoardMember>, Box<dyn Error>> {
    let names: Vec<String> = (0..members).map(|number| format!("m{number}")).collect();
    let name = format!("cobre-boardbench-{}", std::process::id());
    let section = serde_json::json!({
        "segments": [{"name": name, "members": names}],
        "interval": 0,
    });
    let boards = Boards::from_json(&serde_json::json!({"shared_memory": section}).to_string())?;
    let joined: Result<_, _> = names.iter().map(|name| boards.join(name)).collect();
    Ok(joined?)
}

/// Everything says `count`.
fn write(status: &Publisher, count: u64) {
    status.update(|record| {
        record.load.queue = count;
        record.load.items = count;
        record.progress = Some(Progress {
            done: count,
            total: count,
        });
        record.resident = count;
        record.peak = count;
        record.cpu = Duration::from_nanos(count);
    });
}

fn is_whole(record: &Record) -> bool {
    let Some(progress) = record.progress else {
        return record.load.queue == 0;
    };
    let said = [
        record.load.items,
        progress.done,
        progress.total,
        record.resident,
        record.peak,
        record.cpu.as_nanos() as u64,
    ];
    said.iter().all(|&word| word == record.load.queue)
}

/// Runs `body` while another thread writes as fast as it can; how many updates it made.
fn under_writing<R>(status: &Publisher, body: impl FnOnce() -> R) -> (R, u64) {
    let (started, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                count += 1;
                write(status, count);
                started.store(true, Ordering::Relaxed);
            }
            count
        });
        while !started.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        let result = body();
        stop.store(true, Ordering::Relaxed);
        (result, writer.join().unwrap_or_default())
    })
}

fn torn(reads: u64) -> Result<u64, Box<dyn Error>> {
    let members = board(1)?;
    let view = Board::open(&members[0].board().description().name)?;
    let begin = Instant::now();
    let ((torn, gave_up, changes), updates) = under_writing(members[0].status(), || {
        let (mut torn, mut gave_up, mut changes, mut last) = (0_u64, 0_u64, 0_u64, 0);
        for _ in 0..reads {
            match view.record(0) {
                None => gave_up += 1,
                Some(record) => {
                    torn += u64::from(!is_whole(&record) || record.load.queue < last);
                    changes += u64::from(record.load.queue != last);
                    last = record.load.queue;
                }
            }
        }
        (torn, gave_up, changes)
    });
    println!(
        "{reads} reads in {:.1} s: {torn} torn, {gave_up} given up; {changes} times a new record, of {updates} updates",
        begin.elapsed().as_secs_f64()
    );
    Ok(torn)
}

/// Median, least and greatest of samples of `calls` calls, in nanoseconds a call.
fn measure(what: &str, calls: u32, mut call: impl FnMut()) {
    (0..calls / 10).for_each(|_| call());
    let mut samples: Vec<f64> = (0..SAMPLES)
        .map(|_| {
            let begin = Instant::now();
            (0..calls).for_each(|_| call());
            begin.elapsed().as_nanos() as f64 / f64::from(calls)
        })
        .collect();
    samples.sort_by(f64::total_cmp);
    println!(
        "{what:44} {:9.1} ns   ({:.1} to {:.1})",
        samples[SAMPLES / 2],
        samples[0],
        samples[SAMPLES - 1]
    );
}

fn costs() -> Result<(), Box<dyn Error>> {
    let members = board(TEAM)?;
    for (number, member) in members.iter().enumerate() {
        member.status().update(|record| {
            record.load.state = State::Busy;
            record.load.queue = number as u64;
        });
    }
    let status = members[0].status();
    let view = Board::open(&members[0].board().description().name)?;
    let everybody = view.everybody();
    let mut count = 0;
    measure("the time, of which an update takes one", 100_000, || {
        black_box(cobre_shm::board::now());
    });
    measure("update: one field", 100_000, || {
        count += 1;
        status.queue(count);
    });
    measure("update: all fields", 100_000, || {
        count += 1;
        write(status, count);
    });
    measure("read: whole record", 100_000, || {
        black_box(view.record(0));
    });
    under_writing(status, || {
        measure(
            "read: whole record, under constant writing",
            100_000,
            || {
                black_box(view.record(0));
            },
        );
    });
    write(status, 0);
    measure("choose among 64: least loaded", 10_000, || {
        black_box(view.choose(&everybody, &LeastLoaded));
    });
    measure("choose among 64: estimated completion", 10_000, || {
        let policy = EstimatedCompletion::default();
        black_box(view.choose(&everybody, &policy));
    });
    socket()?;
    Ok(())
}

/// A request of 64 bytes and an answer of 64, to a thread that only answers.
fn socket() -> Result<(), Box<dyn Error>> {
    let (mut client, mut server) = UnixStream::pair()?;
    let answers = std::thread::spawn(move || {
        let mut bytes = [0; 64];
        while server.read_exact(&mut bytes).is_ok() && server.write_all(&bytes).is_ok() {}
    });
    let mut bytes = [0; 64];
    let mut failed = None;
    measure("request and answer over a Unix socket", 5_000, || {
        let sent = client.write_all(&bytes);
        failed = sent.and_then(|()| client.read_exact(&mut bytes)).err();
    });
    drop(client);
    let _ = answers.join();
    failed.map_or(Ok(()), |error| Err(error.into()))
}
