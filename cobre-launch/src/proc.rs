//! What `/proc` shows of other processes. In a PID namespace with the `/proc` of another, its
//! numbers mean other processes: then nothing is known of any.

use nix::unistd::{Pid, getpid};

/// Whether the process `pid` is stopped by a signal, as far as that can be seen.
pub(crate) fn is_stopped(pid: Pid) -> bool {
    is_ours() && stat(pid).is_some_and(|(state, _)| state == 'T')
}

/// The parent of `pid`, its parent, and so on, as far as they can be seen.
pub(crate) fn ancestors(pid: Pid) -> impl Iterator<Item = Pid> {
    let parent = |pid: &Pid| stat(*pid).and_then(|(_, parent)| parent);
    let first = parent(&pid).filter(|_| is_ours());
    std::iter::successors(first, parent)
}

/// Whether `/proc` is that of this process' own PID namespace.
fn is_ours() -> bool {
    let shown = std::fs::read_link("/proc/self");
    shown.is_ok_and(|shown| shown.as_os_str() == getpid().to_string().as_str())
}

/// The state of a process, and its parent.
fn stat(pid: Pid) -> Option<(char, Option<Pid>)> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The first two words after the name, which may contain blanks and brackets. The parent of the
/// first process of a PID namespace, and of one that was put there from outside, is 0: none.
fn parse(stat: &str) -> Option<(char, Option<Pid>)> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut words = after_name.split(' ');
    let state = words.next()?.chars().next()?;
    let parent: i32 = words.next()?.parse().ok()?;
    Some((state, (parent > 0).then_some(Pid::from_raw(parent))))
}

#[cfg(test)]
mod tests {
    use super::{ancestors, is_stopped, parse};
    use nix::unistd::{Pid, getppid};

    #[test]
    fn state_and_parent_are_found_behind_any_name() {
        let seven = Some(Pid::from_raw(7));
        assert_eq!(parse("42 (a b) c) S 7 42 42 0"), Some(('S', seven)));
        assert_eq!(parse("1 (init) T 0 1 1 0"), Some(('T', None)));
        assert_eq!(parse("42 (x"), None);
    }

    #[test]
    fn a_process_has_ancestors_and_is_none_of_them() {
        let mut found = ancestors(Pid::this());
        assert_eq!(found.next(), Some(getppid()));
        assert!(ancestors(Pid::this()).all(|pid| pid != Pid::this() && pid.as_raw() > 0));
        assert!(!is_stopped(Pid::this()));
        assert_eq!(ancestors(Pid::from_raw(i32::MAX)).count(), 0);
    }
}
