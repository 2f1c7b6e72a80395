//! Values of variables: numbers, durations, sizes, each refused with what was expected instead.

use core::time::Duration;

use crate::{duration, job::error::InitError};

/// More staging than this does not fit an address space together with anything else.
pub(super) const MAX_STAGING: usize = isize::MAX as usize / 2;

pub(super) const BYTES_EXPECTED: &str = "a number of bytes, for example 4194304, 4096K or 4M";

pub(super) fn number<N: core::str::FromStr>(
    variable: &'static str,
    value: &str,
    expected: &str,
) -> Result<N, InitError> {
    value.parse().map_err(|_| InitError::InvalidVariable {
        variable,
        value: value.to_owned(),
        expected: expected.to_owned(),
    })
}

/// A duration of at least `least`.
pub(super) fn duration(
    variable: &'static str,
    value: &str,
    least: Duration,
    expected: &str,
) -> Result<Duration, InitError> {
    let duration = duration::parse(value).ok();
    let duration = duration.filter(|duration| *duration >= least);
    duration.ok_or_else(|| InitError::InvalidVariable {
        variable,
        value: value.to_owned(),
        expected: expected.to_owned(),
    })
}

pub(super) fn bytes(variable: &'static str, value: &str) -> Result<usize, InitError> {
    let (digits, shift) = match value.as_bytes().last() {
        Some(b'K' | b'k') => (&value[..value.len() - 1], 10),
        Some(b'M' | b'm') => (&value[..value.len() - 1], 20),
        Some(b'G' | b'g') => (&value[..value.len() - 1], 30),
        _ => (value, 0),
    };
    let bytes = digits
        .parse::<usize>()
        .ok()
        .and_then(|n| n.checked_mul(1 << shift))
        .filter(|bytes| *bytes <= MAX_STAGING);
    bytes.ok_or_else(|| InitError::InvalidVariable {
        variable,
        value: value.to_owned(),
        expected: BYTES_EXPECTED.to_owned(),
    })
}
