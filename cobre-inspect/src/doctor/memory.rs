//! Shared memory and limits on memory.

use cobre_shm::{LeftoverState, board::standing};
use nix::sys::statvfs::statvfs;

use super::{
    Finding,
    Verdict::{Bad, Good, Note},
    cgroup, read,
};
use crate::{
    find::SHM,
    text::{self, bytes},
};

pub(super) fn findings(ranks: usize) -> Vec<Finding> {
    let wanted = cobre_shm::inspect::bytes_of_job(ranks);
    [
        Some(shared(wanted)),
        leftovers(),
        Some(cgroup_memory(wanted)),
        huge_pages(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn shared(wanted: u64) -> Finding {
    let what = "/dev/shm";
    let Ok(stat) = statvfs(SHM) else {
        let remedy = "no job can form: mount a tmpfs there";
        return Finding::new(Bad, what, "is not there", remedy);
    };
    let size = stat.blocks() * stat.fragment_size();
    let free = stat.blocks_available() * stat.fragment_size();
    let found = match size {
        0 => "no limit".to_owned(),
        size => format!("{} free of {}", bytes(free), bytes(size)),
    };
    let takes = format!("the control region takes {}", bytes(wanted));
    if size > 0 && free < wanted {
        let remedy = "enlarge it (in a container: --shm-size) or set COBRE_SHM_STAGING lower";
        return Finding::new(Bad, what, found, format!("{takes}: {remedy}"));
    }
    let rest = match size {
        0 => "windows take what memory there is".to_owned(),
        _ => format!("{} are left for windows", bytes(free - wanted)),
    };
    // What a container gets by default.
    let verdict = if size > 0 && size <= 64 << 20 {
        Note
    } else {
        Good
    };
    Finding::new(verdict, what, found, format!("{takes}; {rest}"))
}

/// `None` where there is no `/dev/shm` to look into.
fn leftovers() -> Option<Finding> {
    let what = "leftovers";
    let found = cobre_shm::leftovers().ok()?;
    let abandoned = || {
        let states = found.iter();
        states.filter(|leftover| leftover.state == LeftoverState::Abandoned)
    };
    let boards = standing::left_over();
    let held = abandoned().map(|leftover| leftover.bytes);
    let held: u64 = held.chain(boards.iter().map(|board| board.bytes)).sum();
    Some(match abandoned().count() + boards.len() {
        0 => Finding::new(
            Good,
            what,
            "none",
            "nothing of killed jobs or services holds memory",
        ),
        count => Finding::new(
            Note,
            what,
            text::count(count, "name"),
            format!(
                "{} of dead jobs and services: cobre-inspect clean",
                bytes(held)
            ),
        ),
    })
}

fn cgroup_memory(wanted: u64) -> Finding {
    let what = "memory limit";
    match cgroup::memory_left() {
        None => Finding::new(
            Good,
            what,
            "no limit of a control group",
            "shared memory counts as the machine's",
        ),
        Some((left, most)) => {
            let found = format!("{} left of {}", bytes(left), bytes(most));
            let meaning = "shared memory counts too; beyond it the kernel ends processes";
            let verdict = if left < wanted { Bad } else { Good };
            Finding::new(verdict, what, found, meaning)
        }
    }
}

fn huge_pages() -> Option<Finding> {
    let modes = read("/sys/kernel/mm/transparent_hugepage/shmem_enabled")?;
    let chosen = modes.split(['[', ']']).nth(1).unwrap_or(&modes).to_owned();
    let (verdict, meaning) = match chosen.as_str() {
        "never" | "deny" => (
            Note,
            "large windows use 4 kB pages; `advise` would let them use 2 MB ones",
        ),
        _ => (Good, "large windows may use 2 MB pages"),
    };
    Some(Finding::new(verdict, "huge pages (shmem)", chosen, meaning))
}
