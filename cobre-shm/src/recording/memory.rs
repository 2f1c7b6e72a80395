//! The bytes of one rank's record.

#![allow(unsafe_code)]

use core::{mem::size_of, slice};

use super::{Recording, histogram::Counts, timeline::TimelineMemory};
use crate::sync::ring::Place;
use crate::{
    call::sites::{SITES, SiteTable},
    memory::{layout::PAGE, segment::Segment},
    sync::primitive::{AtomicU32, AtomicU64},
};

/// One per call site, and row 0 for those that have no place in the table.
pub(super) const ROWS: usize = SITES + 1;

/// What every record has, whatever the number of ranks and events.
#[derive(Debug)]
#[repr(C, align(4096))]
pub(super) struct Fixed {
    /// When the rank joined; this and all times in nanoseconds of [`crate::sys::clock`].
    pub(super) began: AtomicU64,
    /// When it left; 0 if it has not.
    pub(super) ended: AtomicU64,
    /// The end of its last collective.
    pub(super) seen: AtomicU64,
    /// Events written so far.
    pub(super) written: AtomicU64,
    pub(super) sites: SiteTable,
    pub(super) spans: SiteTable,
    pub(super) rows: [Row; ROWS],
    pub(super) timeline: TimelineMemory,
}

/// For the fingerprint of the layout.
pub(crate) const FIXED_RECORD_BYTES: usize = size_of::<Fixed>();

/// The sums of one call site.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Row {
    /// As [`crate::sync::failure::operation_code`] numbers it; of row 0 the last one.
    pub(super) operation: AtomicU32,
    pub(super) calls: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) time: AtomicU64,
    pub(super) waiting: AtomicU64,
    pub(super) longest: AtomicU64,
    pub(super) came_last: AtomicU64,
    pub(super) times: Counts,
}

/// One rank's record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(super) fixed: &'a Fixed,
    /// Per row and peer, the time waited.
    waits: &'a [AtomicU64],
    /// Per row and peer, the part of it in which the peer alone was missing.
    late: &'a [AtomicU64],
    pub(super) events: &'a [Place],
    size: usize,
}

impl<'a> Record<'a> {
    /// The times that the owner waited for each peer at the call site `row`.
    pub(super) fn waits(&self, row: usize) -> &'a [AtomicU64] {
        &self.waits[row * self.size..][..self.size]
    }

    /// The times by which it saw each peer come later than all others there.
    pub(super) fn late(&self, row: usize) -> &'a [AtomicU64] {
        &self.late[row * self.size..][..self.size]
    }
}

/// Bytes of one rank's record in a job of `size` ranks: whole pages.
pub(crate) fn record_bytes(size: usize, recording: Recording) -> usize {
    let events = recording.trace_events as usize * size_of::<Place>();
    (events_offset(size) + events).next_multiple_of(PAGE)
}

/// Bytes of the times per row and peer, of either kind.
fn waits_bytes(size: usize) -> usize {
    ROWS * size * size_of::<AtomicU64>()
}

fn events_offset(size: usize) -> usize {
    (size_of::<Fixed>() + 2 * waits_bytes(size)).next_multiple_of(align_of::<Place>())
}

/// The record at `offset` of `segment`, of one of `size` ranks.
///
/// # Panics
/// If it does not lie inside the segment, or on a page.
pub(crate) fn record_of(
    segment: &Segment,
    offset: usize,
    size: usize,
    recording: Recording,
) -> Record<'_> {
    assert!(offset.is_multiple_of(PAGE));
    let start = segment.at(offset, record_bytes(size, recording));
    let waits = start.wrapping_add(size_of::<Fixed>());
    let late = waits.wrapping_add(waits_bytes(size));
    let events = start.wrapping_add(events_offset(size));
    // SAFETY: `at` checked the range; a mapping begins on a page and the offset is a multiple of
    // it, so it is aligned. The type consists of atomics and cells, valid for every bit pattern and
    // for writes by others. The mapping lives as long as the segment.
    let fixed = unsafe { &*start.cast::<Fixed>() };
    // SAFETY: as above: behind the fixed part, whose size is a multiple of the page.
    let waits = unsafe { slice::from_raw_parts(waits.cast(), ROWS * size) };
    // SAFETY: as above: behind the waits, which are as long.
    let late = unsafe { slice::from_raw_parts(late.cast(), ROWS * size) };
    // SAFETY: as above: behind both, aligned by `events_offset`.
    let events = unsafe { slice::from_raw_parts(events.cast(), recording.trace_events as usize) };
    Record {
        fixed,
        waits,
        late,
        events,
        size,
    }
}

#[cfg(test)]
mod tests {
    use super::record_bytes;
    use crate::recording::Recording;

    #[test]
    #[cfg(all(target_pointer_width = "64", target_endian = "little"))]
    fn records_are_as_large_as_the_book_says() {
        use crate::documented::{number, table};

        let page = include_str!("../../../specs/src/reference/memory.md");
        let rows = table(page, "## Records");
        assert!(rows.len() > 3);
        for row in rows {
            let row: Vec<usize> = row.iter().map(|cell| number(cell) as usize).collect();
            let bytes = |trace_events| record_bytes(row[0], Recording { trace_events });
            assert_eq!(row[1..], [bytes(0), bytes(1 << 16)]);
        }
    }
}
