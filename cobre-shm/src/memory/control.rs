//! The control region: the job's first segment, seen through its layout.

#![allow(unsafe_code)]

use std::sync::Arc;

use crate::{
    memory::{
        layout::{FINGERPRINT, Geometry, Header, LAYOUT_VERSION, MAGIC, RankBlock},
        segment::Segment,
    },
    recording::{Record, record_of},
    sync::{cell::JOINED, primitive::Ordering, spread},
    sys::{lock::LockFile, open_files, process},
    topology::Place,
};

/// A mapped control segment.
#[derive(Debug)]
pub(crate) struct Control {
    segment: Segment,
    geometry: Geometry,
    /// The locks of this process; `None` for a job of one, which shares with nobody. Also what an
    /// observer of the same user can open again through `/proc/PID/fd`.
    locks: Option<LockFile>,
    /// The job of the same ranks that formed this one.
    parent: Option<Arc<Control>>,
    /// Where this process has listed this segment in that job.
    listed: Option<usize>,
}

impl Control {
    /// The segment as a control region of this geometry.
    ///
    /// # Panics
    /// If the segment is too short for it.
    pub(crate) fn new(segment: Segment, geometry: Geometry, locks: Option<LockFile>) -> Self {
        assert!(segment.len() >= geometry.total_bytes());
        Self {
            segment,
            geometry,
            locks,
            parent: None,
            listed: None,
        }
    }

    /// Fills a part of a private copy; see [`Segment::fill`].
    pub(crate) fn fill(&mut self, offset: usize, bytes: &[u8]) {
        self.segment.fill(offset, bytes);
    }

    /// Notes the job that formed this one: who is gone from there is gone here.
    pub(crate) fn set_parent(&mut self, parent: Arc<Control>) {
        self.parent = Some(parent);
    }

    /// Lets who watches the job find this communicator, in which this process is `rank`.
    pub(crate) fn list(&mut self, rank: usize) {
        let table = &self.root().block(rank).splits;
        self.listed = self.locks.as_ref().and_then(|locks| table.enter(locks));
    }

    /// Takes that back.
    pub(crate) fn unlist(&self, rank: usize) {
        if let Some(place) = self.listed {
            self.root().block(rank).splits.remove(place);
        }
    }

    /// The job that formed this one.
    #[inline]
    pub(crate) fn parent(&self) -> Option<&Self> {
        self.parent.as_deref()
    }

    /// The first of the jobs from which this one was split: the one that a launcher knows.
    pub(crate) fn root(&self) -> &Self {
        self.parent().map_or(self, Self::root)
    }

    #[inline]
    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    pub(crate) fn locks(&self) -> Option<&LockFile> {
        self.locks.as_ref()
    }

    pub(crate) fn header(&self) -> &Header {
        header_of(&self.segment)
    }

    pub(crate) fn block(&self, rank: usize) -> &RankBlock {
        assert!(rank < self.geometry.size());
        let offset = self.geometry.block_offset(rank);
        let block = self.segment.at(offset, size_of::<RankBlock>());
        // SAFETY: `at` checked the range; the offset is a multiple of the page, so aligned. The type
        // consists of atomics and cells, valid for every bit pattern and for writes by others. The
        // mapping lives as long as `self`.
        unsafe { &*block.cast() }
    }

    /// The staging buffer of `rank` for rounds of `round`'s parity: `slot_bytes` bytes.
    pub(crate) fn staging(&self, rank: usize, round: u64) -> *mut u8 {
        assert!(rank < self.geometry.size());
        let (both, _) = self.geometry.staging_of(rank);
        let slot = self.geometry.slot_bytes();
        let offset = both + if round % 2 == 1 { slot } else { 0 };
        self.segment.at(offset, slot)
    }

    /// Whether the job has more ranks than cores, so that ranks take turns; the same on all ranks.
    pub(crate) fn shares_cores(&self) -> bool {
        self.geometry.size() > self.cores()
    }

    /// The cores that the job's ranks have together.
    pub(crate) fn cores(&self) -> usize {
        let cores = self.root().header().cores.load(Ordering::Relaxed);
        cores as usize
    }

    /// What `rank` records; `None` if the job is not recorded.
    pub(crate) fn record(&self, rank: usize) -> Option<Record<'_>> {
        let recording = self.geometry.recording()?;
        assert!(rank < self.geometry.size());
        let (offset, _) = self.geometry.record_of(rank);
        let size = self.geometry.size();
        Some(record_of(&self.segment, offset, size, recording))
    }

    /// Makes this process the rank `rank`, whose lock it has.
    pub(crate) fn occupy(&self, rank: usize) {
        let presence = &self.block(rank).cell.presence;
        presence.pid.store(std::process::id(), Ordering::Relaxed);
        let namespace = process::pid_namespace();
        presence.pid_namespace.store(namespace, Ordering::Relaxed);
        for (word, value) in presence.place.iter().zip(Place::own().packed()) {
            word.store(value, Ordering::Relaxed);
        }
        // Before anybody waits: by these words the ranks spread themselves.
        spread::tell_processor(&self.block(rank).cell);
        // Release matches the Acquires of those that read the state: process number and place are there.
        presence.state.store(JOINED, Ordering::Release);
    }

    /// Where `rank` might run when it joined. In a formed job, which every rank has joined, these are the
    /// same words for whoever asks.
    pub(crate) fn place(&self, rank: usize) -> Place {
        let presence = &self.block(rank).cell.presence;
        // Relaxed: rank 0 saw all join before it said that the job has formed, and this rank saw that.
        Place::unpacked(
            presence
                .place
                .each_ref()
                .map(|word| word.load(Ordering::Relaxed)),
        )
    }

    /// By rank 0 without a launcher, when all have joined: `mpirun` and `srun` bind each rank to cores of
    /// its own, so nobody knows alone how many the ranks have together.
    pub(crate) fn count_cores(&self) {
        let cores = &self.header().cores;
        let own = cores.load(Ordering::Relaxed);
        // A quota allows fewer than the mask has, and holds for all ranks together.
        if own as usize >= self.place(0).processors {
            let ranks = 0..self.geometry.size();
            let all = Place::together(ranks.map(|rank| self.place(rank)));
            let all = u32::try_from(all).unwrap_or(u32::MAX);
            // Relaxed: the ranks read it when they know that the job has formed.
            cores.store(own.max(all), Ordering::Relaxed);
        }
    }

    /// Whether the kernel says that the process behind the lock `byte` lives. When it cannot be
    /// asked, nobody is declared dead.
    pub(crate) fn is_alive(&self, byte: usize) -> bool {
        let held = self.locks.as_ref().map(|locks| locks.is_held(byte));
        !matches!(held, Some(Ok(false)))
    }

    /// Whether process `pid` has this segment open.
    pub(crate) fn is_open_in(&self, pid: u32) -> bool {
        self.locks
            .as_ref()
            .is_some_and(|locks| open_files::has_open(pid, locks.file()))
    }
}

/// The header of a segment that has at least one page.
pub(crate) fn header_of(segment: &Segment) -> &Header {
    let header = segment.at(0, size_of::<Header>());
    // SAFETY: `at` checked the range; a mapping begins on a page, so it is aligned. The type
    // consists of atomics, valid for every bit pattern and for writes by others. The mapping lives
    // as long as the segment.
    unsafe { &*header.cast() }
}

/// What a founder writes into the header besides sizes and build.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// See [`Header::launched`].
    pub(crate) launched: bool,
    /// See [`Header::cores`].
    pub(crate) cores: u32,
    /// See [`Header::parent`].
    pub(crate) parent: u64,
    /// The failure word at the start.
    pub(crate) failure: u64,
}

/// Writes the header of a segment that nobody reads yet.
pub(crate) fn write_header(segment: &Segment, geometry: Geometry, origin: Origin) {
    let header = header_of(segment);
    header.version.store(LAYOUT_VERSION, Ordering::Relaxed);
    // Fits: `Config::check` and `Observer::found` limit the size.
    header.size.store(geometry.size() as u32, Ordering::Relaxed);
    header.fingerprint.store(FINGERPRINT, Ordering::Relaxed);
    header
        .slot_bytes
        .store(geometry.slot_bytes() as u64, Ordering::Relaxed);
    header.founder.store(std::process::id(), Ordering::Relaxed);
    let launched = origin.launched.into();
    header.launched.store(launched, Ordering::Relaxed);
    header.cores.store(origin.cores, Ordering::Relaxed);
    header.parent.store(origin.parent, Ordering::Relaxed);
    let recording = geometry.recording();
    let recorded = recording.is_some().into();
    header.recording.store(recorded, Ordering::Relaxed);
    let events = recording.map_or(0, |recording| recording.trace_events);
    header.trace_events.store(events, Ordering::Relaxed);
    header.failure.code.store(origin.failure, Ordering::Relaxed);
    // Release matches the reading of the magic number before everything else in `identify`.
    header.magic.store(MAGIC, Ordering::Release);
}
