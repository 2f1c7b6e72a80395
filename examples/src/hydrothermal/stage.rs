//! One stage as an LP: meet the demand, keep the water, mind the future.
//!
//! | | |
//! |---|---|
//! | per reservoir | volume at the end, water turbined, water spilled |
//! | per plant, line and direction, region and segment | generation, exchange, deficit |
//! | one | cost of the future, at least every cut |
//!
//! minimise fuel + deficit + future, subject to a water balance per reservoir (equations
//! `0..hydros`, whose right-hand sides are the water that is there or comes) and an energy balance
//! per region. Any inflow has a solution: water may be spilled, demand may go unserved.

use super::lp::{Column, Lp, LpError, LpSolver};
use super::{Case, Cut};

/// A stage with the cuts known so far, to be solved for many volumes and inflows.
#[derive(Debug)]
pub struct StageProblem {
    solver: LpSolver,
    volumes: Vec<Column>,
    max_volumes: Vec<f64>,
    future: Column,
    hm3_per_m3s: f64,
}

/// A solved stage.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Cost of this stage and of its future, in million $; not above the LP's optimum.
    pub cost_to_go: f64,
    /// Cost of this stage alone.
    pub stage_cost: f64,
    /// At the end, in hm3.
    pub volumes: Vec<f64>,
    /// How the cost to go changes with each reservoir's volume at the beginning.
    pub slopes: Vec<f64>,
}

impl StageProblem {
    /// The LP of `stage`, whose future costs at least `cuts`.
    ///
    /// # Errors
    /// [`LpError::Refused`].
    pub fn new<'a>(
        case: &Case,
        stage: usize,
        cuts: impl IntoIterator<Item = &'a Cut>,
    ) -> Result<Self, LpError> {
        let hm3_per_m3s = case.hm3_per_m3s();
        let mut lp = Lp::default();
        let mut volumes = Vec::new();
        let mut turbined = Vec::new();
        let mut spilled = Vec::new();
        for hydro in &case.hydros {
            volumes.push(lp.variable(0.0, hydro.max_volume_hm3));
            turbined.push(lp.variable(0.0, hydro.max_turbined_m3s));
            spilled.push(lp.variable(0.0, f64::INFINITY));
        }

        let mut water: Vec<_> = volumes.iter().map(|&end| vec![(end, 1.0)]).collect();
        for hydro in 0..case.hydros.len() {
            for released in [turbined[hydro], spilled[hydro]] {
                water[hydro].push((released, hm3_per_m3s));
                if let Some(below) = case.downstream(hydro) {
                    water[below].push((released, -hm3_per_m3s));
                }
            }
        }
        water.into_iter().for_each(|terms| lp.equal(terms, 0.0));

        let energy = Self::sources(&mut lp, case, stage, &turbined);
        for (region, terms) in case.regions.iter().zip(energy) {
            lp.equal(terms, region.demand_mw[stage]);
        }

        let future = lp.variable(1.0, f64::INFINITY);
        for cut in cuts {
            let plane = volumes.iter().copied().zip(cut.slopes.iter().copied());
            lp.at_most(plane.chain([(future, -1.0)]), -cut.intercept);
        }

        Ok(Self {
            solver: lp.into_solver()?,
            volumes,
            max_volumes: case.hydros.iter().map(|h| h.max_volume_hm3).collect(),
            future,
            hm3_per_m3s,
        })
    }

    /// Adds everything that brings or takes energy; returns the terms of each region's balance.
    fn sources(
        lp: &mut Lp,
        case: &Case,
        stage: usize,
        turbined: &[Column],
    ) -> Vec<Vec<(Column, f64)>> {
        let mut energy = vec![Vec::new(); case.regions.len()];
        for (hydro, &turbined) in case.hydros.iter().zip(turbined) {
            if let Some(region) = case.region(&hydro.region) {
                energy[region].push((turbined, hydro.mw_per_m3s));
            }
        }
        for plant in &case.thermals {
            if let Some(region) = case.region(&plant.region) {
                let generated = lp.variable(case.million_per_mw(plant.cost), plant.max_mw);
                energy[region].push((generated, 1.0));
            }
        }
        for line in &case.lines {
            if let (Some(from), Some(to)) = (case.region(&line.from), case.region(&line.to)) {
                for (from, to) in [(from, to), (to, from)] {
                    let flow = lp.variable(0.0, line.capacity_mw);
                    energy[from].push((flow, -1.0));
                    energy[to].push((flow, 1.0));
                }
            }
        }
        for (region, terms) in case.regions.iter().zip(&mut energy) {
            for segment in &case.deficit {
                let cost = case.million_per_mw(segment.cost);
                let unserved = lp.variable(cost, segment.share * region.demand_mw[stage]);
                terms.push((unserved, 1.0));
            }
        }
        energy
    }

    /// Solves the stage for volumes at its beginning (hm3) and inflows (m3/s).
    ///
    /// # Errors
    /// [`LpError::NotSolved`].
    pub fn solve(&mut self, volumes: &[f64], inflows: &[f64]) -> Result<Decision, LpError> {
        let water = volumes.iter().zip(inflows);
        let water: Vec<f64> = water
            .map(|(v, inflow)| v + self.hm3_per_m3s * inflow)
            .collect();
        let optimum = self.solver.solve(&water)?;
        // The volumes are exact to a tolerance, which may lie outside of the bounds.
        let ends = self.volumes.iter().zip(&self.max_volumes);
        let future = optimum.x[self.future].max(0.0);
        Ok(Decision {
            cost_to_go: optimum.lower_bound,
            stage_cost: optimum.cost - future,
            volumes: ends
                .map(|(&end, &max)| optimum.x[end].clamp(0.0, max))
                .collect(),
            slopes: (0..water.len()).map(|hydro| optimum.dual(hydro)).collect(),
        })
    }
}
