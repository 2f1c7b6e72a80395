//! Which process has what open, as far as `/proc` shows it to this user.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::PathBuf,
};

use super::ancestry;

/// This process, or the nearest of those it descends from, that has the removed shared-memory object
/// of this name open.
pub(crate) fn ancestor_with(name: &str) -> Option<u32> {
    let removed = PathBuf::from(format!("{}{name} (deleted)", super::shm::FOLDER));
    ancestry::line()
        .find(|&pid| descriptors(pid).any(|path| fs::read_link(path).is_ok_and(|to| to == removed)))
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
    use super::{ancestor_with, has_open};
    use crate::{
        job::names,
        sys::{ancestry::parent, shm},
    };

    #[test]
    fn an_open_object_is_found_once_its_name_is_gone() {
        let name = names::unswept();
        let file = shm::create(&name).unwrap();
        let me = std::process::id();
        assert_eq!(ancestor_with(&name), None);
        assert!(has_open(me, &file));
        shm::unlink(&name).unwrap();
        assert_eq!(ancestor_with(&name), Some(me));
        let other = shm::unnamed().unwrap();
        assert!(has_open(me, &other));
        assert!(!has_open(parent(me).unwrap(), &other));
    }
}
