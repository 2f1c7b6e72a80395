//! A job as it is shown: its control segments and its processes, put together.

use std::{
    collections::BTreeMap,
    fs::File,
    time::{SystemTime, UNIX_EPOCH},
};

use cobre_comm_trait::Call;
use cobre_shm::{
    Activity,
    board::{self, Record},
    inspect::{self, JobState, JobView, RankView, Unreadable},
    observer::Membership,
};
use serde::Serialize;

use crate::{
    find::{self, Found},
    memory::{self, Window},
    process::{self, Facts},
    text,
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

/// A job of this user, at a moment.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Job {
    pub(crate) name: String,
    pub(crate) inode: u64,
    pub(crate) state: &'static str,
    /// The first failure, as the ranks are told.
    pub(crate) failure: Option<String>,
    /// The launcher, or rank 0.
    pub(crate) founder: Founder,
    /// Seconds since 1970, and seconds since then; `None` if no process of it runs any more.
    pub(crate) started: Option<f64>,
    pub(crate) uptime: Option<f64>,
    pub(crate) ranks: Vec<Rank>,
    pub(crate) splits: usize,
    pub(crate) memory: Memory,
    pub(crate) layout_version: u32,
}

/// The process that founded a job.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Founder {
    pub(crate) pid: u32,
    pub(crate) is_launcher: bool,
    pub(crate) alive: bool,
    pub(crate) command: String,
}

/// What a job holds of `/dev/shm`.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Memory {
    /// All control segments, with their staging, in bytes.
    pub(crate) control: u64,
    /// Staging among it.
    pub(crate) staging: u64,
    pub(crate) windows: Vec<Window>,
}

/// What a rank does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Doing {
    /// No process has joined as this rank.
    Absent,
    /// It has joined and called nothing yet.
    Starting,
    /// It is outside of collectives.
    Computing,
    /// It is inside a collective and awake.
    Copying,
    /// It sleeps in a collective until a peer arrives.
    Waiting,
    /// It has left.
    Left,
    /// It has left by a panic.
    Panicked,
    /// It has ended the job.
    Aborted,
    /// It joined, and its process is gone.
    Dead,
}

/// One rank.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Rank {
    pub(crate) rank: usize,
    pub(crate) pid: u32,
    pub(crate) doing: Doing,
    /// Collectives begun, over all communicators.
    pub(crate) calls: u64,
    /// The collective it is in, or the last one.
    pub(crate) operation: Option<Operation>,
    pub(crate) waits: Option<Wait>,
    pub(crate) knows_failure: bool,
    /// What it says about itself on the status board.
    pub(crate) said: Option<Said>,
    pub(crate) process: Option<Facts>,
}

/// What a member says about itself on a status board.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Said {
    pub(crate) state: &'static str,
    pub(crate) queue: u64,
    pub(crate) items: u64,
    /// Units done, of how many (0 if that is not known).
    pub(crate) progress: Option<(u64, u64)>,
    pub(crate) text: String,
    /// Seconds since the last update.
    pub(crate) age: f64,
}

impl Said {
    /// `None` if it has never said anything.
    pub(crate) fn of(record: &Record) -> Option<Self> {
        let age = record.load.age(board::now())?;
        Some(Self {
            state: record.load.state.name(),
            queue: record.load.queue,
            items: record.load.items,
            progress: record.progress.map(|units| (units.done, units.total)),
            text: record.text.as_str().to_owned(),
            age: age.as_secs_f64(),
        })
    }

    /// `37/100`, or `37` if nobody knows of how many.
    pub(crate) fn done(&self) -> Option<String> {
        Some(match self.progress? {
            (done, 0) => done.to_string(),
            (done, total) => format!("{done}/{total}"),
        })
    }

    /// Its free text, cleaned.
    pub(crate) fn words(&self) -> String {
        text::clean(&self.text).into_owned()
    }

    /// `37/100 done`, with what else it says.
    pub(crate) fn show(&self) -> String {
        let done = self.done().map(|done| format!("{done} done"));
        let words = Some(self.words()).filter(|words| !words.is_empty());
        let parts: Vec<String> = done.into_iter().chain(words).collect();
        parts.join(", ")
    }
}

/// A collective.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Operation {
    pub(crate) number: u64,
    pub(crate) name: &'static str,
    pub(crate) arguments: String,
    pub(crate) location: Option<String>,
    /// 0: the job's own communicator; else the n-th that was split from it.
    pub(crate) communicator: usize,
}

/// Whom a rank sleeps for.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Wait {
    pub(crate) rank: usize,
    pub(crate) seconds: f64,
}

impl Doing {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Starting => "starting",
            Self::Computing => "computing",
            Self::Copying => "copying",
            Self::Waiting => "waiting",
            Self::Left => "left",
            Self::Panicked => "panicked",
            Self::Aborted => "aborted",
            Self::Dead => "dead",
        }
    }

    pub(crate) const ALL: [Self; 9] = [
        Self::Absent,
        Self::Starting,
        Self::Computing,
        Self::Copying,
        Self::Waiting,
        Self::Left,
        Self::Panicked,
        Self::Aborted,
        Self::Dead,
    ];
}

impl Operation {
    fn new(call: &Call, communicator: usize) -> Self {
        Self {
            number: call.number,
            name: call.operation.name(),
            arguments: call.arguments.clone(),
            location: call.location.clone(),
            communicator,
        }
    }

    /// `allreduce(f64[3], sum) #17`.
    pub(crate) fn show(&self) -> String {
        let Self {
            name,
            arguments,
            number,
            communicator,
            ..
        } = self;
        let split = match communicator {
            0 => String::new(),
            n => format!(" of split {n}"),
        };
        format!("{name}({arguments}) #{number}{split}")
    }
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
        let mut job = self.glance()?;
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

    /// What shared memory alone says, within microseconds.
    pub(crate) fn glance(&self) -> Result<Job, Unreadable> {
        let mut views = Vec::with_capacity(self.files.len());
        for file in &self.files {
            views.push(inspect::read(file)?);
        }
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
        Ok(Job {
            name: self.name.clone(),
            inode: root.inode,
            state,
            failure,
            founder: Founder {
                pid: self.local(root.founder, 0),
                is_launcher: root.launched,
                alive: root.founder_alive,
                command: String::new(),
            },
            started: None,
            uptime: None,
            ranks: (0..root.ranks.len())
                .map(|rank| self.rank(&views, rank))
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
        })
    }

    /// The number here of a process that has another in its own PID namespace.
    fn local(&self, pid: u32, namespace: u64) -> u32 {
        if self.holders.contains(&pid) {
            return pid;
        }
        process::local_pid(pid, namespace, &self.holders).unwrap_or(pid)
    }

    fn rank(&self, views: &[JobView], rank: usize) -> Rank {
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
            pid: self.local(root.pid, root.pid_namespace),
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
}

impl Rank {
    /// Whether its process is stopped by a signal.
    pub(crate) fn is_stopped(&self) -> bool {
        let process = self.process.as_ref();
        process.is_some_and(|facts| facts.state == 'T')
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
