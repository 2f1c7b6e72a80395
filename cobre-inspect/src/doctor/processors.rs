//! Processors, NUMA nodes and limits per process.

use cobre_comm_trait::text::count;
use cobre_shm::topology::{Level, Machine};
use nix::sys::resource::{Resource, getrlimit};

use super::{
    Finding,
    Verdict::{Bad, Good, Note},
    cgroup,
};

/// Descriptors of the launcher for each rank: three pipes and room.
const PER_RANK: u64 = 4;
/// Descriptors of the launcher itself.
const ALONE: u64 = 32;

pub(super) fn findings(ranks: usize) -> Vec<Finding> {
    [
        Some(usable(ranks)),
        nodes(ranks),
        limit(
            Resource::RLIMIT_NOFILE,
            "open files",
            ranks as u64 * PER_RANK + ALONE,
        ),
        limit(Resource::RLIMIT_NPROC, "processes", ranks as u64 + ALONE),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn usable(ranks: usize) -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let quota = cgroup::quota().map_or("no quota".to_owned(), |quota| format!("quota {quota:.1}"));
    let machine = Machine::read().map_or(0, |machine| machine.processors().len());
    let found = format!("{cores} usable of {machine}, {quota}");
    if ranks <= cores {
        let threads = cores / ranks;
        let each = if threads == 1 { "thread" } else { "threads" };
        return Finding::new(
            Good,
            "processors",
            found,
            format!("a core for every rank; {threads} {each} each"),
        );
    }
    let share = ranks as f64 / cores as f64;
    let meaning = format!(
        "{share:.1} ranks share a core: waiting yields to those on the same one; results are the same"
    );
    Finding::new(Note, "processors", found, meaning)
}

fn nodes(ranks: usize) -> Option<Finding> {
    let machine = Machine::read().ok()?;
    let nodes = machine.parts(Level::Node).len().max(1);
    let caches = machine.parts(Level::Cache).len().max(1);
    let found = format!(
        "{}, {}",
        count(nodes, "node"),
        count(caches, "last-level cache")
    );
    let meaning = match nodes {
        1 => "all memory is near".to_owned(),
        _ if ranks >= nodes => {
            "`cobre-launch --bind-to numa` keeps ranks near their memory".to_owned()
        }
        _ => "fewer ranks than nodes: interleave large windows".to_owned(),
    };
    Some(Finding::new(Good, "NUMA", found, meaning))
}

fn limit(resource: Resource, what: &'static str, wanted: u64) -> Option<Finding> {
    let (soft, hard) = getrlimit(resource).ok()?;
    // The launcher raises its own soft limit.
    let show = |value: u64| match value {
        nix::libc::RLIM_INFINITY => "no limit".to_owned(),
        value => value.to_string(),
    };
    let found = match soft == hard {
        true => show(hard),
        false => format!("{}, can be raised to {}", show(soft), show(hard)),
    };
    let meaning = format!("the launcher needs about {wanted}");
    let verdict = if hard < wanted { Bad } else { Good };
    Some(Finding::new(verdict, what, found, meaning))
}
