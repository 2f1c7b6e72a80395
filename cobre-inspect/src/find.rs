//! Finding control segments: by the descriptors that ranks and launchers keep.

use std::{
    collections::{BTreeMap, btree_map::Entry},
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
    // `None`: what is no control segment.
    let mut found: BTreeMap<(u64, u64), Option<Found>> = BTreeMap::new();
    for pid in own_processes() {
        for (path, name) in objects(pid) {
            // The link may dangle by now: the process goes on while we look.
            let Ok(meta) = fs::metadata(&path) else {
                continue;
            };
            let segment = match found.entry((meta.dev(), meta.ino())) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let segment = inspect::open(&path).map(|file| Found {
                        name,
                        file,
                        holders: Vec::new(),
                    });
                    if segment.is_none() && !path.exists() {
                        // Its process has closed it meanwhile; another may have it open.
                        continue;
                    }
                    new.insert(segment)
                }
            };
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

/// Whether process `pid` has the segment `file` open to write, as those have who take part in its job.
pub(crate) fn has_open(pid: u32, file: &File) -> bool {
    let Ok(wanted) = file.metadata() else {
        return false;
    };
    let is_wanted = |meta: fs::Metadata| (meta.dev(), meta.ino()) == (wanted.dev(), wanted.ino());
    let mut objects = objects(pid);
    pid != 0 && objects.any(|(path, _)| fs::metadata(path).is_ok_and(is_wanted))
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
    use super::{SHM, has_open, object_name};
    use std::fs::{self, File};

    /// A number alone does not make a process one of a job.
    #[test]
    fn who_has_a_segment_open_to_write_takes_part() {
        let own = std::process::id();
        let path = format!("{SHM}/cobre-test-{own}-held");
        let written = File::create(&path).unwrap();
        let read = File::open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(has_open(own, &read));
        assert!(!has_open(0, &read));
        drop(written);
        assert!(!has_open(own, &read));
    }

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
