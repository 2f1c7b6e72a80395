//! An LP solver that counts its solves.
//!
//! The solver's own statistics are summed over ranks before they are published,
//! and some of them once per rank. A rank's own share is therefore counted
//! where it cannot be mixed with anybody else's: at the call that solves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cobre_solver::{
    Basis, RowBatch, SolutionView, SolverError, SolverInterface, SolverStatistics, StageTemplate,
};

/// Counts the LPs of all solvers made from it; cheap to clone into a solver factory.
#[derive(Debug, Clone, Default)]
pub(crate) struct LpCount(Arc<AtomicU64>);

impl LpCount {
    /// LPs solved so far by this process.
    pub(crate) fn get(&self) -> u64 {
        // Read after the solver's threads were joined: no order with other data is needed.
        self.0.load(Ordering::Relaxed)
    }

    /// Wraps a solver so that its solves are counted here.
    pub(crate) fn watch<S: SolverInterface>(&self, inner: S) -> CountingSolver<S> {
        CountingSolver {
            inner,
            count: self.clone(),
        }
    }
}

/// Forwards everything to `S`; every `solve` counts once, whatever its outcome.
pub(crate) struct CountingSolver<S> {
    inner: S,
    count: LpCount,
}

impl<S: SolverInterface> SolverInterface for CountingSolver<S> {
    type Profile = S::Profile;

    fn apply_profile(&mut self, profile: &Self::Profile) {
        self.inner.apply_profile(profile);
    }

    fn load_model(&mut self, template: &StageTemplate) {
        self.inner.load_model(template);
    }

    fn add_rows(&mut self, rows: &RowBatch) {
        self.inner.add_rows(rows);
    }

    fn set_row_bounds(&mut self, indices: &[usize], lower: &[f64], upper: &[f64]) {
        self.inner.set_row_bounds(indices, lower, upper);
    }

    fn set_col_bounds(&mut self, indices: &[usize], lower: &[f64], upper: &[f64]) {
        self.inner.set_col_bounds(indices, lower, upper);
    }

    fn solve(&mut self, basis: Option<&Basis>) -> Result<SolutionView<'_>, SolverError> {
        self.count.0.fetch_add(1, Ordering::Relaxed);
        self.inner.solve(basis)
    }

    fn get_basis(&mut self, out: &mut Basis) {
        self.inner.get_basis(out);
    }

    fn statistics(&self) -> SolverStatistics {
        self.inner.statistics()
    }

    fn statistics_into(&self, out: &mut SolverStatistics) {
        self.inner.statistics_into(out);
    }

    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn solver_name_version(&self) -> String {
        self.inner.solver_name_version()
    }

    fn record_reconstruction_stats(&mut self) {
        self.inner.record_reconstruction_stats();
    }

    fn reset_solver_state(&mut self) {
        self.inner.reset_solver_state();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cobre_solver::ActiveSolver;

    /// Minimise x with 1 <= x <= 2 and no rows.
    fn one_column() -> StageTemplate {
        StageTemplate {
            num_cols: 1,
            num_rows: 0,
            num_nz: 0,
            col_starts: vec![0, 0],
            row_indices: Vec::new(),
            values: Vec::new(),
            col_lower: vec![1.0],
            col_upper: vec![2.0],
            objective: vec![1.0],
            row_lower: Vec::new(),
            row_upper: Vec::new(),
            n_state: 0,
            col_scale: Vec::new(),
            row_scale: Vec::new(),
        }
    }

    #[test]
    fn all_solvers_of_a_count_add_to_it_and_agree_with_their_own_statistics() {
        let count = LpCount::default();
        let mut own = 0;
        for solves in [1, 3] {
            let mut solver = count.watch(ActiveSolver::new().unwrap());
            solver.load_model(&one_column());
            for _ in 0..solves {
                assert_eq!(solver.solve(None).unwrap().objective, 1.0);
            }
            own += solver.statistics().solve_count;
        }
        assert_eq!(count.get(), 4);
        assert_eq!(own, 4);
    }
}
