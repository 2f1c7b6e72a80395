//! A piece of shared memory: the open file, if it has one, and its mapping.

use std::{fs::File, io};

use memmap2::{MmapOptions, MmapRaw};

use crate::sys::process::ForkGuarded;

/// Memory that all ranks map, accessed through raw pointers only: no slice over live shared memory.
#[derive(Debug)]
pub(crate) struct Segment {
    map: MmapRaw,
    /// Kept open for its locks, and so that an observer of the same user can open it again through
    /// `/proc/PID/fd`. `None` for a job of one, which shares with nobody.
    file: Option<ForkGuarded>,
}

impl Segment {
    /// Maps the first `len` bytes of `file`, which must have them.
    pub(crate) fn map(file: File, len: usize) -> io::Result<Self> {
        Ok(Self {
            map: MmapOptions::new().len(len).map_raw(&file)?,
            file: Some(ForkGuarded::new(file)),
        })
    }

    /// Zeroed memory of this process alone.
    pub(crate) fn private(len: usize) -> io::Result<Self> {
        Ok(Self {
            map: MmapOptions::new().len(len).map_anon()?.into(),
            file: None,
        })
    }

    pub(crate) fn file(&self) -> Option<&File> {
        self.file.as_deref()
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// The address of `len` bytes at `offset`.
    ///
    /// # Panics
    /// If they do not lie inside the mapping.
    pub(crate) fn at(&self, offset: usize, len: usize) -> *mut u8 {
        let end = offset.checked_add(len);
        assert!(
            end.is_some_and(|end| end <= self.map.len()),
            "{len} bytes at {offset} of a segment of {}",
            self.map.len()
        );
        self.map.as_mut_ptr().wrapping_add(offset)
    }
}
