//! Who is who.

use super::{Case, Probe, list};
use crate::SharedMemoryProvider;

pub(super) fn cases<C: SharedMemoryProvider>() -> Vec<Case<C>> {
    list!["group":
        the_rank_is_below_the_size,
        every_rank_sees_the_same_size,
        ranks_are_unique_and_in_place,
        exactly_one_rank_leads,
    ]
}

fn the_rank_is_below_the_size<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    probe.check(probe.rank() < probe.size(), || "no such rank".to_owned());
}

/// Gathers one number of each rank.
fn everybodys<C: SharedMemoryProvider>(probe: &Probe<'_, C>, mine: u64) -> Vec<u64> {
    let size = probe.size();
    let mut all = vec![u64::MAX; size];
    let displs: Vec<usize> = (0..size).collect();
    let result = probe
        .comm
        .allgatherv(&[mine], &mut all, &vec![1; size], &displs);
    probe.done("allgatherv", result);
    all
}

fn every_rank_sees_the_same_size<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let size = probe.size() as u64;
    let sizes = everybodys(probe, size);
    probe.same("the sizes", &sizes, &vec![size; probe.size()]);
}

fn ranks_are_unique_and_in_place<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let ranks = everybodys(probe, probe.rank() as u64);
    let expected: Vec<u64> = (0..probe.size() as u64).collect();
    probe.same("the ranks", &ranks, &expected);
}

fn exactly_one_rank_leads<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let leaders = everybodys(probe, u64::from(probe.comm.is_leader()));
    probe.check(leaders.iter().sum::<u64>() == 1, || {
        format!("not exactly one leader: {leaders:?}")
    });
}
