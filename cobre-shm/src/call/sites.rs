//! Where in the program a rank calls: `file:line`, interned once per call site.
//!
//! The table in shared memory is bounded and written by its owner alone; what does not fit any more
//! is site 0, unknown. A site is found again by the address of its `Location`, without a lock.

use core::panic::Location;

use cobre_comm_trait::text;

use crate::sync::primitive::{AtomicU32, Ordering, SharedBytes};

/// Call sites remembered per rank.
pub(crate) const SITES: usize = 64;
/// Bytes kept of a file's name: the end of it.
const NAME_BYTES: usize = 112;
/// Places of the process' own index; a power of two, twice the sites.
const PLACES: usize = 128;

/// The call sites of one rank.
#[derive(Debug)]
#[repr(C, align(128))]
pub(crate) struct SiteTable {
    sites: [Site; SITES],
}

#[derive(Debug)]
#[repr(C, align(128))]
struct Site {
    /// Length of the name; 0 while the place is free. Written last, once.
    length: AtomicU32,
    line: AtomicU32,
    name: SharedBytes<NAME_BYTES>,
}

impl SiteTable {
    /// `file:line` of site `number`, from 1.
    pub(crate) fn get(&self, number: u32) -> Option<String> {
        let name = self.name(number)?;
        let site = self.sites.get(number.checked_sub(1)? as usize)?;
        // Relaxed: ordered by the Acquire that saw the name.
        Some(format!("{name}:{}", site.line.load(Ordering::Relaxed)))
    }

    /// The name alone of site `number`, from 1: cleaned, since anything may have written over it.
    pub(crate) fn name(&self, number: u32) -> Option<String> {
        #![allow(unsafe_code)]
        let site = self.sites.get(number.checked_sub(1)? as usize)?;
        // Acquire matches the Release in `set`.
        let length = (site.length.load(Ordering::Acquire) as usize).min(NAME_BYTES);
        let mut name = [0; NAME_BYTES];
        // SAFETY: the place has NAME_BYTES bytes and `length` is at most that; they are written
        // once, before `length`, which was seen set (if it is 0 nothing is copied).
        site.name
            .read(|bytes| unsafe { name.as_mut_ptr().copy_from_nonoverlapping(bytes, length) });
        (length > 0).then(|| text::clean(&String::from_utf8_lossy(&name[..length])).into_owned())
    }

    fn set(&self, place: usize, file: &str, line: u32) {
        #![allow(unsafe_code)]
        let site = &self.sites[place];
        let tail = (file.len().saturating_sub(NAME_BYTES)..=file.len())
            .find(|&start| file.is_char_boundary(start))
            .map_or("", |start| &file[start..]);
        // SAFETY: the tail is at most NAME_BYTES long; the owner writes this place once, and nobody
        // reads it before `length` is set.
        site.name
            .write(|bytes| unsafe { bytes.copy_from_nonoverlapping(tail.as_ptr(), tail.len()) });
        site.line.store(line, Ordering::Relaxed);
        // Release matches the Acquire in `get`.
        site.length.store(tail.len() as u32, Ordering::Release);
    }
}

/// A process' own index of the sites it has entered into its table.
#[derive(Debug)]
pub(crate) struct SiteIndex {
    /// Open addressing by the address of what a site was entered for.
    places: [Option<(usize, u32)>; PLACES],
    entered: u32,
}

impl SiteIndex {
    pub(crate) fn new() -> Self {
        Self {
            places: [None; PLACES],
            entered: 0,
        }
    }

    /// The number of `location` in the owner's `table`, entering it if it is new.
    #[inline]
    pub(crate) fn number(
        &mut self,
        location: &'static Location<'static>,
        table: &SiteTable,
    ) -> u32 {
        let key = core::ptr::from_ref(location).addr();
        self.number_of(key, table, || (location.file(), location.line()))
    }

    /// The number of what is known by the address `key` (of something that lives for ever), entering
    /// its name and line if it is new.
    #[inline]
    pub(crate) fn number_of<'a>(
        &mut self,
        key: usize,
        table: &SiteTable,
        describe: impl FnOnce() -> (&'a str, u32),
    ) -> u32 {
        let mut at = key / align_of::<Location<'_>>() % PLACES;
        // Ends: the index is never more than half full.
        while let Some((known, number)) = self.places[at] {
            if known == key {
                return number;
            }
            at = (at + 1) % PLACES;
        }
        self.enter(at, key, describe(), table)
    }

    #[cold]
    fn enter(
        &mut self,
        at: usize,
        key: usize,
        (name, line): (&str, u32),
        table: &SiteTable,
    ) -> u32 {
        if self.entered as usize == SITES {
            return 0;
        }
        table.set(self.entered as usize, name, line);
        self.entered += 1;
        self.places[at] = Some((key, self.entered));
        self.entered
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::SiteTable;

    /// A name is what a broken peer may have written over it.
    #[test]
    fn names_never_control_a_terminal() {
        #![allow(unsafe_code)]
        // SAFETY: atomics and bytes are valid when zero.
        let table: Box<SiteTable> = Box::new(unsafe { core::mem::zeroed() });
        table.set(0, "src/\u{1b}]0;X\u{7}\n\u{202e}.rs", 7);
        assert_eq!(
            table.get(1).as_deref(),
            Some(r"src/\u{1b}]0;X\u{7}\n\u{202e}.rs:7")
        );
    }
}

#[cfg(all(test, not(loom), target_endian = "little", target_pointer_width = "64"))]
mod documented {
    use super::{SITES, Site, SiteTable};
    use crate::documented::{expect, expect_words, fields};

    #[test]
    fn the_page_states_the_call_sites() {
        let site = fields!(Site { length, line, name });
        expect("### Call sites", site, size_of::<Site>());
        expect_words(&format!("{SITES} places of {} bytes", size_of::<Site>()));
        assert_eq!(size_of::<SiteTable>(), SITES * size_of::<Site>());
    }
}
