//! What ranks have started and left behind.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid};

use crate::sys::{Reaped, reap};

/// Longer than the kernel needs to end a process, unless its storage hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// Kills and reaps every child, and whatever they leave to this process, until there is none.
///
/// The guard is a subreaper: the orphans of its ranks become its children, also those with a session
/// or a process group of their own. When it is killed they become the launcher's, which is one too.
pub(crate) fn kill_all() {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match reap() {
            Reaped::Child(..) => {}
            Reaped::NoneLeft => return,
            Reaped::NoneYet => {
                let killed = children()
                    .into_iter()
                    .filter(|&child| kill(child, Signal::SIGKILL).is_ok())
                    .count();
                // What another user owns, or the kernel cannot end, is not ours to wait for.
                if killed == 0 || Instant::now() > deadline {
                    return;
                }
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    }
}

fn children() -> Vec<Pid> {
    match std::fs::read_to_string("/proc/thread-self/children") {
        Ok(list) => list
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok().map(Pid::from_raw))
            .collect(),
        Err(_) => children_by_search(),
    }
}

/// For kernels without the list of children.
fn children_by_search() -> Vec<Pid> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let me = getpid().as_raw();
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| {
            std::fs::read_to_string(format!("/proc/{pid}/stat"))
                .is_ok_and(|stat| parent(&stat) == Some(me))
        })
        .map(Pid::from_raw)
        .collect()
}

/// The parent in the text of /proc/PID/stat: the second word after the name, which may contain
/// blanks and brackets.
fn parent(stat: &str) -> Option<i32> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parent;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(parent("42 (a b) c) S 7 42 42 0"), Some(7));
        assert_eq!(parent("42 (x"), None);
    }
}
