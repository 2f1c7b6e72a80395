//! Where the calling thread may run, and having it run somewhere else.

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

use super::process;

/// The calling thread.
const SELF: Pid = Pid::from_raw(0);

/// The processors on which the calling thread may run, ascending; none if the system does not say.
pub(crate) fn usable() -> Vec<u32> {
    let allowed = process::processors(0).unwrap_or_default();
    allowed.into_iter().map(|index| index as u32).collect()
}

/// Moves the calling thread to `processor`, if it may run there, and does not keep it there: it may
/// run where it could before. `is_everywhere` says whether processors are all that the machine has.
pub(crate) fn move_to(processor: u32, is_everywhere: impl FnOnce(Vec<usize>) -> bool) {
    let mut there = CpuSet::new();
    let Ok(allowed) = sched_getaffinity(SELF) else {
        return;
    };
    if there.set(processor as usize).is_err() || sched_setaffinity(SELF, &there).is_err() {
        return;
    }
    let everywhere = is_everywhere(members(&allowed).collect());
    // Wider than before is impossible, so this cannot be refused.
    let _ = sched_setaffinity(SELF, &given_back(allowed, everywhere));
}

/// What a thread that could run in `allowed` is given back. If that is everywhere, it gets more than
/// there is, so that it may also use processors that are added later.
fn given_back(allowed: CpuSet, everywhere: bool) -> CpuSet {
    let mut all = CpuSet::new();
    let can_all = (0..CpuSet::count()).all(|index| all.set(index).is_ok());
    if everywhere && can_all { all } else { allowed }
}

fn members(set: &CpuSet) -> impl Iterator<Item = usize> {
    (0..CpuSet::count()).filter(|&index| set.is_set(index).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::{CpuSet, given_back, members, move_to, usable};
    use nix::sched::sched_getcpu;

    #[test]
    fn who_is_bound_stays_bound() {
        let mut two = CpuSet::new();
        two.set(0).unwrap();
        two.set(1).unwrap();
        assert_eq!(given_back(two, false), two);
        assert_eq!(members(&given_back(two, true)).count(), CpuSet::count());
    }

    #[test]
    fn a_thread_moves_and_may_go_on_anywhere() {
        let before = usable();
        assert!(!before.is_empty());
        for &processor in &before {
            // On a busy machine the kernel may move it on before it looks.
            let gets_there = |_| {
                move_to(processor, |_| false);
                sched_getcpu() == Ok(processor as usize)
            };
            assert!((0..1000).any(gets_there), "never on {processor}");
            assert_eq!(usable(), before);
        }
        let nowhere = before.iter().max().map_or(0, |last| last + 1);
        move_to(nowhere, |_| false);
        assert_eq!(usable(), before);
    }
}
