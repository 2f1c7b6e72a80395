//! Whether a rank's process is stopped. It is no child of the launcher, so `/proc` is asked.

use nix::unistd::{Pid, getpid};

/// Whether the process `pid` is stopped by a signal, as far as that can be seen: in a PID namespace with
/// the `/proc` of another, numbers mean something else there.
pub(crate) fn is_stopped(pid: Pid) -> bool {
    let shown = std::fs::read_link("/proc/self");
    if shown.is_ok_and(|shown| shown.as_os_str() != getpid().to_string().as_str()) {
        return false;
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
    state.is_some_and(|state| state.starts_with('T'))
}
