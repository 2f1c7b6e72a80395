//! One run of the solver, generic over the communicator.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Instant;

use cobre_comm::{Communicator, TopologyProvider};
use cobre_sddp::reconcile_global_ok;

use crate::case;
use crate::counted::Counted;
use crate::counting_solver::LpCount;
use crate::error::{During, Failure};
use crate::misorder::Misordered;
use crate::report::{Lps, Report};
use crate::shape::Shape;
use crate::simulate;
use crate::train::{self, timestamp};

/// What a run needs to know besides its communicator.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) case: PathBuf,
    pub(crate) out: PathBuf,
    pub(crate) threads: usize,
    pub(crate) report: Option<PathBuf>,
}

/// Loads, trains, simulates and writes. Collective.
pub(crate) fn drive<C: Communicator + TopologyProvider>(
    comm: &Counted<Misordered<C>>,
    plan: &Plan,
) -> Result<(), Failure> {
    let start = Instant::now();
    size_thread_pool(plan.threads)?;
    if comm.rank() == 0 {
        prepare_output(&plan.out)?;
    }
    let mut study = case::load(comm, &plan.case)?;
    let written = on_root(comm, || train::write_models(&study, &plan.out));
    agree(comm, written)?;
    comm.barrier().during("to meet before the training")?;

    let started_at = timestamp();
    let lps = LpCount::default();
    let (result, output) = train::train(comm, &mut study, &plan.out, plan.threads, &lps)?;
    let trained_lps = lps.get();
    let written = on_root(comm, || {
        let trained = (&result, &output);
        train::write(comm, &study, &plan.out, plan.threads, started_at, trained)
    });
    agree(comm, written)?;

    comm.enter("simulation");
    if study.setup.simulation_config.n_scenarios > 0 {
        simulate::simulate(comm, &study, &result, &plan.out, plan.threads, &lps)?;
    }

    let report = Report::new(
        comm,
        plan,
        start.elapsed(),
        Shape::of(&study.setup, result.iterations),
        Lps {
            training: trained_lps,
            simulation: lps.get() - trained_lps,
        },
    );
    if let Some(path) = &plan.report {
        report.write(path)?;
    }
    if comm.rank() == 0 {
        println!(
            "{} iterations, lower bound {}, upper bound {} +- {} ({})",
            result.iterations, result.final_lb, result.final_ub, result.final_ub_std, result.reason
        );
    }
    Ok(())
}

/// Does on rank 0 what only rank 0 does.
fn on_root<C: Communicator>(
    comm: &C,
    act: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    if comm.rank() == 0 { act() } else { Ok(()) }
}

/// All ranks go on, or none. Collective; a rank that failed keeps its own reason.
fn agree<C: Communicator>(comm: &C, own: Result<(), Failure>) -> Result<(), Failure> {
    const STEP: &str = "to go on";
    let all_fine = reconcile_global_ok(own.is_ok(), comm, &mut [0]).during(STEP)?;
    own?;
    if all_fine {
        Ok(())
    } else {
        Err(Failure::new(STEP, "another rank failed"))
    }
}

/// The solver's threads come from the global pool, which can be sized only once.
fn size_thread_pool(threads: usize) -> Result<(), Failure> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .during("to start the threads")
}

/// Leftovers of an earlier run would be compared as if they were of this one.
fn prepare_output(out: &Path) -> Result<(), Failure> {
    const STEP: &str = "to prepare the output directory";
    match fs::read_dir(out) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Failure::new(
                STEP,
                format!("{} is not empty", out.display()),
            )),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => fs::create_dir_all(out).during(STEP),
        Err(error) => Err(error).during(STEP),
    }
}
