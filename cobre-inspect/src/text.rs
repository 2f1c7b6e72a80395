//! Numbers, times and tables as people read them.

use std::{
    borrow::Cow,
    io::{self, IsTerminal},
    time::Duration,
};

use cobre_comm_trait::text;
use comfy_table::{ContentArrangement, Row, Table};
use rustix::termios::tcgetwinsize;

pub(crate) use cobre_comm_trait::text::{bytes, clean, clean_lines, count, ranks, tail};

/// As [`text::duration`] shows it; what is no time as none.
pub(crate) fn seconds(seconds: f64) -> String {
    text::duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// The front of `text`, cleaned, in `width` characters.
pub(crate) fn front(text: &str, width: usize) -> String {
    let text = clean(text);
    if text.chars().count() <= width {
        return text.into_owned();
    }
    let kept = text.chars().take(width.saturating_sub(1));
    kept.chain(std::iter::once('…')).collect()
}

/// `text`, cleaned, in lines of `width` characters, broken between words where that is possible.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let text = clean(text);
    let mut words = text.split(' ');
    while let Some(word) = words.next() {
        // A place in the source stays together with its preposition: `at src/main.rs:7`.
        let place = (word == "at").then(|| words.next()).flatten();
        let word: &str = &place.map_or(Cow::from(word), |place| format!("{word} {place}").into());
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
        return format!("{}\n", clean(text));
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

/// A table without lines, as command-line tools print them, in the terminal's width; its cells are
/// cleaned.
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
        let cells = row.into_iter().map(|cell| clean(&cell).into_owned());
        table.add_row(Row::from(cells.collect::<Vec<_>>()));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP as u16));
    }
    table.trim_fmt() + "\n"
}

#[cfg(test)]
mod tests {
    use super::{front, paragraph, table_in, tail, wrap};

    #[test]
    fn what_others_wrote_stays_in_its_cell_and_line() {
        let evil = "a\n\u{1b}]0;X\u{7}\u{202e}b".to_owned();
        let seen = r"a\n\u{1b}]0;X\u{7}\u{202e}b";
        let table = table_in(["NAME"], [[evil.clone()]], None);
        assert_eq!(table, format!("NAME\n{seen}\n"));
        assert_eq!(paragraph(&evil, None), format!("{seen}\n"));
        assert_eq!(wrap(&evil, 80), [seen]);
        assert_eq!([front(&evil, 80), tail(&evil, 80)], [seen, seen]);
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
        let lines = wrap("waits in barrier() at main.rs:7", 20);
        assert_eq!(lines, ["waits in barrier()", "at main.rs:7"]);
    }

    #[test]
    fn long_texts_keep_what_tells() {
        assert_eq!(tail("src/forward.rs:120", 10), "…rd.rs:120");
        assert_eq!(front("allreduce(f64[156], sum)", 10), "allreduce…");
    }
}
