//! What ranks have started and left behind.

use std::ops::RangeInclusive;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid};

use crate::process::child;
use crate::sys::{self, Reaped, reap};

/// Longer than the kernel needs to end a process, unless its storage hangs.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks. Counted, not timed: while this process is frozen so are its children.
const NAP: Duration = Duration::from_micros(200);

/// So many numbers can be asked for in the time of a nap, about.
const ASKED_IN_A_NAP: usize = 200;

/// The highest number that Linux gives a process.
const HIGHEST_PID: i32 = 1 << 22;

/// Kills and reaps every child, and whatever they leave to this process, until there is none.
///
/// The guard is a subreaper: the orphans of its ranks become its children, also those with a
/// session or a process group of their own. When it is killed they become the launcher's, which is
/// one too.
pub(crate) fn kill_all() {
    let mut naps = usize::try_from(PATIENCE.as_micros() / NAP.as_micros()).unwrap_or_default();
    loop {
        match reap() {
            Reaped::Child(..) => {}
            Reaped::NoneLeft => return,
            Reaped::NoneYet => {
                let (children, asked) = children();
                let children = children.into_iter();
                let killed = children.filter(|&child| child::signal(child, Signal::SIGKILL));
                // What another user owns, or the kernel cannot end, is not ours to wait for.
                if killed.count() == 0 || naps == 0 {
                    return;
                }
                naps = naps.saturating_sub(1 + asked / ASKED_IN_A_NAP);
                std::thread::sleep(NAP);
            }
        }
    }
}

/// The list in `/proc` is a hint: there may be none, and in a PID namespace with the `/proc` of
/// another its numbers are those of strangers. If it names no child, the kernel is asked about
/// numbers one by one; also returns about how many.
fn children() -> (Vec<Pid>, usize) {
    let list = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    let numbers = list.split_whitespace().filter_map(|pid| pid.parse().ok());
    let listed = those_of_ours(numbers);
    if listed.is_empty() {
        return searched();
    }
    (listed, 0)
}

/// Numbers are given in rising order, so children have those between this process' own and the
/// newest. If there is none, the numbers have begun anew, and all are looked through: a few seconds
/// at most.
fn searched() -> (Vec<Pid>, usize) {
    let newest = sys::fork(|| ()).map_or(HIGHEST_PID, |newest| {
        child::wait_for(newest);
        newest.as_raw()
    });
    let search = |numbers: RangeInclusive<i32>| {
        let asked = numbers.clone().count();
        (those_of_ours(numbers), asked)
    };
    match search(getpid().as_raw() + 1..=newest) {
        (near, _) if near.is_empty() => search(1..=HIGHEST_PID),
        near => near,
    }
}

fn those_of_ours(numbers: impl Iterator<Item = i32>) -> Vec<Pid> {
    let pids = numbers.map(Pid::from_raw);
    pids.filter(|&pid| child::is_ours(pid)).collect()
}
