//! barrier.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::{Case, Probe, list, values};
use crate::SharedMemoryProvider;

pub(super) fn cases<C: SharedMemoryProvider>() -> Vec<Case<C>> {
    list!["barrier":
        three_in_a_row,
        hundreds_in_a_row,
        nobody_leaves_before_all_have_come,
    ]
}

fn three_in_a_row<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    for _ in 0..3 {
        probe.barrier();
    }
}

fn hundreds_in_a_row<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    for round in 0..300 {
        if round % 10 == 0 {
            values::dawdle(probe.rank(), round, 20);
        }
        probe.barrier();
    }
}

/// Nanoseconds that all processes of a machine read from one clock.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64)
}

/// Every rank notes when it came and when it left; afterwards all compare the notes.
fn nobody_leaves_before_all_have_come<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    const ROUNDS: usize = 100;
    let (rank, size) = (probe.rank(), probe.size());
    // The clock of all processes may be set while we measure; another one tells.
    let (wall, steady) = (now(), Instant::now());
    let mut notes = Vec::with_capacity(2 * ROUNDS + 1);
    for round in 0..ROUNDS {
        // One rank is very late, another one each time.
        let late = if round % size == rank { 300 } else { 10 };
        values::dawdle(rank, round, late);
        notes.push(now());
        probe.barrier();
        notes.push(now());
    }
    let drift = (now() - wall).abs_diff(steady.elapsed().as_nanos() as u64);
    notes.push(u64::from(drift > 1_000_000));

    let each = notes.len();
    let displs: Vec<usize> = (0..size).map(|i| i * each).collect();
    let mut all = vec![0; size * each];
    let result = probe
        .comm
        .allgatherv(&notes, &mut all, &vec![each; size], &displs);
    probe.done("allgatherv", result);
    let by_rank: Vec<&[u64]> = all.chunks(each).collect();
    if by_rank.iter().any(|notes| notes[2 * ROUNDS] != 0) {
        return;
    }
    for round in 0..ROUNDS {
        let came = |rank: usize| by_rank[rank][2 * round];
        let left = |rank: usize| by_rank[rank][2 * round + 1];
        for (first, last) in (0..size).flat_map(|i| (0..size).map(move |j| (i, j))) {
            probe.check(left(first) >= came(last), || {
                format!(
                    "round {round}: rank {first} left {} ns before rank {last} came",
                    came(last) - left(first)
                )
            });
        }
    }
}
