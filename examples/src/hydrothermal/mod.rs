//! Stochastic dual dynamic programming (SDDP) for the dispatch of a hydrothermal system.
//!
//! Each month an operator decides how much water to turn into power and how much to keep. Water
//! used now saves fuel now; water kept may save dearer fuel later, or be spilled if it rains. SDDP
//! (M. V. F. Pereira and L. M. V. G. Pinto, "Multi-stage stochastic optimization applied to energy
//! planning", *Mathematical Programming* 52, 1991, pp. 359-375) learns what stored water is worth:
//!
//! 1. *Forward*: a few scenarios of inflows are played through the year with the cuts learnt so far.
//!    The mean of their costs estimates the cost of this policy, so it is an upper bound, but for the
//!    sampling error. The volumes that they visit are the trial states.
//! 2. *Backward*: from the last stage to the second, at each trial state the stage is solved for
//!    every possible inflow (*opening*). The means of the optimal costs and of the water balances'
//!    duals give a *cut*: a plane that the expected future cost is never below. The stage before
//!    gets it.
//! 3. The first stage's mean cost is a lower bound. Repeat until it is within the confidence interval
//!    of the upper bound, and stays there.
//!
//! In symbols, for stage `t`, volumes `v` at its beginning and openings `w = 1..W`:
//!
//! ```text
//! Q(t, v, w) = min  cost of fuel and deficit  +  θ
//!              s.t. v' = v + inflow(t, w) - turbined - spilled (+ what comes from upstream)
//!                   demand is met in every region, bounds
//!                   θ >= α + β·v'   for each cut (α, β) of stage t
//!
//! cut of stage t - 1 at trial state v*:
//!     β = 1/W Σ duals of the water balances,   α = 1/W Σ Q(t, v*, w) - β·v*
//! ```
//!
//! The expected cost is convex in `v`, so each such plane lies below it, whatever `v*` is; and a
//! problem with some of the cuts (see [`selection`]) is still a lower bound. Inflows of different
//! stages are independent: one set of cuts per stage is enough.
//!
//! # How it is spread over ranks
//! Forward scenarios, and in the backward pass the pairs of trial state and inflow, are divided
//! into blocks ([`block_range`](cobre_shm::block_range)). Results are gathered in the order
//! of their numbers, and every rank combines all of them in that order: sums never depend on who
//! computed what. Random numbers are functions of what they are for, not of the rank that draws
//! them, and an LP's solution depends on that LP alone. So the bits of the result are those of a
//! single rank.
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
//!
//! | module | |
//! |---|---|
//! | [`case`] | the input |
//! | [`inflow`] | random numbers, and the shared table of openings |
//! | [`lp`] | a linear program, and its solver |
//! | [`stage`] | a month as a linear program |
//! | [`policy`], [`selection`] | the cuts, and which of them an LP needs |
//! | [`sddp`] | the algorithm |
//! | [`gather`] | who does which piece of work, and how the results come together |
//! | [`report`], [`checkpoint`] | the table; a file to go on from |
//! | [`verify`], [`misordered`] | the comparison with a single rank, and proof that it can fail |
//! | [`outlook`] | what the rest of the year will cost: uneven work |

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
