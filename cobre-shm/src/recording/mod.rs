//! What the ranks of a recorded job write down: where time goes per call site, and the last events.
//!
//! The record of a rank lies in the job's memory, so it outlives the rank. See the page "Recording"
//! of the specs. `memory` says which bytes there are, `recorder` writes them, `read` reads them.

mod histogram;
#[cfg(feature = "tracing")]
mod layer;
mod memory;
mod read;
mod recorder;
mod timeline;

pub use self::{
    histogram::Histogram,
    read::{Event, EventKind, RankRecord, SiteRecord, Timeline},
};
#[cfg(feature = "tracing")]
pub use layer::TraceLayer;

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
