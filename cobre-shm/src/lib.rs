//! Collectives and shared memory for several processes of one machine, without MPI.
//!
//! Start eight copies of a program, and each is a *rank* that can sum, gather and broadcast with the
//! others, and share large tables with them. If one of them dies, every other one gets an error that
//! says so, instead of hanging.
//!
//! ```
//! use cobre_shm::{Communicator, ReduceOp};
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
//! `cobre-launch -n 8 program` starts eight ranks of it; `mpirun` and `srun` can do so, too. Started
//! by itself, the same program is a job with one rank. Without any launcher, start each rank with
//! `COBRE_SHM_NAME`, `COBRE_SHM_RANK` and `COBRE_SHM_SIZE` set, in any order.
//!
//! | what | where |
//! |---|---|
//! | join the job that the environment describes | [`init`] |
//! | allgatherv, allreduce, broadcast, barrier | [`Communicator`] |
//! | one copy of a table for all ranks | [`SharedMemoryProvider::create_shared_region`] |
//! | gathers and reductions without copies | [`SharedExchange`], [`SharedReduction`] |
//! | one copy of a table that grows | [`PoolProvider`] |
//! | a window with parts, placement and page size of your choice | [`ShmComm::create_window`] |
//! | uneven work, taken by ranks as they become free | [`ShmComm::dynamic`] |
//! | publish a rank's progress; read everybody's | [`ShmComm::status`], [`board`] |
//! | test a program on several ranks | [`run`] |
//! | found and watch a job, as a launcher does | [`observer`] |
//! | read a running job's state without being part of it | [`inspect`] |
//!
//! All of [`cobre_comm_trait`], the contract that this crate keeps, is here too, so one dependency and
//! one `use` are enough. A library that should not depend on a backend takes that crate alone.
//!
//! # What can be sent
//! Numbers, arrays of them, and your own structs ([`CommData`]). The derives come with this crate:
//!
//! ```
//! use cobre_shm::{Communicator, bytemuck};
//!
//! #[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
//! #[bytemuck(crate = "cobre_shm::bytemuck")]
//! #[repr(C)]
//! struct Cut {
//!     intercept: f64,
//!     slopes: [f64; 4],
//! }
//!
//! cobre_shm::run(2, |comm| {
//!     let value = if comm.rank() == 0 { 1.5 } else { 0.0 };
//!     let mut cut = [Cut { intercept: value, slopes: [value; 4] }];
//!     comm.broadcast(&mut cut, 0).expect("both take part");
//!     assert_eq!(cut[0].slopes, [1.5; 4]);
//! });
//! ```
//!
//! # Variables
//! `COBRE_SHM_TIMEOUT=90s` limits how long a collective waits for a peer ([`TIMEOUT_VAR`]);
//! `COBRE_SHM_STAGING` is the memory for messages ([`STAGING_VAR`]), `COBRE_SHM_WAIT` how a rank waits
//! ([`WAIT_VAR`]). The other variables, and what each accepts, are in the repository's
//! `specs/src/reference/environment.md`. How the crate works inside is in its `ARCHITECTURE.md`.
#![cfg_attr(loom, allow(dead_code, unused_imports, unreachable_pub))]

#[cfg(not(target_pointer_width = "64"))]
compile_error!("cobre-shm needs a 64-bit target: sizes and offsets in shared memory have 64 bits");

/// The program of the crate's page.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Page;

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
mod run;
#[cfg(not(loom))]
pub mod topology;
#[cfg(not(loom))]
mod window;

#[cfg(all(not(loom), feature = "fault-points"))]
pub use self::{memory::layout::block_of, point::on_fault_point};
#[cfg(not(loom))]
pub use bytemuck;
#[cfg(not(loom))]
#[doc(no_inline)]
pub use cobre_comm_trait::{
    Activity, Call, CommData, CommError, Communicator, FailureCause, LocalComm, LocalExchange,
    LocalPool, LocalReader, LocalReduction, LocalRegion, Missing, Operation, PoolProvider,
    ReduceOp, Reducible, RegionReader, RowView, Rows, SharedExchange, SharedMemoryProvider,
    SharedPool, SharedReduction, SharedRegion, block_range, check,
};

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
    run::run,
    sync::patience::WaitPolicy,
    window::{
        HugePages, ShmExchange, ShmPool, ShmReader, ShmReduction, ShmRegion, SmallPages,
        WindowOptions, WindowPlacement,
    },
};

/// Joins the job that the environment describes, and returns when all its ranks have. Collective.
///
/// `cobre-launch` sets the variables that describe it (`COBRE_SHM_*`). Without them, the ranks that
/// `mpirun` or `srun` has started on one node are a job. A process of which nobody says that it is a
/// rank is a job of one, as any is with `COBRE_COMM_BACKEND=local`.
///
/// # Errors
/// See [`InitError`]; each says what to do.
#[cfg(not(loom))]
pub fn init() -> Result<ShmComm, InitError> {
    ShmComm::from_env()
}
