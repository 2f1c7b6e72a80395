//! Stochastic dual dynamic programming (SDDP) for the dispatch of a hydrothermal system.
//!
//! Each month an operator decides how much water to turn into power and how much to keep. Water
//! used now saves fuel now; water kept may save dearer fuel later, or be spilled if it rains. SDDP
//! (M. V. F. Pereira and L. M. V. G. Pinto, "Multi-stage stochastic optimization applied to energy
//! planning", *Mathematical Programming* 52, 1991, pp. 359-375) learns what stored water is worth:
//!
//! 1. *Forward*: a few scenarios of inflows are played through the year with the value learnt so
//!    far. Their costs estimate an upper bound; the volumes they visit are the trial states.
//! 2. *Backward*: from the last stage to the second, at each trial state the stage is solved for
//!    every possible inflow. The means of the costs and of the water balances' duals are a *cut*, a
//!    plane that the expected future cost is never below; the stage before gets it.
//! 3. The first stage's mean cost is a lower bound. Repeat until the bounds meet.
//!
//! # How it is spread over ranks
//! Forward scenarios, and in the backward pass the pairs of trial state and inflow, are divided
//! into blocks ([`block_range`](cobre_comm_trait::block_range)). Results are gathered in the order
//! of their numbers, and every rank combines all of them in that order: sums never depend on who
//! computed what. Random numbers are functions of what they are for, not of who draws them, and an
//! LP's solution depends on that LP alone. So the bits of the result are those of a single rank.
//!
//! | step | collective |
//! |---|---|
//! | the case, as text | broadcast |
//! | table of inflows | a shared region: each rank draws its part, all read everything |
//! | trial states, costs, duals | allgatherv |
//! | how many LPs, and how evenly | allreduce |
//! | the outlook: scenarios of uneven length | work that ranks take as they become free, results by number |
//!
//! # Where things are
//! [`case`] input, [`inflow`] random numbers, [`lp`] the LP solver, [`stage`] a month as an LP,
//! [`policy`] cuts, [`selection`] which of them matter, [`sddp`] the algorithm, [`outlook`] what the rest of the year will cost, [`verify`] the comparison with a single rank,
//! [`checkpoint`] a file to go on from,
//! [`report`] the table.

pub mod case;
pub mod checkpoint;
pub mod gather;
pub mod inflow;
pub mod lp;
pub mod misordered;
pub mod outlook;
pub mod policy;
pub mod report;
pub mod sddp;
pub mod selection;
pub mod stage;
pub mod verify;

pub use case::{Case, CaseError};
pub use policy::{Cut, Policy};
pub use sddp::{Outcome, Progress, SddpError, Settings, resume, solve};
