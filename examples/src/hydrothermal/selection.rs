//! Which cuts an LP needs: those that are the highest at some trial state.
//!
//! Most cuts are soon below others wherever the search goes, and every one makes every LP slower.
//! This is the "level 1" rule of V. L. de Matos, A. B. Philpott and E. C. Finardi, "Improving the
//! performance of stochastic dual dynamic programming", *Journal of Computational and Applied
//! Mathematics* 290, 2015, pp. 196-208. The others stay in the policy, and come back if they are
//! the highest at a new trial state. A lower bound stays one with fewer cuts, but it may dip a
//! little from an iteration to the next.

use super::Cut;

/// The trial states of a stage, and the cut that is the highest at each.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    states: Vec<Highest>,
    known: usize,
}

#[derive(Clone, Debug)]
struct Highest {
    state: Vec<f64>,
    cut: usize,
    value: f64,
}

impl Highest {
    /// The older cut wins a tie.
    fn consider(&mut self, first: usize, cuts: &[Cut]) {
        for (number, cut) in cuts.iter().enumerate().skip(first) {
            let value = cut.at(&self.state);
            if value > self.value {
                (self.cut, self.value) = (number, value);
            }
        }
    }
}

impl Selection {
    /// Takes note of the cuts that were added to `cuts`, and of new trial states.
    pub fn update(&mut self, cuts: &[Cut], trials: &[&[f64]]) {
        for old in &mut self.states {
            old.consider(self.known, cuts);
        }
        self.known = cuts.len();
        for trial in trials {
            let mut new = Highest {
                state: trial.to_vec(),
                cut: 0,
                value: f64::NEG_INFINITY,
            };
            new.consider(0, cuts);
            self.states.push(new);
        }
    }

    /// The needed ones of `cuts`, oldest first.
    pub fn of<'a>(&self, cuts: &'a [Cut]) -> impl Iterator<Item = &'a Cut> + use<'a> {
        let mut needed = vec![false; cuts.len()];
        for highest in &self.states {
            needed[highest.cut] = true;
        }
        cuts.iter()
            .zip(needed)
            .filter_map(|(cut, needed)| needed.then_some(cut))
    }
}

#[cfg(test)]
mod tests {
    use super::{Cut, Selection};

    #[test]
    fn only_the_highest_cut_of_each_state_is_kept() {
        let line = |intercept, slope| Cut {
            intercept,
            slopes: vec![slope],
        };
        let mut cuts = vec![line(4.0, -1.0), line(1.0, 0.0)];
        let mut selection = Selection::default();
        selection.update(&cuts, &[&[0.0], &[5.0]]);
        assert_eq!(selection.of(&cuts).count(), 2);
        // Above the first at 0, below the second at 5.
        cuts.push(line(6.0, -2.0));
        selection.update(&cuts, &[&[1.0]]);
        let kept: Vec<&Cut> = selection.of(&cuts).collect();
        assert_eq!(kept, [&cuts[1], &cuts[2]]);
        // The first is the highest at 2.5.
        selection.update(&cuts, &[&[2.5]]);
        assert_eq!(selection.of(&cuts).count(), 3);
    }
}
