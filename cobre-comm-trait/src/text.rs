//! How numbers, and text that others wrote, are shown to people: one way for all messages.

use core::time::Duration;
use std::borrow::Cow;

/// `text` on one line, with whatever could control a terminal or mislead the eye made visible.
///
/// For text that another process wrote: arguments, names, paths, what ranks say about themselves.
/// Control characters (escape sequences, line breaks), changes of the writing direction, invisible
/// and other format characters are written as Rust escapes them.
///
/// ```
/// use cobre_comm_trait::text::clean;
/// assert_eq!(clean("Größe"), "Größe");
/// assert_eq!(clean("\u{1b}[31m\n\u{202e}"), r"\u{1b}[31m\n\u{202e}");
/// ```
#[must_use]
pub fn clean(text: &str) -> Cow<'_, str> {
    escaped(text, is_misleading)
}

/// The end of `text`, [cleaned](clean), in at most `width` characters: of the place of a call, say.
///
/// ```
/// use cobre_comm_trait::text::tail;
/// assert_eq!(tail("src/forward.rs:120", 10), "…rd.rs:120");
/// assert_eq!(tail("main.rs:7", 10), "main.rs:7");
/// ```
#[must_use]
pub fn tail(text: &str, width: usize) -> String {
    let text = clean(text);
    let length = text.chars().count();
    if length <= width {
        return text.into_owned();
    }
    let kept = text.chars().skip(length - width.saturating_sub(1));
    core::iter::once('…').chain(kept).take(width).collect()
}

/// The same as [`clean`] for a text of several lines: its line breaks and tabs stay.
///
/// ```
/// use cobre_comm_trait::text::clean_lines;
/// assert_eq!(clean_lines("a\n\t\u{1b}b\n"), "a\n\t\\u{1b}b\n");
/// ```
#[must_use]
pub fn clean_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| !matches!(c, '\n' | '\t') && is_misleading(c))
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_escaped(c) {
            clean.extend(c.escape_default());
        } else {
            clean.push(c);
        }
    }
    Cow::Owned(clean)
}

/// Whether `c` is seen as something else than itself, or not at all: control characters, line and
/// paragraph separators, and the format characters (general category Cf) of Unicode 16.
///
/// ```
/// use cobre_comm_trait::text::is_misleading;
/// assert!(['\u{7f}', '\u{9b}', '\u{200b}', '\u{2066}'].into_iter().all(is_misleading));
/// assert!(![' ', 'ß', '…', '漢', '\u{301}'].into_iter().any(is_misleading));
/// ```
#[must_use]
pub fn is_misleading(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{600}'..='\u{605}'
                | '\u{61c}'
                | '\u{6dd}'
                | '\u{70f}'
                | '\u{890}'..='\u{891}'
                | '\u{8e2}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{110bd}'
                | '\u{110cd}'
                | '\u{13430}'..='\u{1343f}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0001}'
                | '\u{e0020}'..='\u{e007f}'
        )
}

/// A number of bytes with three digits, in powers of 1000.
///
/// ```
/// use cobre_comm_trait::text::bytes;
/// assert_eq!([0, 999, 8_796_093_022_208].map(bytes), ["0 B", "999 B", "8.80 TB"]);
/// ```
#[must_use]
pub fn bytes(bytes: u64) -> String {
    scaled(bytes as f64, &["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// A time with three digits, from 100 seconds on in minutes, hours and days.
///
/// ```
/// use core::time::Duration;
/// use cobre_comm_trait::text::duration;
/// let show = |micros| duration(Duration::from_micros(micros));
/// assert_eq!([0, 350, 12_400_000].map(show), ["0 s", "350 µs", "12.4 s"]);
/// assert_eq!([185_000_000, 7_800_000_000].map(show), ["3m05s", "2h10m"]);
/// ```
#[must_use]
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    if time.is_zero() {
        return "0 s".to_owned();
    }
    match seconds {
        _ if time < Duration::from_millis(99_950) => {
            scaled(time.as_nanos() as f64, &["ns", "µs", "ms", "s"])
        }
        0..3600 => {
            // What is not yet 100 s would be shown so.
            let seconds = seconds.max(100);
            format!("{}m{:02}s", seconds / 60, seconds % 60)
        }
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

fn scaled(mut value: f64, units: &[&str]) -> String {
    let mut unit = 0;
    // What would be rounded up to a thousand belongs to the next unit.
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = match value {
        _ if unit == 0 => 0,
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    let number = format!("{value:.digits$}");
    // Whole numbers are mostly somebody's choice: 2 s, not 2.00 s.
    let number = match digits {
        0 => &number,
        _ => number
            .trim_end_matches('0')
            .strip_suffix('.')
            .unwrap_or(&number),
    };
    format!("{number} {}", units[unit])
}

/// A number of things, whose plural ends in `s`.
///
/// ```
/// use cobre_comm_trait::text::count;
/// assert_eq!([0, 1, 2].map(|n| count(n, "call")), ["0 calls", "1 call", "2 calls"]);
/// ```
#[must_use]
pub fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// Ranks, which are in order.
///
/// ```
/// use cobre_comm_trait::text::ranks;
/// assert_eq!(ranks(&[3]), "rank 3");
/// assert_eq!(ranks(&[0, 1, 2, 5, 7, 8]), "ranks 0-2, 5, 7-8");
/// ```
#[must_use]
pub fn ranks(ranks: &[usize]) -> String {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &rank in ranks {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == rank => *last = rank,
            _ => runs.push((rank, rank)),
        }
    }
    let run = |&(first, last): &(usize, usize)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let runs: Vec<String> = runs.iter().map(run).collect();
    let noun = if ranks.len() == 1 { "rank" } else { "ranks" };
    format!("{noun} {}", runs.join(", "))
}

#[cfg(test)]
mod tests {
    use super::{bytes, clean, duration, is_misleading};
    use core::time::Duration;

    #[test]
    fn nothing_that_controls_a_terminal_or_misleads_is_left() {
        let all = (char::MIN..=char::MAX).filter(|&c| is_misleading(c));
        let all: String = all.collect();
        assert!(all.len() > 300);
        assert!(!clean(&all).contains(is_misleading));
        let plain: String = (' '..='~').chain("äß…漢字 e\u{301} €🦀".chars()).collect();
        assert_eq!(clean(&plain), plain);
    }

    /// The standard library knows the format characters too, but also escapes quotes and accents.
    #[test]
    fn whatever_is_escaped_the_standard_library_escapes_too() {
        for c in (char::MIN..=char::MAX).filter(|&c| is_misleading(c)) {
            assert!(c.escape_debug().len() > 1, "{c:?}");
        }
    }

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        for (value, shown) in [
            (1000, "1 kB"),
            (12_345, "12.3 kB"),
            (999_499, "999 kB"),
            (999_999, "1 MB"),
            (123_456_789, "123 MB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(value), shown);
        }
    }

    #[test]
    fn times_have_three_digits_or_two_units() {
        for (nanos, shown) in [
            (1, "1 ns"),
            (999, "999 ns"),
            (1000, "1 µs"),
            (999_999, "1 ms"),
            (99_949_000_000, "99.9 s"),
            (99_960_000_000, "1m40s"),
            (3_599_999_000_000, "59m59s"),
            (90_000_000_000_000, "1d01h"),
        ] {
            assert_eq!(duration(Duration::from_nanos(nanos)), shown);
        }
    }
}
