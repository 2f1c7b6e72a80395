//! Numbers for people.

/// Nanoseconds with three digits: `12.3 µs`.
pub(crate) fn time(ns: u64) -> String {
    scaled(ns as f64, 1000.0, &["ns", "µs", "ms", "s"])
}

/// Bytes with three digits: `4.20 MB`.
pub(crate) fn bytes(bytes: u64) -> String {
    scaled(bytes as f64, 1000.0, &["B", "kB", "MB", "GB", "TB"])
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

fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    // What would be rounded up to a thousand belongs to the next unit.
    while value >= step - 0.5 && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    let digits = match value {
        _ if unit == 0 => 0,
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::{bytes, share, time};

    #[test]
    fn three_digits_and_a_unit() {
        let shown = [0, 999, 1000, 12_345, 999_999, 59_400_000_000].map(time);
        let expected = ["0 ns", "999 ns", "1.00 µs", "12.3 µs", "1.00 ms", "59.4 s"];
        assert_eq!(shown, expected);
        assert_eq!(bytes(4_200_000), "4.20 MB");
        let shares = [(0, 0), (1, 250), (999, 1000), (71, 100)].map(|(a, b)| share(a, b));
        assert_eq!(shares, ["0 %", "0.4 %", "100 %", "71 %"]);
    }
}
