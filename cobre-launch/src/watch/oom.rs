//! Whether the kernel has killed somebody for want of memory.
//!
//! The kernel says so nowhere but in its log, which few may read, and in counters: one for each
//! memory cgroup, one for the machine. They are read before the ranks start and when one is killed.

use std::path::{Path, PathBuf};

const MACHINE: &str = "/proc/vmstat";

/// The counters as they were before the ranks started.
#[derive(Debug)]
pub(crate) struct OomKills {
    cgroup: Option<(PathBuf, u64)>,
    machine: Option<u64>,
}

impl OomKills {
    /// Reads the counters of this process' memory cgroup and of the machine.
    pub(crate) fn begin() -> Self {
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self {
            cgroup: counter_file(&own).and_then(|file| Some((file.clone(), count(&file)?))),
            machine: count(Path::new(MACHINE)),
        }
    }

    /// What the counters say by now about a rank that was killed by SIGKILL; nothing if they have
    /// not grown.
    pub(crate) fn verdict(&self) -> Option<&'static str> {
        let grew = |now: Option<u64>, before: u64| now.is_some_and(|now| now > before);
        if let Some((file, before)) = &self.cgroup
            && grew(count(file), *before)
        {
            return Some(
                "out of memory: the kernel killed it because the job's memory cgroup is full",
            );
        }
        let machine = self
            .machine
            .filter(|&before| grew(count(Path::new(MACHINE)), before));
        machine.map(|_| "probably out of memory: the kernel has killed a process for want of it")
    }
}

/// The file with the counter of the innermost cgroup that has one, from the text of
/// /proc/PID/cgroup.
fn counter_file(own: &str) -> Option<PathBuf> {
    let mut candidates = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.events"),
            "memory" => ("/sys/fs/cgroup/memory", "memory.oom_control"),
            _ => continue,
        };
        let folder = Path::new(root).join(path.trim_start_matches('/'));
        let within = folder
            .ancestors()
            .take_while(|folder| folder.starts_with(root));
        candidates.extend(within.map(|folder| folder.join(file)));
    }
    candidates.into_iter().find(|file| count(file).is_some())
}

/// The number after `oom_kill` in a file of names and numbers.
fn count(file: &Path) -> Option<u64> {
    parse(&std::fs::read_to_string(file).ok()?)
}

fn parse(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_counter_is_found_in_all_three_kinds_of_files() {
        for text in [
            "low 0\nhigh 0\nmax 4\noom 2\noom_kill 7\noom_group_kill 1\n",
            "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n",
            "nr_free_pages 1\noom_kill 7\n",
        ] {
            assert_eq!(parse(text), Some(7), "{text}");
        }
        assert_eq!(parse("oom_kill_disable 0\n"), None);
    }
}
