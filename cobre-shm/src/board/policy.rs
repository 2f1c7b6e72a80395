//! Policies: what they hold against a candidate.

use super::{
    record::State,
    route::{Candidate, Cost, Policy},
};

/// 1 for a member that would not begin at once.
fn busy(candidate: &Candidate) -> f64 {
    f64::from(u8::from(candidate.load.state != State::Idle))
}

/// Idle before busy, then the shortest queue, then the lowest number.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeastLoaded;

impl Policy for LeastLoaded {
    fn name(&self) -> &'static str {
        "least_loaded"
    }

    #[inline]
    fn cost(&self, candidate: &Candidate) -> Cost {
        [busy(candidate), candidate.load.queue as f64, 0.0]
    }
}

/// As [`LeastLoaded`], with queues divided by the members' weights.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weighted;

impl Policy for Weighted {
    fn name(&self) -> &'static str {
        "weighted"
    }

    fn cost(&self, candidate: &Candidate) -> Cost {
        let queue = candidate.load.queue as f64 + 1.0;
        [busy(candidate), queue / candidate.weight, 0.0]
    }
}

/// The lowest priority class that has room, there the shortest queue; if none has, everybody.
#[derive(Clone, Copy, Debug)]
pub struct Classes {
    /// Requests that may wait at a member before it counts as full.
    pub limit: u64,
}

impl Policy for Classes {
    fn name(&self) -> &'static str {
        "classes"
    }

    fn cost(&self, candidate: &Candidate) -> Cost {
        let full = u8::from(candidate.load.queue >= self.limit);
        let class = f64::from(candidate.class);
        [f64::from(full), class, candidate.load.queue as f64]
    }
}

/// The shortest queue on average over the last seconds: bursts do not count.
#[derive(Clone, Copy, Debug, Default)]
pub struct Smoothed;

impl Policy for Smoothed {
    fn name(&self) -> &'static str {
        "smoothed"
    }

    fn cost(&self, candidate: &Candidate) -> Cost {
        [candidate.load.smoothed_queue, busy(candidate), 0.0]
    }
}

/// Who would be done first: all that waits there, what it works on and the new item, times how long
/// an item takes there. Who has not done any item yet is asked first.
#[derive(Clone, Copy, Debug, Default)]
pub struct EstimatedCompletion {
    /// Reckon with the 90th percentile of the times instead of the mean.
    pub pessimistic: bool,
}

impl Policy for EstimatedCompletion {
    fn name(&self) -> &'static str {
        "estimated_completion"
    }

    fn cost(&self, candidate: &Candidate) -> Cost {
        let load = &candidate.load;
        let service = match self.pessimistic {
            true => load.p90_service_ns,
            false => load.mean_service_ns,
        };
        let ahead = load.queue as f64 + busy(candidate);
        [(ahead + 1.0) * service as f64, ahead, 0.0]
    }
}

/// All policies with their usual parameters; for command lines.
#[must_use]
pub fn policies() -> [Box<dyn Policy>; 5] {
    [
        Box::new(LeastLoaded),
        Box::new(Weighted),
        Box::new(Classes { limit: 8 }),
        Box::new(Smoothed),
        Box::new(EstimatedCompletion::default()),
    ]
}

/// The one of [`policies`] that has this name.
#[must_use]
pub fn policy_by_name(name: &str) -> Option<Box<dyn Policy>> {
    policies().into_iter().find(|policy| policy.name() == name)
}

#[cfg(test)]
mod tests {
    use super::{Classes, EstimatedCompletion, LeastLoaded, Smoothed, Weighted};
    use crate::board::{
        record::{Load, State},
        route::{Candidate, Policy},
    };

    fn candidate(state: State, queue: u64) -> Candidate {
        Candidate {
            load: Load {
                state,
                queue,
                ..Load::default()
            },
            weight: 1.0,
            class: 0,
        }
    }

    #[track_caller]
    fn prefers(policy: &dyn Policy, one: &Candidate, other: &Candidate) {
        let (one, other) = (policy.cost(one), policy.cost(other));
        assert!(one < other, "{}: {one:?} {other:?}", policy.name());
    }

    #[test]
    fn a_member_of_twice_the_weight_takes_twice_the_queue() {
        let mut strong = candidate(State::Busy, 4);
        let weak = candidate(State::Busy, 3);
        prefers(&LeastLoaded, &weak, &strong);
        strong.weight = 2.0;
        prefers(&Weighted, &strong, &weak);
    }

    #[test]
    fn a_higher_class_is_asked_only_when_the_lower_is_full() {
        let (mut first, mut second) = (candidate(State::Busy, 3), candidate(State::Idle, 0));
        (first.class, second.class) = (0, 1);
        prefers(&Classes { limit: 4 }, &first, &second);
        prefers(&Classes { limit: 3 }, &second, &first);
    }

    #[test]
    fn a_burst_does_not_count_against_a_smoothed_queue() {
        let (mut burst, mut loaded) = (candidate(State::Busy, 9), candidate(State::Busy, 2));
        (burst.load.smoothed_queue, loaded.load.smoothed_queue) = (0.5, 2.0);
        prefers(&LeastLoaded, &loaded, &burst);
        prefers(&Smoothed, &burst, &loaded);
    }

    #[test]
    fn a_fast_member_with_a_queue_is_done_before_a_slow_one_without() {
        let (mut fast, mut slow) = (candidate(State::Busy, 3), candidate(State::Idle, 0));
        (fast.load.mean_service_ns, slow.load.mean_service_ns) = (1_000, 9_000);
        (fast.load.p90_service_ns, slow.load.p90_service_ns) = (8_192, 16_384);
        prefers(&LeastLoaded, &slow, &fast);
        prefers(&EstimatedCompletion::default(), &fast, &slow);
        prefers(&EstimatedCompletion { pessimistic: true }, &slow, &fast);
    }
}
