//! What a recorded job spent its time on.
//!
//! The ranks of a job that `cobre-launch --profile` or `--trace` started write down what they do
//! ([`cobre_shm::recording`]). This crate makes of it
//!
//! - a [`Profile`]: sums per call site and per rank, as data that `serde` writes and reads;
//! - a [`verdict`]: which rank the others wait for, and where;
//! - a [`table`] for people;
//! - a [`trace`]: the timeline in the trace event format of Chrome and Perfetto;
//! - a [`plot`]: an SVG picture of a profile;
//! - [`Results`]: the file that a user names for any of these.
//!
//! Nothing here touches a running job.

mod plot;
mod profile;
mod results;
mod svg;
mod table;
mod trace;
mod units;
mod verdict;

pub use self::{
    plot::plot,
    profile::{Profile, Rank, ReadError, Run, Site, Timeline},
    results::Results,
    table::table,
    trace::trace,
    verdict::verdict,
};
