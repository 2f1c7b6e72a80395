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

pub(crate) mod job;
mod member;
mod policy;
mod publisher;
mod record;
pub(crate) mod refresher;
mod route;
mod service;
#[cfg(feature = "boards")]
pub mod standing;

pub(crate) use self::record::RecordLatch;
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
#[must_use]
pub fn now() -> u64 {
    crate::sys::clock::now()
}
