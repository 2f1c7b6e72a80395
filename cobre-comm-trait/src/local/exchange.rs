//! Exchanges with oneself.

use core::{mem, ops::Range};

use super::reduce_one;
use crate::{CommData, CommError, ReduceOp, Reducible, SharedExchange, check};

/// An exchange of a [`LocalComm`](crate::LocalComm).
#[derive(Debug)]
pub struct LocalExchange<T> {
    written: Vec<T>,
    shown: Vec<T>,
}

impl<T> LocalExchange<T> {
    pub(super) fn new(written: Vec<T>, shown: Vec<T>) -> Self {
        Self { written, shown }
    }
}

impl<T: CommData> SharedExchange<T> for LocalExchange<T> {
    fn part_of(&self, rank: usize) -> Range<usize> {
        assert!(rank == 0, "rank {rank} of 1");
        0..self.shown.len()
    }

    fn shown(&self) -> &[T] {
        &self.shown
    }

    fn split_mut(&mut self) -> (&mut [T], &[T]) {
        (&mut self.written, &self.shown)
    }

    fn fence(&mut self) -> Result<(), CommError> {
        mem::swap(&mut self.written, &mut self.shown);
        Ok(())
    }

    fn reduce_into(&self, out: &mut [T], op: ReduceOp) -> Result<(), CommError>
    where
        T: Reducible,
    {
        check::reduce_into::<T>([self.shown.len()].into_iter(), out.len(), op)?;
        reduce_one(&self.shown, out);
        Ok(())
    }
}
