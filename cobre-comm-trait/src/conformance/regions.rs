//! Shared regions.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use bytemuck::{Pod, Zeroable};

use super::errors::panicked;
use super::values::{bits, dawdle};
use super::{Case, Probe, list};
use crate::{CommError, ReduceOp, RegionReader, SharedMemoryProvider, SharedRegion, block_range};

pub(super) fn cases<C: SharedMemoryProvider>() -> Vec<Case<C>> {
    let mut cases = list!["regions":
        a_life,
        parts_tile_the_region,
        fresh_ones_are_zero,
        a_hundred_epochs,
        what_was_written_stays,
        the_leader_populates_everything,
        empty,
        of_structs,
        of_elements_without_bytes,
        several_at_once,
        dropped_in_any_order,
        dropped_in_either_epoch,
        readable_amid_other_operations,
        readable_from_several_threads,
        writable_from_another_thread,
        an_absurd_size_is_refused_and_harmless,
        megabytes,
    ];
    let last = list!["regions":
        a_leader_that_panics_fails_the_others >= 2,
    ];
    cases.extend(last.into_iter().map(|case| Case {
        ends_job: true,
        ..case
    }));
    cases
}

#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Cut {
    intercept: f64,
    slope: f32,
    state: [u8; 4],
    iteration: u64,
}

fn cut(i: usize) -> Cut {
    Cut {
        intercept: i as f64 / 3.0,
        slope: -(i as f32),
        state: [i as u8; 4],
        iteration: bits(9, 0, i),
    }
}

/// Writes `value(i)` to every element `i` of this rank's part.
fn write<T: crate::CommData>(region: &mut impl SharedRegion<T>, value: impl Fn(usize) -> T) {
    let part = region.part();
    for (i, element) in part.zip(region.part_mut()) {
        *element = value(i);
    }
}

fn all<T>(len: usize, value: impl Fn(usize) -> T) -> Vec<T> {
    (0..len).map(value).collect()
}

fn a_life<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let mut region = probe.region::<f64>(100);
    probe.check(region.len() == 100 && !region.is_empty(), || {
        format!("{} elements instead of 100", region.len())
    });
    write(&mut region, |i| i as f64 + 0.5);
    let reader = probe.publish(region);
    probe.same(
        "the region",
        reader.as_slice(),
        &all(100, |i| i as f64 + 0.5),
    );
    drop(reader);
    probe.barrier();
}

fn parts_tile_the_region<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let size = probe.size();
    for len in [1, size - 1, size, size + 1, 100, 1003] {
        let mut region = probe.region::<u32>(len);
        let expected = block_range(len, size, probe.rank());
        probe.check(region.part() == expected, || {
            format!("part {:?} of {len} instead of {expected:?}", region.part())
        });
        probe.check(region.part_mut().len() == expected.len(), || {
            format!("a part of another length than {expected:?}")
        });
        write(&mut region, |i| i as u32 + 1);
        let reader = probe.publish(region);
        probe.same("the region", &reader, &all(len, |i| i as u32 + 1));
    }
}

fn fresh_ones_are_zero<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    for len in [1, 1000, 50_000] {
        let mut region = probe.region::<u64>(len);
        let part = vec![0; region.part().len()];
        probe.same("a fresh part", region.part_mut(), &part);
        let reader = probe.publish(region);
        probe.same("a fresh region", &reader, &vec![0; len]);
        // Leave something behind that the next one must not find.
        let mut region = probe.reopen(reader);
        write(&mut region, |_| u64::MAX);
        drop(probe.publish(region));
    }
}

fn a_hundred_epochs<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let mut region = probe.region::<u64>(203);
    for epoch in 0..100 {
        dawdle(probe.rank(), epoch, 20);
        write(&mut region, |i| bits(epoch as u64, 0, i));
        let reader = probe.publish(region);
        dawdle(probe.rank(), epoch + 1000, 20);
        probe.same(
            "the region",
            &reader,
            &all(203, |i| bits(epoch as u64, 0, i)),
        );
        region = probe.reopen(reader);
    }
}

fn what_was_written_stays<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let mut region = probe.region::<i16>(77);
    write(&mut region, |i| i as i16);
    let mut region = probe.reopen(probe.publish(region));
    let part = region.part();
    let expected: Vec<i16> = part.map(|i| i as i16).collect();
    probe.same(
        "my part in the second write epoch",
        region.part_mut(),
        &expected,
    );
    // Only the last rank writes this time.
    if probe.rank() == probe.size() - 1 {
        write(&mut region, |i| -(i as i16));
    }
    let reader = probe.publish(region);
    let last = block_range(77, probe.size(), probe.size() - 1);
    let expected = all(77, |i| {
        if last.contains(&i) {
            -(i as i16)
        } else {
            i as i16
        }
    });
    probe.same("the region", &reader, &expected);
}

fn the_leader_populates_everything<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let mut region = probe.region::<u64>(500);
    for epoch in 0..10_u64 {
        write(&mut region, |i| bits(epoch, 1, i));
        let mut found = None;
        let result = region.populate_by_leader(|whole| {
            found = Some(whole.to_vec());
            for (i, element) in whole.iter_mut().enumerate() {
                *element = bits(epoch, 2, i);
            }
        });
        let reader = probe.done("populate_by_leader", result);
        probe.check(found.is_some() == probe.comm.is_leader(), || {
            "populate was called elsewhere than on the leader".to_owned()
        });
        if let Some(found) = found {
            probe.same(
                "what the leader finds",
                &found,
                &all(500, |i| bits(epoch, 1, i)),
            );
        }
        probe.same("the region", &reader, &all(500, |i| bits(epoch, 2, i)));
        region = probe.reopen(reader);
    }
}

fn empty<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let mut region = probe.region::<f64>(0);
    probe.check(region.is_empty() && region.part().is_empty(), || {
        format!("{} elements, part {:?}", region.len(), region.part())
    });
    probe.same("an empty part", region.part_mut(), &[]);
    let reader = probe.publish(region);
    probe.same("an empty region", &reader, &[]);
    let result = probe
        .reopen(reader)
        .populate_by_leader(|whole| assert!(whole.is_empty()));
    let reader = probe.done("populate_by_leader", result);
    probe.same("an empty region", &reader, &[]);
}

fn of_structs<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    for len in [1, 99, 4001] {
        let mut region = probe.region::<Cut>(len);
        write(&mut region, cut);
        let reader = probe.publish(region);
        probe.same("the cuts", &reader, &all(len, cut));
        let mut region = probe.region::<[u8; 29]>(len);
        write(&mut region, |i| [i as u8; 29]);
        probe.same(
            "bytes",
            &probe.publish(region),
            &all(len, |i| [i as u8; 29]),
        );
    }
}

fn of_elements_without_bytes<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let region = probe.region::<[f64; 0]>(10);
    probe.check(region.len() == 10, || format!("{} elements", region.len()));
    let reader = probe.publish(region);
    probe.check(reader.len() == 10, || format!("{} elements", reader.len()));
}

fn several_at_once<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let mut states = probe.region::<f64>(300);
    let mut cuts = probe.region::<Cut>(41);
    let mut flags = probe.region::<u8>(1);
    write(&mut cuts, cut);
    write(&mut states, |i| i as f64);
    let cuts = probe.publish(cuts);
    let mut more = probe.region::<u16>(5000);
    write(&mut flags, |_| 7);
    write(&mut more, |i| i as u16);
    let more = probe.publish(more);
    let states = probe.publish(states);
    let flags = probe.publish(flags);
    probe.same("cuts", &cuts, &all(41, cut));
    probe.same("states", &states, &all(300, |i| i as f64));
    probe.same("flags", &flags, &[7]);
    probe.same("more", &more, &all(5000, |i| i as u16));
    let mut states = probe.reopen(states);
    write(&mut states, |i| -(i as f64));
    let states = probe.publish(states);
    probe.same("states", &states, &all(300, |i| -(i as f64)));
    probe.same("cuts", &cuts, &all(41, cut));
}

fn dropped_in_any_order<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    for round in 0..20 {
        let mut readers: Vec<_> = (0..4_usize)
            .map(|k| {
                let mut region = probe.region::<u64>(100 * k + 3);
                write(&mut region, |i| bits(k as u64, 0, i));
                (k, probe.publish(region))
            })
            .collect();
        readers.rotate_left((probe.rank() + round) % 4);
        if probe.rank() % 2 == 1 {
            readers.reverse();
        }
        while let Some((k, reader)) = readers.pop() {
            probe.same(
                "a region",
                &reader,
                &all(100 * k + 3, |i| bits(k as u64, 0, i)),
            );
            drop(reader);
            if readers.len() == 2 {
                // Some have dropped a region that others still read.
                probe.reduce(ReduceOp::Sum, 3, |rank, i| (rank + i) as f64);
            }
        }
    }
}

fn dropped_in_either_epoch<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    for _ in 0..10 {
        drop(probe.region::<u8>(10_000));
        let region = probe.region::<u8>(10_000);
        drop(probe.reopen(probe.publish(region)));
        probe.broadcast::<u8>(1, 0, 3);
    }
}

fn readable_amid_other_operations<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let mut region = probe.region::<u64>(1000);
    write(&mut region, |i| bits(1, 0, i));
    let reader = probe.publish(region);
    for round in 0..20_u64 {
        probe.gather_packed::<u64>(round, &vec![300; probe.size()]);
        probe.broadcast::<u64>(round, 0, 5000);
        probe.same("the region", &reader, &all(1000, |i| bits(1, 0, i)));
    }
}

fn readable_from_several_threads<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let mut region = probe.region::<u64>(3000);
    write(&mut region, |i| i as u64);
    let reader = probe.publish(region);
    let whole: &[u64] = &reader;
    let sums: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| whole.iter().sum::<u64>()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or(0))
            .collect()
    });
    probe.same("sums", &sums, &[3000 * 2999 / 2; 3]);
}

fn writable_from_another_thread<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let mut region = probe.region::<u64>(3000);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let half = region.part_mut().len() / 2;
            let (low, high) = region.part_mut().split_at_mut(half);
            std::thread::scope(|scope| {
                scope.spawn(|| low.fill(1));
                high.fill(1);
            });
        });
    });
    probe.same("the region", &probe.publish(region), &[1; 3000]);
}

fn an_absurd_size_is_refused_and_harmless<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    const LEN: usize = usize::MAX / 2;
    let refused = [
        (
            probe.comm.create_shared_region::<f64>(LEN).map(drop),
            usize::MAX,
        ),
        (probe.comm.create_shared_region::<u8>(LEN).map(drop), LEN),
    ];
    for (outcome, bytes) in refused {
        let as_expected = matches!(
            &outcome,
            Err(CommError::AllocationFailed { requested_bytes, message })
                if *requested_bytes == bytes && !message.is_empty()
        );
        probe.check(as_expected, || {
            format!("{outcome:?} instead of AllocationFailed of {bytes} bytes")
        });
    }
    // Not final.
    probe.barrier();
    probe.reduce(ReduceOp::Sum, 2, |rank, i| (rank + i) as f64);
    a_life(probe);
}

fn megabytes<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    const LEN: usize = (1 << 18) + 7;
    let mut region = probe.region::<u64>(LEN);
    write(&mut region, |i| i as u64 * 3);
    let reader = probe.publish(region);
    probe.same("the region", &reader, &all(LEN, |i| i as u64 * 3));
}

fn a_leader_that_panics_fails_the_others<C: SharedMemoryProvider>(probe: &Probe<'_, C>) {
    let region = probe.region::<f64>(10);
    if probe.comm.is_leader() {
        let populate = AssertUnwindSafe(|| {
            // Without the hook, so that nobody takes it for a failure of the case.
            let result = region.populate_by_leader(|_| resume_unwind(Box::new("on purpose")));
            drop(result);
        });
        probe.check(catch_unwind(populate).is_err(), || {
            "the panic is lost".to_owned()
        });
    } else {
        let result = region.populate_by_leader(|_| {}).map(drop);
        let error = probe.first_error(result);
        panicked(probe, &error);
    }
    probe.is_poisoned();
}
