//! A private copy of a control segment, as consistent as what is read from it needs.

use core::mem::{offset_of, size_of};
use std::{fs::File, io, os::unix::fs::FileExt};

use crate::{
    call::log::{CallLog, ENTRIES},
    memory::{
        control::Control,
        layout::{Geometry, Header, RankBlock},
        segment::Segment,
    },
    sync::primitive::{Ordering, fence},
};

/// How often a block is read again because its last call was being written.
const TRIES: usize = 3;

/// A control region over private memory with what `file`, of this `geometry`, holds now; without the
/// staging.
pub(super) fn of(file: &File, geometry: Geometry) -> io::Result<Control> {
    // Staging is not copied, so the copy has the smallest. Header and blocks lie where they did.
    let geometry = Geometry::with_staging(geometry.size(), 0);
    let mut segment = Segment::private(geometry.total_bytes())?;
    let mut bytes = vec![0; size_of::<RankBlock>()];
    let header = &mut bytes[..size_of::<Header>()];
    file.read_exact_at(header, 0)?;
    segment.fill(0, header);
    let mut control = Control::new(segment, geometry, None);
    for rank in 0..geometry.size() {
        let offset = geometry.block_offset(rank);
        let log = offset + offset_of!(RankBlock, calls);
        for _ in 0..TRIES {
            // An entry whose number was the same before and after was not written in between. The
            // fences keep the readings in this order on processors that do not; they match the
            // Release stores and the fence in `CallLog::record`.
            let before = numbers(file, log)?;
            fence(Ordering::Acquire);
            file.read_exact_at(&mut bytes, offset as u64)?;
            fence(Ordering::Acquire);
            let after = numbers(file, log)?;
            control.fill(offset, &bytes);
            if !control.block(rank).calls.forget_torn(before, after) {
                break;
            }
        }
    }
    Ok(control)
}

fn numbers(file: &File, log: usize) -> io::Result<[u64; ENTRIES]> {
    let mut bytes = [0; size_of::<CallLog>()];
    file.read_exact_at(&mut bytes, log as u64)?;
    Ok(CallLog::numbers_in(&bytes))
}

#[cfg(test)]
mod tests {
    use cobre_comm_trait::Operation;

    use super::of;
    use crate::{
        call::log::{ENTRIES, Element, Signature},
        memory::{control::Control, layout::Geometry, segment::Segment},
        sync::primitive::{AtomicU32, Ordering, spin_hint},
        sys::shm,
    };

    /// What is told of a call belongs to that call, however fast its rank overwrites it.
    #[test]
    fn calls_are_never_mixed() {
        let file = shm::unnamed().unwrap();
        let geometry = Geometry::with_staging(1, 0);
        file.set_len(geometry.total_bytes() as u64).unwrap();
        let segment = Segment::map(&file, geometry.total_bytes()).unwrap();
        let control = Control::new(segment, geometry, None);
        let stop = AtomicU32::new(0);
        let (mut told, mut mixed) = (0_u32, Vec::new());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut number = 0;
                while stop.load(Ordering::Relaxed) == 0 {
                    number += 1;
                    let signature = Signature {
                        other: number,
                        ..Signature::new(Operation::Broadcast, Element::of::<u8>(), number as usize)
                    };
                    control.block(0).calls.record(number, &signature, 0, 0);
                    for _ in 0..number % 64 {
                        spin_hint();
                    }
                }
            });
            while told < 100_000 {
                let copy = of(&file, geometry).unwrap();
                let block = copy.block(0);
                let (last, _) = block.calls.last();
                for number in last.saturating_sub(ENTRIES as u64)..=last {
                    if let Some(call) = block.calls.describe(0, number, &block.sites) {
                        told += 1;
                        if call.arguments != format!("u8[{number}], root {number}") {
                            mixed.push(call);
                        }
                    }
                }
            }
            stop.store(1, Ordering::Relaxed);
        });
        assert_eq!(mixed, [], "{} of {told}", mixed.len());
    }
}
