//! What the tests of the workspace share: a backend that is obviously right (and, on demand,
//! wrong), a harness that runs ranks on threads, and one that runs them as processes.
//!
//! Nothing here sleeps to synchronise, and nothing waits for ever: see [`Watchdog`].

mod elsewhere;
pub mod fault;
#[cfg(feature = "numa")]
mod hwloc;
mod job;
pub mod model;
mod process;
mod recorded;
mod shm;
mod terminal;
mod threads;
mod watchdog;

pub use elsewhere::{Elsewhere, apart, skipped};
#[cfg(feature = "numa")]
pub use hwloc::described;
pub use job::Job;
pub use process::{End, Process, run};
pub use recorded::{Hwloc, Known, Recorded, known};
pub use shm::{
    config, job_name, left_behind, made_up_names, run_threads, run_threads_with, shm_cases,
};
pub use terminal::Terminal;
pub use threads::{run_ranks, try_ranks};
pub use watchdog::{Watchdog, patience};
