//! A second communicator of the same ranks, with a control region of its own.
//!
//! The ranks know each other already, so there is nothing to find and nobody to wait for: the leader
//! makes the region, each rank takes its place in it, and all agree that they could.

use std::sync::Arc;

use cobre_comm_trait::{CommError, Operation};

use crate::{
    call::{
        core::{Core, Site},
        log::{Element, Signature},
    },
    collective,
    job::forming,
    memory::{
        control::{self, Control, Origin},
        layout::Geometry,
        object,
        segment::Segment,
    },
    point,
    sync::primitive::Ordering,
    sys::{lock::LockFile, shm},
};

/// Makes the control region of the second communicator. Collective.
pub(crate) fn split(core: &Core, site: Site) -> Result<Control, CommError> {
    let signature = Signature::new(Operation::SplitLocal, Element::NONE, 0);
    let parent = core.control();
    if core.size() == 1 {
        // A call like any other: not after a failure, and not in a forked child.
        core.collective(signature, site, Ok(()), collective::barrier)?;
        let mut control = forming::solo()?;
        control.set_parent(Arc::clone(parent));
        return Ok(control);
    }
    // The same as the parent's, so the same on every rank. Calls are recorded with the parent's.
    let geometry = parent.geometry().recorded(None);
    let made = core.collective(signature, site, Ok(()), |rounds| {
        let file = match object::share(rounds, geometry.total_bytes(), geometry.total_bytes())? {
            Ok(file) => file,
            Err(refused) => return Ok(Err(refused)),
        };
        let control = occupy(file, geometry, parent, rounds.rank());
        object::agree(rounds, control, geometry.total_bytes())
    })?;
    let mut control = made.map_err(|refused| refused.told(geometry.total_bytes()))?;
    control.list(core.rank());
    Ok(control)
}

fn occupy(
    file: std::fs::File,
    geometry: Geometry,
    parent: &Arc<Control>,
    rank: usize,
) -> std::io::Result<Control> {
    // Each reserves what it will write first; the leader the rest.
    let (offset, len) = geometry.staging_of(rank);
    shm::reserve(&file, offset as u64, len as u64)?;
    if rank == 0 {
        shm::reserve(&file, 0, geometry.staging_offset() as u64)?;
    } else {
        let block = geometry.block_offset(rank);
        let end = geometry.block_offset(rank + 1);
        shm::reserve(&file, block as u64, (end - block) as u64)?;
    }
    // The job's own locks decide who lives; these are for observers of this communicator.
    let locks = LockFile::new(shm::reopen(&file)?);
    locks.try_lock(rank)?;
    point::reached("attach");
    let segment = Segment::map(&file, geometry.total_bytes())?;
    if rank == 0 {
        // The ranks know all this; who looks from outside does not.
        let cores = parent.root().header().cores.load(Ordering::Relaxed);
        let parent = parent.locks().map_or(Ok(0), LockFile::inode)?;
        let origin = Origin {
            launched: false,
            cores,
            parent,
            failure: 0,
        };
        control::write_header(&segment, geometry, origin);
    }
    let mut control = Control::new(segment, geometry, Some(locks));
    control.set_parent(Arc::clone(parent));
    control.occupy(rank);
    Ok(control)
}
