//! What can be wrong with a backend.

/// A deliberate mistake of a [`ModelComm`](super::ModelComm).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// None.
    Nothing,
    /// Reductions combine from the last rank to the first.
    ReduceFromTheLast,
    /// Reductions combine neighbours first, as a tree does.
    ReduceInPairs,
    /// The NaN that the hardware makes is left as it is.
    NanAsItComes,
    /// Each rank begins a reduction with its own operand.
    OwnOperandFirst,
    /// The 50th broadcast and every 50th after it delivers what the one before did.
    StaleBroadcast,
    /// The element behind each range of a gather is overwritten.
    OverwrittenGap,
    /// A gather lays its ranges out one after the other, whatever `displs` says.
    IgnoredDispls,
    /// Payloads lose what does not fill a word of eight bytes.
    LostTail,
    /// Payloads end after 64 KiB.
    LostBeyond64KiB,
    /// A gather confuses the first two ranks if one of them sends nothing.
    ConfusedByNothing,
    /// Barriers return at once.
    NoBarrier,
    /// Fences after writing do not show what the others wrote.
    NoSharing,
    /// Regions keep what the last one held.
    DirtyRegion,
    /// Regions forget in the read epoch what was written.
    ForgetfulRegion,
    /// The parts of a region are those of the ranks in reverse.
    PartsInReverse,
    /// An exchange goes on showing what the others wrote before.
    StaleExchange,
    /// A rank finds in its part of an exchange what it has just shown.
    SingleCopy,
    /// What is folded in place is folded from the last rank to the first.
    FoldFromTheLast,
    /// A reduction in place uses its operands up.
    LostOperand,
    /// Every rank believes that it is the leader.
    LeaderEverywhere,
    /// A size that cannot be had ends the job.
    FinalAllocationFailure,
    /// An error is forgotten once it was reported.
    NoPoison,
    /// Later collectives return another error than the first.
    ForgottenCause,
    /// A peer is accused of another's mistake.
    WrongCulprit,
    /// Ranks that disagree about the element type are not noticed.
    IgnoredElement,
    /// Ranks that disagree about counts are not noticed.
    IgnoredCounts,
    /// Ranks that disagree about the root are not noticed.
    IgnoredRoot,
    /// Ranks that disagree about the reduction are not noticed.
    IgnoredReduceOp,
    /// The last rank is told another pair of calls than the others.
    AnotherPair,
    /// Errors do not say where the call is.
    NoPlace,
    /// `split_local` hands out the parent.
    SharedSplit,
    /// `split_local` numbers the ranks backwards.
    ReversedSplit,
}

impl Fault {
    /// Every fault.
    pub const ALL: [Self; 32] = [
        Self::ReduceFromTheLast,
        Self::ReduceInPairs,
        Self::NanAsItComes,
        Self::OwnOperandFirst,
        Self::StaleBroadcast,
        Self::OverwrittenGap,
        Self::IgnoredDispls,
        Self::LostTail,
        Self::LostBeyond64KiB,
        Self::ConfusedByNothing,
        Self::NoBarrier,
        Self::NoSharing,
        Self::DirtyRegion,
        Self::ForgetfulRegion,
        Self::PartsInReverse,
        Self::StaleExchange,
        Self::SingleCopy,
        Self::FoldFromTheLast,
        Self::LostOperand,
        Self::LeaderEverywhere,
        Self::FinalAllocationFailure,
        Self::NoPoison,
        Self::ForgottenCause,
        Self::WrongCulprit,
        Self::IgnoredElement,
        Self::IgnoredCounts,
        Self::IgnoredRoot,
        Self::IgnoredReduceOp,
        Self::AnotherPair,
        Self::NoPlace,
        Self::SharedSplit,
        Self::ReversedSplit,
    ];

    /// The beginning of the name of the cases that must notice it.
    #[must_use]
    pub fn noticed_by(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::ReduceFromTheLast | Self::ReduceInPairs | Self::OwnOperandFirst => {
                "reduce::in_rank_order"
            }
            Self::NanAsItComes => "reduce::nan_and_zero",
            Self::StaleBroadcast => "broadcast::rotating_roots",
            Self::OverwrittenGap => "gather::gaps_stay",
            Self::IgnoredDispls => "gather::displacements_may_descend",
            Self::LostTail => "gather::bytes_at_odd_offsets",
            Self::LostBeyond64KiB => "gather::megabytes",
            Self::ConfusedByNothing => "gather::one_rank_sends_nothing",
            Self::NoBarrier => "barrier::nobody_leaves",
            Self::NoSharing => "regions::a_life",
            Self::DirtyRegion => "regions::fresh_ones",
            Self::ForgetfulRegion => "regions::what_was_written_stays",
            Self::PartsInReverse => "regions::parts_tile",
            Self::StaleExchange => "exchanges::amid_other",
            Self::SingleCopy => "exchanges::my_part_is",
            Self::FoldFromTheLast => "reductions::in_rank_order",
            Self::LostOperand => "reductions::operands_stay",
            Self::LeaderEverywhere => "group::exactly_one",
            Self::FinalAllocationFailure => "regions::an_absurd_size",
            Self::NoPoison => "errors::root_out_of_range_by_the_last",
            Self::ForgottenCause => "mismatch::barrier_for_allreduce",
            Self::WrongCulprit => "errors::allreduce_of_4_into_3_by_the_first",
            Self::IgnoredElement => "mismatch::element_of_allreduce",
            Self::IgnoredCounts => "mismatch::counts_of_allgatherv",
            Self::IgnoredRoot => "mismatch::root_of_broadcast",
            Self::IgnoredReduceOp => "mismatch::operation_of_allreduce",
            Self::AnotherPair | Self::NoPlace => "mismatch::length_of_broadcast",
            Self::SharedSplit => "split::both_from_two_threads",
            Self::ReversedSplit => "split::keeps_size_and_order",
        }
    }
}
