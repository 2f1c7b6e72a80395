//! A communicator that counts what passes through it.
//!
//! Byte-identical outputs alone do not prove that ranks worked together: eight
//! ranks that each solve the whole case agree as well. The counts do, because
//! they can be compared with what the solver is known to ask for.

use std::any::type_name;
use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cobre_comm::{
    CommData, CommError, Communicator, ExecutionTopology, ReduceOp, TopologyProvider,
};

/// What makes two calls count as the same kind of call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CallKind {
    /// Part of the run, as announced by [`Counted::enter`].
    pub(crate) phase: &'static str,
    /// `allgatherv`, `allreduce`, `broadcast` or `barrier`.
    pub(crate) operation: &'static str,
    /// The reduction, empty for the others.
    pub(crate) reduce: &'static str,
    /// Element type, empty for a barrier.
    pub(crate) element: &'static str,
    /// Source file and line that called, from the crate's name on.
    pub(crate) site: String,
}

/// How often, and how much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) calls: u64,
    /// Bytes this rank contributed: its block, its operands, the buffer of the broadcast's root.
    pub(crate) bytes_sent: u64,
    /// Bytes this rank got back: all blocks, the result, the buffer anywhere but at the root.
    pub(crate) bytes_received: u64,
    /// Shortest and longest result, in elements.
    pub(crate) shortest: u64,
    pub(crate) longest: u64,
}

impl Tally {
    fn add(&mut self, sent: u64, received: u64, elements: u64) {
        self.shortest = if self.calls == 0 {
            elements
        } else {
            self.shortest.min(elements)
        };
        self.longest = self.longest.max(elements);
        self.calls += 1;
        self.bytes_sent += sent;
        self.bytes_received += received;
    }
}

#[derive(Debug)]
struct Ledger {
    phase: &'static str,
    calls: BTreeMap<CallKind, Tally>,
}

/// Forwards every collective to `C` and counts it by kind.
///
/// The trait's methods are `#[track_caller]`, so that the solver's own call
/// sites show up in the counts and a backend that records its callers sees
/// them, not this file.
#[derive(Debug)]
pub(crate) struct Counted<C> {
    inner: C,
    ledger: Mutex<Ledger>,
}

impl<C: Communicator> Counted<C> {
    pub(crate) fn new(inner: C) -> Self {
        Self {
            inner,
            ledger: Mutex::new(Ledger {
                phase: "setup",
                calls: BTreeMap::new(),
            }),
        }
    }

    /// Names the part of the run that all following calls belong to.
    pub(crate) fn enter(&self, phase: &'static str) {
        self.lock().phase = phase;
    }

    /// What was counted so far.
    pub(crate) fn calls(&self) -> BTreeMap<CallKind, Tally> {
        self.lock().calls.clone()
    }

    /// The communicator that does the work.
    pub(crate) fn inner(&self) -> &C {
        &self.inner
    }

    // The ledger holds plain numbers: a panic while it was locked cannot have left it torn.
    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[track_caller]
    fn count<T>(
        &self,
        operation: &'static str,
        reduce: &'static str,
        sent: usize,
        received: usize,
        elements: usize,
    ) {
        let bytes = |n: usize| (n * size_of::<T>()) as u64;
        let mut ledger = self.lock();
        let kind = CallKind {
            phase: ledger.phase,
            operation,
            reduce,
            element: if operation == "barrier" {
                ""
            } else {
                type_name::<T>()
            },
            site: site(Location::caller()),
        };
        ledger
            .calls
            .entry(kind)
            .or_default()
            .add(bytes(sent), bytes(received), elements as u64);
    }
}

/// `crate-version/src/file.rs:line`, without the directory that Cargo keeps crates in.
fn site(caller: &Location<'_>) -> String {
    let file = caller.file();
    let short = file
        .split_once("registry/src/")
        .and_then(|(_, rest)| rest.split_once('/'))
        .map_or(file, |(_, rest)| rest);
    format!("{short}:{}", caller.line())
}

/// The reduction's name in reports.
fn name(op: ReduceOp) -> &'static str {
    match op {
        ReduceOp::Sum => "sum",
        ReduceOp::Min => "min",
        ReduceOp::Max => "max",
        ReduceOp::BitwiseOr => "bitor",
    }
}

impl<C: Communicator> Communicator for Counted<C> {
    #[track_caller]
    fn allgatherv<T: CommData>(
        &self,
        send: &[T],
        recv: &mut [T],
        counts: &[usize],
        displs: &[usize],
    ) -> Result<(), CommError> {
        self.inner.allgatherv(send, recv, counts, displs)?;
        let all = counts.iter().sum();
        self.count::<T>("allgatherv", "", send.len(), all, all);
        Ok(())
    }

    #[track_caller]
    fn allreduce<T: CommData>(
        &self,
        send: &[T],
        recv: &mut [T],
        op: ReduceOp,
    ) -> Result<(), CommError> {
        self.inner.allreduce(send, recv, op)?;
        self.count::<T>("allreduce", name(op), send.len(), recv.len(), recv.len());
        Ok(())
    }

    #[track_caller]
    fn broadcast<T: CommData>(&self, buf: &mut [T], root: usize) -> Result<(), CommError> {
        self.inner.broadcast(buf, root)?;
        let (sent, received) = if self.rank() == root {
            (buf.len(), 0)
        } else {
            (0, buf.len())
        };
        self.count::<T>("broadcast", "", sent, received, buf.len());
        Ok(())
    }

    #[track_caller]
    fn barrier(&self) -> Result<(), CommError> {
        self.inner.barrier()?;
        self.count::<u8>("barrier", "", 0, 0, 0);
        Ok(())
    }

    fn rank(&self) -> usize {
        self.inner.rank()
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn abort(&self, error_code: i32) -> ! {
        self.inner.abort(error_code)
    }
}

impl<C: TopologyProvider> TopologyProvider for Counted<C> {
    fn topology(&self) -> &ExecutionTopology {
        self.inner.topology()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cobre_comm::LocalBackend;

    fn only(calls: &BTreeMap<CallKind, Tally>) -> (&CallKind, &Tally) {
        assert_eq!(calls.len(), 1, "{calls:?}");
        calls.iter().next().unwrap()
    }

    #[test]
    fn same_calls_add_up_and_the_result_passes_through() {
        let comm = Counted::new(LocalBackend);
        for len in [2, 5] {
            let send = vec![1.5_f64; len];
            let mut recv = vec![0.0; len];
            comm.allreduce(&send, &mut recv, ReduceOp::Sum).unwrap();
            assert_eq!(recv, send);
        }
        let calls = comm.calls();
        let (kind, tally) = only(&calls);
        assert_eq!(
            (kind.phase, kind.operation, kind.reduce, kind.element),
            ("setup", "allreduce", "sum", "f64")
        );
        assert_eq!(
            (tally.calls, tally.bytes_sent, tally.bytes_received),
            (2, 56, 56)
        );
        assert_eq!((tally.shortest, tally.longest), (2, 5));
    }

    #[test]
    fn operation_type_phase_and_place_are_kept_apart() {
        let comm = Counted::new(LocalBackend);
        comm.broadcast(&mut [1_u64], 0).unwrap();
        comm.broadcast(&mut [1_u8; 3], 0).unwrap();
        comm.enter("training");
        comm.broadcast(&mut [1_u8; 3], 0).unwrap();
        comm.barrier().unwrap();
        let kinds: Vec<_> = comm
            .calls()
            .into_keys()
            .map(|k| (k.phase, k.operation, k.element))
            .collect();
        assert_eq!(
            kinds,
            [
                ("setup", "broadcast", "u64"),
                ("setup", "broadcast", "u8"),
                ("training", "barrier", ""),
                ("training", "broadcast", "u8"),
            ]
            .into_iter()
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
        );
    }

    #[test]
    fn the_caller_is_named_not_the_wrapper() {
        let comm = Counted::new(Counted::new(LocalBackend));
        let line = line!() + 1;
        comm.allgatherv(&[7_u8], &mut [0], &[1], &[0]).unwrap();
        let expected = format!("{}:{line}", file!());
        for calls in [comm.calls(), comm.inner().calls()] {
            assert_eq!(only(&calls).0.site, expected);
        }
    }

    #[test]
    fn empty_collectives_count_as_calls_of_no_bytes() {
        let comm = Counted::new(LocalBackend);
        comm.allgatherv::<u8>(&[], &mut [], &[0], &[0]).unwrap();
        let calls = comm.calls();
        let (_, tally) = only(&calls);
        assert_eq!((tally.calls, tally.bytes_received), (1, 0));
    }

    #[test]
    fn a_failed_call_is_passed_on_and_not_counted() {
        let comm = Counted::new(LocalBackend);
        let error = comm.broadcast(&mut [1_u8], 3).unwrap_err();
        assert!(matches!(error, CommError::InvalidRoot { root: 3, size: 1 }));
        assert!(comm.calls().is_empty());
    }
}
