//! Where the pages of a new window shall lie; said to the kernel before they are touched.

use core::ops::Range;
use std::{
    fs,
    io::Write,
    sync::atomic::{AtomicBool, Ordering},
};

use super::options::WindowOptions;
use crate::{
    collective::{self, JobRounds},
    config,
    layout::PAGE,
    numa::{self, Placement, Policy, Unplaced},
    segment::Segment,
    topology::{Machine, RankPlace},
    wait::Stopped,
};

/// What was asked for, and what came of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrangement {
    pub(super) requested: Placement,
    pub(super) unplaced: Option<String>,
    pub(super) small_pages: Option<String>,
}

/// Sets the policy of `segment`, whose parts `own` are this rank's. When this returns every rank has.
pub(super) fn arrange(
    rounds: &mut JobRounds<'_>,
    segment: &Segment,
    own: &[Range<usize>],
    options: &WindowOptions,
) -> Result<Arrangement, Stopped> {
    let requested = options.placement.clone().unwrap_or_else(from_environment);
    let mine = place(&requested, rounds.rank() == 0, segment, own);
    let failed = collective::gather_all(rounds, i32::from(mine.is_err()))?;
    let first = failed.iter().position(|&failed| failed != 0);
    let unplaced = match (mine, first) {
        (Err(Unplaced(reason)), _) => Some(reason),
        (Ok(()), Some(rank)) => Some(format!("rank {rank} could not set the policy")),
        (Ok(()), None) => None,
    };
    if let (0, Some(reason)) = (rounds.rank(), &unplaced) {
        say_once(reason);
    }
    let small_pages = options.huge_pages.then(|| huge_pages(segment).err());
    Ok(Arrangement {
        requested,
        unplaced,
        small_pages: small_pages.flatten(),
    })
}

/// What `COBRE_SHM_NUMA_INTERLEAVE` says; its value was checked when the rank joined.
fn from_environment() -> Placement {
    if config::interleave_from_env().unwrap_or(false) {
        Placement::Interleaved
    } else {
        Placement::FirstTouch
    }
}

fn place(
    placement: &Placement,
    is_leader: bool,
    segment: &Segment,
    own: &[Range<usize>],
) -> Result<(), Unplaced> {
    let whole = core::iter::once(0..segment.len()).collect();
    // A shared mapping's policy is the object's: one rank sets it for all.
    let (policy, areas): (_, Vec<_>) = match placement {
        Placement::FirstTouch => return Ok(()),
        Placement::Owners => match own_node()? {
            None => return Ok(()),
            Some(node) => (Policy::Prefer(node), own.to_vec()),
        },
        _ if !is_leader => return Ok(()),
        Placement::Interleaved => match nodes_with_memory()?.as_slice() {
            [] | [_] => return Ok(()),
            several => (Policy::Interleave(several.to_vec()), whole),
        },
        Placement::InterleavedOver(nodes) => (Policy::Interleave(nodes.clone()), whole),
        Placement::OnNode(node) => (Policy::Prefer(*node), whole),
    };
    for area in areas {
        // A page that two parts share goes to the first of them.
        let pages = area.start.next_multiple_of(PAGE)..area.end.next_multiple_of(PAGE);
        let pages = pages.start..pages.end.min(segment.len());
        if !pages.is_empty() {
            numa::bind(segment, pages, &policy)?;
        }
    }
    Ok(())
}

fn machine() -> Result<Machine, Unplaced> {
    Machine::read().map_err(|error| Unplaced(format!("the machine is not described: {error}")))
}

fn nodes_with_memory() -> Result<Vec<usize>, Unplaced> {
    let machine = machine()?;
    let nodes = machine.nodes().iter().filter(|node| node.memory > 0);
    Ok(nodes.map(|node| node.number).collect())
}

/// The node of this rank's processors; `None` if they belong to several, or there is but one.
fn own_node() -> Result<Option<usize>, Unplaced> {
    let machine = machine()?;
    if machine.nodes().len() < 2 {
        return Ok(None);
    }
    Ok(RankPlace::own(&machine).node)
}

/// The first time a placement is not to be had, a person is told.
fn say_once(reason: &str) {
    static SAID: AtomicBool = AtomicBool::new(false);
    // Relaxed: nothing else depends on it.
    if !SAID.swap(true, Ordering::Relaxed) {
        // Nobody to tell is no reason to fail.
        let _ = writeln!(
            std::io::stderr(),
            "cobre-shm: a window is not placed as asked: {reason}"
        );
    }
}

/// Asks for huge pages, or says why there are none.
fn huge_pages(segment: &Segment) -> Result<(), String> {
    let offered = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/shmem_enabled");
    let offered = offered.map_err(|error| format!("no transparent huge pages: {error}"))?;
    let chosen = offered.split(['[', ']']).nth(1).unwrap_or("unknown");
    match chosen {
        "always" | "within_size" | "advise" | "force" => segment
            .prefer_huge_pages()
            .map_err(|error| format!("the kernel refused: {error}")),
        other => Err(format!("the kernel's shmem_enabled is {other}")),
    }
}
