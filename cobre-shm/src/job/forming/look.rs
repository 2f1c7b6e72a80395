//! What stands under a name, and whether to believe it.

use core::mem::offset_of;
use std::{fs::File, io};

use crate::{
    job::names,
    memory::{
        identify::{self, Strange},
        layout::{Geometry, Header},
    },
    sys::{
        named,
        ours::{self, Access, NotOurs},
    },
};

/// What a look at a name finds.
pub(crate) enum Found {
    Nothing,
    /// Something that a founder may be about to complete, described.
    Incomplete(Strange),
    /// What a process of this user left behind: it is gone, and nobody needs it.
    Abandoned {
        file: File,
        /// Who made it, if it says so.
        founder: Option<u32>,
    },
    /// Nothing that this program can join, described.
    Foreign(String),
    /// A job that is forming.
    Complete(File, Geometry),
}

/// Looks at `name`.
pub(crate) fn look(name: &str) -> io::Result<Found> {
    let foreign = |what: &str| Ok(Found::Foreign(what.to_owned()));
    let file = match ours::open(name, Access::ReadWrite) {
        Ok(file) => file,
        Err(why) if why.is_nothing() => return Ok(Found::Nothing),
        Err(NotOurs::Refused(what)) => return foreign(what),
        Err(NotOurs::System(error)) => return Err(error),
    };
    let geometry = match identify::geometry(&file)? {
        Ok(geometry) => geometry,
        Err(strange) if !strange.is_incomplete() => return foreign(&strange.to_string()),
        Err(_) if names::is_random(name) && !named::is_held(&file)? => {
            let founder = None;
            return Ok(Found::Abandoned { file, founder });
        }
        Err(strange) => return Ok(Found::Incomplete(strange)),
    };
    if !named::is_held(&file)? {
        let founder = founder(&file);
        return Ok(Found::Abandoned { file, founder });
    }
    Ok(Found::Complete(file, geometry))
}

/// The process that the header names, for messages.
pub(crate) fn founder(file: &File) -> Option<u32> {
    let founder = identify::read_u32(file, offset_of!(Header, founder)).ok();
    founder.filter(|&pid| pid != 0)
}
