//! Creating the control segment.

use core::mem::offset_of;
use std::{fs::File, io};

use super::system;
use crate::{
    control::{self, Control, Origin},
    error::InitError,
    failure::FORMING,
    identify,
    layout::{Geometry, Header},
    point,
    segment::Segment,
    sys::{
        lock::{self, LockFile},
        shm,
    },
};

/// The duty to remove a segment's name.
#[derive(Debug)]
pub(crate) struct Named(String);

impl Drop for Named {
    fn drop(&mut self) {
        // It may be gone already: rank 0 removes the name of a job that a launcher founded.
        let _ = shm::unlink(&self.0);
    }
}

/// Creates the segment of job `name`; the name exists until the returned duty is dropped.
pub(crate) fn found(
    name: &str,
    size: usize,
    staging: usize,
    launched: bool,
) -> Result<(Control, Named), InitError> {
    let geometry = Geometry::with_staging(size, staging);
    point::reached("create");
    let file = match shm::create(name) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(name_in_use(name));
        }
        Err(source) => return Err(system(name, "create the shared memory object", source)),
    };
    let named = Named(name.to_owned());
    point::reached("created");
    // At once, so that others can tell a half-made segment from an abandoned one. The locks have an
    // open file of their own.
    let locks = shm::open(name)
        .map(LockFile::new)
        .and_then(|locks| locks.try_lock(lock::FOUNDER).map(|_| locks))
        .map_err(|source| system(name, "lock", source))?;
    let no_room = |source| InitError::no_room(name, geometry, source);
    file.set_len(geometry.total_bytes() as u64)
        .map_err(no_room)?;
    // Staging is reserved by its owners, near whom it should lie.
    shm::reserve(&file, 0, geometry.staging_offset() as u64).map_err(no_room)?;
    let segment = Segment::map(&file, geometry.total_bytes())
        .map_err(|source| system(name, "map the segment", source))?;
    point::reached("reserved");
    control::write_header(
        &segment,
        geometry,
        Origin {
            launched,
            parent: 0,
            failure: FORMING,
        },
    );
    point::reached("founded");
    Ok((Control::new(segment, geometry, Some(locks)), named))
}

/// Who sits on the name, as far as can be told.
fn name_in_use(name: &str) -> InitError {
    let in_use = |holder: String, remedy: &str| InitError::NameInUse {
        name: name.to_owned(),
        holder,
        remedy: remedy.to_owned(),
    };
    let another = "give every job a name of its own";
    let Ok(file) = shm::open(name) else {
        return in_use("another user's object".to_owned(), another);
    };
    if lock::is_held(&file, lock::FOUNDER).unwrap_or(false) {
        let founder = format!("a job that process {} is forming", founder(&file));
        return in_use(founder, another);
    }
    let remedy = format!("remove it (rm /dev/shm{name}) or choose another name");
    in_use(
        format!("what process {} left behind", founder(&file)),
        &remedy,
    )
}

/// The process that the header names, for messages.
fn founder(file: &File) -> String {
    match identify::read_u32(file, offset_of!(Header, founder)) {
        Ok(pid) if pid != 0 => pid.to_string(),
        _ => "(unknown)".to_owned(),
    }
}
