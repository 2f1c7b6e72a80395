//! A linear program, and the solver behind it.
//!
//! Clarabel was chosen because it is written in Rust alone (nothing to install, builds in seconds),
//! is maintained by its authors' research group, returns *duals*, and solves again with new
//! right-hand sides without a new set-up. `microlp`, the best-kept simplex in Rust, gives no duals;
//! HiGHS gives them, but takes cmake and minutes to build.
//!
//! An interior-point method starts every solve afresh: the result depends on the program alone, to
//! the bit, and not on what was solved before. The whole solver leans on that (a test checks it).
//! Its answers are exact only to a tolerance, so bounds use the objective of the dual: by weak
//! duality it is not above the optimum.

use clarabel::algebra::CscMatrix;
use clarabel::solver::SupportedConeT::{NonnegativeConeT, ZeroConeT};
use clarabel::solver::{DefaultSettings, DefaultSolver, IPSolver, SolverStatus};

/// A column: the number of a variable.
pub type Column = usize;

/// Why an LP has no answer.
#[derive(Debug, thiserror::Error)]
pub enum LpError {
    /// The solver refused the data.
    #[error("the LP solver refused its data: {0}")]
    Refused(String),
    /// The solver gave up, or the program has no optimum.
    #[error("the LP solver ended with status {0}")]
    NotSolved(SolverStatus),
}

/// A program under construction: minimise `cost . x` subject to rows.
#[derive(Clone, Debug, Default)]
pub struct Lp {
    cost: Vec<f64>,
    equal: Rows,
    at_most: Rows,
}

#[derive(Clone, Debug, Default)]
struct Rows {
    row: Vec<usize>,
    column: Vec<usize>,
    coefficient: Vec<f64>,
    right: Vec<f64>,
}

impl Rows {
    fn push(&mut self, terms: impl IntoIterator<Item = (Column, f64)>, right: f64) {
        for (column, coefficient) in terms {
            self.row.push(self.right.len());
            self.column.push(column);
            self.coefficient.push(coefficient);
        }
        self.right.push(right);
    }
}

impl Lp {
    /// Adds a variable from 0 to `upper`, which may be infinite.
    pub fn variable(&mut self, cost: f64, upper: f64) -> Column {
        let column = self.cost.len();
        self.cost.push(cost);
        self.at_most([(column, -1.0)], 0.0);
        if upper.is_finite() {
            self.at_most([(column, 1.0)], upper);
        }
        column
    }

    /// Adds the row `terms = right`. Equations are numbered as they come.
    pub fn equal(&mut self, terms: impl IntoIterator<Item = (Column, f64)>, right: f64) {
        self.equal.push(terms, right);
    }

    /// Adds the row `terms <= right`.
    pub fn at_most(&mut self, terms: impl IntoIterator<Item = (Column, f64)>, right: f64) {
        self.at_most.push(terms, right);
    }

    /// Hands the program to the solver.
    ///
    /// # Errors
    /// [`LpError::Refused`].
    pub fn into_solver(self) -> Result<LpSolver, LpError> {
        let Self {
            cost,
            mut equal,
            at_most,
        } = self;
        let (equations, bounds) = (equal.right.len(), at_most.right.len());
        equal
            .row
            .extend(at_most.row.iter().map(|row| equations + row));
        equal.column.extend(at_most.column);
        equal.coefficient.extend(at_most.coefficient);
        equal.right.extend(at_most.right);
        let matrix = CscMatrix::new_from_triplets(
            equations + bounds,
            cost.len(),
            equal.row,
            equal.column,
            equal.coefficient,
        );
        let settings = DefaultSettings {
            verbose: false,
            // Both would forbid new right-hand sides.
            presolve_enable: false,
            input_sparse_dropzeros: false,
            // Halves the time; these programs are small and well scaled. See `LpSolver::solve`.
            iterative_refinement_enable: false,
            ..DefaultSettings::default()
        };
        let solver = DefaultSolver::new(
            &CscMatrix::zeros((cost.len(), cost.len())),
            &cost,
            &matrix,
            &equal.right,
            &[ZeroConeT(equations), NonnegativeConeT(bounds)],
            settings,
        )
        .map_err(|error| LpError::Refused(error.to_string()))?;
        Ok(LpSolver {
            solver,
            right: equal.right,
        })
    }
}

/// A program that can be solved for many right-hand sides.
pub struct LpSolver {
    solver: DefaultSolver<f64>,
    right: Vec<f64>,
}

impl std::fmt::Debug for LpSolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LpSolver").finish_non_exhaustive()
    }
}

/// An optimum. It borrows the solver's buffers: nothing is copied.
#[derive(Clone, Copy, Debug)]
pub struct Optimum<'a> {
    /// The variables.
    pub x: &'a [f64],
    /// Their cost: above the true optimum, but for rounding.
    pub cost: f64,
    /// The objective of the dual: below the true optimum, but for rounding.
    pub lower_bound: f64,
    multipliers: &'a [f64],
}

impl Optimum<'_> {
    /// How much the optimum rises with the right-hand side of equation `number`.
    #[must_use]
    pub fn dual(&self, number: usize) -> f64 {
        -self.multipliers[number]
    }
}

impl LpSolver {
    /// Turns the refinement of each linear system's solution on or off.
    fn refine(&mut self, enable: bool) -> Result<(), LpError> {
        let settings = DefaultSettings {
            iterative_refinement_enable: enable,
            ..self.solver.settings().clone()
        };
        self.solver
            .update_settings(settings)
            .map_err(|error| LpError::Refused(error.to_string()))
    }

    /// Solves with other right-hand sides of the first equations.
    ///
    /// # Errors
    /// [`LpError::NotSolved`].
    pub fn solve(&mut self, right: &[f64]) -> Result<Optimum<'_>, LpError> {
        self.right[..right.len()].copy_from_slice(right);
        self.solver
            .update_b(&self.right)
            .map_err(|error| LpError::Refused(error.to_string()))?;
        self.solver.solve();
        if self.solver.solution.status != SolverStatus::Solved {
            // About one program in a hundred thousand ends short of the tolerance without it. Whether
            // this happens depends on the program alone, so the result still does.
            self.refine(true)?;
            self.solver.solve();
            self.refine(false)?;
        }
        let solution = &self.solver.solution;
        match solution.status {
            SolverStatus::Solved => Ok(Optimum {
                x: &solution.x,
                cost: solution.obj_val,
                lower_bound: solution.obj_val_dual,
                multipliers: &solution.z,
            }),
            status => Err(LpError::NotSolved(status)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Lp, LpError};

    /// min 2a + 5b, a + b = need, a <= 3: a is cheap but scarce.
    fn scarce() -> Lp {
        let mut lp = Lp::default();
        let a = lp.variable(2.0, 3.0);
        let b = lp.variable(5.0, f64::INFINITY);
        lp.equal([(a, 1.0), (b, 1.0)], 0.0);
        lp
    }

    #[test]
    fn optimum_and_dual_are_those_of_paper_and_pencil() {
        let mut solver = scarce().into_solver().unwrap();
        for (need, cost, price) in [(2.0, 4.0, 2.0), (7.0, 26.0, 5.0)] {
            let optimum = solver.solve(&[need]).unwrap();
            assert!((optimum.lower_bound - cost).abs() < 1e-6, "{optimum:?}");
            assert!((optimum.dual(0) - price).abs() < 1e-6, "{optimum:?}");
        }
    }

    #[test]
    fn the_answer_does_not_depend_on_what_was_solved_before() {
        let bits = |history: &[f64]| {
            let mut solver = scarce().into_solver().unwrap();
            for &need in history {
                // A negative need has no solution, and is tried with refinement too.
                assert_eq!(solver.solve(&[need]).is_ok(), need > 0.0);
            }
            let optimum = solver.solve(&[4.5]).unwrap();
            let values = optimum.x.iter().chain(optimum.multipliers);
            values.map(|value| value.to_bits()).collect::<Vec<_>>()
        };
        assert_eq!(bits(&[]), bits(&[1.0, -1.0, 30.0, 0.25]));
    }

    #[test]
    fn no_solution_is_an_error() {
        let mut solver = scarce().into_solver().unwrap();
        assert!(matches!(solver.solve(&[-1.0]), Err(LpError::NotSolved(_))));
    }
}
