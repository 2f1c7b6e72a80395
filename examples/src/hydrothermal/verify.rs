//! The proof that ranks change nothing: the same case again, alone, and a comparison of bits.

use cobre_shm::LocalComm;

use super::sddp::Estimate;
use super::{Case, Cut, Outcome, SddpError, Settings, solve};

/// What was compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Cuts, each with all its slopes.
    pub cuts: usize,
    /// Lower and upper bounds, with the latter's intervals and the final simulation.
    pub bounds: usize,
}

/// The first number that differs.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{what} is {here:?} ({:#018x}), but {alone:?} ({:#018x}) on a single rank", here.to_bits(), alone.to_bits())]
pub struct Difference {
    /// Which number.
    pub what: String,
    /// As the ranks found it together.
    pub here: f64,
    /// As a single rank found it.
    pub alone: f64,
}

/// Solves `case` on this rank alone. Not collective.
///
/// # Errors
/// [`SddpError::Lp`].
pub fn solve_alone(case: &Case, settings: Settings) -> Result<Outcome, SddpError> {
    solve(&LocalComm::new(), case, settings, |_| {})
}

/// Compares every cut and every bound, bit for bit.
///
/// # Errors
/// The first [`Difference`].
pub fn compare(here: &Outcome, alone: &Outcome) -> Result<Verified, Difference> {
    let mut verified = Verified { cuts: 0, bounds: 0 };
    let count = |what: &str, of: &dyn Fn(&Outcome) -> usize| {
        same(|| what.to_owned(), of(here) as f64, of(alone) as f64)
    };
    count("the number of stages", &|o| o.policy.cuts.len())?;
    count("the number of iterations", &|o| o.iterations.len())?;
    count("the number of simulations", &|o| o.simulation.iter().len())?;
    let stages = here.policy.cuts.iter().zip(&alone.policy.cuts);
    for (stage, (here, alone)) in stages.enumerate() {
        let what = || format!("stage {}, the number of cuts", stage + 1);
        same(what, here.len() as f64, alone.len() as f64)?;
        for (number, (here, alone)) in here.iter().zip(alone).enumerate() {
            let name = |part: &str| format!("stage {}, cut {}, {part}", stage + 1, number + 1);
            same_cut(name, here, alone)?;
            verified.cuts += 1;
        }
    }
    for (here, alone) in here.iterations.iter().zip(&alone.iterations) {
        let name = |part: &str| format!("iteration {}, {part}", here.number);
        same(|| name("lower bound"), here.lower_bound, alone.lower_bound)?;
        same_estimate(name, here.upper_bound, alone.upper_bound)?;
        verified.bounds += 2;
    }
    if let (Some(here), Some(alone)) = (here.simulation, alone.simulation) {
        same_estimate(|part: &str| format!("simulation, {part}"), here, alone)?;
        verified.bounds += 1;
    }
    Ok(verified)
}

/// A number that two outcomes share if all their bits are the same, and hardly otherwise (FNV-1a
/// over 64-bit words), for ranks to compare what each of them holds.
#[must_use]
pub fn fingerprint(outcome: &Outcome) -> u64 {
    let cuts = outcome.policy.cuts.iter().flatten();
    let cuts = cuts.flat_map(|cut| std::iter::once(cut.intercept).chain(cut.slopes.clone()));
    let bounds = outcome.iterations.iter().flat_map(|iteration| {
        let Estimate { mean, half_width } = iteration.upper_bound;
        [iteration.lower_bound, mean, half_width]
    });
    let simulation = outcome.simulation.iter();
    let simulation = simulation.flat_map(|estimate| [estimate.mean, estimate.half_width]);
    let values = cuts.chain(bounds).chain(simulation);
    values.fold(0xcbf2_9ce4_8422_2325, |hash: u64, value| {
        (hash ^ value.to_bits()).wrapping_mul(0x0100_0000_01b3)
    })
}

fn same_cut(name: impl Fn(&str) -> String, here: &Cut, alone: &Cut) -> Result<(), Difference> {
    same(|| name("intercept"), here.intercept, alone.intercept)?;
    let slopes = here.slopes.iter().zip(&alone.slopes).enumerate();
    for (hydro, (&here, &alone)) in slopes {
        same(|| name(&format!("slope {}", hydro + 1)), here, alone)?;
    }
    Ok(())
}

fn same_estimate(
    name: impl Fn(&str) -> String,
    here: Estimate,
    alone: Estimate,
) -> Result<(), Difference> {
    same(|| name("mean cost"), here.mean, alone.mean)?;
    same(|| name("interval"), here.half_width, alone.half_width)
}

fn same(what: impl FnOnce() -> String, here: f64, alone: f64) -> Result<(), Difference> {
    if here.to_bits() == alone.to_bits() {
        return Ok(());
    }
    let what = what();
    Err(Difference { what, here, alone })
}
