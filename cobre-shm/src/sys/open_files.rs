//! Which process has what open, as far as `/proc` shows it to this user.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{
    ancestry, lock,
    ours::{self, Access},
    shm,
};

/// This process, or the nearest of those it descends from, that takes part in the job of this name,
/// which has formed.
pub(crate) fn member_above(name: &str) -> Option<u32> {
    let removed = PathBuf::from(format!("{}{name} (deleted)", shm::FOLDER));
    let takes_part = |path: PathBuf| {
        fs::read_link(&path).is_ok_and(|to| to == removed) && has_a_rank(&path).unwrap_or(false)
    };
    ancestry::line().find(|&pid| descriptors(pid).any(takes_part))
}

/// Whether a rank lives in the job whose segment `link` leads to. A process that removes an abandoned
/// segment has it open too, and so does a founder whose segment is removed before it is locked: neither
/// of these segments has ranks.
fn has_a_rank(link: &Path) -> io::Result<bool> {
    let segment = ours::open_held(link, Access::Read)?;
    lock::is_any_held(&segment, lock::FOUNDER)
}

/// Whether process `pid` has the object `file` open.
pub(crate) fn has_open(pid: u32, file: &File) -> bool {
    let Ok(wanted) = file.metadata() else {
        return false;
    };
    let wanted = (wanted.dev(), wanted.ino());
    descriptors(pid).any(|path| {
        // Follows the link to the object itself.
        fs::metadata(path).is_ok_and(|meta| (meta.dev(), meta.ino()) == wanted)
    })
}

fn descriptors(pid: u32) -> impl Iterator<Item = PathBuf> {
    let folder = fs::read_dir(format!("/proc/{pid}/fd"));
    folder
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
}

#[cfg(test)]
mod tests {
    use super::{has_open, member_above};
    use crate::{
        job::names,
        sys::{ancestry::parent, named, shm},
    };

    #[test]
    fn a_member_is_found_once_its_job_has_no_name() {
        let name = names::unswept();
        let (file, locks) = named::create(&name).unwrap();
        let me = std::process::id();
        assert!(locks.try_lock(3).unwrap());
        assert_eq!(member_above(&name), None);
        assert!(has_open(me, &file));
        shm::unlink(&name).unwrap();
        assert_eq!(member_above(&name), Some(me));
        drop(locks);
        assert_eq!(member_above(&name), None);
        let other = shm::unnamed().unwrap();
        assert!(has_open(me, &other));
        assert!(!has_open(parent(me).unwrap(), &other));
    }

    /// A sweep has what it removes open for a moment, and its process may just be joining a job of this
    /// name.
    #[test]
    fn what_a_sweep_removes_has_no_members() {
        let name = names::unswept();
        let (file, locks) = named::create(&name).unwrap();
        drop(locks);
        assert!(named::remove_abandoned(&name, &file).unwrap());
        assert!(has_open(std::process::id(), &file));
        assert_eq!(member_above(&name), None);
    }
}
