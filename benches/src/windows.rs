//! The same messages in windows, without copies: what is measured as `win-..`.

use cobre_comm_trait::{
    CommError, ReduceOp, SharedExchange, SharedMemoryProvider, SharedReduction,
};

use crate::cases::{Message, Op};
use crate::lane::{Action, touch};
use crate::plan::Root;
use crate::subject::{RunError, Subject};
use crate::values::Content;

/// A message whose data lives in a window.
pub(crate) struct Windowed<'c, C: SharedMemoryProvider> {
    comm: &'c C,
    window: Window<C>,
    read: bool,
    turn: u64,
}

enum Window<C: SharedMemoryProvider> {
    Reduction(C::Reduction<f64>),
    Gather(C::Exchange<u8>),
    /// Every rank has a part; what the root wrote is read.
    Broadcast(C::Exchange<u8>),
}

impl<'c, C: SharedMemoryProvider> Windowed<'c, C> {
    pub(crate) fn new(comm: &'c C, message: Message) -> Result<Self, CommError> {
        let counts = vec![message.bytes; comm.size()];
        let window = match message.op {
            Op::Allreduce => Window::Reduction(comm.create_reduction(message.bytes / 8)?),
            Op::Allgatherv => Window::Gather(comm.create_exchange(&counts)?),
            Op::Broadcast => Window::Broadcast(comm.create_exchange(&counts)?),
        };
        Ok(Self {
            comm,
            window,
            read: message.read,
            turn: 0,
        })
    }

    fn root(&self, turn: u64) -> usize {
        Root::Rotating.at(turn, self.comm.size())
    }

    fn write(&mut self, content: Content) {
        let rank = self.comm.rank();
        match &mut self.window {
            Window::Reduction(reduction) => content.write(rank, reduction.operand_mut()),
            Window::Gather(exchange) | Window::Broadcast(exchange) => {
                content.write(rank, exchange.part_mut());
            }
        }
    }

    fn call(&mut self) -> Result<(), CommError> {
        match &mut self.window {
            Window::Reduction(reduction) => reduction.reduce(ReduceOp::Sum).map(drop),
            Window::Gather(exchange) | Window::Broadcast(exchange) => exchange.fence(),
        }
    }

    fn holds(&self, content: Content, turn: u64) -> bool {
        let size = self.comm.size();
        match &self.window {
            Window::Reduction(reduction) => {
                content.reduced(reduction.result(), size, ReduceOp::Sum)
            }
            Window::Gather(exchange) => {
                let counts: Vec<usize> = (0..size).map(|r| exchange.part_of(r).len()).collect();
                content.gathered(exchange.shown(), &counts)
            }
            Window::Broadcast(exchange) => {
                let root = self.root(turn);
                content.sent_by(root, exchange.shown_by(root))
            }
        }
    }

    fn touch(&self, turn: u64) {
        match &self.window {
            Window::Reduction(reduction) => touch(reduction.result()),
            Window::Gather(exchange) => touch(exchange.shown()),
            Window::Broadcast(exchange) => touch(exchange.shown_by(self.root(turn))),
        }
    }
}

impl<C: SharedMemoryProvider> Subject for Windowed<'_, C> {
    #[inline]
    fn turn(&mut self, action: Action) -> Result<(), CommError> {
        let turn = self.turn;
        self.turn += 1;
        if action.rewrite {
            self.write(Content::Constant { turn });
        }
        if action.call {
            self.call()?;
            if self.read {
                self.touch(turn);
            }
        }
        Ok(())
    }

    fn verify(&mut self, seed: u64) -> Result<bool, RunError> {
        let mut right = true;
        for _ in 0..self.comm.size() {
            let turn = self.turn;
            self.turn += 1;
            let content = Content::Pattern {
                seed: (seed << 40) + (turn << 16),
            };
            self.write(content);
            self.call()?;
            right &= self.holds(content, turn);
        }
        Ok(right)
    }

    fn holds_last(&self) -> bool {
        let turn = self.turn - 1;
        self.holds(Content::Constant { turn }, turn)
    }
}
