//! Where a rank may run, in five words: found out when it joins, from few files, and read by all.
//!
//! Because a rank writes them once, before it says that it has joined, every rank reads the same words
//! of it: what is decided by them alone is decided alike everywhere.

use std::{collections::BTreeSet, fs, path::Path};

use super::{CpuList, sysfs};

/// Where a rank may run. A cache and a package are named by their lowest processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// How many processors it may run on; 0 if unknown.
    pub(crate) processors: usize,
    /// What has all of them. Nothing has, as far as this tells, if the rank may run everywhere.
    pub(crate) package: Option<usize>,
    pub(crate) node: Option<usize>,
    pub(crate) cache: Option<usize>,
    /// Differs between different sets of processors.
    pub(crate) set: u32,
}

/// A place as it travels: what may be absent is shifted by one.
pub(crate) type Packed = [u32; 5];

impl Place {
    /// The place of the calling thread.
    pub(crate) fn own() -> Self {
        CpuList::of_process(0).map_or_else(Self::default, |allowed| {
            Self::of(Path::new(sysfs::DEVICES), &allowed)
        })
    }

    /// The place of a rank that may run on `allowed` of the machine that is described under `devices`.
    ///
    /// Reads one file if that is all of it, which is the usual case, and else what concerns the lowest
    /// processor.
    fn of(devices: &Path, allowed: &CpuList) -> Self {
        let place = Self {
            processors: allowed.len(),
            set: hash(allowed),
            ..Self::default()
        };
        let everywhere = sysfs::is_everywhere(devices, allowed);
        let (Some(lowest), Some(false)) = (allowed.iter().next(), everywhere) else {
            return place;
        };
        let folder = devices.join(format!("system/cpu/cpu{lowest}"));
        let has_all = |list: &CpuList| list.has_all(allowed);
        let first = |list: CpuList| list.iter().next();
        let package = sysfs::list(&folder.join("topology/package_cpus_list"))
            .or_else(|| sysfs::list(&folder.join("topology/core_siblings_list")))
            .filter(has_all)
            .and_then(first);
        let cache = sysfs::last_level_cache(&folder.join("cache"))
            .and_then(|(_, shared)| CpuList::parse(&shared))
            .filter(has_all)
            .and_then(first);
        Self {
            package,
            cache,
            node: node(devices, &folder, allowed),
            ..place
        }
    }

    /// How many of the ranks with the places `all`, this one among them, have just the same processors.
    pub(crate) fn sharers(self, all: impl Iterator<Item = Self>) -> usize {
        let same = |place: &Self| (place.processors, place.set) == (self.processors, self.set);
        all.filter(same).count().max(1)
    }

    /// How many processors the ranks with the places `all` have together, if those who do not share all
    /// of them share none.
    pub(crate) fn together(all: impl Iterator<Item = Self>) -> usize {
        let sets: BTreeSet<_> = all.map(|place| (place.set, place.processors)).collect();
        sets.iter().map(|(_, processors)| processors).sum()
    }

    pub(crate) fn packed(self) -> Packed {
        let shifted = |number: Option<usize>| {
            number.map_or(0, |number| u32::try_from(number + 1).unwrap_or(0))
        };
        [
            u32::try_from(self.processors).unwrap_or(0),
            shifted(self.package),
            shifted(self.node),
            shifted(self.cache),
            self.set,
        ]
    }

    pub(crate) fn unpacked([processors, package, node, cache, set]: Packed) -> Self {
        let number = |shifted: u32| (shifted as usize).checked_sub(1);
        Self {
            processors: processors as usize,
            package: number(package),
            node: number(node),
            cache: number(cache),
            set,
        }
    }
}

/// The node that has all of `allowed`; the folder of one of them has a link to its node.
fn node(devices: &Path, folder: &Path, allowed: &CpuList) -> Option<usize> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let node = |entry: fs::DirEntry| {
        let number: usize = entry
            .file_name()
            .to_str()?
            .strip_prefix("node")?
            .parse()
            .ok()?;
        let cpus = devices.join(format!("system/node/node{number}/cpulist"));
        sysfs::list(&cpus)?.has_all(allowed).then_some(number)
    };
    entries.filter_map(node).next()
}

fn hash(cpus: &CpuList) -> u32 {
    // FNV-1a.
    cpus.iter().fold(0x811c_9dc5, |hash: u32, cpu| {
        (hash ^ cpu as u32).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::Place;
    use crate::topology::{
        CpuList,
        sysfs::{self, tests::Described},
    };

    /// Two nodes of four processors; two processors share a cache.
    fn described(name: &str) -> Described {
        let mut files = vec![("system/cpu/online".to_owned(), "0-7".to_owned())];
        for cpu in 0..8 {
            let (pair, node) = (cpu / 2 * 2, cpu / 4);
            let folder = format!("system/cpu/cpu{cpu}");
            let mut add = |file: &str, text: String| files.push((format!("{folder}/{file}"), text));
            add("topology/package_cpus_list", "0-7".to_owned());
            add("cache/index3/level", "3".to_owned());
            add(
                "cache/index3/shared_cpu_list",
                format!("{pair}-{}", pair + 1),
            );
            add(&format!("node{node}/cpulist"), String::new());
        }
        files.push(("system/node/node0/cpulist".to_owned(), "0-3".to_owned()));
        files.push(("system/node/node1/cpulist".to_owned(), "4-7".to_owned()));
        let files: Vec<_> = files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        Described::new(name, &files)
    }

    #[test]
    fn ranks_have_together_what_each_set_has() {
        let described = described("place-together");
        let together = |lists: &[&str]| {
            let list = |list: &&str| CpuList::parse(list).expect("a list");
            let places = lists.iter().map(list);
            Place::together(places.map(|list| Place::of(described.path(), &list)))
        };
        assert_eq!(together(&["0-7", "0-7", "0-7"]), 8);
        assert_eq!(together(&["0", "1", "2"]), 3);
        assert_eq!(together(&["0-1", "0-1", "2-3", "2-3"]), 4);
    }

    #[test]
    fn what_has_all_processors_is_the_place() {
        let described = described("place-of");
        let place = |list: &str| {
            let place = Place::of(described.path(), &CpuList::parse(list).expect("a list"));
            assert_eq!(Place::unpacked(place.packed()), place);
            (place.processors, place.package, place.node, place.cache)
        };
        assert_eq!(place("6-7"), (2, Some(0), Some(1), Some(6)));
        assert_eq!(place("4,6"), (2, Some(0), Some(1), None));
        assert_eq!(place("3-4"), (2, Some(0), None, None));
        // Everywhere is nowhere in particular.
        assert_eq!(place("0-7"), (8, None, None, None));
        assert_eq!(place(""), (0, None, None, None));
        let is_everywhere = |list| {
            let list = CpuList::parse(list).expect("a list");
            sysfs::is_everywhere(described.path(), &list)
        };
        assert_eq!(is_everywhere("0-7"), Some(true));
        assert_eq!(is_everywhere("0-3"), Some(false));
    }

    #[test]
    fn different_sets_are_told_apart() {
        let described = described("place-set");
        let set =
            |list: &str| Place::of(described.path(), &CpuList::parse(list).expect("a list")).set;
        assert_eq!(set("1,3"), set("1,3"));
        assert_ne!(set("1,3"), set("1,2"));
    }

    #[test]
    fn ranks_share_with_those_that_have_the_same_processors() {
        let described = described("place-shared");
        let place =
            |list: &str| Place::of(described.path(), &CpuList::parse(list).expect("a list"));
        let bound = [place("0-1"), place("2-3"), place("4-7"), place("4-7")];
        let sharers = bound.map(|place| place.sharers(bound.into_iter()));
        assert_eq!(sharers, [1, 1, 2, 2]);
        let free = [place("0-7"); 3];
        assert_eq!(free[0].sharers(free.into_iter()), 3);
    }
}
