//! Pools of one rank.

use core::ops::{Deref, Range};

use super::refused;
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
        let more = self.elements.try_reserve(count);
        more.map_err(|error| refused::<T>(count, &error))?;
        self.elements.resize(start + count, T::zeroed());
        fill(&mut self.elements[start..]);
        Ok(start..start + count)
    }
}

#[cfg(test)]
mod tests {
    use crate::{CommError, LocalComm, PoolProvider, SharedPool};

    #[test]
    fn what_there_is_no_memory_for_is_refused_and_harmless() {
        let mut pool = LocalComm::new()
            .create_pool::<u64>(usize::MAX / 16)
            .unwrap();
        let refused = pool.append(usize::MAX / 16, |_| panic!("must not be called"));
        let requested = match refused {
            Err(CommError::AllocationFailed {
                requested_bytes, ..
            }) => requested_bytes,
            other => panic!("{other:?}"),
        };
        assert_eq!(requested, usize::MAX / 16 * 8);
        assert_eq!(pool.append(3, |mine| mine.fill(7)), Ok(0..3));
        assert_eq!(*pool, [7; 3]);
    }
}
