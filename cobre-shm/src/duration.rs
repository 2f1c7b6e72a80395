//! Durations as people write them, alike in variables and in the options of all programs.

use core::{fmt::Display, time::Duration};

/// What [`parse`] takes, for messages.
pub const EXPECTED: &str = "a duration such as 500ms, 1.5s or 1h30m; without a unit it is seconds";

/// Reads `500ms`, `1.5s`, `1h30m`, or a plain number of seconds.
///
/// # Errors
/// What was [expected](EXPECTED).
///
/// ```
/// use cobre_shm::duration::{parse, show};
///
/// let limit = parse("1h30m")?;
/// assert_eq!(limit, parse("5400")?);
/// assert_eq!(show(limit).to_string(), "1h30m");
/// # Ok::<(), String>(())
/// ```
pub fn parse(text: &str) -> Result<Duration, String> {
    let expected = || format!("expected {EXPECTED}");
    match text.parse() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|_| expected()),
        Err(_) => humantime::parse_duration(text).map_err(|_| expected()),
    }
}

/// The duration, exactly, in a form that [`parse`] reads: `500ms`, `1h30m`.
#[must_use]
pub fn show(duration: Duration) -> impl Display {
    let text = humantime::format_duration(duration).to_string();
    text.replace("days", "d")
        .replace("day", "d")
        .replace(' ', "")
}

#[cfg(test)]
mod tests {
    use super::{EXPECTED, parse, show};
    use core::time::Duration;

    #[test]
    fn the_usual_forms_are_read_and_what_is_shown_is_read_again() {
        for (text, millis, shown) in [
            ("500ms", 500, "500ms"),
            ("2s", 2000, "2s"),
            ("2", 2000, "2s"),
            ("0.5", 500, "500ms"),
            ("1.5s", 1500, "1s500ms"),
            ("1.5m", 90_000, "1m30s"),
            ("1h", 3_600_000, "1h"),
            ("1h30m", 5_400_000, "1h30m"),
            ("1h 30m", 5_400_000, "1h30m"),
            ("2min", 120_000, "2m"),
            ("1d", 86_400_000, "1d"),
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
        ] {
            let duration = parse(text).unwrap();
            assert_eq!(duration, Duration::from_millis(millis), "{text}");
            assert_eq!(show(duration).to_string(), shown, "{text}");
            assert_eq!(parse(shown), Ok(duration), "{shown}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_the_forms_named() {
        for text in [
            "",
            " ",
            "s",
            "-1",
            "-1s",
            "5x",
            "1.2.3s",
            "inf",
            "NaN",
            "1e999",
            "soon",
            "1:30",
            "99999999999999999999h",
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains(EXPECTED), "{text}: {message}");
        }
    }
}
