//! The calls that ranks have made by the time they leave.
//!
//! A rank that waits notices a disagreement. Nobody waits for anything after the last call: two ranks that
//! each were the root of a last broadcast would go their ways. So a rank that leaves shows what it has
//! called, and compares that with what those have called that left before. Of two that leave at the
//! same moment at least one sees the other ([`crate::sync::parting`]), so the last one has compared with all.

use cobre_comm_trait::FailureCause;

use crate::{
    memory::control::Control,
    sync::{
        cell::{EXITED, Members},
        failure::{self, Failure, Kind},
        parting::Called,
        primitive::Ordering,
    },
};

/// Fails the job if a rank that has left has called something else than `rank`, which has called `mine`, has
/// shown that it has left too and then passed the full fence of
/// [`mark_gone`](crate::sync::wait::mark_gone).
pub(crate) fn compare(mine: Called, control: &Control, rank: usize) {
    // After a failure ranks stop where they learn of it.
    if control.first_failure().is_some() {
        return;
    }
    let shown = |peer| Some((peer, Called::shown(&control.cell(peer).presence)?));
    let peers = (0..control.size()).filter(|&peer| peer != rank);
    let odd = peers.filter_map(shown).find(|&(_, theirs)| theirs != mine);
    let Some((peer, theirs)) = odd else {
        return;
    };
    let failure = disagreement(control, (rank, mine), (peer, theirs));
    control.fail(failure);
    if control.parent().is_some() {
        // Of this communicator nobody may be left to be told, and no launcher looks at it once it is gone.
        // A u16 holds every rank: `layout` limits the size.
        let in_split = Kind::MismatchInSplit(rank.max(peer) as u16);
        let failure = Failure::new(rank.min(peer), failure.operation, in_split);
        failure::raise(control.root(), failure);
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
