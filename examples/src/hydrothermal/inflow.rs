//! Inflows: random numbers that are functions of what they are for, and the table of them.
//!
//! There is no generator with a state. A draw is a hash of the seed and of the numbers that name
//! it, so any rank can compute any part of the table, or replay any scenario, and get the same.

use std::f64::consts::TAU;

use cobre_shm::{CommError, RegionReader, SharedMemoryProvider, SharedRegion};

use super::Case;

/// A read-only table of f64 that all ranks of `C` share.
pub type SharedTable<C> = <<C as SharedMemoryProvider>::Region<f64> as SharedRegion<f64>>::Reader;

/// What a random number is for; part of its name.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// The table of openings.
    Opening,
    /// Which opening a forward pass of this iteration meets.
    Training(usize),
    /// Which opening a scenario of the final simulation meets.
    Simulation,
}

/// The possible inflows of every stage, in m3/s, in a region that all ranks share.
#[derive(Debug)]
pub struct OpeningTree<R> {
    openings: usize,
    hydros: usize,
    inflows: R,
}

/// Draws the table: each rank its own part of a shared region. Collective.
///
/// # Errors
/// As for every collective, and if the memory cannot be had.
pub fn draw_openings<C: SharedMemoryProvider>(
    comm: &C,
    case: &Case,
    seed: u64,
) -> Result<OpeningTree<SharedTable<C>>, CommError> {
    let (openings, hydros) = (case.inflow.openings, case.hydros.len());
    let length = case.stages.len() * openings * hydros;
    let mut region = comm.create_shared_region::<f64>(length)?;
    let part = region.part();
    for (inflow, element) in region.part_mut().iter_mut().zip(part) {
        let (node, hydro) = (element / hydros, element % hydros);
        *inflow = inflow_at(case, seed, node / openings, node % openings, hydro);
    }
    Ok(OpeningTree {
        openings,
        hydros,
        inflows: region.fence()?,
    })
}

impl<R: RegionReader<f64>> OpeningTree<R> {
    /// The inflows into all reservoirs if `stage` meets `opening`.
    ///
    /// # Panics
    /// If there is no such stage or opening.
    #[must_use]
    pub fn inflows(&self, stage: usize, opening: usize) -> &[f64] {
        assert!(opening < self.openings, "opening {opening}");
        let first = (stage * self.openings + opening) * self.hydros;
        &self.inflows[first..][..self.hydros]
    }

    /// How many openings a stage has.
    #[must_use]
    pub fn openings(&self) -> usize {
        self.openings
    }
}

/// The opening that `scenario` meets in `stage`.
#[must_use]
pub fn sampled_opening(
    seed: u64,
    purpose: Purpose,
    scenario: usize,
    stage: usize,
    openings: usize,
) -> usize {
    // The bias of the remainder is below 1e-17.
    (hash(seed, purpose, [scenario, stage, 0]) % openings as u64) as usize
}

/// A lognormal whose mean is the month's; one factor common to all reservoirs correlates them.
fn inflow_at(case: &Case, seed: u64, stage: usize, opening: usize, hydro: usize) -> f64 {
    let normal = |which| standard_normal(seed, [stage, opening, which]);
    let (common, own) = (normal(0), normal(1 + hydro));
    let rho = case.inflow.correlation;
    let deviate = rho.sqrt() * common + (1.0 - rho).sqrt() * own;
    let plant = &case.hydros[hydro];
    let (mean, sigma) = (plant.inflow_m3s[stage], plant.inflow_sigma);
    mean * (sigma * deviate - 0.5 * sigma * sigma).exp()
}

/// Box-Muller, one of the pair.
fn standard_normal(seed: u64, name: [usize; 3]) -> f64 {
    let bits = hash(seed, Purpose::Opening, name);
    let radius = (-2.0 * unit(bits).ln()).sqrt();
    radius * (TAU * unit(mix(bits))).cos()
}

/// Uniform in (0, 1), never an end.
fn unit(bits: u64) -> f64 {
    ((bits >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
}

fn hash(seed: u64, purpose: Purpose, name: [usize; 3]) -> u64 {
    let purpose = match purpose {
        Purpose::Opening => 0,
        Purpose::Simulation => 1,
        Purpose::Training(iteration) => 2 + iteration as u64,
    };
    let words = [purpose, name[0] as u64, name[1] as u64, name[2] as u64];
    words
        .into_iter()
        .fold(mix(seed), |hash, word| mix(hash ^ mix(word)))
}

/// One step of SplitMix64 (Steele, Lea, Flood 2014): a bijection that scatters neighbours.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use cobre_shm::LocalComm;

    use super::{Purpose, draw_openings, sampled_opening};
    use crate::hydrothermal::{Case, case::TWO_RIVERS};

    #[test]
    fn means_and_spread_are_those_of_the_case() {
        let mut case = Case::parse(TWO_RIVERS).unwrap();
        case.inflow.openings = 20_000;
        let tree = draw_openings(&LocalComm::new(), &case, 7).unwrap();
        for (hydro, plant) in case.hydros.iter().enumerate() {
            let draws = (0..20_000).map(|opening| tree.inflows(3, opening)[hydro]);
            let logs: Vec<f64> = draws.clone().map(f64::ln).collect();
            let mean = draws.sum::<f64>() / 20_000.0;
            assert!((mean / plant.inflow_m3s[3] - 1.0).abs() < 0.02, "{mean}");
            let centre = logs.iter().sum::<f64>() / 20_000.0;
            let variance = logs.iter().map(|log| (log - centre).powi(2)).sum::<f64>() / 20_000.0;
            assert!(
                (variance.sqrt() / plant.inflow_sigma - 1.0).abs() < 0.03,
                "{variance}"
            );
        }
    }

    #[test]
    fn scenarios_meet_every_opening_about_as_often() {
        let mut met = [0_usize; 10];
        for scenario in 0..1000 {
            met[sampled_opening(1, Purpose::Training(3), scenario, 5, 10)] += 1;
        }
        assert!(
            met.iter().all(|&times| (60..140).contains(&times)),
            "{met:?}"
        );
    }
}
