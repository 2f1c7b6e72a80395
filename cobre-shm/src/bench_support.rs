//! What the benchmarks of this workspace measure below a collective. No part of the interface.

#![allow(unsafe_code)]

use cobre_comm_trait::{ReduceOp, Reducible};

use crate::collective::reduce;
use crate::sys::float::Modes;

/// Combines operands element by element in rank order.
///
/// # Panics
/// If one of them is not as long as `out`.
pub fn fold<T: Reducible>(op: ReduceOp, out: &mut [T], operands: &[&[T]]) {
    assert!(operands.iter().all(|operand| operand.len() == out.len()));
    let source = |rank: usize| operands[rank].as_ptr();
    // SAFETY: every operand has as many elements as `out`, checked above, and is a shared slice.
    unsafe { reduce::fold(op, out, operands.len(), source, Modes::now()) };
}
