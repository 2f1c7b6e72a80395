//! Machines whose parts are all alike.

use super::{Machine, Node, Processor};

/// How many parts a machine has that is the same all over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Packages (sockets).
    pub packages: usize,
    /// NUMA nodes in each package.
    pub nodes: usize,
    /// Last-level caches in each node.
    pub caches: usize,
    /// Cores at each of these.
    pub cores: usize,
    /// Hardware threads of each core.
    pub threads: usize,
    /// Memory of each node, in bytes.
    pub memory: u64,
}

impl Shape {
    /// The machine, its processors numbered as on x86 servers: the first threads of all cores, then
    /// the second ones.
    #[must_use]
    pub fn machine(self) -> Machine {
        let nodes = self.packages * self.nodes;
        let cores = nodes * self.caches * self.cores;
        let processors = (0..cores * self.threads).map(|number| {
            let core = number % cores;
            let cache = core / self.cores;
            let node = cache / self.caches;
            Processor {
                number,
                core,
                cache,
                node,
                package: node / self.nodes,
                efficient: false,
            }
        });
        let memory = self.memory;
        let nodes = (0..nodes).map(|number| Node { number, memory });
        Machine::new(processors.collect(), nodes.collect())
    }
}
