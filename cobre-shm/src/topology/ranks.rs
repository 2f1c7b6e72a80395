//! Which rank sits where.

use super::{Level, Machine, place::Place};

/// Where the processors lie that a rank might run on when it joined.
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
    /// How many processors the ranks may use together; fewer than they are allowed, if a cgroup's quota
    /// gives them less time.
    pub cores: usize,
}

impl Topology {
    /// The ranks that share a part of this `level`, each group in rank order, the groups in the order of
    /// their lowest ranks. The same on every rank.
    ///
    /// `None` if a rank may run on several such parts: then nobody can tell who is near whom.
    #[must_use]
    pub fn groups(&self, level: Level) -> Option<Vec<Vec<usize>>> {
        let mut groups: Vec<(usize, Vec<usize>)> = Vec::new();
        for (rank, place) in self.ranks.iter().enumerate() {
            let part = match level {
                // A rank that shares a core is bound to one; the launcher deals each out once.
                Level::Core => return None,
                Level::Cache => place.cache?,
                Level::Node => place.node?,
                Level::Package => place.package?,
            };
            match groups.iter_mut().find(|(number, _)| *number == part) {
                Some((_, ranks)) => ranks.push(rank),
                None => groups.push((part, vec![rank])),
            }
        }
        Some(groups.into_iter().map(|(_, ranks)| ranks).collect())
    }
}

impl RankPlace {
    /// What a rank said when it joined, in the numbers of `machine`.
    pub(crate) fn told(place: Place, machine: Option<&Machine>) -> Self {
        let bare = Self {
            processors: place.processors,
            node: place.node,
            ..Self::default()
        };
        let Some(machine) = machine else {
            return bare;
        };
        if place.processors >= machine.processors().len() {
            return Self::of(machine);
        }
        let part = |level: Level, lowest: Option<usize>| {
            machine
                .processor(lowest?)
                .map(|processor| level.of(processor))
        };
        Self {
            package: part(Level::Package, place.package),
            cache: part(Level::Cache, place.cache),
            ..bare
        }
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
}

#[cfg(test)]
mod tests {
    use super::{RankPlace, Topology};
    use crate::topology::{CpuList, Level, Machine, Shape, place::Place};

    fn machine() -> Machine {
        let shape = Shape {
            packages: 1,
            nodes: 2,
            caches: 2,
            cores: 2,
            threads: 1,
            memory: 0,
        };
        shape.machine()
    }

    #[test]
    fn what_all_processors_share_is_the_place() {
        let machine = machine();
        let place = |list| {
            let list = CpuList::parse(list).expect("a list");
            let place = RankPlace::of(&machine.restricted_to(&list));
            (place.processors, place.package, place.node, place.cache)
        };
        assert_eq!(place("6-7"), (2, Some(0), Some(1), Some(3)));
        assert_eq!(place("0,2"), (2, Some(0), Some(0), None));
        assert_eq!(place("3-4"), (2, Some(0), None, None));
    }

    #[test]
    fn what_a_rank_told_is_put_in_the_machines_numbers() {
        let told = Place {
            processors: 2,
            package: Some(0),
            node: Some(1),
            cache: Some(6),
            set: 77,
        };
        let place = RankPlace::told(told, Some(&machine()));
        assert_eq!(
            (place.package, place.node, place.cache),
            (Some(0), Some(1), Some(3))
        );
        assert_eq!(RankPlace::told(told, None).node, Some(1));
        let everywhere = Place {
            processors: 8,
            ..Place::default()
        };
        let place = RankPlace::told(everywhere, Some(&machine()));
        assert_eq!(
            (place.package, place.node, place.cache),
            (Some(0), None, None)
        );
    }

    #[test]
    fn ranks_are_grouped_by_what_they_share() {
        let on = |list: &str| {
            let list = CpuList::parse(list).expect("a list");
            RankPlace::of(&machine().restricted_to(&list))
        };
        let topology = |ranks: Vec<RankPlace>| Topology {
            cores: 2,
            host: String::new(),
            machine: None,
            ranks,
        };
        let four = topology(vec![on("4"), on("0"), on("5"), on("2-3")]);
        assert_eq!(
            four.groups(Level::Cache),
            Some(vec![vec![0, 2], vec![1], vec![3]])
        );
        assert_eq!(four.groups(Level::Node), Some(vec![vec![0, 2], vec![1, 3]]));
        assert_eq!(four.groups(Level::Package), Some(vec![vec![0, 1, 2, 3]]));
        // One that may be here or there.
        assert_eq!(topology(vec![on("0"), on("3-4")]).groups(Level::Node), None);
    }
}
