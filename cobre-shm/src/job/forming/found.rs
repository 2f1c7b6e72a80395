//! Creating the control segment.

use std::{fs::File, io};

use super::{
    look::{Found, founder, look},
    system,
};
use crate::{
    job::{error::InitError, leftovers},
    memory::{
        control::{self, Control, Origin},
        layout::Geometry,
        room,
        segment::Segment,
    },
    point,
    recording::Recording,
    sync::failure::FORMING,
    sys::{lock::LockFile, named, process, shm},
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
    recording: Option<Recording>,
) -> Result<(Control, Named), InitError> {
    let geometry = Geometry::with_staging(size, staging).recorded(recording);
    leftovers::sweep_made_up_names();
    // For what the ranks reserve themselves as well, staging and records.
    let no_room = |source| InitError::no_room(name, geometry, source);
    room::check(geometry.total_bytes() as u64).map_err(no_room)?;
    point::reached("create");
    let (file, locks) = create(name)?;
    let named = Named(name.to_owned());
    shm::set_length(&file, geometry.total_bytes() as u64).map_err(no_room)?;
    // Staging is reserved by its owners, near whom it should lie.
    shm::reserve(&file, 0, geometry.staging_offset() as u64).map_err(no_room)?;
    let segment = Segment::map(&file, geometry.total_bytes()).map_err(no_room)?;
    point::reached("reserved");
    control::write_header(
        &segment,
        geometry,
        Origin {
            launched,
            cores: process::usable_cores(),
            parent: 0,
            failure: FORMING,
        },
    );
    point::reached("founded");
    Ok((Control::new(segment, geometry, Some(locks)), named))
}

/// Creates the object under the name, locked, in place of what a dead process has left there.
fn create(name: &str) -> Result<(File, LockFile), InitError> {
    if let Some(problem) = shm::unusable() {
        return Err(InitError::unusable(name, problem));
    }
    let examine = |source| system(name, "examine the shared memory object", source);
    loop {
        match named::create(name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map_err(|source| system(name, "create the segment", source)),
        }
        match look(name).map_err(examine)? {
            Found::Nothing => {}
            Found::Abandoned { file, .. } => {
                // By this process or another.
                named::remove_abandoned(name, &file).map_err(examine)?;
            }
            other => return Err(name_in_use(name, &other)),
        }
    }
}

/// Who sits on the name, as far as can be told.
fn name_in_use(name: &str, found: &Found) -> InitError {
    let remove = format!("remove it (rm /dev/shm{name}) if no job uses it, or choose another name");
    let another = "give every job a name of its own".to_owned();
    let (holder, remedy) = match found {
        Found::Complete(file, _) => match founder(file) {
            Some(pid) => (format!("a job that process {pid} is forming"), another),
            None => ("a job that is forming".to_owned(), another),
        },
        Found::Foreign(what) => (format!("something else ({what})"), remove),
        Found::Incomplete(what) => (format!("something incomplete ({what})"), remove),
        Found::Nothing | Found::Abandoned { .. } => ("somebody".to_owned(), remove),
    };
    InitError::NameInUse {
        name: name.to_owned(),
        holder,
        remedy,
    }
}
