//! The last lines of a stream, for the report.

use cobre_comm_trait::text::clean_lines;

/// More than any report shows.
const KEPT: usize = 16 * 1024;
/// How much of a very long line is shown.
const WIDTH: usize = 400;

/// The end of what one stream wrote.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    bytes: Vec<u8>,
}

impl Tail {
    /// Adds what was just written.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes
            .extend_from_slice(&bytes[bytes.len().saturating_sub(KEPT)..]);
        if self.bytes.len() > 2 * KEPT {
            let surplus = self.bytes.len() - KEPT;
            self.bytes.drain(..surplus);
        }
    }

    /// The last lines, at most `count`, as a person would see them: without colours, and of a line
    /// that was written over (a progress bar) the last state.
    pub(crate) fn lines(&self, count: usize) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.bytes);
        let text = anstream::adapter::strip_str(&text).to_string();
        let lines: Vec<&str> = text.trim_end().lines().collect();
        lines[lines.len().saturating_sub(count)..]
            .iter()
            .map(|line| {
                let line = line
                    .rsplit('\r')
                    .find(|state| !state.is_empty())
                    .unwrap_or("");
                let end = line.char_indices().nth(WIDTH);
                match end {
                    None => clean_lines(line).into_owned(),
                    Some((end, _)) => format!("{}...", clean_lines(&line[..end])),
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT, Tail};

    fn lines(text: &str) -> Vec<String> {
        let mut tail = Tail::default();
        tail.push(text.as_bytes());
        tail.lines(2)
    }

    #[test]
    fn the_last_lines_stay_also_an_unfinished_one() {
        assert_eq!(lines("a\nb\nc"), ["b", "c"]);
        assert_eq!(lines("a\n\nb\n\n"), ["", "b"]);
        assert!(lines("\n").is_empty());
    }

    #[test]
    fn colours_and_overwritten_states_are_left_out() {
        assert_eq!(
            lines("\u{1b}[31mred\u{1b}[0m\n10%\r20%\r\n"),
            ["red", "20%"]
        );
    }

    #[test]
    fn what_would_mislead_is_made_visible() {
        assert_eq!(
            lines("\u{202e}a\u{7}\n\tb\u{9b}31m\n"),
            [r"\u{202e}a", "\tb\\u{9b}31m"]
        );
    }

    #[test]
    fn memory_is_bounded_and_long_lines_are_cut() {
        let mut tail = Tail::default();
        for _ in 0..10 * KEPT {
            tail.push(b"ab\n");
        }
        tail.push(&[b'x'; 10 * KEPT]);
        assert!(tail.bytes.len() <= 2 * KEPT);
        assert_eq!(tail.lines(1)[0].len(), 403);
    }
}
