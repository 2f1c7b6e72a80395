//! A case as steps over private buffers: collectives, and the work of ranks between them.

use std::hint::black_box;
use std::time::Duration;

use cobre_comm_trait::{CommError, Communicator, ReduceOp};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};

use crate::lane::{Action, Lane, Prepared};
use crate::plan::{Call, Element, Plan, Work};
use crate::stats::over_ranks;
use crate::subject::{RunError, Subject};
use crate::values::{Content, value};

/// Steps of [`compute`] that a rank does between two calls, on average.
const MEAN_WORK: u64 = 50_000;
/// How late one rank comes to a barrier that is verified.
const LATE: Duration = Duration::from_millis(1);

/// A case on one rank: its steps and their buffers.
#[derive(Debug)]
pub(crate) struct Steps<'c, C> {
    comm: &'c C,
    steps: Vec<(Work, Prepared)>,
    f64s: Lane<f64>,
    u64s: Lane<u64>,
    i32s: Lane<i32>,
    u8s: Lane<u8>,
    read: bool,
    turn: u64,
}

/// Does the same with the lane of an element type, whichever it is.
macro_rules! with_lane {
    ($steps:expr, $element:expr, $lane:ident => $do:expr) => {
        match $element {
            Element::F64 => {
                let $lane = &mut $steps.f64s;
                $do
            }
            Element::U64 => {
                let $lane = &mut $steps.u64s;
                $do
            }
            Element::I32 => {
                let $lane = &mut $steps.i32s;
                $do
            }
            Element::U8 => {
                let $lane = &mut $steps.u8s;
                $do
            }
        }
    };
}

impl Call {
    fn element(self) -> Element {
        match self {
            Self::Barrier => Element::U8,
            Self::Allreduce(element, ..)
            | Self::Allgatherv(element, _)
            | Self::Broadcast(element, ..) => element,
        }
    }
}

impl<'c, C: Communicator> Steps<'c, C> {
    pub(crate) fn new(comm: &'c C, plan: Plan) -> Self {
        let mut runner = Self {
            comm,
            steps: Vec::new(),
            f64s: Lane::default(),
            u64s: Lane::default(),
            i32s: Lane::default(),
            u8s: Lane::default(),
            read: plan.read,
            turn: 0,
        };
        for step in plan.steps {
            let prepared = Prepared::new(step.call, comm.size());
            with_lane!(runner, step.call.element(), lane => lane.make_room(prepared.room()));
            runner.steps.push((step.work, prepared));
        }
        runner
    }
}

impl<C: Communicator> Subject for Steps<'_, C> {
    #[inline]
    fn turn(&mut self, action: Action) -> Result<(), CommError> {
        let turn = self.turn;
        self.turn += 1;
        for (place, (work, step)) in self.steps.iter().enumerate() {
            if action.call && *work != Work::None {
                compute(amount(*work, self.comm.rank(), place, turn));
            }
            with_lane!(self, step.call.element(), lane => {
                lane.go(self.comm, step, action, turn)?;
                if self.read && action.call {
                    lane.read(step, turn);
                }
            });
        }
        Ok(())
    }

    fn verify(&mut self, seed: u64) -> Result<bool, RunError> {
        let mut right = true;
        let turns = self.comm.size() as u64;
        // As many turns as there are ranks: everybody is the root once.
        for _ in 0..turns {
            let turn = self.turn;
            self.turn += 1;
            for (place, (_, step)) in self.steps.iter().enumerate() {
                if step.call == Call::Barrier {
                    right &= barrier_holds(self.comm, (turn % turns) as usize)?;
                    continue;
                }
                let seed = (seed << 40) + (turn << 16) + place as u64;
                right &= with_lane!(self, step.call.element(), lane => {
                    lane.verify(self.comm, step, turn, seed)
                })?;
            }
        }
        Ok(right)
    }

    fn holds_last(&self) -> bool {
        // Steps share their buffers: only a single one leaves its result untouched.
        let [(_, step)] = self.steps.as_slice() else {
            return true;
        };
        let turn = self.turn - 1;
        let (content, size) = (Content::Constant { turn }, self.comm.size());
        match step.call.element() {
            Element::F64 => self.f64s.holds(step, size, content, turn),
            Element::U64 => self.u64s.holds(step, size, content, turn),
            Element::I32 => self.i32s.holds(step, size, content, turn),
            Element::U8 => self.u8s.holds(step, size, content, turn),
        }
    }
}

/// Whether nobody leaves a barrier before the last one, who is late, has come.
fn barrier_holds<C: Communicator>(comm: &C, late: usize) -> Result<bool, RunError> {
    if comm.rank() == late {
        std::thread::sleep(LATE);
    }
    let came = monotonic()?;
    comm.barrier()?;
    let left = monotonic()?;
    let last = over_ranks(comm, &[came], ReduceOp::Max)?;
    let first = over_ranks(comm, &[left], ReduceOp::Min)?;
    Ok(first >= last)
}

/// Microseconds on a clock that all processes share.
fn monotonic() -> Result<f64, nix::Error> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    Ok(now.num_nanoseconds() as f64 / 1e3)
}

fn amount(work: Work, rank: usize, place: usize, turn: u64) -> u64 {
    match work {
        Work::None => 0,
        Work::Each => (value(rank, place, turn) * (2 * MEAN_WORK)) >> 20,
        Work::Root if rank == 0 => 2 * MEAN_WORK,
        Work::Root => 0,
    }
}

/// A chain of dependent multiplications: a fixed amount of work, however the ranks share cores.
fn compute(steps: u64) {
    let mut x = black_box(steps);
    for _ in 0..steps {
        x = x
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        x ^= x >> 29;
    }
    black_box(x);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_uneven_and_has_its_mean() {
        let amounts: Vec<u64> = (0..4000).map(|k| amount(Work::Each, 1, 2, k)).collect();
        let mean = amounts.iter().sum::<u64>() / 4000;
        assert!((MEAN_WORK * 9 / 10..MEAN_WORK * 11 / 10).contains(&mean));
        assert!(amounts.iter().all(|&amount| amount < 2 * MEAN_WORK));
        assert_eq!(amount(Work::Root, 1, 2, 3), 0);
    }
}
