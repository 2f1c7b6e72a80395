//! What the ranks write: read, kept for the report, copied to files, and relayed in whole lines.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use crate::files::{RankFiles, STREAMS};
use crate::plan::Plan;
use crate::sink::{Sink, Source};
use crate::tail::Tail;

/// An unfinished line is shown after this much silence: it may be a prompt.
const PROMPT_DELAY: Duration = Duration::from_millis(100);
/// Programs that buffer write blocks, whose ends have nothing to do with the ends of lines: an
/// unfinished line at a multiple of this is hardly a prompt ...
const BLOCK: u64 = 1024;
/// ... and is shown only after this.
const BLOCK_DELAY: Duration = Duration::from_secs(3);
/// No prompt is longer than this: a longer piece waits for the rest of its line.
const LONGEST_PROMPT: usize = 4096;
/// No line is waited for beyond this.
const LONGEST_LINE: usize = 1024 * 1024;

/// One stream of one rank.
#[derive(Debug)]
struct Stream {
    source: Source,
    pipe: Option<File>,
    copy: Option<File>,
    /// The beginning of a line that has not been relayed.
    line: Vec<u8>,
    /// When that line last grew, as long as there is one.
    grew: Option<Instant>,
    /// All bytes so far.
    total: u64,
    tail: Tail,
}

/// All output of a job.
#[derive(Debug)]
pub(crate) struct Output {
    /// Rank r's standard output is 2r, its standard error 2r + 1.
    streams: Vec<Stream>,
    /// Standard output, and standard error where that is another place.
    sinks: Vec<Sink>,
    buffer: Vec<u8>,
}

/// What may become ready.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ready {
    Stream(usize),
    Sink(usize),
}

impl Output {
    /// Relays from `pipes`, two for each rank, to the launcher's own streams.
    pub(crate) fn new(
        plan: &Plan,
        pipes: impl IntoIterator<Item = [OwnedFd; 2]>,
        files: Vec<RankFiles>,
    ) -> io::Result<Self> {
        let width = plan.label.then(|| (plan.ranks.len() - 1).to_string().len());
        let stdout = Sink::new(&io::stdout(), width)?;
        let stderr = Sink::new(&io::stderr(), width)?;
        let one_place = stdout.same_as(&stderr)?;
        let mut files = files.into_iter();
        let mut streams = Vec::new();
        for (rank, [out, err]) in pipes.into_iter().enumerate() {
            let [out_copy, err_copy] = files.next().map_or([None, None], |pair| pair.map(Some));
            streams.push(Stream::new(rank, false, out, out_copy));
            streams.push(Stream::new(rank, true, err, err_copy));
        }
        Ok(Self {
            streams,
            sinks: if one_place {
                vec![stdout]
            } else {
                vec![stdout, stderr]
            },
            buffer: vec![0; 64 * 1024],
        })
    }

    /// What to wait for.
    pub(crate) fn interests(&self) -> impl Iterator<Item = (Ready, BorrowedFd<'_>, PollFlags)> {
        let streams = self
            .streams
            .iter()
            .enumerate()
            .filter_map(|(index, stream)| {
                let pipe = stream.pipe.as_ref()?;
                let open = !self.sinks[self.sink_of(stream.source)].is_full();
                open.then(|| (Ready::Stream(index), pipe.as_fd(), PollFlags::POLLIN))
            });
        let sinks = self.sinks.iter().enumerate();
        let sinks = sinks
            .filter(|(_, sink)| sink.has_work())
            .map(|(index, sink)| (Ready::Sink(index), sink.as_fd(), PollFlags::POLLOUT));
        streams.chain(sinks)
    }

    /// Does the work that is `ready`.
    ///
    /// # Errors
    /// When the reader of standard output has gone away.
    pub(crate) fn handle(&mut self, ready: Ready, now: Instant) -> io::Result<()> {
        match ready {
            Ready::Stream(index) => {
                self.read(index, now);
                Ok(())
            }
            Ready::Sink(index) => match self.sinks[index].write() {
                Ok(()) => Ok(()),
                Err(error) if index == 0 => Err(error),
                // Without standard error there is nobody to tell.
                Err(_) => Ok(()),
            },
        }
    }

    /// Relays what the pipes still hold, however full the sinks are; then closes them.
    pub(crate) fn finish(&mut self, now: Instant) {
        for index in 0..self.streams.len() {
            while self.read(index, now) {}
            self.streams[index].pipe = None;
            self.relay_unfinished(index);
        }
    }

    /// Relays lines that have been unfinished for a while; returns when to look again.
    pub(crate) fn relay_prompts(&mut self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for index in 0..self.streams.len() {
            let Some(mut due) = self.streams[index].prompt_due() else {
                continue;
            };
            if due <= now {
                // It is not silent if it was not listened to.
                if self.sinks[self.sink_of(self.streams[index].source)].is_full() {
                    due = now + PROMPT_DELAY;
                } else if self.read(index, now) {
                    due = now;
                } else {
                    self.relay_unfinished(index);
                    continue;
                }
            }
            next = Some(next.map_or(due, |next| next.min(due)));
        }
        next
    }

    /// Whether everything has been written.
    pub(crate) fn is_idle(&self) -> bool {
        !self.sinks.iter().any(Sink::has_work)
    }

    /// Says something of the launcher's own on standard error: whole lines.
    pub(crate) fn say(&mut self, text: &str) {
        if let Some(sink) = self.sinks.last_mut() {
            sink.add(Source::Launcher, text.as_bytes());
        }
    }

    /// Whether a line on standard error can be drawn again.
    pub(crate) fn is_terminal(&self) -> bool {
        self.sinks
            .last()
            .is_some_and(|sink| sink.columns().is_some())
    }

    /// Draws `line` below everything else on standard error, or says it where that is impossible.
    pub(crate) fn draw(&mut self, line: &str) {
        let Some(sink) = self.sinks.last_mut() else {
            return;
        };
        match sink.columns() {
            // One column stays free, since a full line is followed by another.
            Some(columns) => sink.set_footer(line.chars().take(columns - 1).collect()),
            None => self.say(&format!("cobre-launch: {line}\n")),
        }
    }

    /// Lets what was drawn last stand where it is.
    pub(crate) fn end_drawing(&mut self) {
        if let Some(sink) = self.sinks.last_mut() {
            sink.finish_footer();
        }
    }

    /// The last lines that `rank` wrote, and to which stream: its errors, if there were any.
    pub(crate) fn last_lines(
        &self,
        rank: usize,
        count: usize,
    ) -> Option<(&'static str, Vec<String>)> {
        [1, 0]
            .into_iter()
            .map(|kind| {
                (
                    STREAMS[kind],
                    self.streams[2 * rank + kind].tail.lines(count),
                )
            })
            .find(|(_, lines)| !lines.is_empty())
    }

    fn sink_of(&self, source: Source) -> usize {
        match source {
            Source::Rank {
                is_stderr: false, ..
            } => 0,
            Source::Rank { .. } | Source::Launcher => self.sinks.len() - 1,
        }
    }

    /// Reads once; whether there may be more.
    fn read(&mut self, index: usize, now: Instant) -> bool {
        let stream = &mut self.streams[index];
        let Some(pipe) = &mut stream.pipe else {
            return false;
        };
        match pipe.read(&mut self.buffer) {
            Ok(0) => {
                stream.pipe = None;
                self.relay_unfinished(index);
                false
            }
            Ok(count) => {
                let complaint = stream.copy(count, &self.buffer);
                let sink = self.sink_of(self.streams[index].source);
                self.streams[index].relay(&self.buffer[..count], now, &mut self.sinks[sink]);
                if let Some(complaint) = complaint {
                    self.say(&complaint);
                }
                true
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(_) => {
                stream.pipe = None;
                false
            }
        }
    }

    fn relay_unfinished(&mut self, index: usize) {
        let sink = self.sink_of(self.streams[index].source);
        let stream = &mut self.streams[index];
        self.sinks[sink].add(stream.source, &stream.line);
        stream.line.clear();
        stream.grew = None;
    }
}

impl Stream {
    fn new(rank: usize, is_stderr: bool, pipe: OwnedFd, copy: Option<File>) -> Self {
        Self {
            source: Source::Rank { rank, is_stderr },
            pipe: Some(File::from(pipe)),
            copy,
            line: Vec::new(),
            grew: None,
            total: 0,
            tail: Tail::default(),
        }
    }

    /// When the unfinished line, if there is one, may be taken for a prompt.
    fn prompt_due(&self) -> Option<Instant> {
        let grew = self.grew.filter(|_| self.line.len() <= LONGEST_PROMPT)?;
        let is_block = self.total.is_multiple_of(BLOCK);
        Some(grew + if is_block { BLOCK_DELAY } else { PROMPT_DELAY })
    }

    /// Keeps what was read, in the tail and the file; complains once if the file takes no more.
    fn copy(&mut self, count: usize, buffer: &[u8]) -> Option<String> {
        self.total += count as u64;
        self.tail.push(&buffer[..count]);
        let error = self.copy.as_mut()?.write_all(&buffer[..count]).err()?;
        self.copy = None;
        let Source::Rank { rank, is_stderr } = self.source else {
            return None;
        };
        let stream = STREAMS[usize::from(is_stderr)];
        Some(format!(
            "cobre-launch: --output-dir: rank-{rank}.{stream} is cut short: {error}\n"
        ))
    }

    /// Relays the lines that are complete with `bytes`, and keeps the beginning of the next.
    fn relay(&mut self, bytes: &[u8], now: Instant, sink: &mut Sink) {
        let complete = bytes
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        if complete > 0 {
            self.line.extend_from_slice(&bytes[..complete]);
            sink.add(self.source, &self.line);
            self.line.clear();
        }
        self.line.extend_from_slice(&bytes[complete..]);
        if self.line.len() > LONGEST_LINE {
            sink.add(self.source, &self.line);
            self.line.clear();
        }
        self.grew = (!self.line.is_empty()).then_some(now);
    }
}
