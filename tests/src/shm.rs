//! Jobs of `cobre-shm` whose names no other test uses.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cobre_comm_trait::conformance::{self, Case};
use cobre_shm::{Config, ShmComm};

use crate::{Watchdog, patience, run_ranks};

/// A job name that is used once on this machine.
#[must_use]
pub fn job_name() -> String {
    static USED: AtomicU64 = AtomicU64::new(0);
    let serial = USED.fetch_add(1, Ordering::Relaxed);
    format!("/cobre-test-{}-{serial}", std::process::id())
}

/// Rank `rank` of job `name`, which may take its time to form.
#[must_use]
pub fn config(name: &str, rank: usize, size: usize) -> Config {
    let mut config = Config::new(name, rank, size);
    config.attach_timeout = patience() - Duration::from_secs(5);
    config
}

/// The whole conformance suite.
#[must_use]
pub fn shm_cases() -> Vec<Case<ShmComm>> {
    let cases = conformance::cases().into_iter();
    cases.chain(conformance::pool_cases()).collect()
}

/// Runs `body` on every rank of a job, each on a thread of this process.
///
/// # Panics
/// If the job cannot be formed, if any rank panics, or if the job leaves something behind.
pub fn run_threads<R: Send>(ranks: usize, body: impl Fn(ShmComm, &Watchdog) -> R + Sync) -> Vec<R> {
    run_threads_with(ranks, |_| {}, body)
}

/// As [`run_threads`], with a configuration that `adjust` has changed.
///
/// # Panics
/// As [`run_threads`].
pub fn run_threads_with<R: Send>(
    ranks: usize,
    adjust: impl Fn(&mut Config) + Sync,
    body: impl Fn(ShmComm, &Watchdog) -> R + Sync,
) -> Vec<R> {
    let name = job_name();
    let results = run_ranks(ranks, |rank, watchdog| {
        watchdog.step(rank, "forms the job");
        let mut config = config(&name, rank, ranks);
        adjust(&mut config);
        let comm = ShmComm::form(&config).expect("the job can be formed");
        watchdog.step(rank, "runs");
        body(comm, watchdog)
    });
    assert_eq!(left_behind(&name), [""; 0]);
    results
}

/// The shared-memory object of this name, if it still exists.
#[must_use]
pub fn left_behind(name: &str) -> Vec<String> {
    let wanted = name.trim_start_matches('/');
    let entries = std::fs::read_dir("/dev/shm").into_iter().flatten();
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        // Not a part of it: another test's job may have a number that begins like this one's.
        .filter(|entry| entry == wanted)
        .collect()
}

/// The shared-memory objects whose names jobs have made up for themselves.
#[must_use]
pub fn made_up_names() -> BTreeSet<String> {
    let entries = std::fs::read_dir("/dev/shm").into_iter().flatten();
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|entry| entry.starts_with("cobre-") && !entry.starts_with("cobre-test-"))
        .collect()
}
