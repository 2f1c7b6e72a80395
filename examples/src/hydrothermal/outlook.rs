//! What the rest of the year will cost, from each month on: scenarios of uneven length, shared out.
//!
//! A scenario that begins in January is played through twelve stages, one that begins in December
//! through one. Divided into equal blocks the first rank has most of the work; taken in chunks by
//! whoever is free ([`ShmComm::dynamic`]) all end at the same time. A scenario's cost depends on its
//! number alone, and the costs come back by number, so both give the same bits.

use std::ops::Range;
use std::time::{Duration, Instant};

use cobre_shm::board::Publisher;
use cobre_shm::{Chunking, Communicator, RegionReader, ShmComm};

use super::gather::{gather, my_block};
use super::inflow::{OpeningTree, Purpose, draw_openings, sampled_opening};
use super::sddp::{Estimate, SddpError, estimate};
use super::stage::StageProblem;
use super::{Case, Policy};

/// Who plays which scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Each rank an equal part of the numbers.
    Blocks,
    /// Each rank the next chunk, whenever it is free.
    Chunks(Chunking),
}

/// Costs, the same on every rank, and how long it took.
#[derive(Clone, Debug)]
pub struct Outlook {
    /// Of each scenario, in million $: by the stage that it begins with, then by its number.
    pub costs: Vec<f64>,
    /// From start to end.
    pub elapsed: Duration,
    /// How long each rank played.
    pub played: Vec<Duration>,
}

impl Outlook {
    /// The expected cost from each of `stages` stages on.
    #[must_use]
    pub fn from_each_stage(&self, stages: usize) -> Vec<Estimate> {
        let scenarios = self.costs.len() / stages;
        self.costs.chunks(scenarios).map(estimate).collect()
    }
}

/// Plays `scenarios` scenarios from each stage on, with what `policy` has learnt. Collective.
///
/// # Errors
/// [`SddpError`]. One rank alone may meet an LP that fails: it should then abort the job.
///
/// # Panics
/// If `scenarios` is 0.
pub fn outlook(
    comm: &ShmComm,
    case: &Case,
    policy: &Policy,
    seed: u64,
    scenarios: usize,
    split: Split,
) -> Result<Outlook, SddpError> {
    assert!(scenarios > 0);
    let tree = draw_openings(comm, case, seed)?;
    let stages = 0..case.stages.len();
    let problems = stages.map(|stage| StageProblem::new(case, stage, &policy.cuts[stage]));
    let mut player = Player {
        case,
        tree,
        seed,
        scenarios,
        problems: problems.collect::<Result<_, _>>()?,
        status: comm.status(),
        done: 0,
        played: Duration::ZERO,
    };
    let pieces = case.stages.len() * scenarios;
    comm.barrier()?;
    let start = Instant::now();
    let costs = match split {
        Split::Blocks => {
            let mut costs = Vec::new();
            let block = my_block(comm, pieces);
            let mine = block.len();
            player.play(block, mine, |_, cost| costs.push(cost))?;
            gather(comm, pieces, 1, &costs)?
        }
        Split::Chunks(chunking) => {
            // How much there is only one of them says, for all.
            let all = if comm.rank() == 0 { pieces } else { 0 };
            let costs = comm.dynamic::<f64>(0..pieces, chunking)?;
            for chunk in &costs {
                let mut chunk = chunk?;
                player.play(chunk.indices(), all, |index, cost| {
                    chunk.record(index, cost);
                })?;
            }
            costs.finish()?.to_vec()
        }
    };
    let elapsed = start.elapsed();
    let played = gather(comm, comm.size(), 1, &[player.played.as_nanos() as u64])?;
    Ok(Outlook {
        costs,
        elapsed,
        played: played.into_iter().map(Duration::from_nanos).collect(),
    })
}

struct Player<'a, R> {
    case: &'a Case,
    tree: OpeningTree<R>,
    seed: u64,
    scenarios: usize,
    /// By stage.
    problems: Vec<StageProblem>,
    status: &'a Publisher,
    done: u64,
    played: Duration,
}

impl<R: RegionReader<f64>> Player<'_, R> {
    /// Plays the scenarios of these numbers and hands over each cost; says that it does, of `total`.
    fn play(
        &mut self,
        numbers: Range<usize>,
        total: usize,
        mut hand_over: impl FnMut(usize, f64),
    ) -> Result<(), SddpError> {
        let start = Instant::now();
        for number in numbers {
            hand_over(number, self.cost(number)?);
            self.done += 1;
            self.status.progress(self.done, total as u64);
        }
        self.played += start.elapsed();
        Ok(())
    }

    fn cost(&mut self, number: usize) -> Result<f64, SddpError> {
        let (begin, scenario) = (number / self.scenarios, number % self.scenarios);
        let mut volumes = self.case.initial_volumes();
        let mut cost = 0.0;
        for stage in begin..self.problems.len() {
            let openings = self.tree.openings();
            let purpose = Purpose::Simulation;
            let opening = sampled_opening(self.seed, purpose, scenario, stage, openings);
            let inflows = self.tree.inflows(stage, opening);
            let decision = self.problems[stage].solve(&volumes, inflows)?;
            cost += decision.stage_cost;
            volumes = decision.volumes;
        }
        Ok(cost)
    }
}
