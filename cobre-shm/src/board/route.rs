//! To whom work goes: one choice, with policies that differ in what they hold against a candidate.

use core::{fmt, time::Duration};

use cobre_comm_trait::text;

use super::{
    member::Member,
    record::{Load, State},
};

/// Records older than this are ignored, unless configured otherwise.
pub const DEFAULT_STALENESS: Duration = Duration::from_secs(30);

/// What a policy holds against a candidate: the lowest wins, compared number by number.
pub type Cost = [f64; 3];

/// A member that may be chosen: it lives, takes work, and its record is fresh.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Candidate {
    /// What it says.
    pub load: Load,
    /// How much of the work it shall get, relative to the others.
    pub weight: f64,
    /// Its priority class: 0 is asked first by [`Classes`](super::Classes).
    pub class: u32,
}

/// An order of candidates.
pub trait Policy {
    /// The name, for explanations.
    fn name(&self) -> &'static str;
    /// What is against `candidate`. Of equal costs the lowest index wins.
    fn cost(&self, candidate: &Candidate) -> Cost;
}

/// Why a member was not considered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dropped {
    /// Its process is gone, or never came.
    Dead,
    /// It takes no work yet.
    Starting,
    /// It takes no work any more.
    Shutdown,
    /// Its record is older than the limit.
    Stale,
    /// It published so fast that no attempt to read succeeded.
    Unreadable,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dead => "not there",
            Self::Starting => "has not started",
            Self::Shutdown => "has shut down",
            Self::Stale => "stale",
            Self::Unreadable => "cannot be read",
        })
    }
}

/// Whether a member with this load takes work at `now`.
#[inline]
pub(crate) fn admit(load: &Load, now: u64, staleness: Duration) -> Result<(), Dropped> {
    match load.state {
        State::Starting => return Err(Dropped::Starting),
        State::Shutdown => return Err(Dropped::Shutdown),
        State::Idle | State::Busy | State::Waiting => {}
    }
    match load.age(now) {
        Some(age) if age <= staleness => Ok(()),
        _ => Err(Dropped::Stale),
    }
}

/// The best of the members `team`, whose loads `candidate` reads. Only the winner is asked whether it
/// lives, since that costs a system call; if not, the next best is.
#[cfg(any(test, feature = "boards"))]
pub(crate) fn choose(
    team: &[usize],
    policy: &(impl Policy + ?Sized),
    (now, staleness): (u64, Duration),
    candidate: impl Fn(usize) -> Option<Candidate>,
    is_alive: impl Fn(usize) -> bool,
) -> Option<usize> {
    let mut dead = Vec::new();
    loop {
        let mut best: Option<(Cost, usize)> = None;
        for &index in team {
            let Some(candidate) = candidate(index) else {
                continue;
            };
            if admit(&candidate.load, now, staleness).is_err() || dead.contains(&index) {
                continue;
            }
            let cost = policy.cost(&candidate);
            if best.is_none_or(|best| is_better((cost, index), best)) {
                best = Some((cost, index));
            }
        }
        let (_, index) = best?;
        if is_alive(index) {
            return Some(index);
        }
        dead.push(index);
    }
}

#[inline]
fn is_better(one: (Cost, usize), other: (Cost, usize)) -> bool {
    let costs = one.0.iter().zip(&other.0);
    let order = costs.map(|(one, other)| one.total_cmp(other));
    let first = order.into_iter().find(|order| order.is_ne());
    first.map_or(one.1 < other.1, core::cmp::Ordering::is_lt)
}

/// A choice, and why.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Choice {
    /// The policy's name.
    pub policy: &'static str,
    /// The index of the member chosen; `None` if nobody takes work.
    pub chosen: Option<usize>,
    /// Everybody asked, in the order asked.
    pub considered: Vec<Considered>,
}

/// One member of the team, and what became of it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Considered {
    /// Its index.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// What it is doing.
    pub state: State,
    /// Requests that wait there.
    pub queue: u64,
    /// How old its record is.
    pub age: Option<Duration>,
    /// Its cost, or why it was not considered.
    pub verdict: Result<Cost, Dropped>,
}

impl Choice {
    /// Chooses among `members`, as they were read at `now`, and explains it.
    #[must_use]
    pub fn among<'a>(
        members: impl IntoIterator<Item = &'a Member>,
        policy: &(impl Policy + ?Sized),
        (now, staleness): (u64, Duration),
    ) -> Self {
        let considered: Vec<Considered> = members
            .into_iter()
            .map(|member| consider(member, policy, now, staleness))
            .collect();
        let costs = considered
            .iter()
            .filter_map(|member| Some((member.verdict.ok()?, member.index)));
        let best = costs.reduce(|best, one| if is_better(one, best) { one } else { best });
        Self {
            policy: policy.name(),
            chosen: best.map(|(_, index)| index),
            considered,
        }
    }

    /// The name of the member chosen.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        let chosen = self.chosen?;
        let winner = self.considered.iter().find(|member| member.index == chosen);
        winner.map(|member| member.name.as_str())
    }
}

fn consider(
    member: &Member,
    policy: &(impl Policy + ?Sized),
    now: u64,
    staleness: Duration,
) -> Considered {
    let verdict = match &member.record {
        _ if !member.alive => Err(Dropped::Dead),
        None => Err(Dropped::Unreadable),
        Some(record) => {
            let candidate = Candidate {
                // In a job it counts what the rank does, not only what it said.
                load: Load {
                    state: member.state,
                    ..record.load
                },
                weight: member.weight,
                class: member.class,
            };
            admit(&candidate.load, now, staleness).map(|()| policy.cost(&candidate))
        }
    };
    Considered {
        index: member.index,
        name: member.name.clone(),
        state: member.state,
        queue: member.record.as_ref().map_or(0, |record| record.load.queue),
        age: member.age(now),
        verdict,
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} chose {name}", self.policy)?,
            None => write!(f, "{} found nobody who takes work", self.policy)?,
        }
        for member in &self.considered {
            let Considered {
                name, state, queue, ..
            } = member;
            write!(f, "\n  {name}: {state}, queue {queue}")?;
            match member.age {
                Some(age) => write!(f, ", {} old", text::duration(age))?,
                None => f.write_str(", no record")?,
            }
            match member.verdict {
                Ok(_) if self.chosen == Some(member.index) => f.write_str(" - chosen")?,
                Ok([first, second, third]) => {
                    write!(f, " - cost {first} {second} {third}")?;
                }
                Err(why) => write!(f, " - dropped: {why}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Candidate, Choice, Dropped, choose};
    use crate::board::{
        LeastLoaded, Member, Record,
        record::{Load, State},
    };
    use core::time::Duration;

    const SECOND: u64 = 1_000_000_000;
    const NOW: u64 = 100 * SECOND;
    const LIMIT: Duration = Duration::from_secs(30);

    fn member(index: usize, state: State, queue: u64, age: u64) -> Member {
        let record = Record {
            load: Load {
                state,
                queue,
                updated_ns: NOW - age * SECOND,
                ..Load::default()
            },
            ..Record::default()
        };
        Member {
            index,
            name: format!("m{index}"),
            pid: Some(1),
            alive: true,
            weight: 1.0,
            class: 0,
            state,
            record: Some(record),
            activity: None,
        }
    }

    /// The choice that explains, which must be the one of the fast path.
    fn least_loaded(members: &[Member]) -> Choice {
        let choice = Choice::among(members, &LeastLoaded, (NOW, LIMIT));
        let team: Vec<usize> = (0..members.len()).collect();
        let candidate = |index: usize| {
            Some(Candidate {
                load: members[index].record?.load,
                weight: 1.0,
                class: 0,
            })
        };
        let alive = |index: usize| members[index].alive;
        let fast = choose(&team, &LeastLoaded, (NOW, LIMIT), candidate, alive);
        assert_eq!(choice.chosen, fast);
        choice
    }

    #[test]
    fn idle_comes_before_busy_then_the_queue_then_the_number() {
        let busy = member(0, State::Busy, 0, 0);
        let idle = member(1, State::Idle, 9, 0);
        assert_eq!(least_loaded(&[busy.clone(), idle]).chosen, Some(1));
        let short = member(1, State::Waiting, 0, 0);
        let long = member(0, State::Busy, 1, 0);
        assert_eq!(least_loaded(&[long, short]).chosen, Some(1));
        let same = member(1, State::Busy, 0, 0);
        assert_eq!(least_loaded(&[busy, same]).chosen, Some(0));
    }

    #[test]
    fn who_is_dead_stale_or_not_at_work_is_never_chosen() {
        let mut dead = member(0, State::Idle, 0, 0);
        dead.alive = false;
        let members = [
            dead,
            member(1, State::Shutdown, 0, 0),
            member(2, State::Starting, 0, 0),
            member(3, State::Idle, 0, 31),
            member(4, State::Busy, 50, 30),
        ];
        let choice = least_loaded(&members);
        assert_eq!(choice.chosen, Some(4));
        let reasons: Vec<_> = choice.considered[..4]
            .iter()
            .map(|member| member.verdict.unwrap_err())
            .collect();
        let expected = [
            Dropped::Dead,
            Dropped::Shutdown,
            Dropped::Starting,
            Dropped::Stale,
        ];
        assert_eq!(reasons, expected);
        assert_eq!(least_loaded(&members[..4]).chosen, None);
    }

    #[test]
    fn the_explanation_names_everybody() {
        let members = [
            member(0, State::Idle, 0, 0),
            member(1, State::Busy, 5, 1),
            member(2, State::Idle, 0, 40),
        ];
        assert_eq!(
            least_loaded(&members).to_string(),
            "least_loaded chose m0\n  \
             m0: idle, queue 0, 0 s old - chosen\n  \
             m1: busy, queue 5, 1 s old - cost 1 5 0\n  \
             m2: idle, queue 0, 40 s old - dropped: stale"
        );
    }
}
