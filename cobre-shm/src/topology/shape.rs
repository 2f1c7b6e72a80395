//! Machines that a few numbers describe.

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

/// A machine with two kinds of cores around one cache and one node, as laptops have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hybrid {
    /// Cores built for speed, of two hardware threads each.
    pub performance: usize,
    /// Cores built for efficiency, of one.
    pub efficiency: usize,
    /// Memory, in bytes.
    pub memory: u64,
}

impl Hybrid {
    /// The machine, its processors numbered core by core, the fast ones first.
    #[must_use]
    pub fn machine(self) -> Machine {
        let fast = 2 * self.performance;
        let processors = (0..fast + self.efficiency).map(|number| Processor {
            number,
            core: if number < fast {
                number / 2
            } else {
                number - self.performance
            },
            cache: 0,
            node: 0,
            package: 0,
            efficient: number >= fast,
        });
        let node = Node {
            number: 0,
            memory: self.memory,
        };
        Machine::new(processors.collect(), vec![node])
    }
}
