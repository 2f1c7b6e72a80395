//! Reductions of a single operand.

use super::reduce_one;
use crate::{CommError, ReduceOp, Reducible, SharedReduction, check};

/// A reduction of a [`LocalComm`](crate::LocalComm).
#[derive(Debug)]
pub struct LocalReduction<T> {
    operand: Vec<T>,
    result: Vec<T>,
}

impl<T> LocalReduction<T> {
    pub(super) fn new(operand: Vec<T>, result: Vec<T>) -> Self {
        Self { operand, result }
    }
}

impl<T: Reducible> SharedReduction<T> for LocalReduction<T> {
    fn result(&self) -> &[T] {
        &self.result
    }

    fn split_mut(&mut self) -> (&mut [T], &[T]) {
        (&mut self.operand, &self.result)
    }

    fn reduce(&mut self, op: ReduceOp) -> Result<&[T], CommError> {
        check::allreduce::<T>(self.operand.len(), self.result.len(), op)?;
        reduce_one(&self.operand, &mut self.result);
        Ok(&self.result)
    }
}
