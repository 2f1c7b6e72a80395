//! Where pages lie, as the kernel tells: `/proc/self/numa_maps`.

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

/// The pages of the mapping that begins at `address` and that this process has touched; `None` if
/// the kernel does not tell.
///
/// The kernel keeps a line for each stretch of a mapping with one policy; those up to `end` count.
pub(crate) fn of_mapping(address: usize, end: usize) -> Option<PagesPerNode> {
    let maps = fs::read_to_string("/proc/self/numa_maps").ok()?;
    Some(count(&maps, address, end))
}

fn count(maps: &str, address: usize, end: usize) -> PagesPerNode {
    let mut pages = PagesPerNode::default();
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let start = words
            .next()
            .and_then(|word| usize::from_str_radix(word, 16).ok());
        if !start.is_some_and(|start| (address..end).contains(&start)) {
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
    use super::count;

    #[test]
    fn stretches_of_one_mapping_add_up() {
        let maps = "\
7f0000000000 interleave:0-3 file=/dev/shm/#17\\040(deleted) dirty=8 N0=2 N1=2 N2=2 N3=2 kernelpagesize_kB=4
7f0000008000 prefer:1 file=/dev/shm/#17\\040(deleted) dirty=5 N1=5 kernelpagesize_kB=4
7f0000010000 default anon=9 N0=9 kernelpagesize_kB=4
";
        let pages = count(maps, 0x7f00_0000_0000, 0x7f00_0001_0000);
        assert_eq!(
            pages.to_string(),
            "node 0: 2, node 1: 7, node 2: 2, node 3: 2"
        );
        assert_eq!(pages.on(4), 0);
        assert_eq!(count(maps, 0x1000, 0x2000).iter().count(), 0);
    }
}
