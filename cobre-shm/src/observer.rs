//! The launcher's view of a job: it founds the job, watches its ranks and says how they died.

use std::ffi::OsStr;

use cobre_comm_trait::{Activity, CommError, FailureCause};

pub use crate::memory::layout::LAYOUT_VERSION;
use crate::{
    board::{self, Member},
    call::{activity, explain},
    job::{
        config::{self, NAME_VAR, SIZE_VAR},
        error::InitError,
        forming::{self, Named},
        splits,
    },
    memory::{control::Control, layout::MAX_RANKS},
    recording::{self, RankRecord, Recording},
    sync::{
        cell::{ABORTED, EXITED, JOINED, LEFT, Members, PANICKED},
        failure::{self, Failure, Kind},
        primitive::Ordering,
        wait,
    },
};

/// Whether a rank's process is a member of the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Membership {
    /// No process has joined as this rank.
    Absent,
    /// This process is the rank (not always the one that was started: it may be a child of it).
    Joined {
        /// Its number.
        pid: u32,
    },
    /// The rank has left, or its process has exited.
    Left,
    /// The rank left while a panic unwound its stack.
    Panicked,
    /// The rank called `abort`.
    Aborted,
}

/// What kept a job from forming, other than the end of a rank. Ranks get an [`InitError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotFormed {
    /// A rank did not join while others waited.
    #[error(
        "rank {rank} did not join in time (COBRE_SHM_ATTACH_TIMEOUT sets how long others wait)"
    )]
    NeverCame {
        /// The lowest of those that are missing.
        rank: usize,
    },
    /// A rank was told another size.
    #[error("rank {rank} came with COBRE_SHM_SIZE={theirs}")]
    SizeDiffers {
        /// The rank.
        rank: usize,
        /// Its size.
        theirs: usize,
    },
    /// Two processes came as one rank.
    #[error("a second process came as rank {rank}")]
    TakenTwice {
        /// The rank.
        rank: usize,
    },
    /// A rank could not reserve its memory.
    #[error("rank {rank} could not reserve its memory")]
    NoRoom {
        /// The rank.
        rank: usize,
    },
}

/// A job seen from outside, by the process that founded it.
///
/// The ranks take part in it through [`init`](crate::init), with `COBRE_SHM_LAUNCHER` set.
#[derive(Debug)]
pub struct Observer {
    control: Control,
    named: Option<Named>,
}

impl Observer {
    /// Creates the segment of job `name` for `size` ranks, with the staging that `COBRE_SHM_STAGING`
    /// asks for.
    ///
    /// # Errors
    /// See [`InitError`].
    pub fn found(name: &str, size: usize) -> Result<Self, InitError> {
        Self::found_with(name, size, None, None)
    }

    /// The same for a job that is recorded, if `recording` is given, and that has the staging which
    /// `staging` asks for, if that is given: a value of `COBRE_SHM_STAGING`.
    ///
    /// # Errors
    /// See [`InitError`].
    pub fn found_with(
        name: &str,
        size: usize,
        recording: Option<Recording>,
        staging: Option<&OsStr>,
    ) -> Result<Self, InitError> {
        let invalid = |variable, value, expected| InitError::InvalidVariable {
            variable,
            value,
            expected,
        };
        config::check_name(name)
            .map_err(|expected| invalid(NAME_VAR, name.to_owned(), expected))?;
        if !(1..=MAX_RANKS).contains(&size) {
            let expected = format!("from 1 to {MAX_RANKS} ranks");
            return Err(invalid(SIZE_VAR, size.to_string(), expected));
        }
        let staging = staging.map_or_else(config::staging_from_env, config::staging)?;
        let (control, named) = forming::found(name, size, staging, true, recording)?;
        Ok(Self {
            control,
            named: Some(named),
        })
    }

    /// Whether `rank` has joined, and left.
    ///
    /// # Panics
    /// If there is no such rank.
    #[must_use]
    pub fn membership(&self, rank: usize) -> Membership {
        membership(&self.control, rank)
    }

    /// Whether `rank` had been told of a failure: then it is not the first cause of one.
    ///
    /// # Panics
    /// If there is no such rank.
    #[must_use]
    pub fn saw_failure(&self, rank: usize) -> bool {
        let presence = &self.control.cell(rank).presence;
        // Acquire matches the Release of the rank that learns, or fails to join.
        presence.saw_failure.load(Ordering::Acquire) == 1
    }

    /// What `rank` is doing just now; after a failure, what it was doing when it learned of it.
    ///
    /// # Panics
    /// If there is no such rank.
    #[must_use]
    pub fn activity(&self, rank: usize) -> Activity {
        activity::of(&self.control, rank)
    }

    /// What `rank` has recorded so far; `None` if the job is not recorded, or the rank never joined.
    ///
    /// # Panics
    /// If there is no such rank.
    #[must_use]
    pub fn record(&self, rank: usize) -> Option<RankRecord> {
        let record = self.control.record(rank)?;
        // A rank that never joined has reserved no record: touching it might find no memory.
        (self.membership(rank) != Membership::Absent).then(|| recording::read(record))
    }

    /// Rank `rank` with its record on the status board.
    ///
    /// # Panics
    /// If there is no such rank.
    #[must_use]
    pub fn member(&self, rank: usize) -> Member {
        board::job::member(&self.control, rank, None)
    }

    /// How often `rank` has begun or ended a collective: while this stays the same, it makes no
    /// progress that others could see.
    ///
    /// # Panics
    /// If there is no such rank.
    #[must_use]
    pub fn steps(&self, rank: usize) -> u64 {
        steps(&self.control, rank)
    }

    /// Fails the job, unless it has failed already, and wakes every rank that waits.
    ///
    /// # Panics
    /// If there is no such rank.
    pub fn report_failure(&self, rank: usize, pid: u32, cause: FailureCause) {
        let presence = &self.control.cell(rank).presence;
        if presence.pid.load(Ordering::Relaxed) == 0 {
            // It never joined, so nobody else writes this; the error shall name the process.
            presence.pid.store(pid, Ordering::Relaxed);
        }
        let failure = Failure::new(rank, None, Kind::RankFailed(cause));
        // Whether the job is forming or has formed: it may become the one while we try the other.
        if !failure::raise_while_forming(&self.control, failure) {
            failure::raise(&self.control, failure);
        }
        self.wake_splits();
    }

    /// Says that the process `pid`, if it is or was the rank, has exited with `code`. Whoever waits for
    /// the rank is told of the code.
    ///
    /// # Panics
    /// If there is no such rank.
    pub fn report_exit(&self, rank: usize, pid: u32, code: i32) {
        let cell = self.control.cell(rank);
        // Acquire matches the Release of `take_place` and `mark_gone`.
        let state = cell.presence.state.load(Ordering::Acquire);
        let its = cell.presence.pid.load(Ordering::Relaxed) == pid;
        if its && matches!(state, JOINED | LEFT) {
            cell.presence
                .exit_code
                .store(code as u32, Ordering::Relaxed);
            wait::mark_gone(cell, EXITED);
            self.wake_splits();
        }
    }

    /// The communicators split from the job, as far as its living ranks have listed them.
    #[must_use]
    pub fn splits(&self) -> Vec<Split> {
        let open = splits::open(&self.control);
        open.into_iter().map(|control| Split { control }).collect()
    }

    /// Lets who sleeps in a communicator split from the job see what has become of the job.
    fn wake_splits(&self) {
        for split in splits::open(&self.control) {
            (0..split.size()).for_each(|rank| failure::ring(split.cell(rank)));
        }
    }

    /// The job's first failure, as the ranks get it. [`Observer::not_formed`] has those of which a rank
    /// never gets a [`CommError`].
    #[must_use]
    pub fn first_failure(&self) -> Option<CommError> {
        let failure = failure::first(&self.control)?;
        let told = not_formed(failure).is_none();
        told.then(|| explain::explain(&self.control, failure))
    }

    /// What has kept the job from forming, if something other than the end of a rank has.
    #[must_use]
    pub fn not_formed(&self) -> Option<NotFormed> {
        not_formed(failure::first(&self.control)?)
    }

    /// Removes the job's name, if rank 0 has not: nobody can join any more. Also done on drop.
    pub fn remove_name(&mut self) {
        self.named = None;
    }
}

fn not_formed(failure: Failure) -> Option<NotFormed> {
    let rank = failure.rank;
    match failure.kind {
        Kind::NeverCame => Some(NotFormed::NeverCame { rank }),
        Kind::SizeDiffers(theirs) => Some(NotFormed::SizeDiffers {
            rank,
            theirs: theirs as usize,
        }),
        Kind::TakenTwice => Some(NotFormed::TakenTwice { rank }),
        Kind::NoRoom(_) => Some(NotFormed::NoRoom { rank }),
        _ => None,
    }
}

/// A communicator split from a job, seen from outside. Keeps its memory alive: not to be kept.
#[derive(Debug)]
pub struct Split {
    control: Control,
}

impl Split {
    /// The number of its ranks.
    #[must_use]
    pub fn size(&self) -> usize {
        self.control.size()
    }

    /// What `rank` is doing in it; see [`Observer::activity`].
    ///
    /// # Panics
    /// If there is no such rank.
    #[must_use]
    pub fn activity(&self, rank: usize) -> Activity {
        activity::of(&self.control, rank)
    }

    /// How often `rank` has begun or ended a collective of it; see [`Observer::steps`].
    ///
    /// # Panics
    /// If there is no such rank.
    #[must_use]
    pub fn steps(&self, rank: usize) -> u64 {
        steps(&self.control, rank)
    }
}

#[cfg(test)]
impl Split {
    pub(crate) fn control(&self) -> &Control {
        &self.control
    }
}

fn steps(control: &Control, rank: usize) -> u64 {
    let (number, ended) = control.block(rank).calls.last();
    // Anything may have written over the number: it is only ever compared.
    number.wrapping_mul(2).wrapping_add(u64::from(ended))
}

pub(crate) fn membership(control: &Control, rank: usize) -> Membership {
    let presence = &control.cell(rank).presence;
    // Acquire matches the Release of `occupy` and `mark_gone`.
    match presence.state.load(Ordering::Acquire) {
        JOINED => Membership::Joined {
            pid: presence.pid.load(Ordering::Relaxed),
        },
        LEFT | EXITED => Membership::Left,
        PANICKED => Membership::Panicked,
        ABORTED => Membership::Aborted,
        _ => Membership::Absent,
    }
}

#[cfg(test)]
mod tests {
    use super::{EXITED, FailureCause, InitError, Members, Observer, Ordering};
    use crate::{Config, ShmComm, job::names};
    use cobre_comm_trait::CommError;

    /// A rank that ends between taking its place and counting itself: its end may be told before anybody
    /// has seen that its lock is free.
    #[test]
    fn a_job_does_not_wait_for_a_rank_that_has_exited_while_it_forms() {
        for gone in [0, 1] {
            let name = names::random_job_name();
            let observer = Observer::found(&name, 2).unwrap();
            let presence = &observer.control.cell(gone).presence;
            presence.exit_code.store(7, Ordering::Relaxed);
            presence.state.store(EXITED, Ordering::Release);
            let mut config = Config::new(name, 1 - gone, 2);
            config.launcher = Some(std::process::id());
            let told = ShmComm::form(&config).unwrap_err();
            let InitError::PeerFailed { cause, .. } = &told else {
                panic!("{told}")
            };
            assert!(
                matches!(cause, CommError::RankFailed { rank, cause: FailureCause::Exited(Some(7)), .. }
                    if *rank == gone),
                "{cause}"
            );
        }
    }
}
