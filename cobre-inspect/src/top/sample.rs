//! Where the time of each rank goes, estimated by looking often.

use std::time::Instant;

use crate::{
    error::Error,
    handle::Handle,
    job::{Doing, Job},
    process::Facts,
};

/// Of the looks at a rank, how many found it where.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Shares {
    pub(super) compute: u32,
    pub(super) copy: u32,
    pub(super) wait: u32,
}

impl Shares {
    fn count(&mut self, doing: Doing) {
        match doing {
            Doing::Starting | Doing::Computing => self.compute += 1,
            Doing::Copying => self.copy += 1,
            Doing::Waiting => self.wait += 1,
            _ => {}
        }
    }

    /// Compute, copy and wait as shares of 1; all 0 if nothing was seen.
    pub(super) fn fractions(self) -> [f64; 3] {
        let parts = [self.compute, self.copy, self.wait].map(f64::from);
        let all = parts.iter().sum::<f64>().max(1.0);
        parts.map(|part| part / all)
    }
}

/// A rank's numbers over the last interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rates {
    pub(super) shares: Shares,
    /// Collectives per second.
    pub(super) calls: f64,
    /// Processors used.
    pub(super) cpu: f64,
}

/// What is drawn.
#[derive(Clone, Debug)]
pub(super) struct Picture {
    pub(super) job: Job,
    /// By rank.
    pub(super) rates: Vec<Rates>,
    pub(super) ended: bool,
}

/// Looks at one job.
#[derive(Debug)]
pub(super) struct Sampler {
    /// `None` once the job has ended, so that its memory is not held.
    handle: Option<Handle>,
    shares: Vec<Shares>,
    last: Picture,
    since: Instant,
}

impl Sampler {
    pub(super) fn new(handle: Handle) -> Result<Self, Error> {
        let job = handle.look()?;
        let ranks = job.ranks.len();
        Ok(Self {
            handle: Some(handle),
            shares: vec![Shares::default(); ranks],
            last: Picture {
                job,
                rates: vec![Rates::default(); ranks],
                ended: false,
            },
            since: Instant::now(),
        })
    }

    /// The process of `rank` now, which takes part in the job.
    pub(super) fn process(&self, rank: usize) -> Option<Facts> {
        let mut job = self.handle.as_ref()?.look().ok()?;
        job.ranks[rank].process.take()
    }

    /// Looks once, at shared memory only.
    pub(super) fn look(&mut self) {
        let Some(Ok(job)) = self.handle.as_ref().map(Handle::glance) else {
            return;
        };
        for (shares, rank) in self.shares.iter_mut().zip(&job.ranks) {
            shares.count(rank.doing);
        }
    }

    /// The job now, with the rates since the last time.
    pub(super) fn refresh(&mut self) -> Picture {
        self.look();
        let seen = self.handle.as_ref().and_then(|handle| handle.look().ok());
        let job = match seen {
            Some(job) if is_alive(&job) => job,
            seen => return self.end(seen),
        };
        let elapsed = self.since.elapsed().as_secs_f64().max(1e-3);
        self.since = Instant::now();
        let rates = job
            .ranks
            .iter()
            .zip(&self.last.job.ranks)
            .zip(&mut self.shares);
        let rates = rates
            .map(|((now, before), shares)| {
                let cpu = |rank: &crate::job::Rank| rank.process.as_ref().map(|facts| facts.cpu);
                let cpu = cpu(now)
                    .zip(cpu(before))
                    .map_or(0.0, |(now, before)| now - before);
                Rates {
                    shares: std::mem::take(shares),
                    calls: now.calls.saturating_sub(before.calls) as f64 / elapsed,
                    cpu: cpu.max(0.0) / elapsed,
                }
            })
            .collect();
        self.last = Picture {
            job,
            rates,
            ended: false,
        };
        self.last.clone()
    }

    /// The last picture, of a job that nobody is left of: how it ended stands in its memory, which a
    /// descriptor has kept until now; about processes there is only what was seen before.
    fn end(&mut self, seen: Option<Job>) -> Picture {
        if let Some(mut job) = seen {
            for (rank, before) in job.ranks.iter_mut().zip(&mut self.last.job.ranks) {
                rank.process = before.process.take();
            }
            job.uptime = self.last.job.uptime;
            self.last.job = job;
        }
        self.handle = None;
        self.last.ended = true;
        self.last.clone()
    }
}

/// Whether anybody of the job is left.
fn is_alive(job: &Job) -> bool {
    job.founder.alive
        || job
            .ranks
            .iter()
            .any(|rank| rank.process.is_some() && rank.doing != Doing::Dead)
}

#[cfg(test)]
mod tests {
    use super::Shares;
    use crate::job::Doing;

    #[test]
    fn shares_add_up() {
        let mut shares = Shares::default();
        assert_eq!(shares.fractions(), [0.0; 3]);
        for doing in [
            Doing::Computing,
            Doing::Computing,
            Doing::Copying,
            Doing::Waiting,
            Doing::Left,
        ] {
            shares.count(doing);
        }
        assert_eq!(shares.fractions(), [0.5, 0.25, 0.25]);
    }
}
