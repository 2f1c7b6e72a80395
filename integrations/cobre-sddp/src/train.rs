//! Training, and the files that come out of it.

use std::path::Path;
use std::sync::mpsc;

use cobre_comm::{Communicator, ReduceOp, TopologyProvider};
use cobre_io::{
    MetadataTrainingSolveStats, TrainingOutput, now_iso8601, write_hydro_model_summary,
    write_provenance_report, write_scaling_report, write_solver_stats, write_success_marker,
    write_training_results,
};
use cobre_sddp::policy::orchestration::{CheckpointParams, write_checkpoint};
use cobre_sddp::{
    TrainingResult, aggregate_solver_stats_log, build_evaporation_model_rows,
    build_fixed_delivery_rows, build_generic_constraint_echo_rows, build_hydro_model_summary,
    build_provenance_report, solver_stats_log_to_rows,
};
use cobre_solver::{ActiveSolver, SolverError};

use crate::case::Study;
use crate::context::output_context;
use crate::counted::Counted;
use crate::counting_solver::{CountingSolver, LpCount};
use crate::error::{During, Failure};

const TRAIN: &str = "to train";
const WRITE: &str = "to write the training outputs";

/// Trains the policy. Collective.
pub(crate) fn train<C: Communicator>(
    comm: &Counted<C>,
    study: &mut Study,
    out: &Path,
    threads: usize,
    lps: &LpCount,
) -> Result<(TrainingResult, TrainingOutput), Failure> {
    study.setup.enable_periodic_checkpoints(&study.system, out);
    let new_solver = || -> Result<CountingSolver<ActiveSolver>, SolverError> {
        ActiveSolver::new().map(|solver| lps.watch(solver))
    };
    let mut solver = new_solver().during(TRAIN)?;
    // Unbounded: the solver never waits for whoever reads its events, so they may wait here.
    let (events_in, events) = mpsc::channel();
    comm.enter("training");
    let outcome = study
        .setup
        .train(
            &mut solver,
            comm,
            threads,
            new_solver,
            Some(events_in),
            None,
        )
        .during(TRAIN)?;
    comm.enter("finish");
    if let Some(error) = outcome.error {
        return Err(error).during(TRAIN);
    }
    let events: Vec<_> = events.try_iter().collect();
    let mut output = study.setup.build_training_output(&outcome.result, &events);
    output.training_solve_stats = solve_stats(comm, &outcome.result, threads, lps)?;
    Ok((outcome.result, output))
}

/// What all ranks solved together.
///
/// The command line adds up each rank's copy of the convergence table, in which
/// the LPs of all ranks are counted already; here each rank adds its own.
fn solve_stats<C: Communicator>(
    comm: &C,
    result: &TrainingResult,
    threads: usize,
    lps: &LpCount,
) -> Result<MetadataTrainingSolveStats, Failure> {
    let mut total = [0];
    comm.allreduce(&[lps.get()], &mut total, ReduceOp::Sum)
        .during(TRAIN)?;
    comm.barrier().during(TRAIN)?;
    let own_rank = u32::try_from(comm.rank()).ok();
    let (first_try, retried, failed, forward, backward) =
        aggregate_solver_stats_log(&result.solver_stats_log, own_rank);
    // Counts far below 2^53 are exact in an f64, and one message carries them with the times.
    let own = [
        first_try as f64,
        retried as f64,
        failed as f64,
        forward,
        backward,
    ];
    let mut all = [0.0; 5];
    comm.allreduce(&own, &mut all, ReduceOp::Sum)
        .during(TRAIN)?;
    Ok(MetadataTrainingSolveStats {
        total_lp_solves: Some(total[0]),
        first_try: Some(all[0] as u64),
        retried: Some(all[1] as u64),
        failed: Some(all[2] as u64),
        forward_solve_seconds: Some(all[3]),
        backward_solve_seconds: Some(all[4]),
        parallelism: u32::try_from(threads * comm.size()).ok(),
    })
}

/// Writes the policy and the tables of the training; rank 0 only.
pub(crate) fn write<C: TopologyProvider>(
    comm: &C,
    study: &Study,
    out: &Path,
    threads: usize,
    started_at: String,
    (result, output): (&TrainingResult, &TrainingOutput),
) -> Result<(), Failure> {
    let Study {
        system,
        config,
        setup,
        ..
    } = study;
    write_checkpoint(
        &out.join(&setup.policy_path),
        setup,
        system,
        result,
        &CheckpointParams {
            max_iterations: setup.loop_params.max_iterations,
            forward_passes: setup.loop_params.forward_passes,
            seed: setup.loop_params.seed,
            export_states: config.exports.states,
        },
    )
    .during(WRITE)?;
    let context = output_context(comm.topology(), threads, started_at);
    write_training_results(out, output, system, config, &context).during(WRITE)?;

    let evaporation = build_evaporation_model_rows(&setup.hydro_models, system);
    if !evaporation.is_empty() {
        let path = out.join(cobre_io::EVAPORATION_MODELS_FILE);
        cobre_io::write_evaporation_models(&path, &evaporation).during(WRITE)?;
    }
    if !setup.hydro_models.fpha_export_rows.is_empty() {
        let path = out.join(cobre_io::FPHA_HYPERPLANES_FILE);
        cobre_io::write_fpha_hyperplanes(&path, &setup.hydro_models.fpha_export_rows)
            .during(WRITE)?;
    }
    if !system.generic_constraints().is_empty() {
        let path = out.join(cobre_io::GENERIC_CONSTRAINT_ECHO_FILE);
        let rows = build_generic_constraint_echo_rows(setup, system);
        cobre_io::write_generic_constraint_echo(&path, &rows).during(WRITE)?;
    }
    let fixed = build_fixed_delivery_rows(setup, system);
    cobre_io::write_fixed_delivery(out, &fixed).during(WRITE)?;
    let stats = solver_stats_log_to_rows(&result.solver_stats_log);
    if !stats.is_empty() {
        write_solver_stats(out, &stats).during(WRITE)?;
    }
    if !output.cut_selection_records.is_empty() {
        cobre_io::write_row_selection_records(out, &output.cut_selection_records).during(WRITE)?;
    }
    write_success_marker(&out.join("training")).during(WRITE)
}

/// Writes the reports on the models that the training will use; rank 0 only.
pub(crate) fn write_models(study: &Study, out: &Path) -> Result<(), Failure> {
    let setup = &study.setup;
    let summary = build_hydro_model_summary(&setup.hydro_models, &study.system);
    write_hydro_model_summary(&out.join("training/hydro_models.json"), &summary).during(WRITE)?;
    if let Some((path, report)) = &study.estimation {
        let provenance = build_provenance_report(
            *path,
            report.as_ref(),
            setup.inputs.stochastic.provenance(),
            study.system.hydros(),
            &setup.hydro_models.provenance,
        );
        write_provenance_report(&out.join("training/model_provenance.json"), &provenance)
            .during(WRITE)?;
    }
    let scaling = &setup.inputs.stage_data.scaling_report;
    write_scaling_report(&out.join("training/scaling_report.json"), scaling).during(WRITE)
}

/// Now, as the writers want it.
pub(crate) fn timestamp() -> String {
    now_iso8601()
}
