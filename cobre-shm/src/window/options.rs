//! What a window may be asked for beyond its length.

use crate::{
    numa::{PagesPerNode, Placement},
    round::mix,
};

/// How a window is created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WindowOptions {
    /// `None`: as the environment says.
    pub(super) placement: Option<Placement>,
    pub(super) huge_pages: bool,
}

impl WindowOptions {
    /// Pages of the usual size, placed by first touch (interleaved if `COBRE_SHM_NUMA_INTERLEAVE`
    /// is 1).
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the pages shall lie.
    #[must_use]
    pub fn placement(self, placement: Placement) -> Self {
        Self {
            placement: Some(placement),
            ..self
        }
    }

    /// Asks for huge pages, where the system offers them to shared memory.
    #[must_use]
    pub fn huge_pages(self, wanted: bool) -> Self {
        Self {
            huge_pages: wanted,
            ..self
        }
    }

    /// One word that differs when ranks ask for different things.
    pub(super) fn code(&self) -> u64 {
        let placement = match &self.placement {
            None => vec![0],
            Some(Placement::FirstTouch) => vec![1],
            Some(Placement::Interleaved) => vec![2],
            Some(Placement::InterleavedOver(nodes)) => {
                let nodes = nodes.iter().map(|&node| node as u64);
                core::iter::once(3).chain(nodes).collect()
            }
            Some(Placement::OnNode(node)) => vec![4, *node as u64],
            Some(Placement::Owners) => vec![5],
        };
        let start = u64::from(self.huge_pages);
        placement.iter().fold(start, |code, &word| mix(code ^ word))
    }
}

/// Where a window's pages are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WindowPlacement {
    /// What was asked for.
    pub requested: Placement,
    /// Why it was not done, if it was not: the pages lie where the kernel put them.
    pub unplaced: Option<String>,
    /// Why there are no huge pages, if they were asked for.
    pub small_pages: Option<String>,
    /// The pages that this process has touched, its own part at least, per node; `None` if the
    /// kernel does not tell.
    pub pages: Option<PagesPerNode>,
}
