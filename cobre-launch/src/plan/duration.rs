//! Durations on the command line.

use std::time::Duration;

/// Reads `500ms`, `2s`, `1.5m`, `1h`, or a plain number of seconds.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let expected = || "expected a duration such as 500ms, 2s, 1.5m or 1h".to_owned();
    let number_len = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(number_len);
    let seconds_per_unit = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(expected()),
    };
    let number: f64 = number.parse().map_err(|_| expected())?;
    Duration::try_from_secs_f64(number * seconds_per_unit).map_err(|_| expected())
}

/// The same for the time after which a job is ended.
pub(crate) fn parse_limit(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        Duration::ZERO => Err("a limit of no time would end every job".to_owned()),
        limit => Ok(limit),
    }
}

/// The shortest of the forms that [`parse`] reads.
pub(crate) fn show(duration: Duration) -> String {
    let millis = duration.as_millis();
    if !millis.is_multiple_of(1000) {
        format!("{millis}ms")
    } else if !millis.is_multiple_of(60_000) || millis == 0 {
        format!("{}s", millis / 1000)
    } else {
        format!("{}m", millis / 60_000)
    }
}

#[cfg(test)]
mod tests {
    use super::{parse, show};
    use std::time::Duration;

    #[test]
    fn the_usual_forms_are_read_and_shown() {
        for (text, millis, shown) in [
            ("500ms", 500, "500ms"),
            ("2s", 2000, "2s"),
            ("2", 2000, "2s"),
            ("1.5m", 90_000, "90s"),
            ("1h", 3_600_000, "60m"),
            ("0s", 0, "0s"),
        ] {
            let duration = parse(text).unwrap();
            assert_eq!(duration, Duration::from_millis(millis), "{text}");
            assert_eq!(show(duration), shown, "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_the_forms_named() {
        for text in [
            "",
            "s",
            "-1s",
            "1d",
            "1 s",
            "1.2.3s",
            "99999999999999999999h",
        ] {
            assert!(parse(text).unwrap_err().contains("500ms, 2s"), "{text}");
        }
    }
}
