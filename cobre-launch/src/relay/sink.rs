//! Where output goes: one of the launcher's own streams, written line by line and never waited for.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use crate::relay::composer::{Composer, Labels, Source};
use crate::relay::fit;

/// A write of this size to a pipe that is ready for writing does not block.
const PIPE_BUF: usize = libc::PIPE_BUF;
/// With this much waiting to be written, ranks are not read from.
const FULL: usize = 256 * 1024;

/// Whether a write failed because a pipe's reader is gone.
pub(crate) fn is_unread(error: &io::Error) -> bool {
    error.kind() == ErrorKind::BrokenPipe
}

/// One of the launcher's own output streams.
#[derive(Debug)]
pub(crate) struct Sink {
    file: File,
    is_terminal: bool,
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
        let is_terminal = file.is_terminal();
        let colour = is_terminal && wanted("NO_COLOR") && !plain;
        Ok(Self {
            file,
            is_terminal,
            at_once: if waits { PIPE_BUF } else { usize::MAX },
            composer: Composer::new(label_width.map(|width| Labels { width, colour })),
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

    /// Whose line is unfinished, and whether the others are to wait for its end.
    pub(crate) fn open_line(&self) -> Option<(Source, bool)> {
        let author = self.composer.author()?;
        Some((author, self.composer.is_within_line()))
    }

    /// The columns of the terminal, if this is one on which a line can be drawn again.
    pub(crate) fn columns(&self) -> Option<usize> {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let terminal = self.file.is_terminal() && !dumb;
        terminal.then(|| fit::columns(&self.file))?
    }

    /// How wide text may be here.
    pub(crate) fn width(&self) -> Option<usize> {
        fit::width(&self.file)
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
    /// Once, when nobody can read it any more: from then on everything is dropped. It is no error
    /// that a terminal has gone away: a job that has got no SIGHUP is to survive that.
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
                let hung_up = self.is_terminal && error.raw_os_error() == Some(libc::EIO);
                if hung_up { Ok(()) } else { Err(error) }
            }
        }
    }
}

impl AsFd for Sink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
