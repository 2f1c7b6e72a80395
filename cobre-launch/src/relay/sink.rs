//! Where output goes: one of the launcher's own streams, written line by line and never waited for.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use anstyle::{AnsiColor, Style};
use nix::errno::Errno;
use rustix::termios::tcgetwinsize;

/// A write of this size to a pipe that is ready for writing does not block.
const PIPE_BUF: usize = libc::PIPE_BUF;
/// With this much waiting to be written, ranks are not read from.
const FULL: usize = 256 * 1024;

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
    queue: VecDeque<u8>,
    /// Whose line is not finished yet.
    open: Option<Source>,
    labels: Option<Labels>,
    /// What stands below everything else on a terminal; drawn whenever no line is open.
    footer: Option<String>,
}

/// Back to the beginning of the line, and nothing on it (ECMA-48: CR, EL).
const CLEAR_LINE: &[u8] = b"\r\x1b[K";

impl Composer {
    /// Adds `bytes`, whole lines or a piece of one.
    pub(crate) fn add(&mut self, source: Source, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.footer.is_some() && self.open.is_none() {
            self.queue.extend(CLEAR_LINE);
        }
        if self.open.is_some_and(|open| open != source) {
            self.queue.push_back(b'\n');
            self.open = None;
        }
        match (self.labels, source) {
            (Some(labels), Source::Rank { rank, .. }) => {
                for line in bytes.split_inclusive(|&byte| byte == b'\n') {
                    if self.open.take().is_none() {
                        labels.write(rank, &mut self.queue);
                    }
                    self.queue.extend(line);
                }
            }
            _ => self.queue.extend(bytes),
        }
        self.open = (!bytes.ends_with(b"\n")).then_some(source);
        self.draw_footer();
    }

    /// Shows `footer` below everything, in the place of the one before.
    fn set_footer(&mut self, footer: String) {
        if self.footer.is_some() && self.open.is_none() {
            self.queue.extend(CLEAR_LINE);
        }
        self.footer = Some(footer);
        self.draw_footer();
    }

    /// Lets the footer stand where it is.
    fn finish_footer(&mut self) {
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

/// Whether a write failed because nobody reads any more: a pipe's reader, or a terminal, is gone.
pub(crate) fn is_unread(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EPIPE | Errno::EIO))
}

/// One of the launcher's own output streams.
#[derive(Debug)]
pub(crate) struct Sink {
    file: File,
    /// How much can be written at once without waiting for a reader.
    at_once: usize,
    composer: Composer,
    /// Nobody reads any more.
    gone: bool,
}

impl Sink {
    /// Writes to (a duplicate of) `fd`; labels are coloured if that is a terminal that shows
    /// colours.
    pub(crate) fn new(fd: &impl AsFd, label_width: Option<usize>) -> io::Result<Self> {
        let owned: OwnedFd = fd.as_fd().try_clone_to_owned()?;
        let file = File::from(owned);
        let kind = file.metadata()?.file_type();
        let waits = kind.is_fifo() || kind.is_socket() || kind.is_char_device();
        let wanted = |name| std::env::var_os(name).is_none_or(|value| value.is_empty());
        let plain = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colour = file.is_terminal() && wanted("NO_COLOR") && !plain;
        Ok(Self {
            file,
            at_once: if waits { PIPE_BUF } else { usize::MAX },
            composer: Composer {
                labels: label_width.map(|width| Labels { width, colour }),
                ..Composer::default()
            },
            gone: false,
        })
    }

    /// Whether both write to one and the same place.
    pub(crate) fn same_as(&self, other: &Self) -> io::Result<bool> {
        let (a, b) = (self.file.metadata()?, other.file.metadata()?);
        Ok((a.dev(), a.ino()) == (b.dev(), b.ino()))
    }

    /// Queues `bytes`, whole lines or a piece of one.
    pub(crate) fn add(&mut self, source: Source, bytes: &[u8]) {
        if !self.gone {
            self.composer.add(source, bytes);
        }
    }

    /// The columns of the terminal, if this is one on which a line can be drawn again.
    pub(crate) fn columns(&self) -> Option<usize> {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let terminal = self.file.is_terminal() && !dumb;
        let size = terminal.then(|| tcgetwinsize(&self.file).ok())??;
        // A terminal that does not know has 0.
        Some(match size.ws_col {
            0 => 80,
            columns => columns.into(),
        })
    }

    /// Shows `footer`, less than a line, below everything, in the place of the one before.
    pub(crate) fn set_footer(&mut self, footer: String) {
        // What is not read yet would be followed by more than anybody wants to see.
        if !self.gone && !self.is_full() {
            self.composer.set_footer(footer);
        }
    }

    /// Lets the footer stand where it is.
    pub(crate) fn finish_footer(&mut self) {
        self.composer.finish_footer();
    }

    /// Whether there is something to write.
    pub(crate) fn has_work(&self) -> bool {
        !self.composer.queue.is_empty()
    }

    /// Whether so much is waiting that no more should come.
    pub(crate) fn is_full(&self) -> bool {
        self.composer.queue.len() >= FULL
    }

    /// Writes a piece; to be called when the descriptor is ready.
    ///
    /// # Errors
    /// Once, when nobody can read it any more: from then on everything is dropped.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        let (front, _) = self.composer.queue.as_slices();
        let piece = &front[..front.len().min(self.at_once)];
        match self.file.write(piece) {
            Ok(written) => {
                self.composer.queue.drain(..written);
                Ok(())
            }
            Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => Ok(()),
            Err(error) => {
                self.gone = true;
                self.composer.queue.clear();
                Err(error)
            }
        }
    }
}

impl AsFd for Sink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::{Composer, Labels, Source};

    fn compose(labels: Option<Labels>, parts: &[(usize, &str)]) -> String {
        let mut composer = Composer {
            labels,
            ..Composer::default()
        };
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
    fn colours_end_with_the_label() {
        let labels = Some(Labels {
            width: 1,
            colour: true,
        });
        assert_eq!(compose(labels, &[(0, "a\n")]), "\u{1b}[36m[0]\u{1b}[0m a\n");
    }
}
