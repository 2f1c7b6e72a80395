//! How fast this machine can be at all, and how quiet it is: measured beside every comparison.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::json::Bandwidth;
use crate::stats::Summary;

const SAMPLES: u64 = 25;

/// A cache line of its own.
#[repr(align(128))]
struct Line(AtomicU64);

/// Lines for people: round trips between two cores and on one, copies, the load average.
#[must_use]
pub fn lines() -> Vec<String> {
    let mut lines = Vec::new();
    if let [one, other, ..] = usable_cores()[..] {
        let trip = round_trip(one, other, 50_000, std::hint::spin_loop);
        lines.push(format!(
            "cache-line round trip, two cores: {}",
            numbers(trip)
        ));
        let trip = round_trip(one, one, 5_000, std::thread::yield_now);
        lines.push(format!(
            "sched_yield round trip, one core: {}",
            numbers(trip)
        ));
    }
    for bytes in [16 << 10, 1 << 20] {
        let copy = numbers(copying(bytes));
        lines.push(format!("memcpy of {} KiB: {copy}", bytes >> 10));
    }
    lines.push(format!("load average: {}", load()));
    lines
}

/// The load average of the last 1, 5 and 15 minutes.
#[must_use]
pub fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// What all usable cores together copy, for buffers of several lengths.
#[must_use]
pub fn bandwidth() -> Vec<Bandwidth> {
    let lengths = [256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20];
    lengths.into_iter().filter_map(copied_at).collect()
}

/// Every core copies between two buffers of its own; the median over samples taken at the same time.
fn copied_at(bytes: usize) -> Option<Bandwidth> {
    let times = (64 << 20) / bytes;
    let cores = usable_cores();
    let start = Barrier::new(cores.len());
    let copy = &|core| {
        bind(core);
        let (from, mut to) = (vec![1_u8; bytes], vec![2_u8; bytes]);
        let sample = |_| {
            start.wait();
            let begun = Instant::now();
            for _ in 0..times {
                to.copy_from_slice(black_box(&from));
                black_box(&mut to);
            }
            begun.elapsed().as_secs_f64() / times as f64
        };
        (0..5).map(sample).collect::<Vec<f64>>()
    };
    let samples: Vec<f64> = std::thread::scope(|scope| {
        let threads: Vec<_> = cores
            .iter()
            .map(|&core| scope.spawn(move || copy(core)))
            .collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.flat_map(Result::unwrap_or_default).collect()
    });
    let seconds = Summary::of(&samples)?.median;
    Some(Bandwidth {
        bytes,
        gb_per_s: (2 * bytes * cores.len()) as f64 / seconds / 1e9,
    })
}

/// The cores this process may use.
#[must_use]
pub fn usable_cores() -> Vec<usize> {
    let usable = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
    (0..CpuSet::count())
        .filter(|&core| usable.is_set(core).unwrap_or(false))
        .collect()
}

/// Binds the calling thread. (Where that fails, the floor is that of a thread that moves.)
fn bind(core: usize) {
    let mut set = CpuSet::new();
    if set.set(core).is_ok() {
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
    }
}

fn numbers(summary: Option<Summary>) -> String {
    summary.map_or("?".to_owned(), |s| {
        format!(
            "min {:.3}, median {:.3}, max {:.3} us",
            s.min, s.median, s.p99
        )
    })
}

fn round_trip(one: usize, other: usize, trips: u64, wait: fn()) -> Option<Summary> {
    let (ping, pong) = (Line(AtomicU64::new(0)), Line(AtomicU64::new(0)));
    let until = |line: &Line, value| {
        // Acquire and Release as in any hand-over, though nothing is handed over here.
        while line.0.load(Ordering::Acquire) != value {
            wait();
        }
    };
    let samples = std::thread::scope(|scope| {
        scope.spawn(|| {
            bind(other);
            for trip in 1..=trips * SAMPLES {
                until(&ping, trip);
                pong.0.store(trip, Ordering::Release);
            }
        });
        let timed = scope.spawn(|| {
            bind(one);
            let sample = |sample: u64| {
                let start = Instant::now();
                for trip in 1..=trips {
                    let trip = sample * trips + trip;
                    ping.0.store(trip, Ordering::Release);
                    until(&pong, trip);
                }
                start.elapsed().as_secs_f64() * 1e6 / trips as f64
            };
            (0..SAMPLES).map(sample).collect::<Vec<f64>>()
        });
        timed.join().unwrap_or_default()
    });
    Summary::of(&samples)
}

fn copying(bytes: usize) -> Option<Summary> {
    let (from, mut to) = (vec![1_u8; bytes], vec![2_u8; bytes]);
    let times = (8 << 20) / bytes;
    let sample = |_| {
        let start = Instant::now();
        for _ in 0..times {
            to.copy_from_slice(black_box(&from));
            black_box(&mut to);
        }
        start.elapsed().as_secs_f64() * 1e6 / times as f64
    };
    Summary::of(&(0..SAMPLES).map(sample).collect::<Vec<f64>>())
}
