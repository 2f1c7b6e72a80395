//! The kernel and what it lets processes do.

use std::{fs::OpenOptions, os::unix::fs::OpenOptionsExt};

use procfs::process::Process;
use rustix::{
    io::Errno,
    process::{PidfdFlags, getpid, pidfd_open},
    thread::{ClockId, futex},
};

use super::{
    Finding,
    Verdict::{self, Good, Note},
    read,
};
use crate::find::SHM;

pub(super) fn findings(ranks: usize) -> Vec<Finding> {
    let version = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut findings = vec![Finding::new(
        Good,
        "kernel",
        version,
        "Linux 3.17 is the oldest that works",
    )];
    findings.extend([futex_waitv(ranks), pidfd(), unnamed()]);
    findings.extend(seccomp());
    findings.extend(ptrace());
    findings
}

fn feature(what: &'static str, there: bool, without: Verdict, good: &str, bad: &str) -> Finding {
    match there {
        true => Finding::new(Good, what, "yes", good),
        false => Finding::new(without, what, "no", bad),
    }
}

fn futex_waitv(ranks: usize) -> Finding {
    // Nothing to wait for is refused as such if the call is there.
    let none = futex::waitv(&[], futex::WaitvFlags::empty(), None, ClockId::Monotonic);
    let there = !matches!(none, Err(Errno::NOSYS | Errno::PERM));
    let bad = match ranks {
        1 => "a job of one never waits",
        _ => "ranks sleep on one peer at a time, as they do with it today",
    };
    feature(
        "futex_waitv",
        there,
        Note,
        "several peers can be awaited with one sleep",
        bad,
    )
}

fn pidfd() -> Finding {
    let there = pidfd_open(getpid(), PidfdFlags::empty()).is_ok();
    let bad = "`abort` cannot end ranks without a launcher; they end at their next collective";
    feature(
        "pidfd",
        there,
        Note,
        "an abort ends exactly the ranks of the job",
        bad,
    )
}

fn unnamed() -> Finding {
    let there = OpenOptions::new()
        .write(true)
        .custom_flags(nix::libc::O_TMPFILE)
        .mode(0o600)
        .open(SHM);
    let bad = "windows have a name for a moment: a rank killed just then leaves it (see clean)";
    feature(
        "unnamed objects",
        there.is_ok(),
        Note,
        "windows never have a name that could be left",
        bad,
    )
}

fn seccomp() -> Option<Finding> {
    let status = Process::myself().ok()?.status().ok()?;
    let found = match status.seccomp? {
        0 => "none",
        1 => "strict",
        _ => "filter",
    };
    let meaning = "only shared memory and futexes are needed, no ptrace, no mbind";
    Some(Finding::new(Good, "seccomp", found, meaning))
}

fn ptrace() -> Option<Finding> {
    let found = read("/proc/sys/kernel/yama/ptrace_scope")?;
    let (verdict, meaning) = match found.as_str() {
        // Reading /proc/PID/fd asks for read access, which the scope does not restrict.
        "0" => (
            Good,
            "debuggers can attach; this program sees every job of the user",
        ),
        _ => (
            Good,
            "debuggers must be a parent; this program still sees every job of the user",
        ),
    };
    Some(Finding::new(verdict, "ptrace scope", found, meaning))
}

#[cfg(test)]
mod tests {
    use super::feature;
    use crate::doctor::Verdict::{Bad, Good};

    #[test]
    fn a_missing_feature_is_as_bad_as_said() {
        assert_eq!(feature("x", true, Bad, "good", "bad").verdict, Good);
        assert_eq!(feature("x", false, Bad, "good", "bad").meaning, "bad");
    }
}
