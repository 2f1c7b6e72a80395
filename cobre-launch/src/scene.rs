//! What every rank is doing at one moment, told in few lines however many ranks there are.

use std::collections::BTreeSet;
use std::time::Duration;

use cobre_comm_trait::{Call, Operation};
use cobre_shm::Activity;
use serde::Serialize;

use crate::job::Membership;
use crate::text::{list, paragraph};

/// What one rank is doing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Doing {
    pub(crate) what: What,
    /// The collective it is in, or the last one it completed.
    pub(crate) operation: Option<OperationView>,
    /// The rank that it waits for.
    pub(crate) waits_for: Option<usize>,
    /// For how long it has waited.
    pub(crate) waited_seconds: Option<f64>,
}

/// A collective, as the report names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct OperationView {
    pub(crate) number: u64,
    pub(crate) name: &'static str,
    pub(crate) arguments: String,
    pub(crate) location: Option<String>,
}

/// In the order in which they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// It sleeps in a collective.
    Waiting,
    /// It is in a collective, and does not sleep.
    Calling,
    /// It is between two collectives.
    Computing,
    /// It has joined, and called nothing yet.
    Starting,
    /// It has not joined.
    Absent,
    /// It has left.
    Left,
}

impl Doing {
    pub(crate) fn new(membership: Membership, activity: Activity) -> Self {
        let (what, call, wait) = match (membership, activity) {
            (Membership::Absent, _) => (What::Absent, None, None),
            (Membership::Left, Activity::Computing { last }) => (What::Left, last, None),
            (Membership::Left, Activity::Starting) => (What::Left, None, None),
            // Also of one that has left since: it was told of the failure in there.
            (_, Activity::Waiting { call, peer, time }) => {
                (What::Waiting, call, Some((peer, time)))
            }
            (_, Activity::Calling { call }) => (What::Calling, call, None),
            (_, Activity::Computing { last }) => (What::Computing, last, None),
            _ => (What::Starting, None, None),
        };
        Self {
            what,
            operation: call.map(OperationView::new),
            waits_for: wait.map(|(peer, _)| peer),
            waited_seconds: wait.map(|(_, time)| time.as_secs_f64()),
        }
    }

    /// In words; nothing of whom it waits for, which differs among ranks that do the same.
    fn describe(&self) -> String {
        let operation = match &self.operation {
            Some(operation) => operation.describe(),
            None => "an operation".to_owned(),
        };
        match (self.what, &self.operation) {
            (What::Waiting | What::Calling, _) => format!("in {operation}"),
            (What::Computing, _) => format!("computing after {operation}"),
            (What::Starting, _) => "computing, before the first operation".to_owned(),
            (What::Absent, _) => "not in the job yet".to_owned(),
            (What::Left, Some(_)) => format!("gone after {operation}"),
            (What::Left, None) => "gone".to_owned(),
        }
    }
}

impl OperationView {
    fn new(call: Call) -> Self {
        Self {
            number: call.number,
            name: call.operation.name(),
            arguments: call.arguments,
            location: call.location,
        }
    }

    fn describe(&self) -> String {
        let Self {
            number,
            name,
            arguments,
            ..
        } = self;
        let at = self
            .location
            .iter()
            .map(|location| format!(" at {location}"));
        format!(
            "operation {number}: {name}({arguments}){}",
            at.collect::<String>()
        )
    }

    /// Whether `other` is what another rank calls that does the same.
    fn agrees(&self, other: &Self) -> bool {
        // Each rank's own count of an allgatherv is its own.
        let own_count = self.name == Operation::Allgatherv.name();
        self.name == other.name && (own_count || self.arguments == other.arguments)
    }
}

/// Ranks that do the same.
struct Group<'a> {
    ranks: Vec<usize>,
    doing: &'a Doing,
    peers: BTreeSet<usize>,
    shortest: f64,
    longest: f64,
}

/// What each of `ranks` is doing, grouped: paragraphs of at most 80 columns.
pub(crate) fn describe<'a>(ranks: impl Iterator<Item = (usize, &'a Doing)>) -> String {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (rank, doing) in ranks {
        let waited = doing.waited_seconds.unwrap_or_default();
        match groups.iter_mut().find(|group| same(group.doing, doing)) {
            Some(group) => {
                group.ranks.push(rank);
                group.peers.extend(doing.waits_for);
                group.shortest = group.shortest.min(waited);
                group.longest = group.longest.max(waited);
            }
            None => groups.push(Group {
                ranks: vec![rank],
                doing,
                peers: doing.waits_for.into_iter().collect(),
                shortest: waited,
                longest: waited,
            }),
        }
    }
    groups.sort_by_key(|group| {
        let number = group.doing.operation.as_ref().map(|call| call.number);
        (group.doing.what, number, group.ranks[0])
    });
    groups.iter().map(Group::describe).collect()
}

fn same(one: &Doing, other: &Doing) -> bool {
    let operations = match (&one.operation, &other.operation) {
        (Some(a), Some(b)) => a.number == b.number && a.location == b.location && a.agrees(b),
        (None, None) => true,
        _ => false,
    };
    one.what == other.what && operations
}

impl Group<'_> {
    fn describe(&self) -> String {
        let mut text = format!("{} {}", list(&self.ranks), self.doing.describe());
        if !self.peers.is_empty() {
            let peers: Vec<usize> = self.peers.iter().copied().collect();
            text.push_str(&format!(
                ", waiting {} for {}",
                span(self.shortest, self.longest),
                list(&peers)
            ));
        }
        paragraph(4, &text)
    }
}

/// `2.1 s`, or `0.3 to 2.1 s`.
fn span(shortest: f64, longest: f64) -> String {
    let (shortest, longest) = (format!("{shortest:.1}"), format!("{longest:.1}"));
    if shortest == longest {
        format!("{longest} s")
    } else {
        format!("{shortest} to {longest} s")
    }
}

/// What the picture says about a job that does not get on: calls that differ, and who is missing.
pub(crate) fn diagnose(scene: &[Doing]) -> String {
    let mut text = String::new();
    if let Some((first, second)) = disagreement(scene) {
        let side = |rank: usize| {
            let call = scene[rank].operation.as_ref();
            format!(
                "rank {rank}: {}",
                call.map(OperationView::describe).unwrap_or_default()
            )
        };
        text.push_str("  these ranks disagree:\n");
        text.push_str(&paragraph(4, &side(first)));
        text.push_str(&paragraph(4, &side(second)));
    }
    let waited_for: BTreeSet<usize> = scene.iter().filter_map(|doing| doing.waits_for).collect();
    let missing: Vec<usize> = waited_for
        .iter()
        .copied()
        .filter(|&rank| {
            scene
                .get(rank)
                .is_some_and(|doing| doing.what != What::Waiting)
        })
        .collect();
    if !missing.is_empty() {
        text.push_str(&paragraph(2, &format!("missing: {}", list(&missing))));
    } else if !waited_for.is_empty() {
        text.push_str("  the ranks wait for each other\n");
    }
    text
}

/// The first two ranks that are in a collective of the same number, but not in the same.
fn disagreement(scene: &[Doing]) -> Option<(usize, usize)> {
    let inside = |doing: &&Doing| matches!(doing.what, What::Waiting | What::Calling);
    let calls = || {
        let ranks = scene.iter().enumerate();
        ranks.filter_map(|(rank, doing)| {
            Some((rank, Some(doing).filter(inside)?.operation.as_ref()?))
        })
    };
    calls().find_map(|(rank, call)| {
        let other = calls().find(|(_, other)| other.number == call.number && !call.agrees(other));
        other.map(|(other, _)| (rank, other))
    })
}

/// How long the rank that has slept longest in a collective has slept.
pub(crate) fn longest_wait(scene: &[Doing]) -> Option<Duration> {
    let waits = scene.iter().filter_map(|doing| doing.waited_seconds);
    waits.max_by(f64::total_cmp).map(Duration::from_secs_f64)
}

#[cfg(test)]
mod tests {
    use super::{Doing, OperationView, What, describe, diagnose};

    fn operation(number: u64, name: &'static str, arguments: &str) -> Option<OperationView> {
        Some(OperationView {
            number,
            name,
            arguments: arguments.to_owned(),
            location: Some("src/forward.rs:120".to_owned()),
        })
    }

    fn waiting(peer: usize, seconds: f64, operation: Option<OperationView>) -> Doing {
        Doing {
            what: What::Waiting,
            operation,
            waits_for: Some(peer),
            waited_seconds: Some(seconds),
        }
    }

    fn computing(after: Option<OperationView>) -> Doing {
        Doing {
            what: What::Computing,
            operation: after,
            waits_for: None,
            waited_seconds: None,
        }
    }

    #[test]
    fn a_thousand_ranks_that_do_the_same_are_one_paragraph() {
        let call = operation(17, "allreduce", "f64[156], Sum");
        let mut scene = vec![waiting(500, 2.13, call); 1000];
        scene[3].waited_seconds = Some(0.26);
        scene[500] = computing(operation(16, "barrier", ""));
        let text = describe(scene.iter().enumerate());
        assert_eq!(
            text,
            "    ranks 0-499, 501-999 in operation 17: allreduce(f64[156], Sum) at\n      \
               src/forward.rs:120, waiting 0.3 to 2.1 s for rank 500\n    \
             rank 500 computing after operation 16: barrier() at src/forward.rs:120\n"
        );
        assert!(text.lines().all(|line| line.len() <= 80));
        assert_eq!(diagnose(&scene), "  missing: rank 500\n");
    }

    #[test]
    fn calls_that_differ_stand_side_by_side() {
        let scene = [
            waiting(1, 1.0, operation(9, "allreduce", "f64[2], Sum")),
            waiting(0, 1.0, operation(9, "broadcast", "f64[2], root 0")),
        ];
        assert_eq!(
            diagnose(&scene),
            "  these ranks disagree:\n    \
               rank 0: operation 9: allreduce(f64[2], Sum) at src/forward.rs:120\n    \
               rank 1: operation 9: broadcast(f64[2], root 0) at src/forward.rs:120\n  \
             the ranks wait for each other\n"
        );
    }

    #[test]
    fn counts_of_an_allgatherv_may_differ() {
        let scene = [
            waiting(1, 1.0, operation(9, "allgatherv", "u8[3] of 7")),
            waiting(0, 1.0, operation(9, "allgatherv", "u8[4] of 7")),
        ];
        assert_eq!(diagnose(&scene), "  the ranks wait for each other\n");
        assert_eq!(
            describe(scene.iter().enumerate())
                .matches("operation")
                .count(),
            1
        );
    }
}
