//! Names that dead processes left in `/dev/shm`.
//!
//! A job has no name from the moment it has formed. What still has one belongs to a job that is
//! forming, or to nobody: its founder was killed. The kernel knows which, by the founder's lock
//! ([`crate::sys::named`]), so nothing that lives is ever removed.

use std::{fs::File, io, os::unix::fs::MetadataExt};

use crate::{
    job::{
        forming::{Found, founder, look},
        names,
    },
    sys::{named, ours},
};

/// A name in `/dev/shm` that is, or may be, of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leftover {
    /// The name, with its slash.
    pub name: String,
    /// Bytes of memory it holds.
    pub bytes: u64,
    /// The process that made it, if it says so.
    pub founder: Option<u32>,
    /// What it is.
    pub state: LeftoverState,
}

/// What a name in `/dev/shm` stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeftoverState {
    /// Its founder is gone: [`sweep`] removes it.
    Abandoned,
    /// [`sweep`] has removed it.
    Removed,
    /// Its founder lives: a job that is forming.
    Forming,
    /// Left alone, for this reason.
    Unclear(String),
}

/// What this user has in `/dev/shm` under names that jobs make up for themselves, and what jobs have left
/// under other names. Objects that are plainly no jobs' are not listed, and what belongs to other users
/// is not opened.
///
/// # Errors
/// `/dev/shm` cannot be read.
pub fn leftovers() -> io::Result<Vec<Leftover>> {
    let mut found = Vec::new();
    for name in ours::names(usize::MAX)? {
        found.extend(examine(&name));
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// Removes what is provably abandoned, and says what it removed and what it left. Safe at any time,
/// also beside jobs that are just forming and beside other sweeps.
///
/// # Errors
/// `/dev/shm` cannot be read.
pub fn sweep() -> io::Result<Vec<Leftover>> {
    let mut found = leftovers()?;
    found.retain_mut(|leftover| {
        if leftover.state != LeftoverState::Abandoned {
            return true;
        }
        match remove(&leftover.name) {
            Ok(true) => leftover.state = LeftoverState::Removed,
            // Somebody else was faster, or it has become another's.
            Ok(false) => return false,
            Err(error) => leftover.state = LeftoverState::Unclear(error.to_string()),
        }
        true
    });
    Ok(found)
}

/// Removes abandoned names that jobs made up for themselves, before a job begins, as far as it finds any
/// in little time. Says nothing: who wants to know asks [`sweep`].
pub(crate) fn sweep_made_up_names() {
    let names = ours::names(ours::AT_A_START).into_iter().flatten();
    for name in names.filter(|name| names::is_random(name)) {
        let _ = remove(&name);
    }
}

/// Removes the name if what it stands for is abandoned. Returns whether it did.
pub(crate) fn remove(name: &str) -> io::Result<bool> {
    match look(name)? {
        Found::Abandoned { file, .. } => named::remove_abandoned(name, &file),
        _ => Ok(false),
    }
}

/// What stands under `name`; `None` if it is no job's.
fn examine(name: &str) -> Option<Leftover> {
    let leftover = |file: Option<&File>, state| {
        let meta = file.and_then(|file| file.metadata().ok());
        Some(Leftover {
            name: name.to_owned(),
            bytes: meta.map_or(0, |meta| meta.blocks() * 512),
            founder: file.and_then(founder),
            state,
        })
    };
    match look(name) {
        Ok(Found::Nothing) => None,
        Ok(Found::Abandoned { file, .. }) => leftover(Some(&file), LeftoverState::Abandoned),
        Ok(Found::Complete(file, _)) => leftover(Some(&file), LeftoverState::Forming),
        _ if !names::is_random(name) => None,
        Ok(Found::Incomplete(_)) => leftover(None, LeftoverState::Forming),
        Ok(Found::Foreign(what)) => leftover(None, LeftoverState::Unclear(what)),
        Err(error) => leftover(None, LeftoverState::Unclear(error.to_string())),
    }
}
