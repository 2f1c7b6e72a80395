//! The board of a job: a record in every rank's block, and what the call logs say.

use std::sync::Arc;

use super::{
    member::Member,
    publisher::Home,
    record::{Record, RecordLatch, State},
};
use crate::{
    call::activity::{self, Activity},
    memory::control::Control,
    sync::{
        cell::{ABSENT, JOINED, Members},
        primitive::Ordering,
    },
};

/// The record of one rank in the control region.
#[derive(Debug)]
pub(crate) struct RankHome {
    pub(crate) control: Arc<Control>,
    pub(crate) rank: usize,
}

impl Home for RankHome {
    fn latch(&self) -> &RecordLatch {
        &self.control.block(self.rank).board
    }
}

/// Rank `rank` as the control region shows it to the rank `own`, or to an observer.
pub(crate) fn member(control: &Control, rank: usize, own: Option<usize>) -> Member {
    let presence = &control.cell(rank).presence;
    let pid = presence.pid.load(Ordering::Relaxed);
    // The rank has one, in the job that it joined first.
    let record = Record::read(&control.root().block(rank).board);
    let activity = activity::of(control, rank);
    let here = own == Some(rank) || (is_member(control, rank) && control.is_alive(rank));
    Member {
        index: rank,
        name: format!("rank {rank}"),
        pid: (pid != 0).then_some(pid),
        alive: here,
        weight: 1.0,
        class: 0,
        state: state(control, rank, record.as_ref(), &activity),
        record,
        activity: Some(activity),
    }
}

/// What `rank` is doing, by its presence, what it last said and its call log.
pub(crate) fn state(
    control: &Control,
    rank: usize,
    said: Option<&Record>,
    activity: &Activity,
) -> State {
    // Acquire matches the Release of `occupy` and `mark_gone`.
    match control.cell(rank).presence.state.load(Ordering::Acquire) {
        ABSENT => return State::Starting,
        JOINED => {}
        _ => return State::Shutdown,
    }
    let said = said.map_or(State::Starting, |record| record.load.state);
    match (activity, said) {
        (Activity::Waiting { .. }, _) => State::Waiting,
        // Inside a collective it does not take work, whatever it said before.
        (Activity::Calling { .. }, _) => State::Busy,
        // It has said nothing: what it does between collectives is work.
        (Activity::Computing { .. }, State::Starting) => State::Busy,
        (_, said) => said,
    }
}

fn is_member(control: &Control, rank: usize) -> bool {
    control.cell(rank).presence.state.load(Ordering::Acquire) == JOINED
}
