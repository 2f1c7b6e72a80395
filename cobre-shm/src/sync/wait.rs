//! Waiting for one rank to publish one round: spin, then yield, then sleep.
//!
//! # Protocol
//!
//! A *publisher* P stores its slot's round, changes its doorbell, passes a full fence, and looks for
//! sleepers. A *waiter* S that has spun and yielded in vain goes to sleep on P's doorbell:
//!
//! 1. S announces itself: `sleepers += 1` of P's cell.
//! 2. S passes a full fence.
//! 3. S reads the doorbell word.
//! 4. S looks once more: has the round arrived, has the job failed, has P left?
//! 5. S sleeps while the word still holds what it read in 3.
//! 6. S withdraws: `sleepers -= 1`.
//!
//! *The race.* P publishes while S falls asleep. The two full fences are ordered one way or the
//! other. If S's comes first, P sees S announced and wakes it: either S sleeps already, or it comes
//! to step 5 after P's wake, and finds the word changed. If P's comes first, S sees the round in
//! step 4. One case is left: S reads the *new* word in step 3; then it must also see the round in
//! step 4, or it would sleep on a word that nobody changes any more. The word's Release and Acquire
//! see to that. Failures and departures ring the doorbell in the same way ([`failure::ring`]).
//!
//! *A formal gap.* The owner's plain store of the word may replace a ring by another rank, and a
//! sleeper that reads the owner's value is not ordered after that ring by the language's rules. On
//! machines where a store becomes visible to all others at once (x86, ARMv8) it is ordered all the
//! same; elsewhere such a failure would be seen when the nap ends.
//!
//! Every wait ends in one of these ways: the round arrived; the job failed; P left, panicked or
//! died before publishing (which fails the job); the memory does not show what was published (which
//! fails it too); it took longer than the program or `COBRE_SHM_TIMEOUT` allows (likewise).

use core::time::Duration;
use std::time::Instant;

use cobre_comm_trait::{FailureCause, Operation};

use crate::{
    point,
    sync::{
        cell::{ABORTED, EXITED, JOINED, LEFT, Members, PANICKED, RankCell, stamp},
        failure::{self, FORMING, Failure, Kind},
        patience::Patience,
        primitive::{AtomicU32, Ordering, fence, spin_hint, yield_now},
        spread,
    },
    sys::{clock, park, waited::Waited},
};

/// The job has failed; [`failure::first`] says how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopped;

/// A sleeper looks by itself after this long: the longest that a death goes unnoticed when nobody
/// is left to ring.
#[cfg(not(loom))]
const NAP: Duration = Duration::from_millis(50);
#[cfg(loom)]
const NAP: Duration = Duration::MAX;

/// Spins between two looks at the failure word.
const SPINS_PER_LOOK: u32 = 64;
/// A wait of one rank for the round of another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    /// Who waits.
    pub(crate) rank: usize,
    /// Within which operation.
    pub(crate) operation: Operation,
    /// For whom.
    pub(crate) peer: usize,
    /// For which of its rounds, or a later one of the same parity.
    pub(crate) round: u64,
    /// The other peers have to publish the round as well before the rank can go on.
    pub(crate) for_all: bool,
}

/// What a rank knows of the rounds of its communicator, to compare with what the memory shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// The stamps that its own slots hold: the last it published of even rounds, and of odd ones.
    pub(crate) own: [u64; 2],
    /// The last round that all ranks are known to have published; 1 was forming, which has no stamp.
    pub(crate) by_all: u64,
}

impl Known {
    /// A rank that shows another round than it has published: its memory was overwritten. Looks at the
    /// waiting rank and the one it waits for, since a chain of waits ends at one of these.
    fn contradicted(&self, members: &impl Members, wait: Wait) -> Option<usize> {
        // Relaxed: only this rank writes its slots.
        let own = members.cell(wait.rank).slots.each_ref();
        if own.map(|slot| slot.stamp.load(Ordering::Relaxed)) != self.own {
            return Some(wait.rank);
        }
        // A round that was seen once stays, or gives way to a later one of its parity.
        let peer = members.cell(wait.peer);
        let mut seen = self.by_all.saturating_sub(1).max(2)..=self.by_all;
        let is_there = seen.all(|round| has_arrived(peer, round));
        (!is_there).then_some(wait.peer)
    }
}

/// Whether what is waited for has been published.
#[inline]
pub(crate) fn is_over(members: &impl Members, wait: Wait) -> bool {
    has_arrived(members.cell(wait.peer), wait.round)
}

/// Whether the owner of `cell` has published `round`, or a later one of the same parity.
#[inline]
pub(crate) fn has_arrived(cell: &RankCell, round: u64) -> bool {
    // Acquire matches the Release in `Rounds::publish`, so that the payload can be read.
    cell.slot(round).stamp.load(Ordering::Acquire) >= stamp(round, 0)
}

/// Returns when what is waited for, and was not there, has been published.
#[cold]
pub(crate) fn for_round(
    members: &impl Members,
    patience: &Patience,
    wait: Wait,
    known: impl Fn() -> Known,
) -> Result<(), Stopped> {
    if let Some(end) = awake(members, patience, wait) {
        return end;
    }
    let waiting = &members.cell(wait.rank).waiting;
    // Relaxed, and Release to match the Acquire of `activity`: who sees the peer sees since when.
    waiting.since.store(clock::now(), Ordering::Relaxed);
    waiting.peer.store(wait.peer as u32 + 1, Ordering::Release);
    let end = sleep_until(members, patience.limit, wait, known);
    if end.is_ok() {
        // After a failure it stays, for the last words.
        waiting.peer.store(0, Ordering::Relaxed);
    }
    end
}

/// Looks for as long as patience has it; `None` if that was in vain.
fn awake(members: &impl Members, patience: &Patience, wait: Wait) -> Option<Result<(), Stopped>> {
    let cell = members.cell(wait.peer);
    let mut since = None;
    loop {
        let spins = if patience.considerate && is_in_the_way(members, wait) {
            patience.crowding.felt(members, wait.rank);
            0
        } else {
            patience.spins
        };
        for spin in 0..spins {
            spin_hint();
            if has_arrived(cell, wait.round) {
                return Some(Ok(()));
            }
            if spin % SPINS_PER_LOOK == 0 && has_failed(members) {
                return Some(Err(Stopped));
            }
        }
        if patience.yielding.is_zero() {
            return None;
        }
        if since.get_or_insert_with(Instant::now).elapsed() >= patience.yielding {
            return None;
        }
        yield_now();
        if has_arrived(cell, wait.round) {
            return Some(Ok(()));
        }
        if has_failed(members) {
            return Some(Err(Stopped));
        }
    }
}

/// Whether a rank that is waited for, and has yet to publish, ran last on the processor of the waiting
/// rank: it needs this one, or another from the scheduler.
fn is_in_the_way(members: &impl Members, wait: Wait) -> bool {
    let here = spread::tell_processor(members.cell(wait.rank));
    if here == 0 {
        return false;
    }
    let is_kept_from_running = |peer| {
        let cell = members.cell(peer);
        // Relaxed: a hint; who has moved meanwhile costs one yield or one spin.
        cell.presence.processor.load(Ordering::Relaxed) == here && !has_arrived(cell, wait.round)
    };
    if wait.for_all {
        (0..members.size()).any(|peer| peer != wait.rank && is_kept_from_running(peer))
    } else {
        is_kept_from_running(wait.peer)
    }
}

fn has_failed(members: &impl Members) -> bool {
    // Relaxed: whoever acts on it reads it again with Acquire.
    let own = members.failure().code.load(Ordering::Relaxed);
    !matches!(own, 0 | FORMING) || members.inherits_failure()
}

fn sleep_until(
    members: &impl Members,
    limit: Option<Duration>,
    wait: Wait,
    known: impl Fn() -> Known,
) -> Result<(), Stopped> {
    let cell = members.cell(wait.peer);
    let mut naps = 0;
    // Time for which this rank was stopped itself (the whole job was suspended, say) does not count.
    let limit = limit.map(|limit| (limit, Waited::begin()));
    loop {
        cell.sleepers.count.fetch_add(1, Ordering::Relaxed);
        // Matches the fences in `Rounds::publish` and `failure::ring`; see the protocol above.
        fence(Ordering::SeqCst);
        // Acquire matches the Release stores of the word by publishers and ringers.
        let word = cell.bell.word.load(Ordering::Acquire);
        let mut end = look(members, wait);
        if end.is_none() {
            let slept = limit.as_ref().map(|(most, slept)| (*most, slept.time(NAP)));
            match slept {
                Some((most, slept)) if slept >= most => {
                    members.give_up(wait, slept);
                    end = Some(Err(Stopped));
                }
                Some((most, slept)) => nap(&cell.bell.word, word, NAP.min(most - slept)),
                None => nap(&cell.bell.word, word, NAP),
            }
        }
        cell.sleepers.count.fetch_sub(1, Ordering::Relaxed);
        if let Some(end) = end {
            return end;
        }
        if cell.bell.word.load(Ordering::Relaxed) == word {
            // Nobody rang: the nap is over.
            naps += 1;
            if let Some(rank) = known().contradicted(members, wait) {
                members.fail(Failure::new(rank, Some(wait.operation), Kind::Overwritten));
            }
            members.examine(wait, naps);
        }
    }
}

fn nap(word: &AtomicU32, value: u32, time: Duration) {
    point::reached("sleep");
    park::wait(word, value, time);
}

/// Whether the wait is over, and how.
fn look(members: &impl Members, wait: Wait) -> Option<Result<(), Stopped>> {
    let cell = members.cell(wait.peer);
    // Before the round: who publishes and then leaves has published. Acquire matches the Release of
    // `mark_gone`, so that the last round is visible.
    let presence = members.presence(wait.peer);
    let state = presence.state.load(Ordering::Acquire);
    if has_arrived(cell, wait.round) {
        return Some(Ok(()));
    }
    let cause = match state {
        // Its code may be told yet: `examine` gives up waiting for that.
        LEFT if members.may_tell_codes() => return has_failed(members).then_some(Err(Stopped)),
        LEFT | ABORTED => FailureCause::Exited(None),
        EXITED => {
            let code = presence.exit_code.load(Ordering::Relaxed);
            FailureCause::Exited(Some(code as i32))
        }
        PANICKED => FailureCause::Panicked,
        _ if has_failed(members) => return Some(Err(Stopped)),
        _ => return None,
    };
    let failed = Kind::RankFailed(cause);
    members.fail(Failure::new(wait.peer, Some(wait.operation), failed));
    Some(Err(Stopped))
}

/// Tells everybody that the owner of `cell` will publish no more; `state` is [`LEFT`], [`PANICKED`],
/// [`ABORTED`] or [`EXITED`]. The owner calls this, or the launcher when the owner is gone: the first
/// word counts, except that who has left may turn out to have exited with a code.
pub(crate) fn mark_gone(cell: &RankCell, state: u32) {
    match (cell.presence.state.load(Ordering::Relaxed), state) {
        (JOINED, _) | (LEFT, EXITED) => {}
        _ => return,
    }
    point::reached("leave");
    // Release matches the Acquire in `look`, so that this rank's last round is visible, also if
    // another thread of it published that.
    cell.presence.state.store(state, Ordering::Release);
    point::reached("left");
    failure::ring(cell);
}
