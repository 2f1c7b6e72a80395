//! Numbers, times and tables as people read them.

use std::io::{self, IsTerminal};

use comfy_table::{ContentArrangement, Row, Table};
use rustix::termios::tcgetwinsize;

/// `4.2 MB`: three digits, powers of 1000.
pub(crate) fn bytes(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if unit > 0 && value < 99.95 { 1 } else { 0 };
    format!("{value:.digits$} {}", units[unit])
}

/// `350 ms`, `12.4 s`, `3m05s`, `2h10m`, `5d03h`.
pub(crate) fn seconds(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        _ if seconds < 0.000_999_5 => format!("{:.0} us", seconds * 1e6),
        _ if seconds < 0.999_5 => format!("{:.0} ms", seconds * 1e3),
        _ if seconds < 99.95 => format!("{seconds:.1} s"),
        0..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h{:02}m", whole / 3600, whole / 60 % 60),
        _ => format!("{}d{:02}h", whole / 86_400, whole / 3600 % 24),
    }
}

/// `1 rank`, `3 ranks`.
pub(crate) fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// `rank 3`, `ranks 0-2, 5`.
pub(crate) fn ranks(ranks: &[usize]) -> String {
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

/// The end of `text`, in `width` characters.
pub(crate) fn tail(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let kept = text.chars().skip(length - width.saturating_sub(1));
    std::iter::once('…').chain(kept).take(width).collect()
}

/// The front of `text`, in `width` characters.
pub(crate) fn front(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept = text.chars().take(width.saturating_sub(1));
    kept.chain(std::iter::once('…')).collect()
}

/// `text` in lines of `width` characters, broken between words where that is possible.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let length = word.chars().count();
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + length <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// `text` as lines of at most `columns`, those after the first indented.
pub(crate) fn paragraph(text: &str, columns: Option<usize>) -> String {
    let Some(columns) = columns else {
        return format!("{text}\n");
    };
    let lines = wrap(text, columns.saturating_sub(2));
    lines.join("\n  ") + "\n"
}

/// Columns of the terminal that standard output is; elsewhere what `COLUMNS` says, which `watch` sets.
pub(crate) fn columns() -> Option<usize> {
    let out = io::stdout();
    if out.is_terminal() {
        let size = tcgetwinsize(&out).ok()?;
        return Some(usize::from(size.ws_col)).filter(|&columns| columns > 0);
    }
    std::env::var("COLUMNS").ok()?.parse().ok()
}

/// Blanks between the columns of a table.
pub(crate) const GAP: usize = 2;

/// A table without lines, as command-line tools print them, in the terminal's width.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    table_in(header, rows, columns())
}

/// The same in at most `columns`, if its words allow that.
pub(crate) fn table_in(
    header: impl Into<Row>,
    rows: impl IntoIterator<Item = impl IntoIterator<Item = String>>,
    columns: Option<usize>,
) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    match columns.and_then(|columns| u16::try_from(columns + GAP).ok()) {
        Some(columns) => table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(columns),
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
    table.set_header(header);
    for row in rows {
        table.add_row(Row::from(row));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP as u16));
    }
    table.trim_fmt() + "\n"
}

#[cfg(test)]
mod tests {
    use super::{bytes, front, ranks, seconds, tail, wrap};

    #[test]
    fn sizes_have_three_digits() {
        for (value, shown) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (4_222_976, "4.2 MB"),
            (999_999, "1.0 MB"),
            (123_456_789, "123 MB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(value), shown);
        }
    }

    #[test]
    fn times_have_the_unit_that_fits() {
        for (value, shown) in [
            (0.000_02, "20 us"),
            (0.35, "350 ms"),
            (0.9999, "1.0 s"),
            (12.44, "12.4 s"),
            (185.0, "3m05s"),
            (7800.0, "2h10m"),
            (442_800.0, "5d03h"),
        ] {
            assert_eq!(seconds(value), shown);
        }
    }

    #[test]
    fn ranks_are_listed_in_runs() {
        assert_eq!(ranks(&[3]), "rank 3");
        assert_eq!(ranks(&[0, 1, 2, 5, 7, 8]), "ranks 0-2, 5, 7-8");
    }

    #[test]
    fn lines_break_between_words() {
        let lines = wrap("ranks 1-2 wait for rank 0 in-a-very-long-word of it", 16);
        let expected = [
            "ranks 1-2 wait",
            "for rank 0",
            "in-a-very-long-word",
            "of it",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn long_texts_keep_what_tells() {
        assert_eq!(tail("src/forward.rs:120", 10), "…rd.rs:120");
        assert_eq!(front("allreduce(f64[156], sum)", 10), "allreduce…");
    }
}
