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
    let mut waiting: BTreeMap<usize, Vec<&Rank>> = BTreeMap::new();
    for rank in &job.ranks {
        if let (Doing::Waiting, Some(wait)) = (rank.doing, &rank.waits)
            && wait.seconds >= WORTH_TELLING
        {
            waiting.entry(wait.rank).or_default().push(rank);
        }
    }
    // First those who keep others waiting without waiting themselves: where it begins.
    let waits = |peer: usize| {
        let rank = job.ranks.get(peer);
        rank.is_some_and(|rank| rank.doing == Doing::Waiting)
    };
    let mut waiting: Vec<(usize, Vec<&Rank>)> = waiting.into_iter().collect();
    waiting.sort_by_key(|&(peer, _)| waits(peer));
    for (peer, sleepers) in waiting {
        let ranks: Vec<usize> = sleepers.iter().map(|rank| rank.rank).collect();
        let longest = sleepers.iter().filter_map(|rank| rank.waits);
        let longest = longest.map(|wait| wait.seconds).fold(0.0, f64::max);
        let verb = if ranks.len() == 1 { "waits" } else { "wait" };
        let at = sleepers.iter().find_map(|rank| rank.operation.as_ref());
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
        "{who}{processes}: a program joins when it calls cobre_shm::init, and one that never does \
         is no rank"
    ))
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
        if theirs.name != operation.name {
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
            format!("rank {number} has not come to it yet")
        }
        (Doing::Waiting | Doing::Copying, Some(in_)) => {
            format!("rank {number} is {} in {in_}", rank.doing.name())
        }
        (doing, _) => format!("rank {number} is {}", doing.name()),
    }
}
