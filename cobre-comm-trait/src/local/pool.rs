//! Pools of one rank.

use core::ops::{Deref, Range};

use crate::{CommData, CommError, SharedPool, check};

/// A pool of a [`LocalComm`](crate::LocalComm).
#[derive(Debug)]
pub struct LocalPool<T> {
    elements: Vec<T>,
    capacity: usize,
}

impl<T> LocalPool<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            elements: Vec::new(),
            capacity,
        }
    }
}

impl<T> Deref for LocalPool<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.elements
    }
}

impl<T: CommData> SharedPool<T> for LocalPool<T> {
    fn capacity(&self) -> usize {
        self.capacity
    }

    fn append<F: FnOnce(&mut [T])>(
        &mut self,
        count: usize,
        fill: F,
    ) -> Result<Range<usize>, CommError> {
        let start = self.elements.len();
        check::append::<T>(Some(count), self.capacity - start)?;
        self.elements.resize(start + count, T::zeroed());
        fill(&mut self.elements[start..]);
        Ok(start..start + count)
    }
}
