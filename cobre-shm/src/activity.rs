//! What a rank is doing just now, as anybody who maps the job can see.

use core::time::Duration;

use cobre_comm_trait::Call;

use crate::{cell::Members, control::Control, primitive::Ordering, sys::clock};

/// What a rank is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activity {
    /// It has called no collective yet.
    Starting,
    /// It is outside of collectives.
    Computing {
        /// The last call it completed.
        last: Option<Call>,
    },
    /// It is inside a collective: copying, folding, or waiting for a moment.
    Calling {
        /// The collective; `None` if it just began or ended.
        call: Option<Call>,
    },
    /// It sleeps inside a collective until a peer arrives.
    Waiting {
        /// The collective.
        call: Option<Call>,
        /// The peer that has not arrived.
        peer: usize,
        /// For how long it has slept.
        time: Duration,
    },
}

/// What `rank` is doing.
pub(crate) fn of(control: &Control, rank: usize) -> Activity {
    let block = control.block(rank);
    let (number, ended) = block.calls.last();
    if number == 0 {
        return Activity::Starting;
    }
    let call = block.calls.describe(rank, number, &block.sites);
    if ended {
        return Activity::Computing { last: call };
    }
    let waiting = &block.cell.waiting;
    // Acquire matches the Release in `wait::for_round_slowly`.
    let peer = waiting.peer.load(Ordering::Acquire) as usize;
    match peer.checked_sub(1) {
        Some(peer) if peer < control.size() => {
            let since = waiting.since.load(Ordering::Relaxed);
            let time = Duration::from_nanos(clock::now().saturating_sub(since));
            Activity::Waiting { call, peer, time }
        }
        _ => Activity::Calling { call },
    }
}
