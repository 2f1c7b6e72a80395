//! What has been learnt: cuts, planes below the expected cost of the future.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

/// `intercept + slopes . volumes`, in million $; volumes in hm3.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cut {
    /// The value at empty reservoirs.
    pub intercept: f64,
    /// By reservoir: minus the worth of another hm3.
    pub slopes: Vec<f64>,
}

impl Cut {
    /// The plane through `value` at `volumes`.
    #[must_use]
    pub fn through(value: f64, slopes: Vec<f64>, volumes: &[f64]) -> Self {
        Self {
            intercept: value - dot(&slopes, volumes),
            slopes,
        }
    }

    /// The plane's value.
    #[must_use]
    pub fn at(&self, volumes: &[f64]) -> f64 {
        self.intercept + dot(&self.slopes, volumes)
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The cuts on the cost of what follows each stage. The last stage has none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// By stage, in the order in which they were learnt.
    pub cuts: Vec<Vec<Cut>>,
}

impl Policy {
    /// A policy that knows nothing yet.
    #[must_use]
    pub fn new(stages: usize) -> Self {
        Self {
            cuts: vec![Vec::new(); stages],
        }
    }

    /// How many cuts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cuts.iter().map(Vec::len).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the cuts as CSV, so that reading the numbers back gives the same bits.
    ///
    /// # Errors
    /// What `writer` says.
    pub fn write_csv(&self, writer: &mut impl Write, reservoirs: &[&str]) -> io::Result<()> {
        writeln!(writer, "stage,cut,intercept,{}", reservoirs.join(","))?;
        for (stage, cuts) in self.cuts.iter().enumerate() {
            for (number, cut) in cuts.iter().enumerate() {
                write!(writer, "{},{},{:?}", stage + 1, number + 1, cut.intercept)?;
                for slope in &cut.slopes {
                    write!(writer, ",{slope:?}")?;
                }
                writeln!(writer)?;
            }
        }
        writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::{Cut, Policy};

    #[test]
    fn a_cut_goes_through_its_point() {
        let cut = Cut::through(10.0, vec![-1.0, -0.5], &[2.0, 4.0]);
        assert_eq!((cut.intercept, cut.at(&[2.0, 4.0])), (14.0, 10.0));
    }

    #[test]
    fn the_file_keeps_every_bit() {
        let mut policy = Policy::new(2);
        policy.cuts[0].push(Cut {
            intercept: 0.1 + 0.2,
            slopes: vec![-1e-300],
        });
        let mut file = Vec::new();
        policy.write_csv(&mut file, &["Lake"]).unwrap();
        assert_eq!(
            String::from_utf8(file).unwrap(),
            "stage,cut,intercept,Lake\n1,1,0.30000000000000004,-1e-300\n"
        );
    }
}
