//! Where everything lies in the control segment.
//!
//! ```text
//! 0                    header            one page; written by the founder before the magic number
//! 4096                 blocks[size]      one RankBlock per rank, each written by its rank
//! 4096 + size * BLOCK  staging           per rank two buffers of `slot_bytes`, even rounds, odd rounds
//!                      records           one per rank, if the job is recorded
//! ```
//!
//! Offsets follow from the number of ranks, the slot size and what is recorded alone. A joiner
//! computes them from the header's values and believes nothing else; it reads those values once.

use core::mem::{align_of, offset_of, size_of};

use crate::{
    board::RecordLatch,
    call::{log::CallLog, sites::SiteTable, stall::StallRecord},
    job::splits::SplitTable,
    recording::{FIXED_RECORD_BYTES, MAX_TRACE_EVENTS, Recording, record_bytes},
    sync::{
        cell::{FailureWord, RankCell},
        primitive::{AtomicU32, AtomicU64},
    },
    topology::Packed,
};

/// Marks a complete control segment: `CobreShm` in ASCII, little-endian.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"CobreShm");

/// The version of the control segment: it changes with every change of this module or of a protocol that
/// its memory carries. The programs of one job must have the same.
pub const LAYOUT_VERSION: u32 = 8;

/// The most ranks of a job. Failure words have 16 bits for a rank; a thousand ranks on one machine
/// is more than anybody has cores.
pub const MAX_RANKS: usize = 1024;

/// The unit of reservation and of placement.
pub(crate) const PAGE: usize = 4096;

/// What a job of any size spends on staging, if `COBRE_SHM_STAGING` does not say otherwise.
pub(crate) const DEFAULT_STAGING: usize = 4 << 20;

/// The smallest staging buffer.
pub(crate) const MIN_SLOT: usize = PAGE;

/// The job's first page.
#[derive(Debug)]
#[repr(C, align(4096))]
pub(crate) struct Header {
    /// [`MAGIC`] once everything else stands. Written last.
    pub(crate) magic: AtomicU64,
    /// [`LAYOUT_VERSION`] of the founder.
    pub(crate) version: AtomicU32,
    /// The number of ranks.
    pub(crate) size: AtomicU32,
    /// [`FINGERPRINT`], as the founder's compiler laid things out.
    pub(crate) fingerprint: AtomicU64,
    /// Bytes of one staging buffer.
    pub(crate) slot_bytes: AtomicU64,
    /// The founder's process, for messages.
    pub(crate) founder: AtomicU32,
    /// 1 if the founder is a launcher, which is no rank and watches the ranks' processes.
    pub(crate) launched: AtomicU32,
    /// The inode of the control segment that this one was split from; 0 for a job's own. For who
    /// looks from outside.
    pub(crate) parent: AtomicU64,
    /// 1 if the ranks record what they do.
    pub(crate) recording: AtomicU32,
    /// How many events each of them keeps then.
    pub(crate) trace_events: AtomicU32,
    /// The cores that the job's ranks have together: those that the launcher may use (affinity and
    /// cgroup quota), also if it keeps each rank on one of its own; without a launcher those of all
    /// ranks, as rank 0 counts them before it says that the job has formed.
    pub(crate) cores: AtomicU32,
    /// How many ranks have joined; also the futex word on which rank 0 waits for them.
    pub(crate) joined: Arrivals,
    /// Changes when the job has formed.
    pub(crate) ready: Ready,
    /// The first failure.
    pub(crate) failure: FailureWord,
}

/// The count of ranks that have joined.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Arrivals {
    pub(crate) count: AtomicU32,
}

/// The futex word on which ranks sleep until the job has formed.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct Ready {
    pub(crate) flag: AtomicU32,
}

/// Everything that one rank writes for others to see, except payloads.
#[derive(Debug)]
#[repr(C, align(4096))]
pub(crate) struct RankBlock {
    pub(crate) cell: RankCell,
    pub(crate) calls: CallLog,
    pub(crate) sites: SiteTable,
    /// What the rank says about itself; see [`crate::board`].
    pub(crate) board: RecordLatch,
    /// Who was missing when the rank gave up waiting; see [`crate::call::stall`].
    pub(crate) stall: StallRecord,
    /// The communicators split from this job that the rank is in.
    pub(crate) splits: SplitTable,
}

/// What the two sides of a segment must agree on besides the version: a compiler or an architecture
/// that lays the types out differently must not join.
pub(crate) const FINGERPRINT: u64 = {
    let facts = [
        size_of::<Header>(),
        offset_of!(Header, parent),
        offset_of!(Header, recording),
        offset_of!(Header, joined),
        offset_of!(Header, ready),
        offset_of!(Header, failure),
        size_of::<RankBlock>(),
        align_of::<RankBlock>(),
        offset_of!(RankBlock, calls),
        offset_of!(RankBlock, sites),
        offset_of!(RankBlock, stall),
        offset_of!(RankBlock, splits),
        offset_of!(RankBlock, board),
        size_of::<RecordLatch>(),
        size_of::<RankCell>(),
        offset_of!(RankCell, bell),
        offset_of!(RankCell, sleepers),
        offset_of!(RankCell, presence),
        size_of::<Packed>(),
        offset_of!(RankCell, waiting),
        FIXED_RECORD_BYTES,
        size_of::<usize>(),
        cfg!(target_endian = "little") as usize,
    ];
    // FNV-1a over the facts.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    while at < facts.len() {
        hash = (hash ^ facts[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    hash
};

/// Sizes and offsets of one job's control segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    size: usize,
    slot_bytes: usize,
    recording: Option<Recording>,
}

impl Geometry {
    /// The geometry of a job of `size` ranks that spends about `staging` bytes on staging buffers.
    pub(crate) fn with_staging(size: usize, staging: usize) -> Self {
        let slot = staging / (2 * size) / PAGE * PAGE;
        Self {
            size,
            slot_bytes: slot.max(MIN_SLOT),
            recording: None,
        }
    }

    /// The same with other records, or none.
    pub(crate) fn recorded(self, recording: Option<Recording>) -> Self {
        Self { recording, ..self }
    }

    /// The geometry that a header states; `None` if no founder writes such values.
    pub(crate) fn stated(size: u32, slot_bytes: u64, recording: Option<Recording>) -> Option<Self> {
        let geometry = Self {
            size: size as usize,
            slot_bytes: usize::try_from(slot_bytes).ok()?,
            recording,
        };
        let plausible = (1..=MAX_RANKS).contains(&geometry.size)
            && geometry.slot_bytes >= MIN_SLOT
            && geometry.slot_bytes.is_multiple_of(PAGE)
            && geometry.slot_bytes <= usize::MAX / 8 / MAX_RANKS
            && recording.is_none_or(|recording| recording.trace_events <= MAX_TRACE_EVENTS);
        plausible.then_some(geometry)
    }

    pub(crate) fn size(self) -> usize {
        self.size
    }

    /// Bytes of one staging buffer.
    pub(crate) fn slot_bytes(self) -> usize {
        self.slot_bytes
    }

    pub(crate) fn block_offset(self, rank: usize) -> usize {
        size_of::<Header>() + rank * size_of::<RankBlock>()
    }

    /// Where staging begins: all before it is reserved by the founder, each rank reserves its own
    /// buffers.
    pub(crate) fn staging_offset(self) -> usize {
        self.block_offset(self.size)
    }

    /// The staging buffers of `rank`: offset and length of both together.
    pub(crate) fn staging_of(self, rank: usize) -> (usize, usize) {
        let both = 2 * self.slot_bytes;
        (self.staging_offset() + rank * both, both)
    }

    /// What the ranks record, if the job is recorded.
    pub(crate) fn recording(self) -> Option<Recording> {
        self.recording
    }

    /// The record of `rank`: offset and length; empty if the job is not recorded.
    pub(crate) fn record_of(self, rank: usize) -> (usize, usize) {
        let bytes = self
            .recording
            .map(|recording| record_bytes(self.size, recording));
        let bytes = bytes.unwrap_or(0);
        (self.staging_of(self.size).0 + rank * bytes, bytes)
    }

    /// Bytes of the whole segment.
    pub(crate) fn total_bytes(self) -> usize {
        self.record_of(self.size).0
    }
}

/// The bytes of the control segment that `rank` of `size` writes for its peers, staging apart:
/// what a test overwrites to play a rank whose memory is corrupt.
///
/// # Panics
/// If there is no such rank.
#[cfg(feature = "fault-points")]
#[must_use]
pub fn block_of(rank: usize, size: usize) -> core::ops::Range<usize> {
    assert!(rank < size);
    let geometry = Geometry::with_staging(size, 0);
    geometry.block_offset(rank)..geometry.block_offset(rank + 1)
}

#[cfg(test)]
mod tests {
    use super::{
        Arrivals, DEFAULT_STAGING, FINGERPRINT, FailureWord, Geometry, Header, LAYOUT_VERSION,
        MAGIC, MIN_SLOT, PAGE, RankBlock, Ready, Recording,
    };
    use core::mem::{offset_of, size_of};

    #[test]
    fn the_header_is_one_page_and_blocks_are_whole_pages() {
        assert_eq!(size_of::<Header>(), PAGE);
        assert_eq!(size_of::<RankBlock>() % PAGE, 0);
    }

    /// Whoever changes the layout changes its page too.
    #[test]
    #[cfg(all(target_pointer_width = "64", target_endian = "little"))]
    fn the_specification_states_this_layout() {
        use crate::documented::{expect, expect_words, fields, nested};

        let mut header = fields!(Header {
            magic,
            version,
            size,
            fingerprint,
            slot_bytes,
            founder,
            launched,
            parent,
            recording,
            trace_events,
            cores,
            joined,
            ready,
            failure,
        });
        // The last three have lines of their own.
        header.truncate(11);
        header.extend(nested(
            "joined",
            offset_of!(Header, joined),
            fields!(Arrivals { count }),
        ));
        header.extend(nested(
            "ready",
            offset_of!(Header, ready),
            fields!(Ready { flag }),
        ));
        header.extend(nested(
            "failure",
            offset_of!(Header, failure),
            fields!(FailureWord { code }),
        ));
        expect("## Header", header, size_of::<Header>());

        let mut block = fields!(RankBlock {
            cell,
            calls,
            sites,
            board,
            stall,
            splits,
        });
        let names = [
            "cell",
            "call log",
            "call sites",
            "board",
            "stall record",
            "split communicators",
        ];
        for ((field, ..), name) in block.iter_mut().zip(names) {
            *field = name.to_owned();
        }
        expect("## Block of a rank", block, size_of::<RankBlock>());

        expect_words(&format!("Layout version {LAYOUT_VERSION},"));
        expect_words(&format!("`version`: {LAYOUT_VERSION}"));
        expect_words(&format!("`{MAGIC:#x}`"));
        expect_words(&format!("it is `{FINGERPRINT:#x}`"));
    }

    #[test]
    #[cfg(all(target_pointer_width = "64", target_endian = "little"))]
    fn the_book_states_the_memory_of_a_job() {
        use crate::documented::{number, table};

        let page = include_str!("../../../specs/src/reference/memory.md");
        let rows = table(page, "## The control region");
        assert!(rows.len() > 5);
        for row in rows {
            let row: Vec<usize> = row.iter().map(|cell| number(cell) as usize).collect();
            let geometry = Geometry::with_staging(row[0], DEFAULT_STAGING);
            let (staging, total) = (geometry.staging_offset(), geometry.total_bytes());
            let computed = [
                geometry.slot_bytes(),
                total - staging,
                staging,
                total,
                total / row[0],
            ];
            assert_eq!(row[1..], computed, "{} ranks", row[0]);
        }
    }

    #[test]
    fn staging_is_divided_among_the_ranks_and_never_vanishes() {
        let slot = |size| Geometry::with_staging(size, 4 << 20).slot_bytes();
        assert_eq!([slot(1), slot(2), slot(8)], [2 << 20, 1 << 20, 256 << 10]);
        assert_eq!(slot(1000), MIN_SLOT);
    }

    #[test]
    fn buffers_do_not_overlap() {
        let geometry = Geometry::with_staging(3, 1 << 20);
        let mut end = geometry.staging_offset();
        for rank in 0..3 {
            let (start, len) = geometry.staging_of(rank);
            assert_eq!(start, end);
            end = start + len;
        }
        assert_eq!(end, geometry.total_bytes());
    }

    #[test]
    fn records_follow_the_staging_and_change_nothing_before_them() {
        let bare = Geometry::with_staging(3, 1 << 20);
        let geometry = bare.recorded(Some(Recording { trace_events: 100 }));
        assert_eq!(geometry.staging_of(2), bare.staging_of(2));
        let mut end = bare.total_bytes();
        for rank in 0..3 {
            let (start, len) = geometry.record_of(rank);
            assert_eq!((start, start % PAGE, len % PAGE), (end, 0, 0));
            end = start + len;
        }
        assert_eq!(end, geometry.total_bytes());
    }

    #[test]
    fn a_header_with_absurd_values_is_not_believed() {
        for (size, slot) in [
            (0, 4096),
            (2000, 4096),
            (2, 0),
            (2, 100),
            (2, 4097),
            (2, u64::MAX - 4095),
        ] {
            assert_eq!(Geometry::stated(size, slot, None), None, "{size} {slot}");
        }
        assert_eq!(
            Geometry::stated(2, 1 << 20, None),
            Some(Geometry::with_staging(2, 4 << 20))
        );
    }
}
