//! A job seen by somebody who has no part in it, from a file descriptor of its control segment.
//!
//! After forming, the segment has no name; but every rank, and the launcher, keeps a descriptor of
//! it, which a process of the same user can open again, read-only, through `/proc/PID/fd`.
//! [`read`] copies what it needs instead of mapping it: nothing that happens to the file can hurt
//! the reader, and nothing the reader does can hurt the job. It takes a few microseconds and no lock.
//!
//! What comes out is a picture of a moment of each rank, not of one moment of all; a call log that its owner
//! was writing is told by its numbers (see `specs`, the inspector).

mod copy;

use core::mem::offset_of;
use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use cobre_comm_trait::CommError;

pub use crate::memory::identify::Strange;
use crate::{
    board::{self, Record, State},
    call::{
        activity::{self, Activity},
        explain,
    },
    job::config,
    memory::{
        control::Control,
        identify,
        layout::{DEFAULT_STAGING, Geometry, LAYOUT_VERSION, MAGIC, RankBlock},
    },
    observer::{self, Membership},
    point,
    sync::{cell::Members, failure, primitive::Ordering},
    sys::{
        lock,
        ours::{self, Access},
    },
};

/// Why a file could not be read as a control segment.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unreadable {
    /// It is none that this build understands.
    #[error(transparent)]
    Strange(#[from] Strange),
    /// The system refuses.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// What became of a job so far.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobState {
    /// Not all ranks have joined.
    Forming,
    /// All ranks have joined; nothing has failed.
    Formed,
    /// It failed; every rank is told the same.
    Failed {
        /// As the ranks are told.
        cause: CommError,
        /// Whether it had formed before.
        formed: bool,
    },
}

/// One rank of a job.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RankView {
    /// Whether a process is the rank.
    pub membership: Membership,
    /// The rank's process, 0 if nobody joined; kept after it has left.
    pub pid: u32,
    /// The PID namespace in which `pid` means the process; 0 if unknown.
    pub pid_namespace: u64,
    /// Whether the kernel says that the rank's process lives.
    pub is_alive: bool,
    /// What it does.
    pub activity: Activity,
    /// The same in one word, with what it said about itself.
    pub state: State,
    /// What it said last on the status board; `None` if it published so fast that no attempt to read
    /// succeeded.
    pub record: Option<Record>,
    /// Collectives begun.
    pub calls: u64,
    /// Whether it has been told of the job's failure.
    pub saw_failure: bool,
}

/// A job, or a communicator split from one.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct JobView {
    /// The number of the control segment in its file system: tells jobs apart.
    pub inode: u64,
    /// The inode of the job that this communicator was split from.
    pub split_from: Option<u64>,
    /// The process that founded it, in its own PID namespace.
    pub founder: u32,
    /// Whether the founder is a launcher.
    pub launched: bool,
    /// Whether the founder of a job lives (not said of a split communicator).
    pub founder_alive: bool,
    /// What became of it so far.
    pub state: JobState,
    /// Each rank, by number.
    pub ranks: Vec<RankView>,
    /// Bytes of one staging buffer; every rank has two.
    pub slot_bytes: u64,
    /// Bytes of the whole control segment.
    pub control_bytes: u64,
    /// The version of its layout; the only one that this build reads.
    pub layout_version: u32,
}

/// Opens, for reading, what the descriptor `link` of a process (`/proc/PID/fd/N`) stands for, if that
/// belongs to this user alone and begins like a control segment, of whatever version and however damaged
/// after that. Never waits, whatever it stands for.
#[must_use]
pub fn open(link: &Path) -> Option<File> {
    let file = ours::open_held(link, Access::Read).ok()?;
    let mut magic = [0; 8];
    file.read_exact_at(&mut magic, 0).ok()?;
    (u64::from_ne_bytes(magic) == MAGIC).then_some(file)
}

/// Reads the job whose control segment `file` is; reading access is enough.
///
/// # Errors
/// See [`Unreadable`]. Any content is an error or a picture, never a panic.
pub fn read(file: &File) -> Result<JobView, Unreadable> {
    point::reached("look");
    let geometry = identify::geometry(file)??;
    let control = copy::of(file, geometry)?;
    let header = control.header();
    let parent = header.parent.load(Ordering::Relaxed);
    Ok(JobView {
        inode: file.metadata()?.ino(),
        split_from: (parent != 0).then_some(parent),
        founder: header.founder.load(Ordering::Relaxed),
        launched: header.launched.load(Ordering::Relaxed) == 1,
        founder_alive: lock::is_held(file, lock::FOUNDER)?,
        state: state(&control),
        ranks: ranks(file, &control)?,
        slot_bytes: geometry.slot_bytes() as u64,
        control_bytes: geometry.total_bytes() as u64,
        layout_version: LAYOUT_VERSION,
    })
}

fn state(control: &Control) -> JobState {
    match failure::first(control) {
        None if failure::is_forming(control) => JobState::Forming,
        None => JobState::Formed,
        Some(failure) => JobState::Failed {
            cause: explain::explain(control, failure),
            formed: failure::to_form(control).is_none(),
        },
    }
}

fn ranks(file: &File, control: &Control) -> io::Result<Vec<RankView>> {
    let view = |rank| {
        let presence = &control.cell(rank).presence;
        let activity = activity::of(control, rank);
        // From the file: the copy may be of a moment in which a record was being written.
        let offset = control.geometry().block_offset(rank) + offset_of!(RankBlock, board);
        let record = Record::read_from(file, offset as u64)?;
        Ok(RankView {
            membership: observer::membership(control, rank),
            pid: presence.pid.load(Ordering::Relaxed),
            pid_namespace: presence.pid_namespace.load(Ordering::Relaxed),
            is_alive: lock::is_held(file, rank)?,
            state: board::job::state(control, rank, record.as_ref(), &activity),
            record,
            activity,
            calls: control.block(rank).calls.last().0,
            saw_failure: presence.saw_failure.load(Ordering::Relaxed) == 1,
        })
    };
    (0..control.size()).map(view).collect()
}

/// Bytes of shared memory that a job of `size` ranks reserves when it forms, with the staging that
/// the environment asks for (the default, if it asks for nonsense).
#[must_use]
pub fn bytes_of_job(size: usize) -> u64 {
    let staging = config::staging_from_env().unwrap_or(DEFAULT_STAGING);
    Geometry::with_staging(size, staging).total_bytes() as u64
}
