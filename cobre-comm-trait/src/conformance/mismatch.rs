//! Ranks that disagree about a call all get the same pair of calls.

use super::errors::{check_call, stays, warm_up};
use super::{Case, Probe};
use crate::{
    Call, CommError, Communicator, Operation, ReduceOp, SharedExchange, SharedMemoryProvider,
    SharedReduction, SharedRegion,
};

pub(super) fn cases<C: SharedMemoryProvider>() -> Vec<Case<C>> {
    let mut cases = Vec::new();
    of::<C, BarrierForReduction>(&mut cases);
    of::<C, GatherForBroadcast>(&mut cases);
    of::<C, BroadcastForReduction>(&mut cases);
    of::<C, BarrierForRegion>(&mut cases);
    of::<C, BarrierForSplit>(&mut cases);
    of::<C, BarrierForFence>(&mut cases);
    of::<C, FenceOfAnotherRegion>(&mut cases);
    of::<C, PopulationForFence>(&mut cases);
    of::<C, ElementOfReduction>(&mut cases);
    of::<C, ElementOfBroadcast>(&mut cases);
    of::<C, ElementOfGather>(&mut cases);
    of::<C, ElementOfRegion>(&mut cases);
    of::<C, LengthOfReduction>(&mut cases);
    of::<C, LengthOfBroadcast>(&mut cases);
    of::<C, LengthOfLargeBroadcast>(&mut cases);
    of::<C, SomethingAndNothing>(&mut cases);
    of::<C, LengthOfRegion>(&mut cases);
    of::<C, CountsOfExchange>(&mut cases);
    of::<C, ElementOfSharedReduction>(&mut cases);
    of::<C, FenceOfAnotherExchange>(&mut cases);
    of::<C, AnotherSharedReduction>(&mut cases);
    of::<C, PrivateForSharedReduction>(&mut cases);
    of::<C, RootOfBroadcast>(&mut cases);
    of::<C, OperationOfReduction>(&mut cases);
    of::<C, CountsOfGather>(&mut cases);
    of::<C, CountsOfLargeGather>(&mut cases);
    of::<C, CountsOfTheSameTotal>(&mut cases);
    cases
}

/// What most ranks call, and what one calls instead.
trait Disagreement {
    /// For a first and for a last rank that is odd.
    const NAMES: [&'static str; 2];
    /// The operation that most call, and that of the odd one.
    const OPERATIONS: [Operation; 2];
    /// Which call of the job it is, after two to warm up.
    const NUMBER: u64 = 3;
    const MIN_RANKS: usize = 2;

    fn usual(comm: &impl SharedMemoryProvider) -> Result<(), CommError>;
    fn odd(comm: &impl SharedMemoryProvider) -> Result<(), CommError>;
}

fn of<C: SharedMemoryProvider, D: Disagreement>(cases: &mut Vec<Case<C>>) {
    let bodies: [fn(&Probe<'_, C>); 2] = [with_the_first::<C, D>, with_the_last::<C, D>];
    for (name, body) in D::NAMES.into_iter().zip(bodies) {
        cases.push(Case {
            name,
            min_ranks: D::MIN_RANKS,
            ends_job: true,
            body,
        });
    }
}

fn with_the_first<C: SharedMemoryProvider, D: Disagreement>(probe: &Probe<'_, C>) {
    with::<C, D>(probe, 0);
}

fn with_the_last<C: SharedMemoryProvider, D: Disagreement>(probe: &Probe<'_, C>) {
    with::<C, D>(probe, probe.size() - 1);
}

fn with<C: SharedMemoryProvider, D: Disagreement>(probe: &Probe<'_, C>, odd: usize) {
    warm_up(probe);
    let outcome = if probe.rank() == odd {
        D::odd(probe.comm)
    } else {
        D::usual(probe.comm)
    };
    let error = probe.first_error(outcome);
    let CommError::Mismatch { first, second } = &error else {
        probe.fail(format_args!("{error:?} instead of Mismatch"));
    };
    probe.check(
        first.rank < second.rank
            && second.rank < probe.size()
            && (first.rank == odd || second.rank == odd),
        || format!("ranks {} and {}, odd is {odd}", first.rank, second.rank),
    );
    let check = |call: &Call| {
        let operation = D::OPERATIONS[usize::from(call.rank == odd)];
        check_call(probe, call, (D::NUMBER, operation));
    };
    check(first);
    check(second);
    probe.check(
        first.operation != second.operation || first.arguments != second.arguments,
        || format!("the same twice: {first:?}, {second:?}"),
    );
    stays(probe, &error);
    probe.report(format!("{error:?}"));
    probe.is_poisoned();
}

macro_rules! disagreement {
    (
        $name:ident as $text:literal;
        usual $usual_operation:ident ($usual:ident) $usual_call:expr;
        odd $odd_operation:ident ($odd:ident) $odd_call:expr;
    ) => {
        struct $name;

        impl Disagreement for $name {
            const NAMES: [&'static str; 2] = [
                concat!("mismatch::", $text, "_of_the_first"),
                concat!("mismatch::", $text, "_of_the_last"),
            ];
            const OPERATIONS: [Operation; 2] =
                [Operation::$usual_operation, Operation::$odd_operation];

            fn usual($usual: &impl SharedMemoryProvider) -> Result<(), CommError> {
                $usual_call
            }

            fn odd($odd: &impl SharedMemoryProvider) -> Result<(), CommError> {
                $odd_call
            }
        }
    };
}

disagreement! {
    BarrierForReduction as "barrier_for_allreduce";
    usual Allreduce (comm) comm.allreduce(&[1.0; 3], &mut [0.0; 3], ReduceOp::Sum);
    odd Barrier (comm) comm.barrier();
}

disagreement! {
    GatherForBroadcast as "allgatherv_for_broadcast";
    usual Broadcast (comm) comm.broadcast(&mut [1_u64; 3], 0);
    odd Allgatherv (comm) gather::<u64>(comm, 3, &[]);
}

disagreement! {
    BroadcastForReduction as "broadcast_for_allreduce";
    usual Allreduce (comm) comm.allreduce(&[1.0; 3], &mut [0.0; 3], ReduceOp::Sum);
    odd Broadcast (comm) comm.broadcast(&mut [1.0; 3], 0);
}

disagreement! {
    BarrierForRegion as "barrier_for_create_shared_region";
    usual CreateRegion (comm) comm.create_shared_region::<f64>(10).map(drop);
    odd Barrier (comm) comm.barrier();
}

disagreement! {
    BarrierForSplit as "barrier_for_split_local";
    usual SplitLocal (comm) comm.split_local().map(drop);
    odd Barrier (comm) comm.barrier();
}

disagreement! {
    ElementOfReduction as "element_of_allreduce";
    usual Allreduce (comm) comm.allreduce(&[1.0_f64; 3], &mut [0.0; 3], ReduceOp::Sum);
    odd Allreduce (comm) comm.allreduce(&[1_u64; 3], &mut [0; 3], ReduceOp::Sum);
}

disagreement! {
    ElementOfBroadcast as "element_of_broadcast";
    usual Broadcast (comm) comm.broadcast(&mut [1.0_f64; 3], 0);
    odd Broadcast (comm) comm.broadcast(&mut [1_u64; 3], 0);
}

disagreement! {
    ElementOfGather as "element_of_allgatherv";
    usual Allgatherv (comm) gather::<f64>(comm, 3, &[]);
    odd Allgatherv (comm) gather::<u64>(comm, 3, &[]);
}

disagreement! {
    ElementOfRegion as "element_of_create_shared_region";
    usual CreateRegion (comm) comm.create_shared_region::<f64>(10).map(drop);
    odd CreateRegion (comm) comm.create_shared_region::<u64>(10).map(drop);
}

disagreement! {
    LengthOfReduction as "length_of_allreduce";
    usual Allreduce (comm) comm.allreduce(&[1.0; 3], &mut [0.0; 3], ReduceOp::Sum);
    odd Allreduce (comm) comm.allreduce(&[1.0; 4], &mut [0.0; 4], ReduceOp::Sum);
}

disagreement! {
    LengthOfBroadcast as "length_of_broadcast";
    usual Broadcast (comm) comm.broadcast(&mut [1.0; 3], 0);
    odd Broadcast (comm) comm.broadcast(&mut [1.0; 4], 0);
}

disagreement! {
    LengthOfLargeBroadcast as "length_of_large_broadcast";
    usual Broadcast (comm) comm.broadcast(&mut vec![1_u8; 1 << 20], 0);
    odd Broadcast (comm) comm.broadcast(&mut vec![1_u8; (1 << 20) - 1], 0);
}

disagreement! {
    SomethingAndNothing as "broadcast_of_nothing";
    usual Broadcast (comm) comm.broadcast(&mut [1.0], 0);
    odd Broadcast (comm) comm.broadcast::<f64>(&mut [], 0);
}

disagreement! {
    LengthOfRegion as "length_of_create_shared_region";
    usual CreateRegion (comm) comm.create_shared_region::<f64>(10).map(drop);
    odd CreateRegion (comm) comm.create_shared_region::<f64>(11).map(drop);
}

disagreement! {
    RootOfBroadcast as "root_of_broadcast";
    usual Broadcast (comm) comm.broadcast(&mut [1.0; 3], 0);
    odd Broadcast (comm) comm.broadcast(&mut [1.0; 3], 1);
}

disagreement! {
    OperationOfReduction as "operation_of_allreduce";
    usual Allreduce (comm) comm.allreduce(&[1.0; 3], &mut [0.0; 3], ReduceOp::Sum);
    odd Allreduce (comm) comm.allreduce(&[1.0; 3], &mut [0.0; 3], ReduceOp::Max);
}

disagreement! {
    CountsOfGather as "counts_of_allgatherv";
    usual Allgatherv (comm) gather::<f64>(comm, 3, &[]);
    odd Allgatherv (comm) gather::<f64>(comm, 3, &[1]);
}

disagreement! {
    CountsOfLargeGather as "counts_of_large_allgatherv";
    usual Allgatherv (comm) gather::<u8>(comm, 200_000, &[]);
    odd Allgatherv (comm) gather::<u8>(comm, 200_000, &[1]);
}

/// Gathers `each` elements from every rank, but `more` in addition from those after this one.
fn gather<T: crate::CommData>(
    comm: &impl Communicator,
    each: usize,
    more: &[isize],
) -> Result<(), CommError> {
    let size = comm.size();
    let mut counts = vec![each; size];
    for (distance, &more) in more.iter().enumerate() {
        let count = &mut counts[(comm.rank() + 1 + distance) % size];
        *count = count.saturating_add_signed(more);
    }
    let (displs, total) = super::values::packed(&counts);
    let mut recv = vec![T::zeroed(); total];
    comm.allgatherv(&vec![T::zeroed(); each], &mut recv, &counts, &displs)
}

/// Counts that only one rank believes in, although their sum is that of the others.
struct CountsOfTheSameTotal;

impl Disagreement for CountsOfTheSameTotal {
    const NAMES: [&'static str; 2] = [
        "mismatch::counts_of_the_same_total_of_the_first",
        "mismatch::counts_of_the_same_total_of_the_last",
    ];
    const OPERATIONS: [Operation; 2] = [Operation::Allgatherv, Operation::Allgatherv];
    const MIN_RANKS: usize = 3;

    fn usual(comm: &impl SharedMemoryProvider) -> Result<(), CommError> {
        gather::<f64>(comm, 3, &[])
    }

    fn odd(comm: &impl SharedMemoryProvider) -> Result<(), CommError> {
        gather::<f64>(comm, 3, &[1, -1])
    }
}

/// A rank that forgets to end the epoch of its region; its drop is no collective.
struct BarrierForFence;

impl Disagreement for BarrierForFence {
    const NAMES: [&'static str; 2] = [
        "mismatch::barrier_for_fence_of_the_first",
        "mismatch::barrier_for_fence_of_the_last",
    ];
    const OPERATIONS: [Operation; 2] = [Operation::Fence, Operation::Barrier];
    const NUMBER: u64 = 4;

    fn usual(comm: &impl SharedMemoryProvider) -> Result<(), CommError> {
        comm.create_shared_region::<f64>(10)?.fence().map(drop)
    }

    fn odd(comm: &impl SharedMemoryProvider) -> Result<(), CommError> {
        let _region = comm.create_shared_region::<f64>(10)?;
        comm.barrier()
    }
}

/// A rank that fences its regions in another order.
struct FenceOfAnotherRegion;

impl Disagreement for FenceOfAnotherRegion {
    const NAMES: [&'static str; 2] = [
        "mismatch::fence_of_another_region_of_the_first",
        "mismatch::fence_of_another_region_of_the_last",
    ];
    const OPERATIONS: [Operation; 2] = [Operation::Fence, Operation::Fence];
    const NUMBER: u64 = 5;

    fn usual(comm: &impl SharedMemoryProvider) -> Result<(), CommError> {
        let first = comm.create_shared_region::<f64>(10)?;
        let _second = comm.create_shared_region::<f64>(10)?;
        first.fence().map(drop)
    }

    fn odd(comm: &impl SharedMemoryProvider) -> Result<(), CommError> {
        let _first = comm.create_shared_region::<f64>(10)?;
        let second = comm.create_shared_region::<f64>(10)?;
        second.fence().map(drop)
    }
}

/// A rank that leaves to the leader what the others have written.
struct PopulationForFence;

impl Disagreement for PopulationForFence {
    const NAMES: [&'static str; 2] = [
        "mismatch::populate_for_fence_of_the_first",
        "mismatch::populate_for_fence_of_the_last",
    ];
    const OPERATIONS: [Operation; 2] = [Operation::Fence, Operation::Fence];
    const NUMBER: u64 = 4;

    fn usual(comm: &impl SharedMemoryProvider) -> Result<(), CommError> {
        comm.create_shared_region::<f64>(10)?.fence().map(drop)
    }

    fn odd(comm: &impl SharedMemoryProvider) -> Result<(), CommError> {
        let region = comm.create_shared_region::<f64>(10)?;
        region.populate_by_leader(|_| {}).map(drop)
    }
}

disagreement! {
    CountsOfExchange as "counts_of_create_exchange";
    usual CreateExchange (comm) comm.create_exchange::<f64>(&vec![2; comm.size()]).map(drop);
    odd CreateExchange (comm) {
        let mut counts = vec![2; comm.size()];
        (counts[0], counts[1]) = (1, 3);
        comm.create_exchange::<f64>(&counts).map(drop)
    };
}

disagreement! {
    ElementOfSharedReduction as "element_of_create_reduction";
    usual CreateReduction (comm) comm.create_reduction::<f64>(10).map(drop);
    odd CreateReduction (comm) comm.create_reduction::<u64>(10).map(drop);
}

/// A rank that fences its exchanges in another order.
struct FenceOfAnotherExchange;

impl Disagreement for FenceOfAnotherExchange {
    const NAMES: [&'static str; 2] = [
        "mismatch::fence_of_another_exchange_of_the_first",
        "mismatch::fence_of_another_exchange_of_the_last",
    ];
    const OPERATIONS: [Operation; 2] = [Operation::Fence, Operation::Fence];
    const NUMBER: u64 = 5;

    fn usual(comm: &impl SharedMemoryProvider) -> Result<(), CommError> {
        fence_one_of_two(comm, 0)
    }

    fn odd(comm: &impl SharedMemoryProvider) -> Result<(), CommError> {
        fence_one_of_two(comm, 1)
    }
}

/// After a failure a slice is empty, or what it was if the fence has not begun.
fn fence_one_of_two(comm: &impl SharedMemoryProvider, which: usize) -> Result<(), CommError> {
    let counts = vec![10; comm.size()];
    let mut exchanges = [
        comm.create_exchange::<f64>(&counts)?,
        comm.create_exchange::<f64>(&counts)?,
    ];
    let outcome = exchanges[which].fence();
    let (part, shown) = exchanges[which].split_mut();
    let whole = part.len() == 10 && shown.len() == 10 * comm.size();
    assert!(whole || part.is_empty() && shown.is_empty());
    outcome
}

/// A rank that reduces its reductions in another order.
struct AnotherSharedReduction;

impl Disagreement for AnotherSharedReduction {
    const NAMES: [&'static str; 2] = [
        "mismatch::another_shared_reduction_of_the_first",
        "mismatch::another_shared_reduction_of_the_last",
    ];
    const OPERATIONS: [Operation; 2] = [Operation::Allreduce, Operation::Allreduce];
    const NUMBER: u64 = 5;

    fn usual(comm: &impl SharedMemoryProvider) -> Result<(), CommError> {
        reduce_one_of_two(comm, 0)
    }

    fn odd(comm: &impl SharedMemoryProvider) -> Result<(), CommError> {
        reduce_one_of_two(comm, 1)
    }
}

fn reduce_one_of_two(comm: &impl SharedMemoryProvider, which: usize) -> Result<(), CommError> {
    let mut reductions = [
        comm.create_reduction::<f64>(10)?,
        comm.create_reduction::<f64>(10)?,
    ];
    let outcome = reductions[which].reduce(ReduceOp::Sum).map(drop);
    let (operand, result) = reductions[which].split_mut();
    assert!(operand.len() == result.len() && matches!(result.len(), 0 | 10));
    outcome
}

/// A rank that reduces private buffers of the same length.
struct PrivateForSharedReduction;

impl Disagreement for PrivateForSharedReduction {
    const NAMES: [&'static str; 2] = [
        "mismatch::private_for_shared_reduction_of_the_first",
        "mismatch::private_for_shared_reduction_of_the_last",
    ];
    const OPERATIONS: [Operation; 2] = [Operation::Allreduce, Operation::Allreduce];
    const NUMBER: u64 = 4;

    fn usual(comm: &impl SharedMemoryProvider) -> Result<(), CommError> {
        let mut reduction = comm.create_reduction::<f64>(10)?;
        reduction.reduce(ReduceOp::Sum).map(drop)
    }

    fn odd(comm: &impl SharedMemoryProvider) -> Result<(), CommError> {
        let _reduction = comm.create_reduction::<f64>(10)?;
        comm.allreduce(&[0.0_f64; 10], &mut [0.0; 10], ReduceOp::Sum)
    }
}
