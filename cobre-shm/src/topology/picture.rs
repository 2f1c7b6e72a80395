//! A small picture of the machine with the ranks in it.

use std::{collections::BTreeMap, fmt::Write};

use super::{CpuList, Level, Machine, Processor, Surroundings};

/// A picture of the machine with the ranks in it: a line for each last-level cache, and one for each
/// group of ranks.
///
/// Of the usable part `free` is what no other job has bound; `places` are the processors that each
/// rank is kept on, in rank order; empty for a rank that is not bound.
#[must_use]
pub fn draw(surroundings: &Surroundings, free: &Machine, places: &[CpuList]) -> String {
    let Surroundings { machine, usable } = surroundings;
    let mut text = String::new();
    let mut package = None;
    for (cache, processors) in machine.parts(Level::Cache) {
        let first = processors[0];
        if package != Some(first.package) {
            package = Some(first.package);
            let _ = writeln!(text, "package {}", first.package);
        }
        let _ = write!(text, "  node {:<2} L3 {cache:<2} |", first.node);
        let mut cores: BTreeMap<usize, Vec<Processor>> = BTreeMap::new();
        for processor in processors {
            cores.entry(processor.core).or_default().push(processor);
        }
        for core in cores.values() {
            let has = |part: &Machine| {
                let mut processors = core.iter();
                processors.any(|processor| part.node_of(processor.number).is_some())
            };
            let ranks = ranks_on(places, core);
            let cell = match (has(usable), has(free)) {
                (false, _) => "-".to_owned(),
                _ if !ranks.is_empty() => ranks.to_string(),
                (true, false) => "x".to_owned(),
                (true, true) => ".".to_owned(),
            };
            let efficient = if core[0].efficient { "e" } else { "" };
            let _ = write!(text, "{cell}{efficient}|");
        }
        text.push('\n');
    }
    let mut shared: BTreeMap<&CpuList, Vec<usize>> = BTreeMap::new();
    let placed = places.iter().enumerate();
    for (rank, place) in placed.filter(|(_, place)| !place.is_empty()) {
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
    text.push_str("a cell is a core with its ranks; . free, x bound by another job, - not ours");
    if machine.processors().iter().any(|one| one.efficient) {
        text.push_str(", e built for efficiency");
    }
    text.push('\n');
    text
}

/// The ranks that may run on one of these processors, in the same short notation.
fn ranks_on(places: &[CpuList], core: &[Processor]) -> CpuList {
    let ranks = places.iter().enumerate();
    ranks
        .filter(|(_, place)| core.iter().any(|one| place.contains(one.number)))
        .map(|(rank, _)| rank)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::draw;
    use crate::topology::{CpuList, Hybrid, Machine, Surroundings};

    fn list(text: &str) -> CpuList {
        CpuList::parse(text).expect("a list")
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

    #[test]
    fn every_core_says_whose_it_is() {
        let machine = laptop();
        let usable = machine.restricted_to(&list("0-6"));
        let free = usable.restricted_to(&list("2-6"));
        let surroundings = Surroundings { machine, usable };
        assert_eq!(
            draw(&surroundings, &free, &[list("2-3"), list("4")]),
            "package 0\n  node 0  L3 0  |x|0|1e|.e|.e|-e|\nrank 0: processors 2-3\nrank 1: processors 4\n\
             a cell is a core with its ranks; . free, x bound by another job, - not ours, e built for \
             efficiency\n"
        );
    }

    #[test]
    fn ranks_that_share_a_place_are_shown_together() {
        let machine = laptop().restricted_to(&list("0-3"));
        let surroundings = Surroundings {
            usable: machine.clone(),
            machine: machine.clone(),
        };
        let places = [list("0-1"), list("2-3"), list("0-1")];
        assert_eq!(
            draw(&surroundings, &machine, &places),
            "package 0\n  node 0  L3 0  |0,2|1|\nranks 0,2: processors 0-1\nrank 1: processors 2-3\n\
             a cell is a core with its ranks; . free, x bound by another job, - not ours\n"
        );
    }
}
