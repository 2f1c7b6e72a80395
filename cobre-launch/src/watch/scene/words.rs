//! A scene in few lines, however many ranks there are.

use std::collections::BTreeSet;
use std::time::Duration;

use cobre_comm_trait::text;

use super::{Doing, STOPPED, What};
use crate::relay::fit::line;

/// Ranks that do the same.
struct Group {
    ranks: Vec<usize>,
    doing: Doing,
    peers: BTreeSet<usize>,
    shortest: f64,
    longest: f64,
}

/// What each of `ranks` is doing, grouped: a line for each group.
pub(crate) fn describe<'a>(ranks: impl Iterator<Item = (usize, &'a Doing)>) -> String {
    let mut groups: Vec<Group> = Vec::new();
    for (rank, doing) in ranks.flat_map(|(rank, doing)| doing.all().map(move |one| (rank, one))) {
        let waited = doing.waited_seconds.unwrap_or_default();
        match groups.iter_mut().find(|group| same(&group.doing, doing)) {
            Some(group) => {
                if let (Some(one), Some(other)) = (&mut group.doing.operation, &doing.operation) {
                    one.keep_what_agrees(other);
                }
                group.ranks.push(rank);
                group.peers.extend(doing.waits_for);
                group.shortest = group.shortest.min(waited);
                group.longest = group.longest.max(waited);
            }
            None => groups.push(Group {
                ranks: vec![rank],
                doing: doing.clone(),
                peers: doing.waits_for.into_iter().collect(),
                shortest: waited,
                longest: waited,
            }),
        }
    }
    groups.sort_by_key(|group| {
        let number = group.doing.operation.as_ref().map(|call| call.number);
        (group.doing.what, group.doing.split, number, group.ranks[0])
    });
    groups.iter().map(Group::describe).collect()
}

fn same(one: &Doing, other: &Doing) -> bool {
    let operations = match (&one.operation, &other.operation) {
        (Some(a), Some(b)) => a.number == b.number && a.location == b.location && a.agrees(b),
        (None, None) => true,
        _ => false,
    };
    let alike = one.what == other.what && one.stopped == other.stopped;
    alike && one.split == other.split && operations
}

impl Group {
    fn describe(&self) -> String {
        let mut text = format!("{} {}", text::ranks(&self.ranks), self.doing.describe());
        if !self.peers.is_empty() {
            let peers: Vec<usize> = self.peers.iter().copied().collect();
            text.push_str(&format!(
                ", waiting {} for {}",
                span(self.shortest, self.longest),
                text::ranks(&peers)
            ));
        }
        line(4, &text)
    }
}

/// `2.13 s`, or `300 ms to 2.13 s` if these differ by more than a tenth.
fn span(shortest: f64, longest: f64) -> String {
    let show = |seconds| text::duration(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    match longest - shortest > longest / 10.0 {
        true => format!("{} to {}", show(shortest), show(longest)),
        false => show(longest),
    }
}

/// What the picture says about a job that does not get on: calls that differ, and who is missing.
pub(crate) fn diagnose(scene: &[Doing]) -> String {
    let mut text = String::new();
    if let Some([first, second]) = disagreement(scene) {
        let side =
            |(rank, doing): (usize, &Doing)| format!("rank {rank}: {}", doing.describe_operation());
        text.push_str("  these ranks disagree:\n");
        text.push_str(&line(4, &side(first)));
        text.push_str(&line(4, &side(second)));
    }
    let all = scene.iter().flat_map(Doing::all);
    let waited_for: BTreeSet<usize> = all.filter_map(|doing| doing.waits_for).collect();
    let missing: Vec<usize> = waited_for
        .iter()
        .copied()
        .filter(|&rank| {
            let doing = scene.get(rank);
            doing.is_some_and(|doing| doing.all().all(|one| one.what != What::Waiting))
        })
        .collect();
    if !missing.is_empty() {
        text.push_str(&line(2, &format!("missing: {}", text::ranks(&missing))));
        let is_stopped = |&&rank: &&usize| scene.get(rank).is_some_and(|doing| doing.stopped);
        let stopped: Vec<usize> = missing.iter().filter(is_stopped).copied().collect();
        if !stopped.is_empty() {
            let verb = if stopped.len() == 1 { "is" } else { "are" };
            text.push_str(&line(
                2,
                &format!("{} {verb} {STOPPED}", text::ranks(&stopped)),
            ));
        }
    } else if !waited_for.is_empty() {
        text.push_str("  the ranks wait for each other\n");
    }
    text
}

/// The first two ranks that are in a collective of the same number and communicator, but not in the
/// same.
fn disagreement(scene: &[Doing]) -> Option<[(usize, &Doing); 2]> {
    let calls = || {
        let ranks = scene.iter().enumerate();
        let all = ranks.flat_map(|(rank, doing)| doing.all().map(move |one| (rank, one)));
        all.filter(|(_, doing)| doing.is_inside())
    };
    calls().find_map(|one| {
        let call = one.1.operation.as_ref()?;
        let differs = |other: &Doing| {
            let other_call = other.operation.as_ref();
            other.split == one.1.split
                && other_call
                    .is_some_and(|other| other.number == call.number && !call.agrees(other))
        };
        Some([one, calls().find(|(_, other)| differs(other))?])
    })
}

#[cfg(test)]
mod tests {
    use super::{describe, diagnose};
    use crate::watch::scene::{Doing, OperationView, Place, What};

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
            stopped: false,
            split: None,
            waits_for: Some(peer),
            waited_seconds: Some(seconds),
            also: Vec::new(),
        }
    }

    fn computing(after: Option<OperationView>) -> Doing {
        Doing {
            what: What::Computing,
            operation: after,
            stopped: false,
            split: None,
            waits_for: None,
            waited_seconds: None,
            also: Vec::new(),
        }
    }

    #[test]
    fn a_thousand_ranks_that_do_the_same_are_one_line() {
        let call = operation(17, "allreduce", "f64[156], Sum");
        let mut scene = vec![waiting(500, 2.13, call); 1000];
        scene[3].waited_seconds = Some(0.26);
        scene[500] = computing(operation(16, "barrier", ""));
        let text = describe(scene.iter().enumerate());
        assert_eq!(
            text,
            "    ranks 0-499, 501-999 in operation 17: allreduce(f64[156], Sum) at \
               src/forward.rs:120, waiting 260 ms to 2.13 s for rank 500\n    \
             rank 500 computing after operation 16: barrier() at src/forward.rs:120\n"
        );
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
    fn threads_that_wait_in_several_communicators_are_all_told() {
        let place = |number| Some(Place { number, size: 2 });
        let mut first = waiting(1, 1.0, operation(4, "barrier", ""));
        let mut second = waiting(0, 2.0, operation(4, "broadcast", "u8[1], root 0"));
        second.split = place(1);
        assert_eq!(
            diagnose(&[first.clone(), second.clone()]),
            "  the ranks wait for each other\n"
        );
        let mut other = waiting(0, 3.0, operation(4, "barrier", ""));
        other.split = place(1);
        first.also.push(other);
        let scene = [first, second];
        let text = describe(scene.iter().enumerate());
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(text.matches("of split communicator 1 (2 ranks)").count(), 2);
        assert_eq!(text.matches("rank 0 in").count(), 2, "{text}");
        assert!(diagnose(&scene).contains("these ranks disagree"));
    }

    #[test]
    fn each_ranks_own_count_of_an_allgatherv_may_differ_but_nothing_else() {
        let call = |arguments| operation(9, "allgatherv", arguments);
        let one = waiting(1, 1.0, call("u8[3] of 7 in all, counts #0001"));
        let other = waiting(0, 1.0, call("u8[4] of 7 in all, counts #0001"));
        let scene = [one.clone(), other];
        assert_eq!(diagnose(&scene), "  the ranks wait for each other\n");
        let text = describe(scene.iter().enumerate());
        let shown = "    ranks 0-1 in operation 9: allgatherv(u8[..] of 7 in all, counts #0001) at";
        assert!(text.starts_with(shown), "{text}");
        for differs in [
            "u8[4] of 8 in all, counts #0001",
            "u8[4] of 7 in all, counts #0002",
            "i8[4] of 7 in all, counts #0001",
        ] {
            let scene = [one.clone(), waiting(0, 1.0, call(differs))];
            assert!(
                diagnose(&scene).contains("these ranks disagree"),
                "{differs}"
            );
            let text = describe(scene.iter().enumerate());
            assert_eq!(text.matches("operation 9").count(), 2, "{text}");
        }
    }

    #[test]
    fn a_stopped_rank_is_called_stopped() {
        let mut late = computing(operation(8, "barrier", ""));
        let mut scene = vec![waiting(1, 1.0, operation(9, "barrier", "")), late.clone()];
        late.stopped = true;
        scene.push(late);
        scene[0].waits_for = Some(2);
        let text = describe(scene.iter().enumerate());
        let shown =
            "    rank 2 stopped (SIGCONT resumes it), computing after operation 8: barrier() at";
        assert!(text.contains(shown), "{text}");
        assert_eq!(text.matches("rank 1 computing").count(), 1, "{text}");
        assert_eq!(
            diagnose(&scene),
            "  missing: rank 2\n  rank 2 is stopped (SIGCONT resumes it)\n"
        );
    }
}
