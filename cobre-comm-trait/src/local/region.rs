//! Regions on the heap.

use core::ops::{Deref, Range};

use crate::{CommData, CommError, RegionReader, SharedRegion};

/// A region of a [`LocalComm`](crate::LocalComm) in its write epoch.
#[derive(Debug)]
pub struct LocalRegion<T> {
    elements: Vec<T>,
}

/// A region of a [`LocalComm`](crate::LocalComm) in its read epoch.
#[derive(Debug)]
pub struct LocalReader<T> {
    elements: Vec<T>,
}

impl<T> LocalRegion<T> {
    pub(super) fn new(elements: Vec<T>) -> Self {
        Self { elements }
    }
}

impl<T: CommData> SharedRegion<T> for LocalRegion<T> {
    type Reader = LocalReader<T>;

    fn len(&self) -> usize {
        self.elements.len()
    }

    fn part(&self) -> Range<usize> {
        0..self.elements.len()
    }

    fn part_mut(&mut self) -> &mut [T] {
        &mut self.elements
    }

    fn fence(self) -> Result<LocalReader<T>, CommError> {
        Ok(LocalReader {
            elements: self.elements,
        })
    }

    fn populate_by_leader<F: FnOnce(&mut [T])>(
        mut self,
        populate: F,
    ) -> Result<LocalReader<T>, CommError> {
        populate(&mut self.elements);
        self.fence()
    }
}

impl<T> Deref for LocalReader<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.elements
    }
}

impl<T: CommData> RegionReader<T> for LocalReader<T> {
    type Writer = LocalRegion<T>;

    fn fence(self) -> Result<LocalRegion<T>, CommError> {
        Ok(LocalRegion {
            elements: self.elements,
        })
    }
}
