//! From a case directory to a study that is the same on every rank.
//!
//! Rank 0 reads and estimates; what it found is broadcast. Every rank then
//! builds its own study, for which it reads a few tables from the directory
//! again, as the published command line does.

use std::fs;
use std::path::Path;

use cobre_comm::Communicator;
use cobre_core::System;
use cobre_io::{
    BroadcastScalarParameter, Config, PolicyMode, load_case_with_artifacts, parse_config,
};
use cobre_sddp::hydro_models::prepare_hydro_models_from_artifacts;
use cobre_sddp::{
    EstimationPath, EstimationReport, PrepareHydroModelsResult, StudyParams, StudySetup,
    build_stochastic_context_for_study, prepare_hydro_models, prepare_stochastic,
};
use cobre_stochastic::StochasticContext;
use cobre_stochastic::context::OpeningTree;
use cobre_stochastic::provenance::ComponentProvenance;

use crate::error::{During, Failure};
use crate::share::broadcast_value;

const READ: &str = "to read the case";
const BUILD: &str = "to build the study";

/// A case, ready to be trained.
pub(crate) struct Study {
    pub(crate) system: System,
    pub(crate) config: Config,
    pub(crate) setup: StudySetup,
    /// How rank 0 came by the inflow models; the others do not know.
    pub(crate) estimation: Option<(EstimationPath, Option<EstimationReport>)>,
}

/// An opening tree that the case brought along, in parts that can be sent.
type Tree = Option<(Vec<f64>, Vec<usize>, usize)>;

/// What only rank 0 has before the broadcast.
struct Read {
    system: System,
    scalars: Vec<BroadcastScalarParameter>,
    tree: Tree,
    stochastic: StochasticContext,
    hydro_models: PrepareHydroModelsResult,
    estimation: (EstimationPath, Option<EstimationReport>),
}

/// Loads the case in `dir`. Collective.
///
/// A rank that fails returns at once; its peers are waiting for it by then, so
/// the caller must end the job.
pub(crate) fn load<C: Communicator>(comm: &C, dir: &Path) -> Result<Study, Failure> {
    let config_path = dir.join("config.json");
    let config = parse_config(&config_path).during(READ)?;
    refuse_unsupported(&config)?;

    let read = if comm.rank() == 0 {
        Some(read(dir, &config)?)
    } else {
        None
    };
    let text = fs::read_to_string(&config_path).during(READ)?;
    let is_root = comm.rank() == 0;
    let roots_text = broadcast_value(comm, is_root.then(|| text.clone()))?;
    if roots_text != text {
        return Err(Failure::new(READ, "config.json differs from rank 0's"));
    }

    let mut estimation = None;
    let mut prepared = None;
    let (system, scalars, tree) = match read {
        Some(read) => {
            estimation = Some(read.estimation);
            prepared = Some((read.stochastic, read.hydro_models));
            (Some(read.system), Some(read.scalars), Some(read.tree))
        }
        None => (None, None, None),
    };
    let system = broadcast_value(comm, system)?;
    let scalars = broadcast_value(comm, scalars)?;
    let tree = broadcast_value(comm, tree)?;

    let (stochastic, hydro_models) = match prepared {
        Some(prepared) => prepared,
        None => rebuild(dir, &config, &system, tree)?,
    };
    let scalars = scalars.into_iter().map(Into::into).collect();
    let setup =
        StudySetup::new(&system, &config, stochastic, hydro_models, scalars).during(BUILD)?;
    Ok(Study {
        system,
        config,
        setup,
        estimation,
    })
}

/// This driver trains from scratch and simulates; it says so instead of doing something else.
fn refuse_unsupported(config: &Config) -> Result<(), Failure> {
    let reason = if !config.training.enabled {
        "training is disabled"
    } else if config.policy.mode != PolicyMode::Fresh {
        "it continues an earlier policy"
    } else if config.policy.boundary.is_some() {
        "it has a boundary policy"
    } else {
        return Ok(());
    };
    Err(Failure::new(READ, format!("{reason}: not supported here")))
}

/// Rank 0's part: everything from the files.
fn read(dir: &Path, config: &Config) -> Result<Read, Failure> {
    let loaded = load_case_with_artifacts(dir).during(READ)?;
    let prepared = prepare_stochastic(
        loaded.system,
        dir,
        config,
        seed(config)?,
        &config.training_scenario_source(dir).during(READ)?,
        None,
    )
    .during(BUILD)?;
    let hydro_models = prepare_hydro_models_from_artifacts(
        &prepared.system,
        &loaded.artifacts,
        config.exports.fpha_deviation_points,
        None,
    )
    .during(BUILD)?;
    let tree = prepared.stochastic.opening_tree();
    let from_user =
        prepared.stochastic.provenance().opening_tree == ComponentProvenance::UserSupplied;
    Ok(Read {
        scalars: loaded
            .artifacts
            .scalar_parameters
            .iter()
            .map(Into::into)
            .collect(),
        tree: from_user.then(|| {
            let openings = tree.openings_per_stage_slice().to_vec();
            (tree.data().to_vec(), openings, tree.dim())
        }),
        system: prepared.system,
        stochastic: prepared.stochastic,
        hydro_models,
        estimation: (prepared.estimation_path, prepared.estimation_report),
    })
}

/// The other ranks' part: the same models from what rank 0 sent and the small tables on disk.
fn rebuild(
    dir: &Path,
    config: &Config,
    system: &System,
    tree: Tree,
) -> Result<(StochasticContext, PrepareHydroModelsResult), Failure> {
    let tree = tree.map(|(data, openings, dim)| OpeningTree::from_parts(data, openings, dim));
    let source = config.training_scenario_source(dir).during(READ)?;
    let stochastic =
        build_stochastic_context_for_study(system, dir, seed(config)?, &source, None, tree, None)
            .during(BUILD)?;
    let hydro_models = prepare_hydro_models(system, dir, false).during(BUILD)?;
    Ok((stochastic, hydro_models))
}

fn seed(config: &Config) -> Result<u64, Failure> {
    Ok(StudyParams::from_config(config, Vec::new())
        .during(BUILD)?
        .seed)
}
