//! Collectives measured side by side with every MPI that is installed.
//!
//! The rank program `collbench` measures this backend; `mpi/collbench.c` is its twin against the
//! MPI interface: the same loops, the same values, the same statistics, the same lines of JSON.
//! `compare` finds the MPIs, builds the twin for each, runs all in turn and prints the table.
//!
//! | what | where |
//! |---|---|
//! | `allreduce:1024`: what is measured | [`cases`] |
//! | a case as a sequence of collectives | [`plan`], [`sddp`] |
//! | what is repeated, and the check of what it computed | `steps`, [`lane`], [`windows`], [`values`] |
//! | the loops, and what is timed | [`measure`] |
//! | samples to numbers, numbers to JSON | [`stats`], [`json`] |
//! | the other side, and the comparison | [`peers`], [`floors`], [`bounds`], [`table`], [`plot`] |
#![forbid(unsafe_code)]

pub mod bounds;
pub mod cases;
pub mod floors;
#[cfg(test)]
mod forgetful;
pub mod json;
pub mod lane;
pub mod measure;
pub mod peers;
pub mod plan;
pub mod plot;
pub mod sddp;
pub mod stats;
mod steps;
pub mod subject;
pub mod table;
pub mod values;
pub mod windows;
