//! Where everything lies in a board's segment, and whether to believe a file to be one.
//!
//! Everything but the seats is written before the board gets its name, and never again: it is read
//! from the file, not from a mapping.

use core::mem::{offset_of, size_of};
use std::{fs::File, io, os::unix::fs::FileExt};

use cobre_comm_trait::text;

use super::{description::Description, error::BoardError};
use crate::{
    board::{Member, Record, RecordLatch, record::State},
    memory::{layout::PAGE, segment::Segment},
    sync::primitive::{AtomicU32, AtomicU64},
    sys::{lock, shm},
};

/// Marks a board: `CobreBrd` in ASCII, little-endian.
const MAGIC: u64 = u64::from_le_bytes(*b"CobreBrd");
/// Changes with every change of this module, and of records.
const VERSION: u64 = 1;
/// The longest description believed.
const MAX_DESCRIPTION: u64 = 16 << 20;

/// What the two sides must agree on besides the version.
const FINGERPRINT: u64 = (size_of::<Seat>() as u64) << 32 | offset_of!(Seat, record) as u64;

/// The header: magic, version, fingerprint, members, length of the description.
type Header = [u64; 5];

/// One member's place, written by whoever is the member.
#[derive(Debug)]
#[repr(C, align(128))]
pub(super) struct Seat {
    /// The process that took the seat last; 0 if none did.
    pub(super) pid: AtomicU32,
    /// The namespace in which `pid` means the process.
    pub(super) pid_namespace: AtomicU64,
    pub(super) record: RecordLatch,
}

impl Seat {
    /// The seat at `offset`, as [`Geometry::seat`] says.
    #[allow(unsafe_code)]
    pub(super) fn at(segment: &Segment, offset: usize) -> &Self {
        let seat = segment.at(offset, size_of::<Self>());
        // SAFETY: `at` checked the range; the offset is a multiple of the alignment from the start of
        // a page. The type consists of atomics, valid for every bit pattern and for writes by others;
        // where the mapping is for reading only, nobody stores through it. It lives as long as the
        // segment.
        unsafe { &*seat.cast() }
    }
}

/// Offsets of one board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub(super) members: usize,
    description: usize,
}

impl Geometry {
    pub(super) fn seat(self, member: usize) -> usize {
        PAGE + self.description.next_multiple_of(PAGE) + member * size_of::<Seat>()
    }

    pub(super) fn total_bytes(self) -> usize {
        self.seat(self.members).next_multiple_of(PAGE)
    }
}

/// Makes `file`, which is empty, a board without members. Nobody else knows it yet.
pub(super) fn write(file: &File, description: &Description) -> io::Result<Geometry> {
    let text = serde_json::to_vec(description)?;
    let geometry = Geometry {
        members: description.members.len(),
        description: text.len(),
    };
    let total = geometry.total_bytes() as u64;
    shm::set_length(file, total)?;
    shm::reserve(file, 0, total)?;
    let header: Header = [
        MAGIC,
        VERSION,
        FINGERPRINT,
        geometry.members as u64,
        text.len() as u64,
    ];
    file.write_all_at(bytemuck::cast_slice(&header), 0)?;
    file.write_all_at(&text, PAGE as u64)?;
    Ok(geometry)
}

/// Whether `file` begins like a board, of whatever version and however damaged after that.
pub(super) fn is_board(file: &File) -> bool {
    let mut magic = [0; 8];
    file.read_exact_at(&mut magic, 0).is_ok() && u64::from_ne_bytes(magic) == MAGIC
}

/// Reads what does not change of the board `name`.
pub(super) fn read(file: &File, name: &str) -> Result<(Description, Geometry), BoardError> {
    let io = |source| BoardError::system(name, "read", source);
    let strange = |found: String| BoardError::not_a_board(name, found);
    let mut header: Header = [0; 5];
    file.read_exact_at(bytemuck::cast_slice_mut(&mut header), 0)
        .map_err(|_| strange("it is too short for a header".to_owned()))?;
    let [magic, version, fingerprint, members, length] = header;
    if magic != MAGIC {
        return Err(strange(format!(
            "it begins with {magic:#018x} instead of {MAGIC:#018x}"
        )));
    }
    if (version, fingerprint) != (VERSION, FINGERPRINT) {
        return Err(strange(format!(
            "it has layout {version}/{fingerprint:x}, this program {VERSION}/{FINGERPRINT:x}: build all services with the same release of cobre-shm"
        )));
    }
    if length > MAX_DESCRIPTION {
        return Err(strange(format!(
            "its description has {}",
            text::bytes(length)
        )));
    }
    let mut text = vec![0; length as usize];
    file.read_exact_at(&mut text, PAGE as u64)
        .map_err(|_| strange("it ends within its description".to_owned()))?;
    let description: Description = serde_json::from_slice(&text)
        .map_err(|error| strange(format!("its description is damaged: {error}")))?;
    description.check().map_err(strange)?;
    let geometry = Geometry {
        members: description.members.len(),
        description: text.len(),
    };
    if members != geometry.members as u64 {
        let described = geometry.members;
        return Err(strange(format!(
            "it states {members} members and describes {described}"
        )));
    }
    let bytes = file.metadata().map_err(io)?.len();
    let wanted = geometry.total_bytes();
    if bytes < wanted as u64 {
        return Err(strange(format!("it has {bytes} bytes of {wanted}")));
    }
    Ok((description, geometry))
}

/// Member `index` as the file shows it just now.
pub(super) fn member(
    file: &File,
    description: &Description,
    geometry: Geometry,
    index: usize,
) -> io::Result<Member> {
    let seat = geometry.seat(index) as u64;
    let mut pid = [0; 4];
    file.read_exact_at(&mut pid, seat + offset_of!(Seat, pid) as u64)?;
    let record = Record::read_from(file, seat + offset_of!(Seat, record) as u64)?;
    Ok(seen(
        description,
        index,
        u32::from_ne_bytes(pid),
        lock::is_held(file, index)?,
        record,
    ))
}

/// Member `index` with what its seat holds.
pub(super) fn seen(
    description: &Description,
    index: usize,
    pid: u32,
    alive: bool,
    record: Option<Record>,
) -> Member {
    let config = &description.members[index];
    Member {
        index,
        name: config.name.clone(),
        pid: (pid != 0).then_some(pid),
        alive,
        weight: config.weight,
        class: config.class,
        state: record.map_or(State::Starting, |record| record.load.state),
        record,
        activity: None,
    }
}
