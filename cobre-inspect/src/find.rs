//! Finding control segments: by the descriptors that ranks and launchers keep.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::PathBuf,
};

use cobre_shm::inspect;

/// A control segment that a rank or launcher has open.
#[derive(Debug)]
pub(crate) struct Found {
    /// Its name: that of the job, or one that the file system made up.
    pub(crate) name: String,
    /// Reading access.
    pub(crate) file: File,
    /// The processes, as numbered here, that have it open.
    pub(crate) holders: Vec<u32>,
}

/// Where shared-memory objects live.
pub(crate) const SHM: &str = "/dev/shm";

/// Every control segment that a process of this user has open, of whatever version.
pub(crate) fn segments() -> Vec<Found> {
    let mut found: BTreeMap<(u64, u64), Option<Found>> = BTreeMap::new();
    for pid in own_processes() {
        for (path, name) in objects(pid) {
            // The link may dangle by now: the process goes on while we look.
            let Ok(meta) = fs::metadata(&path) else {
                continue;
            };
            let entry = found.entry((meta.dev(), meta.ino()));
            let segment = entry.or_insert_with(|| {
                Some(Found {
                    name,
                    file: inspect::open(&path)?,
                    holders: Vec::new(),
                })
            });
            if let Some(segment) = segment
                && segment.holders.last() != Some(&pid)
            {
                segment.holders.push(pid);
            }
        }
    }
    found.into_values().flatten().collect()
}

/// The processes of this user, by their numbers.
pub(crate) fn own_processes() -> Vec<u32> {
    let me = nix::unistd::geteuid().as_raw();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pid = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    let mut pids: Vec<u32> = entries
        .filter(|entry| entry.metadata().is_ok_and(|meta| meta.uid() == me))
        .filter_map(pid)
        .collect();
    pids.sort_unstable();
    pids
}

/// The shared-memory objects that a process has open to write: the path of the descriptor, and the
/// name. Another inspector has only reading access, and is no part of what it looks at.
fn objects(pid: u32) -> impl Iterator<Item = (PathBuf, String)> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten();
    entries.flatten().filter_map(|entry| {
        // The mode of the link is that of the descriptor (proc_pid_fd(5)).
        if entry.metadata().ok()?.mode() & 0o200 == 0 {
            return None;
        }
        let target = fs::read_link(entry.path()).ok()?;
        let name = object_name(target.to_str()?)?;
        Some((entry.path(), name.to_owned()))
    })
}

/// The name of the object that a link or a mapping names, with its slash.
pub(crate) fn object_name(target: &str) -> Option<&str> {
    let name = target.strip_prefix(SHM)?;
    let name = name.strip_suffix(" (deleted)").unwrap_or(name);
    name.starts_with('/').then_some(name)
}

#[cfg(test)]
mod tests {
    use super::object_name;

    #[test]
    fn objects_are_known_with_and_without_a_name() {
        for (target, name) in [
            ("/dev/shm/cobre-1", Some("/cobre-1")),
            ("/dev/shm/cobre-1 (deleted)", Some("/cobre-1")),
            ("/dev/shm/#1047 (deleted)", Some("/#1047")),
            ("/dev/shmoo", None),
            ("pipe:[77]", None),
        ] {
            assert_eq!(object_name(target), name);
        }
    }
}
