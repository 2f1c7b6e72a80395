//! What the solver's writers want to know about the run.

use cobre_comm::{BackendKind, ExecutionTopology};
use cobre_io::{DistributionInfo, HostLayout, OutputContext, now_iso8601};
use cobre_solver::{active_solver_metadata_id, active_solver_version};

/// The metadata of a phase that began at `started_at` and ends now.
pub(crate) fn output_context(
    topology: &ExecutionTopology,
    threads: usize,
    started_at: String,
) -> OutputContext {
    OutputContext {
        hostname: topology.leader_hostname().to_owned(),
        solver: active_solver_metadata_id().to_owned(),
        solver_version: Some(active_solver_version()),
        started_at,
        completed_at: now_iso8601(),
        distribution: distribution(topology, threads),
        setup: None,
        production_fit_deviation: None,
    }
}

fn distribution(topology: &ExecutionTopology, threads: usize) -> DistributionInfo {
    // Counts of ranks, hosts and threads: far below the limit, and only shown.
    let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    DistributionInfo {
        backend: match topology.backend {
            BackendKind::Mpi => "mpi",
            BackendKind::Local => "local",
            BackendKind::Auto => "unknown",
        }
        .to_owned(),
        world_size: small(topology.world_size),
        ranks_participated: small(topology.world_size),
        num_hosts: small(topology.num_hosts()),
        threads_per_rank: small(threads),
        mpi_library: None,
        mpi_standard: None,
        thread_level: None,
        slurm_job_id: None,
        hosts: topology
            .hosts
            .iter()
            .map(|host| HostLayout {
                hostname: host.hostname.clone(),
                ranks: host.ranks.iter().copied().map(small).collect(),
            })
            .collect(),
    }
}
