//! Finding the control segment by name.

use core::time::Duration;
use std::thread;

use super::{
    look::{Found, look},
    system,
};
use crate::{
    job::{config::Config, error::InitError},
    memory::{control::Control, layout::Geometry, room, segment::Segment},
    point,
    sync::failure::{self, Failure, Kind},
    sys::{named, shm, waited::Waited},
};

const FIRST_PAUSE: Duration = Duration::from_micros(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// Opens the job's segment, waiting for it to appear.
pub(super) fn open(config: &Config, waited: &Waited) -> Result<Control, InitError> {
    point::reached("open");
    let name = &config.name;
    let examine = |source| system(name, "examine the shared memory object", source);
    let mut pause = FIRST_PAUSE;
    let mut first = true;
    let (file, locks, geometry) = loop {
        let incomplete = match look(name).map_err(examine)? {
            Found::Complete(file, geometry) => match named::reopen(name, &file).map_err(examine)? {
                Some(locks) => break (file, locks, geometry),
                None => None,
            },
            Found::Incomplete(what) => Some(what.to_string()),
            // Whoever founds the job next will remove it.
            Found::Abandoned { founder, .. } => Some(match founder {
                Some(pid) => format!("process {pid} founded it and is gone"),
                None => "its founder is gone".to_owned(),
            }),
            Found::Foreign(what) => return Err(not_ours(name, what)),
            Found::Nothing => None,
        };
        if core::mem::take(&mut first) && incomplete.is_none() {
            // What waiting cannot mend is said at once.
            if let Some(problem) = shm::unusable() {
                return Err(InitError::unusable(name, problem));
            }
            super::refuse_members(config)?;
        }
        let waited = waited.time(LONGEST_PAUSE);
        // A launcher founds the job before it starts anybody: what is not there has been.
        if config.launcher.is_some() || waited >= config.attach_timeout {
            return Err(match incomplete {
                Some(what) => not_ours(name, what),
                None => not_found(config, waited),
            });
        }
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    };
    let segment = Segment::map(&file, geometry.total_bytes())
        .map_err(|source| InitError::no_room(&config.name, geometry, source))?;
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

/// No segment came. If there would be no room for one, that is the likeliest reason.
fn not_found(config: &Config, waited: Duration) -> InitError {
    let geometry = Geometry::with_staging(config.size, config.staging_bytes);
    match room::shortage(geometry.total_bytes() as u64) {
        Some(room) if config.launcher.is_none() => {
            InitError::no_room(&config.name, geometry, room::error(&room))
        }
        _ => InitError::NotFound {
            name: config.name.clone(),
            waited,
        },
    }
}

fn not_ours(name: &str, found: String) -> InitError {
    InitError::NotOurs {
        name: name.to_owned(),
        found,
        remedy: format!("remove it (rm /dev/shm{name}) if no job uses it, or choose another name"),
    }
}
