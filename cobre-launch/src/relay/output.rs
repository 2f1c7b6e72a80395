//! What the ranks write: read, kept for the report, copied to files, and relayed in whole lines.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use cobre_comm_trait::text::{clean, clean_lines};
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::PollFlags;
use rustix::termios::Winsize;

use crate::plan::Plan;
use crate::process::pty;
use crate::relay::composer::Source;
use crate::relay::files::{RankFiles, STREAMS};
use crate::relay::fit;
use crate::relay::held::{Held, Line};
use crate::relay::sink::{self, Sink};
use crate::relay::tail::Tail;

/// One stream of one rank.
#[derive(Debug)]
struct Stream {
    source: Source,
    pipe: Option<File>,
    copy: Option<File>,
    held: Held,
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
        let width = plan.label_width();
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
            lost: false,
        })
    }

    /// What to wait for.
    pub(crate) fn interests(&self) -> impl Iterator<Item = (Ready, BorrowedFd<'_>, PollFlags)> {
        let streams = (0..self.streams.len()).filter_map(|index| {
            let pipe = self.streams[index].pipe.as_ref()?;
            let event = (Ready::Stream(index), pipe.as_fd(), PollFlags::POLLIN);
            self.is_wanted(index).then_some(event)
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

    /// Relays what the pipes still hold, however full the sinks are; then closes them. Who could
    /// not be killed may still write: no more is read than a pipe holds.
    pub(crate) fn finish(&mut self, now: Instant) {
        for index in self.authors_first() {
            let mut left = self.streams[index].capacity();
            while left > 0 {
                match self.read(index, now) {
                    0 => break,
                    count => left = left.saturating_sub(count),
                }
            }
            self.end(index, now);
            let all = self.streams[index].held.all().len();
            self.pass(index, all, now);
        }
    }

    /// Relays what has waited long enough; returns when to look again.
    pub(crate) fn relay_due(&mut self, now: Instant) -> Option<Instant> {
        let streams = 0..self.streams.len();
        let is_due = |index| self.next(index).is_some_and(|at| at <= now);
        if streams.clone().any(is_due) {
            // Nobody is silent who was not listened to.
            for index in self.authors_first() {
                if self.is_wanted(index) {
                    self.read(index, now);
                }
                if !self.is_full(index) {
                    self.relay(index, now);
                }
            }
        }
        streams.filter_map(|index| self.next(index)).min()
    }

    /// Makes the ranks' terminals as large as `size` says.
    pub(crate) fn resize(&self, size: Winsize) {
        for pipe in self
            .streams
            .iter()
            .filter_map(|stream| stream.pipe.as_ref())
        {
            // One that has just ended needs none.
            let _ = pty::resize(pipe, size);
        }
    }

    /// Whether everything has been written.
    pub(crate) fn is_idle(&self) -> bool {
        !self.sinks.iter().any(Sink::has_work)
    }

    /// Whether something could not be written to where it was wanted, of the files too.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Says something of the launcher's own on standard error: whole lines, cleaned of what would
    /// control a terminal.
    pub(crate) fn say(&mut self, text: &str) {
        if let Some(sink) = self.sinks.last_mut() {
            let text = clean_lines(text);
            let text = fit::wrap(&text, sink.width());
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
            Some(columns) => sink.set_footer(clean(line).chars().take(columns - 1).collect()),
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

    /// Whether no more should come to where a stream goes.
    fn is_full(&self, index: usize) -> bool {
        self.sinks[self.sink_of(self.streams[index].source)].is_full()
    }

    /// Whether more of a stream has a place.
    fn is_wanted(&self, index: usize) -> bool {
        !self.streams[index].held.is_full() && !self.is_full(index)
    }

    /// Whose line is unfinished where a stream goes to.
    fn line(&self, index: usize) -> Line {
        let source = self.streams[index].source;
        match self.sinks[self.sink_of(source)].open_line() {
            Some((author, _)) if author == source => Line::Own,
            Some((author, true)) if self.is_awaited(author, source) => Line::Others,
            _ => Line::Nobodys,
        }
    }

    /// Whether `source` waits for the end of the line of `author`. A rank's own errors do not.
    fn is_awaited(&self, author: Source, source: Source) -> bool {
        let rank = |source| match source {
            Source::Rank { rank, is_stderr } => Some((rank, 2 * rank + usize::from(is_stderr))),
            Source::Launcher => None,
        };
        match (rank(author), rank(source)) {
            (Some((author, index)), Some((rank, _))) => {
                author != rank && !self.streams[index].held.is_over()
            }
            _ => false,
        }
    }

    /// When something of a stream is due, if nothing else happens. Where a sink is full, its reader
    /// comes first.
    fn next(&self, index: usize) -> Option<Instant> {
        let next = self.streams[index].held.next(self.line(index));
        next.filter(|_| !self.is_full(index))
    }

    /// All streams, those first whose lines others may wait for.
    fn authors_first(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.streams.len()).collect();
        order.sort_by_key(|&index| self.line(index) != Line::Own);
        order
    }

    /// Passes on what may be: first whole lines of this stream, then what others hold if that has
    /// ended its line, and then the rest if the line still is its own.
    fn relay(&mut self, index: usize, now: Instant) {
        self.pass_due(index, now);
        for other in 0..self.streams.len() {
            if other != index && !self.streams[other].held.is_empty() {
                self.pass_due(other, now);
            }
        }
        if self.line(index) == Line::Own {
            let all = self.streams[index].held.all().len();
            self.pass(index, all, now);
        }
    }

    fn pass_due(&mut self, index: usize, now: Instant) {
        let line = self.line(index);
        let count = self.streams[index].held.due(line, now);
        self.pass(index, count, now);
    }

    fn pass(&mut self, index: usize, count: usize, now: Instant) {
        let sink = self.sink_of(self.streams[index].source);
        let Stream { source, held, .. } = &mut self.streams[index];
        self.sinks[sink].add(*source, &held.all()[..count]);
        held.take(count, now);
    }

    /// There will be no more of a stream.
    fn end(&mut self, index: usize, now: Instant) {
        let stream = &mut self.streams[index];
        stream.pipe = None;
        stream.held.end();
        self.relay(index, now);
    }

    /// Reads once, and relays what may be; how much there was.
    fn read(&mut self, index: usize, now: Instant) -> usize {
        let stream = &mut self.streams[index];
        let Some(pipe) = &mut stream.pipe else {
            return 0;
        };
        match pipe.read(&mut self.buffer) {
            Ok(count @ 1..) => {
                let bytes = &self.buffer[..count];
                stream.held.push(bytes, now);
                if let Some(complaint) = stream.copy(bytes) {
                    self.lost = true;
                    self.say(&complaint);
                }
                self.relay(index, now);
                count
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => self.read(index, now),
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            _ => {
                self.end(index, now);
                0
            }
        }
    }
}

impl Stream {
    fn new(rank: usize, is_stderr: bool, pipe: OwnedFd, copy: Option<File>) -> Self {
        Self {
            source: Source::Rank { rank, is_stderr },
            pipe: Some(File::from(pipe)),
            copy,
            held: Held::default(),
            tail: Tail::default(),
        }
    }

    /// How much the rank may have written that has not been read.
    fn capacity(&self) -> usize {
        let size = |pipe| fcntl(pipe, FcntlArg::F_GETPIPE_SZ).ok();
        let size = self.pipe.as_ref().and_then(size);
        // A terminal holds less.
        size.and_then(|size| usize::try_from(size).ok())
            .unwrap_or(64 * 1024)
    }

    /// Keeps what was read, in the tail and the file; complains once if the file takes no more.
    fn copy(&mut self, bytes: &[u8]) -> Option<String> {
        self.tail.push(bytes);
        let error = self.copy.as_mut()?.write_all(bytes).err()?;
        self.copy = None;
        let Source::Rank { rank, is_stderr } = self.source else {
            return None;
        };
        let stream = STREAMS[usize::from(is_stderr)];
        Some(format!(
            "cobre-launch: --output-dir: rank-{rank}.{stream} is cut short: {error}\n"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::{Output, Stream};
    use crate::relay::sink::Sink;
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    use std::fs::File;
    use std::io::{self, PipeReader, PipeWriter, Read, Write};
    use std::time::{Duration, Instant};

    /// Ranks whose standard output goes to one place, at times of the test's choice.
    struct Ranks {
        ranks: Vec<Option<PipeWriter>>,
        output: Output,
        shown: PipeReader,
        now: Instant,
    }

    impl Ranks {
        fn new(count: usize) -> Self {
            let (shown, to) = io::pipe().unwrap();
            let mut ranks = Vec::new();
            let mut streams = Vec::new();
            for rank in 0..count {
                let (out, writer) = io::pipe().unwrap();
                fcntl(&out, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
                ranks.push(Some(writer));
                let (err, _) = io::pipe().unwrap();
                streams.push(Stream::new(rank, false, out.into(), None));
                streams.push(Stream::new(rank, true, err.into(), None));
            }
            let output = Output {
                streams,
                sinks: vec![Sink::new(&to, None).unwrap()],
                buffer: vec![0; 64 * 1024],
                lost: false,
            };
            let now = Instant::now();
            Self {
                ranks,
                output,
                shown,
                now,
            }
        }

        /// `rank` writes `text`; what is shown then.
        fn write(&mut self, rank: usize, text: &str) -> String {
            let pipe = self.ranks[rank].as_mut().unwrap();
            pipe.write_all(text.as_bytes()).unwrap();
            self.output.read(2 * rank, self.now);
            self.shown()
        }

        fn end(&mut self, rank: usize) -> String {
            self.ranks[rank] = None;
            self.output.read(2 * rank, self.now);
            self.shown()
        }

        /// Time passes, in which nobody writes; what is shown at its end.
        fn wait(&mut self, millis: u64) -> String {
            self.now += Duration::from_millis(millis);
            self.output.relay_due(self.now);
            self.shown()
        }

        fn shown(&mut self) -> String {
            let mut text = String::new();
            let sink = &mut self.output.sinks[0];
            while sink.has_work() {
                sink.write().unwrap();
                let mut bytes = [0; 4096];
                let count = self.shown.read(&mut bytes).unwrap();
                text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
            }
            text
        }
    }
    #[test]
    fn an_unfinished_line_waits_for_a_tenth_of_a_second_and_then_goes_on_at_once() {
        let mut ranks = Ranks::new(2);
        assert_eq!(ranks.write(0, "a\n."), "a\n");
        assert_eq!(ranks.wait(60), "");
        // However often it grows.
        assert_eq!(ranks.write(0, "."), "");
        assert_eq!(ranks.wait(40), "..");
        assert_eq!(ranks.write(0, "."), ".");
        assert_eq!(ranks.write(0, " done\nb"), " done\n");
    }

    #[test]
    fn others_wait_for_the_end_of_an_unfinished_line() {
        let mut ranks = Ranks::new(3);
        assert_eq!(ranks.write(0, "half"), "");
        assert_eq!(ranks.wait(100), "half");
        assert_eq!(ranks.write(1, "one\n"), "");
        assert_eq!(ranks.wait(900), "");
        assert_eq!(ranks.write(2, "two\nand"), "");
        let shown = ranks.write(0, " whole\nnext");
        assert_eq!(shown, " whole\none\ntwo\n");
        assert_eq!(ranks.wait(100), "next");
        assert_eq!(ranks.wait(900), "\nand");
    }

    #[test]
    fn others_do_not_wait_for_ever() {
        let mut ranks = Ranks::new(3);
        ranks.write(0, "name? ");
        assert_eq!(ranks.wait(100), "name? ");
        assert_eq!(ranks.write(1, "one\n"), "");
        assert_eq!(ranks.wait(500), "");
        assert_eq!(ranks.write(2, "half"), "");
        assert_eq!(ranks.wait(500), "\none\nhalf");
        // Who has ended ends no line any more; a rank's own errors belong to what it says.
        assert_eq!(ranks.end(2), "");
        assert_eq!(ranks.write(1, "two\nhalf"), "\ntwo\n");
        assert_eq!(ranks.wait(100), "half");
        ranks.output.streams[3].held.push(b"error\n", ranks.now);
        ranks.output.relay(3, ranks.now);
        assert_eq!(ranks.shown(), "\nerror\n");
    }

    #[test]
    fn others_write_between_two_states_of_a_line_that_is_drawn_again() {
        let mut ranks = Ranks::new(2);
        assert_eq!(ranks.write(0, "\r10%"), "\r10%");
        assert_eq!(ranks.write(0, "\r20%"), "\r20%");
        assert_eq!(ranks.write(1, "one\n"), "");
        assert_eq!(ranks.write(0, "\r30%"), "\r\none\n");
        assert_eq!(ranks.wait(100), "30%");
    }

    #[test]
    fn what_is_left_comes_at_the_end_in_whole_lines() {
        let mut ranks = Ranks::new(2);
        ranks.write(1, "half");
        assert_eq!(ranks.wait(100), "half");
        for (rank, text) in [(0, "one\nrest"), (1, " whole\n")] {
            let pipe = ranks.ranks[rank].as_mut().unwrap();
            pipe.write_all(text.as_bytes()).unwrap();
        }
        ranks.ranks.clear();
        ranks.output.finish(ranks.now);
        assert_eq!(ranks.shown(), " whole\none\nrest");
    }

    #[test]
    fn what_a_rank_that_goes_on_still_writes_is_not_read_for_ever() {
        let mut ranks = Ranks::new(1);
        ranks.output.streams[0].pipe = Some(File::open("/dev/zero").unwrap());
        ranks.output.finish(ranks.now);
        assert!(ranks.output.streams[0].pipe.is_none());
        // A pipe that is made larger holds more.
        let mut ranks = Ranks::new(1);
        let most = 1 << 19;
        let pipe = ranks.ranks[0].as_mut().unwrap();
        fcntl(&*pipe, FcntlArg::F_SETPIPE_SZ(most)).unwrap();
        let text = "x".repeat(usize::try_from(most).unwrap());
        pipe.write_all(text.as_bytes()).unwrap();
        ranks.output.finish(ranks.now);
        assert_eq!(ranks.shown(), text);
    }
}
