//! What each rank called last, for peers that must explain a disagreement.
//!
//! The owner writes an entry at the start of every collective: a few stores to lines that nobody
//! reads while all is well. A rank runs a bounded number of rounds ahead of any other
//! ([`MAX_LEAD`], less than the entries here) and records nothing once the job has failed, so the
//! calls that two ranks disagree about are still there. Whoever looks at a running job may meet an entry
//! that is just being written: its number tells.

use core::{
    any::TypeId,
    mem::{offset_of, size_of},
};

use cobre_comm_trait::{Call, Operation, ReduceOp};

use crate::{
    call::sites::SiteTable,
    sync::{
        failure::{operation_code, operation_from_code},
        primitive::{AtomicU64, Ordering, fence},
        round::{MAX_LEAD, mix},
    },
};

/// Calls remembered per rank.
pub(crate) const ENTRIES: usize = 16;
const _: () = assert!((MAX_LEAD as usize) < ENTRIES);

/// The last calls of one rank.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct CallLog {
    /// The number of the last call that has ended.
    ended: AtomicU64,
    entries: [Entry; ENTRIES],
}

/// One call. Written by the owner; `number` last.
#[derive(Debug)]
#[repr(C, align(64))]
struct Entry {
    number: AtomicU64,
    /// Operation (bits 0..8), reduction (8..16), rejected (16), site (32..64).
    what: AtomicU64,
    element: AtomicU64,
    /// Elements the rank sends, or of the buffer.
    count: AtomicU64,
    /// Elements of all ranks together, the root, or the region.
    other: AtomicU64,
    /// The hash of the counts of an allgatherv.
    detail: AtomicU64,
    /// The call's signature.
    signature: AtomicU64,
}

/// The type of the elements: code (bits 0..8, 0 = not a primitive), hash of the name (8..32), size
/// in bytes (32..64).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element(u64);

/// The primitive numbers; their code is their place plus one.
const PRIMITIVES: [&str; 12] = [
    "i8", "i16", "i32", "i64", "isize", "u8", "u16", "u32", "u64", "usize", "f32", "f64",
];

impl Element {
    /// No elements: a barrier.
    pub(crate) const NONE: Self = Self(0);

    /// The type `T`. A constant for the primitives in optimised code.
    #[inline]
    pub(crate) fn of<T: 'static>() -> Self {
        let id = TypeId::of::<T>();
        let primitives = [
            TypeId::of::<i8>(),
            TypeId::of::<i16>(),
            TypeId::of::<i32>(),
            TypeId::of::<i64>(),
            TypeId::of::<isize>(),
            TypeId::of::<u8>(),
            TypeId::of::<u16>(),
            TypeId::of::<u32>(),
            TypeId::of::<u64>(),
            TypeId::of::<usize>(),
            TypeId::of::<f32>(),
            TypeId::of::<f64>(),
        ];
        let size = (size_of::<T>() as u64) << 32;
        for (place, primitive) in primitives.iter().enumerate() {
            if id == *primitive {
                return Self(size | (place as u64 + 1));
            }
        }
        // Names, not ids: the ranks may be different programs.
        let name = core::any::type_name::<T>().bytes();
        let hash = name.fold(0, |hash, byte| mix(hash ^ u64::from(byte)));
        Self(size | (hash & 0x00ff_ffff) << 8)
    }

    fn name(self) -> String {
        let known = PRIMITIVES.get((self.0 as usize & 0xff).wrapping_sub(1));
        known.map_or_else(
            || {
                format!(
                    "<{}-byte struct #{:06x}>",
                    self.0 >> 32,
                    self.0 >> 8 & 0x00ff_ffff
                )
            },
            |name| (*name).to_owned(),
        )
    }
}

/// The arguments of a call that all ranks must agree on, and those worth showing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signature {
    pub(crate) operation: Operation,
    pub(crate) element: Element,
    /// Agreed, except for allgatherv, where it is this rank's own.
    pub(crate) count: u64,
    /// Total count of an allgatherv, root of a broadcast, region of a fence, reduction (0: none).
    pub(crate) other: u64,
    pub(crate) reduce: Option<ReduceOp>,
    /// A hash of what does not fit the fields: the counts of an allgatherv or an exchange.
    pub(crate) detail: u64,
    /// The rank rejects its own arguments.
    pub(crate) rejected: bool,
}

impl Signature {
    pub(crate) fn new(operation: Operation, element: Element, count: usize) -> Self {
        Self {
            operation,
            element,
            count: count as u64,
            other: 0,
            reduce: None,
            detail: 0,
            rejected: false,
        }
    }

    /// Bytes that `rank` contributes.
    pub(crate) fn contribution(&self, rank: usize) -> u64 {
        let bytes = self.count.saturating_mul(self.element.0 >> 32);
        match self.operation {
            Operation::Allreduce | Operation::Allgatherv => bytes,
            Operation::Broadcast if self.other == rank as u64 => bytes,
            _ => 0,
        }
    }

    /// The arguments, for people.
    pub(crate) fn arguments(&self) -> String {
        let element = self.element.name();
        let Self { count, other, .. } = self;
        let counts = self.detail >> 48;
        match (self.operation, self.reduce) {
            (Operation::Allreduce, Some(op)) if *other != 0 => {
                format!("{element}[{count}], {op}, reduction {other}")
            }
            (Operation::Allreduce, Some(op)) => format!("{element}[{count}], {op}"),
            (Operation::Allgatherv, _) => {
                format!("{element}[{count}] of {other} in all, counts #{counts:04x}")
            }
            (Operation::Broadcast, _) => format!("{element}[{count}], root {other}"),
            (Operation::CreateRegion | Operation::CreateReduction | Operation::CreatePool, _) => {
                format!("{element}[{count}]")
            }
            (Operation::Append, _) => format!("{element}[{count}], pool {other}"),
            (Operation::CreateExchange, _) => {
                format!("{element}[{count}] in all, counts #{counts:04x}")
            }
            (Operation::Fence, _) => format!("region {other}, {}", fence_name(*count)),
            _ => String::new(),
        }
    }

    fn reduce_code(&self) -> u64 {
        let op = self.reduce;
        let place = ReduceOp::ALL.iter().position(|&known| Some(known) == op);
        place.map_or(0, |place| place as u64 + 1)
    }

    /// One word that differs when ranks disagree.
    #[inline]
    pub(crate) fn hash(&self) -> u64 {
        // A rank's own count of these is not agreed; of an allgatherv the hash of all counts is.
        let count = match self.operation {
            Operation::Allgatherv | Operation::Append => 0,
            _ => self.count,
        };
        let what = operation_code(self.operation)
            | self.reduce_code() << 8
            | u64::from(self.rejected) << 16;
        [self.element.0, count, self.other, self.detail]
            .into_iter()
            .fold(mix(what), |hash, word| mix(hash ^ word))
    }
}

/// The sum of the counts of all ranks, and a hash of them.
#[inline]
pub(crate) fn hash_counts(counts: &[usize]) -> (u64, u64) {
    counts.iter().fold((0, 0), |(total, hash), &count| {
        let count = count as u64;
        (total.wrapping_add(count), mix(hash ^ count))
    })
}

impl CallLog {
    fn entry(&self, number: u64) -> &Entry {
        &self.entries[number as usize % ENTRIES]
    }

    /// Records the owner's call `number`.
    #[inline]
    pub(crate) fn record(&self, number: u64, signature: &Signature, hash: u64, site: u32) {
        let entry = self.entry(number);
        let what = operation_code(signature.operation)
            | signature.reduce_code() << 8
            | u64::from(signature.rejected) << 16
            | u64::from(site) << 32;
        // Relaxed with the fence matches the fence in `describe`: who read a field of this call
        // sees the number changed.
        entry.number.store(0, Ordering::Relaxed);
        fence(Ordering::Release);
        entry.what.store(what, Ordering::Relaxed);
        entry.element.store(signature.element.0, Ordering::Relaxed);
        entry.count.store(signature.count, Ordering::Relaxed);
        entry.other.store(signature.other, Ordering::Relaxed);
        entry.detail.store(signature.detail, Ordering::Relaxed);
        entry.signature.store(hash, Ordering::Relaxed);
        // Release matches the Acquire in `get`.
        entry.number.store(number, Ordering::Release);
    }

    /// Notes that the owner's call `number` has ended.
    #[inline]
    pub(crate) fn end(&self, number: u64) {
        // Relaxed: for those who look at a running job only.
        self.ended.store(number, Ordering::Relaxed);
    }

    /// The number of the owner's last call, 0 before the first, and whether it has ended.
    pub(crate) fn last(&self) -> (u64, bool) {
        // Before the numbers: a call that begins meanwhile has not ended.
        let ended = self.ended.load(Ordering::Acquire);
        let last = self.numbers().max().unwrap_or(0);
        (last, last <= ended)
    }

    /// The numbers of the entries of the log whose bytes these are.
    pub(crate) fn numbers_in(bytes: &[u8; size_of::<Self>()]) -> [u64; ENTRIES] {
        core::array::from_fn(|entry| {
            let at = offset_of!(Self, entries) + entry * size_of::<Entry>();
            let at = at + offset_of!(Entry, number);
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[at..at + 8]);
            u64::from_ne_bytes(number)
        })
    }

    /// For a private copy of a log: forgets each entry that its owner may have been writing while it
    /// was copied, between the readings of the numbers `before` and `after`. Returns whether
    /// the last call is among them.
    pub(crate) fn forget_torn(&self, before: [u64; ENTRIES], after: [u64; ENTRIES]) -> bool {
        let last = self.numbers().max();
        let mut forgot_last = false;
        for (entry, (before, after)) in self.entries.iter().zip(before.into_iter().zip(after)) {
            let number = entry.number.load(Ordering::Relaxed);
            if (before, after) != (number, number) {
                entry.number.store(0, Ordering::Relaxed);
                forgot_last |= Some(number) == last;
            }
        }
        forgot_last
    }

    fn get(&self, number: u64) -> Option<&Entry> {
        let entry = self.entry(number);
        // Acquire matches the Release in `record`.
        (entry.number.load(Ordering::Acquire) == number && number > 0).then_some(entry)
    }

    fn numbers(&self) -> impl Iterator<Item = u64> {
        let numbers = self.entries.iter();
        numbers.map(|entry| entry.number.load(Ordering::Acquire))
    }

    /// The first call in which two ranks differ, among those both still remember.
    pub(crate) fn first_difference(&self, other: &Self) -> Option<u64> {
        let mut numbers: Vec<u64> = self.numbers().collect();
        numbers.sort_unstable();
        numbers.into_iter().find(|&number| {
            let pair = (self.get(number), other.get(number));
            let (Some(mine), Some(theirs)) = pair else {
                return false;
            };
            let signature = |entry: &Entry| entry.signature.load(Ordering::Relaxed);
            signature(mine) != signature(theirs)
        })
    }

    /// The operation of call `number`, if the owner has not overwritten it.
    pub(crate) fn operation(&self, number: u64) -> Option<Operation> {
        let what = self.get(number)?.what.load(Ordering::Relaxed);
        operation_from_code(what & 0xff)
    }

    /// The number of the last call that was rejected by its own rank.
    pub(crate) fn last_rejected(&self) -> Option<u64> {
        self.numbers()
            .filter(|&number| self.get(number).is_some_and(Entry::is_rejected))
            .max()
    }

    /// The record of call `number`, for people; `None` if the owner has overwritten it.
    pub(crate) fn describe(&self, rank: usize, number: u64, sites: &SiteTable) -> Option<Call> {
        let entry = self.get(number)?;
        let what = entry.what.load(Ordering::Relaxed);
        let operation = operation_from_code(what & 0xff)?;
        let reduce = (what >> 8 & 0xff)
            .checked_sub(1)
            .and_then(|place| ReduceOp::ALL.get(place as usize));
        let signature = Signature {
            operation,
            element: Element(entry.element.load(Ordering::Relaxed)),
            count: entry.count.load(Ordering::Relaxed),
            other: entry.other.load(Ordering::Relaxed),
            reduce: reduce.copied(),
            detail: entry.detail.load(Ordering::Relaxed),
            rejected: entry.is_rejected(),
        };
        let location = sites.get((what >> 32) as u32);
        // The fence matches the one in `record`: had a field been of a later call, the number would
        // be seen changed.
        fence(Ordering::Acquire);
        (entry.number.load(Ordering::Relaxed) == number).then_some(())?;
        let arguments = signature.arguments();
        Some(Call::new(rank, number, operation, arguments, location))
    }
}

impl Entry {
    fn is_rejected(&self) -> bool {
        self.what.load(Ordering::Relaxed) >> 16 & 1 == 1
    }
}

/// What a fence leads to, as [`crate::window`] numbers it.
fn fence_name(kind: u64) -> &'static str {
    match kind {
        0 => "to the read epoch",
        1 => "to the write epoch",
        2 => "to the leader's epoch",
        3 => "of an exchange",
        4 => "of a pool",
        _ => "to the results of shared work",
    }
}

#[cfg(test)]
mod tests {
    use super::{Element, PRIMITIVES, Signature};
    use cobre_comm_trait::{Operation, ReduceOp};

    #[test]
    fn primitives_are_known_by_name() {
        assert_eq!(Element::of::<f64>().name(), "f64");
        assert_eq!(Element::of::<i8>().name(), PRIMITIVES[0]);
        assert_eq!(Element::of::<usize>().name(), "usize");
        assert!(Element::of::<[u8; 29]>().name().starts_with("<29-byte"));
    }

    #[test]
    fn every_agreed_argument_changes_the_hash() {
        let base = Signature::new(Operation::Allreduce, Element::of::<f64>(), 3);
        let others = [
            Signature::new(Operation::Broadcast, Element::of::<f64>(), 3),
            Signature::new(Operation::Allreduce, Element::of::<u64>(), 3),
            Signature::new(Operation::Allreduce, Element::of::<f64>(), 4),
            Signature { other: 1, ..base },
            Signature { detail: 1, ..base },
            Signature {
                reduce: Some(ReduceOp::Sum),
                ..base
            },
            Signature {
                rejected: true,
                ..base
            },
        ];
        for other in others {
            assert_ne!(base.hash(), other.hash(), "{other:?}");
        }
    }
}

#[cfg(all(test, not(loom), target_endian = "little", target_pointer_width = "64"))]
mod documented {
    use super::{CallLog, ENTRIES, Entry, PRIMITIVES};
    use crate::documented::{expect, expect_words, fields};
    use cobre_comm_trait::ReduceOp;

    #[test]
    fn the_page_states_the_call_log() {
        let log = fields!(CallLog { ended, entries });
        expect("### Call log", log, size_of::<CallLog>());
        expect_words(&format!(
            "{ENTRIES} entries of {} bytes",
            size_of::<Entry>()
        ));
        let entry = fields!(Entry {
            number,
            what,
            element,
            count,
            other,
            detail,
            signature
        });
        expect("#### Entry", entry, size_of::<Entry>());
    }

    #[test]
    fn the_page_states_the_codes() {
        let reductions = ReduceOp::ALL.map(|op| format!("{op:?}")).join(", ");
        expect_words(&format!("Reductions, from 1: {reductions}."));
        let types = PRIMITIVES.join(", ");
        expect_words(&format!("Element codes, from 1: {types};"));
    }
}
