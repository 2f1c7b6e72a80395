//! The solver finds what can be found without it.
#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use cobre_examples::hydrothermal::inflow::{Purpose, draw_openings, sampled_opening};
use cobre_examples::hydrothermal::lp::{Column, Lp};
use cobre_examples::hydrothermal::stage::StageProblem;
use cobre_examples::hydrothermal::{Case, Outcome, Settings, case, solve};
use cobre_shm::LocalComm;

/// In a stage of this many hours 1 m3/s brings 1 hm3.
const HOURS: f64 = 1e6 / 3600.0;

/// One lake, one region; costs of 36 and 360 $/MWh are 0.01 and 0.1 million $ per MW.
fn one_lake(demand: &str, inflow: &str, openings: usize, sigma: f64) -> Case {
    let stages = demand.split(',').count();
    let text = format!(
        r#"
        name = "One Lake"
        hours_per_stage = {HOURS:?}
        stages = {:?}
        training = {{ iterations = 1, forward_passes = 1, simulations = 0, seed = 5 }}
        inflow = {{ openings = {openings}, correlation = 0.5 }}
        deficit = [{{ share = 1.0, cost = 3600.0 }}]
        [[region]]
        name = "Here"
        demand_mw = [{demand}]
        [[hydro]]
        name = "Lake"
        region = "Here"
        max_volume_hm3 = 20.0
        initial_volume_hm3 = 10.0
        max_turbined_m3s = 9.0
        mw_per_m3s = 1.0
        inflow_m3s = [{inflow}]
        inflow_sigma = {sigma:?}
        [[thermal]]
        name = "Cheap"
        region = "Here"
        max_mw = 6.0
        cost = 36.0
        [[thermal]]
        name = "Dear"
        region = "Here"
        max_mw = 10.0
        cost = 360.0
        "#,
        vec!["stage"; stages]
    );
    Case::parse(&text).unwrap()
}

fn solve_with(
    case: &Case,
    iterations: usize,
    forward_passes: usize,
    simulations: usize,
) -> Outcome {
    let settings = Settings {
        iterations,
        forward_passes,
        simulations,
        seed: case.training.seed,
    };
    solve(&LocalComm::new(), case, settings, |_| {}).unwrap()
}

fn assert_close(found: f64, expected: f64, tolerance: f64) {
    let error = (found - expected).abs() / expected.abs().max(1.0);
    assert!(error < tolerance, "found {found}, expected {expected}");
}

#[test]
fn a_certain_future_costs_what_paper_and_pencil_say() {
    // Demands 8 and 12 with 10 of water: 20 - 10 = 10 MW are thermal, at most 6 in a stage at the
    // low price. 4 and 6 of them do: 10 x 0.01.
    let outcome = solve_with(&one_lake("8, 12", "0, 0", 1, 0.0), 6, 1, 1);
    assert_close(outcome.iterations[5].lower_bound, 0.10, 1e-6);
    assert_close(outcome.simulation.unwrap().mean, 0.10, 1e-6);

    // Demands 2 and 20: the first stage burns its 2 to save water, but the lake turbines 9 at most,
    // so the second burns 6 cheap and 5 dear: no more than 1 of the 10 is used before.
    // First: 1 of water, 1 cheap (0.01). Second: 9 of water, 6 cheap (0.06), 5 dear (0.5).
    let outcome = solve_with(&one_lake("2, 20", "0, 0", 1, 0.0), 6, 1, 1);
    assert_close(outcome.iterations[5].lower_bound, 0.57, 1e-6);
    assert_close(outcome.simulation.unwrap().mean, 0.57, 1e-6);
}

/// The whole tree of futures as one LP, put together without the solver's own parts.
fn extensive_form(case: &Case, inflows: impl Fn(usize, usize) -> f64) -> f64 {
    struct Node {
        stage: usize,
        before: Option<Column>,
        probability: f64,
    }
    let hydro = &case.hydros[0];
    let openings = case.inflow.openings;
    let mut lp = Lp::default();
    let mut open = vec![Node {
        stage: 0,
        before: None,
        probability: 1.0,
    }];
    while let Some(node) = open.pop() {
        for opening in 0..openings {
            let probability = node.probability / openings as f64;
            let end = lp.variable(0.0, hydro.max_volume_hm3);
            let out = lp.variable(0.0, hydro.max_turbined_m3s);
            let spilled = lp.variable(0.0, f64::INFINITY);
            let water = [(end, 1.0), (out, 1.0), (spilled, 1.0)];
            let inflow = inflows(node.stage, opening);
            match node.before {
                None => lp.equal(water, hydro.initial_volume_hm3 + inflow),
                Some(before) => lp.equal(water.into_iter().chain([(before, -1.0)]), inflow),
            }
            let cheap = lp.variable(0.01 * probability, 6.0);
            let dear = lp.variable(0.1 * probability, 10.0);
            let unserved = lp.variable(probability, f64::INFINITY);
            let energy = [out, cheap, dear, unserved].map(|source| (source, 1.0));
            lp.equal(energy, case.regions[0].demand_mw[node.stage]);
            if node.stage + 1 < case.stages.len() {
                open.push(Node {
                    stage: node.stage + 1,
                    before: Some(end),
                    probability,
                });
            }
        }
    }
    lp.into_solver().unwrap().solve(&[]).unwrap().lower_bound
}

#[test]
fn the_lower_bound_reaches_the_optimum_of_the_whole_tree() {
    let case = one_lake("11, 13, 15", "3, 5, 4", 2, 0.7);
    let tree = draw_openings(&LocalComm::new(), &case, case.training.seed).unwrap();
    let optimum = extensive_form(&case, |stage, opening| tree.inflows(stage, opening)[0]);
    let outcome = solve_with(&case, 15, 4, 0);
    let bounds: Vec<f64> = outcome.iterations.iter().map(|i| i.lower_bound).collect();
    assert!(bounds[0] < optimum * 0.999, "too easy: {bounds:?}");
    assert_close(bounds[14], optimum, 1e-6);
    assert!(
        bounds.iter().all(|&bound| bound < optimum + 1e-7),
        "{bounds:?}, {optimum}"
    );
}

#[test]
fn bounds_of_the_shipped_case_close_in_on_each_other() {
    let case = Case::parse(case::TWO_RIVERS).unwrap();
    // One of these LPs is not solved without refinement.
    let outcome = solve_with(&case, 10, 8, 200);
    let bounds: Vec<f64> = outcome.iterations.iter().map(|i| i.lower_bound).collect();
    for pair in bounds.windows(2) {
        assert!(pair[1] > pair[0] * (1.0 - 1e-7), "{bounds:?}");
    }
    let simulation = outcome.simulation.unwrap();
    let (lower, upper) = (bounds[9], simulation.mean);
    assert!(
        lower <= upper + simulation.half_width,
        "{lower} above {simulation:?}"
    );
    assert!(
        (upper - lower) / upper < 0.1,
        "{lower} far below {simulation:?}"
    );
}

/// The mean cost of `stage` and what follows, with the cuts of `outcome` on the latter.
fn expected_cost(case: &Case, outcome: &Outcome, stage: usize, volumes: &[f64]) -> f64 {
    let tree = draw_openings(&LocalComm::new(), case, case.training.seed).unwrap();
    let mut problem = StageProblem::new(case, stage, &outcome.policy.cuts[stage]).unwrap();
    let costs = (0..tree.openings()).map(|opening| {
        let inflows = tree.inflows(stage, opening);
        problem.solve(volumes, inflows).unwrap().cost_to_go
    });
    costs.sum::<f64>() / tree.openings() as f64
}

fn short_case() -> Case {
    let mut case = Case::parse(case::TWO_RIVERS).unwrap();
    case.stages.truncate(4);
    case
}

#[test]
fn no_cut_is_above_the_expected_cost_anywhere() {
    let case = short_case();
    let outcome = solve_with(&case, 4, 3, 0);
    for stage in 1..4 {
        let cuts = &outcome.policy.cuts[stage - 1];
        assert_eq!(cuts.len(), 12);
        for step in 0..=20 {
            let fill = |hydro: usize| f64::from((step * (hydro as u32 + 3)) % 21) / 20.0;
            let lakes = case.hydros.iter().enumerate();
            let volumes: Vec<f64> = lakes
                .map(|(h, lake)| fill(h) * lake.max_volume_hm3)
                .collect();
            let truth = expected_cost(&case, &outcome, stage, &volumes);
            for value in cuts.iter().map(|cut| cut.at(&volumes)) {
                assert!(
                    value < truth + 1e-6 * truth.max(1.0),
                    "{value} above {truth}"
                );
            }
        }
    }
}

#[test]
fn a_cut_touches_the_expected_cost_at_its_trial_state() {
    let case = short_case();
    let outcome = solve_with(&case, 1, 1, 0);
    // Replay the only forward pass, which knew no cuts, to meet its trial states.
    let seed = case.training.seed;
    let tree = draw_openings(&LocalComm::new(), &case, seed).unwrap();
    let mut volumes = case.initial_volumes();
    for stage in 0..3 {
        let opening = sampled_opening(seed, Purpose::Training(1), 0, stage, tree.openings());
        let mut problem = StageProblem::new(&case, stage, []).unwrap();
        let decision = problem
            .solve(&volumes, tree.inflows(stage, opening))
            .unwrap();
        volumes = decision.volumes;
        let truth = expected_cost(&case, &outcome, stage + 1, &volumes);
        assert!(truth > 1.0, "too easy: {truth}");
        assert_close(outcome.policy.cuts[stage][0].at(&volumes), truth, 1e-9);
    }
}
