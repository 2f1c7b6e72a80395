//! One rank's membership: what the communicator and its windows share.

use core::{panic::Location, time::Duration};
use std::sync::{Arc, Mutex, TryLockError};

use cobre_comm_trait::{CommError, FailureCause, Operation};

use crate::{
    board::{Publisher, job::RankHome, refresher::Refresher},
    call::{explain, log::Signature, sites::SiteIndex},
    collective::JobRounds,
    memory::control::Control,
    point,
    recording::Recorder,
    sync::{
        cell::{LEFT, Members, PANICKED},
        failure::{Failure, Kind},
        patience::{Patience, WaitPolicy},
        primitive::{AtomicU64, Ordering},
        round::{RoundState, Rounds},
        wait::{self, Stopped},
    },
    sys::process,
};

/// A place in the source, of whoever called the collective.
pub(crate) type Site = &'static Location<'static>;

/// One rank of a formed job. Dropping it leaves the job, without a barrier.
#[derive(Debug)]
pub(crate) struct Core {
    control: Arc<Control>,
    rank: usize,
    policy: WaitPolicy,
    /// Nanoseconds that a call may wait for a peer; 0: for ever.
    timeout: AtomicU64,
    /// In a job that is recorded.
    recorder: Option<Arc<Recorder>>,
    /// The process generation that joined; a forked child's differs.
    generation: u32,
    progress: Mutex<Progress>,
    status: Publisher,
    /// Keeps `status` current; ends with this.
    refresher: Option<Refresher>,
}

/// What changes with every collective: one thread at a time.
#[derive(Debug)]
struct Progress {
    calls: u64,
    rounds: RoundState,
    sites: SiteIndex,
}

impl Core {
    pub(crate) fn new(control: Control, rank: usize, policy: WaitPolicy) -> Self {
        let patience = Patience::for_job(policy, control.shares_cores());
        let control = Arc::new(control);
        Self {
            policy,
            timeout: AtomicU64::new(0),
            recorder: Recorder::new(&control, rank),
            status: Publisher::new(RankHome {
                control: Arc::clone(&control),
                rank,
            }),
            refresher: None,
            control,
            rank,
            generation: process::generation(),
            progress: Mutex::new(Progress {
                calls: 0,
                rounds: RoundState::new(patience),
                sites: SiteIndex::new(),
            }),
        }
    }

    /// This rank with its calls recorded by `recorder`, if there is one: that of the communicator it
    /// was split from.
    pub(crate) fn recorded_by(mut self, recorder: Option<&Arc<Recorder>>) -> Self {
        self.recorder = recorder.cloned();
        self
    }

    /// How long a call may wait for a peer.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        // Relaxed: it concerns calls that begin later, by whoever set it or was told.
        match self.timeout.load(Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }

    /// This rank with a thread that refreshes its record every `interval`, if there is one.
    pub(crate) fn refreshing(mut self, interval: Option<Duration>) -> Self {
        self.refresher = interval.map(|interval| Refresher::start(&self.status, interval));
        self
    }

    /// This rank's record on the status board.
    pub(crate) fn status(&self) -> &Publisher {
        &self.status
    }

    pub(crate) fn set_timeout(&self, timeout: Option<Duration>) {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1);
        self.timeout
            .store(timeout.map_or(0, nanos), Ordering::Relaxed);
    }

    /// How many threads this rank may use while all ranks do the same: its processors, divided among the
    /// ranks that have the same ones.
    pub(crate) fn threads(&self) -> usize {
        let place = |rank| self.control.place(rank);
        let sharers = place(self.rank).sharers((0..self.size()).map(place));
        let own = std::thread::available_parallelism().map_or(1, usize::from);
        (own / sharers).max(1)
    }

    pub(crate) fn control(&self) -> &Arc<Control> {
        &self.control
    }

    pub(crate) fn rank(&self) -> usize {
        self.rank
    }

    pub(crate) fn recorder(&self) -> Option<&Arc<Recorder>> {
        self.recorder.as_ref()
    }

    pub(crate) fn size(&self) -> usize {
        self.control.size()
    }

    /// How this rank waits.
    pub(crate) fn policy(&self) -> WaitPolicy {
        self.policy
    }

    /// Runs one collective: admits the call, records and signs it, and turns a stop into the job's
    /// first failure.
    ///
    /// `checked` is what the check of the arguments said. If it is an error this rank tells its peers
    /// and returns it.
    pub(crate) fn collective<R>(
        &self,
        signature: Signature,
        site: Site,
        checked: Result<(), CommError>,
        body: impl FnOnce(&mut JobRounds<'_>) -> Result<R, Stopped>,
    ) -> Result<R, CommError> {
        let operation = signature.operation;
        if self.is_forked() {
            return Err(CommError::Forked { operation });
        }
        let mut progress = match self.progress.try_lock() {
            Ok(progress) => progress,
            Err(TryLockError::WouldBlock) => return Err(CommError::Busy { operation }),
            // A panic inside a collective is our own bug; what the peers see of it is still true.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        };
        let Progress {
            calls,
            rounds,
            sites,
        } = &mut *progress;
        // Nothing is recorded any more, so that what the ranks disagreed about stays readable.
        if self.control.first_failure().is_some() {
            return Err(checked.err().unwrap_or_else(|| self.learn()));
        }
        // A destructor of a rank that is failing: its peers are in another call, which may look the same.
        if std::thread::panicking() && self.size() > 1 {
            self.fail(Some(operation), Kind::RankFailed(FailureCause::Panicked));
            return Err(self.learn());
        }
        *calls += 1;
        let block = self.control.block(self.rank);
        let signature = Signature {
            rejected: checked.is_err(),
            ..signature
        };
        let hash = signature.hash();
        let number = sites.number(site, &block.sites);
        block.calls.record(*calls, &signature, hash, number);
        point::reached("enter");
        if let Err(error) = checked {
            if self.size() > 1 {
                self.fail(Some(operation), Kind::Rejected);
            }
            return Err(error);
        }
        let recorder = self.recorder.as_deref();
        let tally = recorder.map(|recorder| recorder.begin(*calls, &signature, site));
        rounds.limit_waits(self.timeout());
        let mut rounds = Rounds::begin(&*self.control, self.rank, operation, hash, rounds);
        if let Some(tally) = &tally {
            tally.begins_with(rounds.watched_by(tally));
        }
        let outcome = body(&mut rounds);
        if let Some(tally) = tally {
            tally.end();
        }
        if outcome.is_ok() {
            block.calls.end(*calls);
            point::reached("done");
        }
        outcome.map_err(|Stopped| self.learn())
    }

    /// Fails the job with this rank as the cause.
    pub(crate) fn fail(&self, operation: Option<Operation>, kind: Kind) {
        self.control.fail(Failure::new(self.rank, operation, kind));
    }

    /// The job's first failure, if there is one, which this rank has now been told of.
    pub(crate) fn failed(&self) -> Option<CommError> {
        self.control.first_failure().map(|_| self.learn())
    }

    /// The job's first failure, which this rank has now been told of.
    #[cold]
    fn learn(&self) -> CommError {
        // Where the launcher looks; Release matches the Acquire in `Observer::saw_failure`.
        let presence = &self.control.root().cell(self.rank).presence;
        presence.saw_failure.store(1, Ordering::Release);
        self.control.first_failure().map_or_else(
            || CommError::Corrupted {
                rank: self.rank,
                what: "no failure any more",
            },
            |failure| explain::explain(&self.control, failure),
        )
    }

    /// Whether this is a child that the rank's process forked.
    pub(crate) fn is_forked(&self) -> bool {
        self.generation != process::generation()
    }

    /// Tells the peers that this rank will publish no more. Does nothing in a forked child, whose
    /// parent is the rank.
    pub(crate) fn leave(&self, state: u32) {
        if !self.is_forked() {
            if let Some(recorder) = &self.recorder {
                recorder.end();
            }
            self.control.unlist(self.rank);
            wait::mark_gone(self.control.cell(self.rank), state);
        }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if std::thread::panicking() {
            if !self.is_forked() {
                self.fail(None, Kind::RankFailed(FailureCause::Panicked));
            }
            self.leave(PANICKED);
        } else {
            self.leave(LEFT);
        }
    }
}
