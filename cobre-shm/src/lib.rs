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
//! `cobre-launch -n 8 program` starts eight ranks of it. Started alone the same program is a job of
//! one. Without a launcher, start each rank with `COBRE_SHM_NAME`, `COBRE_SHM_RANK` and
//! `COBRE_SHM_SIZE` set, in any order.
//!
//! While it runs, a rank says how it is doing through [`ShmComm::status`], and anybody may look: see
//! [`board`]. Uneven work is shared out with [`ShmComm::dynamic`].
//!
//! The contract of every call is that of [`cobre_comm_trait`]; here is how it is kept. Layers point
//! one way:
//!
//! | layer | modules |
//! |---|---|
//! | the operating system | `sys` |
//! | the machine, and where ranks and pages lie | [`topology`], `numa` |
//! | who owns which bytes | `cell`, `layout`, `identify`, `segment`, `control`, `staging` |
//! | waiting and failing | `wait`, `failure` |
//! | publish and await | `round` |
//! | algorithms | `collective`, `reduce` |
//! | calls: signature, log, explanation, record | `calls`, `sites`, `explain`, `recording`, `core` |
//! | what a program sees | [`ShmComm`], [`ShmRegion`], [`Dynamic`], [`board`], [`recording`], [`observer`], [`inspect`] |
#![cfg_attr(loom, allow(dead_code, unused_imports, unreachable_pub))]

#[cfg(loom)]
mod board;
mod cell;
mod failure;
#[cfg(loom)]
mod model;
mod point;
mod primitive;
mod round;
mod sys;
mod wait;

#[cfg(not(loom))]
mod abort;
#[cfg(not(loom))]
mod activity;
#[cfg(all(not(loom), feature = "bench-support"))]
#[doc(hidden)]
pub mod bench_support;
#[cfg(not(loom))]
pub mod board;
#[cfg(not(loom))]
mod calls;
#[cfg(all(not(loom), feature = "cobre-comm"))]
mod cobre_comm;
#[cfg(not(loom))]
mod collective;
#[cfg(not(loom))]
mod communicator;
#[cfg(not(loom))]
mod config;
#[cfg(not(loom))]
mod control;
#[cfg(not(loom))]
mod core;
#[cfg(not(loom))]
mod dynamic;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
mod exit;
#[cfg(not(loom))]
mod explain;
#[cfg(not(loom))]
mod forming;
#[cfg(not(loom))]
mod identify;
#[cfg(not(loom))]
pub mod inspect;
#[cfg(not(loom))]
mod layout;
#[cfg(not(loom))]
mod leftovers;
#[cfg(not(loom))]
mod names;
#[cfg(not(loom))]
mod numa;
#[cfg(not(loom))]
mod object;
#[cfg(not(loom))]
pub mod observer;
pub mod recording;
#[cfg(not(loom))]
mod reduce;
#[cfg(not(loom))]
mod room;
#[cfg(not(loom))]
mod segment;
#[cfg(not(loom))]
mod sites;
#[cfg(not(loom))]
mod split;
#[cfg(not(loom))]
mod splits;
#[cfg(not(loom))]
mod staging;
#[cfg(not(loom))]
mod stall;
#[cfg(not(loom))]
pub mod topology;
#[cfg(not(loom))]
mod window;

#[cfg(all(not(loom), feature = "fault-points"))]
pub use self::point::{block_of, on_fault_point};
#[cfg(not(loom))]
pub use cobre_comm_trait::Activity;

#[cfg(not(loom))]
pub use self::{
    communicator::ShmComm,
    config::{
        ATTACH_TIMEOUT_VAR, BACKEND_VAR, Config, INTERLEAVE_VAR, LAUNCHER_VAR, NAME_VAR, RANK_VAR,
        SIZE_VAR, STAGING_VAR, STATUS_INTERVAL_VAR, TIMEOUT_VAR, WAIT_VAR, WaitPolicy,
    },
    dynamic::{Chunk, Chunking, Claims, Dynamic, Results, WorkError},
    error::InitError,
    layout::MAX_RANKS,
    leftovers::{Leftover, LeftoverState, leftovers, sweep},
    names::random_job_name,
    numa::{PagesPerNode, Placement},
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
