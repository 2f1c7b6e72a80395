//! The collectives of one iteration of the published SDDP solver, `6 T + 4` for `T` stages.
//!
//! Types, sizes and order are those of the solver (version 0.18) on a case with 4 forward passes
//! and 4 state variables; with more ranks than forward passes some ranks send nothing.

use cobre_comm_trait::ReduceOp;

use crate::plan::{Call, Element, Length, Plan, Root, Share, Step, Work};

/// State variables of the case.
const STATE: usize = 4;
/// A cut on the wire.
const CUT_BYTES: usize = 29 + 8 * STATE;
/// Statistics of one stage of the forward pass.
const STAGE_STATISTICS: usize = 13;
/// Statistics a rank reports from a stage of the backward pass.
const WORKER_STATISTICS: usize = 150;

/// One iteration with so many stages.
#[must_use]
pub fn iteration(stages: usize, work: bool) -> Plan {
    let mut steps = Steps {
        steps: Vec::with_capacity(6 * stages + 4),
        work,
    };
    // Forward pass: is everybody still fine? Statistics of the stages, costs of the scenarios.
    steps.fine(Work::Each);
    steps.reduce(Element::F64, ReduceOp::Sum, STAGE_STATISTICS * stages);
    steps.gather(Element::F64, Share::PerPass(1));
    // Backward pass: has everybody as many workers?
    steps.reduce(Element::U64, ReduceOp::Min, 1);
    steps.reduce(Element::U64, ReduceOp::Max, 1);
    for level in 1..stages {
        // Trial states; then each solves its own; then how many cuts, and the cuts.
        steps.gather(Element::F64, Share::Padded(STATE));
        steps.fine(Work::Each);
        steps.gather(Element::U64, Share::Uniform(1));
        steps.gather(Element::U8, Share::PerPass(CUT_BYTES));
        // How often each cut of the next stage was binding; the last stage has none.
        if level > 1 {
            let call = Call::Allreduce(Element::U64, ReduceOp::Sum, Length::Cuts);
            steps.push(Work::None, call);
        }
        steps.gather(Element::F64, Share::Uniform(WORKER_STATISTICS));
    }
    // Rows of the linear programs; the lower bound, which rank 0 computes; whether to stop.
    steps.reduce(Element::F64, ReduceOp::Sum, 2);
    steps.reduce(Element::F64, ReduceOp::Max, 1);
    steps.fine(Work::Root);
    steps.push(Work::None, Call::Broadcast(Element::F64, 1, Root::Zero));
    steps.reduce(Element::F64, ReduceOp::Max, 2);
    steps.reduce(Element::F64, ReduceOp::Sum, 1);
    Plan {
        steps: steps.steps,
        read: false,
    }
}

struct Steps {
    steps: Vec<Step>,
    work: bool,
}

impl Steps {
    fn push(&mut self, work: Work, call: Call) {
        let work = if self.work { work } else { Work::None };
        self.steps.push(Step { work, call });
    }

    fn fine(&mut self, work: Work) {
        let flag = Call::Allreduce(Element::I32, ReduceOp::Max, Length::Fixed(1));
        self.push(work, flag);
    }

    fn reduce(&mut self, element: Element, op: ReduceOp, elements: usize) {
        let call = Call::Allreduce(element, op, Length::Fixed(elements));
        self.push(Work::None, call);
    }

    fn gather(&mut self, element: Element, share: Share) {
        self.push(Work::None, Call::Allgatherv(element, share));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(plan: &Plan, wanted: impl Fn(&Call) -> bool) -> usize {
        plan.steps.iter().filter(|step| wanted(&step.call)).count()
    }

    #[test]
    fn an_iteration_has_six_calls_a_stage_and_four() {
        for stages in [2, 3, 12, 60, 120] {
            assert_eq!(iteration(stages, false).steps.len(), 6 * stages + 4);
        }
    }

    #[test]
    fn twelve_stages_make_the_calls_that_were_counted() {
        let plan = iteration(12, false);
        let fixed = |element, op, elements| Call::Allreduce(element, op, Length::Fixed(elements));
        let of = |call: Call| count(&plan, |other| *other == call);
        assert_eq!(of(fixed(Element::I32, ReduceOp::Max, 1)), 13);
        assert_eq!(of(fixed(Element::F64, ReduceOp::Sum, 156)), 1);
        assert_eq!(of(fixed(Element::F64, ReduceOp::Sum, 2)), 1);
        assert_eq!(of(fixed(Element::F64, ReduceOp::Sum, 1)), 1);
        assert_eq!(of(fixed(Element::U64, ReduceOp::Min, 1)), 1);
        assert_eq!(of(fixed(Element::U64, ReduceOp::Max, 1)), 1);
        assert_eq!(of(fixed(Element::F64, ReduceOp::Max, 1)), 1);
        assert_eq!(of(fixed(Element::F64, ReduceOp::Max, 2)), 1);
        let cuts = Call::Allreduce(Element::U64, ReduceOp::Sum, Length::Cuts);
        assert_eq!(of(cuts), 10);
        assert_eq!(of(Call::Allgatherv(Element::F64, Share::PerPass(1))), 1);
        assert_eq!(of(Call::Allgatherv(Element::F64, Share::Padded(4))), 11);
        assert_eq!(of(Call::Allgatherv(Element::U64, Share::Uniform(1))), 11);
        assert_eq!(of(Call::Allgatherv(Element::U8, Share::PerPass(61))), 11);
        assert_eq!(of(Call::Allgatherv(Element::F64, Share::Uniform(150))), 11);
        assert_eq!(of(Call::Broadcast(Element::F64, 1, Root::Zero)), 1);
    }

    #[test]
    fn work_changes_no_call() {
        let (idle, busy) = (iteration(5, false), iteration(5, true));
        assert!(idle.steps.iter().all(|step| step.work == Work::None));
        assert_eq!(
            busy.steps.iter().filter(|s| s.work != Work::None).count(),
            6
        );
        let calls = |plan: &Plan| plan.steps.iter().map(|step| step.call).collect::<Vec<_>>();
        assert_eq!(calls(&idle), calls(&busy));
    }
}
