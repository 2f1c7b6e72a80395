//! What an SDDP solver sends, without a copy: `cobre-launch -n 4 target/release/exchange`.
//!
//! Each rank writes its trial points where everybody reads them, then a cut for each of them; then all
//! count together how often each cut was the best one. Three windows, made once, used in every
//! iteration.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "prints what it found")]

use cobre_shm::{
    CommError, Communicator, ReduceOp, SharedExchange, SharedMemoryProvider, SharedReduction,
    block_range,
};

const FORWARD_PASSES: usize = 10;
const ITERATIONS: usize = 19;

/// A line below the future cost, which is x² here: intercept and slope.
type Cut = [f64; 2];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let comm = cobre_shm::init()?;
    let best = train(&comm)?;
    if comm.rank() == 0 {
        println!("{FORWARD_PASSES} cuts after {ITERATIONS} iterations: best at {best:?} points");
    }
    Ok(())
}

/// How often each of the last cuts was the best at a trial point.
fn train<C: SharedMemoryProvider>(comm: &C) -> Result<Vec<u64>, CommError> {
    // The forward passes are shared out; with more ranks than passes some have none.
    let share = |rank| block_range(FORWARD_PASSES, comm.size(), rank);
    let counts: Vec<usize> = (0..comm.size()).map(|rank| share(rank).len()).collect();
    let mine = share(comm.rank());
    let mut trial_points = comm.create_exchange::<f64>(&counts)?;
    let mut cuts = comm.create_exchange::<Cut>(&counts)?;
    let mut visits = comm.create_reduction::<u64>(FORWARD_PASSES)?;
    for iteration in 0..ITERATIONS {
        // Forward: write my trial points; the fence shows those of all ranks.
        for (pass, point) in mine.clone().zip(trial_points.part_mut()) {
            *point = (pass * (iteration + 1) % FORWARD_PASSES) as f64 - 4.5;
        }
        trial_points.fence()?;
        // Backward: a cut at each of my points, written while the old cuts could still be read.
        let points = trial_points.shown_by(comm.rank());
        for (cut, &x) in cuts.part_mut().iter_mut().zip(points) {
            *cut = [-x * x, 2.0 * x];
        }
        cuts.fence()?;
        // Each rank looks at its own points with the cuts of all; everybody gets the sum.
        let counted = visits.operand_mut();
        counted.fill(0);
        for &x in points {
            let value = |cut: &Cut| cut[0] + cut[1] * x;
            let numbered = cuts.shown().iter().enumerate();
            let best = numbered.max_by(|one, other| value(one.1).total_cmp(&value(other.1)));
            if let Some((number, _)) = best {
                counted[number] += 1;
            }
        }
        visits.reduce(ReduceOp::Sum)?;
    }
    Ok(visits.result().to_vec())
}
