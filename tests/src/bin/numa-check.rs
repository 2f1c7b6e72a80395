//! A rank that creates windows with each placement and compares where the kernel says their pages
//! are with where they should be. For a machine with four NUMA nodes and a rank bound to each; see
//! `tests/numa/vm.sh`. Rank 0 prints a table; the exit code is 1 if a page is elsewhere.
#![allow(clippy::print_stdout)]

use std::process::ExitCode;

use cobre_comm_trait::{Communicator, ReduceOp, SharedRegion};
use cobre_shm::{Placement, ShmComm, WindowOptions};

const NODES: usize = 4;
const PAGE: usize = 4096;
/// Pages of each window, so many that they divide among ranks and nodes.
const PAGES: usize = 2048;

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let comm = cobre_shm::init()?;
    let quarter = (PAGES / NODES) as u64;
    let cases = [
        ("first touch", Placement::FirstTouch, [quarter; NODES]),
        ("interleaved", Placement::Interleaved, [quarter; NODES]),
        (
            "interleaved over 1 and 3",
            Placement::InterleavedOver(vec![1, 3]),
            [0, 2 * quarter, 0, 2 * quarter],
        ),
        ("on node 2", Placement::OnNode(2), [0, 0, 4 * quarter, 0]),
        ("owners", Placement::Owners, [quarter; NODES]),
    ];
    let mut wrong = false;
    if comm.rank() == 0 {
        println!("| placement | node 0 | node 1 | node 2 | node 3 | each part on its node | |");
        println!("|---|---|---|---|---|---|---|");
    }
    for (name, placement, expected) in cases {
        let local = matches!(placement, Placement::FirstTouch | Placement::Owners);
        let (pages, own) = pages(&comm, &placement)?;
        let right = pages == expected && (!local || own == quarter * NODES as u64);
        wrong |= !right;
        if comm.rank() == 0 {
            let row = pages.map(|pages| pages.to_string()).join(" | ");
            let verdict = if right { "ok" } else { "WRONG" };
            println!("| {name} | {row} | {own} of {PAGES} | {verdict} |");
        }
    }
    Ok(ExitCode::from(u8::from(wrong)))
}

/// The pages on each node, and those that lie on the node of the rank that owns them.
fn pages(
    comm: &ShmComm,
    placement: &Placement,
) -> Result<([u64; NODES], u64), Box<dyn std::error::Error>> {
    let options = WindowOptions::new().placement(placement.clone());
    let window = comm.create_window::<u8>(PAGES * PAGE, &options)?;
    let report = window.placement();
    let mut mine = [0_u64; NODES + 1];
    if let Some(pages) = report.pages {
        for (node, count) in pages.iter() {
            mine[node] = count;
        }
        // The ranks are bound to one node each, in order.
        mine[NODES] = pages.on(comm.rank());
    }
    if let Some(reason) = report.unplaced {
        return Err(format!("rank {}: {placement:?}: {reason}", comm.rank()).into());
    }
    let mut all = [0; NODES + 1];
    comm.allreduce(&mine, &mut all, ReduceOp::Sum)?;
    let mut nodes = [0; NODES];
    nodes.copy_from_slice(&all[..NODES]);
    drop(window.fence()?);
    Ok((nodes, all[NODES]))
}
