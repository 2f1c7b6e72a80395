//! `topology`: the machine, and where the ranks of a job may run.

use std::fmt::Write as _;

use cobre_shm::topology::{self, CpuList, Level, Machine, Surroundings};
use serde::Serialize;

use crate::{cli, error::Error, job::Job, select, text};

/// A machine, and the processors of each rank of a job.
#[derive(Debug)]
pub(crate) struct Seen {
    surroundings: Surroundings,
    job: Option<String>,
    /// Rank and processors, of the ranks that live.
    ranks: Vec<(usize, CpuList)>,
}

/// Looks at the machine that is asked for.
pub(crate) fn look(which: &cli::Topology) -> Result<Seen, Error> {
    let surroundings = match &which.machine {
        None => Surroundings::here()
            .map_err(Error::system("the kernel does not describe the machine"))?,
        Some(root) => Surroundings::recorded(root).map_err(|source| Error::File {
            path: root.join("sys/devices"),
            source,
        })?,
    };
    let job = match &which.job {
        Some(name) => Some(select::job(Some(name))?.look()?),
        None => None,
    };
    Ok(Seen {
        surroundings,
        ranks: job.as_ref().map(processors).unwrap_or_default(),
        job: job.map(|job| job.name),
    })
}

fn processors(job: &Job) -> Vec<(usize, CpuList)> {
    let ranks = job.ranks.iter().filter(|rank| rank.pid != 0);
    let allowed = ranks.filter_map(|rank| Some((rank.rank, CpuList::of_process(rank.pid)?)));
    allowed.collect()
}

impl Seen {
    pub(crate) fn show(&self) -> String {
        let machine = &self.surroundings.machine;
        let mut said = String::new();
        let parts = |level: Level, what| text::count(machine.parts(level).len(), what);
        let _ = writeln!(
            said,
            "{}, {}, {}, {}, {}",
            parts(Level::Package, "package"),
            text::count(machine.nodes().len(), "NUMA node"),
            parts(Level::Cache, "last-level cache"),
            parts(Level::Core, "core"),
            text::count(machine.processors().len(), "processor"),
        );
        for node in machine.nodes().iter().filter(|node| node.memory > 0) {
            let _ = writeln!(said, "node {}: {}", node.number, text::bytes(node.memory));
        }
        // A rank that may run everywhere is in no particular place.
        let all = list(&self.surroundings.usable);
        let (free, bound): (Vec<_>, Vec<_>) =
            self.ranks.iter().partition(|(_, on)| on.has_all(&all));
        let ranks = self
            .ranks
            .iter()
            .map(|(rank, _)| rank + 1)
            .max()
            .unwrap_or(0);
        let mut places = vec![CpuList::default(); ranks];
        for (rank, processors) in bound {
            places[*rank] = processors.clone();
        }
        said += &topology::draw(&self.surroundings, &self.surroundings.usable, &places);
        if let Some(job) = &self.job {
            let free: Vec<usize> = free.iter().map(|(rank, _)| *rank).collect();
            let _ = match free.len() {
                0 => writeln!(said, "job {job}"),
                _ => writeln!(
                    said,
                    "job {job}: {} may run on all of it",
                    text::ranks(&free)
                ),
            };
        }
        said
    }

    pub(crate) fn data(&self) -> Data {
        let Surroundings { machine, usable } = &self.surroundings;
        let processors = machine.processors().iter();
        let processors = processors.map(|one| Processor {
            number: one.number,
            core: one.core,
            cache: one.cache,
            node: one.node,
            package: one.package,
            efficient: one.efficient,
            usable: usable.node_of(one.number).is_some(),
        });
        let nodes = machine.nodes().iter();
        let nodes = nodes.map(|node| Node {
            number: node.number,
            memory: node.memory,
        });
        let ranks = self.ranks.iter();
        let ranks = ranks.map(|(rank, processors)| Rank {
            rank: *rank,
            processors: processors.to_string(),
        });
        Data {
            processors: processors.collect(),
            nodes: nodes.collect(),
            job: self.job.clone(),
            ranks: ranks.collect(),
        }
    }
}

fn list(machine: &Machine) -> CpuList {
    let processors = machine.processors().iter();
    processors.map(|processor| processor.number).collect()
}

/// The same as data.
#[derive(Debug, Serialize)]
pub(crate) struct Data {
    processors: Vec<Processor>,
    nodes: Vec<Node>,
    job: Option<String>,
    ranks: Vec<Rank>,
}

#[derive(Debug, Serialize)]
struct Processor {
    number: usize,
    core: usize,
    cache: usize,
    node: usize,
    package: usize,
    efficient: bool,
    usable: bool,
}

#[derive(Debug, Serialize)]
struct Node {
    number: usize,
    /// In bytes; 0 if unknown.
    memory: u64,
}

#[derive(Debug, Serialize)]
struct Rank {
    rank: usize,
    /// The processors it may run on, in the kernel's notation.
    processors: String,
}
