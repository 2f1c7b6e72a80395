//! The kernel's own description of the machine, as files.
//!
//! Documentation/ABI/stable/sysfs-devices-system-cpu and -node of the kernel.

use std::{collections::BTreeMap, fs, io, path::Path};

use super::{CpuList, Machine, Node, Processor};

/// Where the kernel keeps it.
pub(super) const DEVICES: &str = "/sys/devices";

/// Reads the machine described under `devices`, a copy of `/sys/devices`.
pub(super) fn read(devices: &Path) -> io::Result<Machine> {
    let cpus = devices.join("system/cpu");
    let online = fs::read_to_string(cpus.join("online"))?;
    let online = CpuList::parse(&online).ok_or(io::ErrorKind::InvalidData)?;
    let nodes = nodes(&devices.join("system/node"));
    let efficient = efficient_cores(devices, &online);
    let mut names = Numbering::default();
    let processors = online.iter().map(|number| {
        let folder = cpus.join(format!("cpu{number}"));
        let topology = |file: &str| word(&folder.join("topology").join(file));
        let package = topology("physical_package_id").unwrap_or_default();
        let core = topology("core_cpus_list")
            .or_else(|| topology("thread_siblings_list"))
            .unwrap_or_else(|| number.to_string());
        let cache = last_level_cache(&folder.join("cache"));
        let cache = cache.map_or_else(
            || format!("package {package}"),
            |(level, shared)| format!("L{level} of {shared}"),
        );
        let node = nodes.iter().find(|(_, cpus)| cpus.contains(number));
        Processor {
            number,
            core: names.number("core", core),
            cache: names.number("cache", cache),
            node: node.map_or(0, |(node, _)| node.number),
            package: names.number("package", package),
            efficient: efficient.contains(number),
        }
    });
    let processors = processors.collect();
    let mut nodes: Vec<Node> = nodes.into_iter().map(|(node, _)| node).collect();
    if nodes.is_empty() {
        nodes.push(Node {
            number: 0,
            memory: 0,
        });
    }
    Ok(Machine::new(processors, nodes))
}

/// Gives what the kernel names in its own ways numbers from 0, in order of appearance.
#[derive(Default)]
struct Numbering(BTreeMap<(&'static str, String), usize>);

impl Numbering {
    fn number(&mut self, kind: &'static str, name: String) -> usize {
        let next = self.0.keys().filter(|(known, _)| *known == kind).count();
        *self.0.entry((kind, name)).or_insert(next)
    }
}

fn word(file: &Path) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    Some(text.trim().to_owned())
}

/// The processors that a file lists.
pub(super) fn list(file: &Path) -> Option<CpuList> {
    CpuList::parse(&word(file)?)
}

/// Whether `processors` are all that run in the machine that is described under `devices`; `None` if it
/// is not. (The C library's count will not do: one of them counts those that the caller may use.)
pub(super) fn is_everywhere(devices: &Path, processors: &CpuList) -> Option<bool> {
    let online = list(&devices.join("system/cpu/online"))?;
    Some(processors.has_all(&online))
}

/// The cache of the highest level: that level, and the processors that share it.
pub(super) fn last_level_cache(folder: &Path) -> Option<(u32, String)> {
    let caches = fs::read_dir(folder).ok()?.flatten().filter_map(|cache| {
        let file = |name: &str| word(&cache.path().join(name));
        let level: u32 = file("level")?.parse().ok()?;
        Some((level, file("shared_cpu_list")?))
    });
    // A machine without a shared cache says its second level here; it is still the last.
    caches.max().filter(|(level, _)| *level >= 2)
}

/// The nodes, with their processors.
fn nodes(folder: &Path) -> Vec<(Node, CpuList)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let nodes = entries.filter_map(|entry| {
        let name = entry.file_name();
        let number = name.to_str()?.strip_prefix("node")?.parse().ok()?;
        let cpus = list(&entry.path().join("cpulist"))?;
        let memory = memory(&entry.path().join("meminfo"));
        Some((Node { number, memory }, cpus))
    });
    nodes.collect()
}

/// Bytes of a node: `Node 0 MemTotal: 24 kB` in its meminfo.
fn memory(meminfo: &Path) -> u64 {
    let text = fs::read_to_string(meminfo).unwrap_or_default();
    let line = text.lines().find(|line| line.contains("MemTotal:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

/// The processors of cores built for efficiency: hybrid x86 lists them, Arm gives capacities.
fn efficient_cores(devices: &Path, online: &CpuList) -> CpuList {
    if let Some(list) = list(&devices.join("cpu_atom/cpus")) {
        return list;
    }
    let capacity = |cpu: usize| -> Option<u64> {
        word(&devices.join(format!("system/cpu/cpu{cpu}/cpu_capacity")))?
            .parse()
            .ok()
    };
    let most = online.iter().filter_map(capacity).max();
    let less = |cpu: &usize| capacity(*cpu).is_some_and(|capacity| Some(capacity) < most);
    online.iter().filter(less).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::read;
    use crate::topology::{Level, Machine};
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    /// A description as the kernel writes it, in a folder of its own.
    pub(in crate::topology) struct Described(PathBuf);

    impl Described {
        pub(in crate::topology) fn path(&self) -> &Path {
            &self.0
        }

        pub(in crate::topology) fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("topology-{}-{name}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
                fs::write(path, text).expect("a file");
            }
            Self(root)
        }

        fn read(&self) -> Machine {
            read(&self.0).expect("a description")
        }
    }

    impl Drop for Described {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn parts(machine: &Machine, level: Level) -> Vec<Vec<usize>> {
        let parts = machine.parts(level).into_iter();
        let numbers = parts.map(|(_, part)| part.iter().map(|one| one.number).collect());
        numbers.collect()
    }

    #[test]
    fn a_server_with_two_nodes_two_caches_each_and_two_threads_a_core() {
        let mut files = vec![("system/cpu/online".to_owned(), "0-15\n".to_owned())];
        for cpu in 0..16_usize {
            let (core, sibling) = (cpu % 8, cpu % 8 + 8);
            let folder = format!("system/cpu/cpu{cpu}");
            let cache = core / 2 * 2;
            let mut add =
                |file: &str, text: String| files.push((format!("{folder}/{file}"), text + "\n"));
            add("topology/physical_package_id", "0".to_owned());
            add("topology/core_cpus_list", format!("{core},{sibling}"));
            add("cache/index0/level", "1".to_owned());
            add("cache/index0/shared_cpu_list", format!("{core},{sibling}"));
            add("cache/index3/level", "3".to_owned());
            add(
                "cache/index3/shared_cpu_list",
                format!("{cache}-{},{}-{}", cache + 1, cache + 8, cache + 9),
            );
        }
        for (node, cpus) in [(0, "0-3,8-11"), (1, "4-7,12-15"), (2, "")] {
            let file = |name: &str| format!("system/node/node{node}/{name}");
            files.push((file("cpulist"), format!("{cpus}\n")));
            files.push((file("meminfo"), format!("Node {node} MemTotal:  64 kB\n")));
        }
        let files: Vec<_> = files
            .iter()
            .map(|(p, t)| (p.as_str(), t.as_str()))
            .collect();
        let machine = Described::new("server", &files).read();
        assert_eq!(parts(&machine, Level::Core)[1], [1, 9]);
        assert_eq!(parts(&machine, Level::Cache)[1], [2, 3, 10, 11]);
        assert_eq!(
            parts(&machine, Level::Node)[1],
            [4, 5, 6, 7, 12, 13, 14, 15]
        );
        assert_eq!(parts(&machine, Level::Package).len(), 1);
        // A node of memory alone.
        assert_eq!(machine.nodes().len(), 3);
        assert_eq!(machine.nodes()[2].memory, 64 << 10);
        assert_eq!(machine.node_of(13), Some(1));
    }

    #[test]
    fn cores_built_for_efficiency_are_told_apart() {
        let files = [
            ("system/cpu/online", "0-3"),
            ("cpu_core/cpus", "0-1"),
            ("cpu_atom/cpus", "2-3"),
        ];
        let machine = Described::new("hybrid", &files).read();
        let efficient: Vec<bool> = machine.processors().iter().map(|p| p.efficient).collect();
        assert_eq!(efficient, [false, false, true, true]);
        let files = [
            ("system/cpu/online", "0-1"),
            ("system/cpu/cpu0/cpu_capacity", "400"),
            ("system/cpu/cpu1/cpu_capacity", "1024"),
        ];
        let machine = Described::new("arm", &files).read();
        assert!(machine.processors()[0].efficient && !machine.processors()[1].efficient);
    }

    #[test]
    fn what_is_not_described_is_one() {
        let machine = Described::new("bare", &[("system/cpu/online", "0,2-3")]).read();
        assert_eq!(parts(&machine, Level::Core), [[0], [2], [3]]);
        for level in [Level::Cache, Level::Node, Level::Package] {
            assert_eq!(parts(&machine, level), [[0, 2, 3]]);
        }
        assert!(read(&std::env::temp_dir().join("no-such-description")).is_err());
    }

    #[test]
    fn this_machine_has_the_processors_we_may_use() {
        let machine = Machine::read().expect("a description");
        assert!(!machine.processors().is_empty());
    }
}
