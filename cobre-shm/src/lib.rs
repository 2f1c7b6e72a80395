//! Collectives and shared windows for the processes of one machine, over POSIX shared memory.
//!
//! ```
//! use cobre_comm_trait::{Communicator, ReduceOp};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let comm = cobre_shm::init()?;
//! let mut total = [0];
//! comm.allreduce(&[comm.rank() as u64 + 1], &mut total, ReduceOp::Sum)?;
//! assert_eq!(total[0], (1..=comm.size() as u64).sum::<u64>());
//! # Ok(())
//! # }
//! ```
//!
//! `cobre-launch -n 8 program` starts eight ranks of it. Started by itself, the same program is a job
//! with one rank. Without the launcher, start each rank with `COBRE_SHM_NAME`, `COBRE_SHM_RANK` and
//! `COBRE_SHM_SIZE` set, in any order.
//!
//! | what | where |
//! |---|---|
//! | join the job that the environment describes | [`init`] |
//! | collectives, shared regions, pools | [`ShmComm`], through the traits of [`cobre_comm_trait`] |
//! | a window with parts, placement and page size of your choice | [`ShmComm::create_window`] |
//! | uneven work, taken by ranks as they become free | [`ShmComm::dynamic`] |
//! | publish a rank's progress; read everybody's | [`ShmComm::status`], [`board`] |
//! | found and watch a job, as a launcher does | [`observer`] |
//! | look at a running job from outside | [`inspect`] |
//!
//! What each call guarantees is the contract of [`cobre_comm_trait`]. How this crate keeps it is
//! specified, page by page, in the repository's `specs` folder. Layers point one way: a module uses
//! those above it in this table (`memory` also names the records of `call`, `board` and `recording`,
//! which lie in the control region):
//!
//! | layer | modules |
//! |---|---|
//! | the operating system | `sys` |
//! | the machine, and where ranks may run | [`topology`] |
//! | waiting, failing, publishing and awaiting rounds: what the model checker explores | `sync` |
//! | who owns which bytes of a segment, and where its pages lie | `memory`, `numa` |
//! | algorithms as sequences of rounds | `collective` |
//! | one call: signature, log, explanation of a disagreement | `call` |
//! | the life of a job: configuration, forming, splitting, leaving, aborting | `job` |
//! | what a program sees | [`ShmComm`], `window`, `dynamic`, [`board`], [`recording`] |
//! | what others see of a job | [`observer`], [`inspect`] |
#![cfg_attr(loom, allow(dead_code, unused_imports, unreachable_pub))]

#[cfg(loom)]
mod model;
mod point;
mod sync;
mod sys;

#[cfg(all(not(loom), feature = "bench-support"))]
#[doc(hidden)]
pub mod bench_support;
#[cfg(not(loom))]
pub mod board;
#[cfg(not(loom))]
mod call;
#[cfg(all(not(loom), feature = "cobre-comm"))]
mod cobre_comm;
#[cfg(not(loom))]
mod collective;
#[cfg(not(loom))]
mod communicator;
#[cfg(all(test, not(loom), target_endian = "little", target_pointer_width = "64"))]
mod documented;
#[cfg(not(loom))]
pub mod duration;
#[cfg(not(loom))]
mod dynamic;
#[cfg(not(loom))]
pub mod inspect;
#[cfg(not(loom))]
mod job;
#[cfg(not(loom))]
mod memory;
#[cfg(not(loom))]
mod numa;
#[cfg(not(loom))]
pub mod observer;
#[cfg(not(loom))]
pub mod recording;
#[cfg(not(loom))]
pub mod topology;
#[cfg(not(loom))]
mod window;

#[cfg(all(not(loom), feature = "fault-points"))]
pub use self::{memory::layout::block_of, point::on_fault_point};
#[cfg(not(loom))]
pub use cobre_comm_trait::Activity;

#[cfg(not(loom))]
pub use self::{
    communicator::ShmComm,
    dynamic::{Chunk, Chunking, Claims, Dynamic, Results, WorkError},
    job::{
        config::{
            ATTACH_TIMEOUT_VAR, BACKEND_VAR, Config, INTERLEAVE_VAR, LAUNCHER_VAR, NAME_VAR,
            RANK_VAR, SIZE_VAR, STAGING_VAR, STATUS_INTERVAL_VAR, TIMEOUT_VAR, WAIT_VAR,
        },
        error::InitError,
        leftovers::{Leftover, LeftoverState, leftovers, sweep},
        names::random_job_name,
    },
    memory::layout::MAX_RANKS,
    numa::{PagesPerNode, Placement},
    sync::patience::WaitPolicy,
    window::{
        HugePages, ShmExchange, ShmPool, ShmReader, ShmReduction, ShmRegion, SmallPages,
        WindowOptions, WindowPlacement,
    },
};

/// Joins the job that the environment describes, and returns when all its ranks have. Collective.
///
/// Without any `COBRE_SHM_*` variable, or with `COBRE_COMM_BACKEND=local`, this is a job of one.
///
/// # Errors
/// See [`InitError`]; each says what to do.
#[cfg(not(loom))]
pub fn init() -> Result<ShmComm, InitError> {
    ShmComm::from_env()
}
