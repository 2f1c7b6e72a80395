//! A machine, and the part of it that is ours.

use std::{fs, io, path::Path};

use super::{CpuList, Machine};

/// A machine, and the part of it that a process may use: what affinity and cpuset leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// All of it.
    pub machine: Machine,
    /// The same with no other processors than those that may be used.
    pub usable: Machine,
}

impl Surroundings {
    /// The machine that this process runs on.
    ///
    /// # Errors
    /// If the kernel does not describe it.
    pub fn here() -> io::Result<Self> {
        let allowed = CpuList::of_process(std::process::id());
        Ok(Self::of(Machine::read()?, allowed.as_ref()))
    }

    /// A machine that was recorded: a folder with a copy of its `/sys/devices/system/cpu` and `node`
    /// (which `hwloc-gather-topology` makes, for one), and of `/proc/self/status`, if some of its
    /// processors were not to be used.
    ///
    /// # Errors
    /// If there is no description of a machine in `root`.
    pub fn recorded(root: &Path) -> io::Result<Self> {
        let machine = Machine::read_from(&root.join("sys/devices"))?;
        let status = fs::read_to_string(root.join("proc/self/status")).unwrap_or_default();
        let mut lines = status.lines();
        let allowed = lines.find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        Ok(Self::of(machine, allowed.and_then(CpuList::parse).as_ref()))
    }

    fn of(machine: Machine, allowed: Option<&CpuList>) -> Self {
        let usable = allowed.map_or_else(|| machine.clone(), |cpus| machine.restricted_to(cpus));
        Self { machine, usable }
    }
}
