//! Machines as the kernel would describe them, for tests that have only one machine.

use std::fs;
use std::path::{Path, PathBuf};

use cobre_shm::topology::{CpuList, Hybrid, Level, Machine, Processor, Shape, Surroundings};

/// A machine of known shape, and what of it may be used.
#[derive(Debug)]
pub struct Known {
    /// Its name, which is that of its files in `tests/topologies`.
    pub name: &'static str,
    /// The machine.
    pub surroundings: Surroundings,
    /// The same as hwloc describes it.
    pub hwloc: Hwloc,
}

/// A machine in one of hwloc's notations.
#[derive(Clone, Copy, Debug)]
pub enum Hwloc {
    /// A synthetic description.
    Synthetic(&'static str),
    /// The name of an XML file in `tests/topologies`.
    Xml(&'static str),
}

const TWO_SOCKETS: Shape = Shape {
    packages: 2,
    nodes: 1,
    caches: 1,
    cores: 24,
    threads: 1,
    memory: 64 << 30,
};

/// The machines on which placement is tested.
#[must_use]
pub fn known() -> Vec<Known> {
    let epyc = Shape {
        packages: 1,
        nodes: 4,
        caches: 3,
        cores: 8,
        threads: 2,
        memory: 192 << 30,
    };
    let without_smt = Shape { threads: 1, ..epyc };
    let whole = |machine: Machine| Surroundings {
        usable: machine.clone(),
        machine,
    };
    let machine = TWO_SOCKETS.machine();
    let three = Surroundings {
        usable: machine.restricted_to(&[5, 30, 31].into_iter().collect()),
        machine,
    };
    vec![
        Known {
            name: "two-sockets",
            surroundings: whole(TWO_SOCKETS.machine()),
            hwloc: Hwloc::Synthetic("pack:2 [numa(memory=68719476736)] l3:1 core:24 pu:1"),
        },
        Known {
            name: "epyc-nps4-smt2",
            surroundings: whole(epyc.machine()),
            hwloc: Hwloc::Synthetic(
                "pack:1 group:4 [numa(memory=206158430208)] l3:3 core:8 pu:2(indexes=2*96:1*2)",
            ),
        },
        Known {
            name: "epyc-nps4",
            surroundings: whole(without_smt.machine()),
            hwloc: Hwloc::Synthetic("pack:1 group:4 [numa(memory=206158430208)] l3:3 core:8 pu:1"),
        },
        Known {
            name: "laptop",
            surroundings: whole(laptop()),
            hwloc: Hwloc::Xml("laptop.xml"),
        },
        Known {
            name: "three-odd-cores",
            surroundings: three,
            hwloc: Hwloc::Xml("three-odd-cores.xml"),
        },
    ]
}

/// Two performance cores of two threads, four efficiency cores of one.
fn laptop() -> Machine {
    let hybrid = Hybrid {
        performance: 2,
        efficiency: 4,
        memory: 16 << 30,
    };
    hybrid.machine()
}

/// A folder with the kernel's description of a machine; removed when dropped.
#[derive(Debug)]
pub struct Recorded(PathBuf);

impl Recorded {
    /// Writes what the kernel would.
    ///
    /// # Panics
    /// If the folder for temporary files cannot be written.
    #[must_use]
    pub fn of(name: &str, surroundings: &Surroundings) -> Self {
        let folder = format!("cobre-machine-{}-{name}", std::process::id());
        let recorded = Self(std::env::temp_dir().join(folder));
        recorded.describe(surroundings);
        recorded
    }

    /// For `--machine`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn describe(&self, Surroundings { machine, usable }: &Surroundings) {
        let list = |processors: &[Processor]| -> CpuList {
            processors.iter().map(|one| one.number).collect()
        };
        let all = list(machine.processors());
        self.write("sys/devices/system/cpu/online", &all.to_string());
        let allowed = list(usable.processors());
        self.write(
            "proc/self/status",
            &format!("Cpus_allowed_list:\t{allowed}"),
        );
        for (package, processors) in machine.parts(Level::Package) {
            self.write_of(
                &processors,
                "topology/physical_package_id",
                &package.to_string(),
            );
        }
        for (_, processors) in machine.parts(Level::Core) {
            let siblings = list(&processors).to_string();
            self.write_of(&processors, "topology/core_cpus_list", &siblings);
            self.write_of(&processors, "cache/index0/level", "1");
            self.write_of(&processors, "cache/index0/shared_cpu_list", &siblings);
        }
        for (_, processors) in machine.parts(Level::Cache) {
            self.write_of(&processors, "cache/index3/level", "3");
            let sharers = list(&processors).to_string();
            self.write_of(&processors, "cache/index3/shared_cpu_list", &sharers);
        }
        let on_nodes = machine.parts(Level::Node);
        for node in machine.nodes() {
            let on = on_nodes.iter().find(|(number, _)| *number == node.number);
            let cpus = on
                .map(|(_, processors)| list(processors))
                .unwrap_or_default();
            let folder = format!("sys/devices/system/node/node{}", node.number);
            self.write(&format!("{folder}/cpulist"), &cpus.to_string());
            let total = format!("Node {} MemTotal: {} kB", node.number, node.memory >> 10);
            self.write(&format!("{folder}/meminfo"), &total);
        }
        let efficient = machine.processors().iter().filter(|one| one.efficient);
        let efficient: CpuList = efficient.map(|one| one.number).collect();
        if !efficient.is_empty() {
            self.write("sys/devices/cpu_atom/cpus", &efficient.to_string());
        }
    }

    fn write_of(&self, processors: &[Processor], file: &str, text: &str) {
        for one in processors {
            let folder = format!("sys/devices/system/cpu/cpu{}", one.number);
            self.write(&format!("{folder}/{file}"), text);
        }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        let folder = path.parent().expect("a folder");
        fs::create_dir_all(folder).expect("a folder for temporary files");
        fs::write(path, format!("{text}\n")).expect("room for a temporary file");
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
