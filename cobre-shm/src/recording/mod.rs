//! What the ranks of a recorded job write down: where time goes per call site, and the last events.
//!
//! The record of a rank lies in the job's memory, so it outlives the rank. See the page "Recording"
//! of the specs. `memory` says which bytes there are, `recorder` writes them, `read` reads them.

#[cfg(not(loom))]
mod histogram;
#[cfg(all(not(loom), feature = "tracing"))]
mod layer;
#[cfg(not(loom))]
mod memory;
#[cfg(not(loom))]
mod read;
#[cfg(not(loom))]
mod recorder;
pub(crate) mod ring;
#[cfg(not(loom))]
mod timeline;

#[cfg(not(loom))]
pub use self::{
    histogram::Histogram,
    read::{Event, EventKind, RankRecord, SiteRecord, Timeline},
};
#[cfg(all(not(loom), feature = "tracing"))]
pub use layer::TraceLayer;

#[cfg(not(loom))]
pub(crate) use self::{
    memory::{FIXED_RECORD_BYTES, Record, record_bytes, record_of},
    read::read,
    recorder::Recorder,
};

/// What a job is to record. Any recorded job is counted per call site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// How many events each rank keeps, the last ones; 32 bytes each. 0: none.
    pub trace_events: u32,
}

/// The longest ring of events: 2 GiB per rank.
pub const MAX_TRACE_EVENTS: u32 = 1 << 26;
