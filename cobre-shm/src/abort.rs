//! Ending the whole job.

use core::time::Duration;
use std::{process::exit, thread, time::Instant};

use crate::{
    cell::{Members, RankCell},
    core::Core,
    failure::Kind,
    primitive::Ordering,
    sys::process::{self, Pidfd},
};

/// How long peers may clean up before they are killed, if no launcher sees to it.
const GRACE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(2);

/// Fails the job with `code` and exits with it, after having ended the peers.
pub(crate) fn abort(core: &Core, code: i32) -> ! {
    core.fail(None, Kind::Aborted(code));
    // A launcher gives the grace and kills; it knows the processes better.
    if !core.control().is_watched() {
        end_peers(core);
    }
    exit(code)
}

fn end_peers(core: &Core) {
    let control = core.control();
    let mut left: Vec<usize> = (0..core.size())
        .filter(|&rank| rank != core.rank() && !is_own_process(control.cell(rank)))
        .collect();
    let deadline = Instant::now() + GRACE;
    loop {
        left.retain(|&rank| control.is_alive(rank));
        if left.is_empty() {
            return;
        }
        if Instant::now() >= deadline {
            break;
        }
        thread::sleep(POLL);
    }
    let namespace = process::pid_namespace();
    for rank in left {
        let presence = &control.cell(rank).presence;
        let theirs = presence.pid_namespace.load(Ordering::Relaxed);
        if namespace == 0 || theirs != namespace {
            // Its number means another process here, or none.
            continue;
        }
        // The handle means the rank's process and no later one of the same number: its lock is held
        // after the handle was opened, so it lived all the while.
        if let Ok(handle) = Pidfd::open(presence.pid.load(Ordering::Relaxed))
            && control.is_alive(rank)
        {
            handle.kill();
        }
    }
}

/// Several ranks may be threads of one process, which ends by itself.
fn is_own_process(cell: &RankCell) -> bool {
    cell.presence.pid.load(Ordering::Relaxed) == std::process::id()
}
