//! Errors as data: the offending value, who caused it, and what was being done.

use core::time::Duration;

use crate::{Activity, ReduceOp, text};

/// A collective operation, as errors and reports name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// [`Communicator::barrier`](crate::Communicator::barrier).
    Barrier,
    /// [`Communicator::broadcast`](crate::Communicator::broadcast).
    Broadcast,
    /// [`Communicator::allreduce`](crate::Communicator::allreduce).
    Allreduce,
    /// [`Communicator::allgatherv`](crate::Communicator::allgatherv).
    Allgatherv,
    /// [`SharedMemoryProvider::create_shared_region`](crate::SharedMemoryProvider::create_shared_region).
    CreateRegion,
    /// The end of an epoch of a shared region.
    Fence,
    /// [`SharedMemoryProvider::create_exchange`](crate::SharedMemoryProvider::create_exchange).
    CreateExchange,
    /// [`PoolProvider::create_pool`](crate::PoolProvider::create_pool).
    CreatePool,
    /// [`SharedPool::append`](crate::SharedPool::append).
    Append,
    /// [`SharedMemoryProvider::create_reduction`](crate::SharedMemoryProvider::create_reduction).
    CreateReduction,
    /// [`SharedMemoryProvider::split_local`](crate::SharedMemoryProvider::split_local).
    SplitLocal,
}

impl Operation {
    /// The name as it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Barrier => "barrier",
            Self::Broadcast => "broadcast",
            Self::Allreduce => "allreduce",
            Self::Allgatherv => "allgatherv",
            Self::CreateRegion => "create_shared_region",
            Self::CreateExchange => "create_exchange",
            Self::CreatePool => "create_pool",
            Self::Append => "append",
            Self::CreateReduction => "create_reduction",
            Self::Fence => "fence",
            Self::SplitLocal => "split_local",
        }
    }
}

impl core::fmt::Display for Operation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// One rank's call of a collective, as its peers saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// The rank that called.
    pub rank: usize,
    /// The sequence number of the collective in its communicator, as that rank counts, from 1.
    pub number: u64,
    /// What was called.
    pub operation: Operation,
    /// The arguments in short, for example `f64[156], Sum`.
    pub arguments: String,
    /// Where, as `file:line`, if the rank still had room to record it.
    pub location: Option<String>,
}

impl Call {
    /// The record of `operation`, the `number`-th collective of `rank`.
    #[must_use]
    pub fn new(
        rank: usize,
        number: u64,
        operation: Operation,
        arguments: String,
        location: Option<String>,
    ) -> Self {
        Self {
            rank,
            number,
            operation,
            arguments,
            location,
        }
    }

    /// Who called, and where.
    fn place(&self) -> String {
        let at = |location: &String| format!(" at {location}");
        let location = self.location.as_ref().map_or_else(String::new, at);
        format!("rank {}, operation {}{location}", self.rank, self.number)
    }

    /// The call without its rank.
    pub(crate) fn what(&self) -> String {
        let at = |location: &String| format!(" at {location}");
        let location = self.location.as_ref().map_or_else(String::new, at);
        let (operation, arguments, number) = (self.operation, &self.arguments, self.number);
        format!("{operation}({arguments}) as operation {number}{location}")
    }
}

impl core::fmt::Display for Call {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "rank {} called {}", self.rank, self.what())
    }
}

/// A rank that had not arrived when another one gave up waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missing {
    /// The rank.
    pub rank: usize,
    /// Its process.
    pub pid: u32,
    /// What it was doing at that moment.
    pub activity: Activity,
}

impl Missing {
    /// The record of `rank`.
    #[must_use]
    pub fn new(rank: usize, pid: u32, activity: Activity) -> Self {
        Self {
            rank,
            pid,
            activity,
        }
    }
}

impl core::fmt::Display for Missing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "rank {} (pid {}), which {}",
            self.rank, self.pid, self.activity
        )
    }
}

/// How a rank ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureCause {
    /// It left (returned from `main`, exited or dropped its communicator) while others waited for
    /// it; the exit code where it is known.
    Exited(Option<i32>),
    /// It was ended by this signal.
    Signaled(i32),
    /// It panicked.
    Panicked,
    /// It is gone; nobody that could know how was watching.
    Died,
}

impl core::fmt::Display for FailureCause {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Exited(Some(code)) => write!(f, "exited with code {code}"),
            Self::Exited(None) => f.write_str("left the job"),
            Self::Signaled(signal) => write!(f, "was killed by signal {signal}"),
            Self::Panicked => f.write_str("panicked"),
            Self::Died => f.write_str("died"),
        }
    }
}

/// Why a collective did not happen.
///
/// Unless a variant says otherwise, the error is final: the communicator is *poisoned*, every rank
/// learns the same first cause, and every later collective returns it again. (A job of one has
/// nobody to disagree with: there an error about arguments is not final.)
///
/// After an error receive buffers hold initialised but unspecified elements; send buffers, and the
/// buffer of a broadcast's root, are untouched.
///
/// `Debug` prints the same sentence as `Display`: that is what a `main` that returns this error shows.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommError {
    /// A buffer, or one of the arrays that describe it, has the wrong length.
    #[error("{operation}: `{buffer}` must have {}, but has {actual}", text::count(*.expected, "element"))]
    InvalidBufferSize {
        /// The call.
        operation: Operation,
        /// Which argument.
        buffer: &'static str,
        /// Elements required (at least, for a receive buffer).
        expected: usize,
        /// Elements given.
        actual: usize,
    },
    /// The root is not a rank.
    #[error("broadcast: root {root} is not a rank of a communicator of {size}")]
    InvalidRoot {
        /// The root given.
        root: usize,
        /// The number of ranks.
        size: usize,
    },
    /// Two ranks' ranges of a receive buffer overlap.
    #[error("{operation}: the ranges that are given to ranks {first} and {second} overlap")]
    OverlappingRanges {
        /// The call.
        operation: Operation,
        /// The rank whose range begins first.
        first: usize,
        /// The rank whose range begins inside it.
        second: usize,
    },
    /// Elements of a region belong to no rank.
    #[error(
        "{operation}: the ranges that are given to the ranks leave out elements {start}..{end}"
    )]
    UnownedElements {
        /// The call.
        operation: Operation,
        /// The first of them.
        start: usize,
        /// The one behind the last of them.
        end: usize,
    },
    /// What is given to a rank as its part of a region is not a valid range of the region's elements.
    #[error(
        "{operation}: rank {rank}'s part {start}..{end} is not a valid range of {len} elements"
    )]
    InvalidPart {
        /// The call.
        operation: Operation,
        /// Whose part it is to be.
        rank: usize,
        /// Where it begins.
        start: usize,
        /// Where it ends.
        end: usize,
        /// The elements of the region.
        len: usize,
    },
    /// The reduction is not defined for the element type.
    #[error("allreduce: {op} is not defined for {element} (bitwise operations need integers)")]
    InvalidReduceOp {
        /// The operation given.
        op: ReduceOp,
        /// The element type's name.
        element: &'static str,
    },
    /// Two ranks disagree about a call. Every rank gets the same pair.
    #[error("ranks disagree about a collective: {first}, but {second}")]
    Mismatch {
        /// The call of the lower rank.
        first: Box<Call>,
        /// The call of the higher rank.
        second: Box<Call>,
    },
    /// Two ranks have left a communicator that was split from this one, after different calls there. Who is
    /// still in the job, and its launcher, are told here: the other one is gone.
    #[error(
        "ranks {first} and {second} disagree about the last calls of a communicator split from this one{}",
        noticed_in(*.operation)
    )]
    MismatchInSplit {
        /// The lower rank.
        first: usize,
        /// The higher rank.
        second: usize,
        /// The call that one of them made and the other one did not, as far as it is known.
        operation: Option<Operation>,
    },
    /// This rank gave invalid arguments. Its peers get [`PeerRejected`](Self::PeerRejected).
    ///
    /// A backend that does not say where, like [`LocalComm`](crate::LocalComm), returns the reason
    /// itself.
    #[error("{reason} ({})", call.place())]
    Rejected {
        /// The rejected call.
        call: Box<Call>,
        /// What is wrong with it.
        reason: Box<CommError>,
    },
    /// A peer gave invalid arguments; it has the details.
    #[error("{call}, with invalid arguments")]
    PeerRejected {
        /// The rejected call.
        call: Box<Call>,
    },
    /// A rank ended although others still needed it.
    #[error("rank {rank} (pid {pid}) {cause}{}", noticed_in(*.operation))]
    RankFailed {
        /// The rank that failed first.
        rank: usize,
        /// Its process.
        pid: u32,
        /// How it ended.
        cause: FailureCause,
        /// The collective in which its absence was noticed; `None` if not by a rank that waited for it.
        operation: Option<Operation>,
    },
    /// A rank waited longer than it was allowed to. Nobody has died: who is missing is slow, stopped,
    /// or waits for something else.
    #[error(
        "{operation}: rank {rank} gave up after {}, waiting for {}",
        text::duration(*.waited),
        who_is_missing(missing, *.more)
    )]
    Timeout {
        /// The collective in which it waited.
        operation: Operation,
        /// The rank that gave up first.
        rank: usize,
        /// How long it had waited.
        waited: Duration,
        /// Who had not arrived there, and what they were doing; the first of them.
        missing: Vec<Missing>,
        /// How many more had not arrived.
        more: usize,
    },
    /// A rank called [`Communicator::abort`](crate::Communicator::abort).
    #[error("rank {rank} aborted the job with code {code}")]
    Aborted {
        /// The rank that aborted.
        rank: usize,
        /// Its code.
        code: i32,
    },
    /// This rank is in the middle of another call of this communicator: another thread makes it, or this
    /// one is made by the function that the other call runs (the one that fills a pool, say).
    ///
    /// Not final: this call did not happen, the other one goes on. A call that takes a region by value
    /// waits for its turn instead, for as long as a call may wait. It is refused, and the region is lost, if
    /// that time is over, or if the function of the other call makes it. (If that function waits for a
    /// thread that makes it, both wait until the time is over or the job fails.)
    #[error(
        "{operation}: this communicator is in the middle of another call, of another thread or the one \
         whose function makes this call"
    )]
    Busy {
        /// The call that did not happen.
        operation: Operation,
    },
    /// The communicator was inherited through `fork`: only the process that joined may use it.
    ///
    /// Not final for the process that joined.
    #[error("{operation}: this process was forked from a rank and is not a member of the job")]
    Forked {
        /// The call that did not happen.
        operation: Operation,
    },
    /// This rank has left the job: its program has dropped the communicator, and calls through a
    /// window that it has kept.
    ///
    /// The window's memory stays.
    #[error("{operation}: this rank has left the job, since its communicator was dropped")]
    Left {
        /// The call that did not happen.
        operation: Operation,
    },
    /// Shared memory is unavailable.
    ///
    /// Not final: every rank gets it, nothing was allocated, and the communicator goes on.
    #[error("shared memory of {} cannot be allocated: {message}", text::bytes(*.requested_bytes as u64))]
    AllocationFailed {
        /// The size wanted; `usize::MAX` if it does not fit the address space.
        requested_bytes: usize,
        /// What the operating system said, and the way out.
        message: String,
    },
    /// The shared memory holds what no rank has written there: a stray pointer has, or another program.
    #[error("the job's shared memory was overwritten: rank {rank} shows {what}")]
    Corrupted {
        /// The rank whose part of the memory it is; not always the one that overwrote it.
        rank: usize,
        /// What was found.
        what: &'static str,
    },
    /// A communicator could not be formed.
    #[error("{message}")]
    InitFailed {
        /// What failed, where, and the way out.
        message: String,
    },
}

impl core::fmt::Debug for CommError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

fn noticed_in(operation: Option<Operation>) -> String {
    operation.map_or_else(String::new, |operation| format!(", noticed in {operation}"))
}

fn who_is_missing(missing: &[Missing], more: usize) -> String {
    let mut ranks: Vec<String> = missing.iter().map(Missing::to_string).collect();
    if more > 0 {
        ranks.push(format!("{more} more"));
    }
    ranks.join("; ")
}

#[cfg(test)]
mod tests {
    use super::{Call, CommError, Duration, FailureCause, Missing, Operation};
    use crate::Activity;

    #[test]
    fn messages_carry_the_offending_values() {
        let call = |rank, operation, location: Option<&str>| {
            Box::new(Call::new(
                rank,
                7,
                operation,
                "f64[3], Sum".to_owned(),
                location.map(str::to_owned),
            ))
        };
        let mismatch = CommError::Mismatch {
            first: call(0, Operation::Allreduce, Some("src/forward.rs:120")),
            second: call(1, Operation::Broadcast, None),
        };
        assert_eq!(
            mismatch.to_string(),
            "ranks disagree about a collective: rank 0 called allreduce(f64[3], Sum) as operation \
             7 at src/forward.rs:120, but rank 1 called broadcast(f64[3], Sum) as operation 7"
        );
        let failed = CommError::RankFailed {
            rank: 3,
            pid: 42,
            cause: FailureCause::Signaled(9),
            operation: Some(Operation::Barrier),
        };
        assert_eq!(
            failed.to_string(),
            "rank 3 (pid 42) was killed by signal 9, noticed in barrier"
        );
        assert_eq!(format!("{failed:?}"), failed.to_string());
        let last = Some(*call(2, Operation::Allreduce, Some("src/cuts.rs:7")));
        let waiting = Activity::Waiting {
            call: Some(*call(3, Operation::Barrier, None)),
            peer: 2,
            time: Duration::from_millis(1500),
        };
        let rejected = CommError::Rejected {
            call: call(1, Operation::Broadcast, Some("src/cuts.rs:7")),
            reason: Box::new(CommError::InvalidRoot { root: 17, size: 3 }),
        };
        assert_eq!(
            rejected.to_string(),
            "broadcast: root 17 is not a rank of a communicator of 3 (rank 1, operation 7 at \
             src/cuts.rs:7)"
        );
        let timeout = CommError::Timeout {
            operation: Operation::Barrier,
            rank: 0,
            waited: Duration::from_secs(2),
            missing: vec![
                Missing::new(2, 41, Activity::Computing { last }),
                Missing::new(3, 42, waiting),
            ],
            more: 1,
        };
        assert_eq!(
            timeout.to_string(),
            "barrier: rank 0 gave up after 2 s, waiting for rank 2 (pid 41), which has been \
             computing since allreduce(f64[3], Sum) as operation 7 at src/cuts.rs:7; rank 3 (pid \
             42), which has waited 1.50 s for rank 2 in barrier(f64[3], Sum) as operation 7; 1 more"
        );
    }
}
