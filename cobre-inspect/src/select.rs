//! Which job is meant.

use std::{fs, os::unix::fs::MetadataExt};

use crate::{
    error::Error,
    find::SHM,
    handle::{self, Handle, Unknown},
};

/// The job that `wanted` names, by its name, the front of it, or the number of one of its processes;
/// without a wish the only job there is.
pub(crate) fn job(wanted: Option<&str>) -> Result<Handle, Error> {
    let (mut jobs, unknown) = handle::find();
    let names = || -> Vec<String> { jobs.iter().map(|job| job.name.clone()).collect() };
    let Some(wanted) = wanted else {
        return match jobs.len() {
            0 => Err(Error::NoJobs),
            1 => Ok(jobs.swap_remove(0)),
            _ => Err(Error::WhichJob(names())),
        };
    };
    // As `list` shows it where there is little room.
    let front = wanted.trim_start_matches('/').trim_end_matches('…');
    let name = format!("/{front}");
    let exact = jobs
        .iter()
        .position(|job| job.name == name || job.has_process(wanted));
    let prefixed = || {
        let mut those = (0..jobs.len()).filter(|&job| {
            let bare = jobs[job].name.replacen("/cobre-", "/", 1);
            jobs[job].name.starts_with(&name) || bare.starts_with(&name)
        });
        those.next().filter(|_| those.next().is_none())
    };
    match exact.or_else(prefixed) {
        Some(job) => Ok(jobs.swap_remove(job)),
        None => Err(no_such_job(wanted, &name, names(), &unknown)),
    }
}

fn no_such_job(wanted: &str, name: &str, jobs: Vec<String>, unknown: &[Unknown]) -> Error {
    if let Some(Unknown { why, .. }) = unknown.iter().find(|unknown| unknown.name == name) {
        return Error::Unreadable {
            name: name.to_owned(),
            why: why.clone(),
        };
    }
    let me = nix::unistd::geteuid().as_raw();
    let owner = |path: String| fs::metadata(path).ok().map(|meta| meta.uid());
    let owner = owner(format!("{SHM}{name}")).or_else(|| owner(format!("/proc/{wanted}")));
    match owner.filter(|&owner| owner != me) {
        Some(uid) => Error::Foreign {
            wanted: wanted.to_owned(),
            uid,
        },
        None => Error::NoSuchJob {
            wanted: wanted.to_owned(),
            jobs,
        },
    }
}
