//! The algorithm. Read [the overview](super) first.

use std::time::{Duration, Instant};

use cobre_shm::{CommError, Communicator, ReduceOp, SharedMemoryProvider, WorkError};
use serde::{Deserialize, Serialize};

use super::gather::{gather, my_block};
use super::inflow::{OpeningTree, Purpose, SharedTable, draw_openings, sampled_opening};
use super::lp::LpError;
use super::selection::Selection;
use super::stage::StageProblem;
use super::{Case, Cut, Policy};

/// How long and how wide to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Forward and backward passes to make.
    pub iterations: usize,
    /// Scenarios, and so new cuts per stage, in an iteration.
    pub forward_passes: usize,
    /// Scenarios played at the end, with the policy that was learnt.
    pub simulations: usize,
    /// Of all random numbers.
    pub seed: u64,
}

/// Why there is no solution.
#[derive(Debug, thiserror::Error)]
pub enum SddpError {
    /// A collective failed.
    #[error(transparent)]
    Comm(#[from] CommError),
    /// Work that was shared out was not done.
    #[error(transparent)]
    Work(#[from] WorkError),
    /// An LP failed.
    #[error(transparent)]
    Lp(#[from] LpError),
}

/// A mean of scenario costs, in million $.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Half the width of the 95 % confidence interval, as if the mean were normally distributed: with
    /// few scenarios it is somewhat too narrow.
    pub half_width: f64,
}

/// What an iteration found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Iteration {
    /// From 1.
    pub number: usize,
    /// The expected cost of the best policy is not below.
    pub lower_bound: f64,
    /// Of the cost of the policy before this iteration, from its forward passes.
    pub upper_bound: Estimate,
    /// Since the beginning.
    pub elapsed: Duration,
}

/// How many LPs were solved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// By all ranks.
    pub total: u64,
    /// By the rank that solved fewest.
    pub least: u64,
    /// By the rank that solved most.
    pub most: u64,
}

/// What was learnt; the same on every rank.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The cuts.
    pub policy: Policy,
    /// One entry per iteration.
    pub iterations: Vec<Iteration>,
    /// The cost of the final policy; `None` if nothing was simulated.
    pub simulation: Option<Estimate>,
    /// How the LPs were spread.
    pub work: Work,
    /// From start to end.
    pub elapsed: Duration,
}

/// What has been learnt after some iterations: enough to go on from there, to the same bits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The cuts.
    pub policy: Policy,
    /// One entry per iteration.
    pub iterations: Vec<Iteration>,
    /// The volumes that each iteration's forward passes went through: scenario, then stage, then
    /// reservoir. Which cuts an LP needs follows from them.
    pub volumes: Vec<Vec<f64>>,
}

impl Progress {
    /// The state before the first iteration.
    #[must_use]
    pub fn none(case: &Case) -> Self {
        Self {
            policy: Policy::new(case.stages.len()),
            ..Self::default()
        }
    }
}

/// Solves `case`. Collective; `observe` sees each iteration, on every rank.
///
/// # Errors
/// [`SddpError`]. One rank alone may meet an LP that fails: it should then abort the job.
pub fn solve<C: Communicator + SharedMemoryProvider>(
    comm: &C,
    case: &Case,
    settings: Settings,
    mut observe: impl FnMut(&Iteration),
) -> Result<Outcome, SddpError> {
    resume(comm, case, settings, Progress::none(case), |progress| {
        progress
            .iterations
            .last()
            .into_iter()
            .for_each(&mut observe);
    })
}

/// As [`solve`], but goes on from `progress`, the same on every rank; `observe` sees what has been
/// learnt after each further iteration.
///
/// # Errors
/// As for [`solve`].
pub fn resume<C: Communicator + SharedMemoryProvider>(
    comm: &C,
    case: &Case,
    settings: Settings,
    progress: Progress,
    mut observe: impl FnMut(&Progress),
) -> Result<Outcome, SddpError> {
    let start = Instant::now();
    let before = progress
        .iterations
        .last()
        .map_or(Duration::ZERO, |last| last.elapsed);
    let mut search = Search {
        comm,
        case,
        seed: settings.seed,
        tree: draw_openings(comm, case, settings.seed)?,
        needed: vec![Selection::default(); case.stages.len()],
        progress,
        lps: 0,
    };
    search.select_cuts();
    for number in search.progress.iterations.len() + 1..=settings.iterations {
        let forward = search.forward(Purpose::Training(number), settings.forward_passes)?;
        search.backward(&forward)?;
        let iteration = Iteration {
            number,
            lower_bound: search.lower_bound()?,
            upper_bound: estimate(&forward.costs),
            elapsed: before + start.elapsed(),
        };
        search.progress.iterations.push(iteration);
        search.progress.volumes.push(forward.volumes);
        observe(&search.progress);
    }
    let simulation = match settings.simulations {
        0 => None,
        scenarios => {
            let played = search.forward(Purpose::Simulation, scenarios)?;
            Some(estimate(&played.costs))
        }
    };
    Ok(Outcome {
        simulation,
        work: search.work()?,
        policy: search.progress.policy,
        iterations: search.progress.iterations,
        elapsed: before + start.elapsed(),
    })
}

/// Scenarios as they were played.
struct Played {
    /// Cost of each.
    costs: Vec<f64>,
    /// Volumes at the end of each stage: scenario, then stage, then reservoir.
    volumes: Vec<f64>,
}

struct Search<'a, C: SharedMemoryProvider> {
    comm: &'a C,
    case: &'a Case,
    seed: u64,
    tree: OpeningTree<SharedTable<C>>,
    progress: Progress,
    needed: Vec<Selection>,
    lps: u64,
}

impl<C: SharedMemoryProvider> Search<'_, C> {
    fn stages(&self) -> usize {
        self.case.stages.len()
    }

    fn problem(&self, stage: usize) -> Result<StageProblem, LpError> {
        let needed = self.needed[stage].of(&self.progress.policy.cuts[stage]);
        StageProblem::new(self.case, stage, needed)
    }

    /// Plays `scenarios` scenarios, each rank a block of them, and gathers all on every rank.
    fn forward(&mut self, purpose: Purpose, scenarios: usize) -> Result<Played, SddpError> {
        let block = my_block(self.comm, scenarios);
        let mut costs = vec![0.0; block.len()];
        let mut state = vec![self.case.initial_volumes(); block.len()];
        let width = self.stages() * self.case.hydros.len();
        let mut volumes = vec![0.0; block.len() * width];
        // Stage by stage, so that each stage's LP is set up once.
        for stage in 0..self.stages() {
            if block.is_empty() {
                break;
            }
            let mut problem = self.problem(stage)?;
            for (mine, scenario) in block.clone().enumerate() {
                let openings = self.tree.openings();
                let opening = sampled_opening(self.seed, purpose, scenario, stage, openings);
                let decision = problem.solve(&state[mine], self.tree.inflows(stage, opening))?;
                self.lps += 1;
                costs[mine] += decision.stage_cost;
                let end = mine * width + stage * decision.volumes.len();
                volumes[end..][..decision.volumes.len()].copy_from_slice(&decision.volumes);
                state[mine] = decision.volumes;
            }
        }
        Ok(Played {
            costs: gather(self.comm, scenarios, 1, &costs)?,
            volumes: gather(self.comm, scenarios, width, &volumes)?,
        })
    }

    /// From the last stage to the second: a cut for the stage before, at each trial state.
    fn backward(&mut self, forward: &Played) -> Result<(), SddpError> {
        for stage in (1..self.stages()).rev() {
            let trials = self.trials(&forward.volumes, stage);
            let cuts = self.expected_cost(stage, &trials)?;
            let known = &mut self.progress.policy.cuts[stage - 1];
            known.extend(cuts);
            self.needed[stage - 1].update(known, &trials);
        }
        Ok(())
    }

    /// The states at the beginning of `stage` among the volumes of a forward pass.
    fn trials<'v>(&self, volumes: &'v [f64], stage: usize) -> Vec<&'v [f64]> {
        let hydros = self.case.hydros.len();
        let scenarios = volumes.chunks_exact(self.stages() * hydros);
        let trials = scenarios.map(|all| &all[(stage - 1) * hydros..][..hydros]);
        trials.collect()
    }

    /// Finds out which cuts are needed, from what has been learnt before.
    fn select_cuts(&mut self) {
        for stage in 1..self.stages() {
            for volumes in &self.progress.volumes {
                let trials = self.trials(volumes, stage);
                self.needed[stage - 1].update(&self.progress.policy.cuts[stage - 1], &trials);
            }
        }
    }

    /// The mean cost of the first stage and its future, over all inflows.
    fn lower_bound(&mut self) -> Result<f64, SddpError> {
        let initial = self.case.initial_volumes();
        let cuts = self.expected_cost(0, &[&initial])?;
        Ok(cuts[0].at(&initial))
    }

    /// At each trial state, the plane below the expected cost of `stage` and what follows.
    ///
    /// The pieces of work are the pairs of trial state and opening: more than there are forward
    /// passes, so that more ranks have something to do.
    fn expected_cost(&mut self, stage: usize, trials: &[&[f64]]) -> Result<Vec<Cut>, SddpError> {
        let hydros = self.case.hydros.len();
        let openings = self.tree.openings();
        let (pieces, width) = (trials.len() * openings, 1 + hydros);
        let block = my_block(self.comm, pieces);
        let mut mine = Vec::with_capacity(block.len() * width);
        if !block.is_empty() {
            let mut problem = self.problem(stage)?;
            for piece in block {
                let (trial, opening) = (piece / openings, piece % openings);
                let inflows = self.tree.inflows(stage, opening);
                let decision = problem.solve(trials[trial], inflows)?;
                self.lps += 1;
                mine.push(decision.cost_to_go);
                mine.extend(decision.slopes);
            }
        }
        let all = gather(self.comm, pieces, width, &mine)?;
        let by_trial = trials.iter().zip(all.chunks_exact(openings * width));
        let cut = |(trial, results): (&&[f64], &[f64])| {
            let mut sums = vec![0.0; width];
            for result in results.chunks_exact(width) {
                sums.iter_mut()
                    .zip(result)
                    .for_each(|(sum, value)| *sum += value);
            }
            let mut means = sums.into_iter().map(|sum| sum / openings as f64);
            let value = means.next().unwrap_or_default();
            Cut::through(value, means.collect(), trial)
        };
        Ok(by_trial.map(cut).collect())
    }

    fn work(&self) -> Result<Work, CommError> {
        let reduce = |op| {
            let mut all = [0];
            self.comm
                .allreduce(&[self.lps], &mut all, op)
                .map(|()| all[0])
        };
        Ok(Work {
            total: reduce(ReduceOp::Sum)?,
            least: reduce(ReduceOp::Min)?,
            most: reduce(ReduceOp::Max)?,
        })
    }
}

/// Mean and interval, summed in the order of the scenarios. Zero wide for a single one.
pub(super) fn estimate(costs: &[f64]) -> Estimate {
    let count = costs.len() as f64;
    let mean = costs.iter().sum::<f64>() / count;
    let squares: f64 = costs.iter().map(|cost| (cost - mean).powi(2)).sum();
    let variance = squares / (count - 1.0).max(1.0);
    Estimate {
        mean,
        half_width: 1.96 * (variance / count).sqrt(),
    }
}
