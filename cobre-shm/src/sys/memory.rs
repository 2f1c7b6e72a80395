//! How much memory this process may still take: what its memory cgroups and the machine leave.
//!
//! The kernel ends a process that goes beyond its cgroup's limit, so this is asked before pages are
//! reserved. Every cgroup up to the root counts, in either version of the interface. What the page
//! cache holds of files counts as free, because the kernel gives it up; shared memory can be swapped.

/// The memory that one limit leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Headroom {
    /// Whose limit it is, for messages.
    pub(crate) of: String,
    pub(crate) bytes: u64,
    /// A limit of a cgroup, not of the machine.
    pub(crate) is_cgroup: bool,
}

/// The tightest limit on this process.
pub(crate) fn headroom() -> Option<Headroom> {
    tightest(|path| std::fs::read_to_string(path).ok())
}

/// The tightest limit that the files of the kernel describe, as `read` shows them.
fn tightest(read: impl Fn(&str) -> Option<String>) -> Option<Headroom> {
    let meminfo = read("/proc/meminfo").unwrap_or_default();
    let field = |name| value_of(&meminfo, name).map(|kilobytes| kilobytes << 10);
    let swap_free = field("SwapFree:").unwrap_or(0);
    let machine = field("MemAvailable:").map(|available| Headroom {
        of: "this machine".to_owned(),
        bytes: available.saturating_add(swap_free),
        is_cgroup: false,
    });
    let mounts = read("/proc/self/mountinfo").unwrap_or_default();
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, group) = (parts.next()?, parts.next()?);
        let version = match controllers {
            "" => Version::Two,
            _ if controllers.split(',').any(|name| name == "memory") => Version::One,
            _ => return None,
        };
        tightest_above(&read, version, &mounts, group, swap_free)
    });
    limits.chain(machine).min_by_key(|room| room.bytes)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// The tightest limit of `group` and the groups above it.
fn tightest_above(
    read: &impl Fn(&str) -> Option<String>,
    version: Version,
    mounts: &str,
    group: &str,
    swap_free: u64,
) -> Option<Headroom> {
    let (root, mount) = mounts.lines().find_map(|line| hierarchy(line, version))?;
    // Seen from inside a container the mount may begin below the root of all groups.
    let below = if root == "/" {
        group
    } else {
        group.strip_prefix(root).unwrap_or("")
    };
    let mut below = below.trim_end_matches('/');
    let mut tightest: Option<Headroom> = None;
    loop {
        let folder = format!("{mount}{below}");
        let number = |file: &str| {
            read(&format!("{folder}/{file}"))?
                .trim()
                .parse::<u64>()
                .ok()
        };
        let stat = read(&format!("{folder}/memory.stat")).unwrap_or_default();
        let bytes = match version {
            Version::One => room_in_version_one(number, &stat, swap_free),
            Version::Two => room_in_version_two(number, &stat, swap_free),
        };
        if let Some(bytes) = bytes
            && tightest.as_ref().is_none_or(|room| bytes < room.bytes)
        {
            let name = if below.is_empty() { "/" } else { below };
            tightest = Some(Headroom {
                of: format!("the memory cgroup {}", shortened(name)),
                bytes,
                is_cgroup: true,
            });
        }
        match below.rfind('/') {
            Some(end) => below = &below[..end],
            None => return tightest,
        }
    }
}

/// The name of a group; of a long one, as containers have them, the beginning and the end. What is to be
/// done about the limit follows it in a message that has no room for everything.
fn shortened(name: &str) -> String {
    const KEPT: [usize; 2] = [24, 48];
    let count = name.chars().count();
    if count <= KEPT.iter().sum::<usize>() {
        return name.to_owned();
    }
    let beginning: String = name.chars().take(KEPT[0]).collect();
    let end: String = name.chars().skip(count - KEPT[1]).collect();
    format!("{beginning}..{end}")
}

/// Root and mount point of the hierarchy, if this line of `mountinfo` is about it.
fn hierarchy(line: &str, version: Version) -> Option<(&str, &str)> {
    let (place, system) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let mut system = system.split(' ');
    let (kind, options) = (system.next()?, system.nth(1)?);
    let fits = match version {
        Version::One => kind == "cgroup" && options.split(',').any(|option| option == "memory"),
        Version::Two => kind == "cgroup2",
    };
    fits.then_some((place.next()?, place.next()?))
}

fn room_in_version_two(
    number: impl Fn(&str) -> Option<u64>,
    stat: &str,
    swap_free: u64,
) -> Option<u64> {
    // "max" is no number: no limit.
    let limit = number("memory.max")?;
    let swap = match (number("memory.swap.max"), number("memory.swap.current")) {
        (Some(limit), Some(used)) => limit.saturating_sub(used).min(swap_free),
        _ => swap_free,
    };
    let used = number("memory.current")?.saturating_sub(reclaimable(stat, "file", "shmem"));
    Some(limit.saturating_sub(used).saturating_add(swap))
}

fn room_in_version_one(
    number: impl Fn(&str) -> Option<u64>,
    stat: &str,
    swap_free: u64,
) -> Option<u64> {
    // A number beyond any memory: no limit.
    let limit = |file| number(file).filter(|limit| *limit < 1 << 60);
    let reclaimable = reclaimable(stat, "total_cache", "total_shmem");
    let room = |limit: Option<u64>, used| {
        let used: u64 = number(used)?;
        Some(limit?.saturating_sub(used.saturating_sub(reclaimable)))
    };
    let memory = room(limit("memory.limit_in_bytes"), "memory.usage_in_bytes");
    let both = room(
        limit("memory.memsw.limit_in_bytes"),
        "memory.memsw.usage_in_bytes",
    );
    let memory = memory.map(|bytes| bytes.saturating_add(swap_free));
    memory.into_iter().chain(both).min()
}

/// Bytes of file pages that are not shared memory.
fn reclaimable(stat: &str, all: &str, shared: &str) -> u64 {
    let value = |name| value_of(stat, name).unwrap_or(0);
    value(all).saturating_sub(value(shared))
}

/// The number after `name`, which begins a line.
fn value_of(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next()? == name)
            .then(|| words.next()?.parse().ok())
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::{Headroom, shortened, tightest};

    const MEGABYTE: u64 = 1 << 20;

    #[test]
    fn a_long_name_of_a_group_loses_its_middle() {
        let pod = format!(
            "/kubepods.slice/{}/cri-containerd-0123456789.scope",
            "x".repeat(300)
        );
        let short = shortened(&pod);
        assert!(short.len() < 80, "{short}");
        assert!(short.starts_with("/kubepods.slice/x") && short.ends_with("0123456789.scope"));
        assert_eq!(shortened("/user.slice"), "/user.slice");
    }

    fn from(files: &[(&str, &str)]) -> Option<Headroom> {
        tightest(|path| {
            let found = files.iter().find(|(name, _)| *name == path);
            found.map(|(_, content)| (*content).to_owned())
        })
    }

    fn cgroup(name: &str, bytes: u64) -> Option<Headroom> {
        Some(Headroom {
            of: format!("the memory cgroup {name}"),
            bytes,
            is_cgroup: true,
        })
    }

    const MEMINFO: (&str, &str) = (
        "/proc/meminfo",
        "MemTotal:       50331648 kB\nMemFree:        40000000 kB\nMemAvailable:   41943040 kB\nSwapTotal:             0 kB\nSwapFree:              0 kB\n",
    );

    /// A container of Docker on a machine with the unified hierarchy: `--memory 256m`.
    #[test]
    fn a_container_in_version_two() {
        let room = from(&[
            MEMINFO,
            ("/proc/self/cgroup", "0::/\n"),
            (
                "/proc/self/mountinfo",
                "755 744 0:26 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate\n756 733 0:51 / /dev/shm rw - tmpfs shm rw,size=65536k\n",
            ),
            ("/sys/fs/cgroup/memory.max", "268435456\n"),
            ("/sys/fs/cgroup/memory.current", "104857600\n"),
            (
                "/sys/fs/cgroup/memory.stat",
                "anon 20971520\nfile 73400320\nkernel 4194304\nshmem 10485760\n",
            ),
            ("/sys/fs/cgroup/memory.swap.max", "0\n"),
            ("/sys/fs/cgroup/memory.swap.current", "0\n"),
        ]);
        // 256 - 100 MB, and the 60 MB of the page cache that are not shared memory.
        assert_eq!(room, cgroup("/", 216 * MEGABYTE));
    }

    /// A job of a batch system: the limit is that of a group above the process'.
    #[test]
    fn the_limit_of_a_group_above_counts() {
        let room = from(&[
            MEMINFO,
            (
                "/proc/self/cgroup",
                "0::/system.slice/slurm/job_7/step_0/task_0\n",
            ),
            (
                "/proc/self/mountinfo",
                "35 24 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
            ),
            (
                "/sys/fs/cgroup/system.slice/slurm/job_7/step_0/task_0/memory.max",
                "max\n",
            ),
            (
                "/sys/fs/cgroup/system.slice/slurm/job_7/step_0/memory.max",
                "2147483648\n",
            ),
            (
                "/sys/fs/cgroup/system.slice/slurm/job_7/step_0/memory.current",
                "1048576\n",
            ),
            (
                "/sys/fs/cgroup/system.slice/slurm/job_7/memory.max",
                "1073741824\n",
            ),
            (
                "/sys/fs/cgroup/system.slice/slurm/job_7/memory.current",
                "1048576\n",
            ),
        ]);
        assert_eq!(room, cgroup("/system.slice/slurm/job_7", 1023 * MEGABYTE));
    }

    /// A container in the old hierarchy, whose mount begins at its own group.
    #[test]
    fn a_container_in_version_one() {
        let files = [
            MEMINFO,
            (
                "/proc/self/cgroup",
                "5:cpu,cpuacct:/docker/ab12\n4:memory:/docker/ab12\n0::/\n",
            ),
            (
                "/proc/self/mountinfo",
                "33 31 0:30 /docker/ab12 /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n35 31 0:32 /docker/ab12 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
            ),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "134217728\n"),
            ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "33554432\n"),
            (
                "/sys/fs/cgroup/memory/memory.stat",
                "cache 0\nrss 1\ntotal_cache 2097152\ntotal_shmem 1048576\n",
            ),
        ];
        assert_eq!(from(&files), cgroup("/", 97 * MEGABYTE));
        let mut swapping: Vec<_> = files.to_vec();
        swapping[0].1 = "MemAvailable: 41943040 kB\nSwapFree: 1048576 kB\n";
        assert_eq!(from(&swapping), cgroup("/", (97 + 1024) * MEGABYTE));
        // A limit on both together.
        swapping.extend([
            (
                "/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes",
                "134217728\n",
            ),
            (
                "/sys/fs/cgroup/memory/memory.memsw.usage_in_bytes",
                "33554432\n",
            ),
        ]);
        assert_eq!(from(&swapping), cgroup("/", 97 * MEGABYTE));
    }

    #[test]
    fn without_a_limit_the_machine_is_the_limit() {
        let room = from(&[
            MEMINFO,
            ("/proc/self/cgroup", "4:memory:/user\n"),
            (
                "/proc/self/mountinfo",
                "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
            ),
            (
                "/sys/fs/cgroup/memory/user/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
            ("/sys/fs/cgroup/memory/user/memory.usage_in_bytes", "1\n"),
        ]);
        let machine = Headroom {
            of: "this machine".to_owned(),
            bytes: 40 << 30,
            is_cgroup: false,
        };
        assert_eq!(room, Some(machine));
    }

    #[test]
    fn what_the_kernel_does_not_say_is_no_limit() {
        assert_eq!(from(&[]), None);
        for nonsense in ["", ":", "::", "0::", "x:memory:", "\0\n\n:::"] {
            let files = [
                ("/proc/self/cgroup", nonsense),
                (
                    "/proc/self/mountinfo",
                    " - \n - cgroup2 x y\na b c d - cgroup2",
                ),
                ("/proc/meminfo", "MemAvailable:\nSwapFree: much kB\n"),
            ];
            assert_eq!(from(&files), None, "{nonsense:?}");
        }
    }
}
