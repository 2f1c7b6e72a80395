//! Machines as hwloc describes them.

use std::collections::BTreeMap;
use std::path::Path;

use cobre_shm::topology::{CpuList, Machine, Node, Processor, Surroundings};
use hwlocality::Topology;
use hwlocality::object::TopologyObject;
use hwlocality::object::types::ObjectType;
use hwlocality::topology::builder::{BuildFlags, TopologyBuilder};

use crate::recorded::Hwloc;

/// The machine that is described so.
///
/// # Panics
/// If hwloc does not understand it.
#[must_use]
pub fn described(by: Hwloc) -> Surroundings {
    let builder = TopologyBuilder::new()
        .with_flags(BuildFlags::INCLUDE_DISALLOWED)
        .expect("a flag that every release knows");
    let builder = match by {
        Hwloc::Synthetic(text) => builder.from_synthetic(text).expect("a description"),
        Hwloc::Xml(name) => {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies");
            builder
                .from_xml_file(folder.join(name))
                .expect("an XML file")
        }
    };
    surroundings(&builder.build().expect("a topology"))
}

/// Numbers the parts of one kind in the order of their lowest processor.
#[derive(Default)]
struct Numbering(BTreeMap<u64, usize>);

impl Numbering {
    fn number(&mut self, part: Option<&TopologyObject>) -> usize {
        let next = self.0.len();
        let id = part.map_or(u64::MAX, TopologyObject::global_persistent_index);
        *self.0.entry(id).or_insert(next)
    }
}

fn surroundings(topology: &Topology) -> Surroundings {
    let mut units: Vec<&TopologyObject> = topology.objects_with_type(ObjectType::PU).collect();
    units.sort_by_key(|unit| unit.os_index());
    let (mut cores, mut caches, mut packages) = (
        Numbering::default(),
        Numbering::default(),
        Numbering::default(),
    );
    let processors = units.iter().map(|unit| {
        let above = |kind| unit.first_ancestor_with_type(kind);
        let number = unit.os_index().expect("processors have numbers");
        let nodes = unit.nodeset().expect("processors have a node");
        Processor {
            number,
            core: cores.number(above(ObjectType::Core)),
            cache: caches.number(above(ObjectType::L3Cache)),
            node: nodes.first_set().map_or(0, usize::from),
            package: packages.number(above(ObjectType::Package)),
            efficient: is_efficient(topology, number),
        }
    });
    let processors = processors.collect();
    let nodes = topology.objects_with_type(ObjectType::NUMANode);
    let nodes = nodes.map(|node| Node {
        number: node.os_index().expect("nodes have numbers"),
        memory: node.total_memory(),
    });
    let machine = Machine::new(processors, nodes.collect());
    let allowed: CpuList = topology
        .allowed_cpuset()
        .iter_set()
        .map(usize::from)
        .collect();
    Surroundings {
        usable: machine.restricted_to(&allowed),
        machine,
    }
}

/// Whether `processor` is of the kind that hwloc calls the most efficient, if there are several.
fn is_efficient(topology: &Topology, processor: usize) -> bool {
    let Ok(kinds) = topology.cpu_kinds() else {
        return false;
    };
    let kinds: Vec<_> = kinds.collect();
    let of = kinds.iter().position(|kind| {
        kind.cpuset
            .iter_set()
            .any(|cpu| usize::from(cpu) == processor)
    });
    // hwloc sorts kinds, the most efficient first.
    kinds.len() > 1 && of == Some(0)
}
