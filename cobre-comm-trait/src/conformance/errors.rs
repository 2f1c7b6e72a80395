//! A rank that gives a wrong argument gets its own error; its peers get one that names it.

use core::fmt::Debug;

use super::{Case, Probe};
use crate::{
    Call, CommError, Communicator, FailureCause, Operation, ReduceOp, SharedMemoryProvider,
};

pub(super) fn cases<C: SharedMemoryProvider>() -> Vec<Case<C>> {
    let mut cases = Vec::new();
    of::<C, ReceiveShorterThanSend>(&mut cases);
    of::<C, BitsOfFloats>(&mut cases);
    of::<C, ReceiveTooShort>(&mut cases);
    of::<C, CountsOfAnotherSize>(&mut cases);
    of::<C, DisplsOfAnotherSize>(&mut cases);
    of::<C, SendUnlikeCounts>(&mut cases);
    of::<C, RangesThatOverlap>(&mut cases);
    of::<C, NoSuchRoot>(&mut cases);
    of::<C, PartsOfAnotherSize>(&mut cases);
    cases
}

/// A call with a wrong argument, and the call that the others make meanwhile.
trait Mistake {
    /// For `by_all`, `by_the_first`, `by_the_last`.
    const NAMES: [&'static str; 3];
    const MIN_RANKS: usize = 1;
    const OPERATION: Operation;

    fn wrong(comm: &impl SharedMemoryProvider) -> Result<(), CommError>;
    fn right(comm: &impl SharedMemoryProvider) -> Result<(), CommError>;
    /// What the rank that made it is told.
    fn error(size: usize) -> CommError;
}

fn of<C: SharedMemoryProvider, M: Mistake>(cases: &mut Vec<Case<C>>) {
    let bodies: [fn(&Probe<'_, C>); 3] =
        [by_all::<C, M>, by_the_first::<C, M>, by_the_last::<C, M>];
    for (who, (name, body)) in M::NAMES.into_iter().zip(bodies).enumerate() {
        cases.push(Case {
            name,
            min_ranks: if who == 0 { M::MIN_RANKS } else { 2 },
            ends_job: true,
            body,
        });
    }
}

/// Two collectives that go well, so that the number of the third means something.
pub(super) fn warm_up<C: Communicator>(probe: &Probe<'_, C>) {
    probe.barrier();
    probe.reduce(ReduceOp::Sum, 3, |rank, i| (rank + i) as f64);
}

/// `call` is the `number`-th, of `operation`, from one of the suite's files.
#[track_caller]
pub(super) fn check_call<C: Communicator>(
    probe: &Probe<'_, C>,
    call: &Call,
    (number, operation): (u64, Operation),
) {
    let place = call.location.as_deref().unwrap_or_default();
    let line = place.rsplit(':').next().map(str::parse::<u32>);
    let no_arguments = matches!(
        operation,
        Operation::Barrier | Operation::SplitLocal | Operation::Fence
    );
    let complete = call.number == number
        && call.operation == operation
        && (no_arguments || !call.arguments.is_empty())
        && place.contains("conformance/")
        && matches!(line, Some(Ok(1..)));
    probe.check(complete, || {
        format!("{call:?} does not describe call {number}, {operation}, and its place here")
    });
}

fn own_error<C: SharedMemoryProvider, M: Mistake>(probe: &Probe<'_, C>) {
    let (outcome, expected) = (M::wrong(probe.comm), Err(M::error(probe.size())));
    // A backend may say where.
    let outcome = outcome.map_err(|error| match error {
        CommError::Rejected { call, reason } => {
            check_call(probe, &call, (3, M::OPERATION));
            *reason
        }
        reason => reason,
    });
    probe.check(outcome == expected, || {
        format!("{outcome:?} instead of {expected:?}")
    });
}

fn by_all<C: SharedMemoryProvider, M: Mistake>(probe: &Probe<'_, C>) {
    warm_up(probe);
    own_error::<C, M>(probe);
    // With nobody to disagree with, a rank may go on.
    if probe.size() > 1 {
        probe.is_poisoned();
    }
}

fn by_the_first<C: SharedMemoryProvider, M: Mistake>(probe: &Probe<'_, C>) {
    by_one::<C, M>(probe, 0);
}

fn by_the_last<C: SharedMemoryProvider, M: Mistake>(probe: &Probe<'_, C>) {
    by_one::<C, M>(probe, probe.size() - 1);
}

fn by_one<C: SharedMemoryProvider, M: Mistake>(probe: &Probe<'_, C>, culprit: usize) {
    warm_up(probe);
    if probe.rank() == culprit {
        own_error::<C, M>(probe);
    } else {
        let outcome = M::right(probe.comm);
        let error = probe.first_error(outcome);
        let CommError::PeerRejected { call } = &error else {
            probe.fail(format_args!("{error:?} instead of PeerRejected"));
        };
        probe.check(call.rank == culprit, || {
            format!("rank {} is accused of what rank {culprit} did", call.rank)
        });
        check_call(probe, call, (3, M::OPERATION));
        stays(probe, &error);
        probe.report(format!("{error:?}"));
    }
    probe.is_poisoned();
}

/// Later collectives return the first cause again.
pub(super) fn stays<C: Communicator, E: Debug + PartialEq<CommError>>(
    probe: &Probe<'_, C>,
    error: &E,
) {
    for _ in 0..2 {
        let again = probe.comm.barrier();
        probe.check(again.as_ref().is_err_and(|again| error == again), || {
            format!("a later barrier returns {again:?} instead of {error:?} again")
        });
    }
}

/// A peer's panic is the error, and stays it.
pub(super) fn panicked<C: Communicator>(probe: &Probe<'_, C>, error: &CommError) {
    let cause = matches!(
        error,
        CommError::RankFailed {
            cause: FailureCause::Panicked,
            ..
        }
    );
    probe.check(cause, || format!("{error:?} instead of a panic"));
    stays(probe, error);
}

/// Implements a mistake by expressions.
macro_rules! mistake {
    (
        $name:ident($operation:ident $(, ranks >= $least:literal)?) as $text:literal;
        wrong($wrong:ident) $wrong_call:expr;
        right($right:ident) $right_call:expr;
        error($size:ident) $error:expr;
    ) => {
        struct $name;

        impl Mistake for $name {
            const NAMES: [&'static str; 3] = [
                concat!("errors::", $text, "_by_all"),
                concat!("errors::", $text, "_by_the_first"),
                concat!("errors::", $text, "_by_the_last"),
            ];
            $(const MIN_RANKS: usize = $least;)?
            const OPERATION: Operation = Operation::$operation;

            fn wrong($wrong: &impl SharedMemoryProvider) -> Result<(), CommError> {
                $wrong_call
            }

            fn right($right: &impl SharedMemoryProvider) -> Result<(), CommError> {
                $right_call
            }

            fn error($size: usize) -> CommError {
                $error
            }
        }
    };
}

fn wrong_length(
    operation: Operation,
    buffer: &'static str,
    expected: usize,
    actual: usize,
) -> CommError {
    CommError::InvalidBufferSize {
        operation,
        buffer,
        expected,
        actual,
    }
}

/// Two elements from each rank to adjacent ranges.
fn gather_two(comm: &impl Communicator) -> Result<(), CommError> {
    let size = comm.size();
    let displs: Vec<usize> = (0..size).map(|rank| 2 * rank).collect();
    comm.allgatherv(&[1.0; 2], &mut vec![0.0; 2 * size], &vec![2; size], &displs)
}

mistake! {
    ReceiveShorterThanSend(Allreduce) as "allreduce_of_4_into_3";
    wrong(comm) comm.allreduce(&[1.0; 4], &mut [0.0; 3], ReduceOp::Sum);
    right(comm) comm.allreduce(&[1.0; 4], &mut [0.0; 4], ReduceOp::Sum);
    error(_size) wrong_length(Operation::Allreduce, "recv", 4, 3);
}

mistake! {
    BitsOfFloats(Allreduce) as "bitwise_on_floats";
    wrong(comm) comm.allreduce(&[1.0; 2], &mut [0.0; 2], ReduceOp::BitOr);
    right(comm) comm.allreduce(&[1.0; 2], &mut [0.0; 2], ReduceOp::Sum);
    error(_size) CommError::InvalidReduceOp { op: ReduceOp::BitOr, element: "f64" };
}

mistake! {
    ReceiveTooShort(Allgatherv) as "allgatherv_into_too_little";
    wrong(comm) {
        let size = comm.size();
        let displs: Vec<usize> = (0..size).map(|rank| 2 * rank).collect();
        comm.allgatherv(&[1.0; 2], &mut vec![0.0; 2 * size - 1], &vec![2; size], &displs)
    };
    right(comm) gather_two(comm);
    error(size) wrong_length(Operation::Allgatherv, "recv", 2 * size, 2 * size - 1);
}

mistake! {
    CountsOfAnotherSize(Allgatherv) as "counts_of_another_size";
    wrong(comm) {
        let size = comm.size();
        let displs: Vec<usize> = (0..size).map(|rank| 2 * rank).collect();
        comm.allgatherv(&[1.0; 2], &mut vec![0.0; 2 * size], &vec![2; size + 1], &displs)
    };
    right(comm) gather_two(comm);
    error(size) wrong_length(Operation::Allgatherv, "counts", size, size + 1);
}

mistake! {
    DisplsOfAnotherSize(Allgatherv) as "displs_of_another_size";
    wrong(comm) {
        let size = comm.size();
        let displs: Vec<usize> = (1..size).map(|rank| 2 * rank).collect();
        comm.allgatherv(&[1.0; 2], &mut vec![0.0; 2 * size], &vec![2; size], &displs)
    };
    right(comm) gather_two(comm);
    error(size) wrong_length(Operation::Allgatherv, "displs", size, size - 1);
}

mistake! {
    SendUnlikeCounts(Allgatherv) as "send_unlike_counts";
    wrong(comm) {
        let size = comm.size();
        let displs: Vec<usize> = (0..size).map(|rank| 2 * rank).collect();
        comm.allgatherv(&[1.0; 3], &mut vec![0.0; 2 * size], &vec![2; size], &displs)
    };
    right(comm) gather_two(comm);
    error(_size) wrong_length(Operation::Allgatherv, "send", 2, 3);
}

mistake! {
    RangesThatOverlap(Allgatherv, ranks >= 2) as "ranges_that_overlap";
    wrong(comm) {
        let size = comm.size();
        let mut displs: Vec<usize> = (0..size).map(|rank| 2 * rank).collect();
        displs[1] = 1;
        comm.allgatherv(&[1.0; 2], &mut vec![0.0; 2 * size], &vec![2; size], &displs)
    };
    right(comm) gather_two(comm);
    error(_size) CommError::OverlappingRanges {
        operation: Operation::Allgatherv,
        first: 0,
        second: 1,
    };
}

mistake! {
    NoSuchRoot(Broadcast) as "root_out_of_range";
    wrong(comm) comm.broadcast(&mut [1.0; 3], comm.size() + 3);
    right(comm) comm.broadcast(&mut [1.0; 3], 0);
    error(size) CommError::InvalidRoot { root: size + 3, size };
}

mistake! {
    PartsOfAnotherSize(CreateExchange) as "create_exchange_for_too_many";
    wrong(comm) comm.create_exchange::<f64>(&vec![2; comm.size() + 1]).map(drop);
    right(comm) comm.create_exchange::<f64>(&vec![2; comm.size()]).map(drop);
    error(size) wrong_length(Operation::CreateExchange, "counts", size, size + 1);
}
