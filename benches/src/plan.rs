//! A case as a sequence of collectives, the same on every rank.

use cobre_comm_trait::ReduceOp;

/// Forward passes of the case whose traffic is replayed, shared out among the ranks.
const FORWARD_PASSES: usize = 4;
/// After so many iterations the growing messages of the replay start again.
pub const ITERATIONS: u64 = 256;

/// What is repeated: one *turn* is one pass through the steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In order.
    pub steps: Vec<Step>,
    /// Whether what a call received is read, one element of each line.
    pub read: bool,
}

/// A collective, and what a rank computes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Before the call, only in the replay with work.
    pub work: Work,
    /// The collective.
    pub call: Call,
}

/// What a rank computes before a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Nothing.
    None,
    /// Every rank something, each another amount.
    Each,
    /// Rank 0 something, the others wait.
    Root,
}

/// One collective.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// A barrier.
    Barrier,
    /// A reduction.
    Allreduce(Element, ReduceOp, Length),
    /// A gather.
    Allgatherv(Element, Share),
    /// A broadcast of so many elements.
    Broadcast(Element, usize, Root),
}

/// The types that travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// `f64`
    F64,
    /// `u64`
    U64,
    /// `i32`
    I32,
    /// `u8`
    U8,
}

/// Length of a reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Always so many elements.
    Fixed(usize),
    /// One element for each cut there is: 4 more every iteration, 4 to 1024.
    Cuts,
}

/// What each rank contributes to a gather.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// The same on every rank.
    Uniform(usize),
    /// So much for each of the rank's forward passes: nothing where a rank has none.
    PerPass(usize),
    /// So much for each forward pass of the rank that has most of them.
    Padded(usize),
}

/// Who broadcasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// Rank 0.
    Zero,
    /// The next rank every turn, so that none runs ahead.
    Rotating,
}

impl Length {
    /// Elements in a turn.
    ///
    /// The cuts of the 256 iterations come in bit-reversed order, so that a batch of any size sees
    /// early and late iterations alike and batches can be compared.
    #[must_use]
    pub fn at(self, turn: u64) -> usize {
        match self {
            Self::Fixed(elements) => elements,
            Self::Cuts => 4 * (1 + usize::from(((turn % ITERATIONS) as u8).reverse_bits())),
        }
    }

    /// The longest it gets.
    #[must_use]
    pub fn most(self) -> usize {
        match self {
            Self::Fixed(elements) => elements,
            Self::Cuts => 4 * ITERATIONS as usize,
        }
    }
}

impl Share {
    /// Elements that `rank` of `size` contributes.
    #[must_use]
    pub fn of(self, rank: usize, size: usize) -> usize {
        let passes = |rank| FORWARD_PASSES / size + usize::from(rank < FORWARD_PASSES % size);
        match self {
            Self::Uniform(elements) => elements,
            Self::PerPass(elements) => elements * passes(rank),
            Self::Padded(elements) => elements * passes(0),
        }
    }
}

impl Root {
    /// The root of a turn.
    #[must_use]
    pub fn at(self, turn: u64, size: usize) -> usize {
        match self {
            Self::Zero => 0,
            Self::Rotating => (turn % size as u64) as usize,
        }
    }
}

impl Plan {
    fn once(call: Call) -> Self {
        let work = Work::None;
        Self {
            steps: vec![Step { work, call }],
            read: false,
        }
    }

    /// A barrier.
    #[must_use]
    pub fn barrier() -> Self {
        Self::once(Call::Barrier)
    }

    /// A sum of `f64`.
    #[must_use]
    pub fn allreduce(bytes: usize) -> Self {
        let length = Length::Fixed(bytes / 8);
        Self::once(Call::Allreduce(Element::F64, ReduceOp::Sum, length))
    }

    /// The same number of bytes from each rank.
    #[must_use]
    pub fn allgatherv(bytes: usize) -> Self {
        Self::once(Call::Allgatherv(Element::U8, Share::Uniform(bytes)))
    }

    /// Bytes from a root that moves on.
    #[must_use]
    pub fn broadcast(bytes: usize) -> Self {
        Self::once(Call::Broadcast(Element::U8, bytes, Root::Rotating))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_passes_are_shared_out() {
        let shares = |share: Share, size: usize| -> Vec<usize> {
            (0..size).map(|rank| share.of(rank, size)).collect()
        };
        assert_eq!(shares(Share::PerPass(61), 2), [122, 122]);
        assert_eq!(shares(Share::PerPass(1), 3), [2, 1, 1]);
        assert_eq!(shares(Share::Padded(4), 3), [8, 8, 8]);
        assert_eq!(shares(Share::PerPass(1), 8), [1, 1, 1, 1, 0, 0, 0, 0]);
        assert_eq!(shares(Share::Padded(4), 8), [4; 8]);
    }

    #[test]
    fn the_cuts_of_all_iterations_occur_once() {
        let mut lengths: Vec<usize> = (0..ITERATIONS).map(|turn| Length::Cuts.at(turn)).collect();
        lengths.sort_unstable();
        let expected: Vec<usize> = (1..=ITERATIONS as usize).map(|cuts| 4 * cuts).collect();
        assert_eq!(lengths, expected);
        assert_eq!(Length::Cuts.most(), 1024);
    }
}
