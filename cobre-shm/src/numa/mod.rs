//! Where a window's pages lie: what may be asked for, how it is asked, and what was got.

mod pages;
mod policy;

pub use pages::PagesPerNode;

pub(crate) use pages::{huge_bytes_in, pages_in};
pub(crate) use policy::{Unplaced, bind};

/// Where the pages of a window shall lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Placement {
    /// Each part on the node on which its rank runs at creation.
    #[default]
    FirstTouch,
    /// Page by page over all nodes with memory.
    Interleaved,
    /// Page by page over these nodes, by the kernel's numbers.
    InterleavedOver(Vec<usize>),
    /// On this node, by the kernel's number, while it has room.
    OnNode(usize),
    /// Each part on the node of the processors that its rank may run on. As
    /// [`FirstTouch`](Self::FirstTouch) for a rank that may run on several nodes.
    Owners,
}

/// Which policy a part of memory gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    Interleave(Vec<usize>),
    Prefer(usize),
}
