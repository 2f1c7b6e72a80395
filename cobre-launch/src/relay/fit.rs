//! Text of the launcher's own that fits the terminal.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::os::fd::AsFd;

use rustix::termios::tcgetwinsize;

/// A terminal that does not know its width.
const COLUMNS: usize = 80;

/// The columns of the terminal that `place` is.
pub(crate) fn columns(place: &(impl AsFd + IsTerminal)) -> Option<usize> {
    let size = place.is_terminal().then(|| tcgetwinsize(place).ok())??;
    Some(match size.ws_col {
        0 => COLUMNS,
        columns => columns.into(),
    })
}

/// How wide text may be: as the terminal that `place` is, or as `COLUMNS` says instead. Elsewhere,
/// in files for example, no line is broken.
pub(crate) fn width(place: &(impl AsFd + IsTerminal)) -> Option<usize> {
    let columns = columns(place)?;
    let wanted = std::env::var("COLUMNS");
    Some(wanted.map_or(columns, |wanted| wanted.parse().unwrap_or(columns)))
}

/// `text` as a line, so far to the right.
pub(crate) fn line(indent: usize, text: &str) -> String {
    format!("{:indent$}{text}\n", "")
}

/// `text` in lines of at most `width` columns, if its words allow it: what does not fit goes on two
/// columns further to the right than its line began. What ranks wrote, after a `|`, stays as it is.
pub(crate) fn wrap(text: &str, width: Option<usize>) -> Cow<'_, str> {
    let Some(width) = width else {
        return text.into();
    };
    let fits = |line: &str| line.trim_end_matches('\n').chars().count() <= width;
    if text.split_inclusive('\n').all(fits) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for line in text.split_inclusive('\n') {
        let words = line.trim_start_matches(' ');
        if fits(line) || words.starts_with("| ") {
            out.push_str(line);
        } else {
            wrap_line(line.len() - words.len(), words, width, &mut out);
        }
    }
    out.into()
}

fn wrap_line(indent: usize, words: &str, width: usize, out: &mut String) {
    out.push_str(&" ".repeat(indent));
    let mut column = indent;
    let mut words = words.split(' ').peekable();
    let mut is_first = true;
    while let Some(word) = words.next() {
        // A place in the source stays together with its preposition: `at src/main.rs:7`.
        let place = (word == "at").then(|| words.next()).flatten();
        let unit = match place {
            Some(place) => Cow::from(format!("{word} {place}")),
            None => word.into(),
        };
        let length = unit.trim_end_matches('\n').chars().count();
        if !is_first && column + 1 + length > width {
            out.push('\n');
            out.push_str(&" ".repeat(indent + 2));
            column = indent + 2;
        } else if !is_first {
            out.push(' ');
            column += 1;
        }
        out.push_str(&unit);
        column += length;
        is_first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn long_lines_are_broken_between_words() {
        let text = format!(" {} {} end\nshort\n", "a".repeat(40), "b".repeat(39));
        assert_eq!(
            wrap(&text, Some(80)),
            format!(" {}\n   {} end\nshort\n", "a".repeat(40), "b".repeat(39))
        );
        assert_eq!(wrap(&text, None), text);
        assert_eq!(wrap("one two", Some(1)), "one\n  two");
    }

    #[test]
    fn a_place_in_the_source_stays_with_its_preposition() {
        let text = "  rank 1 in barrier() at src/main.rs:7, waiting\n";
        assert_eq!(
            wrap(text, Some(24)),
            "  rank 1 in barrier()\n    at src/main.rs:7,\n    waiting\n"
        );
    }

    #[test]
    fn what_a_rank_wrote_stays_as_it_is() {
        let text = "    | thread 'main' panicked at src/main.rs:1:1:\n";
        assert_eq!(wrap(text, Some(20)), text);
    }
}
