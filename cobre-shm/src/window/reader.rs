//! A window in its read epoch.

#![allow(unsafe_code)]

use core::{ops::Deref, panic::Location, slice};

use cobre_comm_trait::{CommData, CommError, RegionReader};

use super::{
    memory::Towards,
    options::WindowPlacement,
    region::{ShmRegion, Table},
};

/// A window in its read epoch.
#[derive(Debug)]
pub struct ShmReader<T>(pub(super) Table<T>);

impl<T: CommData> ShmReader<T> {
    /// Where the pages were asked to lie, and where they are. Not collective.
    #[must_use]
    pub fn placement(&self) -> WindowPlacement {
        self.0.placement()
    }
}

impl<T: CommData> Deref for ShmReader<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        let (start, len) = self.0.all();
        // SAFETY: in the read epoch every rank has `&` access to the whole window and none has
        // `&mut`; the epoch ends with a fence that takes `self`. Every bit pattern is a `T`.
        unsafe { slice::from_raw_parts(start, len) }
    }
}

impl<T: CommData> RegionReader<T> for ShmReader<T> {
    type Writer = ShmRegion<T>;

    #[track_caller]
    fn fence(self) -> Result<ShmRegion<T>, CommError> {
        self.0.fence(Towards::Write, Location::caller())?;
        Ok(ShmRegion(self.0))
    }

    #[track_caller]
    fn update_by_leader<F: FnOnce(&mut [T])>(self, update: F) -> Result<Self, CommError> {
        self.0.led(update, Location::caller())?;
        Ok(self)
    }
}
