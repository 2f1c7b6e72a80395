//! Round numbers along the time axis.

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
/// The most intervals between ticks.
const INTERVALS: u64 = 6;

/// The times of the ticks along `length` nanoseconds, from 0 on, and what stands there.
pub(super) fn ticks(length: u64) -> Vec<(u64, String)> {
    let step = step(length);
    let ticks = (0..=length / step).map(|tick| tick * step);
    ticks.map(|at| (at, label(at, step))).collect()
}

/// The shortest round time of which `length` has few enough.
fn step(length: u64) -> u64 {
    let below_a_minute = (0..11).flat_map(|power| [1, 2, 5].map(|digit| digit * 10_u64.pow(power)));
    let minutes = [1, 2, 5, 10, 30].map(|minutes| minutes * MINUTE);
    let hours = [1, 2, 6, 12].map(|hours| hours * HOUR);
    let days = (0..).map(|power| (24 * HOUR).saturating_mul(1 << power.min(63)));
    let mut steps = below_a_minute
        .take_while(|&step| step < MINUTE)
        .chain(minutes)
        .chain(hours)
        .chain(days);
    steps
        .find(|step| length / step <= INTERVALS)
        .unwrap_or(u64::MAX)
}

/// Without digits that the step does not need.
fn label(at: u64, step: u64) -> String {
    let minutes = at / MINUTE;
    let parts = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    let whole = [
        (1, "ns"),
        (1000, "µs"),
        (1_000_000, "ms"),
        (1_000_000_000, "s"),
    ];
    let fits = |&&(unit, _): &&(u64, &str)| step.is_multiple_of(unit);
    let largest = whole.iter().rev().find(fits);
    match largest {
        _ if at == 0 => "0".to_owned(),
        Some((unit, name)) if step < MINUTE => format!("{} {name}", at / unit),
        _ => match parts {
            (0, 0, minutes) => format!("{minutes}m"),
            (0, hours, 0) => format!("{hours}h"),
            (0, hours, minutes) => format!("{hours}h{minutes:02}m"),
            (days, 0, 0) => format!("{days}d"),
            (days, hours, _) => format!("{days}d{hours:02}h"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::ticks;

    #[test]
    fn ticks_are_round() {
        let shown = |length: f64| {
            let ticks = ticks((length * 1e9) as u64).into_iter();
            ticks.map(|(_, label)| label).collect::<Vec<_>>().join(" ")
        };
        for (seconds, expected) in [
            (0.158_8, "0 50 ms 100 ms 150 ms"),
            (0.000_012_3, "0 2 µs 4 µs 6 µs 8 µs 10 µs 12 µs"),
            (2.4, "0 500 ms 1000 ms 1500 ms 2000 ms"),
            (59.4, "0 10 s 20 s 30 s 40 s 50 s"),
            (400.0, "0 1m 2m 3m 4m 5m 6m"),
            (9000.0, "0 30m 1h 1h30m 2h 2h30m"),
            (400_000.0, "0 1d 2d 3d 4d"),
            (0.0, "0"),
        ] {
            assert_eq!(shown(seconds), expected, "{seconds} s");
        }
        assert!(ticks(u64::MAX).len() < 10);
    }
}
