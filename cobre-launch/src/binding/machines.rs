//! Machines for tests: what the kernel says of well-known ones.

use cobre_shm::topology::{Machine, Node, Processor};

struct Shape {
    packages: usize,
    nodes: usize,
    caches: usize,
    cores: usize,
    threads: usize,
}

/// Nodes per package, caches per node, cores per cache; second threads are numbered after all
/// first ones, as on x86 servers.
fn uniform(shape: &Shape) -> Machine {
    let total = shape.packages * shape.nodes * shape.caches * shape.cores;
    let processors = (0..total * shape.threads).map(|number| {
        let core = number % total;
        let cache = core / shape.cores;
        Processor {
            number,
            core,
            cache,
            node: cache / shape.caches,
            package: cache / shape.caches / shape.nodes,
            efficient: false,
        }
    });
    let nodes = (0..shape.packages * shape.nodes).map(|number| Node {
        number,
        memory: 64 << 30,
    });
    Machine::new(processors.collect(), nodes.collect())
}

/// Two packages of 24 cores, one thread each.
pub(crate) fn two_sockets() -> Machine {
    uniform(&Shape {
        packages: 2,
        nodes: 1,
        caches: 1,
        cores: 24,
        threads: 1,
    })
}

/// One EPYC package as four nodes, three caches of eight cores in each, two threads a core.
pub(crate) fn epyc_nps4() -> Machine {
    uniform(&Shape {
        packages: 1,
        nodes: 4,
        caches: 3,
        cores: 8,
        threads: 2,
    })
}

/// Two performance cores of two threads, four efficiency cores of one.
pub(crate) fn laptop() -> Machine {
    let processors = (0..8).map(|number| Processor {
        number,
        core: if number < 4 { number / 2 } else { number - 2 },
        cache: 0,
        node: 0,
        package: 0,
        efficient: number >= 4,
    });
    let node = Node {
        number: 0,
        memory: 16 << 30,
    };
    Machine::new(processors.collect(), vec![node])
}
