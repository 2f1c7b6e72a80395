//! What every rank is doing at one moment.

mod words;

use std::borrow::Cow;
use std::time::Duration;

use cobre_comm_trait::{Call, Operation, text::count};
use cobre_shm::Activity;
use serde::Serialize;

pub(crate) use words::{describe, diagnose};

use crate::watch::job::Membership;

/// What is said of a rank whose process is stopped.
const STOPPED: &str = "stopped (SIGCONT resumes it)";

/// What one rank is doing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Doing {
    pub(crate) what: What,
    /// Its process is stopped by a signal.
    pub(crate) stopped: bool,
    /// The collective it is in, or the last one it completed.
    pub(crate) operation: Option<OperationView>,
    /// The communicator of that collective, if it is not the job's own.
    pub(crate) split: Option<Place>,
    /// The rank that it waits for.
    pub(crate) waits_for: Option<usize>,
    /// For how long it has waited.
    pub(crate) waited_seconds: Option<f64>,
    /// What its other threads are doing in other communicators.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) also: Vec<Doing>,
}

/// A communicator split from the job's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Place {
    /// From 1, of those that there are.
    pub(crate) number: usize,
    /// Its ranks.
    pub(crate) size: usize,
}

/// A collective, as the report names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct OperationView {
    pub(crate) number: u64,
    pub(crate) name: &'static str,
    pub(crate) arguments: String,
    pub(crate) location: Option<String>,
}

/// In the order in which they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    /// It sleeps in a collective.
    Waiting,
    /// It is in a collective, and does not sleep.
    Calling,
    /// It is between two collectives.
    Computing,
    /// It has joined, and called nothing yet.
    Starting,
    /// It has not joined.
    Absent,
    /// It has left.
    Left,
}

impl Doing {
    pub(crate) fn new(membership: Membership, activity: Activity) -> Self {
        let (what, call, wait) = match (membership, activity) {
            (Membership::Absent, _) => (What::Absent, None, None),
            (Membership::Left, Activity::Computing { last }) => (What::Left, last, None),
            (Membership::Left, Activity::Starting) => (What::Left, None, None),
            // Also of one that has left since: it was told of the failure in there.
            (_, Activity::Waiting { call, peer, time }) => {
                (What::Waiting, call, Some((peer, time)))
            }
            (_, Activity::Calling { call }) => (What::Calling, call, None),
            (_, Activity::Computing { last }) => (What::Computing, last, None),
            _ => (What::Starting, None, None),
        };
        Self {
            what,
            stopped: false,
            operation: call.map(OperationView::new),
            split: None,
            waits_for: wait.map(|(peer, _)| peer),
            waited_seconds: wait.map(|(_, time)| time.as_secs_f64()),
            also: Vec::new(),
        }
    }

    /// Adds what the rank does in a communicator split from the job's, if it is inside a collective
    /// there: in most programs, instead of what it does in the job's own.
    pub(crate) fn or_inside(&mut self, split: Place, activity: Activity) {
        let membership = Membership::Joined { pid: 0 };
        let mut there = Self::new(membership, activity);
        there.split = Some(split);
        if !there.is_inside() {
            return;
        }
        if self.is_inside() {
            self.also.push(there);
        } else {
            *self = there;
        }
    }

    /// Says whether the rank's process is stopped.
    pub(crate) fn set_stopped(&mut self, stopped: bool) {
        self.stopped = stopped;
        self.also.iter_mut().for_each(|one| one.stopped = stopped);
    }

    fn is_inside(&self) -> bool {
        matches!(self.what, What::Waiting | What::Calling)
    }

    /// This, and what the other threads do.
    fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.also)
    }

    /// The collective, and which communicator's.
    fn describe_operation(&self) -> String {
        let operation = self.operation.as_ref().map(OperationView::describe);
        let operation = operation.unwrap_or_else(|| "an operation".to_owned());
        match self.split {
            Some(Place { number, size }) => {
                let ranks = count(size, "rank");
                format!("{operation} of split communicator {number} ({ranks})")
            }
            None => operation,
        }
    }

    /// In words; nothing of whom it waits for, which differs among ranks that do the same.
    fn describe(&self) -> String {
        let operation = self.describe_operation();
        let what = match (self.what, &self.operation) {
            (What::Waiting | What::Calling, _) => format!("in {operation}"),
            (What::Computing, _) => format!("computing after {operation}"),
            (What::Starting, _) => "computing, before the first operation".to_owned(),
            (What::Absent, _) => "not in the job yet".to_owned(),
            (What::Left, Some(_)) => format!("gone after {operation}"),
            (What::Left, None) => "gone".to_owned(),
        };
        match self.stopped {
            true => format!("{STOPPED}, {what}"),
            false => what,
        }
    }
}

impl OperationView {
    fn new(call: Call) -> Self {
        Self {
            number: call.number,
            name: call.operation.name(),
            arguments: call.arguments,
            location: call.location,
        }
    }

    fn describe(&self) -> String {
        let Self {
            number,
            name,
            arguments,
            ..
        } = self;
        let at = self
            .location
            .iter()
            .map(|location| format!(" at {location}"));
        format!(
            "operation {number}: {name}({arguments}){}",
            at.collect::<String>()
        )
    }

    /// Whether `other` is what another rank calls that does the same.
    fn agrees(&self, other: &Self) -> bool {
        self.name == other.name && self.agreed() == other.agreed()
    }

    /// Shows no argument that `other`, which agrees, has differently.
    fn keep_what_agrees(&mut self, other: &Self) {
        if self.arguments != other.arguments {
            self.arguments = self.agreed().into_owned();
        }
    }

    /// The arguments that are the same on all ranks: of an allgatherv not each rank's own count.
    fn agreed(&self) -> Cow<'_, str> {
        let arguments = &self.arguments;
        if self.name == Operation::Allgatherv.name()
            && let (Some(begin), Some(end)) = (arguments.find('['), arguments.find(']'))
        {
            return format!("{}[..{}", &arguments[..begin], &arguments[end..]).into();
        }
        arguments.into()
    }
}

/// How long the rank that has slept longest in a collective has slept.
pub(crate) fn longest_wait(scene: &[Doing]) -> Option<Duration> {
    let all = scene.iter().flat_map(Doing::all);
    let waits = all.filter_map(|doing| doing.waited_seconds);
    waits.max_by(f64::total_cmp).map(Duration::from_secs_f64)
}
