//! What rank 0 prints: lines of at most 80 columns.

use std::time::Duration;

use super::sddp::{Estimate, Iteration, Outcome};
use super::{Case, Settings};

/// The lines above the table.
#[must_use]
pub fn heading(case: &Case, settings: Settings, ranks: usize) -> String {
    format!(
        "{}: {} stages, {} reservoirs, {} thermal plants, {} inflows a stage\n\
         {}, {} forward passes, seed {}; costs in million $\n\n\
         {:>9} {:>14} {:>27} {:>10} {:>10}",
        case.name,
        case.stages.len(),
        case.hydros.len(),
        case.thermals.len(),
        case.inflow.openings,
        count(ranks, "rank"),
        settings.forward_passes,
        settings.seed,
        "iteration",
        "lower bound",
        "upper bound (95 %)",
        "gap",
        "time",
    )
}

/// A line of the table.
#[must_use]
pub fn line(iteration: &Iteration) -> String {
    let Estimate { mean, half_width } = iteration.upper_bound;
    format!(
        "{:>9} {:>14.4} {:>14.4} +- {:>9.4} {:>8.2} % {:>8.2} s",
        iteration.number,
        iteration.lower_bound,
        mean,
        half_width,
        gap(mean, iteration.lower_bound),
        iteration.elapsed.as_secs_f64(),
    )
}

/// The lines below the table.
#[must_use]
pub fn summary(outcome: &Outcome) -> String {
    let mut lines = String::new();
    if let (Some(simulation), Some(last)) = (outcome.simulation, outcome.iterations.last()) {
        let Estimate { mean, half_width } = simulation;
        lines = format!(
            "{:>9} {:>14.4} {mean:>14.4} +- {half_width:>9.4} {:>8.2} % {:>8.2} s\n",
            "simulated",
            last.lower_bound,
            gap(mean, last.lower_bound),
            outcome.elapsed.as_secs_f64(),
        );
    }
    let work = outcome.work;
    lines
        + &format!(
            "\n{} cuts from {} LPs, {} to {} on each rank",
            outcome.policy.len(),
            work.total,
            work.least,
            work.most
        )
}

/// How long the ranks took, and how long a single one.
#[must_use]
pub fn times(ranks: usize, cores: usize, together: Duration, alone: Duration) -> String {
    let hint = if ranks > cores {
        format!("\n(ranks that share a core take turns: try one for each core, -n {cores})")
    } else {
        String::new()
    };
    format!(
        "{} on {} took {:.2} s, a single rank {:.2} s{hint}",
        count(ranks, "rank"),
        count(cores, "core"),
        together.as_secs_f64(),
        alone.as_secs_f64(),
    )
}

/// `1 rank`, `2 ranks`.
#[must_use]
pub fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

fn gap(upper: f64, lower: f64) -> f64 {
    100.0 * (upper - lower) / upper
}
