//! Setting a policy for memory, through libhwloc.

use core::fmt;

#[cfg_attr(
    not(feature = "numa"),
    expect(unused_imports, reason = "the stub needs no policy")
)]
use super::Policy;
use crate::memory::segment::Segment;

/// Why memory lies where the kernel likes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unplaced(pub(crate) String);

impl fmt::Display for Unplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(feature = "numa")]
mod imp {
    #![allow(unsafe_code)]

    use core::{ops::Range, sync::atomic::AtomicU8};
    use std::io;

    use hwlocality::{
        Topology,
        bitmap::BitmapIndex,
        errors::{HybridError, RawHwlocError},
        memory::{
            binding::{MemoryBindingFlags, MemoryBindingPolicy},
            nodeset::NodeSet,
        },
        object::types::ObjectType,
    };

    use super::{Policy, Segment, Unplaced};

    pub(crate) fn bind(
        segment: &Segment,
        bytes: Range<usize>,
        policy: &Policy,
    ) -> Result<(), Unplaced> {
        let refused = |error: &dyn core::fmt::Display| Unplaced(error.to_string());
        let topology = Topology::new().map_err(|error| refused(&error))?;
        let (nodes, policy) = match policy {
            Policy::Interleave(nodes) => (nodes.clone(), MemoryBindingPolicy::Interleave),
            Policy::Prefer(node) => (vec![*node], MemoryBindingPolicy::Bind),
        };
        let known: Vec<usize> = topology
            .objects_with_type(ObjectType::NUMANode)
            .filter_map(|node| node.os_index())
            .collect();
        if let Some(node) = nodes.iter().find(|node| !known.contains(node)) {
            return Err(Unplaced(format!(
                "there is no node {node} (there are {known:?})"
            )));
        }
        let set: NodeSet = nodes
            .iter()
            .filter_map(|&node| BitmapIndex::try_from(node).ok())
            .collect();
        let start = segment.at(bytes.start, bytes.len());
        // SAFETY: `at` checked the range. Atomics may be written by others while this refers to
        // them; the mapping lives as long as the segment.
        let memory = unsafe {
            core::slice::from_raw_parts(start.cast::<AtomicU8>().cast_const(), bytes.len())
        };
        topology
            .bind_memory_area::<[AtomicU8], _>(memory, &set, policy, MemoryBindingFlags::empty())
            .map_err(|error| match &error {
                HybridError::Hwloc(RawHwlocError {
                    errno: Some(errno), ..
                }) => not_permitted(errno.0),
                error => refused(error),
            })
    }

    /// What the kernel said, and the way out if it forbids it to everybody.
    fn not_permitted(errno: i32) -> Unplaced {
        let said = io::Error::from_raw_os_error(errno);
        let remedy = match errno {
            libc::EPERM => " (in a container: --cap-add SYS_NICE)",
            _ => "",
        };
        Unplaced(format!("the kernel does not place memory: {said}{remedy}"))
    }
}

#[cfg(not(feature = "numa"))]
mod imp {
    use core::ops::Range;

    use super::{Segment, Unplaced};
    use crate::numa::Policy;

    pub(crate) fn bind(_: &Segment, _: Range<usize>, _: &Policy) -> Result<(), Unplaced> {
        Err(Unplaced(
            "the library was built without its feature `numa`".to_owned(),
        ))
    }
}

/// Gives the pages of `bytes` (whole pages) of `segment`, touched from now on, this policy.
pub(crate) use imp::bind;
