//! Why a job could not be formed: each cause says what to do about it.

use core::{fmt, time::Duration};
use std::io;

use cobre_comm_trait::{CommError, text};

use crate::memory::{layout::Geometry, room};

/// A job could not be formed, or joined.
///
/// `Debug` prints the same sentence as `Display`: that is what a `main` that returns this error shows.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// A variable that is needed is not set.
    #[error("{variable} is not set, but {because}; expected {expected}")]
    MissingVariable {
        /// The variable.
        variable: &'static str,
        /// Why it is needed.
        because: String,
        /// What it should hold.
        expected: String,
    },
    /// A variable holds what it must not.
    #[error("{variable}={value:?} is not valid: expected {expected}")]
    InvalidVariable {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// What it should hold.
        expected: String,
    },
    /// Another launcher started this process, in a way from which no job can be formed.
    #[error(
        "{launcher} {problem}; instead, start the job with `cobre-launch -n N PROGRAM`, or set COBRE_COMM_BACKEND=local to run each process alone"
    )]
    UnsupportedLaunch {
        /// Who started it.
        launcher: &'static str,
        /// Why this is no job.
        problem: String,
    },
    /// Another process, or this one, has joined the job as this rank.
    #[error(
        "rank {rank} of job {name} is taken{}: start each rank once, and give every job a name of its own",
        by_process(*.pid)
    )]
    RankTaken {
        /// The job.
        name: String,
        /// The rank.
        rank: usize,
        /// Who holds it, if it says so.
        pid: Option<u32>,
    },
    /// The ranks were told different sizes.
    #[error(
        "rank {rank} of job {name} came with COBRE_SHM_SIZE={theirs}, but the job has {ours} ranks: give every rank the same size"
    )]
    SizeDiffers {
        /// The job.
        name: String,
        /// The rank that differs.
        rank: usize,
        /// Its size.
        theirs: usize,
        /// The size that the founder was given.
        ours: usize,
    },
    /// A rank did not join in time.
    #[error(
        "{} of job {name} did not join within {}: every rank from 0 to {} must call init, on one machine where all see one /dev/shm, with the same COBRE_SHM_NAME if you set it; COBRE_SHM_ATTACH_TIMEOUT sets how long to wait",
        text::ranks(missing), text::duration(*.waited), size - 1
    )]
    NeverCame {
        /// The job.
        name: String,
        /// Its size.
        size: usize,
        /// Who is missing.
        missing: Vec<usize>,
        /// How long this rank waited.
        waited: Duration,
    },
    /// The job's segment did not appear.
    #[error(
        "job {name} was not found (after {}): either the job has already formed, without this process (each rank joins once), or rank 0 has not been started (or not on this machine, or with another /dev/shm)",
        text::duration(*.waited)
    )]
    NotFound {
        /// The job.
        name: String,
        /// How long this rank waited.
        waited: Duration,
    },
    /// Rank 0 found its name in use.
    #[error("the name {name} is in use by {holder}; {remedy}")]
    NameInUse {
        /// The name.
        name: String,
        /// Who made it, as far as can be told.
        holder: String,
        /// What to do.
        remedy: String,
    },
    /// The name stands for something that this version of the library did not make.
    #[error("{name} is not a job that this program can join: {found}; {remedy}")]
    NotOurs {
        /// The name.
        name: String,
        /// What is there.
        found: String,
        /// What to do.
        remedy: String,
    },
    /// There is not enough shared memory.
    #[error(
        "job {name} cannot reserve {} of shared memory: {source}{left}; {} COBRE_SHM_STAGING lower (now {})",
        text::bytes(*.wanted as u64),
        if .left.is_empty() { "set" } else { "or set" },
        text::bytes(*.staging as u64)
    )]
    NoRoom {
        /// The job.
        name: String,
        /// Bytes wanted.
        wanted: usize,
        /// What limits it, how many bytes that leaves, and how to get more, as far as it is known.
        left: String,
        /// Bytes of staging among them.
        staging: usize,
        /// What the system said.
        source: io::Error,
    },
    /// There is no place for shared memory at all.
    #[error(
        "job {name} needs /dev/shm, but it {problem}: mount a tmpfs there (mount -t tmpfs tmpfs /dev/shm; in a container: --tmpfs /dev/shm)"
    )]
    NoSharedMemory {
        /// The job.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// This process, or one from which it descends, is a rank of the job.
    #[error("{}", already_member(name, *.pid))]
    AlreadyMember {
        /// The job.
        name: String,
        /// The rank's process.
        pid: u32,
    },
    /// A peer failed while the job formed.
    #[error("job {name} could not form: {cause}{}", if *joined { "" } else { " without joining" })]
    PeerFailed {
        /// The job.
        name: String,
        /// Whether the rank that failed had joined.
        joined: bool,
        /// What happened.
        cause: CommError,
    },
    /// A system call failed.
    #[error("cannot {action} for job {name}: {source}{}", room::advice(source))]
    System {
        /// The job.
        name: String,
        /// What was being done.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl InitError {
    /// `/dev/shm` cannot be used.
    pub(crate) fn unusable(name: &str, problem: &'static str) -> Self {
        Self::NoSharedMemory {
            name: name.to_owned(),
            problem,
        }
    }

    /// The segment of job `name`, laid out as `geometry`, could not be reserved.
    pub(crate) fn no_room(name: &str, geometry: Geometry, source: io::Error) -> Self {
        let left = room::left(&source, geometry.total_bytes() as u64);
        Self::no_room_left(name, geometry, left, source)
    }

    /// `rank` could not reserve its part; what limits it need not limit this process.
    pub(crate) fn no_room_of_peer(
        name: &str,
        geometry: Geometry,
        rank: usize,
        source: io::Error,
    ) -> Self {
        let left = format!("; rank {rank} says what limits it");
        Self::no_room_left(name, geometry, left, source)
    }

    fn no_room_left(name: &str, geometry: Geometry, mut left: String, source: io::Error) -> Self {
        let (records, _) = geometry.record_of(0);
        if let bytes @ 1.. = geometry.total_bytes() - records {
            left += &format!(
                "; record fewer events (now {} of records)",
                text::bytes(bytes as u64)
            );
        }
        Self::NoRoom {
            name: name.to_owned(),
            wanted: geometry.total_bytes(),
            left,
            staging: records - geometry.staging_offset(),
            source,
        }
    }
}

impl fmt::Debug for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<InitError> for CommError {
    fn from(error: InitError) -> Self {
        match error {
            InitError::PeerFailed { cause, .. } => cause,
            other => Self::InitFailed {
                message: other.to_string(),
            },
        }
    }
}

fn by_process(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" by process {pid}"))
}

fn already_member(name: &str, pid: u32) -> String {
    if pid == std::process::id() {
        return format!(
            "this process is a rank of job {name} already: call init once, and split its communicator for a second one"
        );
    }
    format!(
        "process {pid}, from which this one descends, is a rank of job {name}, and this one has inherited its variables: set COBRE_COMM_BACKEND=local to run it alone, or start it with `cobre-launch`"
    )
}
