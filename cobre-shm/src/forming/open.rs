//! Finding the control segment by name, and deciding whether to believe it.

use core::{mem::offset_of, time::Duration};
use std::{fs::File, io, os::unix::fs::MetadataExt, thread, time::Instant};

use super::system;
use crate::{
    config::Config,
    control::Control,
    error::InitError,
    failure::{self, Failure, Kind},
    identify::{self, Strange},
    layout::{Geometry, Header},
    point,
    segment::Segment,
    sys::{
        lock::{self, LockFile},
        shm,
    },
};

const FIRST_PAUSE: Duration = Duration::from_micros(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// What a look at the name found.
enum Found {
    Nothing,
    /// Something that is not complete yet.
    Incomplete(Strange),
    /// The file to map and the file for locks.
    Complete(File, LockFile, Geometry),
}

/// Opens the job's segment, waiting for it to appear.
pub(super) fn open(config: &Config, start: Instant) -> Result<Control, InitError> {
    point::reached("open");
    let mut pause = FIRST_PAUSE;
    let (file, locks, geometry) = loop {
        let incomplete = match look(&config.name)? {
            Found::Complete(file, locks, geometry) => break (file, locks, geometry),
            Found::Incomplete(what) => Some(what),
            Found::Nothing => None,
        };
        let waited = start.elapsed();
        // A launcher founds the job before it starts anybody: what is not there has been.
        let gone = config.launcher.is_some() && incomplete.is_none();
        if gone || waited >= config.attach_timeout {
            return Err(match incomplete {
                Some(what) => not_ours(&config.name, what.to_string()),
                None => InitError::NotFound {
                    name: config.name.clone(),
                    waited,
                },
            });
        }
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    };
    let segment = Segment::map(&file, geometry.total_bytes())
        .map_err(|source| system(&config.name, "map the segment", source))?;
    let control = Control::new(segment, geometry, Some(locks));
    point::reached("mapped");
    if geometry.size() != config.size {
        // The founder's size stands. Everybody gets the same error, unless all have joined already
        // and this process is none of theirs. The cast cannot lose anything: `check` limits it.
        let differs = Kind::SizeDiffers(config.size as u32);
        failure::raise_while_forming(&control, Failure::new(config.rank, None, differs));
        return Err(InitError::SizeDiffers {
            name: config.name.clone(),
            rank: config.rank,
            theirs: config.size,
            ours: geometry.size(),
        });
    }
    Ok(control)
}

fn look(name: &str) -> Result<Found, InitError> {
    let file = match shm::open(name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(not_ours(name, "it belongs to another user".to_owned()));
        }
        Err(source) => return Err(system(name, "open the shared memory object", source)),
    };
    let io = |source| system(name, "examine the shared memory object", source);
    if !shm::is_ours(&file).map_err(io)? {
        let found = "it belongs to another user, or others may access it";
        return Err(not_ours(name, found.to_owned()));
    }
    let geometry = match identify::geometry(&file).map_err(io)? {
        Ok(geometry) => geometry,
        Err(strange) if strange.is_incomplete() => return Ok(Found::Incomplete(strange)),
        Err(strange) => return Err(not_ours(name, strange.to_string())),
    };
    if !lock::is_held(&file, lock::FOUNDER).map_err(io)? {
        let founder = identify::read_u32(&file, offset_of!(Header, founder)).map_err(io)?;
        let found = format!("process {founder} founded it and is gone");
        return Err(not_ours(name, found));
    }
    // Locks need an open file of their own; between the two looks the name may have gone.
    match shm::open(name) {
        Ok(again) if is_same(&file, &again).map_err(io)? => {
            Ok(Found::Complete(file, LockFile::new(again), geometry))
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(system(name, "open the shared memory object", error))
        }
        _ => Ok(Found::Nothing),
    }
}

fn is_same(one: &File, other: &File) -> io::Result<bool> {
    let (one, other) = (one.metadata()?, other.metadata()?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

fn not_ours(name: &str, found: String) -> InitError {
    InitError::NotOurs {
        name: name.to_owned(),
        found,
        remedy: format!("remove it (rm /dev/shm{name}) if no job uses it, or choose another name"),
    }
}
