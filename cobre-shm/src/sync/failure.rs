//! The job's first failure: one word, set once, read by everybody.
//!
//! A failure fits one 64-bit word, so that it is published by a single compare-exchange and a
//! failing rank cannot die half-way through. What does not fit (the two calls of a mismatch) stands
//! in the ranks' call logs, which nobody rewrites once the job has failed.
//!
//! | bits | what |
//! |---|---|
//! | 0..8 | kind; 0 = no failure |
//! | 8..15 | the operation in which it was noticed; 0 = none |
//! | 15 | the job failed to form, so no rank has begun to work |
//! | 16..32 | the rank that failed, or the first of two |
//! | 32..64 | exit code, signal, abort code, or the second rank |

use cobre_comm_trait::{FailureCause, Operation};

use crate::{
    point,
    sync::{
        cell::{Members, RankCell},
        primitive::{Ordering, fence},
    },
    sys::park,
};

/// The failure word while the job forms: rank 0 makes it 0, or a failure takes its place. Whichever
/// comes first, all ranks agree whether the job has formed.
pub(crate) const FORMING: u64 = u64::MAX;

/// The bit of a failure that kept the job from forming.
const UNFORMED: u64 = 1 << 15;

/// What went wrong first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The rank ended although others needed it.
    RankFailed(FailureCause),
    /// The rank called `abort` with this code.
    Aborted(i32),
    /// The rank and the given other one made different calls.
    Mismatch(u16),
    /// The rank rejected its own arguments.
    Rejected,
    /// The given other rank gave up waiting for the rank; see [`crate::call::stall`].
    TimedOut(u16),
    /// The rank shows another round than it has published: its memory was overwritten.
    Overwritten,
    /// The rank and the given other, higher one have left a communicator split from the job, in which they
    /// made different calls.
    MismatchInSplit(u16),
    /// No rank writes such a word: it was overwritten.
    Unknown,
    /// While forming: the rank came with another job size.
    SizeDiffers(u32),
    /// While forming: a second process came as this rank.
    TakenTwice,
    /// While forming: the rank did not join in time.
    NeverCame,
    /// While forming: the rank could not reserve its memory (the system's error number).
    NoRoom(i32),
}

/// The first failure of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) rank: usize,
    pub(crate) operation: Option<Operation>,
    pub(crate) kind: Kind,
}

impl Failure {
    pub(crate) fn new(rank: usize, operation: Option<Operation>, kind: Kind) -> Self {
        Self {
            rank,
            operation,
            kind,
        }
    }

    fn encode(self) -> u64 {
        let (kind, detail) = match self.kind {
            Kind::RankFailed(FailureCause::Exited(None)) => (1, 0),
            Kind::RankFailed(FailureCause::Exited(Some(code))) => (2, code as u32),
            Kind::RankFailed(FailureCause::Signaled(signal)) => (3, signal as u32),
            Kind::RankFailed(FailureCause::Panicked) => (4, 0),
            // The enum is non-exhaustive: a cause added there is at least a death here.
            Kind::RankFailed(_) => (5, 0),
            Kind::Aborted(code) => (6, code as u32),
            Kind::Mismatch(other) => (7, u32::from(other)),
            Kind::Rejected => (8, 0),
            Kind::SizeDiffers(size) => (9, size),
            Kind::TakenTwice => (10, 0),
            Kind::NeverCame => (11, 0),
            Kind::NoRoom(errno) => (12, errno as u32),
            Kind::TimedOut(by) => (13, u32::from(by)),
            Kind::Overwritten => (14, 0),
            Kind::MismatchInSplit(other) => (15, u32::from(other)),
            Kind::Unknown => (0xff, 0),
        };
        let operation = self.operation.map_or(0, operation_code);
        u64::from(detail) << 32 | (self.rank as u64 & 0xffff) << 16 | operation << 8 | kind
    }

    /// `None` for 0 and [`FORMING`].
    fn decode(word: u64) -> Option<Self> {
        if word == 0 || word == FORMING {
            return None;
        }
        let detail = (word >> 32) as u32;
        let kind = match word & 0xff {
            1 => Kind::RankFailed(FailureCause::Exited(None)),
            2 => Kind::RankFailed(FailureCause::Exited(Some(detail as i32))),
            3 => Kind::RankFailed(FailureCause::Signaled(detail as i32)),
            4 => Kind::RankFailed(FailureCause::Panicked),
            5 => Kind::RankFailed(FailureCause::Died),
            6 => Kind::Aborted(detail as i32),
            7 => Kind::Mismatch(detail as u16),
            8 => Kind::Rejected,
            9 => Kind::SizeDiffers(detail),
            10 => Kind::TakenTwice,
            11 => Kind::NeverCame,
            12 => Kind::NoRoom(detail as i32),
            13 => Kind::TimedOut(detail as u16),
            14 => Kind::Overwritten,
            15 => Kind::MismatchInSplit(detail as u16),
            _ => Kind::Unknown,
        };
        Some(Self {
            rank: (word >> 16 & 0xffff) as usize,
            operation: operation_from_code(word >> 8 & 0x7f),
            kind,
        })
    }
}

/// Operations as they stand in shared memory, from 1.
const OPERATIONS: [Operation; 11] = [
    Operation::Barrier,
    Operation::Broadcast,
    Operation::Allreduce,
    Operation::Allgatherv,
    Operation::CreateRegion,
    Operation::Fence,
    Operation::SplitLocal,
    Operation::CreateExchange,
    Operation::CreateReduction,
    Operation::CreatePool,
    Operation::Append,
];

/// The number of an operation in shared memory.
pub(crate) fn operation_code(operation: Operation) -> u64 {
    let place = OPERATIONS.iter().position(|&known| known == operation);
    place.map_or(0, |place| place as u64 + 1)
}

/// The operation of a number in shared memory.
pub(crate) fn operation_from_code(code: u64) -> Option<Operation> {
    let place = usize::try_from(code.checked_sub(1)?).ok()?;
    OPERATIONS.get(place).copied()
}

/// The job's first failure, if there is one.
#[inline]
pub(crate) fn first(members: &impl Members) -> Option<Failure> {
    // Acquire matches `raise_from`'s Release, so that what the failing rank logged can be read.
    match members.failure().code.load(Ordering::Acquire) {
        0 => None,
        code => Failure::decode(code),
    }
}

/// Fails the formed job, unless it has failed already, and wakes everybody.
pub(crate) fn raise(members: &impl Members, failure: Failure) {
    if !raise_from(0, members, failure) && is_forming(members) {
        // The job has formed: somebody has overwritten the word. It must not keep failures out.
        raise_from(FORMING, members, failure);
    }
}

/// Fails the job that is forming, unless it has failed or formed already. Returns whether it did.
pub(crate) fn raise_while_forming(members: &impl Members, failure: Failure) -> bool {
    raise_from(FORMING, members, failure)
}

fn raise_from(state: u64, members: &impl Members, failure: Failure) -> bool {
    let word = &members.failure().code;
    let code = failure.encode() | if state == FORMING { UNFORMED } else { 0 };
    point::reached("raise");
    // Release matches the Acquire in `first`. If it fails, somebody else's cause stands.
    let set = word.compare_exchange(state, code, Ordering::Release, Ordering::Relaxed);
    if set.is_ok() {
        point::reached("raised");
        for rank in 0..members.size() {
            ring(members.cell(rank));
        }
    }
    set.is_ok()
}

/// Declares the job formed, unless it has failed. Returns whether it did.
pub(crate) fn declare_formed(members: &impl Members) -> bool {
    let word = &members.failure().code;
    // Release matches the Acquire in `is_forming`: that all have joined is visible.
    let set = word.compare_exchange(FORMING, 0, Ordering::Release, Ordering::Relaxed);
    set.is_ok()
}

/// The failure that kept the job from forming, if one did.
pub(crate) fn to_form(members: &impl Members) -> Option<Failure> {
    // Acquire matches `raise_from`'s Release.
    let code = members.failure().code.load(Ordering::Acquire);
    Failure::decode(code).filter(|_| code & UNFORMED != 0)
}

/// Whether the job has neither formed nor failed yet.
pub(crate) fn is_forming(members: &impl Members) -> bool {
    // Acquire matches the Release in `declare_formed`.
    members.failure().code.load(Ordering::Acquire) == FORMING
}

/// What a ring by somebody else than the owner adds to a doorbell; the low bits are the owner's.
const RING: u32 = 1 << 24;

/// Makes everybody who sleeps on this cell's doorbell look again.
///
/// The caller has just stored what they shall see. The word must change even if the owner rings at
/// the same moment, so that a sleeper who has not looked yet does not fall asleep on the old value.
pub(crate) fn ring(cell: &RankCell) {
    // Release matches the Acquire of the sleeper's load of the word, so that one who already sees
    // it changed also sees what the caller stored.
    cell.bell.word.fetch_add(RING, Ordering::Release);
    // Matches the sleeper's fence: either it sees the caller's store, or this sees it announced. Matches
    // itself, too: of two ranks that leave, at least one then sees the other (`parting`).
    fence(Ordering::SeqCst);
    if cell.sleepers.count.load(Ordering::Relaxed) > 0 {
        park::wake_all(&cell.bell.word);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Failure, Kind, OPERATIONS};
    use cobre_comm_trait::FailureCause;

    #[test]
    fn every_failure_survives_its_word() {
        let causes = [
            FailureCause::Exited(None),
            FailureCause::Exited(Some(-1)),
            FailureCause::Signaled(9),
            FailureCause::Panicked,
            FailureCause::Died,
        ];
        let kinds = causes.map(Kind::RankFailed).into_iter().chain([
            Kind::Aborted(-7),
            Kind::Mismatch(65_535),
            Kind::Rejected,
            Kind::TimedOut(1_023),
            Kind::Overwritten,
            Kind::MismatchInSplit(1_023),
            Kind::Unknown,
            Kind::SizeDiffers(u32::MAX),
            Kind::TakenTwice,
            Kind::NeverCame,
            Kind::NoRoom(28),
        ]);
        for kind in kinds {
            for operation in OPERATIONS.map(Some).into_iter().chain([None]) {
                let failure = Failure::new(4_095, operation, kind);
                assert_eq!(Failure::decode(failure.encode()), Some(failure));
            }
        }
        assert_eq!(Failure::decode(0), None);
    }
}

#[cfg(all(test, not(loom), target_endian = "little", target_pointer_width = "64"))]
mod documented {
    use super::{Failure, Kind, OPERATIONS};
    use crate::documented::{expect_words, numbered};
    use cobre_comm_trait::FailureCause;

    #[test]
    fn the_page_states_the_operations() {
        let names = OPERATIONS.map(|operation| operation.to_string());
        expect_words(&format!("Operations, from 1: {}.", names.join(", ")));
    }

    #[test]
    fn the_page_states_every_kind_of_failure() {
        let causes = [
            FailureCause::Exited(None),
            FailureCause::Exited(Some(1)),
            FailureCause::Signaled(9),
            FailureCause::Panicked,
            FailureCause::Died,
        ];
        let kinds = causes.map(Kind::RankFailed).into_iter().chain([
            Kind::Aborted(1),
            Kind::Mismatch(1),
            Kind::Rejected,
            Kind::SizeDiffers(2),
            Kind::TakenTwice,
            Kind::NeverCame,
            Kind::NoRoom(28),
            Kind::TimedOut(1),
            Kind::Overwritten,
            Kind::MismatchInSplit(1),
        ]);
        let codes: Vec<u64> = kinds
            .map(|kind| Failure::new(0, None, kind).encode() & 0xff)
            .collect();
        let stated: Vec<u64> = numbered("### Kinds of failure", 1)
            .into_iter()
            .map(|(code, _)| code)
            .collect();
        assert_eq!(stated, codes);
    }
}
