//! broadcast.

use super::gather::BOUNDARIES;
use super::values::{bits, dawdle};
use super::{Case, Probe, list};
use crate::SharedMemoryProvider;

pub(super) fn cases<C: SharedMemoryProvider>() -> Vec<Case<C>> {
    list!["broadcast":
        from_every_root,
        rotating_roots,
        a_root_that_runs_ahead,
        a_root_that_runs_ahead_with_large_payloads,
        readers_that_run_ahead,
        of_nothing,
        ten_thousand_f64,
        elements_of_odd_sizes,
        payloads_around_every_boundary,
        megabytes,
    ]
}

fn from_every_root<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    for root in 0..probe.size() {
        for len in [1, 3, 48, 1000, 20_000] {
            probe.broadcast::<f64>(root as u64, root, len);
        }
    }
}

fn rotating_roots<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    for round in 0..400_usize {
        dawdle(probe.rank(), round, 3);
        let len = [1, 2, 7, 40, 600][round % 5];
        probe.broadcast::<u64>(round as u64, round % probe.size(), len);
    }
    // In an order that the number of ranks does not divide.
    for round in 0..200_usize {
        let root = bits(1, 0, round) as usize % probe.size();
        probe.broadcast::<u32>(round as u64, root, 5);
    }
}

/// The root of a broadcast learns nothing from it: only acknowledgements keep it from rewriting
/// what a reader has not read.
fn run_ahead<C: SharedMemoryProvider>(probe: &Probe<'_, C>, rounds: usize, lengths: &[usize]) {
    for root in [0, probe.size() - 1] {
        for round in 0..rounds {
            if probe.rank() != root && round % 8 == 0 {
                dawdle(probe.rank(), round, 200);
            }
            let len = lengths[round % lengths.len()];
            probe.broadcast::<u32>(round as u64, root, len);
        }
    }
}

fn a_root_that_runs_ahead<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    run_ahead(probe, 250, &[1]);
    run_ahead(probe, 140, &[1, 300, 2, 2, 9, 70, 1]);
}

fn a_root_that_runs_ahead_with_large_payloads<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    run_ahead(probe, 60, &[50_000, 1, 9000]);
    run_ahead(probe, 30, &[100_000]);
}

fn readers_that_run_ahead<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    for round in 0..150 {
        if probe.rank() == 0 {
            dawdle(0, round, 100);
        }
        probe.broadcast::<u16>(round as u64, 0, [1, 500][round % 2]);
    }
}

fn of_nothing<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    for round in 0..40 {
        probe.broadcast::<f64>(0, round % probe.size(), 0);
    }
    probe.broadcast::<[u32; 0]>(0, 0, 17);
    probe.broadcast::<f64>(1, probe.size() - 1, 2);
}

fn ten_thousand_f64<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    probe.broadcast::<f64>(1, 0, 10_000);
    probe.broadcast::<f64>(2, probe.size() - 1, 10_000);
}

fn elements_of_odd_sizes<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    for (round, len) in [1, 2, 3, 100, 5001].into_iter().enumerate() {
        let root = round % probe.size();
        probe.broadcast::<[u8; 29]>(1, root, len);
        probe.broadcast::<[u8; 3]>(2, root, len);
        probe.broadcast::<[f32; 7]>(3, root, len);
        probe.broadcast::<[u64; 32]>(4, root, len);
    }
}

fn payloads_around_every_boundary<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    for (round, bytes) in BOUNDARIES.into_iter().enumerate() {
        probe.broadcast::<u8>(1, round % probe.size(), bytes);
        probe.broadcast::<u8>(2, round % probe.size(), bytes);
    }
}

fn megabytes<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    const MIB: usize = 1 << 20;
    for len in [MIB - 1, MIB, MIB + 1, 5 * MIB] {
        probe.broadcast::<u8>(len as u64, len % probe.size(), len);
    }
}
