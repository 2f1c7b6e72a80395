//! Numbers for people.

use core::time::Duration;

use cobre_comm_trait::text::duration;

/// Nanoseconds with three digits: `12.3 µs`.
pub(crate) fn time(ns: u64) -> String {
    duration(Duration::from_nanos(ns))
}

/// `part` of `whole` in percent; 0 of nothing.
pub(crate) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        100.0 * part as f64 / whole as f64
    }
}

/// A share in percent: `71 %`, `0.4 %`.
pub(crate) fn share(part: u64, whole: u64) -> String {
    let percent = percent(part, whole);
    let digits = usize::from(percent > 0.0 && percent < 9.95);
    format!("{percent:.digits$} %")
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn small_shares_keep_a_digit() {
        let shares = [(0, 0), (1, 250), (999, 1000), (71, 100)].map(|(a, b)| share(a, b));
        assert_eq!(shares, ["0 %", "0.4 %", "100 %", "71 %"]);
    }
}
