//! Finding the control segment by name, and deciding whether to believe it.

use core::{mem::offset_of, time::Duration};
use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt, MetadataExt},
    thread,
    time::Instant,
};

use super::system;
use crate::{
    config::Config,
    control::Control,
    error::InitError,
    failure::{self, Failure, Kind},
    layout::{FINGERPRINT, Geometry, Header, LAYOUT_VERSION, MAGIC, PAGE},
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
    /// Something that is not complete yet, described.
    Incomplete(&'static str),
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
                Some(what) => not_ours(&config.name, what.to_owned()),
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
    let length = file.metadata().map_err(io)?.len();
    if length < PAGE as u64 {
        return Ok(Found::Incomplete(
            "its founder has not made it large enough",
        ));
    }
    // Read instead of mapped, because what is not ours may shrink. The magic number by itself
    // first: once it is there, so is everything else.
    let magic = read_u64(&file, offset_of!(Header, magic)).map_err(io)?;
    if magic == 0 {
        return Ok(Found::Incomplete("its founder has not written its header"));
    }
    if magic != MAGIC {
        let found = format!("it begins with {magic:#018x} instead of {MAGIC:#018x}");
        return Err(not_ours(name, found));
    }
    let version = read_u32(&file, offset_of!(Header, version)).map_err(io)?;
    if version != LAYOUT_VERSION {
        let found = format!(
            "it has layout version {version}, this program {LAYOUT_VERSION}: build all programs of a job with the same release of cobre-shm"
        );
        return Err(not_ours(name, found));
    }
    let fingerprint = read_u64(&file, offset_of!(Header, fingerprint)).map_err(io)?;
    if fingerprint != FINGERPRINT {
        let found = "it was laid out by another build: build all programs of a job for the same target with the same release of cobre-shm";
        return Err(not_ours(name, found.to_owned()));
    }
    let size = read_u32(&file, offset_of!(Header, size)).map_err(io)?;
    let slot_bytes = read_u64(&file, offset_of!(Header, slot_bytes)).map_err(io)?;
    let Some(geometry) = Geometry::stated(size, slot_bytes) else {
        let found =
            format!("its header states {size} ranks and {slot_bytes} bytes of staging each");
        return Err(not_ours(name, found));
    };
    if length < geometry.total_bytes() as u64 {
        let (wanted, ranks) = (geometry.total_bytes(), geometry.size());
        let found = format!("it has {length} bytes, {wanted} are needed for {ranks} ranks");
        return Err(not_ours(name, found));
    }
    if !lock::is_held(&file, lock::FOUNDER).map_err(io)? {
        let founder = read_u32(&file, offset_of!(Header, founder)).map_err(io)?;
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

fn read_u64(file: &File, offset: usize) -> io::Result<u64> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, offset as u64)?;
    Ok(u64::from_ne_bytes(bytes))
}

fn read_u32(file: &File, offset: usize) -> io::Result<u32> {
    let mut bytes = [0; 4];
    file.read_exact_at(&mut bytes, offset as u64)?;
    Ok(u32::from_ne_bytes(bytes))
}
