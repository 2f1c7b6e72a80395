//! Where the calling thread may run, and having it run somewhere else.

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::{Pid, SysconfVar, sysconf},
};

/// The calling thread.
const SELF: Pid = Pid::from_raw(0);

/// The processors on which the calling thread may run, ascending; none if the system does not say.
pub(crate) fn usable() -> Vec<u32> {
    let allowed = sched_getaffinity(SELF).unwrap_or_default();
    processors(&allowed).map(|index| index as u32).collect()
}

/// Moves the calling thread to `processor`, if it may run there, and does not keep it there: it may
/// run where it could before.
pub(crate) fn move_to(processor: u32) {
    let mut there = CpuSet::new();
    let Ok(allowed) = sched_getaffinity(SELF) else {
        return;
    };
    if there.set(processor as usize).is_err() || sched_setaffinity(SELF, &there).is_err() {
        return;
    }
    // Wider than before is impossible, so this cannot be refused.
    let _ = sched_setaffinity(SELF, &given_back(allowed));
}

/// What a thread that could run in `allowed` is given back. If that is everywhere, it gets more than
/// there is, so that it may also use processors that are added later.
fn given_back(allowed: CpuSet) -> CpuSet {
    let online = sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten();
    let everywhere = online.is_some_and(|online| processors(&allowed).count() as i64 >= online);
    let mut all = CpuSet::new();
    let can_all = (0..CpuSet::count()).all(|index| all.set(index).is_ok());
    if everywhere && can_all { all } else { allowed }
}

fn processors(set: &CpuSet) -> impl Iterator<Item = usize> {
    (0..CpuSet::count()).filter(|&index| set.is_set(index).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::{move_to, usable};
    use nix::sched::sched_getcpu;

    #[test]
    fn a_thread_moves_and_may_go_on_anywhere() {
        let before = usable();
        assert!(!before.is_empty());
        for &processor in &before {
            // On a busy machine the kernel may move it on before it looks.
            let gets_there = |_| {
                move_to(processor);
                sched_getcpu() == Ok(processor as usize)
            };
            assert!((0..1000).any(gets_there), "never on {processor}");
            assert_eq!(usable(), before);
        }
        let nowhere = before.iter().max().map_or(0, |last| last + 1);
        move_to(nowhere);
        assert_eq!(usable(), before);
    }
}
