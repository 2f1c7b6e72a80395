//! What a window may be asked for beyond its length.

use core::ops::Range;

use super::huge::SmallPages;
use crate::{
    numa::{PagesPerNode, Placement},
    sync::round::mix,
};

/// Whether the pages of a window shall be huge: 2 MiB on x86. Fewer of them cover a large table, so
/// that reading here and there in it misses fewer translations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HugePages {
    /// Pages of the usual size.
    #[default]
    No,
    /// Transparent ones, where the kernel offers them to shared memory
    /// (`/sys/kernel/mm/transparent_hugepage/shmem_enabled`).
    Transparent,
    /// Those that the administrator has reserved (`vm.nr_hugepages`, hugetlb); if there are too few,
    /// transparent ones.
    Reserved,
}

/// How a window is created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WindowOptions {
    /// `None`: as the environment says.
    pub(super) placement: Option<Placement>,
    pub(super) huge_pages: HugePages,
    /// `None`: contiguous blocks of about the same length.
    pub(super) parts: Option<Vec<Range<usize>>>,
}

impl WindowOptions {
    /// Parts of about the same length in rank order, pages of the usual size, placed by first touch
    /// (interleaved if `COBRE_SHM_NUMA_INTERLEAVE` is 1).
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

    /// Asks for huge pages. If they are unavailable, the window has others, and says why.
    #[must_use]
    pub fn huge_pages(self, huge_pages: HugePages) -> Self {
        Self { huge_pages, ..self }
    }

    /// Which elements belong to which rank: `parts[r]` to rank `r`. The parts cover the window without
    /// overlap, in any order; they may be empty.
    ///
    /// Parts that begin on a page (4096 bytes) are placed apart to the page; those that begin on a cache
    /// line (64 bytes) are written by different ranks without taking lines from each other. A window
    /// begins on a page. See [`Rows`](cobre_comm_trait::Rows) for parts of whole rows.
    #[must_use]
    pub fn parts(self, parts: impl Into<Vec<Range<usize>>>) -> Self {
        Self {
            parts: Some(parts.into()),
            ..self
        }
    }

    /// One word that differs when ranks ask for different things.
    pub(super) fn code(&self) -> u64 {
        let mut words = vec![self.huge_pages as u64];
        match &self.placement {
            None => words.push(0),
            Some(Placement::FirstTouch) => words.push(1),
            Some(Placement::Interleaved) => words.push(2),
            Some(Placement::InterleavedOver(nodes)) => {
                words.extend([3, nodes.len() as u64]);
                words.extend(nodes.iter().map(|&node| node as u64));
            }
            Some(Placement::OnNode(node)) => words.extend([4, *node as u64]),
            Some(Placement::Owners) => words.push(5),
        }
        for part in self.parts.iter().flatten() {
            words.extend([part.start as u64, part.end as u64]);
        }
        words.iter().fold(0, |code, &word| mix(code ^ word))
    }
}

/// What a window got of what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WindowPlacement {
    /// Where its pages were asked to lie.
    pub requested: Placement,
    /// Why that was not done, if it was not: the pages lie where the kernel put them.
    pub unplaced: Option<String>,
    /// Why pages are smaller than asked for, if they are.
    pub small_pages: Option<SmallPages>,
    /// The size of the pages that [`pages`](Self::pages) counts: that of huge pages if they were
    /// reserved.
    pub page_size: usize,
    /// The pages that this process has touched, its own part at least, per node; `None` if the
    /// kernel does not tell.
    pub pages: Option<PagesPerNode>,
    /// How many bytes of them lie on huge pages, transparent or reserved; `None` if the kernel does not
    /// tell.
    pub huge_bytes: Option<u64>,
}
