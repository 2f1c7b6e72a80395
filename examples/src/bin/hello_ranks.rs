//! The smallest rank program: `cobre-launch -n 4 target/release/hello`, or alone.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "saying hello is what it is for")]

use cobre_shm::{Communicator, ReduceOp};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let comm = cobre_shm::init()?;
    let mut sum = [0];
    comm.allreduce(&[comm.rank()], &mut sum, ReduceOp::Sum)?;
    println!(
        "hello from rank {} of {}: our numbers add up to {}",
        comm.rank(),
        comm.size(),
        sum[0]
    );
    comm.barrier()?;
    Ok(())
}
