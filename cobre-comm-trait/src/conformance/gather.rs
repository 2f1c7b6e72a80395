//! allgatherv.

use super::values::{Random, even, packed, scattered};
use super::{Case, Probe, list, values};
use crate::SharedMemoryProvider;

pub(super) fn cases<C: SharedMemoryProvider>() -> Vec<Case<C>> {
    list!["gather":
        counts_may_differ,
        what_i_send_comes_back_to_me,
        a_single_element_each,
        one_rank_sends_nothing,
        only_one_rank_sends,
        nobody_sends,
        elements_of_odd_sizes,
        elements_of_no_bytes,
        bytes_at_odd_offsets,
        buffers_at_any_alignment,
        displacements_may_descend,
        gaps_stay_untouched,
        displacements_may_differ_by_rank,
        payloads_around_every_boundary,
        a_hundred_thousand_f64_each,
        megabytes,
        the_send_buffer_is_untouched,
    ]
}

fn counts_may_differ<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let counts: Vec<usize> = (0..probe.size()).map(|rank| 3 + 2 * rank).collect();
    probe.gather_packed::<f64>(1, &counts);
    let counts: Vec<usize> = (0..probe.size())
        .map(|rank| 200 - 17 * (rank % 10))
        .collect();
    probe.gather_packed::<i32>(2, &counts);
}

fn what_i_send_comes_back_to_me<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let (rank, size) = (probe.rank(), probe.size());
    let send = [rank as f64, -1.5, f64::NAN];
    let mut recv = vec![0.0; 3 * size];
    let displs: Vec<usize> = (0..size).map(|i| 3 * i).collect();
    let result = probe
        .comm
        .allgatherv(&send, &mut recv, &vec![3; size], &displs);
    probe.done("allgatherv", result);
    probe.same("my own elements", &recv[3 * rank..][..3], &send);
}

fn a_single_element_each<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    for round in 0..50 {
        probe.gather_packed::<f64>(round, &vec![1; probe.size()]);
    }
}

fn one_rank_sends_nothing<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    for silent in 0..probe.size() {
        for count in [4, 5000] {
            let mut counts = vec![count; probe.size()];
            counts[silent] = 0;
            probe.gather_packed::<u64>(silent as u64, &counts);
        }
    }
}

fn only_one_rank_sends<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    for speaker in 0..probe.size() {
        for count in [1, 300, 40_000] {
            let mut counts = vec![0; probe.size()];
            counts[speaker] = count;
            probe.gather_packed::<u16>(speaker as u64, &counts);
        }
    }
}

fn nobody_sends<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let nothing = vec![0; probe.size()];
    for round in 0..30 {
        probe.gather::<f64>(round, &nothing, &nothing, 0);
        // Where nothing goes does not matter, not even if it is outside.
        probe.gather::<f64>(round, &nothing, &vec![99; probe.size()], 7);
    }
}

fn elements_of_odd_sizes<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let counts: Vec<usize> = (0..probe.size()).map(|rank| 1 + rank * 3 % 7).collect();
    let more: Vec<usize> = counts.iter().map(|count| count * 211).collect();
    probe.gather_packed::<[u8; 29]>(1, &counts);
    probe.gather_packed::<[u8; 29]>(2, &more);
    probe.gather_packed::<[u8; 3]>(3, &counts);
    probe.gather_packed::<[u16; 3]>(4, &more);
    probe.gather_packed::<[f64; 5]>(5, &counts);
    probe.gather_packed::<[u64; 16]>(6, &more);
    probe.gather_packed::<[[u32; 3]; 7]>(7, &more);
}

fn elements_of_no_bytes<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let counts: Vec<usize> = (0..probe.size()).map(|rank| 5 * rank).collect();
    probe.gather_packed::<[u64; 0]>(1, &counts);
    probe.gather_packed::<u8>(2, &counts);
}

fn bytes_at_odd_offsets<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    for round in 0..30 {
        // Cuts of 29 + 8 n bytes, as many as the rank likes.
        let counts: Vec<usize> = (0..probe.size())
            .map(|rank| (29 + 8 * (rank % 3)) * (values::bits(round, rank, 0) % 70) as usize)
            .collect();
        let mut displs = packed(&counts).0;
        displs.iter_mut().for_each(|displ| *displ += 1);
        let recv_len = counts.iter().sum::<usize>() + 3;
        probe.gather::<u8>(round, &counts, &displs, recv_len);
    }
}

/// The slices of each rank begin at another address modulo 16.
fn buffers_at_any_alignment<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let (rank, size) = (probe.rank(), probe.size());
    for round in 0..16 {
        for count in [1, 7, 8, 31, 64, 777, 9001] {
            let offset = (rank * 5 + round) % 16;
            let mine = values::fill::<u8>(3, rank, count + offset);
            let mut recv = vec![0; size * count + offset];
            let displs: Vec<usize> = (0..size).map(|i| i * count).collect();
            let result = probe.comm.allgatherv(
                &mine[offset..],
                &mut recv[offset..],
                &vec![count; size],
                &displs,
            );
            probe.done("allgatherv", result);
            for other in 0..size {
                let skipped = (other * 5 + round) % 16;
                probe.same(
                    "unaligned bytes",
                    &recv[offset + other * count..][..count],
                    &values::fill::<u8>(3, other, count + skipped)[skipped..],
                );
            }
        }
    }
}

fn displacements_may_descend<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let size = probe.size();
    for each in [1, 6, 5000] {
        let counts: Vec<usize> = (0..size).map(|rank| each + rank % 2).collect();
        let displs: Vec<usize> = (0..size)
            .map(|rank| counts[rank + 1..].iter().sum())
            .collect();
        probe.gather::<f64>(each as u64, &counts, &displs, counts.iter().sum());
    }
}

fn gaps_stay_untouched<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let size = probe.size();
    for (each, gap) in [(1, 1), (3, 10), (100, 1), (4000, 4000)] {
        let displs: Vec<usize> = (0..size).map(|rank| gap + rank * (each + gap)).collect();
        let recv_len = gap + size * (each + gap);
        probe.gather::<f64>(each as u64, &vec![each; size], &displs, recv_len);
        probe.gather::<u8>(each as u64, &vec![each; size], &displs, recv_len);
    }
}

fn displacements_may_differ_by_rank<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let mut shared = Random::new(5);
    let mut own = Random::new(values::bits(6, probe.rank(), 0));
    for round in 0..30 {
        let most = [4, 60, 3000][round % 3];
        let counts: Vec<usize> = (0..probe.size()).map(|_| shared.below(most)).collect();
        let (displs, recv_len) = scattered(&counts, most, &mut own);
        probe.gather::<u32>(round as u64, &counts, &displs, recv_len);
        probe.gather::<[u8; 5]>(round as u64, &counts, &displs, recv_len);
    }
}

/// Sizes, in bytes, on both sides of cells, lines, pages and chunks.
pub(super) const BOUNDARIES: [usize; 32] = [
    1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 55, 56, 57, 63, 64, 65, 111, 112, 113,
    127, 128, 129, 4095, 4096, 4097, 16_384, 65_535,
];

fn payloads_around_every_boundary<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let size = probe.size();
    for (round, bytes) in BOUNDARIES.into_iter().enumerate() {
        probe.gather_packed::<u8>(bytes as u64, &vec![bytes; size]);
        // Only one rank is that large, another one each time.
        let mut counts = vec![3; size];
        counts[round % size] = bytes;
        probe.gather_packed::<u8>(bytes as u64, &counts);
        // The total is that large.
        probe.gather_packed::<u8>(bytes as u64, &even(bytes, size));
    }
    for elements in 1..=20 {
        probe.gather_packed::<f64>(elements as u64, &vec![elements; size]);
    }
}

fn a_hundred_thousand_f64_each<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    probe.gather_packed::<f64>(8, &vec![100_000; probe.size()]);
}

fn megabytes<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    const MIB: usize = 1 << 20;
    let size = probe.size();
    probe.gather_packed::<u8>(1, &even(MIB + 1, size));
    probe.gather_packed::<u8>(2, &even(5 * MIB, size));
    let mut counts = vec![1; size];
    counts[size - 1] = MIB + 1;
    probe.gather_packed::<u8>(3, &counts);
    counts[size - 1] = 0;
    counts[0] = 5 * MIB;
    probe.gather_packed::<u8>(4, &counts);
    let (displs, total) = packed(&even(MIB + 13, size));
    let last = total - displs[size - 1];
    let turned: Vec<usize> = displs.iter().map(|displ| displ + last).collect();
    probe.gather::<u8>(5, &even(MIB + 13, size), &turned, total + last);
}

fn the_send_buffer_is_untouched<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let (rank, size) = (probe.rank(), probe.size());
    for count in [1, 20, 3000] {
        let send = values::fill::<f64>(9, rank, count);
        let mut recv = vec![0.0; size * count];
        let (displs, _) = packed(&vec![count; size]);
        let result = probe
            .comm
            .allgatherv(&send, &mut recv, &vec![count; size], &displs);
        probe.done("allgatherv", result);
        probe.same("send", &send, &values::fill::<f64>(9, rank, count));
    }
}
