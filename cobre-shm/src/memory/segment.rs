//! A piece of shared memory, mapped.

#![allow(unsafe_code)]

use std::{fs::File, io};

use memmap2::{Advice, MmapOptions, MmapRaw};

/// Memory that all ranks map, accessed through raw pointers only: no slice over live shared memory.
#[derive(Debug)]
pub(crate) struct Segment {
    map: MmapRaw,
}

impl Segment {
    /// Maps the first `len` bytes of `file`, which must have them.
    ///
    /// The mapping keeps the open file alive, in forked children too: it must not carry locks.
    pub(crate) fn map(file: &File, len: usize) -> io::Result<Self> {
        let map = MmapOptions::new().len(len).map_raw(file)?;
        Ok(Self { map })
    }

    /// Address space of this process alone, zeroed memory where it is touched.
    pub(crate) fn private_address_space(len: usize) -> io::Result<Self> {
        let map = MmapOptions::new().len(len).no_reserve_swap().map_anon()?;
        Ok(Self { map: map.into() })
    }

    /// Maps the first `len` bytes of `file` for reading alone.
    #[cfg(feature = "boards")]
    pub(crate) fn map_read_only(file: &File, len: usize) -> io::Result<Self> {
        let map = MmapOptions::new().len(len).map_raw_read_only(file)?;
        Ok(Self { map })
    }

    /// Zeroed memory of this process alone.
    pub(crate) fn private(len: usize) -> io::Result<Self> {
        let map = MmapOptions::new().len(len).map_anon()?.into();
        Ok(Self { map })
    }

    /// Copies `bytes` to `offset`, before anybody else sees the segment.
    ///
    /// # Panics
    /// If they do not fit.
    pub(crate) fn fill(&mut self, offset: usize, bytes: &[u8]) {
        let to = self.at(offset, bytes.len());
        // SAFETY: `at` checked the range; `bytes` lies elsewhere, since safe code has no reference
        // into a mapping that nobody else has seen.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }

    /// Touches `len` bytes at `offset`, whole pages, for writing. `EFAULT` if there is no room for
    /// them, `EINVAL` if the kernel cannot do that.
    pub(crate) fn populate(&self, offset: usize, len: usize) -> io::Result<()> {
        self.map.advise_range(Advice::PopulateWrite, offset, len)
    }

    /// Asks for huge pages.
    pub(crate) fn prefer_huge_pages(&self) -> io::Result<()> {
        self.map.advise(Advice::HugePage)
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
