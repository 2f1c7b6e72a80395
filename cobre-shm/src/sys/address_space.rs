//! How much address space this process may take: what the kernel means by `ENOMEM` when it refuses a
//! mapping, which has nothing to do with the memory that is left.

use std::{fs::File, io::Read};

use cobre_comm_trait::text;
use nix::sys::resource::{Resource, getrlimit};

/// What this process has mapped, and the limits on it; as far as they are known.
#[derive(Clone, Copy, Debug, Default)]
struct Mapped {
    /// Bytes, and the most there may be.
    bytes: Option<u64>,
    most_bytes: Option<u64>,
    /// Bytes of private memory that can be written, and the most there may be.
    data: Option<u64>,
    most_data: Option<u64>,
    /// Mappings, and the most there may be.
    mappings: Option<u64>,
    most_mappings: Option<u64>,
}

/// Why the kernel refuses to map `wanted` bytes more, if a limit of this process is the reason, and what to
/// do: the end of a message.
pub(crate) fn exhausted(wanted: u64) -> Option<String> {
    Mapped::now().exhausted_by(wanted)
}

impl Mapped {
    fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kilobytes = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
            Some(kilobytes << 10)
        };
        let limit = |resource| {
            let (soft, _) = getrlimit(resource).ok()?;
            (soft != libc::RLIM_INFINITY).then_some(soft)
        };
        let most = std::fs::read_to_string("/proc/sys/vm/max_map_count").ok();
        Self {
            bytes: kilobytes("VmSize:"),
            most_bytes: limit(Resource::RLIMIT_AS),
            data: kilobytes("VmData:"),
            most_data: limit(Resource::RLIMIT_DATA),
            mappings: lines("/proc/self/maps"),
            most_mappings: most.and_then(|most| most.trim().parse().ok()),
        }
    }

    fn exhausted_by(&self, wanted: u64) -> Option<String> {
        // A few may have been made since the refusal, or be hidden.
        if let (Some(now), Some(most)) = (self.mappings, self.most_mappings)
            && now.saturating_add(8) >= most
        {
            return Some(format!(
                "; this process has {now} mappings, and may have {most}: keep fewer windows, or raise the \
                 limit (sysctl vm.max_map_count)"
            ));
        }
        let limits = [
            (self.bytes, self.most_bytes, "of address space", "ulimit -v"),
            (self.data, self.most_data, "of private memory", "ulimit -d"),
        ];
        limits.into_iter().find_map(|(now, most, what, option)| {
            let (now, most) = (now?, most?);
            (now.saturating_add(wanted) > most).then(|| {
                format!(
                    "; this process has {} {what}, and may have {}: raise the limit ({option} unlimited)",
                    text::bytes(now),
                    text::bytes(most)
                )
            })
        })
    }
}

/// How many lines the file has. Without memory for it: there may be none left to map.
fn lines(path: &str) -> Option<u64> {
    let mut file = File::open(path).ok()?;
    let mut buffer = [0; 4096];
    let mut lines = 0;
    loop {
        match file.read(&mut buffer).ok()? {
            0 => return Some(lines),
            read => lines += buffer[..read].iter().filter(|&&byte| byte == b'\n').count() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Mapped, exhausted};

    #[test]
    fn the_limit_that_is_the_reason_is_named() {
        let roomy = Mapped {
            bytes: Some(1 << 30),
            most_bytes: Some(4 << 30),
            data: Some(1 << 29),
            most_data: None,
            mappings: Some(50),
            most_mappings: Some(65_530),
        };
        assert_eq!(roomy.exhausted_by(1 << 30), None);
        let why = |mapped: &Mapped, wanted| mapped.exhausted_by(wanted).expect("a reason");
        assert!(why(&roomy, 4 << 30).contains("ulimit -v"));
        let mut limited = roomy;
        limited.most_data = Some(1 << 30);
        assert!(why(&limited, 1 << 30).contains("ulimit -d"));
        limited.mappings = Some(65_529);
        assert!(why(&limited, 4096).contains("vm.max_map_count"));
        assert_eq!(Mapped::default().exhausted_by(u64::MAX), None);
    }

    #[test]
    fn this_process_has_room_for_a_page() {
        assert_eq!(exhausted(4096), None);
        let now = Mapped::now();
        assert!(now.bytes > Some(0) && now.mappings > Some(1), "{now:?}");
    }
}
