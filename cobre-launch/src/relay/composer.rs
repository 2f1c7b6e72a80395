//! Lines of several authors, one after another, so that none has two.

use std::collections::VecDeque;

use anstyle::{AnsiColor, Style};

/// Who writes: a rank's stream, or the launcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Rank { rank: usize, is_stderr: bool },
    Launcher,
}

/// The labels before the lines of ranks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Labels {
    /// The digits of the highest rank.
    pub(crate) width: usize,
    pub(crate) colour: bool,
}

impl Labels {
    fn write(self, rank: usize, queue: &mut VecDeque<u8>) {
        const COLOURS: [AnsiColor; 6] = [
            AnsiColor::Cyan,
            AnsiColor::Yellow,
            AnsiColor::Green,
            AnsiColor::Magenta,
            AnsiColor::Blue,
            AnsiColor::Red,
        ];
        let label = format!("[{rank:>width$}]", width = self.width);
        let label = if self.colour {
            let style = Style::new().fg_color(Some(COLOURS[rank % COLOURS.len()].into()));
            format!("{style}{label}{style:#} ")
        } else {
            format!("{label} ")
        };
        queue.extend(label.as_bytes());
    }
}

/// Puts the lines of all sources in a row, so that no line has two authors.
#[derive(Debug, Default)]
pub(crate) struct Composer {
    pub(crate) queue: VecDeque<u8>,
    open: Option<Open>,
    labels: Option<Labels>,
    /// What stands below everything else on a terminal; drawn whenever no line is open.
    footer: Option<String>,
}

/// A line that has not ended with a newline yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Open {
    author: Source,
    /// It ends with a carriage return: what its author writes next goes over it.
    returned: bool,
}

/// Back to the beginning of the line, and nothing on it (ECMA-48: CR, EL).
const CLEAR_LINE: &[u8] = b"\r\x1b[K";

impl Composer {
    pub(crate) fn new(labels: Option<Labels>) -> Self {
        Self {
            labels,
            ..Self::default()
        }
    }

    /// Who has begun a line, and not ended it.
    pub(crate) fn author(&self) -> Option<Source> {
        self.open.map(|open| open.author)
    }

    /// Whether somebody is in the middle of a line, at the end of which others can go on.
    pub(crate) fn is_within_line(&self) -> bool {
        self.open.is_some_and(|open| !open.returned)
    }

    /// Adds `bytes`, whole lines or a piece of one.
    pub(crate) fn add(&mut self, source: Source, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.footer.is_some() && self.open.is_none() {
            self.queue.extend(CLEAR_LINE);
        }
        if self.open.is_some_and(|open| open.author != source) {
            self.queue.push_back(b'\n');
            self.open = None;
        }
        match (self.labels, source) {
            (Some(labels), Source::Rank { rank, .. }) => {
                for piece in pieces(bytes) {
                    let begins = match self.open {
                        None => piece != b"\r",
                        Some(open) => open.returned && piece != b"\r" && piece != b"\n",
                    };
                    if begins {
                        labels.write(rank, &mut self.queue);
                    }
                    self.queue.extend(piece);
                    self.open = after(piece, source);
                }
            }
            _ => {
                self.queue.extend(bytes);
                self.open = after(bytes, source);
            }
        }
        self.draw_footer();
    }

    /// Shows `footer` below everything, in the place of the one before.
    pub(crate) fn set_footer(&mut self, footer: String) {
        if self.footer.is_some() && self.open.is_none() {
            self.queue.extend(CLEAR_LINE);
        }
        self.footer = Some(footer);
        self.draw_footer();
    }

    /// Lets the footer stand where it is.
    pub(crate) fn finish_footer(&mut self) {
        if self.footer.take().is_some() && self.open.is_none() {
            self.queue.push_back(b'\n');
        }
    }

    fn draw_footer(&mut self) {
        if let (Some(footer), None) = (&self.footer, self.open) {
            self.queue.extend(footer.as_bytes());
        }
    }
}

/// The line that stands open after `bytes`.
fn after(bytes: &[u8], author: Source) -> Option<Open> {
    (!bytes.ends_with(b"\n")).then(|| Open {
        author,
        returned: bytes.ends_with(b"\r"),
    })
}

/// Lines with their ends: each is a newline, a carriage return, or both.
fn pieces(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let end = rest.iter().position(|byte| b"\n\r".contains(byte));
        let length = match end {
            Some(at) if rest[at..].starts_with(b"\r\n") => at + 2,
            Some(at) => at + 1,
            None => rest.len(),
        };
        let (piece, after) = rest.split_at(length);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::{Composer, Labels, Source};

    fn compose(labels: Option<Labels>, parts: &[(usize, &str)]) -> String {
        let mut composer = Composer::new(labels);
        for &(rank, text) in parts {
            let source = Source::Rank {
                rank,
                is_stderr: false,
            };
            composer.add(source, text.as_bytes());
        }
        String::from_utf8(composer.queue.into()).unwrap()
    }

    #[test]
    fn one_author_writes_its_bytes_unchanged() {
        assert_eq!(
            compose(None, &[(0, "a"), (0, "b\nc\n"), (0, "d")]),
            "ab\nc\nd"
        );
    }

    #[test]
    fn a_second_author_never_continues_a_line() {
        let parts = [(0, "name? "), (1, "x\n"), (0, "thanks\n")];
        assert_eq!(compose(None, &parts), "name? \nx\nthanks\n");
    }

    #[test]
    fn a_footer_stays_below_whole_lines_and_away_from_prompts() {
        let mut composer = Composer::default();
        let mut shown = |what: &dyn Fn(&mut Composer)| {
            what(&mut composer);
            let shown: Vec<u8> = composer.queue.drain(..).collect();
            String::from_utf8(shown).unwrap().replace("\r\u{1b}[K", "<")
        };
        let rank = |rank| Source::Rank {
            rank,
            is_stderr: false,
        };
        assert_eq!(shown(&|c| c.set_footer("1 %".into())), "1 %");
        assert_eq!(shown(&|c| c.set_footer("2 %".into())), "<2 %");
        assert_eq!(shown(&|c| c.add(rank(0), b"a\n")), "<a\n2 %");
        assert_eq!(shown(&|c| c.add(rank(0), b"name? ")), "<name? ");
        assert_eq!(shown(&|c| c.set_footer("3 %".into())), "");
        assert_eq!(shown(&|c| c.add(rank(1), b"b\n")), "\nb\n3 %");
        assert_eq!(shown(&Composer::finish_footer), "\n");
        assert_eq!(shown(&|c| c.add(rank(1), b"c\n")), "c\n");
    }

    #[test]
    fn labels_stand_before_each_line_once() {
        let labels = Some(Labels {
            width: 2,
            colour: false,
        });
        let parts = [
            (3, "a\nb"),
            (3, "c\n"),
            (10, "d\n\n"),
            (3, "e"),
            (10, "f\n"),
        ];
        assert_eq!(
            compose(labels, &parts),
            "[ 3] a\n[ 3] bc\n[10] d\n[10] \n[ 3] e\n[10] f\n"
        );
    }

    #[test]
    fn labels_stand_before_each_state_of_a_line_that_is_drawn_again() {
        let labels = Some(Labels {
            width: 1,
            colour: false,
        });
        let parts = [(0, "\r10%"), (0, "\r"), (0, "20%\r"), (0, "\nx\r\ny\r\n")];
        assert_eq!(
            compose(labels, &parts),
            "\r[0] 10%\r[0] 20%\r\n[0] x\r\n[0] y\r\n"
        );
        let parts = [(0, "10%\r"), (1, "a\n"), (0, "20%\r")];
        assert_eq!(compose(labels, &parts), "[0] 10%\r\n[1] a\n[0] 20%\r");
    }

    #[test]
    fn others_go_on_after_a_carriage_return_as_after_a_line() {
        let mut composer = Composer::default();
        let source = Source::Rank {
            rank: 0,
            is_stderr: false,
        };
        for (text, author, is_within) in [
            ("10%", Some(source), true),
            ("\r", Some(source), false),
            ("20%", Some(source), true),
            ("\n", None, false),
        ] {
            composer.add(source, text.as_bytes());
            assert_eq!(composer.author(), author, "{text:?}");
            assert_eq!(composer.is_within_line(), is_within, "{text:?}");
        }
    }

    #[test]
    fn colours_end_with_the_label() {
        let labels = Some(Labels {
            width: 1,
            colour: true,
        });
        assert_eq!(compose(labels, &[(0, "a\n")]), "\u{1b}[36m[0]\u{1b}[0m a\n");
    }
}
