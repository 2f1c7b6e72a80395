//! What stands under a name, and whether to believe it.

use core::mem::offset_of;
use std::{fs::File, io, os::unix::fs::FileTypeExt};

use crate::{
    job::names,
    memory::{
        identify::{self, Strange},
        layout::{Geometry, Header},
    },
    sys::{named, shm},
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
    let file = match shm::open(name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return obstacle(error).map(|what| Found::Foreign(what.to_owned())),
    };
    let meta = file.metadata()?;
    let foreign = |what: &str| Ok(Found::Foreign(what.to_owned()));
    if !meta.is_file() {
        let is_fifo = meta.file_type().is_fifo();
        return foreign(if is_fifo {
            "it is a FIFO"
        } else {
            "it is not a shared-memory object"
        });
    }
    if !shm::is_ours(&file)? {
        return foreign("it belongs to another user, or others may access it");
    }
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

/// Why something that is there cannot be opened.
fn obstacle(error: io::Error) -> io::Result<&'static str> {
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => Ok("it belongs to another user"),
        Some(libc::ELOOP) => Ok("it is a symbolic link"),
        // The C library makes the one of the other.
        Some(libc::EISDIR | libc::EINVAL) => Ok("it is a directory"),
        Some(libc::ENXIO | libc::ENODEV) => Ok("it is a socket or a device"),
        _ => Err(error),
    }
}
