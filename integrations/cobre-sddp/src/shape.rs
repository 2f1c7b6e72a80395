//! What a run must send, from the sizes of its case.
//!
//! Holds for a training without cut selection on a graph without branches; the
//! published measurements of the solver are of such a case.

use cobre_sddp::StudySetup;
use serde::{Deserialize, Serialize};

/// The sizes that decide what a training sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shape {
    pub(crate) stages: u64,
    pub(crate) iterations: u64,
    forward_passes: u64,
    state_variables: u64,
    openings: u64,
    simulates: bool,
}

impl Shape {
    /// The sizes of a study that was trained for so many iterations.
    pub(crate) fn of(setup: &StudySetup, iterations: u64) -> Self {
        let stages = setup.num_stages();
        let tree = setup.inputs.stochastic.opening_tree();
        let openings = (0..stages).map(|stage| tree.n_openings(stage)).max();
        Self {
            stages: stages as u64,
            iterations,
            forward_passes: u64::from(setup.loop_params.forward_passes),
            state_variables: setup.stage_state().n_state as u64,
            openings: openings.unwrap_or(0) as u64,
            simulates: setup.simulation_config.n_scenarios > 0,
        }
    }

    /// Collectives that `train` makes with so many ranks.
    ///
    /// An iteration makes 6T + 4 of them for T stages, and the end of the training
    /// 5: a vote on success, and the bases in 4 broadcasts. A single rank skips
    /// what only makes peers agree: T + 1 votes and the stopping decision in each
    /// iteration, and everything at the end.
    pub(crate) fn training_calls(&self, ranks: u64) -> u64 {
        if ranks == 1 {
            self.iterations * (5 * self.stages + 2)
        } else {
            self.iterations * (6 * self.stages + 4) + 5
        }
    }

    /// Collectives before and after: the published command line makes 25 with simulation.
    ///
    /// Four values are broadcast with their lengths, then a vote and a barrier;
    /// after the training the LPs, a barrier, the statistics and a vote; and 11 in
    /// the simulation. A single rank has no votes.
    pub(crate) fn other_calls(&self, ranks: u64) -> u64 {
        let votes = if ranks == 1 { 0 } else { 1 };
        (8 + 1 + votes) + (3 + votes) + if self.simulates { 10 + votes } else { 0 }
    }

    /// Bytes that the reductions and gathers of `train` deliver to each rank.
    ///
    /// Not the broadcasts: the size of a basis is the LP solver's affair.
    pub(crate) fn training_bytes(&self, ranks: u64, threads: u64) -> u64 {
        let Self {
            stages,
            iterations,
            forward_passes: passes,
            state_variables: state,
            openings,
            ..
        } = *self;
        let padded_passes = passes.div_ceil(ranks) * ranks;
        let votes = if ranks == 1 { 0 } else { 4 * (stages + 1) + 16 };
        let statistics = 8 * (13 * stages + 2 + 1 + 1);
        let workers = 8 * 2;
        let costs = 8 * passes;
        let stage = 8 * state * padded_passes
            + 8 * ranks
            + (29 + 8 * state) * passes
            + 8 * 15 * openings * threads * ranks;
        let iteration = votes + statistics + workers + costs + (stages - 1) * stage;
        // The pool grows by a cut a pass: 1 + 2 + .. + iterations.
        let bindings = (stages - 2) * 8 * passes * iterations * (iterations + 1) / 2;
        let last_vote = if ranks == 1 { 0 } else { 4 };
        iterations * iteration + bindings + last_vote
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The sizes of `4ree-small`.
    pub(crate) const SHAPE: Shape = Shape {
        stages: 12,
        iterations: 20,
        forward_passes: 4,
        state_variables: 4,
        openings: 10,
        simulates: true,
    };

    #[test]
    fn a_long_training_makes_the_calls_that_were_measured() {
        let long = Shape {
            iterations: 256,
            ..SHAPE
        };
        assert_eq!(long.training_calls(4) + long.other_calls(4), 19_486);
    }

    #[test]
    fn idle_ranks_pad_the_states_and_add_statistics() {
        // Twice as many ranks as passes: 4 padded states of 4, 4 counts and 4 ranks' statistics more.
        let stage = 8 * 4 * 4 + 8 * 4 + 8 * 150 * 4;
        assert_eq!(
            SHAPE.training_bytes(8, 1) - SHAPE.training_bytes(4, 1),
            20 * 11 * stage
        );
    }
}
