//! Who was missing when a rank gave up waiting.
//!
//! The rank writes its record before it fails the job, because what it saw changes from then on:
//! whoever was missing may come, and learns of the failure. The failure word says whose record
//! counts.

use core::time::Duration;

use cobre_comm_trait::Missing;

use crate::{
    call::activity::{self, Glimpse},
    memory::control::Control,
    sync::{
        cell::Members,
        primitive::{AtomicU64, Ordering},
        wait::{self, Wait},
    },
    sys::process,
};

/// Missing ranks that a record names; the others it counts.
const NAMED: usize = 8;

/// What one rank saw when it gave up.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct StallRecord {
    /// How long it had waited, in nanoseconds.
    waited: AtomicU64,
    /// How many ranks had not arrived.
    missing: AtomicU64,
    named: [Entry; NAMED],
}

/// One missing rank.
#[derive(Debug)]
#[repr(C)]
struct Entry {
    rank: AtomicU64,
    glimpse: [AtomicU64; 3],
}

/// A record as an error tells it.
#[derive(Debug)]
pub(crate) struct Stall {
    pub(crate) waited: Duration,
    /// The first of those that had not arrived.
    pub(crate) missing: Vec<Missing>,
    /// How many more there were.
    pub(crate) more: usize,
}

/// Records that the rank of `wait` gives up, and who has not arrived where it waits. By that rank.
pub(crate) fn record(control: &Control, wait: Wait, waited: Duration) {
    let record = &control.block(wait.rank).stall;
    let late = (0..control.size())
        .filter(|&rank| rank != wait.rank && !wait::has_arrived(control.cell(rank), wait.round));
    let mut count = 0;
    for rank in late {
        if let Some(entry) = record.named.get(count) {
            // All of it Relaxed: the failure is raised after it, with Release.
            entry.rank.store(rank as u64, Ordering::Relaxed);
            let glimpse = activity::glimpse(control, rank);
            let glimpse = if is_stopped(control, rank) {
                glimpse.stopped()
            } else {
                glimpse
            };
            for (word, value) in entry.glimpse.iter().zip(glimpse.encode()) {
                word.store(value, Ordering::Relaxed);
            }
        }
        count += 1;
    }
    let nanos = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
    record.waited.store(nanos, Ordering::Relaxed);
    record.missing.store(count as u64, Ordering::Relaxed);
}

/// Whether the process of `rank` is stopped, as far as it can be seen from here.
fn is_stopped(control: &Control, rank: usize) -> bool {
    let presence = &control.cell(rank).presence;
    let namespace = presence.pid_namespace.load(Ordering::Relaxed);
    // Elsewhere the number means another process.
    namespace != 0
        && namespace == process::pid_namespace()
        && process::is_stopped(presence.pid.load(Ordering::Relaxed))
}

/// What `rank` recorded: the same whoever reads it, once the failure that it led to has been seen.
pub(crate) fn read(control: &Control, rank: usize) -> Stall {
    let record = &control.block(rank).stall;
    let count = record.missing.load(Ordering::Relaxed) as usize;
    let named = record.named.iter().take(count).map(|entry| {
        let rank = entry.rank.load(Ordering::Relaxed) as usize;
        // Checked, like all that is read from shared memory.
        let rank = rank.min(control.size() - 1);
        let glimpse = Glimpse::decode(entry.glimpse.each_ref().map(load));
        Missing::new(
            rank,
            control.cell(rank).presence.pid.load(Ordering::Relaxed),
            activity::tell(control, rank, glimpse),
        )
    });
    Stall {
        waited: Duration::from_nanos(load(&record.waited)),
        missing: named.collect(),
        more: count.min(control.size()).saturating_sub(NAMED),
    }
}

fn load(word: &AtomicU64) -> u64 {
    word.load(Ordering::Relaxed)
}

#[cfg(all(test, not(loom), target_endian = "little", target_pointer_width = "64"))]
mod documented {
    use super::{Entry, NAMED, StallRecord};
    use crate::documented::{expect, expect_words, fields};

    #[test]
    fn the_page_states_the_stall_record() {
        let record = fields!(StallRecord {
            waited,
            missing,
            named
        });
        expect("### Stall record", record, size_of::<StallRecord>());
        let entry = fields!(Entry { rank, glimpse });
        expect("#### Missing rank", entry, size_of::<Entry>());
        expect_words(&format!("the first {NAMED} missing ranks"));
    }
}
