//! All points x all faults, as a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use cobre_comm_trait::conformance::Random;

use super::case::{Case, Judgement, root};
use super::control::Programs;
use super::kind::Fault;
use super::workload::EVERYTHING;

/// Points of a collective.
const CALL: [&str; 7] = [
    "enter",
    "publish",
    "ring",
    "published",
    "sleep",
    "awaited",
    "done",
];

/// Points of forming a job, and who can reach them: rank 0 alone, and if a launcher does it instead.
pub const POINTS: [(&str, Reach); 11] = [
    ("create", Reach::Founder),
    ("created", Reach::Founder),
    ("reserved", Reach::Founder),
    ("founded", Reach::Founder),
    ("open", Reach::Joiner),
    ("mapped", Reach::Joiner),
    ("locked", Reach::Anybody),
    ("occupied", Reach::Anybody),
    ("registered", Reach::Anybody),
    ("unlinked", Reach::RankZero),
    ("formed", Reach::RankZero),
];

/// Who comes to a point of forming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Rank 0, if there is no launcher.
    Founder,
    /// Everybody who does not found the job.
    Joiner,
    /// Everybody.
    Anybody,
    /// Rank 0.
    RankZero,
}

/// Every case at these sizes. `seed` chooses the victims.
#[must_use]
pub fn matrix(sizes: &[usize], launched: &[bool], faults: &[Fault], seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for &ranks in sizes {
        for &launched in launched {
            for (step, point) in places() {
                for &fault in faults {
                    let mut random = Random::new(seed ^ cases.len() as u64);
                    let any = random.below(ranks);
                    let victim = match (step, point) {
                        ("form", point) => match reach(point) {
                            Reach::Founder if launched => continue,
                            Reach::Founder | Reach::RankZero => 0,
                            Reach::Joiner if !launched => 1 + random.below(ranks - 1),
                            Reach::Joiner | Reach::Anybody => any,
                        },
                        (_, "made") => 0,
                        // A broadcast's root waits for nobody.
                        (step, "sleep" | "awaited") => {
                            let root = root(step).unwrap_or(any + 1);
                            (root + 1 + random.below(ranks - 1)) % ranks
                        }
                        _ => any,
                    };
                    // A rank dies before, and one must be left who is told. A launcher would raise
                    // the failure itself.
                    let raise = point.starts_with("raise");
                    if raise && (ranks < 3 || launched || fault == Fault::Stop) {
                        continue;
                    }
                    cases.push(Case {
                        ranks,
                        launched,
                        step,
                        point,
                        fault,
                        victim,
                        seed: random.word(),
                    });
                }
            }
        }
    }
    cases
}

fn reach(point: &str) -> Reach {
    let known = POINTS.iter().find(|(name, _)| *name == point);
    known.map_or(Reach::Anybody, |(_, reach)| *reach)
}

fn places() -> Vec<(&'static str, &'static str)> {
    let mut places: Vec<_> = POINTS.iter().map(|(point, _)| ("form", *point)).collect();
    for (step, _) in EVERYTHING {
        if step == "unsplit" {
            continue;
        }
        places.extend(CALL.map(|point| (step, point)));
        if ["create", "split"].contains(&step) {
            places.extend(["made", "attach"].map(|point| (step, point)));
        }
        if ["barrier", "publish"].contains(&step) {
            places.extend(["raise", "raised"].map(|point| (step, point)));
        }
    }
    places.extend(["leave", "left"].map(|point| ("leave", point)));
    places
}

/// Outcomes by point and fault.
#[derive(Debug, Default)]
pub struct Table {
    cells: BTreeMap<(bool, usize, Fault), Vec<Judgement>>,
    failures: Vec<(Case, String)>,
    names: Vec<(&'static str, &'static str)>,
}

impl Table {
    /// Runs the cases, `at_once` of them at a time.
    ///
    /// # Panics
    /// If a thread does.
    pub fn run(programs: &Programs, cases: &[Case], at_once: usize) -> Self {
        let table = Mutex::new(Self {
            names: places(),
            ..Self::default()
        });
        let queue = Mutex::new(cases.iter());
        std::thread::scope(|scope| {
            for _ in 0..at_once {
                scope.spawn(|| {
                    loop {
                        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                        let Some(case) = next else { return };
                        let ran = catch_unwind(AssertUnwindSafe(|| case.run(programs)));
                        let outcome = ran.unwrap_or_else(|panic| {
                            let text = panic.downcast_ref::<String>().cloned();
                            Err(text.unwrap_or_else(|| "the harness panicked".to_owned()))
                        });
                        table
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .add(case, outcome);
                    }
                });
            }
        });
        table.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&mut self, case: &Case, outcome: Result<Judgement, String>) {
        match outcome {
            Ok(judgement) => {
                let place = (case.step, case.point);
                let row = self.names.iter().position(|name| *name == place);
                let cell = (case.launched, row.unwrap_or_default(), case.fault);
                self.cells.entry(cell).or_default().push(judgement);
            }
            Err(why) => self.failures.push((case.clone(), why)),
        }
    }

    /// Cases that did not go as they must, and why.
    #[must_use]
    pub fn failures(&self) -> &[(Case, String)] {
        &self.failures
    }

    /// The table in Markdown, without a launcher or with one: outcome, median and longest latency.
    #[must_use]
    pub fn markdown(&self, launched: bool, faults: &[Fault]) -> String {
        let mut text = "| step | point |".to_owned();
        for fault in faults {
            let _ = write!(text, " {} |", fault.name());
        }
        text += &format!("\n|---|---|{}\n", "---|".repeat(faults.len()));
        for (row, (step, point)) in self.names.iter().enumerate() {
            let cells: Vec<String> = faults
                .iter()
                .map(|&fault| {
                    let failed = self.failures.iter().filter(|(case, _)| {
                        (case.launched, case.step, case.point, case.fault)
                            == (launched, *step, *point, fault)
                    });
                    cell(self.cells.get(&(launched, row, fault)), failed.count())
                })
                .collect();
            if cells.iter().any(|cell| !cell.is_empty()) {
                let _ = writeln!(text, "| {step} | {point} | {} |", cells.join(" | "));
            }
        }
        text
    }

    /// Latencies of being told, without a launcher or with one.
    #[must_use]
    pub fn latencies(&self, launched: bool) -> Vec<Duration> {
        let cells = self.cells.iter().filter(|((by, ..), _)| *by == launched);
        let all = cells
            .flat_map(|(_, judged)| judged)
            .filter_map(|judged| match judged {
                Judgement::Told(after) => Some(*after),
                _ => None,
            });
        all.collect()
    }
}

fn cell(judged: Option<&Vec<Judgement>>, failed: usize) -> String {
    let mut parts = Vec::new();
    let judged = judged.map_or(&[][..], Vec::as_slice);
    let times = |which: fn(&Judgement) -> Option<Duration>| {
        let mut times: Vec<Duration> = judged.iter().filter_map(which).collect();
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied();
        median.map(|median| {
            (
                median.as_secs_f64() * 1e3,
                times[times.len() - 1].as_secs_f64() * 1e3,
            )
        })
    };
    let told = times(|judged| match judged {
        Judgement::Told(after) => Some(*after),
        _ => None,
    });
    let refused = times(|judged| match judged {
        Judgement::Refused(after) => Some(*after),
        _ => None,
    });
    for (what, times) in [("told", told), ("refused", refused)] {
        if let Some((median, most)) = times {
            parts.push(format!("{what} {median:.1} ({most:.1})"));
        }
    }
    for (what, which) in [
        ("fine", Judgement::Unharmed),
        ("not reached", Judgement::NotReached),
    ] {
        if judged.contains(&which) {
            parts.push(what.to_owned());
        }
    }
    if failed > 0 {
        parts.push(format!("**{failed} wrong**"));
    }
    parts.join(", ")
}
