//! The status board: what every member says about itself, for anybody to read without locks.
//!
//! A rank of a job publishes through [`ShmComm::status`](crate::ShmComm::status), and everybody's
//! records are read with [`ShmComm::board`](crate::ShmComm::board) or, from outside, with
//! [`Observer::member`](crate::observer::Observer::member).
//!
//! ```
//! use cobre_comm_trait::Communicator;
//! use cobre_shm::board::State;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let comm = cobre_shm::init()?;
//! let status = comm.status();
//! status.state(State::Busy);
//! for done in 0..10 {
//!     status.progress(done, 10);
//! }
//! let me = &comm.board()[comm.rank()];
//! assert_eq!(me.record.unwrap().progress.unwrap().done, 9);
//! # Ok(())
//! # }
//! ```
//!
//! A record is never torn: see the page about the board in the specification.

#[cfg(not(loom))]
pub(crate) mod job;
pub(crate) mod latch;
#[cfg(not(loom))]
mod member;
#[cfg(not(loom))]
mod policy;
#[cfg(not(loom))]
mod publisher;
#[cfg(not(loom))]
mod record;
#[cfg(not(loom))]
pub(crate) mod refresher;
#[cfg(not(loom))]
mod route;
#[cfg(not(loom))]
mod service;
#[cfg(all(not(loom), feature = "boards"))]
pub mod standing;

#[cfg(not(loom))]
pub(crate) use self::record::RecordLatch;
#[cfg(not(loom))]
pub use self::{
    member::Member,
    policy::{
        Classes, EstimatedCompletion, LeastLoaded, Smoothed, Weighted, policies, policy_by_name,
    },
    publisher::Publisher,
    record::{Load, Progress, Record, State, TEXT_BYTES, Text},
    route::{Candidate, Choice, Considered, Cost, DEFAULT_STALENESS, Dropped, Policy},
};

/// The clock of records: nanoseconds of the monotonic clock, the same for all processes of the
/// machine.
#[cfg(not(loom))]
#[must_use]
pub fn now() -> u64 {
    crate::sys::clock::now()
}
