//! Where pages lie and how large they are, as the kernel tells: `/proc/self/numa_maps` and `smaps`.

use core::ops::Range;
use std::{collections::BTreeMap, fmt, fs};

/// How many pages lie on each node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PagesPerNode(BTreeMap<usize, u64>);

impl PagesPerNode {
    /// Nodes by the kernel's numbers, each with its pages.
    pub fn iter(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.0.iter().map(|(&node, &pages)| (node, pages))
    }

    /// The pages on `node`.
    #[must_use]
    pub fn on(&self, node: usize) -> u64 {
        self.0.get(&node).copied().unwrap_or(0)
    }
}

impl fmt::Display for PagesPerNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for (node, pages) in self.iter() {
            write!(f, "{comma}node {node}: {pages}")?;
            comma = ", ";
        }
        Ok(())
    }
}

/// The pages of the mapping at these addresses that this process has touched; `None` if the kernel
/// does not tell.
pub(crate) fn pages_in(addresses: &Range<usize>) -> Option<PagesPerNode> {
    let maps = fs::read_to_string("/proc/self/numa_maps").ok()?;
    Some(count(&maps, addresses))
}

/// How many bytes of the mapping at these addresses this process has on huge pages; `None` if the
/// kernel does not tell.
pub(crate) fn huge_bytes_in(addresses: &Range<usize>) -> Option<u64> {
    Some(huge(
        &fs::read_to_string("/proc/self/smaps").ok()?,
        addresses,
    ))
}

fn huge(maps: &str, addresses: &Range<usize>) -> u64 {
    const HUGE: [&str; 4] = [
        "AnonHugePages:",
        "ShmemPmdMapped:",
        "Shared_Hugetlb:",
        "Private_Hugetlb:",
    ];
    let mut inside = false;
    let mut kibibytes = 0;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if let Some((start, _)) = first.split_once('-') {
            let start = usize::from_str_radix(start, 16);
            inside = start.is_ok_and(|start| addresses.contains(&start));
        } else if inside && HUGE.contains(&first) {
            let value = words.next().and_then(|word| word.parse::<u64>().ok());
            kibibytes += value.unwrap_or(0);
        }
    }
    kibibytes << 10
}

/// The kernel keeps a line for each stretch of a mapping with one policy.
fn count(maps: &str, addresses: &Range<usize>) -> PagesPerNode {
    let mut pages = PagesPerNode::default();
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let start = words
            .next()
            .and_then(|word| usize::from_str_radix(word, 16).ok());
        if !start.is_some_and(|start| addresses.contains(&start)) {
            continue;
        }
        let of_node = |word: &str| {
            let (node, count) = word.strip_prefix('N')?.split_once('=')?;
            Some((node.parse().ok()?, count.parse::<u64>().ok()?))
        };
        for (node, count) in words.filter_map(of_node) {
            *pages.0.entry(node).or_default() += count;
        }
    }
    pages
}

#[cfg(test)]
mod tests {
    use super::{count, huge};

    #[test]
    fn stretches_of_one_mapping_add_up() {
        let maps = "\
7f0000000000 interleave:0-3 file=/dev/shm/#17\\040(deleted) dirty=8 N0=2 N1=2 N2=2 N3=2 kernelpagesize_kB=4
7f0000008000 prefer:1 file=/dev/shm/#17\\040(deleted) dirty=5 N1=5 kernelpagesize_kB=4
7f0000010000 default anon=9 N0=9 kernelpagesize_kB=4
";
        let pages = count(maps, &(0x7f00_0000_0000..0x7f00_0001_0000));
        assert_eq!(
            pages.to_string(),
            "node 0: 2, node 1: 7, node 2: 2, node 3: 2"
        );
        assert_eq!(pages.on(4), 0);
        assert_eq!(count(maps, &(0x1000..0x2000)).iter().count(), 0);
    }

    #[test]
    fn huge_pages_of_both_kinds_count() {
        let maps = "\
7f0000000000-7f0000400000 rw-s 00000000 00:01 77     /memfd:cobre-window (deleted)
Size:               4096 kB
ShmemPmdMapped:     2048 kB
Shared_Hugetlb:        0 kB
7f0000400000-7f0000800000 rw-s 00400000 00:01 77     /memfd:cobre-window (deleted)
Private_Hugetlb:    4096 kB
7f0001000000-7f0001200000 rw-p 00000000 00:00 0
AnonHugePages:      2048 kB
";
        assert_eq!(huge(maps, &(0x7f00_0000_0000..0x7f00_0080_0000)), 6 << 20);
        assert_eq!(huge(maps, &(0..0x1000)), 0);
    }
}
