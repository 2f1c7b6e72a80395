//! What a file says of itself: whether it is a control segment of this build, and of which geometry.
//!
//! Read through the descriptor instead of a mapping, because what is not ours may shrink, and a
//! mapping of it would end the process that looks (`SIGBUS`).

use core::mem::offset_of;
use std::{fs::File, io, os::unix::fs::FileExt};

use cobre_comm_trait::text;

use crate::{
    memory::layout::{FINGERPRINT, Geometry, Header, LAYOUT_VERSION, MAGIC, PAGE},
    recording::Recording,
};

/// Why a file is no control segment that this build understands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Strange {
    /// It is shorter than a header: just made, or something else.
    #[error("its founder has not made it large enough")]
    Short,
    /// It has no magic number yet.
    #[error("its founder has not written its header")]
    Unwritten,
    /// It begins with something else.
    #[error("it begins with {0:#018x} instead of {MAGIC:#018x}")]
    Foreign(u64),
    /// It was made by another release.
    #[error(
        "it has layout version {0}, this program {LAYOUT_VERSION}: build all programs of a job with the same release of cobre-shm"
    )]
    OtherVersion(u32),
    /// It was made by the same release for another target.
    #[error(
        "it was laid out by another build: build all programs of a job for the same target with the same release of cobre-shm"
    )]
    OtherBuild,
    /// No founder writes such sizes.
    #[error("its header states {size} ranks and {slot_bytes} bytes of staging each")]
    Implausible {
        /// The ranks stated.
        size: u32,
        /// The bytes of one staging buffer stated.
        slot_bytes: u64,
    },
    /// It ends before what its header states.
    #[error("it has {length} bytes, {wanted} are needed for {}", text::count(*.ranks, "rank"))]
    Truncated {
        /// Its length.
        length: u64,
        /// The length that follows from its header.
        wanted: u64,
        /// The ranks stated.
        ranks: usize,
    },
}

impl Strange {
    /// Whether its founder may just not be done yet.
    #[must_use]
    pub fn is_incomplete(&self) -> bool {
        matches!(self, Self::Short | Self::Unwritten)
    }
}

/// The geometry that `file` states, if it is a control segment that this build understands.
pub(crate) fn geometry(file: &File) -> io::Result<Result<Geometry, Strange>> {
    let length = file.metadata()?.len();
    if length < PAGE as u64 {
        return Ok(Err(Strange::Short));
    }
    // The magic number by itself first: once it is there, so is everything else.
    match read_u64(file, offset_of!(Header, magic))? {
        MAGIC => {}
        0 => return Ok(Err(Strange::Unwritten)),
        other => return Ok(Err(Strange::Foreign(other))),
    }
    let version = read_u32(file, offset_of!(Header, version))?;
    if version != LAYOUT_VERSION {
        return Ok(Err(Strange::OtherVersion(version)));
    }
    if read_u64(file, offset_of!(Header, fingerprint))? != FINGERPRINT {
        return Ok(Err(Strange::OtherBuild));
    }
    let size = read_u32(file, offset_of!(Header, size))?;
    let slot_bytes = read_u64(file, offset_of!(Header, slot_bytes))?;
    let recorded = read_u32(file, offset_of!(Header, recording))? == 1;
    let trace_events = read_u32(file, offset_of!(Header, trace_events))?;
    let recording = recorded.then_some(Recording { trace_events });
    let Some(geometry) = Geometry::stated(size, slot_bytes, recording) else {
        return Ok(Err(Strange::Implausible { size, slot_bytes }));
    };
    let wanted = geometry.total_bytes() as u64;
    if length < wanted {
        return Ok(Err(Strange::Truncated {
            length,
            wanted,
            ranks: geometry.size(),
        }));
    }
    Ok(Ok(geometry))
}

pub(crate) fn read_u32(file: &File, offset: usize) -> io::Result<u32> {
    let mut bytes = [0; 4];
    file.read_exact_at(&mut bytes, offset as u64)?;
    Ok(u32::from_ne_bytes(bytes))
}

fn read_u64(file: &File, offset: usize) -> io::Result<u64> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, offset as u64)?;
    Ok(u64::from_ne_bytes(bytes))
}
