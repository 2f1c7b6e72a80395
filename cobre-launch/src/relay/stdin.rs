//! Copying the launcher's standard input to every rank (`--stdin all`).

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::poll::PollFlags;

/// Copies one chunk at a time: the next is read when every rank that still listens has this one.
#[derive(Debug, Default)]
pub(crate) struct Broadcast {
    source: Option<File>,
    chunk: Vec<u8>,
    /// Each rank's pipe, as long as it listens, and how much of the chunk it has.
    readers: Vec<Option<(File, usize)>>,
}

/// What may become ready.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ready {
    Source,
    Reader(usize),
}

impl Broadcast {
    /// Copies the launcher's standard input to `pipes`; without any it is left alone.
    pub(crate) fn new(pipes: Vec<OwnedFd>) -> io::Result<Self> {
        Ok(Self {
            source: if pipes.is_empty() {
                None
            } else {
                Some(File::from(io::stdin().as_fd().try_clone_to_owned()?))
            },
            chunk: Vec::new(),
            readers: pipes
                .into_iter()
                .map(|pipe| Some((File::from(pipe), 0)))
                .collect(),
        })
    }

    /// What to wait for. A reader that has everything is watched for going away.
    pub(crate) fn interests(&self) -> impl Iterator<Item = (Ready, BorrowedFd<'_>, PollFlags)> {
        let source = self.source.as_ref().filter(|_| !self.is_behind());
        let source = source.map(|file| (Ready::Source, file.as_fd(), PollFlags::POLLIN));
        let readers = self
            .readers
            .iter()
            .enumerate()
            .filter_map(|(index, reader)| {
                let (pipe, done) = reader.as_ref()?;
                let events = if *done < self.chunk.len() {
                    PollFlags::POLLOUT
                } else {
                    PollFlags::empty()
                };
                Some((Ready::Reader(index), pipe.as_fd(), events))
            });
        source.into_iter().chain(readers)
    }

    /// Does the work that is `ready`.
    pub(crate) fn handle(&mut self, ready: Ready) {
        match ready {
            Ready::Source => self.read(),
            Ready::Reader(index) => self.write(index),
        }
        if self.source.is_none() && !self.is_behind() {
            // The end of the input is the end of the pipes.
            self.readers.clear();
        }
        if self.readers.iter().all(Option::is_none) {
            self.source = None;
        }
    }

    fn is_behind(&self) -> bool {
        let behind = |(_, done): &(File, usize)| *done < self.chunk.len();
        self.readers.iter().flatten().any(behind)
    }

    fn read(&mut self) {
        let Some(source) = &mut self.source else {
            return;
        };
        let mut buffer = vec![0; 64 * 1024];
        let count = match source.read(&mut buffer) {
            Ok(count) => count,
            Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => return,
            // A terminal that is gone, for example: there will be no more.
            Err(_) => 0,
        };
        buffer.truncate(count);
        self.chunk = buffer;
        if count == 0 {
            self.source = None;
        }
        for (_, done) in self.readers.iter_mut().flatten() {
            *done = 0;
        }
    }

    fn write(&mut self, index: usize) {
        // None is left once the input has ended, also if several were ready.
        let Some(Some((pipe, done))) = self.readers.get_mut(index) else {
            return;
        };
        if *done == self.chunk.len() {
            // Nothing was to be written: it is ready because its reader is gone.
            self.readers[index] = None;
            return;
        }
        match pipe.write(&self.chunk[*done..]) {
            Ok(count) => *done += count,
            Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Err(_) => self.readers[index] = None,
        }
    }
}
