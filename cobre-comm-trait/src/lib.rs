//! The contract between a program that runs as several ranks and the backend that joins them.
//!
//! A program written against [`Communicator`] (and [`SharedMemoryProvider`], if it shares tables)
//! runs on any backend: [`LocalComm`] here is the one of a single process, `cobre-shm` joins the
//! processes of one machine through shared memory.
//!
//! | what | where |
//! |---|---|
//! | collectives: allgatherv, allreduce, broadcast, barrier | [`Communicator`] |
//! | one copy of a table for all ranks, with sound epochs | [`SharedMemoryProvider`] |
//! | gathers, broadcasts and reductions without copies | [`SharedExchange`], [`SharedReduction`] |
//! | one copy of a table that grows | [`PoolProvider`], [`SharedPool`] |
//! | tables of rows in a slice | [`Rows`] |
//! | what may be sent | [`CommData`] |
//! | what a reduction computes, to the bit | [`Reducible`], [`ReduceOp`] |
//! | everything that can go wrong, as data | [`CommError`] |
//! | the checks and the suite every backend shares | [`check`], `conformance` (feature) |
//! | how messages show numbers, and text that others wrote | [`text`] |
//!
//! No operating system and no `unsafe` here.
#![forbid(unsafe_code)]

/// The program of the crate's page.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Page;

mod activity;
pub mod check;
mod communicator;
#[cfg(feature = "conformance")]
pub mod conformance;
mod data;
mod error;
mod exchange;
mod local;
mod pool;
mod reduce;
mod reduction;
mod rows;
mod shared_memory;
pub mod text;

pub use activity::Activity;
pub use communicator::Communicator;
pub use data::CommData;
pub use error::{Call, CommError, FailureCause, Missing, Operation};
pub use exchange::SharedExchange;
pub use local::{LocalComm, LocalExchange, LocalPool, LocalReader, LocalReduction, LocalRegion};
pub use pool::{PoolProvider, SharedPool};
pub use reduce::{ReduceOp, Reducible};
pub use reduction::SharedReduction;
pub use rows::{RowView, Rows};
pub use shared_memory::{RegionReader, SharedMemoryProvider, SharedRegion, block_range};
