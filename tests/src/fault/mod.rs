//! Ranks that fail on purpose, and what must come of it.
//!
//! | module | what |
//! |---|---|
//! | `workload` | what the ranks do meanwhile: every operation, results checked |
//! | `kind` | the faults |
//! | `rank` | the rank's side: stop at a point, ask what to suffer |
//! | `control` | the controller's side: who waits at which point; ranks with and without a launcher |
//! | `told` | what the ranks said of it |
//! | `case` | one fault at one point: run it, judge it |
//! | `matrix` | all points x all faults, as a table |
//! | `chaos` | kills at any moment |
//! | `soak` | a long life without any fault: nothing grows |

mod case;
mod chaos;
mod control;
mod kind;
mod matrix;
mod rank;
mod soak;
mod told;
mod workload;

pub use case::{Case, Judgement};
pub use chaos::{Chaos, Tally};
pub use control::Programs;
pub use kind::Fault;
pub use matrix::{POINTS, Table, matrix};
pub use rank::{arm, step};
pub use soak::{Usage, soak};
pub use told::{now, say};
pub use workload::{EVERYTHING, Step, Workload};
