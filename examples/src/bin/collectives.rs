//! What each collective costs here: `cobre-launch -n 4 target/release/collectives`.
//!
//! The time of a call is that of the rank for which it took longest, from a barrier (not timed)
//! until the call returns there. For comparisons with other backends see the `benches` folder.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "prints a table")]

use std::time::{Duration, Instant};

use cobre_shm::{CommError, Communicator, ReduceOp};

const SIZES: [usize; 7] = [8, 64, 512, 4 << 10, 32 << 10, 256 << 10, 1 << 20];
const TARGET: Duration = Duration::from_millis(100);
const MOST: usize = 2000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let comm = cobre_shm::init()?;
    if comm.rank() == 0 {
        println!("{} ranks, times in microseconds\n", comm.size());
        println!(
            "{:<12} {:>10} {:>12} {:>12} {:>8}",
            "collective", "bytes", "median", "minimum", "calls"
        );
    }
    measure(&comm, "barrier", 0, || comm.barrier())?;
    for bytes in SIZES {
        let (send, mut recv) = (vec![1.0; bytes / 8], vec![0.0; bytes / 8]);
        measure(&comm, "allreduce", bytes, || {
            comm.allreduce(&send, &mut recv, ReduceOp::Sum)
        })?;
    }
    for bytes in SIZES {
        let mut buffer = vec![1.0; bytes / 8];
        measure(&comm, "broadcast", bytes, || comm.broadcast(&mut buffer, 0))?;
    }
    for bytes in SIZES {
        // So many bytes from each rank.
        let (send, mut recv) = (vec![1.0; bytes / 8], vec![0.0; bytes / 8 * comm.size()]);
        let counts = vec![bytes / 8; comm.size()];
        let displs: Vec<usize> = (0..comm.size()).map(|rank| rank * bytes / 8).collect();
        measure(&comm, "allgatherv", bytes, || {
            comm.allgatherv(&send, &mut recv, &counts, &displs)
        })?;
    }
    Ok(())
}

/// Repeats `call` until the median settles, and prints a line on rank 0.
fn measure<C: Communicator>(
    comm: &C,
    name: &str,
    bytes: usize,
    mut call: impl FnMut() -> Result<(), CommError>,
) -> Result<(), CommError> {
    let mut timed = || {
        comm.barrier()?;
        let start = Instant::now();
        call()?;
        Ok::<_, CommError>(start.elapsed().as_nanos() as u64)
    };
    // Warms up, and tells how often to repeat: all ranks must agree on that.
    let mut slowest = [0];
    for _ in 0..10 {
        comm.allreduce(&[timed()?], &mut slowest, ReduceOp::Max)?;
    }
    let repeats = TARGET.as_nanos() as u64 / slowest[0].max(1);
    let repeats = (repeats as usize).clamp(20, MOST);
    let mine = (0..repeats)
        .map(|_| timed())
        .collect::<Result<Vec<_>, _>>()?;
    let mut nanoseconds = vec![0; repeats];
    comm.allreduce(&mine, &mut nanoseconds, ReduceOp::Max)?;
    nanoseconds.sort_unstable();
    if comm.rank() == 0 {
        let micros = |nanoseconds: u64| nanoseconds as f64 / 1e3;
        let (median, minimum) = (micros(nanoseconds[repeats / 2]), micros(nanoseconds[0]));
        println!("{name:<12} {bytes:>10} {median:>12.2} {minimum:>12.2} {repeats:>8}");
    }
    Ok(())
}
