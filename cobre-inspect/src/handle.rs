//! A job as it is read: from its control segments, and from what the system says of its processes.

use std::{
    collections::BTreeMap,
    fs::File,
    time::{SystemTime, UNIX_EPOCH},
};

use cobre_comm_trait::Call;
use cobre_shm::{
    Activity,
    inspect::{self, JobState, JobView, RankView, Unreadable},
    observer::Membership,
};
use serde::Serialize;

use crate::{
    find::{self, Found},
    job::{Doing, Founder, Job, Memory, Operation, Rank, Said, Wait},
    memory::{self, Window},
    process,
};

/// The control segments of one job, open.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) name: String,
    /// The job's own, then those of communicators split from it.
    files: Vec<File>,
    holders: Vec<u32>,
}

/// A segment that cannot be understood.
#[derive(Debug, Serialize)]
pub(crate) struct Unknown {
    pub(crate) name: String,
    pub(crate) why: String,
    /// The processes that have it open.
    pub(crate) holders: Vec<u32>,
}

/// Every job of this user, and what cannot be understood.
pub(crate) fn find() -> (Vec<Handle>, Vec<Unknown>) {
    let mut jobs: BTreeMap<u64, Handle> = BTreeMap::new();
    let mut splits = Vec::new();
    let mut unknown = Vec::new();
    for Found {
        name,
        file,
        holders,
    } in find::segments()
    {
        match inspect::read(&file) {
            Err(error) => unknown.push(Unknown {
                name,
                why: error.to_string(),
                holders,
            }),
            Ok(view) if view.split_from.is_some() => splits.push((view, file)),
            Ok(view) => {
                let files = vec![file];
                let job = Handle {
                    name,
                    files,
                    holders,
                };
                jobs.insert(view.inode, job);
            }
        }
    }
    attach(&mut jobs, splits);
    (jobs.into_values().collect(), unknown)
}

/// Gives each split communicator to the job that it comes from, through others if need be.
fn attach(jobs: &mut BTreeMap<u64, Handle>, splits: Vec<(JobView, File)>) {
    let parents: BTreeMap<u64, u64> = splits
        .iter()
        .filter_map(|(view, _)| Some((view.inode, view.split_from?)))
        .collect();
    for (view, file) in splits {
        let mut root = view.inode;
        // Bounded, because what was read may be a circle.
        for _ in 0..=parents.len() {
            match parents.get(&root) {
                Some(&parent) => root = parent,
                None => break,
            }
        }
        if let Some(job) = jobs.get_mut(&root) {
            job.files.push(file);
        }
    }
}

impl Handle {
    /// The job now.
    pub(crate) fn look(&self) -> Result<Job, Unreadable> {
        let views = self.views()?;
        let mut job = self.job(&views);
        job.founder.pid = self.local(views[0].founder, 0);
        for (rank, seen) in job.ranks.iter_mut().zip(&views[0].ranks) {
            rank.pid = self.local(seen.pid, seen.pid_namespace);
        }
        if job.state == "forming" {
            // Shared memory knows of no process before it joins.
            let started = process::started_as_ranks(&job.name);
            for rank in job.ranks.iter_mut().filter(|rank| rank.pid == 0) {
                rank.pid = started.get(&rank.rank).copied().unwrap_or(0);
            }
        }
        for rank in &mut job.ranks {
            rank.process = process::facts(rank.pid).filter(|_| rank.pid != 0);
        }
        let founder = process::facts(job.founder.pid);
        let oldest = job.ranks.iter().filter_map(|rank| rank.process.as_ref());
        let oldest = founder.iter().chain(oldest).map(|facts| facts.started);
        job.started = oldest.min_by(f64::total_cmp);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs_f64();
        job.uptime = job.started.map(|started| (now - started).max(0.0));
        job.founder.command = founder.map(|facts| facts.command).unwrap_or_default();
        Ok(job)
    }

    /// Whether `pid` is the number of a process that has the job open.
    pub(crate) fn has_process(&self, pid: &str) -> bool {
        pid.parse().is_ok_and(|pid| self.holders.contains(&pid))
    }

    /// The windows that the ranks of `job` have mapped.
    pub(crate) fn windows(&self, job: &Job) -> Vec<Window> {
        use std::os::unix::fs::MetadataExt;
        let own = |file: &File| file.metadata().map_or(0, |meta| meta.ino());
        let own: Vec<u64> = self.files.iter().map(own).collect();
        let mut pids: Vec<u32> = job.ranks.iter().map(|rank| rank.pid).collect();
        pids.sort_unstable();
        // Several ranks may live in one process.
        pids.dedup();
        memory::windows(&pids, &own)
    }

    /// What shared memory alone says, within microseconds: who is which process it does not know.
    pub(crate) fn glance(&self) -> Result<Job, Unreadable> {
        Ok(self.job(&self.views()?))
    }

    fn views(&self) -> Result<Vec<JobView>, Unreadable> {
        self.files.iter().map(inspect::read).collect()
    }

    fn job(&self, views: &[JobView]) -> Job {
        let root = &views[0];
        let (state, failure) = match &root.state {
            JobState::Forming => ("forming", None),
            JobState::Failed { cause, formed } => {
                let state = if *formed { "failed" } else { "not formed" };
                (state, Some(cause.to_string()))
            }
            _ if root.ranks.iter().any(is_here) => ("running", None),
            _ => ("ended", None),
        };
        Job {
            name: self.name.clone(),
            inode: root.inode,
            state,
            failure,
            founder: Founder {
                pid: 0,
                is_launcher: root.launched,
                alive: root.founder_alive,
                command: String::new(),
            },
            started: None,
            uptime: None,
            ranks: (0..root.ranks.len())
                .map(|number| rank(views, number))
                .collect(),
            splits: views.len() - 1,
            memory: Memory {
                control: views.iter().map(|view| view.control_bytes).sum(),
                staging: views
                    .iter()
                    .map(|view| 2 * view.slot_bytes * view.ranks.len() as u64)
                    .sum(),
                windows: Vec::new(),
            },
            layout_version: root.layout_version,
        }
    }

    /// The number here of the process that calls itself `pid` in its PID namespace (0: not said which),
    /// if it takes part in the job; else 0: it may be another process's by now, or here.
    fn local(&self, pid: u32, namespace: u64) -> u32 {
        let takes_part = |pid: &u32| find::has_open(*pid, &self.files[0]);
        if process::is_in_namespace(pid, namespace) && takes_part(&pid) {
            return pid;
        }
        let elsewhere = process::local_pid(pid, namespace, &self.holders);
        elsewhere.filter(takes_part).unwrap_or(0)
    }
}

fn rank(views: &[JobView], rank: usize) -> Rank {
    let root = &views[0].ranks[rank];
    // In the communicator in which it is busy; else in the job's own.
    let seen = views.iter().map(|view| view.ranks.get(rank));
    let inside = |seen: &RankView| {
        matches!(
            seen.activity,
            Activity::Calling { .. } | Activity::Waiting { .. }
        )
    };
    let busy = seen
        .clone()
        .enumerate()
        .find_map(|(at, seen)| seen.filter(|seen| inside(seen)).map(|seen| (at, seen)));
    let (communicator, active) = busy.unwrap_or((0, root));
    let (doing, call, waits) = activity(&active.activity);
    Rank {
        rank,
        pid: 0,
        doing: match root.membership {
            Membership::Joined { .. } if !root.is_alive => Doing::Dead,
            Membership::Joined { .. } => doing,
            Membership::Left => Doing::Left,
            Membership::Panicked => Doing::Panicked,
            Membership::Aborted => Doing::Aborted,
            _ => Doing::Absent,
        },
        calls: seen
            .flatten()
            .map(|seen| seen.calls)
            .fold(0, u64::saturating_add),
        operation: call.map(|call| Operation::new(call, communicator)),
        waits,
        knows_failure: root.saw_failure,
        said: root.record.as_ref().and_then(Said::of),
        process: None,
    }
}

/// Whether the rank has joined, and its process is still there.
fn is_here(rank: &RankView) -> bool {
    matches!(rank.membership, Membership::Joined { .. }) && rank.is_alive
}

fn activity(activity: &Activity) -> (Doing, Option<&Call>, Option<Wait>) {
    match activity {
        Activity::Computing { last } => (Doing::Computing, last.as_ref(), None),
        Activity::Calling { call } => (Doing::Copying, call.as_ref(), None),
        Activity::Waiting { call, peer, time } => {
            let wait = Wait {
                rank: *peer,
                seconds: time.as_secs_f64(),
            };
            (Doing::Waiting, call.as_ref(), Some(wait))
        }
        _ => (Doing::Starting, None, None),
    }
}
