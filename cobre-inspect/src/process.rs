//! What the system says about a process.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt};

use cobre_shm::{NAME_VAR, RANK_VAR};
use procfs::process::{Process, Stat};
use serde::Serialize;

use crate::find;

/// A process of a job.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Facts {
    pub(crate) pid: u32,
    /// The command line, as far as it is text.
    pub(crate) command: String,
    /// `R` runs, `S` sleeps, `D` waits for a device, `T` is stopped, `Z` has ended.
    pub(crate) state: char,
    /// Resident memory and its peak, in bytes.
    pub(crate) resident: u64,
    pub(crate) peak: u64,
    /// CPU time of all threads, in seconds.
    pub(crate) cpu: f64,
    pub(crate) threads: u64,
    /// The processor it ran on last, and those it may run on.
    pub(crate) processor: Option<i32>,
    pub(crate) allowed: Option<String>,
    /// When it started, in seconds since 1970.
    pub(crate) started: f64,
}

/// The facts about process `pid`; `None` if it has gone.
pub(crate) fn facts(pid: u32) -> Option<Facts> {
    let process = Process::new(pid.try_into().ok()?).ok()?;
    let stat = process.stat().ok()?;
    let status = process.status().ok()?;
    let kib = |value: Option<u64>| value.unwrap_or_default() * 1024;
    let allowed = status
        .cpus_allowed_list
        .as_ref()
        .map(|list| show_list(list));
    Some(Facts {
        pid,
        command: process.cmdline().unwrap_or_default().join(" "),
        state: stat.state,
        resident: kib(status.vmrss),
        peak: kib(status.vmhwm),
        cpu: ticks(stat.utime + stat.stime),
        threads: status.threads,
        processor: stat.processor,
        allowed,
        started: started(&stat),
    })
}

/// Whether the numbers that `/proc` shows mean the same processes to the kernel: not if it is mounted
/// from another PID namespace.
pub(crate) fn numbers_are_ours() -> bool {
    Process::myself().is_ok_and(|own| own.pid.cast_unsigned() == std::process::id())
}

fn ticks(ticks: u64) -> f64 {
    ticks as f64 / procfs::ticks_per_second() as f64
}

fn started(stat: &Stat) -> f64 {
    procfs::boot_time_secs().unwrap_or_default() as f64 + ticks(stat.starttime)
}

/// `0-3,8`.
fn show_list(ranges: &[(u32, u32)]) -> String {
    let show = |&(first, last): &(u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    ranges.iter().map(show).collect::<Vec<_>>().join(",")
}

/// The processes that were started as ranks of the job `name`, as their environment says. What a rank
/// starts itself inherits that: the earliest is the rank.
pub(crate) fn started_as_ranks(name: &str) -> BTreeMap<usize, u32> {
    let mut ranks: BTreeMap<usize, (u64, u32)> = BTreeMap::new();
    for pid in find::own_processes() {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let value = |variable: &str| {
            let mut settings = environment.split(|&byte| byte == 0);
            settings.find_map(|setting| {
                let value = setting
                    .strip_prefix(variable.as_bytes())?
                    .strip_prefix(b"=")?;
                str::from_utf8(value).ok()
            })
        };
        let is_of_job = value(NAME_VAR)
            .is_some_and(|theirs| theirs.trim_start_matches('/') == name.trim_start_matches('/'));
        if let (true, Some(Ok(rank))) = (is_of_job, value(RANK_VAR).map(str::parse)) {
            // Numbers are used again, so that they do not tell who came first.
            let process = pid.try_into().ok().and_then(|pid| Process::new(pid).ok());
            let Some(stat) = process.and_then(|process| process.stat().ok()) else {
                continue;
            };
            let this = (stat.starttime, pid);
            let first = ranks.entry(rank).or_insert(this);
            *first = this.min(*first);
        }
    }
    ranks
        .into_iter()
        .map(|(rank, (_, pid))| (rank, pid))
        .collect()
}

/// Whether process `pid` here is in this PID namespace, given by its number (0: any).
pub(crate) fn is_in_namespace(pid: u32, namespace: u64) -> bool {
    namespace == 0 || namespace_of(pid) == namespace
}

/// The number of its PID namespace; 0 if that cannot be read.
fn namespace_of(pid: u32) -> u64 {
    fs::metadata(format!("/proc/{pid}/ns/pid")).map_or(0, |meta| meta.ino())
}

/// The number that the process `inner` of another PID namespace has here, if it is one of `holders`.
pub(crate) fn local_pid(inner: u32, namespace: u64, holders: &[u32]) -> Option<u32> {
    holders.iter().copied().find(|&pid| {
        let process = pid.try_into().ok().and_then(|pid| Process::new(pid).ok());
        let innermost = process.and_then(|process| {
            let last = *process.status().ok()?.nspid?.last()?;
            u32::try_from(last).ok()
        });
        is_in_namespace(pid, namespace) && innermost == Some(inner)
    })
}
