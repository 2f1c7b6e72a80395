//! [`ShmComm`] as the published `cobre_comm::Communicator` (crate `cobre-comm` 0.18).
//!
//! That trait admits any `Send + Sync + Copy + Default + 'static` element, `&'static str` too. Such a
//! type must not reach another address space, so every collective looks its element type up in a
//! table of plain numbers and refuses what is not there. Reductions are dispatched by the same table.
//!
//! The published methods do not track their callers, but ours do, so call sites in messages are the
//! solver's.
//!
//! The optional `shared-memory` traits of that crate are left out: their regions hand out
//! `&mut [T]` and `&[T]` of live shared memory without epochs, which is unsound across processes;
//! their `split_local` returns a closed enum that has no place for us; and nothing uses them.

#![allow(unsafe_code)]

use core::{any::TypeId, slice};

use ::cobre_comm::{
    BackendKind, CommData, CommError, Communicator, ExecutionTopology, HostInfo, ReduceOp,
    TopologyProvider,
};
use cobre_comm_trait as ours;

use crate::ShmComm;

/// Runs a body with the plain type that `$t` is, or returns the error that it is none.
///
/// A macro, because a closure cannot be generic over the type it is called with.
macro_rules! with_plain_type {
    ($t:ty, $operation:literal, $plain:ident => $body:expr) => {
        with_plain_type!(@ $t, $operation, $plain => $body,
            f64 u64 u8 i32 f32 u32 i64 i8 i16 u16 isize usize)
    };
    (@ $t:ty, $operation:literal, $plain:ident => $body:expr, $($candidate:ident)*) => {
        $(if TypeId::of::<$t>() == TypeId::of::<$candidate>() {
            type $plain = $candidate;
            $body
        } else)* {
            Err(failed($operation, format!(
                "{} is not a plain number, so it means nothing in another process",
                core::any::type_name::<$t>(),
            )))
        }
    };
}

impl Communicator for ShmComm {
    #[track_caller]
    fn allgatherv<T: CommData>(
        &self,
        send: &[T],
        recv: &mut [T],
        counts: &[usize],
        displs: &[usize],
    ) -> Result<(), CommError> {
        with_plain_type!(T, "allgatherv", P => {
            let (send, recv) = (same::<T, P>(send), same_mut::<T, P>(recv));
            ours::Communicator::allgatherv(self, send, recv, counts, displs)
                .map_err(|error| translate("allgatherv", error))
        })
    }

    #[track_caller]
    fn allreduce<T: CommData>(
        &self,
        send: &[T],
        recv: &mut [T],
        op: ReduceOp,
    ) -> Result<(), CommError> {
        let op = match op {
            ReduceOp::Sum => ours::ReduceOp::Sum,
            ReduceOp::Min => ours::ReduceOp::Min,
            ReduceOp::Max => ours::ReduceOp::Max,
            ReduceOp::BitwiseOr => ours::ReduceOp::BitOr,
        };
        with_plain_type!(T, "allreduce", P => {
            let (send, recv) = (same::<T, P>(send), same_mut::<T, P>(recv));
            ours::Communicator::allreduce(self, send, recv, op)
                .map_err(|error| translate("allreduce", error))
        })
    }

    #[track_caller]
    fn broadcast<T: CommData>(&self, buf: &mut [T], root: usize) -> Result<(), CommError> {
        with_plain_type!(T, "broadcast", P => {
            ours::Communicator::broadcast(self, same_mut::<T, P>(buf), root)
                .map_err(|error| translate("broadcast", error))
        })
    }

    #[track_caller]
    fn barrier(&self) -> Result<(), CommError> {
        ours::Communicator::barrier(self).map_err(|error| translate("barrier", error))
    }

    fn rank(&self) -> usize {
        ours::Communicator::rank(self)
    }

    fn size(&self) -> usize {
        ours::Communicator::size(self)
    }

    fn abort(&self, error_code: i32) -> ! {
        ours::Communicator::abort(self, error_code)
    }
}

impl TopologyProvider for ShmComm {
    fn topology(&self) -> &ExecutionTopology {
        self.topology_cell().get_or_init(|| {
            let size = ours::Communicator::size(self);
            let hostname = nix::unistd::gethostname().unwrap_or_default();
            ExecutionTopology {
                // The published list of backends is closed and has no name for ours.
                backend: BackendKind::Auto,
                world_size: size,
                hosts: vec![HostInfo {
                    hostname: hostname.to_string_lossy().into_owned(),
                    ranks: (0..size).collect(),
                }],
                mpi: None,
                slurm: None,
            }
        })
    }
}

/// `slice` as what it is.
fn same<T: 'static, P: 'static>(slice: &[T]) -> &[P] {
    assert_eq!(TypeId::of::<T>(), TypeId::of::<P>());
    // SAFETY: the types are the same, as just checked.
    unsafe { slice::from_raw_parts(slice.as_ptr().cast(), slice.len()) }
}

/// `slice` as what it is.
fn same_mut<T: 'static, P: 'static>(slice: &mut [T]) -> &mut [P] {
    assert_eq!(TypeId::of::<T>(), TypeId::of::<P>());
    // SAFETY: the types are the same, as just checked.
    unsafe { slice::from_raw_parts_mut(slice.as_mut_ptr().cast(), slice.len()) }
}

fn failed(operation: &'static str, message: String) -> CommError {
    CommError::CollectiveFailed {
        operation,
        mpi_error_code: 0,
        message,
    }
}

/// Our error in the published vocabulary; what has no place there goes into the message.
fn translate(operation: &'static str, error: ours::CommError) -> CommError {
    match error {
        // It has no place for where.
        ours::CommError::Rejected { reason, .. } => translate(operation, *reason),
        ours::CommError::InvalidBufferSize {
            expected, actual, ..
        } => CommError::InvalidBufferSize {
            operation,
            expected,
            actual,
        },
        ours::CommError::InvalidRoot { root, size } => CommError::InvalidRoot { root, size },
        ours::CommError::AllocationFailed {
            requested_bytes,
            message,
        } => CommError::AllocationFailed {
            requested_bytes,
            message,
        },
        other => failed(operation, other.to_string()),
    }
}
