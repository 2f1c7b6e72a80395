//! A small picture of the machine with the ranks in it.

use std::collections::BTreeMap;
use std::fmt::Write;

use cobre_shm::topology::{CpuList, Level, Machine};

/// The picture, a line for each last-level cache, and one for each group of ranks.
///
/// `machine` is all of it, `usable` what this job may use, `free` what no other job has bound.
pub(crate) fn draw(
    machine: &Machine,
    usable: &Machine,
    free: &Machine,
    places: &[CpuList],
) -> String {
    let mut text = String::new();
    let mut package = None;
    for (cache, processors) in machine.parts(Level::Cache) {
        let first = processors[0];
        if package != Some(first.package) {
            package = Some(first.package);
            let _ = writeln!(text, "package {}", first.package);
        }
        let _ = write!(text, "  node {:<2} L3 {cache:<2} |", first.node);
        let mut cores: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for processor in &processors {
            let core = cores.entry(processor.core).or_default();
            core.push(processor.number);
        }
        for core in cores.values() {
            let has = |part: &Machine| {
                let mut numbers = core.iter();
                numbers.any(|&number| part.node_of(number).is_some())
            };
            let ranks = ranks_on(places, core);
            let cell = match (has(usable), has(free)) {
                (false, _) => "-".to_owned(),
                (true, false) => "x".to_owned(),
                (true, true) if ranks.is_empty() => ".".to_owned(),
                (true, true) => ranks.to_string(),
            };
            let _ = write!(text, "{cell}|");
        }
        text.push('\n');
    }
    let mut shared: BTreeMap<&CpuList, Vec<usize>> = BTreeMap::new();
    for (rank, place) in places.iter().enumerate() {
        shared.entry(place).or_default().push(rank);
    }
    let mut groups: Vec<(Vec<usize>, &CpuList)> = shared
        .into_iter()
        .map(|(place, ranks)| (ranks, place))
        .collect();
    groups.sort();
    for (ranks, place) in groups {
        let word = if ranks.len() == 1 { "rank" } else { "ranks" };
        let ranks: CpuList = ranks.into_iter().collect();
        let _ = writeln!(text, "{word} {ranks}: processors {place}");
    }
    text.push_str("a cell is a core with its ranks; . free, x bound by another job, - not ours\n");
    text
}

/// The ranks that may run on one of these processors, in the same short notation.
fn ranks_on(places: &[CpuList], core: &[usize]) -> CpuList {
    let ranks = places.iter().enumerate();
    ranks
        .filter(|(_, place)| core.iter().any(|&cpu| place.contains(cpu)))
        .map(|(rank, _)| rank)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::draw;
    use crate::binding::machines;
    use crate::binding::place::{Request, place};
    use cobre_shm::topology::{CpuList, Level};

    #[test]
    fn every_core_says_whose_it_is() {
        let machine = machines::laptop();
        let usable = machine.restricted_to(&CpuList::parse("0-6").expect("a list"));
        let free = usable.restricted_to(&CpuList::parse("2-6").expect("a list"));
        let request = Request {
            bind: Level::Core,
            map: Level::Core,
            cores_per_rank: None,
        };
        let places = place(&free, request, 2).expect("two cores");
        assert_eq!(
            draw(&machine, &usable, &free, &places),
            "package 0\n  node 0  L3 0  |x|0|1|.|.|-|\nrank 0: processors 2-3\nrank 1: processors 4\n\
             a cell is a core with its ranks; . free, x bound by another job, - not ours\n"
        );
    }

    #[test]
    fn ranks_that_share_a_node_are_shown_together() {
        let machine = machines::two_sockets();
        let request = Request {
            bind: Level::Node,
            map: Level::Node,
            cores_per_rank: None,
        };
        let places = place(&machine, request, 5).expect("a place for each");
        let picture = draw(&machine, &machine, &machine, &places);
        assert!(picture.contains("|0,2,4|"), "{picture}");
        assert!(
            picture.contains("ranks 1,3: processors 24-47\n"),
            "{picture}"
        );
    }
}
