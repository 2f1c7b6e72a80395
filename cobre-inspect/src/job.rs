//! A job as it is shown, at a moment.

use cobre_comm_trait::{Call, Operation as Kind};
use cobre_shm::board::{self, Record};
use serde::Serialize;

use crate::{memory::Window, process::Facts, text};

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
    pub(crate) fn new(call: &Call, communicator: usize) -> Self {
        Self {
            number: call.number,
            name: call.operation.name(),
            arguments: call.arguments.clone(),
            location: call.location.clone(),
            communicator,
        }
    }

    /// Whether another rank that does the same calls `other`.
    pub(crate) fn agrees(&self, other: &Self) -> bool {
        self.name == other.name && self.agreed() == other.agreed()
    }

    /// The arguments that are the same on all ranks: of an allgatherv not each rank's own count.
    fn agreed(&self) -> (&str, &str) {
        let own = self.arguments.split_once('[');
        let own = own.filter(|_| self.name == Kind::Allgatherv.name());
        let around = own.and_then(|(front, rest)| Some((front, rest.split_once(']')?.1)));
        around.unwrap_or((&self.arguments, ""))
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

/// What a rank does, as [`Rank::state`] calls it.
pub(crate) fn states() -> impl Iterator<Item = &'static str> {
    Doing::ALL.map(Doing::name).into_iter().chain([STOPPED])
}

const STOPPED: &str = "stopped";

impl Rank {
    /// What it does, or that its process is stopped.
    pub(crate) fn state(&self) -> &'static str {
        match self.is_stopped() {
            true => STOPPED,
            false => self.doing.name(),
        }
    }

    /// Whether its process is stopped by a signal.
    pub(crate) fn is_stopped(&self) -> bool {
        let process = self.process.as_ref();
        process.is_some_and(|facts| facts.state == 'T')
    }
}

#[cfg(test)]
impl Job {
    /// A job of so many ranks, all of which compute.
    pub(crate) fn example(size: usize) -> Self {
        let rank = |rank: usize| Rank {
            rank,
            pid: 4000 + rank as u32,
            doing: Doing::Computing,
            calls: 17,
            operation: Some(Operation {
                number: 17,
                name: "allreduce",
                arguments: "f64[156], Sum".to_owned(),
                location: Some("src/forward.rs:120".to_owned()),
                communicator: 0,
            }),
            waits: None,
            knows_failure: false,
            said: None,
            process: Some(Facts {
                pid: 4000 + rank as u32,
                state: 'S',
                resident: 12_300_000,
                ..Facts::default()
            }),
        };
        Self {
            name: "/cobre-0123456789abcdef".to_owned(),
            inode: 1,
            state: "running",
            failure: None,
            founder: Founder {
                pid: 1,
                is_launcher: true,
                alive: true,
                command: String::new(),
            },
            started: Some(0.0),
            uptime: Some(61.0),
            ranks: (0..size).map(rank).collect(),
            splits: 0,
            memory: Memory::default(),
            layout_version: 1,
        }
    }
}
