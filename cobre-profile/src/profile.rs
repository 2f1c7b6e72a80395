//! The profile of a job as data.

use std::collections::BTreeMap;
use std::io;

use cobre_comm_trait::{Operation, text::count};
use cobre_shm::recording::{Histogram, RankRecord, SiteRecord};
use serde::{Deserialize, Serialize};

use crate::units::share;

/// What marks the file format.
const FORMAT: &str = "cobre-profile";
/// Changes when a field changes its meaning or goes.
const VERSION: u32 = 2;

/// Where the time of a job went. All times are in nanoseconds.
///
/// *Computing* is outside of collectives; *waiting* is inside, for a peer that has not come; *copying*
/// is the rest: moving and folding payloads, and the protocol.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Profile {
    /// `cobre-profile`.
    pub format: String,
    /// 2.
    pub version: u32,
    /// What was run.
    pub run: Run,
    /// From the first rank's joining until the last one's end.
    pub elapsed_ns: u64,
    /// Per operation and call site, the most time first.
    pub sites: Vec<Site>,
    /// Per rank.
    pub ranks: Vec<Rank>,
    /// What stands out, in sentences: [`verdict`](crate::verdict()).
    pub verdict: Vec<String>,
}

/// What was run.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Run {
    /// The program of the first rank.
    pub program: String,
    /// Cores that the job could use.
    pub cores: usize,
    /// The launcher's exit code.
    pub exit_code: u8,
}

/// All ranks' calls of one operation at one place of the program.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Site {
    /// As it is called: `allreduce`.
    pub operation: String,
    /// `file:line`; `None` for all that the ranks' tables of call sites had no room for.
    pub site: Option<String>,
    /// Collectives: the completed calls of the rank that made the most.
    pub calls: u64,
    /// Bytes that all ranks together contributed.
    pub bytes: u64,
    /// The mean time of a call.
    pub mean_ns: u64,
    /// The time that 99 % of the calls did not exceed, to within a quarter.
    pub p99_ns: u64,
    /// The longest call.
    pub longest_ns: u64,
    /// Time inside, of all ranks together.
    pub time_ns: u64,
    /// The part of it spent waiting.
    pub waiting_ns: u64,
    /// Per rank, how often it came last: found all others there. All 0 for broadcasts.
    pub came_last: Vec<u64>,
    /// Per rank, the time that the others waited in rounds to which it came last.
    pub waited_for_ns: Vec<u64>,
    /// Per rank, by how much it came later than the one before it, of all calls to which it came
    /// last: what would have been saved if it had come with that one.
    pub late_ns: Vec<u64>,
}

impl Site {
    /// The part of the time that was not spent waiting.
    #[must_use]
    pub fn copying_ns(&self) -> u64 {
        self.time_ns.saturating_sub(self.waiting_ns)
    }

    /// The rank whose being last costs most here; `None` if no rank was.
    #[must_use]
    pub fn latest(&self) -> Option<usize> {
        let late = self.late_ns.iter().enumerate();
        let (rank, late) = late.max_by_key(|&(_, late)| late)?;
        (*late > 0).then_some(rank)
    }

    /// The share of the calls to which `rank` came last; `None` where nobody can tell: in broadcasts.
    pub(crate) fn came_last_share(&self, rank: usize) -> Option<String> {
        let is_known = self.came_last.iter().any(|&times| times > 0);
        is_known.then(|| share(self.came_last[rank], self.calls))
    }

    /// The place, for people.
    #[must_use]
    pub fn place(&self) -> &str {
        self.site.as_deref().unwrap_or("(other call sites)")
    }
}

/// One rank.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Rank {
    /// Its number.
    pub rank: usize,
    /// Whether it left the job. A rank that did not was killed; its times end with the last thing it
    /// recorded. A rank that never joined has no times.
    pub left: bool,
    /// When it joined, from the first rank's joining on.
    pub joined_ns: u64,
    /// From its joining until its end.
    pub elapsed_ns: u64,
    /// Outside of collectives.
    pub computing_ns: u64,
    /// In collectives, waiting for a peer.
    pub waiting_ns: u64,
    /// In collectives, the rest.
    pub copying_ns: u64,
    /// Completed calls.
    pub calls: u64,
    /// Bytes that it contributed.
    pub bytes: u64,
    /// Per peer, the time that it waited in rounds to which that peer came last.
    pub waits_ns: Vec<u64>,
    /// The same over its time.
    pub timeline: Timeline,
}

/// Waiting and copying in equal pieces of a rank's time, the rest of which is computing.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Timeline {
    /// The length of a piece; the first begins when the rank joined.
    pub bucket_ns: u64,
    /// Waiting, per piece.
    pub waiting_ns: Vec<u64>,
    /// Copying, per piece.
    pub copying_ns: Vec<u64>,
}

/// Why a text is no profile.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It is no JSON, or lacks what a profile has.
    #[error("not a profile: {0}")]
    Json(#[from] serde_json::Error),
    /// It is something else.
    #[error(
        "not a profile: its format is `{0}`; expected `{FORMAT}`, as `cobre-launch --profile=FILE` writes it"
    )]
    Format(String),
    /// It is of another release.
    #[error("the profile has version {0}, this program reads version {VERSION}")]
    Version(u32),
    /// The lists of ranks contradict each other.
    #[error("not a profile: it is of {}, but {what} has {len}", count(*.ranks, "rank"))]
    Ranks {
        /// The number of ranks.
        ranks: usize,
        /// What differs.
        what: String,
        /// Its length.
        len: usize,
    },
}

impl Profile {
    /// The profile of a job whose ranks recorded this; `None` for a rank that never joined.
    #[must_use]
    pub fn new(run: Run, records: &[Option<RankRecord>]) -> Self {
        let size = records.len();
        let known = || records.iter().flatten();
        let began = known().map(|record| record.began_ns).min().unwrap_or(0);
        let ended = known().map(end).max().unwrap_or(0);
        let ranks = records.iter().enumerate();
        let ranks = ranks.map(|(rank, record)| match record {
            Some(record) => Rank::new(rank, record, began, size),
            None => Rank::absent(rank, size),
        });
        let mut profile = Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            run,
            elapsed_ns: ended - began,
            sites: sites(records),
            ranks: ranks.collect(),
            verdict: Vec::new(),
        };
        profile.verdict = crate::verdict(&profile);
        profile
    }

    /// Reads a profile from JSON, and checks that it is one.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn from_json(text: &str) -> Result<Self, ReadError> {
        #[derive(Deserialize)]
        struct Kind {
            format: String,
            version: u32,
        }
        // First what it is: another version may lack any field.
        let kind: Kind = serde_json::from_str(text)?;
        if kind.format != FORMAT {
            return Err(ReadError::Format(kind.format));
        }
        if kind.version != VERSION {
            return Err(ReadError::Version(kind.version));
        }
        let profile: Self = serde_json::from_str(text)?;
        let ranks = profile.ranks.len();
        let of_sites = profile.sites.iter().flat_map(|site| {
            let name = |what| format!("{what} of {}", site.place());
            [
                (name("came_last"), site.came_last.len()),
                (name("waited_for_ns"), site.waited_for_ns.len()),
                (name("late_ns"), site.late_ns.len()),
            ]
        });
        let of_ranks = profile.ranks.iter();
        let of_ranks = of_ranks.map(|rank| (format!("rank {}", rank.rank), rank.waits_ns.len()));
        match of_sites.chain(of_ranks).find(|(_, len)| *len != ranks) {
            Some((what, len)) => Err(ReadError::Ranks { ranks, what, len }),
            None => Ok(profile),
        }
    }

    /// Writes it as JSON, for people to read as well.
    ///
    /// # Errors
    /// If `out` fails.
    pub fn to_json(&self, mut out: impl io::Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut out, self)?;
        out.write_all(b"\n")
    }

    /// The times of all ranks together.
    #[must_use]
    pub fn total_ns(&self) -> u64 {
        sum(self.ranks.iter().map(|rank| rank.elapsed_ns))
    }
}

/// When the rank ended, or was heard of last.
pub(crate) fn end(record: &RankRecord) -> u64 {
    let end = record.ended_ns.unwrap_or(record.seen_ns);
    end.max(record.began_ns)
}

impl Rank {
    fn new(rank: usize, record: &RankRecord, began: u64, size: usize) -> Self {
        let sum = |of: fn(&SiteRecord) -> u64| sum(record.sites.iter().map(of));
        let elapsed_ns = end(record) - record.began_ns;
        let (inside, waiting_ns) = (sum(|site| site.time_ns), sum(|site| site.waiting_ns));
        let mut waits_ns = vec![0; size];
        for site in &record.sites {
            add(&mut waits_ns, &site.waits_ns);
        }
        Self {
            rank,
            left: record.ended_ns.is_some(),
            joined_ns: record.began_ns - began,
            elapsed_ns,
            computing_ns: elapsed_ns.saturating_sub(inside),
            waiting_ns,
            copying_ns: inside.saturating_sub(waiting_ns),
            calls: sum(|site| site.calls),
            bytes: sum(|site| site.bytes),
            waits_ns,
            timeline: Timeline::new(record, elapsed_ns),
        }
    }

    /// Whether a process has joined as this rank.
    pub(crate) fn has_joined(&self) -> bool {
        self.left || self.elapsed_ns > 0
    }

    fn absent(rank: usize, size: usize) -> Self {
        Self {
            rank,
            left: false,
            joined_ns: 0,
            elapsed_ns: 0,
            computing_ns: 0,
            waiting_ns: 0,
            copying_ns: 0,
            calls: 0,
            bytes: 0,
            waits_ns: vec![0; size],
            timeline: Timeline::default(),
        }
    }
}

impl Timeline {
    /// Without what lies behind the rank's end.
    fn new(record: &RankRecord, elapsed: u64) -> Self {
        let timeline = &record.timeline;
        let used = elapsed.div_ceil(timeline.bucket_ns.max(1)) as usize;
        let pairs = || {
            timeline
                .waiting_ns
                .iter()
                .zip(&timeline.calling_ns)
                .take(used)
        };
        Self {
            bucket_ns: timeline.bucket_ns,
            waiting_ns: pairs().map(|(waiting, _)| *waiting).collect(),
            // A rank killed in a wait has waited, but not finished the call.
            copying_ns: pairs()
                .map(|(waiting, calling)| calling.saturating_sub(*waiting))
                .collect(),
        }
    }
}

fn sites(records: &[Option<RankRecord>]) -> Vec<Site> {
    /// With the calls of each rank, which may have several rows for one place: each copy that the
    /// compiler makes of a generic function has its own.
    type Merged = (Site, Histogram, Vec<u64>);
    let mut merged: BTreeMap<(&str, Option<&str>), Merged> = BTreeMap::new();
    for (rank, record) in records.iter().enumerate() {
        for one in record.iter().flat_map(|record| &record.sites) {
            let key = (one.operation.name(), one.site.as_deref());
            let (site, times, calls) = merged.entry(key).or_insert_with(|| {
                (
                    empty(one.operation, key.1, records.len()),
                    Histogram::default(),
                    vec![0; records.len()],
                )
            });
            site.bytes = site.bytes.saturating_add(one.bytes);
            site.longest_ns = site.longest_ns.max(one.longest_ns);
            site.time_ns = site.time_ns.saturating_add(one.time_ns);
            site.waiting_ns = site.waiting_ns.saturating_add(one.waiting_ns);
            add(&mut site.came_last[rank..=rank], &[one.came_last]);
            add(&mut site.waited_for_ns, &one.waits_ns);
            add(&mut site.late_ns, &one.late_ns);
            times.merge(&one.times);
            add(&mut calls[rank..=rank], &[one.calls]);
        }
    }
    let mut sites: Vec<Site> = merged
        .into_values()
        .map(|(site, times, calls)| Site {
            calls: calls.iter().copied().max().unwrap_or(0),
            mean_ns: site.time_ns / sum(calls.iter().copied()).max(1),
            p99_ns: times.quantile(0.99).min(site.longest_ns),
            ..site
        })
        .collect();
    sites.sort_by_key(|site| core::cmp::Reverse(site.time_ns));
    sites
}

fn empty(operation: Operation, site: Option<&str>, size: usize) -> Site {
    Site {
        operation: operation.name().to_owned(),
        site: site.map(str::to_owned),
        calls: 0,
        bytes: 0,
        mean_ns: 0,
        p99_ns: 0,
        longest_ns: 0,
        time_ns: 0,
        waiting_ns: 0,
        came_last: vec![0; size],
        waited_for_ns: vec![0; size],
        late_ns: vec![0; size],
    }
}

fn add(sums: &mut [u64], more: &[u64]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum = sum.saturating_add(*more);
    }
}

/// Saturating, like all sums here: they are of what ranks, or whoever wrote over their records, say.
pub(crate) fn sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}
