//! The calls that ranks have made by the time they leave.
//!
//! A rank that waits notices a disagreement. Nobody waits for anything after the last call: two ranks that
//! each were the root of a last broadcast would go their ways. So a rank that leaves shows what it has
//! called, and compares that with what those have called that left before. Of two that leave at the
//! same moment at least one sees the other, so the last one has compared with all.

use cobre_comm_trait::FailureCause;

use crate::{
    memory::control::Control,
    sync::{
        cell::{EXITED, LEFT, Members, Presence},
        failure::{Failure, Kind},
        primitive::Ordering,
    },
};

/// All calls of one rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Called {
    /// How many.
    pub(crate) calls: u64,
    /// The running signature of all of them.
    pub(crate) signature: u64,
}

impl Called {
    /// Shows it to ranks that leave later; before the rank's state says that it has left.
    pub(crate) fn show(self, presence: &Presence) {
        // Relaxed: made visible by the Release of `mark_gone`.
        presence.calls.store(self.calls + 1, Ordering::Relaxed);
        presence.signature.store(self.signature, Ordering::Relaxed);
    }

    /// What a rank showed that has left; `None` if it left within a call, or by no leave of its own.
    fn shown(presence: &Presence) -> Option<Self> {
        // Acquire matches the Release of `mark_gone`.
        matches!(presence.state.load(Ordering::Acquire), LEFT | EXITED).then_some(())?;
        Some(Self {
            calls: presence.calls.load(Ordering::Relaxed).checked_sub(1)?,
            signature: presence.signature.load(Ordering::Relaxed),
        })
    }

    /// Fails the job if a rank that has left has called something else than `rank`, which has shown that
    /// it has left too and then passed the full fence of [`mark_gone`](crate::sync::wait::mark_gone).
    pub(crate) fn compare(self, control: &Control, rank: usize) {
        // After a failure ranks stop where they learn of it.
        if control.first_failure().is_some() {
            return;
        }
        let shown = |peer| Some((peer, Self::shown(&control.cell(peer).presence)?));
        let peers = (0..control.size()).filter(|&peer| peer != rank);
        let odd = peers.filter_map(shown).find(|&(_, theirs)| theirs != self);
        if let Some((peer, theirs)) = odd {
            control.fail(disagreement(control, (rank, self), (peer, theirs)));
        }
    }
}

fn disagreement(control: &Control, one: (usize, Called), other: (usize, Called)) -> Failure {
    let calls = |rank| &control.block(rank).calls;
    let [(less, fewer), (more, _)] = if one.1.calls <= other.1.calls {
        [one, other]
    } else {
        [other, one]
    };
    if calls(less).first_difference(calls(more)).is_none() && one.1.calls != other.1.calls {
        // They agree as far as the one goes, which has left before the next call of the other.
        let missed = calls(more).operation(fewer.calls + 1);
        let presence = &control.cell(less).presence;
        let code = (presence.state.load(Ordering::Acquire) == EXITED)
            .then(|| presence.exit_code.load(Ordering::Relaxed) as i32);
        return Failure::new(less, missed, Kind::RankFailed(FailureCause::Exited(code)));
    }
    let (low, high) = (less.min(more), less.max(more));
    // A u16 holds every rank: `layout` limits the size.
    Failure::new(
        low,
        calls(low).operation(fewer.calls),
        Kind::Mismatch(high as u16),
    )
}
