//! Why a job does not get on: who waits for whom, and what those do who keep others waiting.

use std::collections::BTreeMap;

use crate::{
    job::{Doing, Job, Operation, Rank},
    text,
};

/// Shorter waits, in seconds, are part of the work: a moment later they are over.
const WORTH_TELLING: f64 = 0.1;

/// The sentences that tell where a job stands; empty if it just works.
pub(crate) fn sentences(job: &Job) -> Vec<String> {
    let mut said: Vec<String> = job
        .failure
        .iter()
        .map(|why| format!("failed: {why}"))
        .collect();
    if job.failure.is_none() {
        said.extend(not_joined(job));
        said.extend(disagreement(job));
    }
    // Together those that wait for the same rank in the same call.
    let mut waiting: Vec<(usize, Vec<&Rank>)> = Vec::new();
    for rank in &job.ranks {
        let (Doing::Waiting, Some(wait)) = (rank.doing, &rank.waits) else {
            continue;
        };
        if wait.seconds < WORTH_TELLING {
            continue;
        }
        let same = waiting
            .iter_mut()
            .find(|(peer, sleepers)| *peer == wait.rank && in_the_same_call(sleepers[0], rank));
        match same {
            Some((_, sleepers)) => sleepers.push(rank),
            None => waiting.push((wait.rank, vec![rank])),
        }
    }
    // First those who keep others waiting without waiting themselves: where it begins.
    let waits = |peer: usize| {
        let rank = job.ranks.get(peer);
        rank.is_some_and(|rank| rank.doing == Doing::Waiting)
    };
    waiting.sort_by_key(|&(peer, _)| (waits(peer), peer));
    for (peer, sleepers) in waiting {
        let ranks: Vec<usize> = sleepers.iter().map(|rank| rank.rank).collect();
        let longest = sleepers.iter().filter_map(|rank| rank.waits);
        let longest = longest.map(|wait| wait.seconds).fold(0.0, f64::max);
        let verb = if ranks.len() == 1 { "waits" } else { "wait" };
        let at = sleepers[0].operation.as_ref();
        said.push(format!(
            "{} {verb} for rank {peer}{}, for {}; {}",
            text::ranks(&ranks),
            at.map_or_else(String::new, |op| format!(" in {}", place(op))),
            text::seconds(longest),
            job.ranks.get(peer).map_or_else(String::new, what_it_does)
        ));
    }
    said
}

/// Who keeps the job from forming.
fn not_joined(job: &Job) -> Option<String> {
    if job.state != "forming" {
        return None;
    }
    let absent = job.ranks.iter().filter(|rank| rank.doing == Doing::Absent);
    let absent: Vec<&Rank> = absent.collect();
    let numbers: Vec<usize> = absent.iter().map(|rank| rank.rank).collect();
    let who = match (absent.len() == job.ranks.len(), absent.len()) {
        (_, 0) => return None,
        (true, _) => "no rank has joined".to_owned(),
        (_, 1) => format!("{} has not joined", text::ranks(&numbers)),
        _ => format!("{} have not joined", text::ranks(&numbers)),
    };
    let pids: Vec<String> = absent
        .iter()
        .filter(|rank| rank.pid != 0)
        .map(|rank| rank.pid.to_string())
        .collect();
    let processes = match pids.len() {
        0 => String::new(),
        1 => format!(" (process {})", pids[0]),
        _ => format!(" (processes {})", pids.join(", ")),
    };
    Some(format!(
        "{who}{processes}: a program that does not call cobre_shm::init never joins"
    ))
}

/// Whether two ranks are in the same call, made at the same place.
fn in_the_same_call(one: &Rank, other: &Rank) -> bool {
    match (&one.operation, &other.operation) {
        (Some(one), Some(other)) => {
            let call = |op: &Operation| (op.communicator, op.number);
            call(one) == call(other) && one.agrees(other) && one.location == other.location
        }
        (None, None) => true,
        _ => false,
    }
}

/// Two ranks that are in different collectives as their same-numbered call will never meet.
fn disagreement(job: &Job) -> Option<String> {
    let inside = |rank: &&Rank| matches!(rank.doing, Doing::Waiting | Doing::Copying);
    let mut calls: BTreeMap<(usize, u64), (&Rank, &Operation)> = BTreeMap::new();
    for rank in job.ranks.iter().filter(inside) {
        let Some(operation) = &rank.operation else {
            continue;
        };
        let key = (operation.communicator, operation.number);
        let (first, theirs) = *calls.entry(key).or_insert((rank, operation));
        if !theirs.agrees(operation) {
            return Some(format!(
                "ranks disagree: rank {} is in {}, rank {} in {}",
                first.rank,
                place(theirs),
                rank.rank,
                place(operation)
            ));
        }
    }
    None
}

fn place(operation: &Operation) -> String {
    let at = operation.location.as_deref();
    let at = at.map_or_else(String::new, |at| format!(" at {at}"));
    format!("{}{at}", operation.show())
}

fn what_it_does(rank: &Rank) -> String {
    let number = rank.rank;
    let last = rank.operation.as_ref().map(place);
    match (rank.doing, last) {
        _ if rank.is_stopped() => format!("rank {number} is stopped (SIGCONT resumes it)"),
        (Doing::Computing, Some(last)) => format!("rank {number} computes since {last}"),
        (Doing::Computing | Doing::Starting, None) => {
            format!("rank {number} has not reached it yet")
        }
        (Doing::Waiting | Doing::Copying, Some(in_)) => {
            format!("rank {number} is {} in {in_}", rank.state())
        }
        _ => format!("rank {number} is {}", rank.state()),
    }
}

#[cfg(test)]
mod tests {
    use super::sentences;
    use crate::job::{Doing, Job, Operation, Wait};

    /// Each of these ranks waits for rank 0 in its call; rank 0 computes.
    fn waiting(calls: &[(&'static str, &str, u64)]) -> Job {
        let mut job = Job::example(calls.len() + 1);
        for (rank, &(name, arguments, number)) in job.ranks[1..].iter_mut().zip(calls) {
            rank.doing = Doing::Waiting;
            rank.waits = Some(Wait {
                rank: 0,
                seconds: 2.0,
            });
            rank.operation = Some(Operation {
                number,
                name,
                arguments: arguments.to_owned(),
                location: Some("src/cuts.rs:7".to_owned()),
                communicator: 0,
            });
        }
        job
    }

    #[test]
    fn ranks_are_told_together_only_if_they_wait_in_the_same_call() {
        let said = sentences(&waiting(&[
            ("barrier", "", 5),
            ("barrier", "", 5),
            ("barrier", "", 4),
        ]));
        let told = |said: &str, front: &str| assert!(said.starts_with(front), "{said}");
        assert_eq!(said.len(), 2, "{said:?}");
        told(&said[0], "ranks 1-2 wait for rank 0 in barrier() #5 at");
        told(&said[1], "rank 3 waits for rank 0 in barrier() #4 at");
    }

    #[test]
    fn a_stopped_rank_is_called_so_everywhere() {
        let mut job = waiting(&[("barrier", "", 5)]);
        if let Some(facts) = &mut job.ranks[0].process {
            facts.state = 'T';
        }
        assert_eq!(crate::show::summary(&job), "1 waiting, 1 stopped");
        let line = crate::watch::line(&job);
        assert!(line.contains(": 1 waiting, 1 stopped; call 17"), "{line}");
        let state = format!("{{job=\"{}\",rank=\"0\",state=", job.name);
        let metrics = crate::metrics::text(&[job], &[]);
        for (name, value) in [("stopped", 1), ("computing", 0)] {
            let sample = format!("\ncobre_rank_state{state}\"{name}\"}} {value}\n");
            assert!(metrics.contains(&sample), "{metrics}");
        }
    }

    #[test]
    fn ranks_disagree_also_about_arguments() {
        let said = sentences(&waiting(&[
            ("allreduce", "f64[3], Sum", 5),
            ("allreduce", "f64[4], Sum", 5),
        ]));
        assert!(
            said[0].starts_with("ranks disagree: rank 1 is in allreduce(f64[3], Sum) #5 at"),
            "{said:?}"
        );
        // Each rank gathers as much as it has.
        let said = sentences(&waiting(&[
            ("allgatherv", "f64[3] of 7", 5),
            ("allgatherv", "f64[4] of 7", 5),
        ]));
        assert!(said[0].starts_with("ranks 1-2 wait for rank 0"), "{said:?}");
    }
}
