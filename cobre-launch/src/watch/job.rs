//! The job's shared side: founded before any rank starts, watched until the last has ended.

use cobre_comm_trait::{CommError, FailureCause};
use cobre_shm::board::Progress;
use cobre_shm::observer::{NotFormed, Observer};
use cobre_shm::recording::RankRecord;

pub(crate) use cobre_shm::observer::Membership;

use crate::error::LaunchError;
use crate::plan::Plan;
use crate::watch::scene::{Doing, Place};

/// The job that this launcher founded.
#[derive(Debug)]
pub(crate) struct Job {
    /// The segment's name.
    pub(crate) name: String,
    size: usize,
    observer: Observer,
}

impl Job {
    /// Founds the job `name` for the ranks of `plan`.
    pub(crate) fn found(name: String, plan: &Plan) -> Result<Self, LaunchError> {
        let size = plan.ranks.len();
        let recording = plan.recording.recording();
        let staging = plan.staging.as_deref();
        let observer = Observer::found_with(&name, size, recording, staging).map_err(Box::new)?;
        Ok(Self {
            name,
            size,
            observer,
        })
    }

    /// What `rank` has done about the job so far.
    pub(crate) fn membership(&self, rank: usize) -> Membership {
        self.observer.membership(rank)
    }

    /// Whether `rank` is a member that has not left.
    pub(crate) fn is_joined(&self, rank: usize) -> bool {
        matches!(self.membership(rank), Membership::Joined { .. })
    }

    /// Whether `rank` had been told of a failure before it ended.
    pub(crate) fn saw_failure(&self, rank: usize) -> bool {
        self.observer.saw_failure(rank)
    }

    /// What every rank is doing, or was when it was told of a failure.
    pub(crate) fn scene(&self) -> Vec<Doing> {
        let splits = self.observer.splits();
        let doing = |rank| {
            let membership = match self.membership(rank) {
                // It was there when the job failed, and has left since.
                Membership::Left if self.saw_failure(rank) => Membership::Joined { pid: 0 },
                membership => membership,
            };
            let mut doing = Doing::new(membership, self.observer.activity(rank));
            for (split, number) in splits.iter().zip(1..) {
                let place = Place {
                    number,
                    size: split.size(),
                };
                doing.or_inside(place, split.activity(rank));
            }
            doing
        };
        (0..self.size).map(doing).collect()
    }

    /// A number that changes whenever a rank begins or ends a collective.
    pub(crate) fn progress(&self) -> u64 {
        let steps = |rank| self.observer.steps(rank);
        let own = (0..self.size).map(steps);
        let splits = self.observer.splits();
        let theirs = splits
            .iter()
            .flat_map(|split| (0..split.size()).map(|rank| split.steps(rank)));
        own.chain(theirs).fold(0, u64::wrapping_add)
    }

    /// How far each rank says that it is.
    pub(crate) fn told_progress(&self) -> Vec<Option<Progress>> {
        let told = |rank| self.observer.member(rank).record?.progress;
        (0..self.size).map(told).collect()
    }

    /// Tells every rank that `rank` has failed; the first such report stays.
    pub(crate) fn report_failure(&self, rank: usize, pid: u32, cause: FailureCause) {
        self.observer.report_failure(rank, pid, cause);
    }

    /// Tells who waits for `rank` that its process has exited.
    pub(crate) fn report_exit(&self, rank: usize, pid: u32, code: i32) {
        self.observer.report_exit(rank, pid, code);
    }

    /// The failure that the ranks are told of, if there is one.
    pub(crate) fn first_failure(&self) -> Option<CommError> {
        self.observer.first_failure()
    }

    /// What has kept the job from forming, if something other than the end of a rank has.
    pub(crate) fn not_formed(&self) -> Option<NotFormed> {
        self.observer.not_formed()
    }

    /// What each rank has recorded, if it was to record anything.
    pub(crate) fn records(&self) -> Vec<Option<RankRecord>> {
        let ranks = 0..self.size;
        ranks.map(|rank| self.observer.record(rank)).collect()
    }

    /// Takes the name away, whoever still wants to join; again is no error.
    pub(crate) fn remove_name(&mut self) {
        self.observer.remove_name();
    }
}
