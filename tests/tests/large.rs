//! Payloads of more than 2³¹ bytes, through staging of the usual size.
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

use cobre_comm_trait::{Communicator, ReduceOp};
use cobre_tests::run_threads;

/// One more than a signed 32-bit number counts.
const FAR: usize = 1 << 31;

/// What the largest of the cases takes, twice over: other tests run at the same time.
const NEEDED: u64 = 14 << 30;

/// Whether the machine has that much left, as it says itself.
fn has_room() -> bool {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    let room = kibibytes.is_some_and(|kibibytes| kibibytes << 10 >= NEEDED);
    if !room {
        eprintln!("SKIPPED: payloads beyond 2^31 bytes (14 GiB of memory are wanted)");
    }
    room
}

/// Bytes that differ everywhere near the ends and near 2³¹, where a counter would wrap around; the
/// rest stays as the allocator gives it.
fn mark(bytes: &mut [u8], salt: u8) {
    for middle in [0, FAR, bytes.len()] {
        for at in middle.saturating_sub(9)..(middle + 9).min(bytes.len()) {
            bytes[at] = (at as u8).wrapping_mul(31) ^ salt;
        }
    }
}

/// One after the other, so that the memory is needed once.
#[test]
fn lengths_beyond_two_to_the_thirty_first_are_like_any_other() {
    if has_room() {
        broadcast();
        allgatherv();
        allreduce();
    }
}

fn broadcast() {
    let len = FAR + 17;
    let mut expected = vec![0; len];
    mark(&mut expected, 3);
    run_threads(2, |comm, watchdog| {
        let mut buf = match comm.rank() {
            1 => expected.clone(),
            _ => vec![0; len],
        };
        watchdog.long_step(comm.rank(), "broadcasts");
        comm.broadcast(&mut buf, 1).expect("broadcast");
        watchdog.step(comm.rank(), "compares what was broadcast");
        assert!(buf == expected);
    });
}

/// Rank 0 sends more than 2³¹ bytes; those of rank 1 go to beyond 2³².
fn allgatherv() {
    let (counts, displs) = ([FAR + 5, 3], [1, 2 * FAR + 7]);
    let mut long = vec![0; counts[0]];
    mark(&mut long, 4);
    let short = [7, 8, 9];
    run_threads(2, |comm, watchdog| {
        let mut recv = vec![0; 2 * FAR + 11];
        let send = [&long[..], &short][comm.rank()];
        watchdog.long_step(comm.rank(), "gathers");
        comm.allgatherv(send, &mut recv, &counts, &displs)
            .expect("allgatherv");
        watchdog.step(comm.rank(), "compares what was gathered");
        let (first, rest) = recv[1..].split_at(counts[0]);
        assert!(first == long);
        assert_eq!(rest[rest.len() - 4..], [7, 8, 9, 0]);
        // Not what lies between: that would fetch memory nobody has written.
        assert_eq!((recv[0], rest[0], rest[rest.len() - 5]), (0, 0, 0));
    });
}

fn allreduce() {
    let len = FAR / size_of::<f64>() + 3;
    let send: Vec<f64> = (0..len).map(|k| k as f64).collect();
    run_threads(2, |comm, watchdog| {
        let mut recv = vec![0.0; len];
        watchdog.long_step(comm.rank(), "reduces");
        comm.allreduce(&send, &mut recv, ReduceOp::Sum)
            .expect("allreduce");
        watchdog.step(comm.rank(), "compares what was reduced");
        for start in (0..len).step_by(997).chain(len - 9..len) {
            assert_eq!(recv[start], 2.0 * start as f64);
        }
    });
}
