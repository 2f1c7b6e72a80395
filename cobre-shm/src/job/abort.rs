//! Ending the whole job.

use core::{ptr, time::Duration};
use std::{process, thread};

use crate::{
    call::core::Core,
    job::exit,
    memory::control::Control,
    sync::{
        cell::{ABORTED, JOINED, LEFT, Members, RankCell},
        failure::{self, Failure, Kind},
        primitive::Ordering,
        wait,
    },
    sys::{
        process::{Pidfd, pid_namespace},
        waited::Waited,
    },
};

/// How long peers may clean up before they are killed, if no launcher sees to it.
const GRACE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(2);

/// Fails the job with `code` and exits with it, after having ended the peers.
pub(crate) fn abort(core: &Core, code: i32) -> ! {
    if core.is_forked() {
        // Not a member: it ends itself alone.
        process::exit(code);
    }
    // The whole job, not only the communicator split from it.
    let aborted = Failure::new(core.rank(), None, Kind::Aborted(code));
    let root = core.control().root();
    failure::raise(root, aborted);
    // Nobody needs to end this rank any more, in case another aborts too.
    wait::mark_gone(root.cell(core.rank()), ABORTED);
    exit::for_each_live(|other| {
        if ptr::eq(other.control().root(), root) {
            failure::raise(&**other.control(), aborted);
            other.leave(ABORTED);
        }
    });
    // A launcher gives the grace and kills; it knows the processes better.
    if !root.is_watched() {
        end_peers(core, root);
    }
    process::exit(code)
}

fn end_peers(core: &Core, control: &Control) {
    let mut left: Vec<usize> = (0..core.size())
        .filter(|&rank| rank != core.rank() && !is_own_process(control.cell(rank)))
        .collect();
    // While this process is frozen the peers may be, too.
    let waited = Waited::begin();
    while waited.time(POLL) < GRACE {
        left.retain(|&rank| control.is_alive(rank) && is_member(control, rank));
        if left.is_empty() {
            return;
        }
        thread::sleep(POLL);
    }
    let namespace = pid_namespace();
    for rank in left {
        let presence = &control.cell(rank).presence;
        let theirs = presence.pid_namespace.load(Ordering::Relaxed);
        if namespace == 0 || theirs != namespace {
            // Its number means another process here, or none.
            continue;
        }
        // The handle means the rank's process and no later one of the same number: its lock is held
        // after the handle was opened, so it lived all the while.
        // And it has the job's segment open, whatever the number in shared memory may say.
        let pid = presence.pid.load(Ordering::Relaxed);
        if let Ok(handle) = Pidfd::open(pid)
            && control.is_open_in(pid)
            && control.is_alive(rank)
            && is_member(control, rank)
        {
            handle.kill();
        }
    }
}

/// A rank that has left, or is aborting too, is ending by itself. One that has left this communicator
/// may go on in others that were split from it.
fn is_member(control: &Control, rank: usize) -> bool {
    let block = control.block(rank);
    // Acquire matches the Release of `mark_gone`.
    match block.cell.presence.state.load(Ordering::Acquire) {
        JOINED => true,
        LEFT => !block.splits.is_empty(),
        _ => false,
    }
}

/// Several ranks may be threads of one process, which ends by itself.
fn is_own_process(cell: &RankCell) -> bool {
    cell.presence.pid.load(Ordering::Relaxed) == std::process::id()
}
