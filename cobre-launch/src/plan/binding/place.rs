//! Which processors each rank gets: a function of the machine and the request alone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cobre_shm::topology::{CpuList, Level, Machine, Processor};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// What each rank is kept on.
    pub(crate) bind: Level,
    /// What the ranks are dealt out to in turn; [`Level::Core`] fills core after core.
    pub(crate) map: Level,
    /// Cores of each rank; if it is not given, ranks that are bound to more than a core may share.
    pub(crate) cores_per_rank: Option<usize>,
}

/// The ranks do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DoesNotFit {
    /// How many cores there are.
    pub(crate) cores: usize,
    /// How many ranks found theirs.
    pub(crate) placed: usize,
}

/// The processors of each of `ranks` ranks on the usable part of a machine.
///
/// Cores built for efficiency come after all others.
pub(crate) fn place(
    machine: &Machine,
    request: Request,
    ranks: usize,
) -> Result<Vec<CpuList>, DoesNotFit> {
    let cores = cores(machine);
    let does_not_fit = |placed| DoesNotFit {
        cores: cores.len(),
        placed,
    };
    let may_share = request.bind != Level::Core && request.cores_per_rank.is_none();
    let wanted = request.cores_per_rank.unwrap_or(1);
    let mut dealer = Dealer::new(&cores, request.map);
    let mut places = Vec::with_capacity(ranks);
    for rank in 0..ranks {
        let mut hand = dealer.deal(wanted);
        if hand.is_none() && may_share {
            dealer = Dealer::new(&cores, request.map);
            hand = dealer.deal(wanted);
        }
        let hand = hand.ok_or_else(|| does_not_fit(rank))?;
        places.push(widen(machine, request.bind, &hand));
    }
    Ok(places)
}

/// The processors of one core.
type Core = Vec<Processor>;

/// The usable cores, those built for efficiency last.
fn cores(machine: &Machine) -> Vec<Core> {
    let mut cores: Vec<Core> = machine
        .parts(Level::Core)
        .into_iter()
        .map(|(_, core)| core)
        .collect();
    cores.sort_by_key(|core| core[0].efficient);
    cores
}

/// Deals free cores out, from one part of the machine after the other.
struct Dealer<'a> {
    /// The free cores of each part; the part whose turn it is comes first.
    parts: VecDeque<VecDeque<&'a Core>>,
}

impl<'a> Dealer<'a> {
    fn new(cores: &'a [Core], map: Level) -> Self {
        let mut parts: BTreeMap<usize, VecDeque<&Core>> = BTreeMap::new();
        for core in cores {
            // Core after core: the whole machine is one part.
            let part = match map {
                Level::Core => 0,
                _ => map.of(&core[0]),
            };
            parts.entry(part).or_default().push_back(core);
        }
        let mut parts: VecDeque<_> = parts.into_values().collect();
        // Parts with cores built for performance come first.
        let slice = parts.make_contiguous();
        slice.sort_by_key(|part| part.front().is_some_and(|core| core[0].efficient));
        Self { parts }
    }

    /// The next `wanted` free cores of one part.
    fn deal(&mut self, wanted: usize) -> Option<Vec<&'a Core>> {
        for _ in 0..self.parts.len() {
            let mut part = self.parts.pop_front()?;
            let hand = (part.len() >= wanted).then(|| part.drain(..wanted).collect());
            self.parts.push_back(part);
            if hand.is_some() {
                return hand;
            }
        }
        None
    }
}

/// All processors of the parts that the cores of `hand` belong to.
fn widen(machine: &Machine, bind: Level, hand: &[&Core]) -> CpuList {
    let parts: BTreeSet<usize> = hand.iter().map(|core| bind.of(&core[0])).collect();
    let processors = machine.processors().iter();
    processors
        .filter(|processor| parts.contains(&bind.of(processor)))
        .map(|processor| processor.number)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{DoesNotFit, Request, place};
    use crate::plan::binding::machines;
    use cobre_shm::topology::{CpuList, Level, Machine};

    fn ask(bind: Level, map: Level, cores_per_rank: Option<usize>) -> Request {
        Request {
            bind,
            map,
            cores_per_rank,
        }
    }

    fn placed(machine: &Machine, request: Request, ranks: usize) -> Vec<String> {
        let places = place(machine, request, ranks).expect("a place for each");
        places.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn cores_of_two_sockets_are_filled_or_dealt_in_turn() {
        let machine = machines::two_sockets();
        let core = |map| ask(Level::Core, map, None);
        assert_eq!(placed(&machine, core(Level::Core), 3), ["0", "1", "2"]);
        assert_eq!(
            placed(&machine, core(Level::Package), 4),
            ["0", "24", "1", "25"]
        );
        let four = ask(Level::Core, Level::Package, Some(12));
        assert_eq!(
            placed(&machine, four, 4),
            ["0-11", "24-35", "12-23", "36-47"]
        );
    }

    #[test]
    fn a_rank_for_each_node_of_an_epyc() {
        let machine = machines::epyc_nps4();
        let numa = ask(Level::Node, Level::Node, None);
        // Two threads a core: the second ones are numbered after all first ones.
        assert_eq!(
            placed(&machine, numa, 4),
            [
                "0-23,96-119",
                "24-47,120-143",
                "48-71,144-167",
                "72-95,168-191"
            ]
        );
        let l3 = ask(Level::Cache, Level::Node, None);
        assert_eq!(placed(&machine, l3, 5)[4], "0-7,96-103");
        let filled = ask(Level::Cache, Level::Cache, None);
        assert_eq!(placed(&machine, filled, 2), ["0-7,96-103", "8-15,104-111"]);
    }

    #[test]
    fn more_ranks_than_cores_share_what_is_wider_than_a_core() {
        let machine = machines::two_sockets();
        let package = ask(Level::Package, Level::Package, None);
        assert_eq!(placed(&machine, package, 100)[99], "24-47");
        let core = ask(Level::Core, Level::Core, None);
        let full = DoesNotFit {
            cores: 48,
            placed: 48,
        };
        assert_eq!(place(&machine, core, 49), Err(full));
        // Who says how many cores a rank needs does not want to share them.
        let half = ask(Level::Package, Level::Package, Some(13));
        let full = DoesNotFit {
            cores: 48,
            placed: 2,
        };
        assert_eq!(place(&machine, half, 3), Err(full));
    }

    #[test]
    fn cores_for_efficiency_come_last() {
        let machine = machines::laptop();
        let core = ask(Level::Core, Level::Core, None);
        // Two performance cores of two threads, processors 0 to 3; then four others.
        assert_eq!(placed(&machine, core, 4), ["0-1", "2-3", "4", "5"]);
    }

    #[test]
    fn only_what_a_cpuset_leaves_is_used() {
        let three = CpuList::parse("5,30-31").expect("a list");
        let machine = machines::two_sockets().restricted_to(&three);
        let core = ask(Level::Core, Level::Core, None);
        assert_eq!(placed(&machine, core, 3), ["5", "30", "31"]);
        let numa = ask(Level::Node, Level::Node, None);
        assert_eq!(placed(&machine, numa, 2), ["5", "30-31"]);
        let full = DoesNotFit {
            cores: 3,
            placed: 3,
        };
        assert_eq!(place(&machine, core, 4), Err(full));
    }
}
