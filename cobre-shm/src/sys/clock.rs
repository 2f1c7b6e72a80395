//! The clock that all processes of a machine share.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of the monotonic clock, which ranks can compare; 0 if there is none.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC);
    now.map_or(0, |now| {
        now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
    })
}
