//! What the control group (version 2) allows.

use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";

/// The folders of this process' control group and its parents, inmost first.
fn folders() -> Vec<PathBuf> {
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(own) = text.lines().find_map(|line| line.strip_prefix("0::/")) else {
        return Vec::new();
    };
    let own = Path::new(ROOT).join(own);
    let folders = own.ancestors().map(Path::to_owned);
    folders
        .take_while(|folder| folder.starts_with(ROOT))
        .collect()
}

fn number(folder: &Path, file: &str) -> Option<u64> {
    std::fs::read_to_string(folder.join(file))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// The least memory that any level leaves, of how much.
pub(super) fn memory_left() -> Option<(u64, u64)> {
    let left = |folder: PathBuf| {
        let most = number(&folder, "memory.max")?;
        let used = number(&folder, "memory.current")?;
        Some((most.saturating_sub(used), most))
    };
    folders().into_iter().filter_map(left).min()
}

/// The least processor time that any level allows, in processors.
pub(super) fn quota() -> Option<f64> {
    let allowed = |folder: PathBuf| {
        let text = std::fs::read_to_string(folder.join("cpu.max")).ok()?;
        let (quota, period) = text.trim().split_once(' ')?;
        Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
    };
    folders()
        .into_iter()
        .filter_map(allowed)
        .min_by(f64::total_cmp)
}
