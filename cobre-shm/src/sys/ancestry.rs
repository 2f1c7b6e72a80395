//! The processes from which this one descends, as far as `/proc` shows them to this user.

use core::fmt;
use std::fs;

/// Enough for any line of processes; a bound in case the system contradicts itself.
const GENERATIONS: usize = 100;

/// MPICH's and Intel MPI's `mpiexec` have one per node, the parent of all ranks there. One that was
/// started by a rank of another launch has that rank's variables.
const HYDRA: &str = "hydra_pmi_proxy";

/// A process that no later one can be taken for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pid: u32,
    /// Ticks from the machine's start to its own.
    started: u64,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pid, self.started)
    }
}

/// What `/proc/PID/stat` says.
pub(super) struct Stat {
    name: String,
    /// One letter.
    pub(super) state: String,
    parent: u32,
    started: u64,
}

/// This process, then its parent, and so on.
pub(crate) fn line() -> impl Iterator<Item = u32> {
    let line = std::iter::successors(Some(std::process::id()), |&pid| parent(pid));
    line.take(GENERATIONS)
}

pub(crate) fn parent(pid: u32) -> Option<u32> {
    let parent = stat(pid)?.parent;
    (parent != 0).then_some(parent)
}

/// The process that gave `variable` to this one: the nearest that this one descends from and that has
/// not been given it itself. Scripts and wrappers between the two have it too.
pub(crate) fn starter(variable: &str) -> Option<Identity> {
    line().skip(1).find_map(|pid| {
        let Stat { name, started, .. } = stat(pid)?;
        let is_starter = name == HYDRA || !has_variable(pid, variable);
        is_starter.then_some(Identity { pid, started })
    })
}

/// Whether the process was started with this variable. Another user's, which may not be asked, is
/// no rank of this user's.
fn has_variable(pid: u32, variable: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|&byte| byte == 0).any(|entry| {
        let value = entry.strip_prefix(variable.as_bytes());
        value.is_some_and(|rest| rest.starts_with(b"="))
    })
}

pub(super) fn stat(pid: u32) -> Option<Stat> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    // The name of the program, which may contain anything, ends with the last parenthesis.
    let (front, rest) = stat.rsplit_once(')')?;
    let (_, name) = front.split_once('(')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.to_owned();
    let parent = fields.next()?.parse().ok()?;
    // The 22nd of all fields, of which the 4th was the parent.
    let started = fields.nth(17)?.parse().ok()?;
    Some(Stat {
        name: name.to_owned(),
        state,
        parent,
        started,
    })
}

#[cfg(test)]
mod tests {
    use super::{line, parent, starter, stat};

    #[test]
    fn the_line_begins_here_and_goes_up() {
        let me = std::process::id();
        let above: Vec<u32> = line().take(2).collect();
        assert_eq!(above, [me, parent(me).unwrap()]);
        let (own, parents) = (stat(me).unwrap(), stat(above[1]).unwrap());
        assert!(own.started >= parents.started && own.parent == above[1]);
    }

    /// The tests' environment is that of their parents, except for what nobody has.
    #[test]
    fn who_has_a_variable_has_not_started_its_line() {
        let nearest = starter("NOBODY_HAS_THIS_VARIABLE").unwrap();
        assert_eq!(Some(nearest.pid), parent(std::process::id()));
        let path = starter("PATH");
        assert_ne!(path, Some(nearest), "the parent of the tests has no PATH");
    }
}
