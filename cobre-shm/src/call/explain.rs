//! From the failure word and the call logs to the error that every rank returns.

use cobre_comm_trait::{Call, CommError, FailureCause};

use crate::{
    call::stall,
    memory::control::Control,
    sync::{
        cell::Members,
        failure::{Failure, Kind},
        primitive::Ordering,
    },
};

/// The job's `failure` as an error: the same on every rank.
pub(crate) fn explain(control: &Control, failure: Failure) -> CommError {
    let rank = failure.rank.min(control.size() - 1);
    match failure.kind {
        Kind::RankFailed(cause) => rank_failed(control, rank, cause, failure),
        Kind::Aborted(code) => CommError::Aborted { rank, code },
        Kind::Mismatch(other) => {
            let other = usize::from(other).min(control.size() - 1);
            mismatch(control, rank, other).unwrap_or(CommError::Corrupted {
                rank: other,
                what: "a round that its calls do not explain",
            })
        }
        Kind::MismatchInSplit(other) => CommError::MismatchInSplit {
            first: rank,
            second: usize::from(other).min(control.size() - 1),
            operation: failure.operation,
        },
        Kind::Rejected => {
            let number = control.block(rank).calls.last_rejected();
            number
                .and_then(|number| call(control, rank, number))
                .map_or(
                    CommError::Corrupted {
                        rank,
                        what: "a rejection without a call",
                    },
                    |call| CommError::PeerRejected {
                        call: Box::new(call),
                    },
                )
        }
        Kind::TimedOut(by) => timed_out(control, usize::from(by), failure),
        Kind::Overwritten => CommError::Corrupted {
            rank,
            what: "a round that it did not publish",
        },
        Kind::Unknown => CommError::Corrupted {
            rank,
            what: "a failure of no known kind",
        },
        // These occur while forming only, where they become errors of their own.
        Kind::SizeDiffers(_) | Kind::TakenTwice | Kind::NeverCame | Kind::NoRoom(_) => {
            rank_failed(control, rank, FailureCause::Died, failure)
        }
    }
}

fn rank_failed(control: &Control, rank: usize, cause: FailureCause, failure: Failure) -> CommError {
    CommError::RankFailed {
        rank,
        pid: control.cell(rank).presence.pid.load(Ordering::Relaxed),
        cause,
        operation: failure.operation,
    }
}

fn timed_out(control: &Control, by: usize, failure: Failure) -> CommError {
    let by = by.min(control.size() - 1);
    let stall = stall::read(control, by);
    match failure.operation {
        Some(operation) => CommError::Timeout {
            operation,
            rank: by,
            waited: stall.waited,
            missing: stall.missing,
            more: stall.more,
        },
        None => CommError::Corrupted {
            rank: by,
            what: "a timeout without an operation",
        },
    }
}

fn mismatch(control: &Control, low: usize, high: usize) -> Option<CommError> {
    let calls = |rank: usize| &control.block(rank).calls;
    let number = calls(low).first_difference(calls(high))?;
    Some(CommError::Mismatch {
        first: Box::new(call(control, low, number)?),
        second: Box::new(call(control, high, number)?),
    })
}

fn call(control: &Control, rank: usize, number: u64) -> Option<Call> {
    let block = control.block(rank);
    block.calls.describe(rank, number, &block.sites)
}
