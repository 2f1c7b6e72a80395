//! Where the pages of a new window shall lie; said to the kernel before they are touched.

use core::ops::Range;
use std::{
    io::Write,
    sync::atomic::{AtomicBool, Ordering},
};

use super::{create::Extent, huge::SmallPages, options::HugePages};
use crate::{
    collective::{self, JobRounds},
    job::config,
    memory::{layout::PAGE, segment::Segment},
    numa::{self, Placement, Policy, Unplaced},
    sync::wait::Stopped,
    topology::{Machine, Place},
};

/// What was asked for, and what came of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrangement {
    pub(super) requested: Placement,
    pub(super) unplaced: Option<String>,
    pub(super) small_pages: Option<SmallPages>,
    /// The size of the pages.
    pub(super) page: usize,
}

/// Sets the policy of `segment`, which has pages of `page` bytes. When this returns every rank has.
pub(super) fn arrange(
    rounds: &mut JobRounds<'_>,
    segment: &Segment,
    page: usize,
    extent: &Extent,
) -> Result<Arrangement, Stopped> {
    let Extent { own, options, .. } = extent;
    let requested = options.placement.clone().unwrap_or_else(from_environment);
    let mine = place(&requested, rounds.rank() == 0, segment, page, own);
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
    let transparent = options.huge_pages != HugePages::No && page == PAGE;
    let asked = transparent.then(|| segment.prefer_huge_pages());
    let refused = asked.and_then(Result::err);
    Ok(Arrangement {
        requested,
        unplaced,
        small_pages: refused.map(|error| SmallPages::Refused(error.raw_os_error().unwrap_or(0))),
        page,
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
    page: usize,
    own: &[Range<usize>],
) -> Result<(), Unplaced> {
    let whole = core::iter::once(0..segment.len()).collect();
    // A shared mapping's policy is the object's: one rank sets it for all. Only reserved huge pages are
    // placed by the policy of the mapping through which they are touched: there each rank sets it.
    let sets = is_leader || page > PAGE;
    let (policy, areas): (_, Vec<_>) = match placement {
        Placement::FirstTouch => return Ok(()),
        Placement::Owners => match own_node()? {
            None => return Ok(()),
            Some(node) => (Policy::Prefer(node), own.to_vec()),
        },
        _ if !sets => return Ok(()),
        Placement::Interleaved => match nodes_with_memory()?.as_slice() {
            [] | [_] => return Ok(()),
            several => (Policy::Interleave(several.to_vec()), whole),
        },
        Placement::InterleavedOver(nodes) => (Policy::Interleave(nodes.clone()), whole),
        Placement::OnNode(node) => (Policy::Prefer(*node), whole),
    };
    for area in areas {
        // A page that two parts share goes to the first of them.
        let pages = area.start.next_multiple_of(page)..area.end.next_multiple_of(page);
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
    match Place::own().node {
        Some(node) if machine()?.nodes().len() > 1 => Ok(Some(node)),
        _ => Ok(None),
    }
}

/// The first time a placement is unavailable, a person is told.
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
