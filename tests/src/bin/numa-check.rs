//! A rank that creates windows with each placement and compares where the kernel says their pages
//! are with where they should be; then the same for its staging. For a machine with four NUMA nodes,
//! reserved huge pages, and a rank bound to each node; see `tests/numa/vm.sh`. Rank 0 prints a table; the
//! exit code is 1 if a page is elsewhere.
#![allow(unsafe_code, clippy::print_stdout)]

use std::process::ExitCode;

use cobre_comm_trait::{CommError, Communicator, ReduceOp, SharedRegion};
use cobre_shm::topology::Level;
use cobre_shm::{HugePages, Placement, ShmComm, WindowOptions};

const NODES: usize = 4;
const PAGE: usize = 4096;
/// Of each window: so many that they divide among ranks and nodes, of either size.
const BYTES: usize = 16 << 20;
/// Of all ranks together, if nothing else is said.
const STAGING: usize = 4 << 20;

/// A window that is asked for, and the quarters of it that shall lie on each node.
struct Case {
    name: &'static str,
    placement: Placement,
    huge_pages: HugePages,
    quarters: [u64; NODES],
}

fn cases() -> Vec<Case> {
    let each = |huge_pages| {
        let of = move |name, placement, quarters| Case {
            name,
            placement,
            huge_pages,
            quarters,
        };
        [
            of("first touch", Placement::FirstTouch, [1; NODES]),
            of("interleaved", Placement::Interleaved, [1; NODES]),
            of(
                "interleaved over 1 and 3",
                Placement::InterleavedOver(vec![1, 3]),
                [0, 2, 0, 2],
            ),
            of("on node 2", Placement::OnNode(2), [0, 0, 4, 0]),
            of("owners", Placement::Owners, [1; NODES]),
        ]
    };
    let sizes = [HugePages::No, HugePages::Reserved, HugePages::Transparent];
    sizes.into_iter().flat_map(each).collect()
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let comm = cobre_shm::init()?;
    let mut wrong = false;
    if comm.rank() == 0 {
        println!(
            "| window of 16 MiB | node 0 | node 1 | node 2 | node 3 | each part on its node | on huge pages | |"
        );
        println!("|---|---|---|---|---|---|---|---|");
    }
    for case in cases() {
        wrong |= !check(&comm, &case)?;
    }
    wrong |= !check_staging(&comm)?;
    wrong |= !check_groups(&comm);
    Ok(ExitCode::from(u8::from(wrong)))
}

/// Adds up what each rank found.
fn total<const N: usize>(comm: &ShmComm, mine: [u64; N]) -> Result<[u64; N], CommError> {
    let mut all = [0; N];
    comm.allreduce(&mine, &mut all, ReduceOp::Sum)?;
    Ok(all)
}

/// Whether the pages of the window are where they should be, and as large as they should be.
fn check(comm: &ShmComm, case: &Case) -> Result<bool, Box<dyn std::error::Error>> {
    let options = WindowOptions::new()
        .placement(case.placement.clone())
        .huge_pages(case.huge_pages);
    let window = comm.create_window::<u8>(BYTES, &options)?;
    let got = window.placement();
    let refused = got.unplaced.or(got.small_pages.map(|why| why.to_string()));
    if let Some(reason) = refused {
        return Err(format!("rank {}: {}: {reason}", comm.rank(), case.name).into());
    }
    let pages = got.pages.unwrap_or_default();
    // The ranks are bound to one node each, in order.
    let on = |node| pages.on(node);
    let mine = [
        on(0),
        on(1),
        on(2),
        on(3),
        on(comm.rank()),
        got.huge_bytes.unwrap_or(0),
    ];
    let [nodes @ .., own, huge] = total(comm, mine)?;
    drop(window.fence()?);

    let quarter = (BYTES / NODES / got.page_size) as u64;
    let local = matches!(case.placement, Placement::FirstTouch | Placement::Owners);
    let placed = nodes == case.quarters.map(|quarters| quarters * quarter);
    let sized = (huge > 0) == (case.huge_pages != HugePages::No);
    let right = placed && sized && (!local || own == 4 * quarter);
    if comm.rank() == 0 {
        let row = nodes.map(|pages| pages.to_string()).join(" | ");
        let kind = match case.huge_pages {
            HugePages::No => "",
            HugePages::Reserved => ", reserved huge pages",
            _ => ", transparent huge pages",
        };
        println!(
            "| {}{kind} | {row} | {own} of {} | {} % | {} |",
            case.name,
            4 * quarter,
            huge * 100 / BYTES as u64,
            if right { "ok" } else { "WRONG" }
        );
    }
    Ok(right)
}

/// Whether what this rank sends passes through memory of its own node.
fn check_staging(comm: &ShmComm) -> Result<bool, Box<dyn std::error::Error>> {
    // Longer than what travels with the flag: through all of the staging, twice.
    let send = vec![1_u64; STAGING / NODES / 4];
    let (counts, displs) = (
        [send.len(); NODES],
        core::array::from_fn::<_, NODES, _>(|rank| rank * send.len()),
    );
    let mut all = vec![0; NODES * send.len()];
    for _ in 0..4 {
        comm.allgatherv(&send, &mut all, &counts, &displs)?;
    }
    // Nothing else of /dev/shm is mapped by now than the control segment, at whose end the staging is.
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let end = maps.lines().find_map(|line| {
        let addresses = line
            .contains("/dev/shm/")
            .then(|| line.split(' ').next())??;
        usize::from_str_radix(addresses.split_once('-')?.1, 16).ok()
    });
    let end = end.ok_or("the control segment is not mapped")?;
    let each = STAGING / NODES;
    let start = end - (NODES - comm.rank()) * each;
    let on = nodes_of((start..start + each).step_by(PAGE))?;
    let here = on
        .iter()
        .filter(|&&node| node == comm.rank() as i32)
        .count() as u64;
    // A page that this process has not used is not in its table.
    let known = on.iter().filter(|&&node| node >= 0).count() as u64;
    let [here, known] = total(comm, [here, known])?;
    let right = here == known && known > 0;
    if comm.rank() == 0 {
        let verdict = if right { "ok" } else { "WRONG" };
        println!("staging: {here} of {known} pages on the node of their rank: {verdict}");
    }
    Ok(right)
}

/// The node of each page, as the kernel says; negative for one that this process has not used.
fn nodes_of(pages: impl Iterator<Item = usize>) -> std::io::Result<Vec<i32>> {
    let pages: Vec<*const u8> = pages.map(std::ptr::without_provenance).collect();
    let mut nodes = vec![-1_i32; pages.len()];
    // SAFETY: both arrays have as many places as is said; without target nodes nothing is moved.
    let asked = unsafe {
        libc::syscall(
            libc::SYS_move_pages,
            0,
            pages.len(),
            pages.as_ptr(),
            core::ptr::null::<i32>(),
            nodes.as_mut_ptr(),
            0,
        )
    };
    match asked {
        0.. => Ok(nodes),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Whether each rank knows that every rank has a node of its own.
fn check_groups(comm: &ShmComm) -> bool {
    let groups = comm.topology().groups(Level::Node);
    let right = groups == Some((0..NODES).map(|rank| vec![rank]).collect());
    if comm.rank() == 0 {
        println!(
            "ranks by node: {groups:?}: {}",
            if right { "ok" } else { "WRONG" }
        );
    }
    right
}
