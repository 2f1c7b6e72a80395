//! What the ranks write: read, kept for the report, copied to files, and relayed in whole lines.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use crate::plan::Plan;
use crate::relay::files::{RankFiles, STREAMS};
use crate::relay::sink::{self, Sink, Source};
use crate::relay::tail::Tail;

/// An unfinished line of a rank that somebody can answer is shown after this much silence: it may be a
/// prompt.
const PROMPT_DELAY: Duration = Duration::from_millis(100);
/// Any other is shown so long after its beginning: as a line that others may break, so not at once.
const LINE_DELAY: Duration = Duration::from_secs(3);
/// Programs that buffer write blocks, whose ends have nothing to do with the ends of lines: a line that
/// is unfinished at a multiple of this is hardly a prompt, and goes on with the next block.
const BLOCK: u64 = 1024;
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
    /// Whether somebody may answer what it asks.
    may_ask: bool,
    /// The beginning of a line that has not been relayed.
    line: Vec<u8>,
    /// When that line began and when it last grew, as long as there is one.
    unfinished: Option<[Instant; 2]>,
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
    /// Something could not be written although somebody was there to read it.
    lost: bool,
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
        let answers = may_answer(&io::stdin())?;
        let mut files = files.into_iter();
        let mut streams = Vec::new();
        for (rank, [out, err]) in pipes.into_iter().enumerate() {
            let may_ask = answers && plan.stdin.reaches(rank);
            let [out_copy, err_copy] = files.next().map_or([None, None], |pair| pair.map(Some));
            streams.push(Stream::new(rank, false, may_ask, out, out_copy));
            streams.push(Stream::new(rank, true, may_ask, err, err_copy));
        }
        Ok(Self {
            streams,
            sinks: if one_place {
                vec![stdout]
            } else {
                vec![stdout, stderr]
            },
            buffer: vec![0; 64 * 1024],
            lost: false,
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
    /// When standard output takes no more.
    pub(crate) fn handle(&mut self, ready: Ready, now: Instant) -> io::Result<()> {
        match ready {
            Ready::Stream(index) => {
                self.read(index, now);
                Ok(())
            }
            Ready::Sink(index) => match self.sinks[index].write() {
                Ok(()) => Ok(()),
                Err(error) => {
                    self.lost |= !sink::is_unread(&error);
                    // Without standard error there is nobody to tell.
                    if index == 0 { Err(error) } else { Ok(()) }
                }
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

    /// Whether something could not be written to where it was wanted, of the files too.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost
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
                    self.lost = true;
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
        stream.unfinished = None;
    }
}

impl Stream {
    fn new(rank: usize, is_stderr: bool, may_ask: bool, pipe: OwnedFd, copy: Option<File>) -> Self {
        Self {
            source: Source::Rank { rank, is_stderr },
            pipe: Some(File::from(pipe)),
            copy,
            may_ask,
            line: Vec::new(),
            unfinished: None,
            total: 0,
            tail: Tail::default(),
        }
    }

    /// When the unfinished line, if there is one, is shown as it is.
    fn prompt_due(&self) -> Option<Instant> {
        let unfinished = self
            .unfinished
            .filter(|_| self.line.len() <= LONGEST_PROMPT);
        let [began, grew] = unfinished?;
        match (self.may_ask, self.total.is_multiple_of(BLOCK)) {
            (true, false) => Some(grew + PROMPT_DELAY),
            (true, true) => Some(grew + LINE_DELAY),
            (false, false) => Some(began + LINE_DELAY),
            (false, true) => None,
        }
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
        let [mut began, _] = self.unfinished.unwrap_or([now; 2]);
        let complete = bytes
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        if complete > 0 {
            self.line.extend_from_slice(&bytes[..complete]);
            sink.add(self.source, &self.line);
            self.line.clear();
            began = now;
        }
        self.line.extend_from_slice(&bytes[complete..]);
        if self.line.len() > LONGEST_LINE {
            sink.add(self.source, &self.line);
            self.line.clear();
        }
        self.unfinished = (!self.line.is_empty()).then_some([began, now]);
    }
}

/// Whether what is read from `stdin` may be an answer: not if all of it is there already.
fn may_answer(stdin: &impl AsFd) -> io::Result<bool> {
    let kind = File::from(stdin.as_fd().try_clone_to_owned()?)
        .metadata()?
        .file_type();
    Ok(kind.is_fifo() || kind.is_socket() || stdin.as_fd().is_terminal())
}

#[cfg(test)]
mod tests {
    use super::{LINE_DELAY, LONGEST_PROMPT, PROMPT_DELAY, Stream};
    use crate::relay::sink::Sink;
    use std::io;
    use std::time::{Duration, Instant};

    /// When an unfinished line after these writes, one a second, is shown: seconds after the last.
    fn shown_after(may_ask: bool, writes: &[&str]) -> Option<Duration> {
        let (read, write) = io::pipe().unwrap();
        let mut stream = Stream::new(0, false, may_ask, read.into(), None);
        let mut sink = Sink::new(&write, None).unwrap();
        let mut now = Instant::now();
        for text in writes {
            now += Duration::from_secs(1);
            stream.total += text.len() as u64;
            stream.relay(text.as_bytes(), now, &mut sink);
        }
        stream.prompt_due().map(|due| due - now)
    }

    #[test]
    fn what_somebody_may_answer_is_shown_soon_and_anything_else_later() {
        assert_eq!(shown_after(true, &["name? "]), Some(PROMPT_DELAY));
        assert_eq!(shown_after(false, &["half "]), Some(LINE_DELAY));
        assert_eq!(shown_after(true, &["a line\n"]), None);
        // Dots that come one by one are seen, also if nobody can answer.
        let second = Duration::from_secs(1);
        assert_eq!(
            shown_after(false, &["line\n.", "."]),
            Some(LINE_DELAY - second)
        );
        assert_eq!(shown_after(false, &[".", ".\n."]), Some(LINE_DELAY));
        // The end of a block is no end of anything.
        let block = "x".repeat(1024);
        assert_eq!(shown_after(true, &[&block]), Some(LINE_DELAY));
        assert_eq!(shown_after(false, &[&block]), None);
        let long = "x".repeat(LONGEST_PROMPT + 1);
        assert_eq!(shown_after(true, &[&long]), None);
    }
}
