//! Machines for tests: what the kernel says of well-known ones.

use cobre_shm::topology::{Hybrid, Machine, Shape};

/// Two packages of 24 cores, one thread each.
pub(crate) fn two_sockets() -> Machine {
    let shape = Shape {
        packages: 2,
        nodes: 1,
        caches: 1,
        cores: 24,
        threads: 1,
        memory: 64 << 30,
    };
    shape.machine()
}

/// One EPYC package as four nodes, three caches of eight cores in each, two threads a core.
pub(crate) fn epyc_nps4() -> Machine {
    let shape = Shape {
        packages: 1,
        nodes: 4,
        caches: 3,
        cores: 8,
        threads: 2,
        memory: 64 << 30,
    };
    shape.machine()
}

/// Two performance cores of two threads, four efficiency cores of one.
pub(crate) fn laptop() -> Machine {
    let hybrid = Hybrid {
        performance: 2,
        efficiency: 4,
        memory: 16 << 30,
    };
    hybrid.machine()
}
