//! One rank's membership: what the communicator and its windows share.

use core::{panic::Location, time::Duration};
use std::{
    sync::{Arc, Mutex, MutexGuard, TryLockError},
    thread,
};

use cobre_comm_trait::{Call, CommError, FailureCause, Operation};

use crate::{
    board::{Publisher, job::RankHome, refresher::Refresher},
    call::{explain, log::Signature, parting, sites::SiteIndex},
    collective::JobRounds,
    memory::control::Control,
    point,
    recording::Recorder,
    sync::{
        cell::{LEFT, Members, PANICKED},
        failure::{Failure, Kind},
        parting::Called,
        patience::{Patience, WaitPolicy},
        primitive::{AtomicU32, AtomicU64, Ordering},
        round::{RoundState, Rounds},
        wait::{self, Stopped},
    },
    sys::{callback::Callback, process, waited::Waited},
};

/// A place in the source, of whoever called the collective.
pub(crate) type Site = &'static Location<'static>;

/// One rank of a formed job. The program leaves the job when it drops its communicator; the memory of
/// its windows, which have this too, stays.
#[derive(Debug)]
pub(crate) struct Core {
    control: Arc<Control>,
    rank: usize,
    policy: WaitPolicy,
    /// Nanoseconds that a call may wait for a peer; 0: for ever.
    timeout: AtomicU64,
    /// In a job that is recorded.
    recorder: Option<Arc<Recorder>>,
    /// The process generation that is the rank, a forked child's differs; or [`GONE`].
    generation: AtomicU32,
    progress: Mutex<Progress>,
    /// Code of the program that runs within an operation.
    filling: Callback,
    status: Publisher,
    /// Keeps `status` current; ends with this.
    refresher: Option<Refresher>,
}

/// The generation of a rank that has left.
const GONE: u32 = u32::MAX;

/// How long a call sleeps that waits for its turn, at first and at most.
const FIRST_NAP: Duration = Duration::from_micros(20);
const LAST_NAP: Duration = Duration::from_millis(1);

/// What changes with every collective: one thread at a time.
#[derive(Debug)]
struct Progress {
    calls: u64,
    rounds: RoundState,
    sites: SiteIndex,
    /// What was wrong with arguments of this rank, for which the job has failed.
    rejected: Option<CommError>,
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
            generation: AtomicU32::new(process::generation()),
            filling: Callback::default(),
            progress: Mutex::new(Progress {
                calls: 0,
                rounds: RoundState::new(patience),
                sites: SiteIndex::new(),
                rejected: None,
            }),
        }
    }

    /// This rank of a communicator that was split from that of `parent`: they have one record of their
    /// calls, and one status.
    pub(crate) fn split_from(mut self, parent: &Self) -> Self {
        self.recorder.clone_from(&parent.recorder);
        if let Some(recorder) = &self.recorder {
            recorder.join();
        }
        self.status = parent.status.clone();
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

    #[cfg(feature = "tracing")]
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

    /// Runs an operation that is one collective; see [`Turn::collective`].
    pub(crate) fn collective<R>(
        &self,
        signature: Signature,
        site: Site,
        checked: Result<(), CommError>,
        body: impl FnOnce(&mut JobRounds<'_>) -> Result<R, Stopped>,
    ) -> Result<R, CommError> {
        let Some(mut turn) = self.take() else {
            return Err(self.refusal(signature.operation));
        };
        turn.collective(signature, site, checked, body)
    }

    /// Gives this thread the communicator for one operation, if no other thread has it.
    pub(crate) fn turn(&self, operation: Operation) -> Result<Turn<'_>, CommError> {
        self.take().ok_or_else(|| self.refusal(operation))
    }

    /// As [`turn`](Self::turn), but waits while another thread has the communicator: for an operation
    /// that has taken a window by value, which would be lost. It gives up when the job has failed, and
    /// after the time for which a call may wait: the other one may wait for this.
    #[inline]
    pub(crate) fn next_turn(&self, operation: Operation) -> Result<Turn<'_>, CommError> {
        self.take().map_or_else(|| self.await_turn(operation), Ok)
    }

    #[cold]
    fn await_turn(&self, operation: Operation) -> Result<Turn<'_>, CommError> {
        let waited = Waited::begin();
        let mut nap = FIRST_NAP;
        loop {
            let turn = self.turn(operation);
            // If this very thread has it, it would wait for itself.
            if !matches!(turn, Err(CommError::Busy { .. })) || self.filling.is_here() {
                return turn;
            }
            if let Some(failed) = self.failed() {
                return Err(failed);
            }
            let limit = self.timeout();
            if limit.is_some_and(|limit| waited.time(nap) >= limit) {
                return turn;
            }
            // Not on the lock: nobody would wake this thread when the job fails.
            thread::sleep(nap);
            nap = LAST_NAP.min(2 * nap);
        }
    }

    #[inline]
    fn take(&self) -> Option<Turn<'_>> {
        let progress = match self.progress.try_lock() {
            Ok(progress) => progress,
            // A panic inside a collective is our own bug; what the peers see of it is still true.
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        // With the lock: a thread that leaves looks afterwards at what has been called, so either it
        // sees this call, or this sees that the rank has left.
        self.is_member().then_some(Turn {
            core: self,
            progress,
        })
    }

    /// Whether this process is the rank, and still is.
    #[inline]
    fn is_member(&self) -> bool {
        // Relaxed: the lock of `progress` orders it where that matters. A program that forks while
        // another thread calls orders the two itself.
        self.generation.load(Ordering::Relaxed) == process::generation()
    }

    /// Why a thread does not get the communicator.
    #[cold]
    fn refusal(&self, operation: Operation) -> CommError {
        match self.generation.load(Ordering::Relaxed) {
            GONE => CommError::Left { operation },
            _ if self.is_forked() => CommError::Forked { operation },
            _ => CommError::Busy { operation },
        }
    }

    /// The error of this rank about the arguments of its call `number`. (It is not in the log if the job
    /// had failed before.)
    #[cold]
    fn rejected(
        &self,
        number: u64,
        signature: &Signature,
        site: Site,
        reason: CommError,
    ) -> CommError {
        let place = format!("{}:{}", site.file(), site.line());
        let (operation, arguments) = (signature.operation, signature.arguments());
        let call = Call::new(self.rank, number, operation, arguments, Some(place));
        CommError::Rejected {
            call: Box::new(call),
            reason: Box::new(reason),
        }
    }

    /// The error of a call after the job has failed: what is wrong with its arguments, what was wrong
    /// with those for which the job has failed, or the job's failure.
    #[cold]
    fn too_late(
        &self,
        checked: Result<(), (u64, &Signature, Site, CommError)>,
        rejected: Option<&CommError>,
    ) -> CommError {
        if let Err((number, signature, site, reason)) = checked {
            return self.rejected(number, signature, site, reason);
        }
        let failure = self.control.first_failure();
        let is_own = |failure: Failure| (failure.rank, failure.kind) == (self.rank, Kind::Rejected);
        match rejected {
            Some(own) if failure.is_some_and(is_own) => own.clone(),
            _ => self.learn(),
        }
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
                what: "that the failure recorded there is gone",
            },
            |failure| explain::explain(&self.control, failure),
        )
    }

    /// Whether this is a child that the rank's process forked.
    pub(crate) fn is_forked(&self) -> bool {
        let member = self.generation.load(Ordering::Relaxed);
        member != GONE && member != process::generation()
    }

    /// Leaves as a program does that drops its communicator: as panicked while a panic unwinds the stack.
    pub(crate) fn depart(&self) {
        if !std::thread::panicking() {
            self.leave(LEFT);
        } else if self.is_member() {
            self.fail(None, Kind::RankFailed(FailureCause::Panicked));
            self.leave(PANICKED);
        }
    }

    /// What this rank has called; `None` within a call, if the process exits there.
    fn called(&self) -> Option<Called> {
        let progress = self.progress.try_lock().ok()?;
        Some(Called {
            calls: progress.calls,
            signature: progress.rounds.signature(),
        })
    }

    /// Tells the peers that this rank will publish no more, once. Does nothing in a forked child, whose
    /// parent is the rank.
    pub(crate) fn leave(&self, state: u32) {
        // Relaxed: only who changes it goes on.
        let gone = self.generation.compare_exchange(
            process::generation(),
            GONE,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        if gone.is_ok() {
            if let Some(recorder) = &self.recorder {
                recorder.leave();
            }
            self.control.unlist(self.rank);
            let cell = self.control.cell(self.rank);
            let called = (state == LEFT).then(|| self.called()).flatten();
            if let Some(called) = called {
                called.show(&cell.presence);
            }
            wait::mark_gone(cell, state);
            if let Some(called) = called {
                parting::compare(called, &self.control, self.rank);
            }
        }
    }
}

/// The right to call, of one thread, for one operation; that may be several collectives.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    core: &'a Core,
    progress: MutexGuard<'a, Progress>,
}

impl Turn<'_> {
    /// Runs one collective: admits the call, records and signs it, and turns a stop into the job's
    /// first failure.
    ///
    /// `checked` is what the check of the arguments said. If it is an error this rank tells its peers
    /// and returns it.
    // What it is given is 200 bytes: in one function with its caller they are not copied.
    #[inline(always)]
    pub(crate) fn collective<R>(
        &mut self,
        signature: Signature,
        site: Site,
        checked: Result<(), CommError>,
        body: impl FnOnce(&mut JobRounds<'_>) -> Result<R, Stopped>,
    ) -> Result<R, CommError> {
        let core = self.core;
        let operation = signature.operation;
        let Progress {
            calls,
            rounds,
            sites,
            rejected,
        } = &mut *self.progress;
        // Nothing is recorded any more, so that what the ranks disagreed about stays readable.
        if core.control.first_failure().is_some() {
            let checked = checked.map_err(|reason| (*calls + 1, &signature, site, reason));
            return Err(core.too_late(checked, rejected.as_ref()));
        }
        // A destructor of a rank that is failing: its peers are in another call, which may look the same.
        if std::thread::panicking() && core.size() > 1 {
            core.fail(Some(operation), Kind::RankFailed(FailureCause::Panicked));
            return Err(core.learn());
        }
        *calls += 1;
        let block = core.control.block(core.rank);
        let signature = Signature {
            rejected: checked.is_err(),
            ..signature
        };
        let hash = signature.hash();
        let number = sites.number(site, &block.sites);
        block.calls.record(*calls, &signature, hash, number);
        point::reached("enter");
        if let Err(reason) = checked {
            let error = core.rejected(*calls, &signature, site, reason);
            if core.size() > 1 {
                *rejected = Some(error.clone());
                core.fail(Some(operation), Kind::Rejected);
            }
            return Err(error);
        }
        let recorder = core.recorder.as_deref();
        let tally = recorder.map(|recorder| recorder.begin(*calls, &signature, site));
        rounds.limit_waits(core.timeout());
        let mut rounds = Rounds::begin(&*core.control, core.rank, operation, hash, rounds);
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
        outcome.map_err(|Stopped| core.learn())
    }

    /// Runs code of the program within the operation: collectives that it calls are refused.
    pub(crate) fn fill<R>(&mut self, write: impl FnOnce() -> R) -> R {
        self.core.filling.run(write)
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.depart();
    }
}
