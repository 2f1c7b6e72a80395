//! The command line's words about placement.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use cobre_shm::topology::{Level, Surroundings};

use crate::error::LaunchError;

/// Where ranks may run.
#[derive(Args, Debug, Clone, PartialEq, Eq)]
#[command(next_help_heading = "Placement of the ranks")]
pub(crate) struct BindingArgs {
    /// Keep each rank on its own cores, or on the cache, NUMA node or package of its cores. Not on
    /// those that another job of cobre-launch has bound.
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = BindTo::None)]
    pub(crate) bind_to: BindTo,
    /// Deal the ranks out to these in turn [default: what they are bound to].
    #[arg(long, value_name = "WHAT", value_enum)]
    pub(crate) map_by: Option<MapBy>,
    /// How many cores each rank gets [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) cpus_per_rank: Option<u16>,
    /// Show the machine with the ranks in it.
    #[arg(long)]
    pub(crate) report_bindings: bool,
    /// With --dry-run: decide for the machine that was recorded in DIR, which has a copy of its
    /// /sys/devices (from hwloc-gather-topology, for one).
    #[arg(long, value_name = "DIR", requires = "dry_run")]
    pub(crate) machine: Option<PathBuf>,
}

impl BindingArgs {
    /// The machine in question, and the part of it that the job may use.
    pub(crate) fn surroundings(&self) -> Result<Surroundings, LaunchError> {
        match &self.machine {
            None => Surroundings::here().map_err(LaunchError::system(
                "reading the kernel's description of the machine",
            )),
            Some(root) => Surroundings::recorded(root).map_err(|error| {
                LaunchError::Usage(format!(
                    "--machine {}: there is no copy of a machine's sys/devices: {error}",
                    root.display()
                ))
            }),
        }
    }
}

/// What a rank is kept on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BindTo {
    /// The kernel decides.
    None,
    /// Cores of its own.
    Core,
    /// Everything that shares the last-level cache of its cores.
    L3,
    /// The NUMA node of its cores.
    Numa,
    /// The package (socket) of its cores.
    Package,
}

/// What ranks are dealt out to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MapBy {
    /// Core after core.
    Core,
    /// A last-level cache after the other.
    L3,
    /// A NUMA node after the other.
    Numa,
    /// A package after the other.
    Package,
}

impl BindTo {
    /// The level of the machine; `None` for no binding.
    pub(crate) fn level(self) -> Option<Level> {
        match self {
            Self::None => None,
            Self::Core => Some(Level::Core),
            Self::L3 => Some(Level::Cache),
            Self::Numa => Some(Level::Node),
            Self::Package => Some(Level::Package),
        }
    }
}

impl MapBy {
    /// The level of the machine.
    pub(crate) fn level(self) -> Level {
        match self {
            Self::Core => Level::Core,
            Self::L3 => Level::Cache,
            Self::Numa => Level::Node,
            Self::Package => Level::Package,
        }
    }
}
