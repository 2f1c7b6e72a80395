//! The shared memory of a job as its processes have mapped it.

use std::{collections::BTreeMap, fs};

use procfs::process::{MMapPath, Process};
use serde::Serialize;

use crate::find::object_name;

/// A shared object that ranks have mapped and that is no control segment: a window.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Window {
    pub(crate) inode: u64,
    pub(crate) bytes: u64,
    /// How many ranks have it mapped.
    pub(crate) ranks: usize,
    /// Bytes that ranks have touched; an estimate, since two may have touched the same.
    pub(crate) touched: u64,
    /// The same by NUMA node.
    pub(crate) nodes: BTreeMap<usize, u64>,
}

/// The windows that the processes `pids` have mapped: everything from `/dev/shm` but what has one of
/// the inodes `but`, and the memory files of windows with huge pages.
pub(crate) fn windows(pids: &[u32], but: &[u64]) -> Vec<Window> {
    let mut windows: BTreeMap<Object, Window> = BTreeMap::new();
    for &pid in pids {
        let placed = placement(pid);
        let mut mine: BTreeMap<Object, Window> = BTreeMap::new();
        for (start, end, object) in mappings(pid) {
            if !object.is_memory_file && but.contains(&object.inode) {
                continue;
            }
            let window = mine.entry(object).or_default();
            window.bytes += end - start;
            for (&node, &bytes) in placed.get(&start).into_iter().flatten() {
                *window.nodes.entry(node).or_default() += bytes;
            }
        }
        for (object, seen) in mine {
            let window = windows.entry(object).or_default();
            window.inode = object.inode;
            window.ranks += 1;
            window.bytes = window.bytes.max(seen.bytes);
            for (node, bytes) in seen.nodes {
                *window.nodes.entry(node).or_default() += bytes;
            }
        }
    }
    windows.values_mut().for_each(Window::count_once);
    windows.into_values().collect()
}

/// How the kernel names the memory file of a window.
const MEMORY_FILE: &str = "/memfd:cobre-window";

impl Window {
    /// Makes of what the ranks have touched, one and all, how much of the window that is.
    fn count_once(&mut self) {
        let all: u64 = self.nodes.values().sum();
        self.touched = all.min(self.bytes);
        for bytes in self.nodes.values_mut() {
            let part = u128::from(*bytes) * u128::from(self.touched);
            // Not above `touched`.
            *bytes = part.checked_div(all.into()).unwrap_or_default() as u64;
        }
    }
}

/// What a mapping shows. Inodes are numbered by each file system: memory files lie on another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Object {
    is_memory_file: bool,
    inode: u64,
}

/// Start and end of each mapping of a shared-memory object, and which it is.
fn mappings(pid: u32) -> Vec<(u64, u64, Object)> {
    let maps = pid
        .try_into()
        .ok()
        .and_then(|pid| Process::new(pid).ok()?.maps().ok());
    let maps = maps.into_iter().flatten();
    maps.filter_map(|map| {
        let MMapPath::Path(path) = &map.pathname else {
            return None;
        };
        let path = path.to_str()?;
        let object = Object {
            is_memory_file: path.starts_with(MEMORY_FILE),
            inode: map.inode,
        };
        let is_shared = object.is_memory_file || object_name(path).is_some();
        is_shared.then_some((map.address.0, map.address.1, object))
    })
    .collect()
}

/// Bytes by NUMA node of each mapping of a shared-memory object, by its start.
fn placement(pid: u32) -> BTreeMap<u64, BTreeMap<usize, u64>> {
    let text = fs::read_to_string(format!("/proc/{pid}/numa_maps")).unwrap_or_default();
    let shared = text.lines().filter(|line| {
        line.contains("file=/dev/shm/") || line.contains(&format!("file={MEMORY_FILE}"))
    });
    shared.filter_map(placement_of).collect()
}

fn placement_of(line: &str) -> Option<(u64, BTreeMap<usize, u64>)> {
    let start = u64::from_str_radix(line.split(' ').next()?, 16).ok()?;
    let page = line
        .split("kernelpagesize_kB=")
        .nth(1)
        .map_or(Some(4), |kib| kib.split(' ').next()?.parse::<u64>().ok())?;
    let on_node = |word: &str| {
        let (node, pages) = word.strip_prefix('N')?.split_once('=')?;
        let pages: u64 = pages.parse().ok()?;
        Some((
            node.parse().ok()?,
            pages.checked_mul(page)?.checked_mul(1024)?,
        ))
    };
    Some((start, line.split(' ').filter_map(on_node).collect()))
}

#[cfg(test)]
mod tests {
    use super::{Window, placement_of};

    #[test]
    fn what_many_have_touched_is_counted_once() {
        let mut window = Window {
            bytes: 100,
            nodes: [(0, 300), (1, 100)].into(),
            ..Window::default()
        };
        window.count_once();
        assert_eq!(
            (window.touched, window.nodes),
            (100, [(0, 75), (1, 25)].into())
        );
        let mut untouched = Window::default();
        untouched.count_once();
        assert_eq!(untouched.touched, 0);
    }

    #[test]
    fn pages_are_counted_by_node() {
        let line = "7f00aa000000 default file=/dev/shm/#77\\040(deleted) dirty=6 N0=2 N3=4 kernelpagesize_kB=4";
        let (start, nodes) = placement_of(line).unwrap();
        assert_eq!(start, 0x7f00_aa00_0000);
        assert_eq!(
            nodes.into_iter().collect::<Vec<_>>(),
            [(0, 8192), (3, 16384)]
        );
        assert_eq!(placement_of("no address"), None);
    }
}
