//! Exchanges and reductions of which every rank has a copy.

use core::{mem, ops::Range};
use std::sync::Arc;

use cobre_comm_trait::{
    CommData, CommError, Communicator, Operation, ReduceOp, Reducible, SharedExchange,
    SharedReduction, check,
};

use super::{Fault, ModelComm};

/// An exchange of a [`ModelComm`].
#[derive(Debug)]
pub struct ModelExchange<T> {
    comm: ModelComm,
    /// The number of the call that created it.
    id: u64,
    counts: Vec<usize>,
    written: Vec<T>,
    /// What the last fence showed of this rank.
    before: Vec<T>,
    shown: Vec<T>,
}

impl<T: CommData> ModelExchange<T> {
    pub(super) fn new(comm: ModelComm, id: u64, counts: &[usize]) -> Self {
        let mine = vec![T::zeroed(); counts[comm.rank()]];
        Self {
            comm,
            id,
            counts: counts.to_vec(),
            written: mine.clone(),
            before: mine,
            shown: vec![T::zeroed(); counts.iter().sum()],
        }
    }
}

impl<T: CommData> SharedExchange<T> for ModelExchange<T> {
    fn part_of(&self, rank: usize) -> Range<usize> {
        let start = self.counts[..rank].iter().sum();
        start..start + self.counts[rank]
    }

    fn shown(&self) -> &[T] {
        &self.shown
    }

    fn split_mut(&mut self) -> (&mut [T], &[T]) {
        (&mut self.written, &self.shown)
    }

    fn fence(&mut self) -> Result<(), CommError> {
        let mine = bytemuck::cast_slice(&self.written).to_vec();
        let arguments = format!("exchange {}", self.id);
        let all: Vec<Arc<Vec<u8>>> =
            self.comm
                .exchange(Operation::Fence, arguments, Vec::new(), mine)?;
        let fault = self.comm.fault();
        if fault != Fault::SingleCopy {
            mem::swap(&mut self.written, &mut self.before);
        }
        for (rank, bytes) in all.iter().enumerate() {
            if fault == Fault::StaleExchange && rank != self.comm.rank() && self.id > 3 {
                continue;
            }
            let part = self.part_of(rank);
            bytemuck::cast_slice_mut::<T, u8>(&mut self.shown[part]).copy_from_slice(bytes);
        }
        Ok(())
    }

    fn reduce_into(&self, out: &mut [T], op: ReduceOp) -> Result<(), CommError>
    where
        T: Reducible,
    {
        check::reduce_into::<T>(self.counts.iter().copied(), out.len(), op)?;
        let parts: Vec<&[T]> = (0..self.comm.size()).map(|r| self.shown_by(r)).collect();
        fold(&parts, out, op, self.comm.fault());
        Ok(())
    }
}

/// A reduction of a [`ModelComm`].
#[derive(Debug)]
pub struct ModelReduction<T> {
    comm: ModelComm,
    /// The number of the call that created it.
    id: u64,
    operand: Vec<T>,
    result: Vec<T>,
}

impl<T: Reducible> ModelReduction<T> {
    pub(super) fn new(comm: ModelComm, id: u64, len: usize) -> Self {
        let operand = vec![T::zeroed(); len];
        Self {
            comm,
            id,
            result: operand.clone(),
            operand,
        }
    }
}

impl<T: Reducible> SharedReduction<T> for ModelReduction<T> {
    fn result(&self) -> &[T] {
        &self.result
    }

    fn split_mut(&mut self) -> (&mut [T], &[T]) {
        (&mut self.operand, &self.result)
    }

    fn reduce(&mut self, op: ReduceOp) -> Result<&[T], CommError> {
        let len = self.operand.len();
        let valid = check::allreduce::<T>(len, len, op);
        self.comm.admit(Operation::Allreduce, valid)?;
        let all = self.comm.exchange(
            Operation::Allreduce,
            format!("{}[{len}], {op}, reduction {}", T::NAME, self.id),
            vec![len, op as usize],
            bytemuck::cast_slice(&self.operand).to_vec(),
        )?;
        // The bytes may lie anywhere.
        let operands: Vec<Vec<T>> = all
            .iter()
            .map(|bytes| {
                let mut operand = vec![T::zeroed(); len];
                bytemuck::cast_slice_mut::<T, u8>(&mut operand).copy_from_slice(bytes);
                operand
            })
            .collect();
        let operands: Vec<&[T]> = operands.iter().map(Vec::as_slice).collect();
        fold(&operands, &mut self.result, op, self.comm.fault());
        if self.comm.fault() == Fault::LostOperand {
            self.operand.fill(T::zeroed());
        }
        Ok(&self.result)
    }
}

/// Combines operands element by element in rank order.
fn fold<T: Reducible>(operands: &[&[T]], out: &mut [T], op: ReduceOp, fault: Fault) {
    let last = operands.len() - 1;
    let order = |place| match fault {
        Fault::FoldFromTheLast => last - place,
        _ => place,
    };
    for (k, result) in out.iter_mut().enumerate() {
        let first = operands[order(0)][k];
        let rest = (1..=last).map(|place| operands[order(place)][k]);
        *result = rest
            .fold(first, |sum, value| sum.combine(value, op))
            .canonical();
    }
}
