//! The machine: which processors share a core, a last-level cache, a NUMA node, a package.

mod cpu_list;
mod picture;
mod place;
mod ranks;
mod shape;
mod surroundings;
mod sysfs;

use std::{collections::BTreeMap, io, path::Path};

pub use cpu_list::CpuList;
pub use picture::draw;
pub(crate) use place::{Packed, Place};
pub use ranks::{RankPlace, Topology};
pub use shape::{Hybrid, Shape};
pub use surroundings::Surroundings;

/// Whether these are all processors that this machine has; `false` if it does not say.
pub(crate) fn is_everywhere(processors: Vec<usize>) -> bool {
    let processors = processors.into_iter().collect();
    sysfs::is_everywhere(Path::new(sysfs::DEVICES), &processors) == Some(true)
}

/// One processor: a hardware thread, as the kernel numbers them. What it belongs to is numbered
/// from 0 over the whole machine, in the order of the lowest processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processor {
    /// The kernel's number.
    pub number: usize,
    /// Its core.
    pub core: usize,
    /// Its last-level cache.
    pub cache: usize,
    /// The kernel's number of its NUMA node.
    pub node: usize,
    /// Its package.
    pub package: usize,
    /// Whether its core is built for efficiency, on machines that have two kinds.
    pub efficient: bool,
}

/// A NUMA node. It may have memory and no processors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The kernel's number.
    pub number: usize,
    /// Its memory in bytes; 0 if unknown.
    pub memory: u64,
}

/// What processors can have in common, from the closest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// A core.
    Core,
    /// A last-level cache.
    Cache,
    /// A NUMA node.
    Node,
    /// A package (socket).
    Package,
}

impl Level {
    /// The number of what `processor` belongs to.
    #[must_use]
    pub fn of(self, processor: &Processor) -> usize {
        match self {
            Self::Core => processor.core,
            Self::Cache => processor.cache,
            Self::Node => processor.node,
            Self::Package => processor.package,
        }
    }
}

/// The processors and the memory of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    processors: Vec<Processor>,
    nodes: Vec<Node>,
}

impl Machine {
    /// A machine of these parts.
    #[must_use]
    pub fn new(mut processors: Vec<Processor>, mut nodes: Vec<Node>) -> Self {
        processors.sort_by_key(|processor| processor.number);
        nodes.sort_by_key(|node| node.number);
        Self { processors, nodes }
    }

    /// The machine we run on, from the kernel's description under `/sys/devices/system`.
    ///
    /// What the kernel does not say is taken as one: a machine without caches in its description
    /// has one last-level cache per package, one without NUMA one node.
    ///
    /// # Errors
    /// If there is no such description.
    pub fn read() -> io::Result<Self> {
        Self::read_from(Path::new(sysfs::DEVICES))
    }

    /// As [`read`](Self::read), from a copy of `/sys/devices` at `devices`.
    ///
    /// # Errors
    /// If there is no such description.
    pub fn read_from(devices: &Path) -> io::Result<Self> {
        sysfs::read(devices)
    }

    /// The same machine with no other processors than `usable`.
    #[must_use]
    pub fn restricted_to(&self, usable: &CpuList) -> Self {
        let kept = self.processors.iter().copied();
        Self {
            processors: kept.filter(|one| usable.contains(one.number)).collect(),
            nodes: self.nodes.clone(),
        }
    }

    /// The processors, by number.
    #[must_use]
    pub fn processors(&self) -> &[Processor] {
        &self.processors
    }

    /// The NUMA nodes, by number.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The processors that share a part of this `level`, part by part in order of their numbers.
    #[must_use]
    pub fn parts(&self, level: Level) -> Vec<(usize, Vec<Processor>)> {
        let mut parts: BTreeMap<usize, Vec<Processor>> = BTreeMap::new();
        for processor in &self.processors {
            parts
                .entry(level.of(processor))
                .or_default()
                .push(*processor);
        }
        parts.into_iter().collect()
    }

    /// The processor with the kernel's number `number`.
    #[must_use]
    pub fn processor(&self, number: usize) -> Option<&Processor> {
        let found = self
            .processors
            .binary_search_by_key(&number, |one| one.number);
        found.ok().map(|at| &self.processors[at])
    }

    /// The node of `processor`, by the kernel's numbers.
    #[must_use]
    pub fn node_of(&self, processor: usize) -> Option<usize> {
        self.processor(processor).map(|one| one.node)
    }
}
