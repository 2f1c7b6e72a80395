//! The buffers of one element type, and the collectives on them.

use std::hint::black_box;

use cobre_comm_trait::{CommError, Communicator};

use crate::plan::Call;
use crate::values::{Content, Value};

/// What a pass through a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// Writes the send buffer first.
    pub rewrite: bool,
    /// Makes the call.
    pub call: bool,
}

/// A call with its counts worked out.
#[derive(Debug)]
pub struct Prepared {
    /// What is called.
    pub call: Call,
    counts: Vec<usize>,
    displs: Vec<usize>,
    total: usize,
}

impl Prepared {
    /// For a job of so many ranks.
    #[must_use]
    pub fn new(call: Call, size: usize) -> Self {
        let counts: Vec<usize> = match call {
            Call::Allgatherv(_, share) => (0..size).map(|rank| share.of(rank, size)).collect(),
            _ => Vec::new(),
        };
        let displs = counts.iter().scan(0, |end, &count| {
            let start = *end;
            *end += count;
            Some(start)
        });
        Self {
            call,
            displs: displs.collect(),
            total: counts.iter().sum(),
            counts,
        }
    }

    /// Elements of the longest send and receive buffer.
    #[must_use]
    pub fn room(&self) -> (usize, usize) {
        match self.call {
            Call::Barrier => (0, 0),
            Call::Allreduce(_, _, length) => (length.most(), length.most()),
            Call::Allgatherv(..) => (self.counts.iter().copied().max().unwrap_or(0), self.total),
            Call::Broadcast(_, elements, _) => (elements, 0),
        }
    }
}

/// The buffers of one element type; a broadcast happens in the send buffer.
#[derive(Debug)]
pub struct Lane<T> {
    send: Vec<T>,
    recv: Vec<T>,
}

impl<T: Value> Default for Lane<T> {
    fn default() -> Self {
        Self {
            send: Vec::new(),
            recv: Vec::new(),
        }
    }
}

impl<T: Value> Lane<T> {
    /// Makes room for a call, with every page touched.
    pub fn make_room(&mut self, (send, recv): (usize, usize)) {
        self.send.resize(self.send.len().max(send), T::POISON);
        self.recv.resize(self.recv.len().max(recv), T::POISON);
    }

    /// What this rank sends in a call.
    fn sent(&mut self, step: &Prepared, rank: usize, turn: u64) -> &mut [T] {
        let len = match step.call {
            Call::Barrier => 0,
            Call::Allreduce(_, _, length) => length.at(turn),
            Call::Allgatherv(..) => step.counts[rank],
            Call::Broadcast(_, elements, _) => elements,
        };
        &mut self.send[..len]
    }

    /// Rewrites and calls, as the action says.
    ///
    /// # Errors
    /// What the call says.
    #[inline]
    pub fn go<C: Communicator>(
        &mut self,
        comm: &C,
        step: &Prepared,
        action: Action,
        turn: u64,
    ) -> Result<(), CommError> {
        if action.rewrite && step.call != Call::Barrier {
            let rank = comm.rank();
            Content::Constant { turn }.write(rank, self.sent(step, rank, turn));
        }
        if !action.call {
            return Ok(());
        }
        match step.call {
            Call::Barrier => comm.barrier(),
            Call::Allreduce(_, op, length) => {
                let len = length.at(turn);
                comm.allreduce(&self.send[..len], &mut self.recv[..len], op)
            }
            Call::Allgatherv(..) => {
                let mine = step.counts[comm.rank()];
                let recv = &mut self.recv[..step.total];
                comm.allgatherv(&self.send[..mine], recv, &step.counts, &step.displs)
            }
            Call::Broadcast(_, elements, root) => {
                comm.broadcast(&mut self.send[..elements], root.at(turn, comm.size()))
            }
        }
    }

    /// Reads what this call has received.
    #[inline]
    pub fn read(&self, step: &Prepared, turn: u64) {
        match step.call {
            Call::Barrier => {}
            Call::Allreduce(_, _, length) => touch(&self.recv[..length.at(turn)]),
            Call::Allgatherv(..) => touch(&self.recv[..step.total]),
            Call::Broadcast(_, elements, _) => touch(&self.send[..elements]),
        }
    }

    /// Whether the buffers hold the result of this call on this content.
    #[must_use]
    pub fn holds(&self, step: &Prepared, size: usize, content: Content, turn: u64) -> bool {
        match step.call {
            Call::Barrier => true,
            Call::Allreduce(_, op, length) => {
                content.reduced(&self.recv[..length.at(turn)], size, op)
            }
            Call::Allgatherv(..) => content.gathered(&self.recv[..step.total], &step.counts),
            Call::Broadcast(_, elements, root) => {
                content.sent_by(root.at(turn, size), &self.send[..elements])
            }
        }
    }

    /// Makes the call on values nobody has seen before and a poisoned receive buffer.
    ///
    /// # Errors
    /// What the call says.
    pub fn verify<C: Communicator>(
        &mut self,
        comm: &C,
        step: &Prepared,
        turn: u64,
        seed: u64,
    ) -> Result<bool, CommError> {
        let content = Content::Pattern { seed };
        let rank = comm.rank();
        content.write(rank, self.sent(step, rank, turn));
        self.recv.fill(T::POISON);
        let only_call = Action {
            rewrite: false,
            call: true,
        };
        self.go(comm, step, only_call, turn)?;
        Ok(self.holds(step, comm.size(), content, turn))
    }
}

/// Reads an element of each cache line.
pub fn touch<T: Value>(elements: &[T]) {
    let lines = elements.iter().step_by(64 / size_of::<T>());
    black_box(lines.filter(|&&element| element == T::POISON).count());
}
