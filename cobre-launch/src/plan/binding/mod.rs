//! Placement: which processors each rank is kept on, if the user asks for it.

mod lease;
#[cfg(test)]
mod machines;
mod options;
mod place;

use std::collections::BTreeSet;

use clap::ValueEnum;
use cobre_comm_trait::text;
use cobre_shm::topology::{self, CpuList, Level, Machine};
use nix::sched::CpuSet;

pub(crate) use lease::Lease;
pub(crate) use options::BindingArgs;

use crate::error::LaunchError;
use options::BindTo;
use place::{DoesNotFit, Request};

/// Where the ranks of a job go.
#[derive(Debug)]
pub(crate) struct Bindings {
    /// The processors of each rank; empty if nothing is bound.
    pub(crate) places: Vec<CpuList>,
    /// What `--report-bindings` shows.
    pub(crate) picture: Option<String>,
    /// The cores are ours while this lives.
    pub(crate) lease: Lease,
}

/// Decides where `ranks` ranks go, and leases their cores.
pub(crate) fn decide(args: &BindingArgs, ranks: usize) -> Result<Bindings, LaunchError> {
    let level = args.bind_to.level();
    if level.is_none() && (args.map_by.is_some() || args.cpus_per_rank.is_some()) {
        let message = "--map-by and --cpus-per-rank place ranks that are bound: add --bind-to core, \
                       l3, numa or package";
        return Err(LaunchError::Usage(message.to_owned()));
    }
    if level.is_none() && !args.report_bindings {
        return Ok(Bindings {
            places: Vec::new(),
            picture: None,
            lease: Lease::default(),
        });
    }
    let surroundings = args.surroundings()?;
    let usable = &surroundings.usable;
    let Some(bind) = level else {
        let picture = topology::draw(&surroundings, usable, &[]);
        return Ok(Bindings {
            places: Vec::new(),
            picture: Some(picture + "no rank is bound\n"),
            lease: Lease::default(),
        });
    };
    let request = Request {
        bind,
        map: args.map_by.map_or(bind, options::MapBy::level),
        cores_per_rank: args.cpus_per_rank.map(usize::from),
    };
    let choose =
        |free: &Machine| place::place(free, request, ranks).map(|places| (places, free.clone()));
    let refused = |others: &BTreeSet<i32>, error| refusal(args, usable, ranks, others, error);
    // Nobody's cores are taken on a machine that is not this one.
    let ((places, free), lease) = if args.machine.is_some() {
        let chosen = choose(usable);
        (
            chosen.map_err(|error| refused(&BTreeSet::new(), error))?,
            Lease::default(),
        )
    } else {
        let chosen = lease::lease(usable, choose, |(places, _)| places.clone());
        let chosen = chosen.map_err(LaunchError::system("leasing cores"))?;
        let (picked, lease) = chosen
            .picked
            .map_err(|error| refused(&chosen.others, error))?;
        (picked, lease)
    };
    let picture = args
        .report_bindings
        .then(|| topology::draw(&surroundings, &free, &places));
    Ok(Bindings {
        places,
        picture,
        lease,
    })
}

impl Bindings {
    /// How many processors `rank` has, if ranks of the same place share them fairly.
    pub(crate) fn threads(&self, rank: usize) -> usize {
        let place = &self.places[rank];
        let sharers = self.places.iter().filter(|other| *other == place).count();
        (place.len() / sharers).max(1)
    }
}

fn refusal(
    args: &BindingArgs,
    usable: &Machine,
    ranks: usize,
    others: &BTreeSet<i32>,
    error: DoesNotFit,
) -> LaunchError {
    let all = usable.parts(Level::Core).len();
    let DoesNotFit {
        cores: free,
        placed,
    } = error;
    let each = args.cpus_per_rank.map_or(1, usize::from);
    let (need, suffix) = match ranks {
        1 => ("needs", ""),
        _ => ("need", " each"),
    };
    let wish = format!(
        "{} {need} {}{suffix}",
        text::count(ranks, "rank"),
        text::count(each, "core")
    );
    let are = if free == 1 { "is" } else { "are" };
    let state = format!(
        "{free} of {} {are} free{}",
        text::count(all, "core"),
        bound(all - free, others)
    );
    let what = match ranks.saturating_mul(each) > free {
        true => format!("{wish}, but {state}"),
        // There are enough, but not together.
        false => format!(
            "{wish} in one {}, but there is room for {placed}; {state}",
            args.map_by.map_or_else(|| name_of(args.bind_to), name_of)
        ),
    };
    let remedy = match args.bind_to {
        BindTo::Core => "start fewer ranks, or let them share with --bind-to none",
        _ => {
            "start fewer ranks, ask for fewer cores each, or let them share without --cpus-per-rank"
        }
    };
    LaunchError::Usage(format!("{what}; {remedy}"))
}

/// Who has so many `cores`, in brackets.
fn bound(cores: usize, others: &BTreeSet<i32>) -> String {
    // 0 is a process of another PID namespace.
    let pids = others.iter().filter(|&&pid| pid > 0);
    let pids: Vec<String> = pids.map(i32::to_string).collect();
    let are = if cores == 1 { "is" } else { "are" };
    match (cores, pids.join(", ")) {
        (0, _) => String::new(),
        (_, pids) if pids.is_empty() => format!(" ({cores} {are} bound by other jobs)"),
        (_, pids) => format!(" ({cores} {are} bound by other jobs: launcher {pids})"),
    }
}

/// As the command line has it.
fn name_of(value: impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

/// The kernel's form of a place.
pub(crate) fn cpu_set(place: &CpuList) -> Result<CpuSet, LaunchError> {
    let mut set = CpuSet::new();
    for cpu in place.iter() {
        set.set(cpu)
            .map_err(LaunchError::system("binding to a processor"))?;
    }
    Ok(set)
}
