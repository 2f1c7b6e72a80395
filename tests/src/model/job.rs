//! The meeting point of the ranks.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use cobre_comm_trait::{Call, CommError, FailureCause, Operation};

use super::Fault;

/// One job: everything that its ranks share.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) size: usize,
    pub(super) fault: Fault,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// By number of the call.
    rounds: HashMap<u64, Round>,
    /// Jobs split off, by the number of the call.
    children: HashMap<u64, Arc<Job>>,
    gone: HashMap<usize, FailureCause>,
    poison: Option<CommError>,
    /// The number of the call that failed first.
    poisoned_at: u64,
}

#[derive(Debug, Default)]
struct Round {
    brought: HashMap<usize, Brought>,
    taken: usize,
}

/// What a rank brings to a collective.
#[derive(Clone, Debug)]
pub(super) struct Brought {
    pub(super) call: Call,
    /// What must be equal on all ranks, besides operation and arguments.
    pub(super) agreed: Vec<usize>,
    pub(super) bytes: Arc<Vec<u8>>,
}

impl Job {
    pub(super) fn new(size: usize, fault: Fault) -> Arc<Self> {
        Arc::new(Self {
            size,
            fault,
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first cause, if the job has failed.
    pub(super) fn failed(&self) -> Result<(), CommError> {
        match &self.lock().poison {
            Some(_) if self.fault == Fault::ForgottenCause => Err(CommError::Corrupted {
                rank: 0,
                what: "the first cause is forgotten",
            }),
            Some(cause) if self.fault != Fault::NoPoison => Err(cause.clone()),
            _ => Ok(()),
        }
    }

    /// A rank has rejected its own arguments.
    pub(super) fn reject(&self, mut call: Call) {
        if self.fault == Fault::WrongCulprit {
            call.rank = (call.rank + 1) % self.size;
        }
        let mut state = self.lock();
        state.poisoned_at = call.number;
        state.poison.get_or_insert(CommError::PeerRejected {
            call: Box::new(call),
        });
        self.changed.notify_all();
    }

    /// A rank has left. If it panicked, that fails the job; else it does when somebody needs it.
    pub(super) fn leave(&self, rank: usize, cause: FailureCause) {
        let mut state = self.lock();
        state.gone.entry(rank).or_insert(cause);
        if cause == FailureCause::Panicked && state.poison.is_none() {
            state.poisoned_at = u64::MAX;
            state.poison = Some(CommError::RankFailed {
                rank,
                pid: std::process::id(),
                cause,
                operation: None,
            });
        }
        self.changed.notify_all();
    }

    /// The job that all ranks split off by the call of this number.
    pub(super) fn child(&self, number: u64) -> Arc<Self> {
        let mut state = self.lock();
        let child = || Self::new(self.size, self.fault);
        Arc::clone(state.children.entry(number).or_insert_with(child))
    }

    /// Brings `brought` and returns what everybody brought, in rank order.
    pub(super) fn meet(&self, brought: Brought) -> Result<Vec<Arc<Vec<u8>>>, CommError> {
        let (rank, number) = (brought.call.rank, brought.call.number);
        let operation = brought.call.operation;
        self.failed()?;
        let mut guard = self.lock();
        let state = &mut *guard;
        let round = state.rounds.entry(number).or_default();
        let odd = (0..self.size)
            .filter_map(|peer| round.brought.get(&peer))
            .find(|other| !self.alike(other, &brought))
            .map(|other| self.mismatch(&other.call, &brought.call));
        round.brought.insert(rank, brought);
        if let Some(odd) = odd {
            state.poisoned_at = number;
            state.poison.get_or_insert(odd);
        }
        self.changed.notify_all();
        loop {
            let state = &mut *guard;
            let forgotten = self.fault == Fault::NoPoison && state.poisoned_at < number;
            let round = state.rounds.entry(number).or_default();
            if round.brought.len() == self.size
                && (state.poison.is_none() || forgotten || round.taken > 0)
            {
                let all = (0..self.size)
                    .map(|peer| Arc::clone(&round.brought[&peer].bytes))
                    .collect();
                round.taken += 1;
                if round.taken == self.size {
                    state.rounds.remove(&number);
                }
                return Ok(all);
            }
            if let Some(cause) = state.poison.as_ref().filter(|_| !forgotten) {
                return Err(self.told(rank, cause));
            }
            let missing = |peer: &&usize| !round.brought.contains_key(peer);
            if let Some(&absent) = state.gone.keys().filter(missing).min() {
                let failed = CommError::RankFailed {
                    rank: absent,
                    pid: std::process::id(),
                    cause: state.gone[&absent],
                    operation: Some(operation),
                };
                state.poisoned_at = u64::MAX;
                state.poison = Some(failed);
                self.changed.notify_all();
                continue;
            }
            let waited = self.changed.wait(guard);
            guard = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn alike(&self, one: &Brought, other: &Brought) -> bool {
        let same_agreed = match (self.fault, one.call.operation) {
            (Fault::IgnoredCounts, Operation::Allgatherv) => true,
            (Fault::IgnoredRoot, Operation::Broadcast) => true,
            (Fault::IgnoredReduceOp, Operation::Allreduce) => true,
            _ => one.agreed == other.agreed,
        };
        let same_arguments = same_agreed && self.fault == Fault::IgnoredElement
            || one.call.arguments == other.call.arguments;
        let any_arguments = matches!(
            self.fault,
            Fault::IgnoredCounts | Fault::IgnoredRoot | Fault::IgnoredReduceOp
        );
        one.call.operation == other.call.operation
            && same_agreed
            && (any_arguments || same_arguments)
    }

    fn mismatch(&self, one: &Call, other: &Call) -> CommError {
        let (first, second) = if one.rank < other.rank {
            (one, other)
        } else {
            (other, one)
        };
        let copy = |call: &Call| {
            let mut call = call.clone();
            if self.fault == Fault::NoPlace {
                call.location = None;
            }
            Box::new(call)
        };
        CommError::Mismatch {
            first: copy(first),
            second: copy(second),
        }
    }

    /// The cause, as `rank` is told.
    fn told(&self, rank: usize, cause: &CommError) -> CommError {
        match cause {
            CommError::Mismatch { first, second }
                if self.fault == Fault::AnotherPair && rank == self.size - 1 =>
            {
                let mut first = first.clone();
                first.arguments += " or so";
                CommError::Mismatch {
                    first,
                    second: second.clone(),
                }
            }
            cause => cause.clone(),
        }
    }
}
