//! Time for the scheduler before anything is measured.

use std::time::{Duration, Instant};

use cobre_comm_trait::{CommError, Communicator, ReduceOp};

/// How long the ranks keep the cores busy: some turns of the load balancer, which spreads over the cores
/// what was started at once.
const SETTLING: Duration = Duration::from_millis(100);

/// Runs barriers until every rank has found a core. Collective.
///
/// # Errors
/// Those of the collectives.
pub fn settle(comm: &impl Communicator) -> Result<(), CommError> {
    let start = Instant::now();
    let mut shortest = [0.0];
    while shortest[0] < SETTLING.as_secs_f64() {
        for _ in 0..16 {
            comm.barrier()?;
        }
        let mine = [start.elapsed().as_secs_f64()];
        comm.allreduce(&mine, &mut shortest, ReduceOp::Min)?;
    }
    Ok(())
}
