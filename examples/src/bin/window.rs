//! One table for all ranks: `cobre-launch -n 4 target/release/window`.
//!
//! First each rank fills its own part of it, as one does with a large table: the pages then lie
//! near the rank that wrote them. Then the leader alone fills another. Both times a fence stands
//! between writing and reading, and the types allow nothing else.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "prints what it found")]

use cobre_shm::{
    CommError, Communicator, ReduceOp, RegionReader, SharedMemoryProvider, SharedRegion,
};

const LENGTH: usize = 1_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let comm = cobre_shm::init()?;
    let squares = filled_by_all(&comm)?;
    check(&comm, "filled by all", &squares, |k| (k * k) as f64)?;
    // The same memory again: the read epoch ends for all, and a write epoch begins.
    let mut table = squares.fence()?;
    let part = table.part();
    for value in table.part_mut() {
        *value = -*value;
    }
    let negated = table.fence()?;
    check(&comm, "negated by all", &negated, |k| -((k * k) as f64))?;
    println!("rank {} wrote elements {part:?}", comm.rank());

    let roots = comm
        .create_shared_region::<f64>(LENGTH)?
        .populate_by_leader(|all| {
            for (k, value) in all.iter_mut().enumerate() {
                *value = (k as f64).sqrt();
            }
        })?;
    check(&comm, "filled by the leader", &roots, |k| (k as f64).sqrt())?;
    Ok(())
}

/// Each rank writes its part; the fence lets everybody read everything.
fn filled_by_all<C: SharedMemoryProvider>(
    comm: &C,
) -> Result<<C::Region<f64> as SharedRegion<f64>>::Reader, CommError> {
    let mut table = comm.create_shared_region::<f64>(LENGTH)?;
    let part = table.part();
    for (value, k) in table.part_mut().iter_mut().zip(part) {
        *value = (k * k) as f64;
    }
    table.fence()
}

/// Every rank reads every element; rank 0 says how many ranks found all of them right.
fn check<C: Communicator>(
    comm: &C,
    what: &str,
    table: &[f64],
    expected: impl Fn(usize) -> f64,
) -> Result<(), CommError> {
    let right = (0..LENGTH).all(|k| table[k] == expected(k)) && table.len() == LENGTH;
    let mut agree = [0_u64];
    comm.allreduce(&[u64::from(right)], &mut agree, ReduceOp::Sum)?;
    if comm.rank() == 0 {
        let size = comm.size();
        println!(
            "{what}: {} of {size} ranks read all {LENGTH} elements right",
            agree[0]
        );
    }
    Ok(())
}
