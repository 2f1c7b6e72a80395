//! Which rank sits where.

use super::{CpuList, Level, Machine};
use crate::sys::process;

/// Where the processors lie that a rank may run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RankPlace {
    /// How many there are; 0 if unknown.
    pub processors: usize,
    /// The package that has all of them; `None` if they belong to several.
    pub package: Option<usize>,
    /// The NUMA node that has all of them, by the kernel's number.
    pub node: Option<usize>,
    /// The last-level cache that all of them share.
    pub cache: Option<usize>,
}

/// The machine, and where the ranks of a job sit in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Topology {
    /// The host's name. A job has one.
    pub host: String,
    /// The machine; `None` if the kernel does not describe it.
    pub machine: Option<Machine>,
    /// The place of each rank, in rank order.
    pub ranks: Vec<RankPlace>,
}

/// A place as it travels: what may be absent is shifted by one.
pub(crate) type Packed = [u32; 4];

impl RankPlace {
    /// The place of this process.
    pub(crate) fn own(machine: &Machine) -> Self {
        let allowed = process::processors(std::process::id());
        allowed.map_or_else(Self::default, |cpus| {
            Self::of(&machine.restricted_to(&cpus.into_iter().collect::<CpuList>()))
        })
    }

    /// The place of a process that may run on the whole of `machine`.
    fn of(machine: &Machine) -> Self {
        let only = |level| {
            let parts = machine.parts(level);
            (parts.len() == 1).then(|| parts[0].0)
        };
        Self {
            processors: machine.processors().len(),
            package: only(Level::Package),
            node: only(Level::Node),
            cache: only(Level::Cache),
        }
    }

    pub(crate) fn packed(self) -> Packed {
        let shifted = |number: Option<usize>| {
            number.map_or(0, |number| u32::try_from(number + 1).unwrap_or(0))
        };
        [
            u32::try_from(self.processors).unwrap_or(0),
            shifted(self.package),
            shifted(self.node),
            shifted(self.cache),
        ]
    }

    pub(crate) fn unpacked(packed: &Packed) -> Self {
        let number = |shifted: u32| (shifted as usize).checked_sub(1);
        Self {
            processors: packed[0] as usize,
            package: number(packed[1]),
            node: number(packed[2]),
            cache: number(packed[3]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RankPlace;
    use crate::topology::{CpuList, Machine, Node, Processor};

    #[test]
    fn what_all_processors_share_is_the_place() {
        let processors = (0..8).map(|number| Processor {
            number,
            core: number,
            cache: number / 2,
            node: number / 4,
            package: 0,
            efficient: false,
        });
        let nodes = (0..2).map(|number| Node { number, memory: 0 });
        let machine = Machine::new(processors.collect(), nodes.collect());
        let place = |list| {
            let list = CpuList::parse(list).expect("a list");
            let place = RankPlace::of(&machine.restricted_to(&list));
            assert_eq!(RankPlace::unpacked(&place.packed()), place);
            (place.processors, place.package, place.node, place.cache)
        };
        assert_eq!(place("6-7"), (2, Some(0), Some(1), Some(3)));
        assert_eq!(place("0,2"), (2, Some(0), Some(0), None));
        assert_eq!(place("3-4"), (2, Some(0), None, None));
    }
}
