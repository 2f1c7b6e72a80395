//! Forming a job: from a name in the environment to a control region that all ranks map and that has
//! no name any more.
//!
//! 1. *Found.* Rank 0, or the launcher before it starts anybody, creates the segment exclusively,
//!    locks it, reserves its pages, writes the header and stores the magic number last.
//! 2. *Join.* Every rank (rank 0 too) opens the name, checks what it finds, takes the lock of its
//!    number, reserves its own staging and says so.
//! 3. *Ready.* When all have joined, rank 0 removes the name, then tells everybody. From here on
//!    nothing can be left behind, whoever is killed.
//!
//! Whatever goes wrong in between is raised as the job's first failure, so that every rank that has
//! found the segment ends with the same, specific error; who founded the job removes the name. The
//! word of the first failure also decides whether the job has formed, so that no two ranks can
//! disagree about it: [`crate::sync::failure::FORMING`].

mod enrol;
mod found;
mod look;
mod open;

use std::io;

pub(crate) use found::{Named, found};
pub(crate) use look::{Found, founder, look};

use crate::{
    job::{config::Config, error::InitError},
    memory::{control::Control, layout::Geometry, segment::Segment},
    sync::primitive::Ordering,
    sys::{open_files, process, waited::Waited},
};

/// The control region of a job of one: nobody to share with, so no name, no file and no lock.
pub(crate) fn solo() -> Result<Control, InitError> {
    let geometry = Geometry::with_staging(1, 0);
    let segment = Segment::private(geometry.total_bytes())
        .map_err(|source| system("", "map memory", source))?;
    let control = Control::new(segment, geometry, None);
    let cores = &control.header().cores;
    cores.store(process::usable_cores(), Ordering::Relaxed);
    control.occupy(0);
    Ok(control)
}

/// Joins the job that `config` describes, founding it if this is rank 0 and there is no launcher.
pub(crate) fn join(config: &Config) -> Result<Control, InitError> {
    config.check()?;
    let waited = Waited::begin();
    let (control, named) = if config.rank == 0 && config.launcher.is_none() {
        refuse_members(config)?;
        let (control, named) = found(&config.name, config.size, config.staging_bytes, false, None)?;
        (control, Some(named))
    } else {
        (open::open(config, &waited)?, None)
    };
    let enrolment = enrol::Enrolment {
        control: &control,
        config,
        waited,
    };
    enrolment.run(named)?;
    Ok(control)
}

/// A rank does not join its job a second time, neither do the programs that it starts, which inherit
/// its variables.
fn refuse_members(config: &Config) -> Result<(), InitError> {
    let member = open_files::member_above(&config.name);
    // A launcher has the segment open too, and is an ancestor of its ranks.
    match member.filter(|&pid| config.launcher != Some(pid)) {
        None => Ok(()),
        Some(pid) => Err(InitError::AlreadyMember {
            name: config.name.clone(),
            pid,
        }),
    }
}

fn system(name: &str, action: &'static str, source: io::Error) -> InitError {
    InitError::System {
        name: name.to_owned(),
        action,
        source,
    }
}
