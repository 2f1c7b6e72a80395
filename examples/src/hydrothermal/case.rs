//! The input: a system of reservoirs, plants, lines and demand, as TOML.

use std::collections::HashSet;

use serde::Deserialize;

/// The case that ships with the project.
pub const TWO_RIVERS: &str = include_str!("../../cases/two_rivers.toml");

/// A system over a number of stages. Names are resolved to indices by [`Case::parse`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the field names say it, units included")]
pub struct Case {
    pub name: String,
    pub hours_per_stage: f64,
    pub stages: Vec<String>,
    pub training: Training,
    pub inflow: Inflow,
    pub deficit: Vec<Deficit>,
    #[serde(rename = "region")]
    pub regions: Vec<Region>,
    #[serde(default, rename = "line")]
    pub lines: Vec<Line>,
    #[serde(rename = "hydro")]
    pub hydros: Vec<Hydro>,
    #[serde(default, rename = "thermal")]
    pub thermals: Vec<Thermal>,
}

/// What the command line may override.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the field names say it")]
pub struct Training {
    pub iterations: usize,
    pub forward_passes: usize,
    pub simulations: usize,
    pub seed: u64,
}

/// How the possible inflows of a stage are drawn: independent lognormals around the monthly mean.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inflow {
    /// Equally likely inflows per stage.
    pub openings: usize,
    /// Between reservoirs in the same stage, of the logarithm, 0 to 1.
    pub correlation: f64,
}

/// A segment of demand that may be left unserved.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deficit {
    /// Of the region's demand.
    pub share: f64,
    /// In $/MWh.
    pub cost: f64,
}

/// A place with one price.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the field names say it")]
pub struct Region {
    pub name: String,
    pub demand_mw: Vec<f64>,
}

/// A line between two regions, the same capacity both ways.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the field names say it")]
pub struct Line {
    pub from: String,
    pub to: String,
    pub capacity_mw: f64,
}

/// A reservoir with a power station. What leaves it arrives downstream in the same stage.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the field names say it, units included")]
pub struct Hydro {
    pub name: String,
    pub region: String,
    pub downstream: Option<String>,
    pub max_volume_hm3: f64,
    pub initial_volume_hm3: f64,
    pub max_turbined_m3s: f64,
    pub mw_per_m3s: f64,
    /// Mean of the water that enters here for the first time, by stage.
    pub inflow_m3s: Vec<f64>,
    /// Standard deviation of the inflow's logarithm.
    pub inflow_sigma: f64,
}

/// A plant that burns something, at a cost in $/MWh.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the field names say it, units included")]
pub struct Thermal {
    pub name: String,
    pub region: String,
    pub max_mw: f64,
    pub cost: f64,
}

/// Why a case cannot be solved.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// Not TOML, or not these tables.
    #[error("case: {0}")]
    Syntax(#[from] toml::de::Error),
    /// A name that nothing has.
    #[error("case: {user} names {kind} `{name}`, which does not exist")]
    UnknownName {
        /// Who names it.
        user: String,
        /// What it should be.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A name that two things have.
    #[error("case: two {kind}s are called `{name}`")]
    SameName {
        /// What they are.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A number out of range.
    #[error("case: {what} is {value}, but must be {wanted}")]
    OutOfRange {
        /// Which number.
        what: String,
        /// Its value.
        value: f64,
        /// The values that are possible.
        wanted: &'static str,
    },
    /// Rivers that flow in a circle.
    #[error("case: the water of `{0}` comes back to it")]
    Circular(String),
}

impl Case {
    /// Reads and checks a case.
    ///
    /// # Errors
    /// [`CaseError`], the first that is found.
    pub fn parse(text: &str) -> Result<Self, CaseError> {
        let case: Self = toml::from_str(text)?;
        case.check_numbers()?;
        case.check_names()?;
        Ok(case)
    }

    /// hm3 that one m3/s brings in a stage.
    #[must_use]
    pub fn hm3_per_m3s(&self) -> f64 {
        self.hours_per_stage * 3600.0 / 1e6
    }

    /// Million $ that one MW costs in a stage at `cost` $/MWh.
    #[must_use]
    pub fn million_per_mw(&self, cost: f64) -> f64 {
        self.hours_per_stage * cost / 1e6
    }

    /// The number of the region called `name`; `None` if there is none.
    #[must_use]
    pub fn region(&self, name: &str) -> Option<usize> {
        self.regions.iter().position(|region| region.name == name)
    }

    /// The number of the reservoir below reservoir `hydro`.
    #[must_use]
    pub fn downstream(&self, hydro: usize) -> Option<usize> {
        let name = self.hydros[hydro].downstream.as_deref()?;
        self.hydros.iter().position(|other| other.name == name)
    }

    /// Volumes at the beginning of the first stage.
    #[must_use]
    pub fn initial_volumes(&self) -> Vec<f64> {
        let volume = |hydro: &Hydro| hydro.initial_volume_hm3;
        self.hydros.iter().map(volume).collect()
    }

    fn check_numbers(&self) -> Result<(), CaseError> {
        let check = |fine: bool, what: String, value: f64, wanted| {
            if fine {
                Ok(())
            } else {
                Err(CaseError::OutOfRange {
                    what,
                    value,
                    wanted,
                })
            }
        };
        let positive = |what: &str, value: f64| {
            let fine = value.is_finite() && value > 0.0;
            check(fine, what.to_owned(), value, "finite and above 0")
        };
        let not_negative = |what: String, value: f64| {
            let fine = value.is_finite() && value >= 0.0;
            check(fine, what, value, "finite and at least 0")
        };
        let one_per_stage = |what: String, values: &[f64]| {
            let count = values.len();
            let fine = count == self.stages.len();
            check(
                fine,
                format!("the number of values of {what}"),
                count as f64,
                "one per stage",
            )?;
            values
                .iter()
                .try_for_each(|&value| not_negative(what.clone(), value))
        };
        positive("hours_per_stage", self.hours_per_stage)?;
        positive("the number of stages", self.stages.len() as f64)?;
        positive("the number of regions", self.regions.len() as f64)?;
        positive("the number of reservoirs", self.hydros.len() as f64)?;
        positive("inflow.openings", self.inflow.openings as f64)?;
        positive("training.iterations", self.training.iterations as f64)?;
        positive(
            "training.forward_passes",
            self.training.forward_passes as f64,
        )?;
        let correlation = self.inflow.correlation;
        let fine = (0.0..=1.0).contains(&correlation);
        check(
            fine,
            "inflow.correlation".to_owned(),
            correlation,
            "between 0 and 1",
        )?;
        let served: f64 = self.deficit.iter().map(|segment| segment.share).sum();
        check(
            served >= 1.0 - 1e-9,
            "the sum of deficit.share".to_owned(),
            served,
            "at least 1",
        )?;
        for (number, segment) in self.deficit.iter().enumerate() {
            not_negative(format!("deficit {number}, share"), segment.share)?;
            not_negative(format!("deficit {number}, cost"), segment.cost)?;
        }
        for region in &self.regions {
            one_per_stage(
                format!("region `{}`, demand_mw", region.name),
                &region.demand_mw,
            )?;
        }
        for line in &self.lines {
            let what = format!("line `{}` to `{}`, capacity_mw", line.from, line.to);
            not_negative(what, line.capacity_mw)?;
        }
        for plant in &self.thermals {
            not_negative(format!("thermal `{}`, max_mw", plant.name), plant.max_mw)?;
            not_negative(format!("thermal `{}`, cost", plant.name), plant.cost)?;
        }
        for hydro in &self.hydros {
            let what = |field| format!("hydro `{}`, {field}", hydro.name);
            not_negative(what("max_volume_hm3"), hydro.max_volume_hm3)?;
            not_negative(what("initial_volume_hm3"), hydro.initial_volume_hm3)?;
            not_negative(what("max_turbined_m3s"), hydro.max_turbined_m3s)?;
            not_negative(what("mw_per_m3s"), hydro.mw_per_m3s)?;
            not_negative(what("inflow_sigma"), hydro.inflow_sigma)?;
            one_per_stage(what("inflow_m3s"), &hydro.inflow_m3s)?;
        }
        Ok(())
    }

    fn check_names(&self) -> Result<(), CaseError> {
        unique("region", self.regions.iter().map(|region| &region.name))?;
        unique("hydro", self.hydros.iter().map(|hydro| &hydro.name))?;
        unique("thermal", self.thermals.iter().map(|plant| &plant.name))?;
        let region = |user: &str, name: &String| match self.region(name) {
            Some(_) => Ok(()),
            None => Err(unknown(user, "region", name)),
        };
        for line in &self.lines {
            region("a line", &line.from)?;
            region("a line", &line.to)?;
        }
        for plant in &self.thermals {
            region(&plant.name, &plant.region)?;
        }
        for (number, hydro) in self.hydros.iter().enumerate() {
            region(&hydro.name, &hydro.region)?;
            if let (Some(name), None) = (&hydro.downstream, self.downstream(number)) {
                return Err(unknown(&hydro.name, "hydro", name));
            }
        }
        for (number, hydro) in self.hydros.iter().enumerate() {
            let mut river = std::iter::successors(Some(number), |&here| self.downstream(here));
            if river.nth(self.hydros.len()).is_some() {
                return Err(CaseError::Circular(hydro.name.clone()));
            }
        }
        Ok(())
    }
}

fn unique<'a>(
    kind: &'static str,
    names: impl Iterator<Item = &'a String>,
) -> Result<(), CaseError> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            let name = name.clone();
            return Err(CaseError::SameName { kind, name });
        }
    }
    Ok(())
}

fn unknown(user: &str, kind: &'static str, name: &str) -> CaseError {
    let (user, name) = (user.to_owned(), name.to_owned());
    CaseError::UnknownName { user, kind, name }
}

#[cfg(test)]
mod tests {
    use super::{Case, TWO_RIVERS};

    fn error_after(find: &str, replace: &str) -> String {
        assert!(TWO_RIVERS.contains(find), "{find}");
        Case::parse(&TWO_RIVERS.replacen(find, replace, 1))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn the_shipped_case_is_sound() {
        let case = Case::parse(TWO_RIVERS).unwrap();
        assert_eq!((case.hydros.len(), case.stages.len()), (6, 12));
        assert_eq!(case.downstream(0), Some(1));
        assert_eq!(case.downstream(5), None);
    }

    #[test]
    fn a_mistake_is_named_with_its_value() {
        assert_eq!(
            error_after("downstream = \"Eskford\"", "downstream = \"Esk\""),
            "case: Drumlin Head names hydro `Esk`, which does not exist"
        );
        assert_eq!(
            error_after("demand_mw = [455, ", "demand_mw = ["),
            "case: the number of values of region `Highland`, demand_mw is 11, but must be one per stage"
        );
        assert_eq!(
            error_after("share = 0.95", "share = 0.5"),
            "case: the sum of deficit.share is 0.55, but must be at least 1"
        );
        assert_eq!(
            error_after("downstream = \"Fenmouth\"", "downstream = \"Aldermoor\""),
            "case: the water of `Aldermoor` comes back to it"
        );
        assert_eq!(
            error_after("name = \"Eskford\"", "name = \"Fenmouth\""),
            "case: two hydros are called `Fenmouth`"
        );
        assert!(error_after("capacity_mw", "capacity").contains("unknown field `capacity`"));
    }

    #[test]
    fn a_case_without_reservoirs_is_refused() {
        let tables = TWO_RIVERS.split("[[");
        let others = tables.filter(|table| !table.starts_with("hydro]]"));
        let text = others.collect::<Vec<_>>().join("[[");
        let error = Case::parse(&format!("hydro = []\n{text}")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "case: the number of reservoirs is 0, but must be finite and above 0"
        );
    }
}
