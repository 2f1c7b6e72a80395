//! What can become of shared work.

use core::ops::Range;

use cobre_comm_trait::CommError;

/// Not every index has a result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorkError {
    /// The job failed while it worked.
    #[error("{cause}; unfinished: {}", list(unfinished))]
    Failed {
        /// The job's first failure: which rank, and how.
        #[source]
        cause: CommError,
        /// Indices that had no result when this rank learned of it, in order; others may have been
        /// at work on some of them.
        unfinished: Vec<Range<usize>>,
    },
    /// All ranks have finished, but some chunk was dropped before all its results were recorded.
    #[error("no rank recorded a result of {}", list(unfinished))]
    NotRecorded {
        /// Indices without a result, in order.
        unfinished: Vec<Range<usize>>,
    },
}

fn list(ranges: &[Range<usize>]) -> String {
    const SHOWN: usize = 8;
    let count: usize = ranges.iter().map(ExactSizeIterator::len).sum();
    let shown: Vec<String> = ranges
        .iter()
        .take(SHOWN)
        .map(|range| match range.len() {
            1 => range.start.to_string(),
            _ => format!("{}-{}", range.start, range.end - 1),
        })
        .collect();
    let more = if ranges.len() > SHOWN { ", .." } else { "" };
    let indices = if count == 1 { "index" } else { "indices" };
    format!("{count} {indices} ({}{more})", shown.join(", "))
}
