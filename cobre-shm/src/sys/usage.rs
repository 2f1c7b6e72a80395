//! What this process uses: memory and processor time.

use core::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Memory and processor time of a process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Resident memory, in bytes.
    pub(crate) resident: u64,
    /// The most resident memory so far, in bytes.
    pub(crate) peak: u64,
    /// Processor time of all threads.
    pub(crate) cpu: Duration,
}

/// What this process uses now; what the system does not say is 0.
pub(crate) fn of_this_process() -> Usage {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let cpu = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID);
    Usage {
        resident: kilobytes(&status, "VmRSS:") << 10,
        peak: kilobytes(&status, "VmHWM:") << 10,
        cpu: cpu.map_or(Duration::ZERO, Duration::from),
    }
}

fn kilobytes(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{kilobytes, of_this_process};

    #[test]
    fn this_process_has_memory_and_has_used_time() {
        let usage = of_this_process();
        assert!(
            usage.resident > 0 && usage.peak >= usage.resident,
            "{usage:?}"
        );
        assert!(!usage.cpu.is_zero());
    }

    #[test]
    fn a_key_is_found_by_its_whole_name() {
        let status = "VmHWM:\t    9300 kB\nVmRSS:\t    9100 kB\n";
        assert_eq!(kilobytes(status, "VmRSS:"), 9100);
        assert_eq!(kilobytes(status, "VmSwap:"), 0);
    }
}
