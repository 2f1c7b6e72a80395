//! The tables that an SDDP solver shares, one copy of each: `cobre-launch -n 4 target/release/shared_tables`.
//!
//! 1. *Case data*: the leader loads them, everybody reads.
//! 2. *Opening tree*: every rank draws a block of openings, everybody reads all.
//! 3. *Cut pool*: all ranks append cuts in every iteration and read all cuts in place.
//! 4. *Active cuts*: the leader decides between iterations which cuts count, everybody reads.
//!
//! Every rank checks every element that it reads against what it must be.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "prints what it found")]

use cobre_shm::bytemuck::{Pod, Zeroable};
use cobre_shm::{
    CommError, Communicator, Placement, PoolProvider, ReduceOp, RegionReader, Rows,
    SharedMemoryProvider, SharedPool, SharedRegion, ShmComm, WindowOptions,
};

const PLANTS: usize = 160;
const OPENINGS: usize = 1_000;
const ITERATIONS: usize = 20;
const CUTS_PER_RANK: usize = 3;

/// A hydro plant of the case.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[bytemuck(crate = "cobre_shm::bytemuck")]
#[repr(C)]
struct Plant {
    storage: [f64; 2],
    productivity: f64,
    /// Which plant is downstream; `u64::MAX` for the sea.
    downstream: u64,
}

/// A lower bound of the future cost.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[bytemuck(crate = "cobre_shm::bytemuck")]
#[repr(C)]
struct Cut {
    intercept: f64,
    iteration: u32,
    rank: u32,
    slopes: [f64; 4],
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let comm = cobre_shm::init()?;
    case_data(&comm)?;
    opening_tree(&comm)?;
    cut_pool(&comm)?;
    Ok(())
}

/// The leader loads, everybody reads. Nobody else touches the file, and there is one copy.
fn case_data(comm: &ShmComm) -> Result<(), CommError> {
    let plants = comm
        .create_shared_region::<Plant>(PLANTS)?
        .populate_by_leader(|plants| {
            // Here a solver reads its files.
            for (number, plant) in plants.iter_mut().enumerate() {
                *plant = loaded(number);
            }
        })?;
    let right = plants
        .iter()
        .enumerate()
        .all(|(number, plant)| *plant == loaded(number));
    agree(
        comm,
        "case data",
        right,
        &format!("{} plants", plants.len()),
    )
}

fn loaded(number: usize) -> Plant {
    let downstream = if number + 1 < PLANTS {
        number as u64 + 1
    } else {
        u64::MAX
    };
    Plant {
        storage: [0.0, 100.0 + number as f64],
        productivity: 0.9,
        downstream,
    }
}

/// Every rank draws its openings; rows begin on cache lines, so that neighbours never write one line,
/// and pages are spread over all NUMA nodes, because everybody reads all of them.
fn opening_tree(comm: &ShmComm) -> Result<(), CommError> {
    let shape = Rows::on_lines::<f64>(OPENINGS, PLANTS);
    let options = WindowOptions::new()
        .parts(shape.parts(comm.size()))
        .placement(Placement::Interleaved);
    let mut tree = comm.create_window::<f64>(shape.len(), &options)?;
    let part = tree.part();
    for (opening, noise) in shape.rows_mut(part, tree.part_mut()) {
        for (plant, noise) in noise.iter_mut().enumerate() {
            *noise = drawn(opening, plant);
        }
    }
    let tree = tree.fence()?;
    let mut openings = shape.of(&tree).iter().enumerate();
    let right = openings.all(|(opening, noise)| {
        let mut plants = noise.iter().enumerate();
        plants.all(|(plant, &noise)| noise == drawn(opening, plant))
    });
    agree(comm, "opening tree", right, &format!("{OPENINGS} openings"))
}

/// A number that depends on opening and plant alone, so that the tree is the same for any number of ranks.
fn drawn(opening: usize, plant: usize) -> f64 {
    let mixed = (opening * PLANTS + plant) as u64;
    let mixed = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ mixed >> 7;
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

/// All ranks append and read in place; between iterations the leader says which cuts still count.
fn cut_pool(comm: &ShmComm) -> Result<(), CommError> {
    let most = ITERATIONS * comm.size() * CUTS_PER_RANK;
    // Address space for all cuts there may ever be; memory only as they come.
    let mut pool = comm.create_pool::<Cut>(most)?;
    let mut active = comm.create_shared_region::<u64>(most)?.fence()?;
    let mut right = true;
    for iteration in 0..ITERATIONS {
        // Some ranks have no cut in an iteration.
        let count = (comm.rank() + iteration) % (CUTS_PER_RANK + 1);
        let known = pool.len();
        pool.append(count, |mine| {
            for cut in mine {
                *cut = made(iteration, comm.rank());
            }
        })?;
        // Nothing has moved: what was there is where it was, what is new comes in rank order.
        let new = pool[known..].iter();
        right &= new
            .clone()
            .all(|cut| *cut == made(iteration, cut.rank as usize));
        right &= new.is_sorted_by_key(|cut| cut.rank);
        // The cuts of the last two iterations count.
        let counts = |cut: &Cut| u64::from(cut.iteration as usize + 2 > iteration);
        active = active.update_by_leader(|active| {
            for (active, cut) in active.iter_mut().zip(pool.iter()) {
                *active = counts(cut);
            }
        })?;
        right &= pool
            .iter()
            .zip(active.iter())
            .all(|(cut, &active)| active == counts(cut));
    }
    let counting = active.iter().sum::<u64>();
    let found = format!("{} cuts, {counting} of them count", pool.len());
    agree(comm, "cut pool", right, &found)
}

fn made(iteration: usize, rank: usize) -> Cut {
    let number = (iteration * 1000 + rank) as f64;
    Cut {
        intercept: number,
        iteration: iteration as u32,
        rank: rank as u32,
        slopes: [number, -number, 0.5, 2.0],
    }
}

/// Rank 0 says how many ranks found everything right.
fn agree(comm: &ShmComm, table: &str, right: bool, found: &str) -> Result<(), CommError> {
    let mut agreeing = [0_u64];
    comm.allreduce(&[u64::from(right)], &mut agreeing, ReduceOp::Sum)?;
    if comm.rank() == 0 {
        println!(
            "{table}: {found}, read right by {} of {} ranks",
            agreeing[0],
            comm.size()
        );
    }
    Ok(())
}
