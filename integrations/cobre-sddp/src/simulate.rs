//! Simulation of the trained policy, and the files that come out of it.

use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use cobre_comm::{Communicator, ReduceOp, TopologyProvider};
use cobre_io::output::simulation_writer::{
    ScenarioWritePayload, SimulationParquetWriter, SimulationPathRecord, write_paths,
    write_scenario_summary,
};
use cobre_io::{
    MetadataCost, MetadataSimulationSolveStats, OutputError, SimulationOutput, SolverStatsRow,
    write_simulation_results, write_simulation_solver_stats, write_success_marker,
};
use cobre_sddp::{
    SOLVER_STATS_DELTA_SCALAR_FIELDS, SimulationScenarioResult, SimulationWeighting,
    SolverStatsDelta, TrainingResult, aggregate_simulation, delta_to_stats_row, pack_delta_scalars,
    pack_scenario_stats, reconcile_global_ok, unpack_delta_scalars, unpack_scenario_stats,
};
use cobre_solver::ActiveSolver;

use crate::case::Study;
use crate::context::output_context;
use crate::counting_solver::LpCount;
use crate::error::{During, Failure};
use crate::share::gather_rows;
use crate::train::timestamp;

const SIMULATE: &str = "to simulate";
const WRITE: &str = "to write the simulation outputs";

/// What the ranks found together; the same on all of them.
struct Outcome {
    output: SimulationOutput,
    stats: Vec<(u32, SolverStatsDelta)>,
    paths: Vec<SimulationPathRecord>,
    costs: Vec<(u32, f64, Option<f64>)>,
}

/// Simulates and writes. Collective: each rank writes the scenarios it simulated, rank 0 the
/// tables over all of them.
pub(crate) fn simulate<C: Communicator + TopologyProvider>(
    comm: &C,
    study: &Study,
    trained: &TrainingResult,
    out: &Path,
    threads: usize,
    lps: &LpCount,
) -> Result<(), Failure> {
    let started_at = timestamp();
    let outcome = run(comm, study, trained, out, threads, lps)?;
    if comm.rank() != 0 {
        return Ok(());
    }
    let context = output_context(comm.topology(), threads, started_at);
    write_simulation_results(out, &outcome.output, &context).during(WRITE)?;
    let stats: Vec<_> = outcome.stats.iter().map(stats_row).collect();
    if !stats.is_empty() {
        write_simulation_solver_stats(out, &stats).during(WRITE)?;
    }
    write_paths(out, outcome.paths).during(WRITE)?;
    let summary: Vec<_> = outcome
        .costs
        .iter()
        .map(|&(scenario, cost, probability)| (scenario, probability, cost))
        .collect();
    write_scenario_summary(out, &summary).during(WRITE)?;
    write_success_marker(&out.join("simulation")).during(WRITE)
}

fn run<C: Communicator>(
    comm: &C,
    study: &Study,
    trained: &TrainingResult,
    out: &Path,
    threads: usize,
    lps: &LpCount,
) -> Result<Outcome, Failure> {
    let setup = &study.setup;
    let start = Instant::now();
    let mut pool = setup
        .create_workspace_pool(comm, threads, || {
            ActiveSolver::new().map(|solver| lps.watch(solver))
        })
        .during(SIMULATE)?;

    // The channel is bounded: the solver waits until somebody takes its results.
    let room = setup.simulation_config().io_channel_capacity.max(1);
    let (results_in, results) = mpsc::sync_channel(room);
    let writer = SimulationParquetWriter::new(out, &study.system).during(WRITE)?;
    let drain = thread::spawn(move || drain(writer, results));
    let simulated = setup.simulate(
        &mut pool.workspaces,
        comm,
        &results_in,
        None,
        trained.frozen_templates.as_deref(),
        &trained.basis_cache,
    );
    drop(results_in);
    let written = drain
        .join()
        .map_err(|_| Failure::new(WRITE, "the writing thread panicked"))?;

    // A rank that failed must not leave the others waiting in what follows.
    let fine = simulated.is_ok() && written.is_ok();
    let all_fine = reconcile_global_ok(fine, comm, &mut [0]).during(SIMULATE)?;
    let (simulated, writer) = (simulated.during(SIMULATE)?, written.during(WRITE)?);
    if !all_fine {
        return Err(Failure::new(SIMULATE, "another rank failed"));
    }

    let own_paths = writer.path_rows().to_vec();
    let elapsed = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut output = merge(comm, &writer.finalize(elapsed))?;
    comm.barrier().during(SIMULATE)?;

    let stats: Vec<_> = simulated
        .solver_stats
        .iter()
        .map(|(scenario, _, delta)| (*scenario, delta.clone()))
        .collect();
    output.solve_stats = solve_stats(comm, &stats, threads)?;
    let packed = gather_rows(comm, &pack_scenario_stats(&stats)).during(SIMULATE)?;
    let mut stats = unpack_scenario_stats(&packed);
    stats.sort_by_key(|&(scenario, _)| scenario);
    let paths = gather_paths(comm, &own_paths)?;

    let weighting = match &simulated.census_weights {
        Some(weights) => SimulationWeighting::Census { weights },
        None => SimulationWeighting::Uniform,
    };
    let config = setup.simulation_config();
    let (summary, costs) =
        aggregate_simulation(&simulated.costs, config, comm, weighting).during(SIMULATE)?;
    output.cost = Some(MetadataCost {
        mean_cost: summary.mean_cost,
        std_cost: summary.std_cost,
    });
    Ok(Outcome {
        output,
        stats,
        paths,
        costs,
    })
}

/// Writes scenarios as they come. Goes on taking results after an error, or the solver would
/// wait for room for ever.
fn drain(
    mut writer: SimulationParquetWriter,
    results: mpsc::Receiver<SimulationScenarioResult>,
) -> Result<SimulationParquetWriter, OutputError> {
    let mut outcome = Ok(());
    for result in results {
        let written = writer.write_scenario(ScenarioWritePayload::from(result));
        outcome = outcome.and(written);
    }
    outcome.map(|()| writer)
}

fn gather_paths<C: Communicator>(
    comm: &C,
    rows: &[SimulationPathRecord],
) -> Result<Vec<SimulationPathRecord>, Failure> {
    let flat: Vec<_> = rows
        .iter()
        .flat_map(|row| [row.scenario_id, row.stage_id, row.node_id])
        .collect();
    let all = gather_rows(comm, &flat).during(SIMULATE)?;
    Ok(all
        .chunks_exact(3)
        .map(|row| SimulationPathRecord {
            scenario_id: row[0],
            stage_id: row[1],
            node_id: row[2],
        })
        .collect())
}

/// One rank's numbers become the job's: scenarios add up, the slowest rank gives the time.
fn merge<C: Communicator>(comm: &C, own: &SimulationOutput) -> Result<SimulationOutput, Failure> {
    let mut counts = [0_u32; 3];
    let own_counts = [own.n_scenarios, own.completed, own.failed];
    comm.allreduce(&own_counts, &mut counts, ReduceOp::Sum)
        .during(SIMULATE)?;
    let mut time = [0];
    comm.allreduce(&[own.total_time_ms], &mut time, ReduceOp::Max)
        .during(SIMULATE)?;
    Ok(SimulationOutput {
        n_scenarios: counts[0],
        completed: counts[1],
        failed: counts[2],
        total_time_ms: time[0],
        cost: None,
        solve_stats: MetadataSimulationSolveStats::default(),
    })
}

/// What all ranks solved together.
fn solve_stats<C: Communicator>(
    comm: &C,
    own: &[(u32, SolverStatsDelta)],
    threads: usize,
) -> Result<MetadataSimulationSolveStats, Failure> {
    let own = SolverStatsDelta::aggregate(own.iter().map(|(_, delta)| delta));
    let mut all = [0.0; SOLVER_STATS_DELTA_SCALAR_FIELDS];
    comm.allreduce(&pack_delta_scalars(&own), &mut all, ReduceOp::Sum)
        .during(SIMULATE)?;
    let all = unpack_delta_scalars(&all);
    Ok(MetadataSimulationSolveStats {
        total_lp_solves: Some(all.lp_solves),
        first_try: Some(all.first_try_successes),
        retried: Some(all.lp_successes.saturating_sub(all.first_try_successes)),
        failed: Some(all.lp_failures),
        solve_seconds: Some(all.solve_time_ms / 1000.0),
        parallelism: u32::try_from(threads * comm.size()).ok(),
    })
}

fn stats_row((scenario, delta): &(u32, SolverStatsDelta)) -> SolverStatsRow {
    let scenario = i32::try_from(*scenario).ok();
    delta_to_stats_row(None, scenario, "simulation", None, None, None, None, delta)
}
