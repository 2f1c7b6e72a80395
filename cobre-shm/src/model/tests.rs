#![allow(unsafe_code)]

use cobre_comm_trait::{FailureCause, Operation};
use loom::{sync::Arc, thread};

use super::Heap;
use crate::sync::{
    cell::{LEFT, Members},
    failure::{self, Failure, Kind},
    round::{Audience, RoundState, Rounds},
    wait::{self, Stopped},
};

/// What rank `rank` sends in `round`.
fn value(rank: usize, round: u64) -> u64 {
    round * 100 + rank as u64
}

fn put(heap: &Heap, rank: usize, round: u64) {
    // SAFETY: loom checks that nobody else accesses the cell meanwhile.
    heap.staging(rank, round)
        .with_mut(|cell| unsafe { *cell = value(rank, round) });
}

fn get(heap: &Heap, rank: usize, round: u64) {
    // SAFETY: loom checks that nobody writes the cell meanwhile.
    let got = heap.staging(rank, round).with(|cell| unsafe { *cell });
    assert_eq!(got, value(rank, round), "staging of {rank} in {round}");
}

fn rounds<'a>(
    heap: &'a Heap,
    rank: usize,
    operation: Operation,
    state: &'a mut RoundState,
) -> Rounds<'a, Heap> {
    let call = failure::operation_code(operation);
    Rounds::begin(heap, rank, operation, call, state)
}

/// Everybody sends to everybody, inline and through staging.
fn exchange(heap: &Heap, rank: usize, state: &mut RoundState) -> Result<(), Stopped> {
    let mut rounds = rounds(heap, rank, Operation::Allgatherv, state);
    let round = rounds.open()?;
    put(heap, rank, round);
    rounds.publish(round, Audience::Everyone, |payload| {
        payload.put(&value(rank, round).to_ne_bytes());
    });
    for peer in rounds.peers() {
        rounds.await_peer(peer, round)?;
        get(heap, peer, round);
        let inline = rounds.read_inline(peer, round, |bytes| {
            // SAFETY: the payload is longer than eight bytes; loom checks for writers.
            unsafe { bytes.cast::<u64>().read_unaligned() }
        });
        assert_eq!(inline, value(peer, round), "payload of {peer} in {round}");
    }
    // What `await_everyone` concludes is what is under test: let it.
    rounds.await_everyone(round, |_| {})
}

/// One sends to everybody.
fn broadcast(heap: &Heap, rank: usize, root: usize, state: &mut RoundState) -> Result<(), Stopped> {
    let mut rounds = rounds(heap, rank, Operation::Broadcast, state);
    let round = rounds.open()?;
    if rank == root {
        put(heap, rank, round);
        rounds.publish(round, Audience::Everyone, |payload| payload.put(&[]));
    } else {
        rounds.publish(round, Audience::Nobody, |payload| payload.put(&[]));
        rounds.await_peer(root, round)?;
        get(heap, root, round);
    }
    Ok(())
}

/// Pieces that are shared out among two ranks: each changes the other's buffer in place, and shows
/// the change together with its own next piece.
fn shared_out(heap: &Heap, rank: usize, state: &mut RoundState) -> Result<(), Stopped> {
    const PIECES: u64 = 2;
    let mut rounds = rounds(heap, rank, Operation::Allreduce, state);
    for turn in 0..=PIECES {
        let round = rounds.open()?;
        if turn < PIECES {
            put(heap, rank, round);
        }
        rounds.publish(round, Audience::Everyone, |payload| payload.put(&[]));
        rounds.await_everyone(round, |_| {})?;
        if turn > 0 {
            let before = round - 1;
            // SAFETY: loom checks that nobody writes the cell meanwhile.
            let result = heap.staging(rank, before).with(|cell| unsafe { *cell });
            assert_eq!(result, value(rank, before) + 1, "result in {before}");
        }
        if turn < PIECES {
            // SAFETY: loom checks that nobody else accesses the cell meanwhile.
            heap.staging(1 - rank, round)
                .with_mut(|cell| unsafe { *cell += 1 });
        }
    }
    Ok(())
}

/// Runs `body` as every rank of a job of `size`, in all interleavings with at most `preemptions`
/// (all, if `None`).
fn check(
    size: usize,
    preemptions: Option<usize>,
    body: impl Fn(&Heap, usize, &mut RoundState) -> Result<(), Stopped> + Copy + Send + Sync + 'static,
) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.check(move || {
        let heap = Heap::new(size);
        let others: Vec<_> = (1..size)
            .map(|rank| {
                let heap = Arc::clone(&heap);
                thread::spawn(move || body(&heap, rank, &mut RoundState::default()))
            })
            .collect();
        assert_eq!(body(&heap, 0, &mut RoundState::default()), Ok(()));
        for other in others {
            assert_eq!(other.join().unwrap(), Ok(()));
        }
    });
}

#[test]
fn an_exchange_delivers() {
    check(2, None, exchange);
}

#[test]
fn exchanges_reuse_both_slots_without_a_trailing_barrier() {
    check(2, Some(3), |heap, rank, state| {
        (0..3).try_for_each(|_| exchange(heap, rank, state))
    });
}

#[test]
fn three_ranks_exchange() {
    check(3, Some(2), exchange);
}

#[test]
fn results_come_back_where_the_operands_stood() {
    check(2, Some(3), shared_out);
}

#[test]
fn results_in_place_and_other_collectives_mix() {
    check(2, Some(2), |heap, rank, state| {
        broadcast(heap, rank, 1, state)?;
        shared_out(heap, rank, state)?;
        exchange(heap, rank, state)
    });
}

#[test]
fn a_root_does_not_overtake_its_reader() {
    check(2, Some(3), |heap, rank, state| {
        (0..4).try_for_each(|_| broadcast(heap, rank, 0, state))
    });
}

#[test]
fn roots_take_turns() {
    check(2, Some(3), |heap, rank, state| {
        (0..4).try_for_each(|turn| broadcast(heap, rank, turn % 2, state))
    });
}

#[test]
fn a_third_rank_still_reads_while_two_go_on() {
    check(3, Some(2), |heap, rank, state| {
        exchange(heap, rank, state)?;
        broadcast(heap, rank, 0, state)?;
        broadcast(heap, rank, 0, state)
    });
}

#[test]
fn broadcasts_and_exchanges_mix() {
    check(2, Some(3), |heap, rank, state| {
        broadcast(heap, rank, 1, state)?;
        exchange(heap, rank, state)?;
        broadcast(heap, rank, 0, state)?;
        broadcast(heap, rank, 0, state)
    });
}

/// Two ranks that both believe to be the root of every broadcast wait for nobody's payload, and yet
/// find out at the next call.
#[test]
fn two_roots_find_out() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let heap = Heap::new(2);
        let twice_as_root = |heap: &Heap, rank: usize| {
            let mut state = RoundState::default();
            let mut call = || {
                let (operation, call) = (Operation::Broadcast, rank as u64 + 1);
                let mut rounds = Rounds::begin(heap, rank, operation, call, &mut state);
                let round = rounds.open()?;
                rounds.publish(round, Audience::Everyone, |payload| payload.put(&[]));
                Ok(())
            };
            (call(), call())
        };
        let other = {
            let heap = Arc::clone(&heap);
            thread::spawn(move || twice_as_root(&heap, 1))
        };
        assert_eq!(twice_as_root(&heap, 0).1, Err(Stopped));
        assert_eq!(other.join().unwrap().1, Err(Stopped));
        let mismatch = failure::first(&*heap).map(|failure| failure.kind);
        assert_eq!(mismatch, Some(Kind::Mismatch(1)));
    });
}

/// Rank 1 waits for rank 0, which ends in the way of `end` instead of publishing.
fn waiter_learns(end: impl Fn(&Heap) + Copy + Send + Sync + 'static, expected: Failure) {
    loom::model(move || {
        let heap = Heap::new(2);
        let waiter = {
            let heap = Arc::clone(&heap);
            thread::spawn(move || broadcast(&heap, 1, 0, &mut RoundState::default()))
        };
        end(&heap);
        assert_eq!(waiter.join().unwrap(), Err(Stopped));
        assert_eq!(failure::first(&*heap), Some(expected));
    });
}

#[test]
fn a_waiter_that_falls_asleep_as_the_job_fails_is_woken() {
    let failure = Failure::new(0, None, Kind::Aborted(3));
    waiter_learns(move |heap| failure::raise(heap, failure), failure);
}

#[test]
fn a_waiter_that_falls_asleep_as_its_peer_leaves_is_woken() {
    waiter_learns(
        |heap| wait::mark_gone(heap.cell(0), LEFT),
        Failure::new(
            0,
            Some(Operation::Broadcast),
            Kind::RankFailed(FailureCause::Exited(None)),
        ),
    );
}

#[test]
fn who_publishes_and_leaves_has_published() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let heap = Heap::new(2);
        let waiter = {
            let heap = Arc::clone(&heap);
            thread::spawn(move || broadcast(&heap, 1, 0, &mut RoundState::default()))
        };
        // One thread of rank 0 makes the call, another one leaves.
        let caller = {
            let heap = Arc::clone(&heap);
            thread::spawn(move || broadcast(&heap, 0, 0, &mut RoundState::default()))
        };
        assert_eq!(caller.join().unwrap(), Ok(()));
        wait::mark_gone(heap.cell(0), LEFT);
        assert_eq!(waiter.join().unwrap(), Ok(()));
    });
}

/// Two ranks fail at once: both learn the same first cause.
#[test]
fn the_first_cause_stands() {
    loom::model(|| {
        let heap = Heap::new(2);
        let cause = |rank| Failure::new(rank, None, Kind::Aborted(7));
        let other = {
            let heap = Arc::clone(&heap);
            thread::spawn(move || {
                failure::raise(&*heap, cause(1));
                failure::first(&*heap)
            })
        };
        failure::raise(&*heap, cause(0));
        let mine = failure::first(&*heap);
        assert!(mine.is_some());
        assert_eq!(mine, other.join().unwrap());
    });
}

/// What a rank wrote before it failed the job can be read by the ranks that learn of it.
#[test]
fn what_the_failing_rank_logged_is_visible() {
    loom::model(|| {
        let heap = Heap::new(2);
        let other = {
            let heap = Arc::clone(&heap);
            thread::spawn(move || {
                put(&heap, 1, 0);
                failure::raise(&*heap, Failure::new(1, None, Kind::Rejected));
            })
        };
        if failure::first(&*heap).is_some() {
            get(&heap, 1, 0);
        }
        other.join().unwrap();
    });
}
