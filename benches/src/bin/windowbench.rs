//! Times and measures windows: what `benches/windows.sh` puts beside MPI and the machine's own speed.
//!
//!     windowbench window BYTES [interleaved|huge]   create, fill, read, and the memory of all ranks
//!     windowbench heap BYTES                        the same with a copy in each rank
//!     windowbench many COUNT BYTES                  so many windows at once
//!     windowbench memory BYTES                      one thread: fill fresh memory, fill it again, copy
//!
//! Rank 0 prints a line of `name=value` pairs. Times are of the slowest rank, in milliseconds; rates in
//! gigabytes (1e9) a second, reading of all ranks together.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "prints what it measured")]

use std::fs;
use std::hint::black_box;
use std::time::Instant;

use cobre_comm_trait::{CommError, Communicator, ReduceOp, SharedMemoryProvider, SharedRegion};
use cobre_shm::{HugePages, Placement, ShmComm, WindowOptions};

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let comm = cobre_shm::init()?;
    match words[..] {
        ["window", bytes] => window(&comm, bytes.parse()?, &WindowOptions::new()),
        ["window", bytes, "interleaved"] => {
            let options = WindowOptions::new().placement(Placement::Interleaved);
            window(&comm, bytes.parse()?, &options)
        }
        ["window", bytes, "huge"] => {
            let options = WindowOptions::new().huge_pages(HugePages::Transparent);
            window(&comm, bytes.parse()?, &options)
        }
        ["heap", bytes] => heap(&comm, bytes.parse()?),
        ["many", count, bytes] => many(&comm, count.parse()?, bytes.parse()?),
        ["memory", bytes] => memory(bytes.parse()?),
        _ => Err("expected window BYTES, heap BYTES, many COUNT BYTES or memory BYTES".into()),
    }
}

/// The largest value of all ranks.
fn most(comm: &ShmComm, value: f64) -> Result<f64, CommError> {
    let mut most = [0.0];
    comm.allreduce(&[value], &mut most, ReduceOp::Max)?;
    Ok(most[0])
}

/// Runs `step` on all ranks at once; milliseconds of the slowest.
fn timed<R, E: From<CommError>>(
    comm: &ShmComm,
    step: impl FnOnce() -> Result<R, E>,
) -> Result<(R, f64), E> {
    comm.barrier()?;
    let start = Instant::now();
    let result = step()?;
    let ms = start.elapsed().as_secs_f64() * 1e3;
    Ok((result, most(comm, ms)?))
}

fn sum(words: &[u64]) -> u64 {
    words.iter().fold(0, |sum, &word| sum.wrapping_add(word))
}

/// Memory of this process as the kernel shares it out, in megabytes.
fn proportional_mb() -> f64 {
    let text = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1024.0 / 1e6
}

fn memory_of_all(comm: &ShmComm) -> Result<f64, CommError> {
    let mut total = [0.0];
    comm.allreduce(&[proportional_mb()], &mut total, ReduceOp::Sum)?;
    // Nobody lets go before all have counted.
    comm.barrier()?;
    Ok(total[0])
}

fn window(comm: &ShmComm, bytes: usize, options: &WindowOptions) -> Outcome {
    let len = bytes / 8;
    let (mut window, create) = timed(comm, || comm.create_window::<u64>(len, options))?;
    let ((), fill) = timed(comm, || -> Result<(), CommError> {
        window.part_mut().fill(7);
        Ok(())
    })?;
    let got = window.placement();
    let window = window.fence()?;
    // Once to map all pages, once more to measure.
    let (first, first_read) = timed(comm, || Ok::<u64, CommError>(sum(&window)))?;
    let (again, read) = timed(comm, || Ok::<u64, CommError>(sum(black_box(&window))))?;
    if first != 7 * len as u64 || again != first {
        return Err(format!("rank {} read {first} and {again}", comm.rank()).into());
    }
    let total = memory_of_all(comm)?;
    if comm.rank() == 0 {
        let ranks = comm.size();
        let rate = |bytes: usize, ms: f64| bytes as f64 / 1e6 / ms;
        println!(
            "who=cobre ranks={ranks} bytes={bytes} create_ms={create:.1} fill_ms={fill:.1} both_gbps={:.2} \
             first_read_ms={first_read:.1} read_gbps={:.2} pss_mb={total:.0}",
            rate(bytes, create + fill),
            rate(bytes * ranks, read),
        );
        if let Some(why) = got.small_pages {
            println!("# no huge pages: {why}");
        }
    }
    Ok(())
}

fn heap(comm: &ShmComm, bytes: usize) -> Outcome {
    let len = bytes / 8;
    let (copy, fill) = timed(comm, || Ok::<_, CommError>(vec![7_u64; len]))?;
    let (read_sum, read) = timed(comm, || Ok::<u64, CommError>(sum(black_box(&copy))))?;
    assert_eq!(read_sum, 7 * len as u64);
    let total = memory_of_all(comm)?;
    if comm.rank() == 0 {
        let ranks = comm.size();
        let rate = (bytes * ranks) as f64 / 1e6 / read;
        println!(
            "who=heap ranks={ranks} bytes={bytes} fill_ms={fill:.1} read_gbps={rate:.2} pss_mb={total:.0}"
        );
    }
    Ok(())
}

fn many(comm: &ShmComm, count: usize, bytes: usize) -> Outcome {
    let (windows, create) = timed(comm, || {
        (0..count)
            .map(|_| comm.create_shared_region::<u8>(bytes))
            .collect::<Result<Vec<_>, _>>()
    })?;
    let mut right = true;
    let mut readers = Vec::with_capacity(count);
    for (number, mut window) in windows.into_iter().enumerate() {
        window.part_mut().fill(number as u8);
        readers.push(window.fence()?);
    }
    for (number, reader) in readers.iter().enumerate() {
        right &= reader.iter().all(|&byte| byte == number as u8);
    }
    assert!(right && readers.iter().all(|reader| reader.len() == bytes));
    let ((), dropped) = timed(comm, || {
        drop(readers);
        Ok::<(), CommError>(())
    })?;
    if comm.rank() == 0 {
        let each = |ms: f64| ms * 1e3 / count as f64;
        println!(
            "who=cobre ranks={} windows={count} bytes={bytes} create_us={:.1} drop_us={:.1}",
            comm.size(),
            each(create),
            each(dropped)
        );
    }
    Ok(())
}

fn memory(bytes: usize) -> Outcome {
    let len = bytes / 8;
    let clock = |step: &mut dyn FnMut()| {
        let start = Instant::now();
        step();
        start.elapsed().as_secs_f64() * 1e3
    };
    // Not 0: fresh memory is that already.
    let mut memory = Vec::new();
    let fresh = clock(&mut || memory = vec![7_u64; len]);
    let again = clock(&mut || black_box(&mut memory).fill(8));
    let half = len / 2;
    let (from, to) = memory.split_at_mut(half);
    let copy = clock(&mut || black_box(&mut *to)[..half].copy_from_slice(black_box(from)));
    let read = clock(&mut || {
        black_box(sum(black_box(&memory)));
    });
    let rate = |bytes: usize, ms: f64| bytes as f64 / 1e6 / ms;
    println!(
        "who=memory bytes={bytes} fresh_fill_ms={fresh:.1} fresh_fill_gbps={:.2} fill_gbps={:.2} copy_gbps={:.2} read_gbps={:.2}",
        rate(bytes, fresh),
        rate(bytes, again),
        rate(half * 8, copy),
        rate(bytes, read)
    );
    Ok(())
}
