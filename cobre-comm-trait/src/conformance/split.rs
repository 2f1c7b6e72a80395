//! split_local: on one node, the same ranks once more.

use super::{Case, Probe, list};
use crate::{Communicator, ReduceOp, SharedMemoryProvider};

pub(super) fn cases<C: SharedMemoryProvider>() -> Vec<Case<C>> {
    list!["split":
        keeps_size_and_order,
        does_not_interfere,
        may_be_dropped_early,
        several_at_once,
        both_from_two_threads,
    ]
}

fn split<C: SharedMemoryProvider>(probe: &Probe<'_, C>) -> C::Local {
    let result = probe.comm.split_local();
    probe.done("split_local", result)
}

fn keeps_size_and_order<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let local = split(probe);
    let (here, there) = ((probe.rank(), probe.size()), (local.rank(), local.size()));
    probe.check(here == there, || {
        format!("rank and size {there:?} instead of {here:?}")
    });
    let on_local = Probe::new(&local, probe.case);
    on_local.gather_packed::<f64>(1, &vec![2; probe.size()]);
    on_local.reduce(ReduceOp::Sum, 3, |rank, i| {
        [1e16, 1.0, -1e16][(rank + i) % 3]
    });
}

fn does_not_interfere<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let local = split(probe);
    let on_local = Probe::new(&local, probe.case);
    let size = probe.size();
    for round in 0..100_usize {
        probe.broadcast::<u64>(round as u64, round % size, 3);
        on_local.broadcast::<u64>(!round as u64, round % size, 500);
        on_local.reduce(ReduceOp::Sum, 9, |rank, i| (rank * i + round) as f64);
        probe.gather_packed::<u8>(round as u64, &vec![round; size]);
        on_local.barrier();
    }
}

fn may_be_dropped_early<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    for round in 0..10_u64 {
        let local = split(probe);
        Probe::new(&local, probe.case).broadcast::<u64>(round, 0, 3);
        if probe.rank().is_multiple_of(2) {
            drop(local);
            probe.broadcast::<u32>(round, 0, 100);
        } else {
            probe.broadcast::<u32>(round, 0, 100);
            drop(local);
        }
        probe.barrier();
    }
}

fn several_at_once<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let locals: Vec<C::Local> = (0..3).map(|_| split(probe)).collect();
    for (salt, local) in locals.iter().rev().enumerate() {
        Probe::new(local, probe.case)
            .gather_packed::<u32>(salt as u64, &vec![salt + 5; probe.size()]);
    }
    probe.barrier();
}

/// One collective at a time is the rule of one communicator, not of both together.
fn both_from_two_threads<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let local = split(probe);
    let (size, case) = (probe.size(), probe.case);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let on_local = Probe::new(&local, case);
            for round in 0..200 {
                on_local.reduce(ReduceOp::Sum, 7, |rank, i| (rank * i + round) as f64);
                on_local.barrier();
            }
        });
        for round in 0..200_usize {
            probe.broadcast::<u64>(round as u64, round % size, 40);
            probe.gather_packed::<u64>(round as u64, &vec![2; size]);
        }
        if let Err(panic) = other.join() {
            std::panic::resume_unwind(panic);
        }
    });
}
