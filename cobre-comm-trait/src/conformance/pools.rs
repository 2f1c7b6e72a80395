//! Pools: tables that grow while everybody reads them.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::errors::{panicked, stays};
use super::values::{bits, dawdle, fill};
use super::{Case, Probe, list};
use crate::{CommData, CommError, PoolProvider, ReduceOp, SharedMemoryProvider, SharedPool};

pub(super) fn cases<C: SharedMemoryProvider + PoolProvider>() -> Vec<Case<C>> {
    let mut cases = list!["pools":
        in_rank_order,
        fresh_elements_are_zero,
        of_structs_and_of_nothing,
        amid_other_operations,
        what_does_not_fit_is_refused_and_harmless,
        an_absurd_size_is_refused_and_harmless,
    ];
    let last = list!["pools":
        ranks_that_append_to_different_ones_disagree >= 2,
        a_panic_while_filling_fails_the_others >= 2,
    ];
    cases.extend(last.into_iter().map(|case| Case {
        ends_job: true,
        ..case
    }));
    cases
}

fn pool<T: CommData, C: PoolProvider>(probe: &Probe<'_, C>, capacity: usize) -> C::Pool<T> {
    probe.done("create_pool", probe.comm.create_pool(capacity))
}

/// Each rank appends `count(rank)` elements; `expected` is what the pool has held, and grows with it.
fn append<T: CommData, C: PoolProvider>(
    probe: &Probe<'_, C>,
    pool: &mut C::Pool<T>,
    expected: &mut Vec<T>,
    salt: u64,
    count: impl Fn(usize) -> usize,
) {
    let rank = probe.rank();
    let mine = fill::<T>(salt, rank, count(rank));
    let appended = pool.append(mine.len(), |fresh| fresh.copy_from_slice(&mine));
    let place = probe.done("append", appended);
    for other in 0..probe.size() {
        let start = expected.len();
        expected.extend(fill::<T>(salt, other, count(other)));
        let range = start..expected.len();
        probe.check(other != rank || place == range, || {
            format!("my elements are at {place:?} instead of {range:?}")
        });
    }
    probe.same("the pool", pool, expected);
}

fn in_rank_order<C: SharedMemoryProvider + PoolProvider>(probe: &Probe<'_, C>) {
    let mut pool = pool::<u64, C>(probe, 1 << 24);
    let mut expected = Vec::new();
    probe.same("a fresh pool", &pool, &expected);
    for round in 0..8 {
        dawdle(probe.rank(), round, 100);
        // As many as each likes, perhaps none.
        let count = |rank| (rank * 7 + round * 3) % 5 * 1000;
        append(probe, &mut pool, &mut expected, round as u64, count);
    }
    probe.check(pool.capacity() == 1 << 24, || {
        format!("capacity {}", pool.capacity())
    });
}

fn fresh_elements_are_zero<C: SharedMemoryProvider + PoolProvider>(probe: &Probe<'_, C>) {
    let mut pool = pool::<u32, C>(probe, 3000 * probe.size());
    for count in [1, 1999, 1000] {
        let appended = pool.append(count, |fresh| {
            probe.same("fresh elements", fresh, &vec![0; count]);
            fresh.fill(u32::MAX);
        });
        probe.done("append", appended);
    }
    probe.same("the pool", &pool, &vec![u32::MAX; 3000 * probe.size()]);
}

fn of_structs_and_of_nothing<C: SharedMemoryProvider + PoolProvider>(probe: &Probe<'_, C>) {
    let mut cuts = pool::<[u8; 29], C>(probe, 1000 * probe.size());
    let mut nothing = pool::<[u64; 0], C>(probe, 1000 * probe.size());
    let (mut all_cuts, mut all_nothing) = (Vec::new(), Vec::new());
    for salt in 0..4 {
        append(probe, &mut cuts, &mut all_cuts, salt, |rank| 50 + rank % 3);
        append(probe, &mut nothing, &mut all_nothing, salt, |rank| rank % 4);
    }
}

fn amid_other_operations<C: SharedMemoryProvider + PoolProvider>(probe: &Probe<'_, C>) {
    let mut pools = [(); 2].map(|()| (pool::<f64, C>(probe, 1 << 20), Vec::new()));
    for salt in 0..20_u64 {
        let (pool, expected) = &mut pools[salt as usize % 2];
        let count = |rank| bits(salt, rank, 0) as usize % 300;
        append(probe, pool, expected, salt, count);
        probe.reduce(ReduceOp::Sum, 9, |rank, i| (rank + i) as f64);
        probe.broadcast::<u64>(salt, 0, 5000);
    }
}

/// Each alone would have room.
fn what_does_not_fit_is_refused_and_harmless<C: SharedMemoryProvider + PoolProvider>(
    probe: &Probe<'_, C>,
) {
    let size = probe.size();
    let mut pool = pool::<u32, C>(probe, 3 * size + 1);
    let mut expected = Vec::new();
    append(probe, &mut pool, &mut expected, 1, |_| 2);
    let unreached = |_: &mut [u32]| probe.fail("what is refused is filled");
    let bytes = 2 * size * size_of::<u32>();
    for (count, bytes) in [(2, bytes), (usize::MAX / 2, usize::MAX)] {
        if size == 1 && count == 2 {
            continue;
        }
        let refused = pool.append(count, unreached);
        let as_expected = matches!(
            &refused,
            Err(CommError::AllocationFailed { requested_bytes, message })
                if *requested_bytes == bytes && !message.is_empty()
        );
        probe.check(as_expected, || {
            format!("{refused:?} instead of AllocationFailed of {bytes} bytes")
        });
        probe.same("the pool", &pool, &expected);
    }
    append(probe, &mut pool, &mut expected, 2, |rank| {
        usize::from(rank == size - 1)
    });
}

fn an_absurd_size_is_refused_and_harmless<C: SharedMemoryProvider + PoolProvider>(
    probe: &Probe<'_, C>,
) {
    for capacity in [usize::MAX, usize::MAX / 8] {
        let refused = probe.comm.create_pool::<u64>(capacity).map(drop);
        let as_expected = matches!(&refused, Err(CommError::AllocationFailed { .. }));
        probe.check(as_expected, || {
            format!("{refused:?} instead of AllocationFailed")
        });
    }
    in_rank_order(probe);
}

fn ranks_that_append_to_different_ones_disagree<C: SharedMemoryProvider + PoolProvider>(
    probe: &Probe<'_, C>,
) {
    let mut pools = [(); 2].map(|()| pool::<u8, C>(probe, probe.size()));
    let odd = usize::from(probe.rank() == 0);
    let appended = pools[odd].append(1, |_| probe.fail("ranks that disagree fill"));
    let appended = appended.map(drop);
    let error = probe.first_error(appended);
    let mismatch = matches!(&error, CommError::Mismatch { .. });
    probe.check(mismatch, || format!("{error:?} instead of Mismatch"));
    stays(probe, &error);
    probe.report(format!("{error:?}"));
    probe.is_poisoned();
}

fn a_panic_while_filling_fails_the_others<C: SharedMemoryProvider + PoolProvider>(
    probe: &Probe<'_, C>,
) {
    let mut pool = pool::<u8, C>(probe, 2 * probe.size());
    let mut expected = Vec::new();
    append(probe, &mut pool, &mut expected, 1, |_| 1);
    if probe.rank() == 0 {
        // Without the hook, so that nobody takes it for a failure of the case.
        let append = AssertUnwindSafe(|| pool.append(1, |_| resume_unwind(Box::new("on purpose"))));
        let lost = catch_unwind(append).is_ok();
        probe.check(!lost, || "the panic is lost".to_owned());
    } else {
        let appended = pool.append(1, |_| ()).map(drop);
        let error = probe.first_error(appended);
        panicked(probe, &error);
    }
    // What was there before can still be read.
    probe.same("the pool", &pool[..expected.len()], &expected);
    probe.is_poisoned();
}
