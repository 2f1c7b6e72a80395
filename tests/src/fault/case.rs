//! One fault at one point: run it, judge it.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::control::{Ambush, Programs, Ranks, exists, send};
use super::kind::Fault;
use super::told::{Named, Told};
use super::workload::{EVERYTHING, Step};
use crate::End;

/// A rank that fails at a point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The job's size.
    pub ranks: usize,
    /// Whether a launcher starts the job.
    pub launched: bool,
    /// In which step of the workload: `form`, one of [`super::EVERYTHING`], or `leave`.
    pub step: &'static str,
    /// At which point of it.
    pub point: &'static str,
    /// What happens there.
    pub fault: Fault,
    /// To whom.
    pub victim: usize,
    /// For what is random in it.
    pub seed: u64,
}

/// What came of a case that went as it must.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Every survivor was told of the victim; how long that took at most.
    Told(Duration),
    /// No survivor could join; how long that took at most.
    Refused(Duration),
    /// Nobody needed the victim any more, or it was not harmed.
    Unharmed,
    /// The rank never came to the point, and all went well.
    NotReached,
}

/// What ranks end with after they were told of a failure, and if they could not join.
const TOLD: i32 = 3;
const REFUSED: i32 = 4;

impl Case {
    /// Whether the fault falls while the job forms.
    fn forming(&self) -> bool {
        self.step == "form"
    }

    /// Whether the rank has nothing more to publish that others wait for.
    fn needless(&self) -> bool {
        self.step == "leave" || self.step == "last" && !["enter", "publish"].contains(&self.point)
    }

    /// Whether the name may stay until the next sweep: the founder is dead, and had not removed it.
    pub fn may_leave_name(&self) -> bool {
        self.forming() && !self.launched && self.victim == 0 && self.fault != Fault::Stop
    }

    /// A rank that dies first, so that the victim has a failure to raise.
    fn dead(&self) -> Option<usize> {
        self.point
            .starts_with("raise")
            .then_some((self.victim + 1) % self.ranks)
    }

    /// Ranks that come late, so that the victim falls asleep, or is the only one to raise a failure.
    fn late(&self) -> Vec<usize> {
        let next = (self.victim + 1) % self.ranks;
        match self.point {
            // Only the root is waited for in a broadcast.
            "sleep" => vec![root(self.step).unwrap_or(next)],
            "raise" | "raised" => {
                let others = (0..self.ranks).filter(|&rank| rank != self.victim && rank != next);
                others.collect()
            }
            _ => Vec::new(),
        }
    }

    /// Runs it.
    ///
    /// # Errors
    /// What did not go as it must.
    ///
    /// # Panics
    /// If something hangs: see [`crate::patience`].
    pub fn run(&self, programs: &Programs) -> Result<Judgement, String> {
        let enter = |rank| Ambush::new(rank, self.step, "enter");
        let ambush = Ambush::new(self.victim, self.step, self.point);
        let dead = self.dead().map(enter);
        let late: Vec<Ambush> = self.late().into_iter().map(enter).collect();
        let ambushes: Vec<&Ambush> = [&ambush].into_iter().chain(&dead).chain(&late).collect();
        // Ranks that wait for somebody who never comes wait as long as they are told to.
        let attach = if self.forming() && self.fault != Fault::Stop {
            "2"
        } else {
            "50"
        };
        let variables = [("COBRE_SHM_ATTACH_TIMEOUT", attach.to_owned())];
        let work = ["everything".to_owned()];
        let job = (self.ranks, self.launched);
        let mut ranks = Ranks::start(programs, job, &work, &variables, &ambushes);
        let pids = ranks.pids();
        if let Some(dead) = &dead
            && let Some(caught) = dead.wait(&mut ranks)
        {
            caught.suffer(Fault::Kill, 0);
        }
        let mut at = None;
        if let Some(caught) = ambush.wait(&mut ranks) {
            let victim = caught.pid;
            at = Some(caught.suffer(self.fault, self.seed));
            if self.fault == Fault::Stop {
                let others: Vec<u32> = pids.iter().copied().filter(|&pid| pid != victim).collect();
                Ranks::until_quiet(&others);
                send(victim, Signal::SIGCONT);
            }
        }
        for late in &late {
            if let Some(caught) = late.wait(&mut ranks) {
                caught.go_on();
            }
        }
        let ends = ranks.end();
        let heard = ranks.heard();
        let told: Vec<Told> = (0..self.ranks).map(|rank| Told::by(rank, &heard)).collect();
        let names = ranks.take_names();
        let judged = self.judge(at, &ends, &told).and_then(|judgement| {
            if let Some(pid) = pids.iter().find(|pid| exists(**pid)) {
                return Err(format!("process {pid} is left"));
            }
            if !names.is_empty() && !self.may_leave_name() {
                return Err(format!("{names:?} is left in /dev/shm"));
            }
            Ok(judgement)
        });
        judged.map_err(|why| format!("{why}; ends {ends:?}; they wrote\n{heard}"))
    }

    fn judge(&self, at: Option<u64>, ends: &[End], told: &[Told]) -> Result<Judgement, String> {
        let survivors: Vec<usize> = (0..self.ranks)
            .filter(|&rank| rank != self.victim && Some(rank) != self.dead())
            .collect();
        if at.is_none() && self.dead().is_some() {
            return Err("nobody had to raise the failure".to_owned());
        }
        if at.is_none() || self.fault == Fault::Stop {
            all(told, |told| told.finished, "not all have finished")?;
            self.ended(ends, told, 0, 0)?;
            return Ok(if at.is_none() {
                Judgement::NotReached
            } else {
                Judgement::Unharmed
            });
        }
        let knew = survivors.iter().filter_map(|&rank| told[rank].knew()).max();
        let latency = Duration::from_nanos(knew.unwrap_or(0).saturating_sub(at.unwrap_or(0)));
        let those = |what: fn(&Told) -> bool| survivors.iter().filter(move |&&r| what(&told[r]));
        if self.forming() && those(|told| told.error.is_some()).count() == 0 {
            // Under a launcher, who has not joined yet may be ended before it can say anything.
            let unheard = those(|told| told.refused.is_none()).count();
            if unheard > 0 && !self.launched || those(|told| told.joined).count() > 0 {
                return Err("a survivor was not refused".to_owned());
            }
            self.ended(ends, told, self.fault.exit_code(), REFUSED)?;
            return Ok(Judgement::Refused(latency));
        }
        let mut first: Option<Named> = None;
        for &rank in &survivors {
            let corrupt = self.fault == Fault::Corrupt;
            if told[rank].wrong && !corrupt {
                return Err(format!("rank {rank} received what nobody sent"));
            }
            let Some((_, _, error)) = &told[rank].error else {
                if told[rank].wrong {
                    // What was overwritten after it had been published is not checked.
                    continue;
                }
                if told[rank].finished && self.needless() {
                    continue;
                }
                return Err(format!("rank {rank} was not told"));
            };
            if corrupt {
                // It may have said anything of itself before it died; an error it must be.
                continue;
            }
            let named = Named::in_error(error);
            let named = named.ok_or_else(|| format!("rank {rank} was told {error}"))?;
            let again = told[rank].again.as_deref().and_then(Named::in_error);
            if again.as_ref() != Some(&named) {
                let why = format!("rank {rank} was told something else at its next call");
                return Err(why);
            }
            self.explained(&named, told)?;
            if first.as_ref().is_some_and(|first| *first != named) {
                return Err("the ranks were told different things".to_owned());
            }
            first = Some(named);
        }
        if survivors.iter().all(|&rank| told[rank].finished) {
            self.ended(ends, told, self.fault.exit_code(), 0)?;
            return Ok(Judgement::Unharmed);
        }
        self.ended(ends, told, self.fault.exit_code(), TOLD)?;
        Ok(Judgement::Told(latency))
    }

    /// Whether this is the truth about the victim, or about who died before it.
    fn explained(&self, named: &Named, told: &[Told]) -> Result<(), String> {
        let fault = match named.rank == self.victim {
            true => Some(self.fault),
            false => self
                .dead()
                .filter(|&dead| dead == named.rank)
                .map(|_| Fault::Kill),
        };
        let known = fault.is_some_and(|fault| fault.explains(self.launched, &named.cause));
        if known && told[named.rank].pid == Some(named.pid) {
            return Ok(());
        }
        Err(format!("{named:?} is not what happened"))
    }

    /// Whether everybody ended as it must: the launcher with `cause`; without one the victim by its
    /// fault, and each survivor with 0 or `survivors`.
    fn ended(&self, ends: &[End], told: &[Told], cause: i32, survivors: i32) -> Result<(), String> {
        if self.launched {
            let right = ends == [End::Code(cause)];
            return right
                .then_some(())
                .ok_or(format!("the launcher did not end with {cause}"));
        }
        for (rank, &end) in ends.iter().enumerate() {
            let code = match end {
                End::Code(code) => code,
                End::Signal(signal) => 128 + signal,
            };
            let right = match rank {
                rank if rank == self.victim => code == cause,
                rank if Some(rank) == self.dead() => code == Fault::Kill.exit_code(),
                _ if told[rank].wrong => true,
                _ => [0, survivors].contains(&code),
            };
            if !right {
                return Err(format!("rank {rank} ended by {end:?}"));
            }
        }
        Ok(())
    }
}

/// The root of this step's broadcast.
pub(super) fn root(step: &str) -> Option<usize> {
    let known = EVERYTHING.iter().find(|(name, _)| *name == step);
    match known?.1 {
        Step::Broadcast { root, .. } => Some(root),
        _ => None,
    }
}

fn all(told: &[Told], right: impl Fn(&Told) -> bool, otherwise: &str) -> Result<(), String> {
    told.iter()
        .all(right)
        .then_some(())
        .ok_or_else(|| otherwise.to_owned())
}
